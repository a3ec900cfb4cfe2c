#!/usr/bin/env bash
# The long proofs: what would take CI's time and need not be known at every change.
#
#   tests/nightly.sh [NAME…]        all of them, or these:
#
#   verify      every workspace that is shipped comes out the same, each variation by itself too
#               (WORKSPACES="xfce firefox" takes only those, EACH=no all variations at once only). One
#               whose downloads cannot be had here is told to be not proven; with a stand-in for the
#               vendor's package it must come out the same
#   verify-700  so does a desktop of some 700 packages: XFCE, Firefox, LibreOffice, VLC, Java, Emacs
#   servers     670 packages with databases, mail and printing in them get the owners, modes and
#               capabilities that a run by real root gives them (mmdebstrap in root mode)
#   kills       200 builds killed at random instants leave a store that is valid, and a next build
#               that gives the same image
#   workspaces  each workspace of Debian alone is asked everything by `kasmforge checks` and opened in a
#               real browser; screenshots and figures below target/test-output/workspaces
#   kasmvnc     kasm-core and kasm-desktop are asked everything, too, with KasmVNC's commands made here on top
#               of TigerVNC
#   languages   Japanese, Chinese, Korean and Arabic have fonts in a desktop; a screenshot
#   printing    a page that is printed in a running desktop becomes a PDF in its home
#   apt         the resolver chooses what apt chooses: 250 requests each of two suites, without and with
#               Recommends, and 100 that are likely to be refused; what is different is printed (COUNT
#               and SEED make other requests)
#   engines     load, upgrade and every fault of one hold with a newer engine and its containerd store, 
#               engines behind ssh and TLS, a rootless one, Podman's service (images), and a containerd
#               alone (tests/engines.sh)
#   foreign     an image with packages of i386 and of backports beside the others: dpkg finds nothing to
#               complain of in it, and its programs of both architectures run
#   fuzz        two hundred thousand mutations for each fuzz target, from another seed each day
#
# Needs root, a mirror of Debian, python3, for `servers` mmdebstrap, for `engines` what tests/engines.sh
# names, and for `kasmvnc`, `languages` and `printing` a Docker engine at DOCKER_HOST or where Docker has
# it. Prints what it did; the exit status is the number of proofs that failed or could not be made whole.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
kasmforge=${KASMFORGE:-target/release/kasmforge}
[ -x "$kasmforge" ] || cargo build --release --quiet || exit 1
kasmforge=$(realpath "$kasmforge")
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
export KASMFORGE_STORE=${KASMFORGE_STORE:-$work/store}

# A project of one workspace `desktop`, in its own folder.
project() {
    mkdir -p "$work/$1/workspaces"
    cat >"$work/$1/workspaces/desktop.toml"
}

# What a proof says of itself when it held as far as it could be made.
unproven=75

