#!/bin/bash
# Maximises the application's window once it is there: MAXIMIZE=true, MAXIMIZE_NAME a part of its
# title (any window, if empty). Some applications set their own size after that, so it is done until it
# has held for a while. Gives up after a minute: not every application has a window.

[ "${MAXIMIZE:-true}" = true ] && command -v wmctrl >/dev/null || exit 0
held=0
for _ in {1..120}; do
    while read -r id desktop _ title; do
        # -1 is on every desktop: a panel, the backdrop.
        [ "$desktop" != -1 ] || continue
        case $title in
        *"${MAXIMIZE_NAME-}"*)
            if xprop -id "$id" _NET_WM_STATE 2>/dev/null | grep -q MAXIMIZED_VERT; then
                held=$((held + 1))
                [ "$held" -lt 10 ] || exit 0
            else
                held=0
                wmctrl -i -r "$id" -b add,maximized_vert,maximized_horz
            fi
            ;;
        esac
    done < <(wmctrl -l 2>/dev/null)
    sleep 0.5
done
