# For interactive shells of kasm-user. Its absence is how first start knows an empty home.

case $- in
*i*) ;;
*) return ;;
esac

HISTCONTROL=ignoreboth
HISTSIZE=5000
HISTFILESIZE=10000
shopt -s histappend checkwinsize

PS1='\[\e[32m\]${KASM_USER:-\u}\[\e[0m\]:\[\e[94m\]\w\[\e[0m\]\$ '

alias ls='ls --color=auto'
alias ll='ls -l'
alias grep='grep --color=auto'

if [ -r /usr/share/bash-completion/bash_completion ]; then
    . /usr/share/bash-completion/bash_completion
fi