verify() {
    local failed=0 name each=--each lacking=() said=$work/verify.log
    [ "${EACH:-yes}" = yes ] || each=
    copied verify
    # shellcheck disable=SC2086 # names, and an empty word is no argument
    for name in ${WORKSPACES:-$(basename -s .toml workspaces/*.toml)}; do
        "$kasmforge" -C "$work/verify" verify "$name" $each 2>&1 | tee "$said"
        [ "${PIPESTATUS[0]}" -ne 0 ] || continue
        # The one address that is no archive's.
        if grep -q '^error: there is no image to be verified' "$said" &&
            grep -q '^error: cannot fetch .*/kasmvncserver_' "$said"; then
            lacking+=("$name")
        else
            failed=1
        fi
    done
    [ ${#lacking[@]} -gt 0 ] || return $failed
    stand_in verify-kasmvnc || return 1
    for name in "${lacking[@]}"; do
        # shellcheck disable=SC2086
        "$kasmforge" -C "$work/verify-kasmvnc" verify "$name" $each || failed=1
    done
    kill "$server"
    [ $failed = 0 ] || return 1
    echo "not proven: ${lacking[*]} with the vendor's package, which cannot be fetched here"
    return $unproven
}

verify_700() {
    project verify-700 <tests/nightly/seven-hundred.toml
    "$kasmforge" -C "$work/verify-700" verify desktop
}

servers() {
    project servers <<'EOF'
[debian]
suite = "bookworm"
security = false
[packages]
install = ["xfce4", "xfce4-terminal", "tigervnc-standalone-server", "novnc", "systemd", "udev",
           "openssh-server", "cups", "exim4", "postgresql", "mariadb-server", "man-db", "dbus-x11",
           "iputils-ping", "gvfs", "network-manager"]
[slim]
documentation = true
manuals = true
EOF
    "$kasmforge" -C "$work/servers" build desktop --result "$work/servers/result" || return 1
    local names mirror
    names=$(sed -n '/^\[\[package\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$work/servers/kasmforge.lock" |
        sort -u | paste -sd,)
    mirror=${KASMFORGE_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' |
        awk '$2 == "main" && /\/debian\// {print $1; exit}')}
    mmdebstrap --quiet --mode=root --variant=essential --include="$names" \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-confold \
        bookworm "$work/servers/root.tar" "deb $mirror bookworm main" || return 1
    python3 tests/nightly/owners.py "$work/servers/result" "$work/servers/root.tar"
}

kills() {
    KASMFORGE_TEST_KILLS=200 cargo test --release --test faults \
        killed_at_random_instants -- --nocapture
}

workspaces() {
    KASMFORGE_TEST_STORE=$KASMFORGE_STORE cargo test --release --test workspaces -- --ignored --nocapture
}

# A copy of the shipped workspaces, to change.
copied() {
    mkdir -p "$work/$1" target/test-output/workspaces
    cp -r workspaces kasmforge.lock "$work/$1"
}

# A copy of the shipped workspaces in which KasmVNC's commands are those of tests/kasmvnc. They are served
# by the process `server`, for the caller to end.
stand_in() {
    copied "$1"
    local port digest
    tests/kasmvnc/make-deb.sh "$work" || return 1
    digest=$(sha256sum "$work/kasmvncserver.deb" | cut -d' ' -f1)
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    python3 -m http.server --directory "$work" --bind 127.0.0.1 "$port" >/dev/null 2>&1 &
    server=$!
    sed -i "s|^url = .*|url = \"http://127.0.0.1:$port/kasmvncserver.deb\"|; s|^sha256 = .*|sha256 = \"$digest\"|" \
        "$work/$1/workspaces/modules/kasmvnc.toml"
}

kasmvnc() {
    local status=0 name
    stand_in kasmvnc || return 1
    for name in kasm-core kasm-desktop; do
        "$kasmforge" -C "$work/kasmvnc" build "$name" &&
            "$kasmforge" -C "$work/kasmvnc" checks "$name" \
                --screenshot "target/test-output/workspaces/$name.png" || status=1
    done
    kill "$server"
    return $status
}

languages() {
    copied languages
    cat >"$work/languages/workspaces/languages.toml" <<'EOF'
extends = "xfce"
use = ["modules/fonts-cjk", "modules/kiosk"]
[packages]
install = ["mousepad"]
[[files]]
target = "/usr/local/share/languages.txt"
text = """
日本語の文章です。
这是中文。這是中文。
한국어 문장입니다.
هذه جملة عربية.
"""
[image.environment]
START_COMMAND = "mousepad"
PGREP = "mousepad"
DEFAULT_ARGS = "/usr/local/share/languages.txt"
[[checks]]
name = "fonts for ja, zh, ko, ar"
command = ["sh", "-c", "for language in ja zh-cn zh-tw ko ar; do fc-list \":lang=$language\" family | grep -q . || exit 1; done"]
EOF
    "$kasmforge" -C "$work/languages" build languages &&
        "$kasmforge" -C "$work/languages" checks languages \
            --screenshot target/test-output/workspaces/languages.png
}

printing() {
    copied printing
    cat >"$work/printing/workspaces/printing.toml" <<'EOF'
extends = "xfce"
use = ["modules/printing"]
EOF
    "$kasmforge" -C "$work/printing" build printing &&
        "$kasmforge" -C "$work/printing" load printing || return 1
    local container status=0
    container=$(docker run --detach kasmforge/printing:latest) || return 1
    docker exec -u 0 "$container" /etc/cups/start_cups.sh &&
        docker exec "$container" printer_ready &&
        docker exec "$container" sh -c 'echo "a page" >/tmp/page.txt && lp /tmp/page.txt
            for _ in $(seq 120); do
                head -qc 5 "$HOME"/PDF/*.pdf 2>/dev/null | grep -q "^%PDF-" && exit 0
                sleep 0.5
            done
            lpstat -t; exit 1' || status=1
    docker rm --force --volumes "$container" >/dev/null
    return $status
}

apt() {
    cargo build --release --quiet -p kasmforge-resolve --example beside_apt || return 1
    local suite recommends failed=0
    for suite in bookworm trixie; do
        for recommends in "" --recommends; do
            # shellcheck disable=SC2086 # an empty word is no argument
            target/release/examples/beside_apt --suite "$suite" --count "${COUNT:-250}" \
                --seed "${SEED:-1}" $recommends || failed=1
            # shellcheck disable=SC2086
            target/release/examples/beside_apt --suite "$suite" --count 100 --refusals \
                --seed "${SEED:-1}" $recommends || failed=1
        done
    done
    return $failed
}

foreign() {
    project foreign <<'EOF'
[debian]
suite = "bookworm"
security = false
backports = true
foreign-architectures = ["i386"]
[packages]
install = ["hello", "busybox-static:i386", "libc6:i386", "yt-dlp/bookworm-backports"]
EOF
    local oci=$work/foreign/oci root=$work/foreign/root layers layer said
    "$kasmforge" -C "$work/foreign" build desktop --result "$work/foreign/result" --output "$oci" \
        --format oci-dir || return 1
    layers=$(cd "$oci" && python3 -c '
import json
blob = lambda one: json.load(open("blobs/sha256/" + one["digest"][7:]))
manifest = blob(json.load(open("index.json"))["manifests"][0])
print(*[layer["digest"][7:] for layer in manifest["layers"]])') || return 1
    mkdir "$root"
    for layer in $layers; do
        tar -xf "$oci/blobs/sha256/$layer" -C "$root" --exclude='dev/*' || return 1
    done
    said=$(chroot "$root" dpkg --audit) && [ -z "$said" ] || { echo "$said"; return 1; }
    [ "$(chroot "$root" dpkg --print-foreign-architectures)" = i386 ] &&
        chroot "$root" hello && chroot "$root" busybox true &&
        chroot "$root" dpkg-query --show --showformat '${Package} ${Version}\n' yt-dlp | grep bpo
}

engines() {
    KASMFORGE=$kasmforge tests/engines.sh
}

fuzz() {
    KASMFORGE_FUZZ_RUNS=200000 KASMFORGE_FUZZ_SEED="$(date +%Y%m%d)" \
        cargo test --release --test fuzz
}

failed=0
[ $# -gt 0 ] || set -- verify verify-700 servers kills workspaces kasmvnc languages printing apt engines foreign fuzz
for name in "$@"; do
    case $name in
    verify | verify-700 | servers | kills | workspaces | kasmvnc | languages | printing | apt | engines | foreign | fuzz) ;;
    *) echo "there is no proof called $name" >&2; exit 2 ;;
    esac
    echo "== $name"
    "${name//-/_}"
    case $? in
    0) echo "== $name holds" ;;
    "$unproven")
        echo "== $name holds as far as it could be made: see above"
        failed=$((failed + 1))
        ;;
    *)
        echo "== $name FAILS"
        failed=$((failed + 1))
        ;;
    esac
done
exit $failed
