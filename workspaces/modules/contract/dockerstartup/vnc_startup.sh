#!/bin/sh
# Second link of the entry point: prepares what services need, then becomes PID 1's supervisor.
#
# Whatever goes wrong here is told and passed over: a container that has ended can be neither
# looked into nor mended.

# To PID 1 signals do nothing that it does not ask for.
trap 'exit 0' TERM INT

say() {
    /usr/libexec/kasmforge/tell WARNING vnc_startup.sh "$*"
}

case ${1-} in
-h | --help)
    echo "Starts the desktop. Everything is set by environment variables; see docs/contract.md of kasmforge."
    exit 0
    ;;
esac

as_user=
if [ "$(id -u)" -eq 0 ] && getent passwd kasm-user >/dev/null; then
    as_user="s6-setuidgid kasm-user"
fi

# Without a folder for temporary files there is no X server.
if ! $as_user test -w /tmp; then
    say "/tmp cannot be written, so there can be no desktop; with a read-only root, run the" \
        "container with --tmpfs /tmp"
fi

# Sockets and secrets of this run. The image's environment names the folder, so that programs
# started by `docker exec` find display and bus too.
XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp/runtime-kasm-user}
$as_user mkdir -p -m 0700 "$XDG_RUNTIME_DIR" 2>/dev/null
if ! $as_user test -O "$XDG_RUNTIME_DIR" || ! $as_user test -w "$XDG_RUNTIME_DIR"; then
    spare=$($as_user mktemp -d 2>/dev/null || $as_user mktemp -d -p /dev/shm)
    say "$XDG_RUNTIME_DIR cannot be used by uid $($as_user id -u); using $spare"
    XDG_RUNTIME_DIR=$spare
    export XAUTHORITY="$spare/Xauthority" DBUS_SESSION_BUS_ADDRESS="unix:path=$spare/bus"
fi
export XDG_RUNTIME_DIR
$as_user chmod 0700 "$XDG_RUNTIME_DIR"
$as_user mkdir -p "$XDG_RUNTIME_DIR/kasmforge"

# Kasm passes the language of the person's browser; not every language is in the image.
has_locale() {
    locale -a 2>/dev/null | grep -qixF "$(echo "$1" | sed 's/[Uu][Tt][Ff]-8/utf8/')"
}
wanted=${LC_ALL:-${LANG:-C.UTF-8}}
if ! has_locale "$wanted"; then
    spare=C.UTF-8
    ! has_locale en_US.UTF-8 || spare=en_US.UTF-8
    say "the image has no locale $wanted; using $spare"
    wanted=$spare
fi
[ "$wanted" = en_US.UTF-8 ] || LANGUAGE=${wanted%%.*}
export LC_ALL="$wanted" LANG="$wanted" LANGUAGE

# A time zone that does not exist would silently be UTC.
if [ -n "${TZ-}" ] && [ ! -e "/usr/share/zoneinfo/${TZ#:}" ] && [ "${TZ#*[0-9]}" = "$TZ" ]; then
    say "the image has no time zone $TZ; using Etc/UTC"
    export TZ=Etc/UTC
fi

for step in /usr/libexec/kasmforge/start.d/*; do
    [ -x "$step" ] || continue
    # In the background, so that a signal is heard at once.
    $as_user "$step" &
    wait $! || say "$step ended with status $?; going on"
done

# Services read it from a file that only the user may read.
unset VNC_PW VNC_VIEW_ONLY_PW

/usr/libexec/kasmforge/tell INFO vnc_startup.sh "Kasm User ${KASM_USER_NAME-} (${KASM_USER_ID-}) started container id ${HOSTNAME:-$(hostname)}" >/dev/null 2>&1
exec /usr/libexec/kasmforge/init
