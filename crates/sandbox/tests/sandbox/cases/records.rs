//! What is recorded of owners, modes, devices, ids and attributes, and shown.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use kasmforge_sandbox::{Error, Status};

use crate::bench::{Bench, claim, device, owner};

pub(super) fn owners(bench: &Bench) -> String {
    let (outcome, output) = bench.script(
        "cd /etc
         touch plain moved gone back; mkdir folder; ln -s nowhere link
         chown 33:42 moved gone back; chown 0:8 folder; chown -h 7:7 link; chgrp 5 plain
         stat -c '%n %u:%g' moved folder link plain
         mv moved folder/new; ln folder/new /twin; rm gone; chown 0:0 back
         cd folder; stat -c '%n %u:%g' new ../../twin ./new ../back
         chown -R 1:2 /etc/folder; chown :9 /proc/self/cwd/new
         find /etc /twin -user 1 -o -group 9 -o -user 7 | sed s/^/found:/
         self applet owner-of-open new",
    );
    assert_eq!(
        outcome.claims,
        [
            claim("etc/folder", 1, 2),
            claim("etc/folder/new", 1, 9),
            claim("etc/link", 7, 7),
            claim("etc/plain", 0, 5),
            claim("twin", 1, 9),
        ]
    );
    assert!(output.starts_with(
        "moved 33:42\nfolder 0:8\nlink 7:7\nplain 0:5\n\
         new 33:42\n../../twin 33:42\n./new 33:42\n../back 0:0\n"
    ));
    assert!(output.ends_with("1:9\n"), "{output}");
    let (_, output) = Bench::new().script("chown 1 /missing 2>&1 || chown 1 /etc/x/y 2>&1 || true");
    assert_eq!(output.matches("No such file").count(), 2, "{output}");
    format!("{outcome:?} {output}")
}

pub(super) fn setuid(bench: &Bench) -> String {
    bench.lower("bin/tool", "#!/bin/sh\n", 0o4755);
    let (outcome, output) = bench.script(
        "cp /bin/true /kept; chown 0:42 /kept; chmod 2755 /kept
         cp /bin/true /lost; chmod 6755 /lost; chown 0:42 /lost
         touch /bin/tool
         stat -c '%n %a' /kept /lost /bin/tool",
    );
    assert_eq!(output, "/kept 2755\n/lost 755\n/bin/tool 4755\n");
    assert_eq!(bench.mode("kept") & 0o7777, 0o2755);
    assert_eq!(bench.mode("bin/tool") & 0o7777, 0o4755);
    assert_eq!(outcome.claims, [claim("kept", 0, 42), claim("lost", 0, 42)]);
    output
}

pub(super) fn devices(bench: &Bench) -> String {
    let (outcome, output) = bench.script(
        "cd /etc; mkdir d
         mknod null c 1 3; mknod -m 660 d/disk b 259 70000; (umask 077; mknod mine c 10 200)
         mknod pipe p; mknod null c 1 3 2>&1 || true; mknod no/null c 1 3 2>&1 || true
         chown 0:6 d/disk; mv null zero
         stat -c '%n %F %t:%T %u:%g %a' zero d/disk mine pipe; ls -l zero | head -c 10
         mknod /dev/other c 4 64; stat -c ' %F' /dev/other",
    );
    assert!(
        output.ends_with(
            "zero character special file 1:3 0:0 644\nd/disk block special file 103:11170 0:6 660\n\
         mine character special file a:c8 0:0 600\npipe fifo 0:0 0:0 644\n\
         crw-r--r-- character special file\n"
        ),
        "{output}"
    );
    assert!(output.contains("File exists") && output.contains("No such file"));
    let mut disk = device("etc/d/disk", false, 259, 70000);
    disk.gid = 6;
    assert_eq!(
        outcome.claims,
        [
            disk,
            device("etc/mine", true, 10, 200),
            device("etc/zero", true, 1, 3)
        ]
    );
    let placeholder = fs::symlink_metadata(bench.path("upper/etc/zero")).expect("a placeholder");
    assert!(placeholder.is_file() && placeholder.len() == 0);
    let pipe = fs::symlink_metadata(bench.path("upper/etc/pipe")).expect("a pipe");
    assert!(pipe.file_type().is_fifo());
    format!("{outcome:?} {output}")
}

