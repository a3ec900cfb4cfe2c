#!/usr/bin/env bash
# Cold and warm builds of the shipped desktop beside `docker build` of a Dockerfile that installs the
# same packages from the same mirror, and beside mmdebstrap making a tar of them, in one run; of cold builds
# the middle of three, of what takes less than a second the middle of five. Prints a table; passes or fails
# nothing.
#
#   benches/beside-docker-build.sh [WORKSPACE]
#
# Needs: root, an engine (DOCKER_HOST or the default socket), the docker command, mmdebstrap, jq, GNU
# time, some 25 GB below TMPDIR, and a release build of kasmforge (made if absent). The mirror is
# KASMFORGE_MIRROR, else the first of the host's apt sources.
set -euo pipefail
cd "$(dirname "$0")/.."
workspace=${1:-desktop}
. benches/setup.sh
for tool in docker mmdebstrap jq; do
    command -v "$tool" >/dev/null || { echo "missing: $tool (apt-get install $tool)" >&2; exit 2; }
done

find_mirror
work=$(mktemp -d)
trap 'rm -rf "$work"; docker image rm -f kasmforge-bench kasmforge-bench-plain kasmforge-bench-base >/dev/null 2>&1 || true' EXIT
cp -r workspaces "$work/"
# Without the project's lock: that of the first build names this workspace's packages and no others.

# run LABEL COMMAND...: wall seconds and peak memory of the command's largest process.
declare -A wall peak
run() {
    local label=$1
    shift
    sync
    if ! /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err"; then
        echo "failed: $label" >&2
        tail -20 "$work/err" >&2
        exit 1
    fi
    read -r wall[$label] peak[$label] < <(tail -1 "$work/time")
    echo "  $label: ${wall[$label]} s" >&2
}

# again LABEL COMMAND...: the same once more; its time is the middle of all so far, if they are odd.
again() {
    local label=$1
    run "$@"
    echo "${wall[$label]}" >>"$work/times-$label"
    wall[$label]=$(middle "$work/times-$label")
}

# quick LABEL CHANGE COMMAND...: the middle of five, a change made before each.
quick() {
    local label=$1 change=$2 round
    shift 2
    for round in 1 2 3 4 5; do
        eval "$change"
        again "$label" "$@"
    done
}

echo "mirror and base" >&2
suite=$(sed -n 's/^suite *= *"\(.*\)"/\1/p' workspaces/core.toml)
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' "$suite" \
    "$work/base.tar" "deb $mirror $suite main" "deb $security $suite-security main"
docker import "$work/base.tar" kasmforge-bench-base >/dev/null

# A first build writes the lock and warms the mirror's own cache for both sides.
run prepare "$kasmforge" -C "$work" --store "$work/store-0" build "$workspace"
packages=$(awk '/^\[\[package\]\]/{n=""} /^name = /{n=$3} /^version = /{gsub(/"/,"",n); print n}' "$work/kasmforge.lock" | sort -u | tr '\n' ' ')

mkdir "$work/docker"
echo one >"$work/docker/file"
{
    echo "FROM kasmforge-bench-base"
    echo "ENV DEBIAN_FRONTEND=noninteractive"
    echo "RUN printf 'path-exclude=/usr/share/doc/*\\npath-exclude=/usr/share/man/*\\n' > /etc/dpkg/dpkg.cfg.d/slim && \\"
    echo "    apt-get -o Acquire::Check-Valid-Until=false update && \\"
    echo "    apt-get install -y --no-install-recommends $packages && \\"
    echo "    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"
    echo "COPY file /etc/file"
} >"$work/docker/Dockerfile"
# As most are written: nothing is kept from being unpacked.
grep -v path-exclude "$work/docker/Dockerfile" | sed 's/^ *apt-get -o/RUN &/' >"$work/docker/plain"

settle
for round in 1 2 3; do
    again docker-cold docker build --quiet --no-cache --network host -t kasmforge-bench "$work/docker"
    # Nothing is removed between them: what makes files next would be slower for minutes.
    store=$work/store-$round
    again cold "$kasmforge" -C "$work" --store "$store" build "$workspace"
