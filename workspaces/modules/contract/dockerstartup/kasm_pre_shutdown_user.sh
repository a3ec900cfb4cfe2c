#!/bin/bash
# Kasm runs this as kasm-user before a session ends: browsers are asked to close, so that they save
# what they have, then the profile goes back to object storage.

tell() {
    /usr/libexec/kasmforge/tell "$1" kasm_pre_shutdown_user.sh "$2"
}

if command -v wmctrl >/dev/null; then
    for _ in {1..10}; do
        windows=$(wmctrl -lx 2>/dev/null | grep -iE 'chrom|firefox|brave|edge|vivaldi' | cut -d' ' -f1)
        [ -n "$windows" ] || break
        for window in $windows; do
            wmctrl -i -c "$window"
        done
        sleep 1
    done
fi

[ -n "${KASM_PROFILE_LDR-}" ] || exit 0
if [ -n "${KASM_PROFILE_SIZE_LIMIT-}" ] && [ "$(du -s "$HOME" 2>/dev/null | cut -f1)" -gt "$KASM_PROFILE_SIZE_LIMIT" ]; then
    tell WARNING "the profile is larger than KASM_PROFILE_SIZE_LIMIT ($KASM_PROFILE_SIZE_LIMIT kB) and is not saved"
    /usr/libexec/kasmforge/kasm-api set_kasm_session_status '{"destroyed": true}'
    exit 0
fi
sync=/usr/bin/kasm-profile-sync
if [ ! -x "$sync" ]; then
    tell WARNING "the image has no $sync, so the profile is not saved"
    exit 0
fi
filter=${KASM_PROFILE_FILTER:-.vnc,.cache,Downloads,Uploads,.config/*/Singleton*}
if output=$(http_proxy='' https_proxy='' "$sync" --upload /home/kasm-user --insecure --filter "$filter" \
    --remote "$KASM_API_HOST" --port "$KASM_API_PORT" -c "${KASM_PROFILE_CHUNK_SIZE:-100000}" \
    --token "$KASM_API_JWT" 2>&1); then
    tell INFO "the profile is saved"
else
    # Kasm's desktop shows this to the person.
    touch /tmp/.kasm_container_shutdown_failure
    tell ERROR "the profile could not be saved: $(printf '%s\n' "$output" | tail -n 1)"
    exit 1
fi
/usr/libexec/kasmforge/kasm-api set_kasm_session_status '{"destroyed": true}'
