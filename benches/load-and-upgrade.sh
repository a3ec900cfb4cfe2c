#!/usr/bin/env bash
# Load and upgrade of the shipped desktop beside the engine's own commands, in one run; of upgrades the
# middle of five. Prints a table; passes or fails nothing.
#
#   benches/load-and-upgrade.sh [WORKSPACE]
#
# Needs: an engine (DOCKER_HOST or the default socket) that has no image of the workspace, or a cold load
# is none (what was sent is in the table); the docker command, curl, jq, and a release build of kasmforge (made if absent). With
# KASMFORGE_STORE packages outlive the run.
set -euo pipefail
cd "$(dirname "$0")/.."
workspace=${1:-desktop}
. benches/setup.sh
for tool in docker jq; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 2; }
done
work=$(mktemp -d)
container=kasmforge-bench
image=kasmforge-bench/$workspace
cleanup() {
    docker ps -aq --filter "name=^$container" | xargs -r docker rm -f >/dev/null 2>&1 || true
    for name in "$image" "kasmforge-kept/$container" kasmforge-bench-docker; do
        docker images -q "$name" | sort -u | xargs -r docker rmi -f >/dev/null 2>&1 || true
    done
    docker volume rm "$container-home" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
cp -r workspaces "$work/"
[ -f kasmforge.lock ] && cp kasmforge.lock "$work/"
port=${PORT:-16901}
rounds=5
definition=$work/workspaces/$workspace.toml
# New to every store, whoever built before.
marker() { printf '%s %s\n' "$1" "$RANDOM$RANDOM" >"$work/workspaces/marker"; }
marker one
# The marker is the file that changes; the names are the bench's own.
sed -i -e '/^repository = /d; /^container = /d; /^ports = /d; /^volumes = /d' \
    -e "s|^\[image\]|[image]\nrepository = \"$image\"|" \
    -e "s|^\[deploy\]|[deploy]\ncontainer = \"$container\"\nports = [\"127.0.0.1:$port:6901\"]|" "$definition"
printf '\n[[files]]\ntarget = "/opt/marker"\nsource = "marker"\n' >>"$definition"

export XDG_STATE_HOME=$work/state
kf() { "$kasmforge" -q --json -C "$work" "$@"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f x", a / b }'; }
row() { printf '| %s | %s | %s | %s | %s |\n' "$@" | tee -a "$work/table"; }
# Until the desktop asks for its password.
answers() { until [ "$(curl -sko /dev/null -w '%{http_code}' "https://127.0.0.1:$port/")" = 401 ]; do sleep 0.05; done; }
healthy() { until [ "$(docker inspect -f '{{.State.Health.Status}}' "$1" 2>/dev/null)" = healthy ]; do sleep 0.1; done; }
archive() { cat "$(readlink -f "$work/result")"; }

echo "building" >&2
kf build "$workspace" >"$work/build.json"
bytes=$(jq .size "$work/build.json")

echo "cold loads" >&2
begun=$(now); archive | docker load -q >/dev/null; load_cold=$(since "$begun")
docker rmi -f "$image:latest" >/dev/null
begun=$(now); kf load "$workspace" >"$work/load.json"; cold=$(since "$begun")
cold_bytes=$(jq .bytes_sent "$work/load.json")

echo "nothing changed" >&2
begun=$(now); archive | docker load -q >/dev/null; load_same=$(since "$begun")
begun=$(now); kf load "$workspace" >"$work/load.json"; same=$(since "$begun")
same_bytes=$(jq .bytes_sent "$work/load.json")

echo "one top layer changed" >&2
marker two
kf build "$workspace" >"$work/build.json"
layer=$(jq '[.layers[] | select(.reused | not) | .size] | add' "$work/build.json")
begun=$(now); kf load "$workspace" >"$work/load.json"; top=$(since "$begun")
top_bytes=$(jq .bytes_sent "$work/load.json")
marker three
kf build "$workspace" >/dev/null
begun=$(now); archive | docker load -q >/dev/null; load_top=$(since "$begun")

echo "upgrades" >&2
kf upgrade "$workspace" >/dev/null
for round in $(seq "$rounds"); do
    sleep 5
    marker "four $round"
    begun=$(now)
    kf run "$workspace" >"$work/run.json"
    since "$begun" >>"$work/all"
    jq '.upgrade.downtime_ms / 1000' "$work/run.json" >>"$work/down"
done
all=$(middle "$work/all")
down=$(middle "$work/down")
kf down "$workspace" >/dev/null

mkdir "$work/docker"
printf 'FROM %s:latest\nCOPY marker /opt/marker\n' "$image" >"$work/docker/Dockerfile"
start() {
    docker run -d --name "$container" --shm-size 512m --restart unless-stopped -p "127.0.0.1:$port:6901" \
        -v "$container-home:/home/kasm-user" kasmforge-bench-docker >/dev/null
}
echo five >"$work/docker/marker"
docker build -q -t kasmforge-bench-docker "$work/docker" >/dev/null
start; healthy "$container"
for round in $(seq "$rounds"); do
    sleep 5
    echo "six $round" >"$work/docker/marker"
    begun=$(now)
    docker build -q -t kasmforge-bench-docker "$work/docker" >/dev/null
    stopped=$(now)
    docker rm -f "$container" >/dev/null
    start; answers; since "$stopped" >>"$work/peer-down"
    healthy "$container"; since "$begun" >>"$work/peer-all"
done
peer_all=$(middle "$work/peer-all")
peer_down=$(middle "$work/peer-down")

echo
echo "engine $(docker version -f '{{.Server.Version}}'), image $((bytes / 1000000)) MB, on $(nproc) cores"
row work kasmforge beside ratio bytes
row --- --- --- --- ---
row "load, nothing changed" "$same s" "docker load: $load_same s" "$(ratio "$same" "$load_same")" "$same_bytes"
row "load, one top layer changed" "$top s" "docker load: $load_top s" "$(ratio "$top" "$load_top")" "$top_bytes (layer $layer)"
row "load, cold" "$cold s" "docker load: $load_cold s" "$(ratio "$cold" "$load_cold")" "$cold_bytes"
row "one-file change until healthy" "$all s" "docker build, rm, run: $peer_all s" "$(ratio "$all" "$peer_all")" ""
row "without service" "$down s" "docker rm -f, run: $peer_down s" "$(ratio "$down" "$peer_down")" ""