pub(super) fn lower_owners(bench: &Bench) -> String {
    bench.lower("etc/shadow", "a\n", 0o640);
    bench.lower("etc/gshadow", "a\n", 0o640);
    bench.lower("etc/untouched", "a\n", 0o640);
    bench.lower("var/mail/.keep", "", 0o644);
    bench.lower("var/first", "", 0o6755);
    let given = [
        owner("etc/shadow", 0, 42),
        owner("etc/gshadow", 0, 42),
        owner("etc/untouched", 3, 4),
        owner("var/mail", 0, 8),
        owner("var/first", 5, 6),
    ];
    let (outcome, output) = bench.script_with(
        &given,
        "stat -c '%n %u:%g' /etc/shadow /etc/untouched /var/mail
         echo b >> /etc/shadow; touch /var/mail/new
         stat -c '%n %u:%g' /etc/shadow /var/mail; self applet owner-of-open /etc/shadow
         cp -p /etc/shadow /etc/shadow-; self applet replace /etc/gshadow new
         mv /etc/shadow /etc/moved; ln /etc/moved /etc/linked
         ln /var/first /var/second; rm /var/first; stat -c '%n %u:%g' /var/second
         stat -c '%n %u:%g' /etc/moved /etc/linked /etc/gshadow",
    );
    assert_eq!(
        output,
        "/etc/shadow 0:42\n/etc/untouched 3:4\n/var/mail 0:8\n\
         /etc/shadow 0:42\n/var/mail 0:8\n0:42\n/var/second 5:6\n\
         /etc/moved 0:42\n/etc/linked 0:42\n/etc/gshadow 0:42\n"
    );
    let expected = [
        claim("etc/gshadow", 0, 42),
        claim("etc/linked", 0, 42),
        claim("etc/moved", 0, 42),
        claim("etc/shadow-", 0, 42),
        claim("var/mail", 0, 8),
        claim("var/second", 5, 6),
    ];
    assert_eq!(outcome.claims, expected);
    assert_eq!(bench.mode("var/second") & 0o7777, 0o6755);
    bench.clear_work();
    let missing = bench.try_run(&[owner("etc/nothing", 1, 1)], &["true"]);
    assert!(matches!(missing, Err(Error::Owner { .. })), "{missing:?}");
    output
}

/// A farm of hard links to a store: numbers of inodes change when files are copied up, and equal
/// files may be one inode with several owners.
pub(super) fn linked_lower_owners(bench: &Bench) -> String {
    for name in ["a", "b", "c", "d"] {
        fs::create_dir_all(bench.path("lower/etc")).expect("a folder");
        fs::write(bench.path("store"), "same").expect("a file");
        fs::hard_link(bench.path("store"), bench.path("lower/etc").join(name)).unwrap_or_default();
        for other in ["b", "c", "d"] {
            let path = bench.path("lower/etc").join(other);
            if name == "a" {
                fs::hard_link(bench.path("store"), path).expect("a link");
            }
        }
    }
    let given = [
        owner("etc/a", 1, 1),
        owner("etc/b", 2, 2),
        owner("etc/d", 4, 4),
    ];
    let (outcome, output) = bench.script_with(
        &given,
        "cd /etc; stat -c '%n %u:%g' a b c d
         echo more >> a; touch c; stat -c '%n %u:%g' a b c
         mv b moved; stat -c '%n %u:%g' moved; mkdir x; touch x/y; stat -c '%n %u:%g' x/y
         self applet owner-of-open moved; chown 0:0 d; stat -c '%n %u:%g' d c",
    );
    assert_eq!(
        output,
        "a 1:1\nb 2:2\nc 0:0\nd 4:4\na 1:1\nb 2:2\nc 0:0\nmoved 2:2\nx/y 0:0\n2:2\nd 0:0\nc 0:0\n"
    );
    assert_eq!(
        outcome.claims,
        [claim("etc/a", 1, 1), claim("etc/moved", 2, 2)]
    );
    assert_eq!(
        fs::read_to_string(bench.path("store")).expect("the store"),
        "same",
        "the lower directory is never written to"
    );
    output
}

pub(super) fn inherited_groups(bench: &Bench) -> String {
    bench.lower("var/local/old", "", 0o644);
    let folder = bench.path("lower/var/local");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).expect("its mode");
    let (outcome, output) = bench.script_with(
        &[owner("var/local", 0, 50)],
        "cd /var/local; touch new old root; mkdir -p deep/er; touch deep/er/file
         chown 0:0 root; stat -c '%n %a' . deep/er",
    );
    assert_eq!(output, ". 2775\ndeep/er 2755\n");
    assert_eq!(
        outcome.claims,
        ["", "/deep", "/deep/er", "/deep/er/file", "/new"].map(|name| claim(
            &format!("var/local{name}"),
            0,
            50
        ))
    );
    output
}

