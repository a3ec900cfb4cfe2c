//! `[[services]]` as service folders for s6, the supervision suite that is PID 1 of an image.
//!
//! ```text
//! /usr/libexec/kasmforge/init            PID 1: makes a scan folder in /tmp, becomes s6-svscan
//! /usr/libexec/kasmforge/supervise.sh    what the scripts below share
//! /etc/kasmforge/services/
//!   .s6-svscan/SIGTERM …, finish, crash  how the whole is stopped
//!   NAME/run, finish, notification-fd, timeout-kill, data/check, log/run
//! ```
//!
//! Everything here is read-only in the image and the same for every user: `init` links it into a
//! folder of its own, so the image runs as root, as uid 1000, or with a read-only root. Services
//! log to `/tmp/kasmforge/log/NAME/current`, turned over at a quarter of a MiB; each death is told
//! on stderr and in `/tmp/container-health.log`.
//!
//! Sources of the format: the s6 documentation of `s6-supervise`, `s6-svscan`,
//! `s6-notifyoncheck`, `s6-svwait` and `s6-log`; versions 2.11 to 2.13 agree on what is used.

use std::collections::BTreeMap;

use kasmforge_spec::{Ready, Restart, Service};

/// One file of the image that services are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Compiled {
    /// Its absolute path.
    pub path: String,
    /// Its permission bits. It belongs to root.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The program an image with services has as PID 1, or that its entry point ends in.
pub const INIT: &str = "/usr/libexec/kasmforge/init";

/// The Debian package whose programs the compiled scripts run. An image with services needs it.
pub const SUPERVISOR_PACKAGE: &str = "s6";

const FOLDER: &str = "/etc/kasmforge/services";
const LIBRARY: &str = "/usr/libexec/kasmforge/supervise.sh";

/// Milliseconds in which all services together must have stopped. An engine kills the container
/// ten seconds after it asked it to stop; what is left over here is for stray processes
/// and for machines with much else to do.
const STOP_BUDGET: usize = 6000;

/// Milliseconds any one service is left between SIGTERM and SIGKILL, however many must stop one
/// after the other.
const SHORTEST_STOP: usize = 500;

/// Compiles services, each after those it names in `after`, to the files that run them, sorted by
/// path. Without services there is nothing to run and the answer is empty.
#[must_use]
pub fn compile(services: &[Service]) -> Vec<Compiled> {
    if services.is_empty() {
        return Vec::new();
    }
    let levels = levels(services);
    let each = (STOP_BUDGET / levels.len().max(1)).max(SHORTEST_STOP);
    let mut files = vec![
        program(INIT.to_owned(), include_str!("services/init.sh").to_owned()),
        data(
            LIBRARY.to_owned(),
            include_str!("services/supervise.sh").to_owned(),
        ),
    ];
    for service in services {
        files.extend(service_folder(service, each));
    }
    files.extend(scan_folder(&levels, each));
    files.sort();
    files
}

/// Groups service names so that each level needs only the levels before it.
fn levels(services: &[Service]) -> Vec<Vec<&str>> {
    let mut level_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut levels: Vec<Vec<&str>> = Vec::new();
    for service in services {
        let level = service
            .after
            .iter()
            .filter_map(|other| level_of.get(other.value.as_str()))
            .max()
            .map_or(0, |below| below + 1);
        level_of.insert(&service.name.value, level);
        if levels.len() <= level {
            levels.resize(level + 1, Vec::new());
        }
        levels[level].push(&service.name.value);
    }
    levels
}

