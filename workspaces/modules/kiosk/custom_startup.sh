#!/bin/bash
# Keeps the one application of this desktop running, or opens an address in it.
#
#   custom_startup.sh                       started with the desktop; goes on for ever
#   custom_startup.sh --go|--assign [-u|--url URL]   opens URL in the desktop that runs
#
# Variables: START_COMMAND, PGREP, MAXIMIZE, MAXIMIZE_NAME, DEFAULT_ARGS, APP_ARGS, KASM_URL,
# LAUNCH_URL, DISABLE_CUSTOM_STARTUP.

tell() {
    /usr/libexec/kasmforge/tell "$1" custom_startup.sh "${@:2}"
}

if [ -z "${START_COMMAND-}" ]; then
    tell ERROR "START_COMMAND is not set, so there is no application to start; give it in [image.environment]"
    exit 1
fi
read -ra start <<<"$START_COMMAND"
name=${PGREP:-${start[0]##*/}}
# As the shell reads them: quotes hold words together.
declare -a arguments="(${APP_ARGS-${DEFAULT_ARGS-}})"

action=run url=
while [ $# -gt 0 ]; do
    case $1 in
    -g | --go | -a | --assign) action=open ;;
    -u | --url)
        url=${2-}
        shift
        ;;
    --url=*) url=${1#--url=} ;;
    --) ;;
    -*) tell WARNING "custom_startup.sh does not know $1" ;;
    *) url=$1 ;;
    esac
    shift
done

# The kernel knows the first 15 letters of a name only.
runs() {
    pgrep -u "$(id -u)" -x "${name:0:15}" >/dev/null
}

ready() {
    /usr/bin/filter_ready
    /usr/bin/desktop_ready
}

command=("${start[@]}")
if [ -x /opt/VirtualGL/bin/vglrun ] && [ -O "${KASM_EGL_CARD-}" ] && [ -O "${KASM_RENDERD-}" ]; then
    command=(/opt/VirtualGL/bin/vglrun -d "$KASM_EGL_CARD" "${command[@]}")
fi

if [ "$action" = open ]; then
    if [ -z "$url" ]; then
        echo "No URL. Doing nothing."
        exit 0
    fi
    ready
    /dockerstartup/maximize_window.sh &
    exec "${command[@]}" "${arguments[@]}" "$url"
fi

if [ -n "${DISABLE_CUSTOM_STARTUP-}" ]; then
    echo "DISABLE_CUSTOM_STARTUP is set; the application is not started"
    exit 0
fi
url=${KASM_URL:-${LAUNCH_URL-}}

# Closed, it comes back at once. If it cannot be started it is tried less and less often.
pause=1
while :; do
    if runs; then
        sleep 1
        continue
    fi
    ready
    began=$SECONDS
    /dockerstartup/maximize_window.sh &
    "${command[@]}" "${arguments[@]}" ${url:+"$url"}
    status=$?
    # Some programs hand over to another process and end.
    sleep 1
    if runs; then
        pause=1
        continue
    fi
    if [ "$status" -ne 0 ] && [ $((SECONDS - began)) -lt 10 ]; then
        tell ERROR "$START_COMMAND ended with status $status right after its start; it is tried again in $pause s"
        sleep "$pause"
        [ "$pause" -ge 30 ] || pause=$((pause * 2))
    else
        pause=1
    fi
done