done
quick nothing : "$kasmforge" -C "$work" --store "$store" build "$workspace"
quick docker-nothing : docker build --quiet --network host -t kasmforge-bench "$work/docker"
definition=$work/workspaces/$workspace.toml
printf '\n[[files]]\ntarget = "/etc/bench"\nsource = "file"\n' >>"$definition"
quick file 'echo "$round" >"$work/workspaces/file"' "$kasmforge" -C "$work" --store "$store" build "$workspace"
quick docker-file 'echo "two $round" >"$work/docker/file"' docker build --quiet --network host -t kasmforge-bench "$work/docker"
# A package more, a small one without scripts, at the end of what the desktop asks for.
sed -i '0,/^install = \[/s//install = ["tree", /' "$definition"
settle
run package "$kasmforge" -C "$work" --store "$store" build "$workspace"
sed -i 's/--no-install-recommends /&tree /' "$work/docker/Dockerfile"
settle
run docker-package docker build --quiet --network host -t kasmforge-bench "$work/docker"
# The same below everything; and one with libraries, for which all stages' scripts run again.
below() {
    sed -i "0,/^install = \\[/s//install = [\"$2\", /" "$work/workspaces/modules/contract.toml"
    settle
    run "$1" "$kasmforge" -C "$work" --store "$store" build "$workspace"
}
below below hello
below libraries jq
settle
run docker-plain docker build --quiet --no-cache --network host -t kasmforge-bench-plain \
    -f "$work/docker/plain" "$work/docker"
# The same packages in a tar, from the same mirror, its file system that of the store.
settle
run mmdebstrap env TMPDIR="$work" mmdebstrap --quiet --variant=minbase \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --include="${packages// /,}tree" "$suite" "$work/peer.tar" \
    "deb $mirror $suite main" "deb $security $suite-security main"
# With every .deb at hand and nothing else.
mkdir -p "$work/store-debs/"
cp -r "$store/blobs" "$store/steps" "$store/format" "$work/store-debs/"
settle
run debs "$kasmforge" -C "$work" --store "$work/store-debs" build "$workspace"

# What the same engine says of each.
"$kasmforge" -C "$work" --store "$store" load "$workspace" >/dev/null 2>&1
image=$("$kasmforge" -C "$work" --store "$store" --json build "$workspace" | jq -r .reference)
size() { docker image inspect "$1" | jq '.[0].Size'; }
ours=$(size "$image")
theirs=$(size kasmforge-bench)
plain=$(size kasmforge-bench-plain)
docker image rm -f "$image" >/dev/null
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
row() { printf '| %-28s | %10s | %12s | %6s |\n' "$@"; }
echo
row "work" "kasmforge s" "docker build s" "ratio"
row "---" "---" "---" "---"
row "cold, packages to fetch" "${wall[cold]}" "${wall[docker-cold]}" "$(ratio "${wall[cold]}" "${wall[docker-cold]}")"
row "cold, packages at hand" "${wall[debs]}" "-" "-"
row "cold, beside mmdebstrap" "${wall[cold]}" "${wall[mmdebstrap]} (mm)" "$(ratio "${wall[cold]}" "${wall[mmdebstrap]}")"
row "one package more" "${wall[package]}" "${wall[docker-package]}" "$(ratio "${wall[package]}" "${wall[docker-package]}")"
row "one in the lowest stage" "${wall[below]}" "${wall[docker-package]}" "$(ratio "${wall[below]}" "${wall[docker-package]}")"
row "one with libraries there" "${wall[libraries]}" "${wall[docker-package]}" "$(ratio "${wall[libraries]}" "${wall[docker-package]}")"
row "one file changed" "${wall[file]}" "${wall[docker-file]}" "$(ratio "${wall[file]}" "${wall[docker-file]}")"
row "nothing changed" "${wall[nothing]}" "${wall[docker-nothing]}" "$(ratio "${wall[nothing]}" "${wall[docker-nothing]}")"
row "image MB" "$((ours / 1000000))" "$((plain / 1000000))" "$(ratio "$ours" "$plain")"
row "image MB, docs excluded there" "$((ours / 1000000))" "$((theirs / 1000000))" "$(ratio "$ours" "$theirs")"
row "peak MB of one process" "$((peak[cold] / 1024))" "-" "-"
