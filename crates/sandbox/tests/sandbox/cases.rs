//! The cases. Each tells what it saw, for comparison between users.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use kasmforge_sandbox::{Error, Program, Root, Status, Trial, run};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};

use crate::bench::{Bench, claim, device, owner};

type Case = fn(&Bench) -> String;

pub(crate) const ALL: &[(&str, Case)] = &[
    ("owners are recorded and shown", owners),
    ("setuid bits go and stay as the kernel wants it", setuid),
    ("device nodes are recorded and shown", devices),
    (
        "owners of the lower directory survive copying up",
        lower_owners,
    ),
    ("files of several links are told apart", linked_lower_owners),
    ("groups are inherited", inherited_groups),
    ("removals can be read from the upper directory", removals),
    ("capabilities are as real root's", capabilities),
    ("a root within the root", chroot),
    ("paths that a mount gave another meaning", mounts),
    ("nothing of the host is visible", isolation),
    ("nothing of the host can be changed", host_unchanged),
    ("surroundings are the same for everybody", surroundings),
    ("nothing outlives the program", orphans),
    ("many processes", many_processes),
    ("children end at any time", children_end),
    ("who waits for the clock alone need not", spared_waiting),
    ("endings", endings),
    ("output comes as it is written", output),
    ("another identity is told", identity),
    ("what another identity makes is its own", makers),
    ("access control lists are recorded and shown", lists),
    ("a clock that is ahead", clock),
    ("folders in reverse", reversed),
    ("who wrote what", writers),
    ("every way out is shut", escapes),
    ("calls that reach past every wall", calls),
    ("too many processes, too many words", floods),
    ("programs of i386", i386),
    ("nothing outlives the caller", caller_dies),
];

