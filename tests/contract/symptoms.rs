//! What people report of container desktops, each made to happen. PID 1 lives, commands can be run, the
//! log says what happened and what to do.

use crate::Case;
use crate::bench::{Bench, PASSWORD};

pub(crate) const CASES: &[Case] = &[
    (
        "the display, the desktop and the bus are killed, each in turn",
        killed,
    ),
    ("the session bus cannot start", no_bus),
    ("custom_startup.sh fails at once", startup_fails),
    ("custom_startup.sh uses an unset variable", startup_unset),
    ("custom_startup.sh cannot be executed", startup_mode),
    ("custom_startup.sh is done at once", startup_done),
    (
        "custom_startup.sh names no interpreter of the image",
        startup_interpreter,
    ),
    ("VNC_PW is too short", short_password),
    ("there is no network at all", no_network),
    ("the root is read-only", read_only),
    (
        "the root is read-only and there is no /tmp",
        nothing_writable,
    ),
    ("the home belongs to root", foreign_home),
    ("the home has neither .bashrc nor Desktop", empty_home),
    ("a lock of another X server is there", stale_lock),
    ("it is stopped while it waits", stopped_while_waiting),
    ("settings that are no settings", nonsense),
];

fn killed(bench: &Bench) {
    let desktop = bench.start(&[]);
    desktop.until_healthy();
    for (victim, service) in [
        ("Xvnc|Xtigervnc", "display"),
        ("xfce4-session", "session"),
        ("dbus-daemon", "dbus"),
    ] {
        let before = desktop.inside(&format!("pgrep -o -x '{victim}'"));
        desktop.inside(&format!("pkill -9 -x '{victim}'"));
        desktop.until_told(&format!("{service} was ended by signal 9"));
        desktop.until("another one runs", &format!("test \"$(pgrep -o -x '{victim}')\" -gt 0 && test \"$(pgrep -o -x '{victim}')\" != {before}"));
        desktop.until_healthy();
        desktop.never_restarted();
    }
    // A desktop whose bus has gone is not left as it is.
    desktop.until_told("the session bus ended, and the desktop with it");
    desktop.until_healthy();
    let told = desktop.told();
    assert!(
        told.contains("starts again; its log is /tmp/kasmforge/log/display/current"),
        "{told}"
    );
    // The window manager alone is brought back by the session, without a word.
    desktop.inside("pkill -9 -x xfwm4");
    desktop.until_healthy();
    desktop.stops();
}

fn no_bus(bench: &Bench) {
    let broken = bench.file(
        "no-bus",
        "#!/bin/sh\necho no bus today >&2\nexit 1\n",
        0o755,
    );
    let volume = format!("{broken}:/usr/bin/dbus-daemon");
    let desktop = bench.start(&["--volume", &volume]);
    desktop.until_told("dbus ended with status 1");
    desktop.until_told("(it said last: no bus today)");
    desktop.until_told("there is no session bus, so there is no desktop yet");
    // Whoever looks sees why there is nothing.
    desktop.until(
        "the message is shown",
        "xwininfo -root -tree | grep -q xmessage",
    );
    assert_eq!(
        desktop.inside("kasmforge-health || true"),
        "unhealthy: the session bus does not answer at unix:path=/tmp/runtime-kasm-user/bus; its log is /tmp/kasmforge/log/dbus/current"
    );
    desktop.never_restarted();
    desktop.stops();
}

/// A container whose custom_startup.sh is this.
fn startup(bench: &Bench, name: &str, text: &str, mode: u32, told: &[&str]) {
    let script = bench.file(name, text, mode);
    let volume = format!("{script}:/dockerstartup/custom_startup.sh");
    // Nothing else of the desktop is needed here.
    let desktop = bench.start(&[
        "--volume",
        &volume,
        "--env",
        "START_XFCE4=0",
        "--env",
        "DISABLE_CUSTOM_STARTUP=1",
    ]);
    for words in told {
        desktop.until_told(words);
    }
    desktop.until_healthy();
    desktop.never_restarted();
    desktop.stops();
}

fn startup_fails(bench: &Bench) {
    let script = "#!/bin/sh\necho cannot find the moon >&2\nexit 3\n";
    startup(
        bench,
        "fails.sh",
        script,
        0o755,
        &[
            "custom_startup ended with status 3",
            "starts again",
            "(it said last: cannot find the moon)",
        ],
    );
}

fn startup_unset(bench: &Bench) {
    let script = "#!/bin/bash\nset -euo pipefail\necho \"$GH_WORKER_ID\"\n";
    startup(
        bench,
        "unset.sh",
        script,
        0o755,
        &[
            "custom_startup ended with status 1",
            "GH_WORKER_ID: unbound variable)",
        ],
    );
}

fn startup_mode(bench: &Bench) {
    startup(
        bench,
        "mode.sh",
        "touch /tmp/it-ran\nexec sleep 1000\n",
        0o644,
        &[
            "/dockerstartup/custom_startup.sh is not executable, so it is run with bash; give it mode 0755",
        ],
    );
}

fn startup_done(bench: &Bench) {
    startup(
        bench,
        "done.sh",
        "#!/bin/sh\nexit 0\n",
        0o755,
        &["custom_startup.sh ended with status 0, which counts as done"],
    );
}

fn startup_interpreter(bench: &Bench) {
    startup(
        bench,
        "interpreter.sh",
        "#!/usr/bin/fish\nexit 0\n",
        0o755,
        &[
            "its interpreter, or a program it names, is not in the image",
            "custom_startup ended with status 12",
        ],
    );
}

