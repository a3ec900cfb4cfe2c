#!/usr/bin/env bash
# make-deb.sh FOLDER: makes FOLDER/kasmvncserver.deb, a package that provides KasmVNC's commands on top of
# TigerVNC, for machines that cannot fetch the vendor's. It is as strict as the real one in what the
# module around it must do: users and their permissions, the certificate, locks, flags.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1 root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 0755 "$root"
mkdir -p "$root"/{DEBIAN,etc/kasmvnc,usr/bin,usr/share/kasmvnc/www}
cat >"$root/DEBIAN/control" <<CONTROL
Package: kasmvncserver
Version: 1.3.3-0test
Architecture: all
Maintainer: kasmforge's tests <nobody@localhost>
Depends: tigervnc-standalone-server, python3, openssl, procps
Provides: vnc-server
Description: KasmVNC's commands on top of TigerVNC, for tests
CONTROL
printf '/etc/kasmvnc/kasmvnc.yaml\n' >"$root/DEBIAN/conffiles"
printf '# all comments\n' >"$root/etc/kasmvnc/kasmvnc.yaml"
printf '<!DOCTYPE html><title>KasmVNC of the tests</title>\n' >"$root/usr/share/kasmvnc/www/index.html"
cp "$here/Xkasmvnc" "$here/kasmvncserver" "$here/kasmvncpasswd" "$root/usr/bin/"
chmod 0755 "$root"/usr/bin/*
# The generic names exist through alternatives only, as in the real package. TigerVNC's are of lower
# priority.
cat >"$root/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    for pair in kasmvncserver:vncserver kasmvncpasswd:vncpasswd Xkasmvnc:Xvnc; do
        update-alternatives --install "/usr/bin/${pair#*:}" "${pair#*:}" "/usr/bin/${pair%:*}" 90
    done
fi
POSTINST
chmod 0755 "$root/DEBIAN/postinst"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/kasmvncserver.deb" >/dev/null
