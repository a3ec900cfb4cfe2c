#!/usr/bin/env bash
# A desktop of some 700 packages (tests/nightly/seven-hundred.toml, or another definition) with every .deb
# at hand: an image from nothing else, beside mmdebstrap's tar of the same packages on the same file
# system. Prints a table; passes or fails nothing.
#
#   benches/beside-mmdebstrap.sh [DEFINITION]
#
# Needs root, mmdebstrap, GNU time, some 15 GB below TMPDIR (/var/tmp if absent), and a release build of
# kasmforge (made if absent; KASMFORGE names another). The mirror is KASMFORGE_MIRROR, else the first of
# the host's apt sources.
set -euo pipefail
definition=$(realpath "${1:-$(dirname "$0")/../tests/nightly/seven-hundred.toml}")
cd "$(dirname "$0")/.."
. benches/setup.sh
command -v mmdebstrap >/dev/null || { echo "missing: mmdebstrap (apt-get install mmdebstrap)" >&2; exit 2; }
find_mirror
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/project/workspaces" "$work/debs"
cp "$definition" "$work/project/workspaces/desktop.toml"
suite=$(sed -n 's/^suite *= *"\(.*\)"/\1/p' "$work/project/workspaces/desktop.toml")

# A first build brings the .debs. They are given to mmdebstrap under the names apt has for them, and to a
# second store as they are.
"$kasmforge" -C "$work/project" --store "$work/store-0" build desktop >&2
awk '/^\[\[/ { name = "" } $1 == "name" { name = $3 } $1 == "version" { version = $3 }
     $1 == "architecture" { architecture = $3 }
     $1 == "sha256" && name != "" { print name, version, architecture, $3 }' "$work/project/kasmforge.lock" |
    tr -d '"' | sort -u >"$work/packages"
while read -r name version architecture digest; do
    cp "$work/store-0/blobs/sha256/${digest:0:2}/${digest:2}" \
        "$work/debs/${name}_${version//:/%3a}_$architecture.deb"
done <"$work/packages"
mkdir "$work/store"
cp -r "$work/store-0"/{blobs,format} "$work/store/"
names=$(cut -d' ' -f1 "$work/packages" | sort -u | paste -sd,)
count=$(wc -l <"$work/packages")

# run LABEL COMMAND...: wall and processor seconds of a command and all it starts.
declare -A wall busy
run() {
    local label=$1
    shift
    settle
    if ! /usr/bin/time -f '%e %U %S' -o "$work/time" "$@" >"$work/out" 2>"$work/err"; then
        echo "failed: $label" >&2
        tail -20 "$work/err" >&2
        exit 1
    fi
    read -r wall[$label] user system < <(tail -1 "$work/time")
    busy[$label]=$(awk -v a="$user" -v b="$system" 'BEGIN { printf "%.1f", a + b }')
    echo "  $label: ${wall[$label]} s" >&2
}

run ours "$kasmforge" -C "$work/project" --store "$work/store" build --locked desktop
# Java's scripts want the folders of manuals.
run theirs env TMPDIR="$work" mmdebstrap --quiet --variant=minbase --skip=essential/unlink,download/empty \
    --setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
    --setup-hook="cp -l '$work'/debs/*.deb \"\$1/var/cache/apt/archives/\"" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*/*.gz' \
    --include="$names" "$suite" "$work/peer.tar" \
    "deb $mirror $suite main" "deb $security $suite-security main"
row() { printf '| %-34s | %11s | %12s | %6s |\n' "$@"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
row "$count packages, every .deb at hand" "kasmforge" "mmdebstrap" "ratio"
row "---" "---" "---" "---"
row "seconds" "${wall[ours]}" "${wall[theirs]}" "$(ratio "${wall[ours]}" "${wall[theirs]}")"
row "seconds of processors" "${busy[ours]}" "${busy[theirs]}" "$(ratio "${busy[ours]}" "${busy[theirs]}")"
