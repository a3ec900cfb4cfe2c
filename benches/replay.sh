#!/usr/bin/env bash
# How many bytes an update sends again, by how packages are grouped into layers: the updates that
# really happened to a desktop's packages since its release, replayed one by one. Prints a table for
# the shipped workspaces, and one for the same desktop on the release before; passes or fails nothing.
#
#   benches/replay.sh
#
# Needs kasmforge (made if absent) and a mirror of Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
replay=(cargo run --quiet -p kasmforge-plan --example replay --)
"${replay[@]}" kasmforge.lock

. benches/setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/workspaces"
cat >"$work/workspaces/bookworm.toml" <<'EOF'
[debian]
suite = "bookworm"
updates = true
[packages]
install = ["xfce4", "xfce4-terminal", "firefox-esr", "libreoffice", "vlc", "thunderbird",
           "tigervnc-standalone-server", "novnc", "python3-websockify", "openssh-client", "curl", "git"]
EOF
"$kasmforge" -C "$work" lock >/dev/null
"${replay[@]}" "$work/kasmforge.lock"