/// The folder of one service, which may take `stop` milliseconds to end.
fn service_folder(service: &Service, stop: usize) -> Vec<Compiled> {
    let name = &service.name.value;
    let at = |file: &str| format!("{FOLDER}/{name}/{file}");
    let user = quoted(service.user.as_ref().map_or("", |user| user.value.as_str()));
    let way = if service.ready.is_some() {
        "checked"
    } else {
        "running"
    };
    let mut run = script("exec 2>&1\n");
    run.push_str("back_off\n");
    if !service.after.is_empty() {
        let others = words(service.after.iter().map(|other| other.value.as_str()));
        run.push_str(&format!("wait_for {others}\n"));
    }
    let command = words(service.command.value.iter().map(String::as_str));
    run.push_str(&format!("start {user} {way} {command}\n"));

    let restart = match service.restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    let mut files = vec![
        program(at("run"), run),
        program(
            at("finish"),
            script(&format!("ended {} {restart} \"$@\"\n", quoted(name))),
        ),
        data(at("notification-fd"), "3\n".to_owned()),
        // A little less than the stop script waits, so that it sees the service go.
        data(at("timeout-kill"), format!("{}\n", stop - stop / 10)),
        program(
            at("log/run"),
            format!(
                "#!/bin/sh\nexec s6-log -- n3 s262144 T \"$KASMFORGE_RUN\"/log/{}\n",
                quoted(name)
            ),
        ),
    ];
    if let Some(ready) = &service.ready {
        files.push(program(
            at("data/check"),
            script(&format!("run_as {user} {}\n", question(ready))),
        ));
    }
    files
}

/// The command that ends with status 0 when a service is ready.
fn question(ready: &Ready) -> String {
    match ready {
        // sh has no sockets; bash, which is essential in Debian, has.
        Ready::Port(port) => format!(
            "bash -c '(: </dev/tcp/127.0.0.1/{port}) 2>/dev/null || (: </dev/tcp/::1/{port}) 2>/dev/null'"
        ),
        Ready::Socket(path) => format!("s6-ipcclient {} true 2>/dev/null", quoted(path)),
        Ready::File(path) => format!("test -e {}", quoted(path)),
        Ready::Command(command) => {
            format!(
                "{} >/dev/null 2>&1",
                words(command.value.iter().map(String::as_str))
            )
        }
    }
}

/// What s6-svscan does with signals, at its end, and when it cannot go on.
fn scan_folder(levels: &[Vec<&str>], each: usize) -> Vec<Compiled> {
    let at = |file: &str| format!("{FOLDER}/.s6-svscan/{file}");
    // The last started go first: a program must not lose its display before it may end itself.
    let mut stop = script("");
    for level in levels.iter().rev() {
        stop.push_str(&format!("stop {each} {}\n", words(level.iter().copied())));
    }
    stop.push_str("s6-svscanctl -t .\n");
    // What services left behind would keep their logs open. Only a PID 1 may speak for all
    // processes there are: with the host's process ids, these would be the host's.
    stop.push_str("if [ \"$PPID\" -eq 1 ]; then\n");
    stop.push_str("    kill -TERM -1\n    sleep 1\n    kill -KILL -1\nfi 2>/dev/null\n");
    let mut files: Vec<Compiled> = ["SIGTERM", "SIGINT", "SIGQUIT"]
        .iter()
        .map(|signal| program(at(signal), stop.clone()))
        .collect();
    // 0 for whoever stopped it from outside; else what `end_all` asked for.
    let finish =
        "#!/bin/sh\nexit \"$(cat \"$KASMFORGE_RUN/exit-status\" 2>/dev/null || echo 0)\"\n";
    files.push(program(at("finish"), finish.to_owned()));
    files.push(program(
        at("crash"),
        format!("#!/bin/sh\nsleep 1\nexec {INIT}\n"),
    ));
    files
}

/// A script that begins with the shared functions.
fn script(rest: &str) -> String {
    format!("#!/bin/sh\n. {LIBRARY}\n{rest}")
}

fn program(path: String, text: String) -> Compiled {
    Compiled {
        path,
        mode: 0o755,
        content: text.into_bytes(),
    }
}

fn data(path: String, text: String) -> Compiled {
    Compiled {
        path,
        mode: 0o644,
        content: text.into_bytes(),
    }
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word for sh, quoted unless it plainly needs no quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
