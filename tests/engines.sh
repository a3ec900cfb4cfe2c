#!/usr/bin/env bash
# Load, upgrade and every fault of crates/deploy/tests/engine against other engines than Debian's
# Docker: a newer one with the containerd store, Podman's service, an engine behind ssh, one behind TLS, a
# rootless one, and a containerd without an engine. As root.
#
#   tests/engines.sh [newer|podman|ssh|tls|rootless|containerd]...
#
# newer:      needs mmdebstrap: the engine is Debian trixie's, in a root of its own. Or
#             KASMFORGE_TEST_DOCKERD is a folder with a `dockerd` that has the containerd store.
# podman:     needs Debian's podman.
# ssh:        needs openssh-server and the docker command.
# tls:        needs openssl.
# rootless:   needs rootlesskit, uidmap, slirp4netns, and /dev/net/tun for everybody; makes a user
#             `kfrootless`, and removes it.
# containerd: needs containerd with ctr, and builds `core`.
set -euo pipefail
cd "$(dirname "$0")/.."
kasmforge=${KASMFORGE:-target/release/kasmforge}
work=$(mktemp -d)
started=()
# Ends what was started, so that the next engine may take its place.
ended() {
    local process
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    started=()
    rm -f "$work"/*.sock
}
finish() {
    ended
    ! id kfrootless >/dev/null 2>&1 || { pkill -KILL -u kfrootless || true; userdel kfrootless || true; }
    # Nothing of an engine stays on the machine: neither its bridge nor what it mounted.
    ip link delete kfengines 2>/dev/null || true
    awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mounted; do umount --lazy "$mounted" || true; done
    rm -rf --one-file-system "$work" || true
}
trap finish EXIT
tests=$(cargo test --workspace --test engine --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/engine-[0-9a-f]*\)".*/\1/p' | tail -1)
until_there() { for _ in $(seq 100); do [ -S "$1" ] && return; sleep 0.1; done; echo "$1 did not come" >&2; return 1; }

# A folder whose `dockerd` is trixie's, on a machine without `ps`. The tests start it in a mount namespace
# of its own, where it gets its own root: a mount point, or the engine could not make one of a container's.
trixie() {
    local mirror=${KASMFORGE_MIRROR:-} root=$work/trixie
    [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' |
        awk '$2 == "main" && /\/debian\// {print $1; exit}')
    mmdebstrap --quiet --mode=root --variant=apt --include=docker.io,iproute2,mount \
        --aptopt='APT::Install-Recommends "false"' trixie "$root" "deb $mirror trixie main"
    mkdir -p "$root/old" "$root/etc/docker" "$work/dockerd"
    echo '{"features": {"containerd-snapshotter": true}}' >"$root/etc/docker/daemon.json"
    cat >"$work/dockerd/dockerd" <<EOF
#!/bin/sh
mount --bind $root $root
for folder in proc sys dev tmp var/tmp run; do
    mkdir -p $root/\$folder
    mount --rbind /\$folder $root/\$folder
done
cd $root && pivot_root . old && exec chroot . sh -c 'umount -l /old
    exec /usr/sbin/dockerd "\$@"' dockerd "\$@"
EOF
    chmod +x "$work/dockerd/dockerd"
    KASMFORGE_TEST_DOCKERD=$work/dockerd
}

newer() {
    [ -n "${KASMFORGE_TEST_DOCKERD:-}" ] || trixie
    PATH=$KASMFORGE_TEST_DOCKERD:$PATH "$tests" --test-threads=2
}

podman() {
    # In a container of its own a machine may not raise these limits.
    printf '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]\n' >"$work/containers.conf"
    CONTAINERS_CONF=$work/containers.conf command podman --root "$work/podman" --runroot "$work/podman-run" \
        --cgroup-manager cgroupfs system service -t 0 "unix://$work/podman.sock" 2>"$work/podman.log" &
    started+=($!)
    until_there "$work/podman.sock"
    # Desktops of these tests have a restart policy, which Podman cannot take away: images only.
    for test in a_damaged_image a_connection_that_breaks; do
        KASMFORGE_TEST_ENGINE_SOCKET=$work/podman.sock "$tests" --test-threads=1 "$test"
    done
}

# An engine of Docker's at $work/docker.sock, with nothing in it.
engine() {
    local home
    home=$(mktemp -d -p "$work")
    ip link add kfengines type bridge 2>/dev/null || true
    ip addr add 10.212.9.1/24 dev kfengines 2>/dev/null || true
    ip link set kfengines up
    dockerd --host "unix://$work/docker.sock" --data-root "$home/data" --exec-root "$home/exec" \
        --pidfile "$work/dockerd.pid" --bridge kfengines --iptables=false --ip6tables=false \
        --ip-masq=false "$@" >"$work/dockerd.log" 2>&1 &
    started+=($!)
    until_there "$work/docker.sock"
}

ssh() {
    engine
    ssh-keygen -q -t ed25519 -N '' -f "$work/host"
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
    cp "$work/key.pub" "$work/authorized"
    mkdir -p /run/sshd
    printf '%s\n' "Port 10922" "ListenAddress 127.0.0.1" "HostKey $work/host" \
        "AuthorizedKeysFile $work/authorized" "StrictModes no" "UsePAM no" >"$work/sshd_config"
    /usr/sbin/sshd -D -f "$work/sshd_config" 2>"$work/sshd.log" &
    started+=($!)
    # ssh is told of key and port in the way it is told of anything: by its own configuration.
    mkdir "$work/bin"
    printf '#!/bin/sh\nexec /usr/bin/ssh -i %s -o UserKnownHostsFile=%s -o StrictHostKeyChecking=no "$@"\n' \
        "$work/key" "$work/known" >"$work/bin/ssh"
    chmod +x "$work/bin/ssh"
    sleep 1
    for test in a_desktop_is_created a_damaged_image a_plan_touches; do
        PATH=$work/bin:$PATH KASMFORGE_TEST_ENGINE_SOCKET=$work/docker.sock \
            KASMFORGE_TEST_ENGINE_HOST="ssh://root@127.0.0.1:10922$work/docker.sock" \
            "$tests" --test-threads=1 "$test"
    done
}

tls() {
    certificates
    engine --tlsverify --tlscacert "$work/ca.pem" --tlscert "$work/server.pem" \
        --tlskey "$work/server.key" --host tcp://127.0.0.1:10923
    for test in a_desktop_is_created a_load_sends upgrades::a_plan_touches; do
        DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=$work KASMFORGE_TEST_ENGINE_SOCKET=$work/docker.sock \
            KASMFORGE_TEST_ENGINE_HOST=tcp://127.0.0.1:10923 "$tests" --test-threads=1 "$test"
    done
}

# An authority, and certificates of a server at 127.0.0.1 and of a client by it, as Docker names them.
certificates() {
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) name
    openssl req -x509 "${key[@]}" -days 2 -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.pem"
    for name in server:serverAuth key:clientAuth; do
        openssl req "${key[@]}" -subj /CN=kasmforge -keyout "$work/${name%%:*}.key" -out "$work/csr"
        openssl x509 -req -in "$work/csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
            -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%s\n' "${name##*:}") \
            -out "$work/${name%%:*}.pem"
    done
    mv "$work/key.pem" "$work/cert.pem"
    mv "$work/key.key" "$work/key.pem"
} 2>/dev/null

