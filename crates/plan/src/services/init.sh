#!/bin/sh
# PID 1 of the container: keeps the services of /etc/kasmforge/services running.
#
# s6 wants a folder it can write for each service, so links to the read-only description are made
# in one at start: nothing of an earlier run of the container is left in it, and nothing needs
# root. Logs outlive restarts.

# To PID 1 signals do nothing that it does not ask for; nothing runs yet that would have to end first.
trap 'exit 0' TERM INT

describe=/etc/kasmforge/services
KASMFORGE_RUN=${KASMFORGE_RUN:-/tmp/kasmforge}

make_folder() {
    mkdir -p "$1/log" 2>/dev/null && [ -w "$1" ] && [ -w "$1/log" ] &&
        rm -rf "$1/services" 2>/dev/null && mkdir "$1/services" 2>/dev/null
}

if ! make_folder "$KASMFORGE_RUN"; then
    # Another user made it: a container started as root before, say.
    spare=$(mktemp -d /tmp/kasmforge.XXXXXX 2>/dev/null || mktemp -d /dev/shm/kasmforge.XXXXXX)
    echo "kasmforge: $KASMFORGE_RUN cannot be written by uid $(id -u); using $spare" >&2
    KASMFORGE_RUN=$spare
    make_folder "$KASMFORGE_RUN"
fi
export KASMFORGE_RUN
scan=$KASMFORGE_RUN/services

for service in "$describe"/*/ "$describe"/.s6-svscan/; do
    [ -d "$service" ] || continue
    name=$(basename "$service")
    mkdir -p "$scan/$name"
    for part in "$service"*; do
        [ "$part" != "${service}log" ] || continue
        ln -s "$part" "$scan/$name/"
    done
    if [ -d "${service}log" ]; then
        mkdir -p "$scan/$name/log" "$KASMFORGE_RUN/log/$name"
        ln -s "${service}log"/* "$scan/$name/log/"
    fi
done

# Where the end of the whole is asked for, and with which status (see supervise.sh).
echo $$ >"$KASMFORGE_RUN/pid"
rm -f "$KASMFORGE_RUN/exit-status"

cd "$scan" || exit 111
exec s6-svscan .
