#!/usr/bin/env bash
# `kasmforge lock` of all shipped workspaces, from nothing but with the indexes at hand, beside one
# `apt-get -s install` of the same packages on an empty system; and `lock --check`. Prints a table;
# passes or fails nothing.
#
#   benches/beside-apt.sh [TIMES]
#
# Each is run TIMES times (5 if absent) in turn, and the middle one counts. Needs apt, GNU time, and a
# release build of kasmforge (made if absent; KASMFORGE names another). The mirror is KASMFORGE_MIRROR,
# else the first of the host's apt sources.
set -euo pipefail
cd "$(dirname "$0")/.."
times=${1:-5}
. benches/setup.sh
find_mirror
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
export KASMFORGE_STORE=${KASMFORGE_STORE:-$work/store}

# What is left out of the lock cannot be locked here either, nor what is built upon it.
mkdir "$work/project"
cp -r workspaces "$work/project"
for name in $(sed -n '/^left-out/,/^]/s/^ *"\(.*\)",$/\1/p' kasmforge.lock); do
    rm "$work/project/workspaces/$name.toml"
done
lock=("$kasmforge" -C "$work/project" --progress=never)
"${lock[@]}" lock >&2
suite=$(sed -n 's/^suite *= *"\(.*\)"/\1/p' workspaces/core.toml)
mapfile -t packages < <(sed -n '/^\[\[package\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$work/project/kasmforge.lock" | sort -u)

# An apt of its own: the archives of the workspaces, and nothing installed.
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/apt/none"
: >"$work/apt/status"
echo "deb $mirror $suite main
deb $security $suite-security main" >"$work/apt/sources.list"
{
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::Languages'
    for pair in State=. State::lists=lists State::status=status State::extended_states=extended \
        Cache=cache Log=log Etc::sourcelist=sources.list Etc::sourceparts=none Etc::preferences=absent \
        Etc::preferencesparts=none Etc::parts=none; do
        echo "Dir::${pair%%=*} \"$work/apt/${pair#*=}\";"
    done
    echo 'Dir::Etc::main "/dev/null"; APT::Sandbox::User "root"; Acquire::Languages "none";'
} >"$work/apt/apt.conf"
export APT_CONFIG=$work/apt/apt.conf
apt-get -q update >&2
apt=(apt-get -q -s --no-install-recommends install "${packages[@]}")
"${apt[@]}" >"$work/first" || { tail -5 "$work/first" >&2; exit 1; }

# run LABEL COMMAND...: notes seconds and peak memory in KiB.
run() {
    local label=$1
    shift
    /usr/bin/time -f '%e %U %M' -o "$work/time" "$@" >"$work/out" 2>&1
    tail -1 "$work/time" >>"$work/$label.times"
}
for _ in $(seq "$times"); do
    rm "$work/project/kasmforge.lock"
    run lock "${lock[@]}" lock
    run check "${lock[@]}" lock --check
    run apt "${apt[@]}"
done
read -r lock_wall lock_user lock_peak < <(middle "$work/lock.times")
read -r check_wall check_user check_peak < <(middle "$work/check.times")
read -r apt_wall apt_user apt_peak < <(middle "$work/apt.times")
workspaces=$(ls "$work"/project/workspaces/*.toml | wc -l)
printf '%d workspaces, %d packages, %s\n\n' "$workspaces" "${#packages[@]}" "$(apt-get --version | head -1)"
printf '| what | seconds | of these in the program | peak memory |\n| --- | --- | --- | --- |\n'
row() { printf '| %s | %s | %s | %d MB |\n' "$1" "$2" "$3" "$(($4 / 1000))"; }
row '`kasmforge lock`, all anew' "$lock_wall" "$lock_user" "$lock_peak"
row '`apt-get -s install` of the same' "$apt_wall" "$apt_user" "$apt_peak"
row '`kasmforge lock --check`' "$check_wall" "$check_user" "$check_peak"
awk -v ours="$lock_wall" -v apts="$apt_wall" 'BEGIN { printf "\nratio %.2f\n", ours / apts }'