fn short_password(bench: &Bench) {
    let desktop = bench.start(&["--env", "VNC_PW=abc", "--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    desktop.until_told("VNC_PW is shorter than 6 characters, so a password was generated");
    let log = desktop.log();
    let made = log
        .split("with password ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let made = made.expect("the password is in the log");
    assert_eq!(
        desktop.http(&format!("-u kasm_user:{made} https://127.0.0.1:6901/")),
        "200"
    );
    assert_eq!(
        desktop.http("-u kasm_user:abc https://127.0.0.1:6901/"),
        "401"
    );
    // The log that others read does not have it.
    assert!(
        !desktop
            .inside("cat /tmp/container-health.log")
            .contains(made)
    );
    desktop.never_restarted();
}

fn no_network(bench: &Bench) {
    let desktop = bench.start(&["--network", "none"]);
    desktop.until_healthy();
    desktop.never_restarted();
    desktop.stops();
}

fn read_only(bench: &Bench) {
    let desktop = bench.start(&["--read-only", "--tmpfs", "/tmp"]);
    desktop.until_healthy();
    desktop.until_told("cannot write /home/kasm-user, so what is saved there is lost");
    desktop.never_restarted();
    desktop.stops();
}

fn nothing_writable(bench: &Bench) {
    let desktop = bench.start(&["--read-only"]);
    desktop.until_told("run the container with --tmpfs /tmp");
    desktop.never_restarted();
    desktop.stops();
}

fn foreign_home(bench: &Bench) {
    let folder = bench.project.path().join("foreign");
    std::fs::create_dir(&folder).expect("made");
    let volume = format!("{}:/home/kasm-user", folder.display());
    let desktop = bench.start(&["--volume", &volume]);
    desktop.until_healthy();
    desktop.until_told("cannot write /home/kasm-user, so what is saved there is lost with the container; on the host, give the folder to uid 1000");
    desktop.never_restarted();
    drop(desktop);
    // Root inside may mend it, and what an older run as root left in it.
    std::fs::create_dir(folder.join(".config")).expect("made");
    let desktop = bench.start(&["--volume", &volume, "--user", "0"]);
    desktop.until_healthy();
    assert_eq!(
        desktop
            .inside("stat -c %U /home/kasm-user /home/kasm-user/.config /home/kasm-user/.bashrc")
            .replace('\n', " "),
        "kasm-user kasm-user kasm-user"
    );
    assert_eq!(
        desktop.inside("ps -o uid= -C Xvnc,Xtigervnc,xfwm4 | sort -u"),
        "1000"
    );
    desktop.stops();
}

fn empty_home(bench: &Bench) {
    let folder = bench.project.path().join("empty");
    std::fs::create_dir(&folder).expect("made");
    std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).expect("the test is root");
    std::fs::write(folder.join("kept"), "mine").expect("written");
    let volume = format!("{}:/home/kasm-user", folder.display());
    let desktop = bench.start(&["--volume", &volume, "--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    assert_eq!(
        desktop.inside(
            "cd; cat kept; ls -d .bashrc Desktop/Downloads/ Desktop/Uploads/ | tr '\\n' ' '"
        ),
        "mine.bashrc Desktop/Downloads/ Desktop/Uploads/"
    );
}

fn stale_lock(bench: &Bench) {
    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    // The lock names a process that lives: PID 1 of the next run.
    desktop.inside("pid=$(pgrep -x 'Xvnc|Xtigervnc'); chmod +w /tmp/.X1-lock; printf '%10d\\n' 1 >/tmp/.X1-lock; kill -9 $pid");
    desktop.until_told("display was ended by signal 9");
    desktop.until_healthy();
    assert_ne!(desktop.inside("tr -d ' ' </tmp/.X1-lock"), "1");
    desktop.never_restarted();
}

fn stopped_while_waiting(bench: &Bench) {
    let desktop = bench.start(&[
        "--env",
        "KASM_SVC_EGRESS=1",
        "--env",
        "KASMFORGE_EGRESS_SECONDS=600",
    ]);
    assert_eq!(desktop.inside("echo here"), "here");
    desktop.until("it waits", "pgrep -f 20-egress");
    desktop.stops();
}

fn nonsense(bench: &Bench) {
    let desktop = bench.start(&[
        "--env",
        "VNC_RESOLUTION=huge",
        "--env",
        "VNC_COL_DEPTH=many",
        "--env",
        "MAX_FRAME_RATE=-1",
        "--env",
        "NO_VNC_PORT=6901x",
        "--env",
        "KASM_SVC_SEND_CUT_TEXT=-rm -rf",
        "--env",
        "LC_ALL=tlh_QO.UTF-8",
        "--env",
        "TZ=Middle/Earth",
        "--env",
        "START_DE=kde5",
    ]);
    desktop.until_healthy();
    let told = desktop.told();
    for words in [
        "the image has no locale tlh_QO.UTF-8; using en_US.UTF-8",
        "the image has no time zone Middle/Earth",
        "START_DE=kde5, but the image has no startplasma-x11",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(
        desktop
            .inside("cat /tmp/kasmforge/log/display/current")
            .contains("VNC_RESOLUTION=huge is not WIDTHxHEIGHT; using 1280x720")
    );
    assert!(desktop.inside("xdpyinfo").contains("1280x720 pixels"));
    assert_eq!(
        desktop.http(&format!("-u kasm_user:{PASSWORD} https://127.0.0.1:6901/")),
        "200"
    );
    desktop.never_restarted();
}
