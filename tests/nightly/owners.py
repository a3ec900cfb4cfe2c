#!/usr/bin/env python3
"""Compares an image with a root file system made by real root, path by path: kind, mode, owner and
group (by name: numbers are each run's own), capabilities and access control lists.

    owners.py IMAGE.tar ROOT.tar

Paths of which one side has none, where that is what a build of an image wants, are named below.
"""
import json
import re
import sys
import tarfile

# What only one of the two has, or has otherwise, and why.
EXPECTED = re.compile(
    "|".join(
        [
            r"^(dev|proc|sys|run|tmp)(/|$)",  # made at start
            r"^var/(log|cache|tmp|lib/(apt|dpkg|systemd|ucf|doc-base|mecab))/",  # what normalising takes away
            r"^var/lib/(aspell|dictionaries-common|NetworkManager)/",
            r"^etc/(ssh/ssh_host_|ssl/|hostname|resolv\.conf|mtab|machine-id|\.pwd\.lock|apt/)",
            r"^etc/(passwd|group|shadow|gshadow|subuid|subgid)-$",
            r"^etc/kasmforge/|^usr/libexec/kasmforge/",
            r"\.pyc$|/__pycache__$",
            r"^usr/share/info/dir",
            r"^var/lib/(postgresql|mysql)/.*(\.|-|_)?[0-9a-f]{8,}",  # names by chance
            r"^var/spool/exim4/db/",
            r"^root/",
            r"^\.$|^var/lib/apt$|(^|/)mawk(/|\.1\.gz$|$)",  # what mmdebstrap brings along
            r"^etc/(fstab|dpkg/dpkg\.cfg\.d/99mmdebstrap)$",
            r"/(super)?catalog\.old$",  # what normalising takes away
        ]
    )
)


def names(text):
    """Numbers to names, of a passwd or group file."""
    lines = (line.split(":") for line in text.decode().splitlines() if ":" in line)
    return {int(fields[2]): fields[0] for fields in lines}


def tree(layers):
    """Paths of layers laid over each other, and the accounts in them."""
    paths, accounts = {}, {}
    for layer in layers:
        links = {}
        for member in layer:
            name = member.name.removeprefix("./").rstrip("/")
            folder, _, last = name.rpartition("/")
            if last.startswith(".wh."):
                gone = f"{folder}/{last[4:]}".lstrip("/")
                paths = {
                    path: one for path, one in paths.items()
                    if path != gone and not path.startswith(gone + "/")
                }
                continue
            if member.islnk():
                links[name] = member.linkname.removeprefix("./")
                continue
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value
                for key, value in member.pax_headers.items()
                if key.startswith("SCHILY.xattr.") and "overlay" not in key
            }
            kind = "file" if member.isreg() else member.type.decode()
            mode = 0 if member.issym() else member.mode & 0o7777
            paths[name] = [kind, mode, member.uid, member.gid, xattrs]
            if name in ("etc/passwd", "etc/group") and member.isreg():
                accounts[name] = names(layer.extractfile(member).read())
        for name, target in links.items():
            if target in paths:
                paths[name] = paths[target]
    users, groups = accounts["etc/passwd"], accounts["etc/group"]
    return {
        path: (kind, oct(mode), users.get(uid, uid), groups.get(gid, gid), tuple(sorted(xattrs)))
        for path, (kind, mode, uid, gid, xattrs) in paths.items()
        if path
    }


def image(path):
    archive = tarfile.open(path)
    manifest = json.load(archive.extractfile("manifest.json"))[0]
    for layer in manifest["Layers"]:
        yield tarfile.open(fileobj=archive.extractfile(layer))


def main():
    ours = tree(image(sys.argv[1]))
    roots = tree([tarfile.open(sys.argv[2])])
    # An owner is compared wherever both have the path, whether one expects a difference or not.
    wrong = [
        (path, ours[path], roots[path])
        for path in sorted(ours.keys() & roots.keys())
        if ours[path] != roots[path] and not EXPECTED.search(path)
    ]
    missing = [path for path in sorted(roots.keys() - ours.keys()) if not EXPECTED.search(path)]
    more = [path for path in sorted(ours.keys() - roots.keys()) if not EXPECTED.search(path)]
    owned = sum(1 for one in roots.values() if one[2:4] != ("root", "root"))
    print(f"{len(ours)} paths here, {len(roots)} of root's, {owned} of them not root:root")
    for title, found in (("differ", wrong), ("are missing", missing), ("are more", more)):
        print(f"{len(found)} {title}")
        for one in found[:40]:
            print("  ", one)
    return 1 if wrong or missing or more else 0


if __name__ == "__main__":
    sys.exit(main())