pub(super) fn removals(bench: &Bench) -> String {
    bench.lower("etc/gone", "", 0o644);
    bench.lower("etc/again/gone", "", 0o644);
    let (outcome, output) = bench.script(
        "rm /etc/gone; rm -r /etc/again; mkdir /etc/again; touch /etc/again/new; ls /etc/again",
    );
    let gone = fs::symlink_metadata(bench.path("upper/etc/gone")).expect("a sign");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 8];
    let again = bench.path("upper/etc/again");
    let length = rustix::fs::getxattr(&again, "user.overlay.opaque", &mut value[..]);
    assert_eq!(&value[..length.expect("an attribute")], b"y");
    // Mounts of the sandbox's own leave nothing behind.
    let mut names: Vec<_> = fs::read_dir(bench.path("upper"))
        .expect("the upper directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["etc"]);
    format!("{outcome:?} {output}")
}

pub(super) fn capabilities(bench: &Bench) -> String {
    // cap_net_raw=ep
    let value = "0100000200200000000000000000000000000000";
    let (outcome, output) = bench.script(&format!(
        "cp /bin/true /ping; self applet set-capability /ping {value}
         mv /ping /bin/ping; self applet get-capability /bin/ping
         cp /bin/true /lost; self applet set-capability /lost {value}; chown 1 /lost"
    ));
    assert_eq!(output.trim(), value);
    let [(path, bytes)] = outcome.capabilities.as_slice() else {
        panic!("{outcome:?}");
    };
    assert_eq!(path, Path::new("bin/ping"));
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, value);
    text
}

pub(super) fn chroot(bench: &Bench) -> String {
    let (outcome, output) = bench.script(
        "mkdir -p /inner/bin /inner/etc; cp /bin/busybox /inner/bin/; touch /inner/etc/file
         for c in sh chown stat mknod; do ln -s busybox /inner/bin/$c; done
         ln -s /etc/file /inner/link
         chroot /inner /bin/sh -c '
             cd etc; chown 5:6 file; stat -c %u:%g /etc/file ../link
             chown 7:6 /link; chown -h 8 ../link; stat -L -c %u:%g ../link
             mknod ../../../zero c 1 5; stat -c %F /zero'",
    );
    assert!(
        output.ends_with("7:6\ncharacter special file\n"),
        "{output}"
    );
    assert_eq!(
        outcome.claims,
        [
            claim("inner/etc/file", 7, 6),
            claim("inner/link", 8, 0),
            device("inner/zero", true, 1, 5),
        ]
    );
    output
}

pub(super) fn mounts(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "mkdir /a /b /c; touch /a/file /b/file; chown 5:6 /a/file; stat -c %u:%g /a/file /b/file
         mount -o bind /a /b; stat -c %u:%g /b/file; cd /b; stat -c %u:%g file; cd /
         mount -t tmpfs none /c; touch /c/file; chown 7 /c/file; stat -c %u:%g /c/file
         umount /b; stat -c %u:%g /b/file",
    );
    assert_eq!(output, "5:6\n0:0\n5:6\n5:6\n7:0\n0:0\n");
    output
}

pub(super) fn identity(bench: &Bench) -> String {
    let (outcome, _) = bench.script("self applet become 33 34 true; self applet become 0 0 true");
    let ids: Vec<_> = outcome
        .identity_changes
        .iter()
        .map(|change| {
            (
                change.program.to_str().expect("text"),
                change.uid,
                change.gid,
            )
        })
        .collect();
    assert_eq!(
        ids,
        [("/bin/self", None, Some(34)), ("/bin/self", Some(33), None),]
    );
    assert_eq!(
        outcome.identity_changes[0].arguments[1..4],
        ["applet", "become", "33"]
    );
    format!("{outcome:?}")
}

