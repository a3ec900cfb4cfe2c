//! How programs run: processes, signals, output, endings, and what a trial makes strange.

use std::fs;
use std::path::Path;

use kasmforge_sandbox::{Error, Program, Root, Status, Trial, run};

use crate::bench::Bench;

pub(super) fn many_processes(bench: &Bench) -> String {
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
pub(super) fn children_end(bench: &Bench) -> String {
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
pub(super) fn spared_waiting(bench: &Bench) -> String {
    let (_, output) = bench.script(
        "mkdir -p /usr/bin; cp /bin/self /usr/bin/fc-cache
         /usr/bin/fc-cache applet wait 100000 && sleep 0.01 && echo done",
    );
    assert_eq!(output, "done\n");
    output
}

pub(super) fn endings(bench: &Bench) -> String {
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

pub(super) fn output(bench: &Bench) -> String {
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

pub(super) fn clock(bench: &Bench) -> String {
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

pub(super) fn reversed(bench: &Bench) -> String {
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

pub(super) fn writers(bench: &Bench) -> String {
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
