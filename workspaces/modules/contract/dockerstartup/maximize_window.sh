#!/bin/bash
# Maximises the application's window once it is there: MAXIMIZE=true, MAXIMIZE_NAME a part of its
# title (any window, if empty). Gives up after a minute: not every application has a window.

[ "${MAXIMIZE:-true}" = true ] && command -v wmctrl >/dev/null || exit 0
for _ in {1..120}; do
    while read -r id desktop _ title; do
        # -1 is on every desktop: a panel, the backdrop.
        [ "$desktop" != -1 ] || continue
        case $title in
        *"${MAXIMIZE_NAME-}"*) wmctrl -i -r "$id" -b add,maximized_vert,maximized_horz && exit 0 ;;
        esac
    done < <(wmctrl -l 2>/dev/null)
    sleep 0.5
done
