//! What the program can neither see, change, reach nor outlive.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use kasmforge_sandbox::{Error, Program, Root, Trial, run};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};

use crate::bench::Bench;

pub(super) fn isolation(bench: &Bench) -> String {
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

pub(super) fn host_unchanged(bench: &Bench) -> String {
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

pub(super) fn surroundings(bench: &Bench) -> String {
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

pub(super) fn orphans(bench: &Bench) -> String {
    // Each holds the output open, for whose end `run` waits.
    let (outcome, output) = bench.script(
        "sleep 100000 & (sleep 100000 &) & self applet become 0 0 true
         sh -c 'trap \"\" TERM HUP INT; while :; do sleep 100000; done' &
         echo done",
    );
    assert_eq!(output, "done\n");
    format!("{outcome:?}")
}

pub(super) fn escapes(bench: &Bench) -> String {
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
pub(super) fn calls(bench: &Bench) -> String {
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

pub(super) fn floods(bench: &Bench) -> String {
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

/// Kills a caller and waits for all it had started.
pub(super) fn caller_dies(bench: &Bench) -> String {
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
        crate::say(std::str::from_utf8(bytes).expect("text"));
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
