#!/bin/sh
# First link of the entry point: gives kasm-user a home, then runs the rest of the chain.
#
# A home that cannot be written (a read-only volume, a host's folder that belongs to root) is no
# reason to have no desktop: it is replaced for this run, and the log says so.

profile=/home/kasm-default-profile
HOME=${HOME:-/home/kasm-user}

# To PID 1 signals do nothing that it does not ask for.
trap 'exit 0' TERM INT

say() {
    /usr/libexec/kasmforge/tell WARNING kasm_default_profile.sh "$*"
}

as_user=
if [ "$(id -u)" -eq 0 ] && getent passwd kasm-user >/dev/null; then
    as_user="s6-setuidgid kasm-user"
    # Root may mend what kasm-user cannot: a new volume, or what a run as root left.
    [ -d "$HOME" ] || mkdir -p "$HOME" 2>/dev/null
    $as_user test -w "$HOME" || chown kasm-user "$HOME" 2>/dev/null
    for part in .vnc .config .cache .local Desktop Downloads Uploads; do
        [ ! -e "$HOME/$part" ] || $as_user test -w "$HOME/$part" ||
            chown -R kasm-user "$HOME/$part" 2>/dev/null
    done
fi

if ! $as_user test -d "$HOME" || ! $as_user test -w "$HOME" || ! $as_user test -x "$HOME"; then
    say "uid $($as_user id -u) cannot write $HOME, so what is saved there is lost with the container;" \
        "on the host, give the folder to uid 1000 or mount it writable"
    HOME=/tmp/home-kasm-user
    $as_user mkdir -p -m 0700 "$HOME" 2>/dev/null || HOME=$($as_user mktemp -d -p /dev/shm)
fi
export HOME

if [ ! -e "$HOME/.bashrc" ]; then
    # Nothing that is there already is replaced.
    (cd "$profile" && find . -mindepth 1 -maxdepth 1 -print0 | tar -cf - --null -T -) |
        $as_user tar -C "$HOME" -xf - --skip-old-files --no-same-owner ||
        say "$HOME could not be filled from $profile; going on"
fi
for folder in Desktop Downloads Uploads; do
    $as_user mkdir -p "$HOME/$folder" 2>/dev/null || say "$HOME/$folder cannot be made; going on"
done
for folder in Downloads Uploads; do
    [ -e "$HOME/Desktop/$folder" ] || [ -L "$HOME/Desktop/$folder" ] ||
        $as_user ln -s "$HOME/$folder" "$HOME/Desktop/$folder" 2>/dev/null
done
# What another run of the sound server kept there names devices of that run.
$as_user rm -rf "$HOME/.config/pulse" 2>/dev/null

# Programs that an older run as root left to root cannot be used; each is named once.
foreign=$(find "$HOME" -xdev -maxdepth 2 ! -user "$($as_user id -u)" -print 2>/dev/null | head -n 3 | tr '\n' ' ')
[ -z "$foreign" ] || say "in $HOME another user owns $foreign(at least); programs may fail to save there;" \
    "on the host: chown -R 1000 the volume"

exec "$@"
