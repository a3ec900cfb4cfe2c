# For interactive shells of kasm-user. Its absence is how first start knows an empty home.

case $- in
*i*) ;;
*) return ;;
esac

HISTCONTROL=ignoreboth
HISTSIZE=5000
HISTFILESIZE=10000
shopt -s histappend checkwinsize

. /dockerstartup/generate_container_user

alias ls='ls --color=auto'
alias ll='ls -l'
alias grep='grep --color=auto'

if [ -r /usr/share/bash-completion/bash_completion ]; then
    . /usr/share/bash-completion/bash_completion
fi
