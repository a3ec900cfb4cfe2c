//! Runs real programs in real sandboxes, as whoever runs the test; as root also as an ordinary
//! user, who must see and leave exactly the same.
//!
//! Needs a statically linked busybox (Debian's `busybox-static`).

mod applets;
mod bench;
mod cases;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use kasmforge_sandbox::{Error, enter_if_asked, probe};

/// The user and group for the second round.
const NOBODY: u32 = 65534;

fn main() {
    enter_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["applet", name, rest @ ..] => applets::run(name, rest),
        ["hold", directory] => cases::hold(directory.as_ref()),
        ["round"] => say(&round()),
        // What a test runner asks to learn the names of tests.
        ["--list", ..] => {}
        _ => rounds(),
    }
}

/// Both rounds, as far as this user can.
fn rounds() {
    match probe() {
        Err(error @ Error::Forbidden { .. }) => {
            say(&format!("skipped, this host forbids sandboxes: {error}\n"));
            return;
        }
        other => other.expect("a host that allows sandboxes"),
    }
    let ours = round();
    if rustix::process::geteuid().is_root() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("test");
        std::fs::copy("/proc/self/exe", &program).expect("a copy of this executable");
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("its owner");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("its mode");
        let theirs = Command::new(program)
            .arg("round")
            .env("TMPDIR", folder.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("a second round");
        let text = String::from_utf8_lossy(&theirs.stdout);
        assert!(
            theirs.status.success(),
            "as an ordinary user: {text}{}",
            String::from_utf8_lossy(&theirs.stderr)
        );
        for (ours, theirs) in ours.lines().zip(text.lines()) {
            assert_eq!(ours, theirs, "root and an ordinary user differ");
        }
        assert_eq!(ours.len(), text.len());
    }
    say(&format!("{} cases hold\n", cases::ALL.len()));
}

/// Every case once; tells what each left behind.
fn round() -> String {
    let mut transcript = String::new();
    for (name, case) in cases::ALL {
        let bench = bench::Bench::new();
        let told = std::panic::catch_unwind(|| case(&bench))
            .unwrap_or_else(|_| panic!("the case {name:?} does not hold"));
        writeln!(transcript, "{name}: {told}").expect("memory to write to");
    }
    transcript
}

fn say(text: &str) {
    std::io::stdout()
        .write_all(text.as_bytes())
        .expect("standard output");
}
