# What the generated run, check, finish and stop scripts have in common: POSIX sh, to be sourced.
#
# s6-supervise starts them in the service's own folder. Beside s6's files that folder holds
#   started    when the command was last started, in seconds since 1970
#   failures   how many times in a row it ended soon after its start
#   complete   there once the command has done all it had to do

folder=${KASMFORGE_RUN:-/tmp/kasmforge}
health_log=${KASMFORGE_HEALTH_LOG:-/tmp/container-health.log}

# An image may have programs here that are told what happens: `on-report MESSAGE`, and
# `on-death SERVICE STATUS SIGNAL`, whose exit status 1 ends the container.
hooks=/usr/libexec/kasmforge

# What stands before a command to ask when it is ready; words without spaces.
asker=

# A service that lived this many seconds is no longer one that fails at its start.
settled_after=60

# Writes one line to the health log, which is kept from growing without end, and to stderr.
report() {
    if [ "$(wc -c 2>/dev/null <"$health_log" || echo 0)" -gt 262144 ]; then
        mv -f "$health_log" "$health_log.1" 2>/dev/null
    fi
    { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$health_log"; } 2>/dev/null
    printf 'kasmforge: %s\n' "$*" >&2
    [ ! -x "$hooks/on-report" ] || "$hooks/on-report" "$*"
}

# What the service said last, for those who read of its death. Its log is written by another
# process, which is given a moment.
last_words() {
    sleep 0.2
    words=$(tail -n 1 "$folder/log/$1/current" 2>/dev/null | sed 's/^[^ ]* [^ ]*  //' | cut -c-300)
    [ -z "$words" ] || printf ' (it said last: %s)' "$words"
}

# Ends the whole, with this status, as if the engine had asked PID 1 to. Not from the service's own
# folder: the stop waits for every service.
end_all() {
    echo "$1" >"$folder/exit-status"
    kill -TERM "$(cat "$folder/pid")" 2>/dev/null
}

# Sleeps before the next start of a service that keeps ending: not at all after the first end,
# then 1, 2, 4, 8, 16 and at last 30 seconds.
back_off() {
    failures=$(cat failures 2>/dev/null || echo 0)
    delay=1
    while [ "$failures" -gt 2 ] && [ "$delay" -lt 30 ]; do
        delay=$((delay * 2))
        failures=$((failures - 1))
    done
    [ "$delay" -le 30 ] || delay=30
    [ "$failures" -le 1 ] || sleep "$delay"
}

# Waits until the named services are ready, or have done all they had to do.
wait_for() {
    for other; do
        until [ -e "../$other/complete" ] || s6-svwait -U -t 10000 "../$other" 2>/dev/null; do
            [ -e "../$other/complete" ] || echo "kasmforge: waiting for $other"
            # s6-svwait gives up at once on a service that has failed for good.
            sleep 1
        done
    done
}

# Runs a command as a user where PID 1 may choose one, and as PID 1's own user where it may not.
run_as() {
    user=$1
    shift
    if [ -n "$user" ] && [ "$(id -u)" -eq 0 ]; then
        # The entry point may have given the user another home than its own.
        if ! s6-setuidgid "$user" test -w "$HOME"; then
            HOME=$(getent passwd "$user" | cut -d: -f6)
        fi
        export HOME="${HOME:-/}" USER="$user" LOGNAME="$user"
        set -- s6-setuidgid "$user" "$@"
    fi
    # shellcheck disable=SC2086 # several words
    set -- $asker "$@"
    exec "$@"
}

# The end of a run script: start USER WAY COMMAND... WAY is `running` for a service that is ready
# as soon as it runs, and `checked` for one whose ./data/check is asked until it says yes.
start() {
    user=$1 way=$2
    shift 2
    date +%s >started
    # The asker stays PID 1's user, to whom this folder belongs.
    if [ "$way" = checked ]; then
        asker='s6-notifyoncheck -d -n 0 -w 250 --'
    else
        echo >&3
        exec 3>&-
    fi
    # The command starts at home, where there is one.
    # shellcheck disable=SC2016 # its own shell's HOME
    run_as "$user" sh -c 'cd "$HOME" 2>/dev/null || cd /; exec "$@"' sh "$@"
}

# The finish script: ended NAME RESTART STATUS SIGNAL tells what happened, counts failures, and
# exits with 125 where s6 must not start the service again.
ended() {
    name=$1 restart=$2
    if [ "$3" -eq 256 ]; then
        how="was ended by signal $4"
    else
        how="ended with status $3"
    fi
    # Who stopped the service knows that it ends.
    if [ "$(s6-svstat -o wantedup . 2>/dev/null)" = false ]; then
        rm -f failures
        exit 0
    fi
    if [ "$3" -eq 0 ] && [ "$restart" != always ]; then
        : >complete
        exit 125
    fi
    if [ -x "$hooks/on-death" ] && ! "$hooks/on-death" "$name" "$3" "$4"; then
        report "$name $how; the container ends, as its settings ask$(last_words "$name")"
        end_all 1
        exit 125
    fi
    now=$(date +%s)
    lived=$((now - $(cat started 2>/dev/null || echo "$now")))
    failures=$(cat failures 2>/dev/null || echo 0)
    [ "$lived" -lt "$settled_after" ] || failures=0
    echo $((failures + 1)) >failures
    if [ "$restart" = never ]; then
        report "$name $how after $lived s and stays down; its log is $folder/log/$name/current$(last_words "$name")"
        exit 125
    fi
    report "$name $how after $lived s and starts again; its log is $folder/log/$name/current$(last_words "$name")"
    exit 0
}

# Stops the named services together and waits until they are gone: stop MILLISECONDS NAME...
#
# A service that is only about to be supervised hears nothing yet, so it is told again.
stop() {
    limit=$1
    shift
    while [ "$limit" -gt 0 ]; do
        for name; do
            s6-svc -d "$name" 2>/dev/null
        done
        s6-svwait -D -a -t 500 "$@" 2>/dev/null
        case $? in
        0) return ;;
        99) limit=$((limit - 500)) ;;
        *)
            # One of them has no supervisor: not yet, or not any more.
            sleep 0.1
            limit=$((limit - 200))
            ;;
        esac
    done
}