rootless() {
    local home=$work/rootless starter
    for starter in /usr/share/docker.io/contrib /usr/bin; do
        [ -x "$starter/dockerd-rootless.sh" ] && break
    done
    useradd --create-home --home-dir "$home" --shell /bin/sh kfrootless
    chmod 755 "$work"
    mkdir -m 700 "$work/run"
    chown kfrootless "$work/run"
    setpriv --reuid kfrootless --regid kfrootless --init-groups env -i HOME="$home" \
        XDG_RUNTIME_DIR="$work/run" PATH="$PATH:/usr/sbin:/sbin" \
        "$starter/dockerd-rootless.sh" --iptables=false >"$work/rootless.log" 2>&1 &
    started+=($!)
    until_there "$work/run/docker.sock" || { tail -5 "$work/rootless.log" >&2; return 1; }
    for test in a_desktop_is_created a_load_sends a_damaged_image upgrades::a_plan_touches; do
        KASMFORGE_TEST_ENGINE_SOCKET=$work/run/docker.sock "$tests" --test-threads=1 "$test"
    done
}

containerd() {
    command containerd --address "$work/containerd.sock" --root "$work/containerd" \
        --state "$work/containerd-state" >"$work/containerd.log" 2>&1 &
    started+=($!)
    until_there "$work/containerd.sock"
    host="containerd://$work/containerd.sock?tests"
    [ -x "$kasmforge" ] || cargo build --release --quiet
    mkdir "$work/project"
    cp -r workspaces kasmforge.lock "$work/project"
    "$kasmforge" -C "$work/project" build core
    "$kasmforge" -C "$work/project" load core --host "$host"
    "$kasmforge" -C "$work/project" load core --host "$host" | grep 'already'
    ctr --address "$work/containerd.sock" --namespace tests images check
}

[ $# -gt 0 ] || set -- newer podman ssh tls rootless containerd
for name in "$@"; do
    echo "== $name"
    "$name"
    ended
done