fn owners(bench: &Bench) -> String {
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

fn setuid(bench: &Bench) -> String {
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

fn devices(bench: &Bench) -> String {
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

fn lower_owners(bench: &Bench) -> String {
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
fn linked_lower_owners(bench: &Bench) -> String {
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

fn inherited_groups(bench: &Bench) -> String {
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

fn removals(bench: &Bench) -> String {
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

fn capabilities(bench: &Bench) -> String {
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

fn chroot(bench: &Bench) -> String {
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

fn mounts(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "mkdir /a /b /c; touch /a/file /b/file; chown 5:6 /a/file; stat -c %u:%g /a/file /b/file
         mount -o bind /a /b; stat -c %u:%g /b/file; cd /b; stat -c %u:%g file; cd /
         mount -t tmpfs none /c; touch /c/file; chown 7 /c/file; stat -c %u:%g /c/file
         umount /b; stat -c %u:%g /b/file",
    );
    assert_eq!(output, "5:6\n0:0\n5:6\n5:6\n7:0\n0:0\n");
    output
}

fn isolation(bench: &Bench) -> String {
    let name = format!("kasmforge-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let _socket = UnixListener::bind_addr(&address).expect("a socket of the host");
    let (_, output) = bench.script(&format!(
        "echo host $(hostname); echo root $(ls /)
         echo interfaces $(ifconfig -a | grep -c HWaddr) $(ifconfig lo | grep -c UP)
         echo processes $(ls /proc | grep -c '^[0-9]')
         ls /proc/1/root 2>/dev/null | wc -l; readlink /proc/1/exe | wc -l
         echo socket $(self applet connect {name})
         echo devices $(ls /dev); echo sys $(ls /sys | wc -l); echo run $(ls -d /run/*)
         echo mounts $(grep -c ' / ' /proc/mounts)
         cat /proc/mounts > /mounts; tty || true; echo open $(ls /proc/self/fd)"
    ));
    let mounts = fs::read_to_string(bench.path("upper/mounts")).expect("a list of mounts");
    let folder = bench.path("");
    let folder = folder.to_str().expect("text");
    assert!(!mounts.contains(folder.trim_end_matches('/')), "{mounts}");

    for line in [
        "host bench",
        "root bin dev etc lib lib64 proc run sys tmp",
        "interfaces 0 1",
        "socket connection refused",
        "devices fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
        "sys 0",
        "run /run/lock /run/own",
        "not a tty",
        "open 0 1 2 3",
    ] {
        assert!(
            output.lines().any(|other| other == line),
            "{line:?} in {output}"
        );
    }
    output
}

fn host_unchanged(bench: &Bench) -> String {
    let setting = || fs::read_to_string("/proc/sys/kernel/panic").expect("a setting");
    let mode = || fs::metadata("/dev/null").expect("a device").mode();
    let before = (setting(), mode());
    let (_, output) = bench.script(
        "exec 2>&1; set +e
         echo 77 > /proc/sys/kernel/panic; umount /proc/sys; mount -o remount,rw /proc/sys
         echo 77 > /proc/sys/kernel/panic; chmod 600 /dev/null /proc/keys /proc/timer_list; mknod /disk b 254 0; cat /disk
         chown 5 /dev/null; echo chown $?; echo written > /dev/null; echo write $?
         mkdir /m; mount -t tmpfs none /m; echo mount $?",
    );
    assert_eq!((setting(), mode()), before);
    for line in ["chown 0", "write 0", "mount 0"] {
        assert!(output.lines().any(|other| other == line), "{output}");
    }
    output
}

fn surroundings(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "env | grep -v '^PWD\\|^SHLVL\\|^OLDPWD'; id -u; id -g; id -G; umask; pwd; echo $$
         ulimit -c; ulimit -n; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '
         grep Cap /proc/self/status; grep SigIgn /proc/self/status
         stat -c '%n %a %u:%g' / /tmp /run /run/lock /dev /dev/shm /etc /bin/busybox
         cat; cat /proc/mounts | sed 's/lowerdir=.*workdir=[^,]*//; s/size=[^, ]*//; s/inode[^, ]*//; s/,uid=.*,gid=[0-9]*//'",
    );
    for line in [
        "A=b c",
        "0022",
        "/",
        "/tmp 1777 0:0",
        "/run 755 0:0",
        "/ 755 0:0",
    ] {
        assert!(
            output.lines().any(|other| other == line),
            "{line}: {output}"
        );
    }
    output
}

fn orphans(bench: &Bench) -> String {
    // Each holds the output open, for whose end `run` waits.
    let (outcome, output) = bench.script(
        "sleep 100000 & (sleep 100000 &) & self applet become 0 0 true
         sh -c 'trap \"\" TERM HUP INT; while :; do sleep 100000; done' &
         echo done",
    );
    assert_eq!(output, "done\n");
    format!("{outcome:?}")
}

fn many_processes(bench: &Bench) -> String {
    let (outcome, output) = bench.script(
        "i=0; while [ $i -lt 50 ]; do
             (touch /etc/f$i; chown $i:1 /etc/f$i; stat -c %u /etc/f$i >> /etc/sum) &
             i=$((i+1))
         done; wait
         awk '{s+=$1} END {print s}' /etc/sum; : | : | cat | cat | wc -c",
    );
    assert_eq!(output, "1225\n0\n");
    assert_eq!(outcome.claims.len(), 50);
    output
}

/// Shells hear of a child's end by a signal, which must not disturb what they ask meanwhile.
fn children_end(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "i=0; while [ $i -lt 400 ]; do
             : & : & (: &)
             test -e /etc || echo lost; test -d /etc || echo lost; : > /etc/made || echo lost
             i=$((i+1))
         done 2>&1; wait
         trap 'echo trapped' CHLD; sleep 0 & wait $! || true; trap - CHLD; echo done",
    );
    assert_eq!(output, "trapped\ndone\n");
    output
}

/// If it had to wait, so would whoever runs this.
fn spared_waiting(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "mkdir -p /usr/bin; cp /bin/self /usr/bin/fc-cache
         /usr/bin/fc-cache applet wait 100000 && sleep 0.01 && echo done",
    );
    assert_eq!(output, "done\n");
    output
}

fn endings(bench: &Bench) -> String {
    let mut told = String::new();
    for (script, status) in [
        ("exit 7", Status::Exited(7)),
        ("kill -9 $$", Status::Signaled(9)),
        ("kill -15 $$", Status::Signaled(15)),
        ("exec /bin/true", Status::Exited(0)),
    ] {
        bench.clear_work();
        let (outcome, _) = bench.try_run(&[], &["sh", "-c", script]).expect("a run");
        assert_eq!(outcome.status, status);
        told += &format!("{status:?} ");
    }
    for missing in ["no-such-program", "/etc"] {
        bench.clear_work();
        let error = bench.try_run(&[], &[missing]).expect_err("no such program");
        assert!(matches!(error, Error::Start { .. }), "{error:?}");
        told += &format!("{error} ");
    }
    fs::remove_dir(bench.path("lower/sys")).expect("an empty folder");
    let error = bench
        .try_run(&[], &["true"])
        .expect_err("a used work directory");
    assert!(matches!(error, Error::WorkNotEmpty { .. }), "{error:?}");
    bench.clear_work();
    let error = bench.try_run(&[], &["true"]).expect_err("no mount point");
    assert!(matches!(error, Error::Mount { .. }), "{error:?}");
    told
}

fn output(bench: &Bench) -> String {
    let (lower, upper, work) = (bench.path("lower"), bench.path("upper"), bench.path("work"));
    let program = Program {
        argv: [
            "sh",
            "-c",
            "echo first; echo second >&2; cat /bin/busybox; echo last",
        ]
        .map(Into::into)
        .to_vec(),
        environment: vec![("PATH".into(), "/bin".into())],
        directory: "/bin".into(),
        host_name: "bench".into(),
        trial: Trial::default(),
    };
    let (mut calls, mut all) = (0, Vec::new());
    let root = Root {
        lower: &lower,
        upper: &upper,
        work: &work,
    };
    run(&root, &[], &program, &mut |bytes| {
        calls += 1;
        all.extend_from_slice(bytes);
    })
    .expect("a run");
    let busybox = fs::read(bench.path("lower/bin/busybox")).expect("busybox");
    let expected = [b"first\nsecond\n", busybox.as_slice(), b"last\n"].concat();
    assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    assert!(calls > 1);
    format!("{} bytes", all.len())
}

fn identity(bench: &Bench) -> String {
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

fn makers(bench: &Bench) -> String {
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

fn lists(bench: &Bench) -> String {
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

fn clock(bench: &Bench) -> String {
    // A hundred years: no test takes that long.
    bench.set_trial(Trial {
        clock_ahead: 100 * 365 * 86_400,
        ..Trial::default()
    });
    let (_, output) = bench.script("date +%s; self applet now");
    let times: Vec<u64> = output
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    let far = 4_700_000_000;
    assert!(
        times.len() == 2 && times.iter().all(|time| *time > far),
        "{output}"
    );
    String::new()
}

fn reversed(bench: &Bench) -> String {
    let list = |reverse_folders| {
        bench.set_trial(Trial {
            reverse_folders,
            ..Trial::default()
        });
        if bench.path("work/work").exists() {
            bench.clear_work();
        }
        bench.lower("etc/list/made", "", 0o644);
        for number in 0..2000 {
            bench.lower(&format!("etc/list/{number}"), "", 0o644);
        }
        let (_, output) = bench.script("find /etc/list -type f");
        output.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let forward = list(false);
    let mut backward = list(true);
    backward.reverse();
    assert_eq!(forward.len(), 2001);
    assert_eq!(forward, backward);
    String::new()
}

fn writers(bench: &Bench) -> String {
    bench.set_trial(Trial {
        attribute: true,
        ..Trial::default()
    });
    let script = "#!/bin/sh\necho $0 > /etc/$1; echo $0 >> /etc/both\n";
    for package in ["first", "second"] {
        bench.lower(
            &format!("var/lib/dpkg/info/{package}.postinst"),
            script,
            0o755,
        );
    }
    let (outcome, _) = bench.script(
        "touch /early; /var/lib/dpkg/info/first.postinst a; /var/lib/dpkg/info/second.postinst b",
    );
    let told = |path: &str| {
        let found = outcome
            .writers
            .iter()
            .find(|(one, _)| one == Path::new(path));
        found.map(|(_, writer)| writer.as_str())
    };
    assert_eq!(told("early"), Some("what runs before the scripts"));
    assert_eq!(told("etc/a"), Some("first.postinst"));
    assert_eq!(told("etc/b"), Some("second.postinst"));
    assert_eq!(told("etc/both"), Some("second.postinst"));
    format!("{:?}", outcome.writers)
}

fn escapes(bench: &Bench) -> String {
    let host = bench.path("host");
    fs::write(&host, "secret").expect("a file of the host");
    let (own, shown) = (std::process::id(), host.display());
    let (_, output) = bench.script(&format!(
        "exec 2>&1; set +e
         echo files $(cat {shown}; cat /proc/1/root{shown}; cat /proc/{own}/root{shown}) .
         mkdir -p /a/b; chroot /a /bin/true; cd /a; chroot . /bin/sh -c 'cat ../../../../{shown}'
         kill -9 {own}; echo signal $?; kill -9 -1; echo alive
         mkdir /p; mount -t proc proc /p; echo own $(ls /p 2>/dev/null | grep -c '^{own}$')
         umount /proc; umount /proc/sys; umount /dev/null; echo x > /proc/sysrq-trigger
         echo b > /proc/sys/kernel/core_pattern; echo 1 > /proc/1/oom_score_adj
         echo descriptors $(ls -l /proc/self/fd | grep -c '{}')",
        bench.path("").display()
    ));
    for line in ["alive", "own 0", "descriptors 0"] {
        assert!(
            output.lines().any(|other| other == line),
            "{line:?} in {output}"
        );
    }
    assert!(
        !output.contains("secret") && !output.contains("signal 0"),
        "{output}"
    );
    assert!(host.exists());
    String::new()
}

/// Keys, messages and handles have no namespace; what runs on the host can be named by a number only.
fn calls(bench: &Bench) -> String {
    // `KEY_SPEC_SESSION_KEYRING`, `PTRACE_ATTACH`, `SYSLOG_ACTION_SIZE_BUFFER`.
    let (session, attach, size) = ("-3", "16", "10");
    let own = std::process::id().to_string();
    let mut script = String::from("set +e\n");
    let mut expected = Vec::new();
    // Process 1 is in a namespace further out.
    let (refused, nobody) = (libc::EPERM, libc::ESRCH);
    for (name, number, arguments, error) in [
        (
            "add_key",
            libc::SYS_add_key,
            &["@user", "@a", "@b", "1", session][..],
            refused,
        ),
        (
            "request_key",
            libc::SYS_request_key,
            &["@user", "@a", "0", session],
            refused,
        ),
        ("keyctl", libc::SYS_keyctl, &["0", session, "0"], refused),
        ("syslog", libc::SYS_syslog, &[size, "0", "0"], refused),
        (
            "handle",
            libc::SYS_open_by_handle_at,
            &["0", "@", "0"],
            refused,
        ),
        (
            "ptrace",
            libc::SYS_ptrace,
            &[attach, &own, "0", "0"],
            nobody,
        ),
        (
            "ptrace",
            libc::SYS_ptrace,
            &[attach, "1", "0", "0"],
            refused,
        ),
        ("pidfd", libc::SYS_pidfd_open, &[&own, "0"], nobody),
        (
            "limits",
            libc::SYS_prlimit64,
            &[&own, "7", "0", "0"],
            nobody,
        ),
        (
            "priority",
            libc::SYS_setpriority,
            &["0", &own, "19"],
            nobody,
        ),
    ] {
        let arguments = arguments.join(" ");
        script += &format!("echo {name} $(self applet call {number} {arguments})\n");
        expected.push(format!("{name} {error}"));
    }
    script += "echo keys $(cat /proc/keys | wc -l)
               echo of process 1: $(for one in /proc/1/fd/* /proc/1/root /proc/1/cwd; do
                   readlink $one; ls $one/; done 2>/dev/null | wc -l)
               for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done";
    expected.extend(["keys 0", "of process 1: 0"].map(Into::into));
    let (_, output) = bench.script(&script);
    let lines: Vec<&str> = output.lines().collect();
    let (told, namespaces) = lines.split_at(expected.len());
    assert_eq!(told, expected);
    assert_eq!(namespaces.len(), 7, "{output}");
    for namespace in namespaces {
        let (kind, _) = namespace.split_once(':').expect("its kind and its number");
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert_ne!(ours, Path::new(namespace));
    }
    String::new()
}

fn floods(bench: &Bench) -> String {
    let many = "i=0; while [ $i -lt 6000 ]; do sleep 1000 & i=$((i+1)); done; wait";
    let error = bench.try_run(&[], &["sh", "-c", many]).expect_err("a bomb");
    assert!(matches!(error, Error::TooManyProcesses), "{error}");
    let endless = "while cat /bin/busybox; do :; done";
    let error = Bench::new()
        .try_run(&[], &["sh", "-c", endless])
        .expect_err("a flood");
    assert!(matches!(error, Error::TooMuchOutput { .. }), "{error}");
    String::new()
}

/// An executable of 32 bits that gives `/etc/file` to 7:8 and exits with the owner it then sees.
fn i386(bench: &Bench) -> String {
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

/// Kills a caller and waits for all it had started.
fn caller_dies(bench: &Bench) -> String {
    let mut caller = Command::new("/proc/self/exe")
        .arg("hold")
        .arg(bench.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a caller");
    let mut line = String::new();
    BufReader::new(caller.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "started\n");
    let inside = descendants(caller.id());
    assert!(
        inside.len() >= 4,
        "inner half, process 1, shell, sleep: {inside:?}"
    );
    let handles: Vec<_> = inside
        .iter()
        .map(|pid| rustix::process::pidfd_open(*pid, PidfdFlags::empty()).expect("a process"))
        .collect();
    caller.kill().expect("a living caller");
    caller.wait().expect("a dead caller");
    for handle in handles {
        rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).expect("an end");
    }
    String::new()
}

/// Runs a program that does not end by itself.
pub(crate) fn hold(folder: &Path) {
    let program = Program {
        argv: ["sh", "-c", "sleep 100000 & echo started; wait"]
            .map(Into::into)
            .to_vec(),
        environment: vec![("PATH".into(), "/bin".into())],
        directory: "/".into(),
        host_name: "bench".into(),
        trial: Trial::default(),
    };
    let (lower, upper, work) = (
        folder.join("lower"),
        folder.join("upper"),
        folder.join("work"),
    );
    let root = Root {
        lower: &lower,
        upper: &upper,
        work: &work,
    };
    run(&root, &[], &program, &mut |bytes| {
        super::say(std::str::from_utf8(bytes).expect("text"));
    })
    .expect("a run");
}

fn descendants(pid: u32) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children
        .split_whitespace()
        .map(|child| child.parse::<i32>().expect("a process id"))
        .flat_map(|child| {
            let pid = Pid::from_raw(child).expect("a process id");
            [vec![pid], descendants(child.cast_unsigned())].concat()
        })
        .collect()
}