pub(super) fn makers(bench: &Bench) -> String {
    let (outcome, output) = bench.script(
        "mkdir /data /shared; chown 105:106 /data; chown 0:7 /shared; chmod 2777 /shared
         echo 'cd /data; echo $(id -u):$(id -g); touch a; mkdir b b/deep; echo x > b/c; ln -s a l
         mkfifo p; cp a d; mv d e; ln a twin; touch /shared/s
         chown 1 a 2>&1 || true; chown 105:106 a; mknod x c 1 3 2>&1 || true
         stat -c %u:%g a b l p; (sh -c \"sleep 0.2; touch /data/late\" &)' > /script
         self applet become 105 106 sh /script
         touch /plain; while [ ! -e /data/late ]; do sleep 0.05; done
         id -u; echo more >> /data/a; stat -c %u:%g /data/a /data/late",
    );
    let own = |path: &str| claim(path, 105, 106);
    assert_eq!(
        outcome.claims,
        [
            own("data"),
            own("data/a"),
            own("data/b"),
            own("data/b/c"),
            own("data/b/deep"),
            own("data/e"),
            own("data/l"),
            own("data/late"),
            own("data/p"),
            own("data/twin"),
            claim("shared", 0, 7),
            claim("shared/s", 105, 7),
        ],
        "{output}"
    );
    assert!(output.starts_with("105:106\n"), "{output}");
    assert_eq!(output.matches("not permitted").count(), 2, "{output}");
    assert!(output.ends_with("0\n105:106\n105:106\n"), "{output}");
    format!("{outcome:?} {output}")
}

pub(super) fn lists(bench: &Bench) -> String {
    // user::rwx group::r-x group:4:r-x mask::r-x other::---, as setfacl writes it.
    let list = "02000000 01000700ffffffff 04000500ffffffff 0800050004000000 \
                10000500ffffffff 20000000ffffffff"
        .replace(' ', "");
    let (outcome, output) = bench.script(&format!(
        "mkdir /log; self applet set-attribute /log system.posix_acl_access {list}
         self applet set-attribute /log system.posix_acl_default {list}
         stat -c %a /log; self applet get-attribute /log system.posix_acl_access
         chmod 701 /log"
    ));
    assert_eq!(output, format!("750\n{list}\n"));
    let found: Vec<_> = outcome
        .access_lists
        .iter()
        .map(|one| {
            (
                one.path.to_str().expect("text"),
                one.default,
                one.value.len(),
            )
        })
        .collect();
    assert_eq!(found, [("log", false, 44), ("log", true, 44)]);
    // The mask and the others' rights follow the mode.
    assert_eq!(outcome.access_lists[0].value[30], 0);
    assert_eq!(outcome.access_lists[0].value[38], 1);
    assert_eq!(outcome.access_lists[1].value[30], 5);
    format!("{outcome:?} {output}")
}

/// An executable of 32 bits that gives `/etc/file` to 7:8 and exits with the owner it then sees.
pub(super) fn i386(bench: &Bench) -> String {
    if cfg!(not(target_arch = "x86_64")) {
        return String::new();
    }
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mut code = Vec::new();
    let path = BASE + HEADERS + 64;
    let buffer = path + 64;
    let set = |code: &mut Vec<u8>, register: u8, value: u32| {
        code.push(0xb8 + register);
        code.extend(value.to_le_bytes());
    };
    let (eax, ecx, edx, ebx) = (0, 1, 2, 3);
    // chown32(path, 7, 8); stat64(path, buffer); exit(buffer.st_uid)
    for (register, value) in [(eax, 212), (ebx, path), (ecx, 7), (edx, 8)] {
        set(&mut code, register, value);
    }
    code.extend([0xcd, 0x80]);
    for (register, value) in [(eax, 195), (ebx, path), (ecx, buffer)] {
        set(&mut code, register, value);
    }
    code.extend([0xcd, 0x80, 0x8b, 0x1d]);
    code.extend((buffer + 24).to_le_bytes());
    set(&mut code, eax, 1);
    code.extend([0xcd, 0x80]);
    code.resize(64, 0x90);
    code.extend(b"/etc/file\0");

    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    let halves = |list: &[u16]| {
        list.iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let words = |list: &[u32]| {
        list.iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    file.extend(halves(&[2, 3]));
    file.extend(words(&[1, BASE + HEADERS, 52, 0, 0]));
    file.extend(halves(&[52, 32, 1, 0, 0, 0]));
    let length = HEADERS + u32::try_from(code.len()).expect("a short program");
    file.extend(words(&[1, 0, BASE, BASE, length, 4096, 7, 4096]));
    file.extend(code);
    bench.lower("bin/old", "", 0o755);
    fs::write(bench.path("lower/bin/old"), file).expect("a program");
    bench.lower("etc/file", "", 0o644);
    match bench.try_run(&[], &["/bin/old"]) {
        // A kernel without 32-bit programs.
        Err(Error::Start { .. }) => String::new(),
        result => {
            let (outcome, _) = result.expect("a run");
            assert_eq!(outcome.status, Status::Exited(7));
            assert_eq!(outcome.claims, [claim("etc/file", 7, 8)]);
            format!("{outcome:?}")
        }
    }
}
