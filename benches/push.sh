#!/usr/bin/env bash
# What a registry is sent of an image with one package more: by `kasmforge push`, and by `docker push` of
# a Dockerfile's image that was built again. Counted by what the registry keeps more afterwards. Prints a
# table; passes or fails nothing.
#
#   benches/push.sh [WORKSPACE]
#
# Needs: root, docker-registry, an engine (DOCKER_HOST or the default socket), the docker command,
# mmdebstrap, jq, and a release build of kasmforge (made if absent, or named by KASMFORGE). The mirror is
# KASMFORGE_MIRROR, else the first of the host's apt sources.
set -euo pipefail
cd "$(dirname "$0")/.."
workspace=${1:-desktop}
. benches/setup.sh
for tool in docker docker-registry mmdebstrap jq; do
    command -v "$tool" >/dev/null || { echo "missing: $tool (apt-get install $tool)" >&2; exit 2; }
done
find_mirror
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
port=$((20000 + RANDOM % 10000))
image=127.0.0.1:$port/peer/desktop
trap 'kill "$registry" 2>/dev/null; docker image rm -f "$image" kasmforge-bench-base >/dev/null 2>&1
      rm -rf "$work"' EXIT
cp -r workspaces "$work/"
# Without the project's lock: that of the first build names this workspace's packages and no others.

cat >"$work/registry.yml" <<EOF
version: 0.1
log: {accesslog: {disabled: true}, level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:$port"}
EOF
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
mkdir -p "$work/registry"
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done

# kept LABEL COMMAND...: the bytes the registry keeps more after it, and its seconds.
declare -A bytes wall
kept() {
    local label=$1 before after started
    shift
    before=$(du -sb "$work/registry" | cut -f1)
    started=$EPOCHREALTIME
    "$@" >"$work/out" 2>&1 || { echo "failed: $label" >&2; tail -20 "$work/out" >&2; exit 1; }
    wall[$label]=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    after=$(du -sb "$work/registry" | cut -f1)
    bytes[$label]=$((after - before))
    echo "  $label: ${bytes[$label]} bytes, ${wall[$label]} s" >&2
}

build() { "$kasmforge" -C "$work" ${STORE:+--store "$STORE"} build "$workspace" >&2; }
push() { "$kasmforge" -C "$work" ${STORE:+--store "$STORE"} push "$workspace" "127.0.0.1:$port/ours/desktop" "$@"; }
STORE=${KASMFORGE_STORE:-$work/store}

echo "ours" >&2
build
packages=$(sed -n '/^\[\[package\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$work/kasmforge.lock" | sort -u | tr '\n' ' ')
kept ours-first push
kept ours-nothing push
sed -i '0,/^install = \[/s//install = ["tree", /' "$work/workspaces/$workspace.toml"
build
kept ours-package push
kept ours-zstd push --compression zstd

echo "docker's" >&2
suite=$(sed -n 's/^suite *= *"\(.*\)"/\1/p' workspaces/core.toml)
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' "$suite" \
    "$work/base.tar" "deb $mirror $suite main" "deb $security $suite-security main"
docker import "$work/base.tar" kasmforge-bench-base >/dev/null
rm "$work/base.tar"
mkdir "$work/docker"
dockerfile() {
    echo "FROM kasmforge-bench-base"
    echo "ENV DEBIAN_FRONTEND=noninteractive"
    echo "RUN printf 'path-exclude=/usr/share/doc/*\\npath-exclude=/usr/share/man/*\\n' > /etc/dpkg/dpkg.cfg.d/slim && \\"
    echo "    apt-get -o Acquire::Check-Valid-Until=false update && \\"
    echo "    apt-get install -y --no-install-recommends $* && \\"
    echo "    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb"
}
dockerfile "$packages" >"$work/docker/Dockerfile"
docker build --quiet --network host -t "$image" "$work/docker" >/dev/null
kept docker-first docker push --quiet "$image"
kept docker-nothing docker push --quiet "$image"
dockerfile "$packages tree" >"$work/docker/Dockerfile"
docker build --quiet --network host -t "$image" "$work/docker" >/dev/null
kept docker-package docker push --quiet "$image"

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b ? a / b : 0 }'; }
row() { printf '| %-22s | %15s | %17s | %6s | %11s | %13s |\n' "$@"; }
echo
row "pushed" "kasmforge bytes" "docker push bytes" "ratio" "kasmforge s" "docker push s"
row "---" "---" "---" "---" "---" "---"
for what in first nothing package; do
    case $what in
        first) name="the first time" ;;
        nothing) name="nothing changed" ;;
        package) name="one package more" ;;
    esac
    row "$name" "${bytes[ours-$what]}" "${bytes[docker-$what]}" \
        "$(ratio "${bytes[ours-$what]}" "${bytes[docker-$what]}")" "${wall[ours-$what]}" "${wall[docker-$what]}"
done
