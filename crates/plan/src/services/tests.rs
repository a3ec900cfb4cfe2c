use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use kasmforge_spec::{Memory, Service};
use proptest::prelude::*;

use super::{Compiled, FOLDER, INIT, compile, levels, words};

/// Services from the text of a definition, in the order the definition's room gives them.
fn services(text: &str) -> Vec<Service> {
    let definition = format!("name = \"t\"\n[debian]\nsuite = \"trixie\"\n{text}");
    let sources: Memory = [("workspaces/t.toml", definition)].into_iter().collect();
    let workspace = kasmforge_spec::load(&sources, "t").expect("the definition is right");
    workspace.stages.last().expect("a stage").services.clone()
}

fn text<'a>(files: &'a [Compiled], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == path);
    std::str::from_utf8(&file.expect("the file is there").content).expect("it is text")
}

const DESKTOP: &str = r#"
[[services]]
name = "display"
command = ["Xvnc", ":1"]
user = "someone"
ready = { command = ["xset", "q"] }

[[services]]
name = "web"
command = ["serve", "--title", "it's a desktop"]
after = ["display"]
restart = "on-failure"

[[services]]
name = "session"
command = ["session"]
after = ["display"]
"#;

#[test]
fn no_services_need_no_files() {
    assert_eq!(compile(&[]), []);
}

#[test]
fn a_service_is_a_folder_of_scripts() {
    let files = compile(&services(DESKTOP));
    assert_eq!(
        text(&files, "/etc/kasmforge/services/web/run"),
        "#!/bin/sh\n. /usr/libexec/kasmforge/supervise.sh\nexec 2>&1\nback_off\n\
         wait_for display\nstart '' running serve --title 'it'\\''s a desktop'\n"
    );
    assert_eq!(
        text(&files, "/etc/kasmforge/services/web/finish"),
        "#!/bin/sh\n. /usr/libexec/kasmforge/supervise.sh\nended web on-failure \"$@\"\n"
    );
    assert_eq!(
        text(&files, "/etc/kasmforge/services/display/data/check"),
        "#!/bin/sh\n. /usr/libexec/kasmforge/supervise.sh\nrun_as someone xset q >/dev/null 2>&1\n"
    );
    assert!(files.is_sorted());
    for file in &files {
        let program = file.content.starts_with(b"#!");
        assert_eq!(
            file.mode,
            if program { 0o755 } else { 0o644 },
            "{}",
            file.path
        );
    }
}

#[test]
fn the_last_started_are_stopped_first() {
    let files = compile(&services(DESKTOP));
    let stop = text(&files, "/etc/kasmforge/services/.s6-svscan/SIGTERM");
    let dependants = stop.find("stop 3000 web session").expect("both at once");
    let display = stop.find("stop 3000 display").expect("the display");
    assert!(dependants < display);
    // The time to end well is what the stop script waits for, and a little less.
    assert_eq!(
        text(&files, "/etc/kasmforge/services/web/timeout-kill"),
        "2700\n"
    );
}

#[test]
fn services_level_by_level() {
    let chain = services(
        r#"
[[services]]
name = "d"
command = ["d"]
after = ["b", "c"]
[[services]]
name = "c"
command = ["c"]
after = ["b"]
[[services]]
name = "b"
command = ["b"]
[[services]]
name = "a"
command = ["a"]
"#,
    );
    let mut levels = levels(&chain);
    levels.iter_mut().for_each(|level| level.sort_unstable());
    assert_eq!(levels, [vec!["a", "b"], vec!["c"], vec!["d"]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever a command's words hold, sh gives them back as they were.
    #[test]
    fn sh_reads_the_words_that_were_written(list in prop::collection::vec("[^\0]{0,12}", 1..6)) {
        let line = format!("printf '%s\\0' {}", words(list.iter().map(String::as_str)));
        let output = Command::new("sh").arg("-c").arg(line).output().expect("there is a shell");
        let read = String::from_utf8(output.stdout).expect("what was written is UTF-8");
        let read: Vec<&str> = read.split_terminator('\0').collect();
        prop_assert_eq!(read, list);
    }
}

/// Compiled services in a folder of their own, with the fixed paths changed to it, and running.
struct Running {
    root: tempfile::TempDir,
    supervisor: Child,
}

impl Running {
    fn start(definition: &str) -> Running {
        let root = tempfile::tempdir().expect("a folder for the test");
        let at = root.path().to_str().expect("its path is UTF-8");
        let definition = definition.replace("ROOT", at);
        for file in compile(&services(&definition)) {
            let path = format!("{at}{}", file.path);
            fs::create_dir_all(Path::new(&path).parent().expect("not the root"))
                .expect("its folder");
            let script = String::from_utf8(file.content).expect("scripts are text");
            let script = script
                .replace(
                    "/usr/libexec/kasmforge",
                    &format!("{at}/usr/libexec/kasmforge"),
                )
                .replace(FOLDER, &format!("{at}{FOLDER}"));
            fs::write(&path, script).expect("its text");
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).expect("its mode");
        }
        // `timeout` only sees to it that nothing is left running if the test goes wrong.
        let supervisor = Command::new("timeout")
            .args(["--foreground", "120", &format!("{at}{INIT}")])
            .env("KASMFORGE_RUN", root.path().join("run"))
            .env("KASMFORGE_HEALTH_LOG", root.path().join("health.log"))
            .env("HOME", root.path())
            .spawn()
            .expect("timeout is there");
        Running { root, supervisor }
    }

    /// Waits for a state, as s6-svwait's options name it.
    fn wait(&self, state: &str, service: &str) {
        let folder = self.root.path().join("run/services").join(service);
        // s6-svwait refuses a service that is not supervised yet.
        let line =
            "until s6-svok \"$0\"; do sleep 0.1; done; exec s6-svwait -t 60000 \"$1\" \"$0\"";
        let status = Command::new("timeout")
            .args(["60", "sh", "-c", line])
            .arg(folder)
            .arg(state)
            .status()
            .expect("timeout is there");
        assert!(
            status.success(),
            "{service} is not {state}: {}",
            self.file("health.log")
        );
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap_or_default()
    }

    fn stop(mut self) -> (tempfile::TempDir, Option<i32>) {
        let pid = self.supervisor.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.expect("kill is there").success());
        let status = self.supervisor.wait().expect("it is our child");
        (self.root, status.code())
    }
}

fn s6_is_installed() -> bool {
    Command::new("s6-svok").arg("/").output().is_ok()
}

#[test]
fn s6_runs_what_was_compiled() {
    if !s6_is_installed() {
        // The package `s6` is Debian's; other systems may not have it.
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it has an address").port();
    let definition = format!(
        r#"
[[services]]
name = "socket"
command = ["s6-ipcserver-socketbinder", "ROOT/socket", "sh", "-c", "trap 'echo socket >>ROOT/stopped; exit 0' TERM; while :; do sleep 0.1; done"]
ready = {{ socket = "ROOT/socket" }}

[[services]]
name = "port"
command = ["sh", "-c", "test -S ROOT/socket && echo after socket >ROOT/order; trap 'echo port >>ROOT/stopped; exit 0' TERM; while :; do sleep 0.1; done"]
after = ["socket"]
ready = {{ port = {port} }}

[[services]]
name = "fails-once"
command = ["sh", "-c", "test -e failed || {{ echo no >failed; exit 3; }}; pwd >steady; exec sleep 1000"]
after = ["port"]
ready = {{ file = "ROOT/steady" }}

[[services]]
name = "setup"
command = ["sh", "-c", "echo done >setup"]
restart = "never"

[[services]]
name = "after-setup"
command = ["sleep", "1000"]
after = ["setup"]

[[services]]
name = "broken"
command = ["sh", "-c", "echo last words; exit 7"]
restart = "never"
"#
    );
    let running = Running::start(&definition);
    for ready in ["socket", "port", "fails-once", "after-setup"] {
        running.wait("-U", ready);
    }
    for down in ["setup", "broken"] {
        running.wait("-D", down);
    }
    assert_eq!(running.file("order"), "after socket\n");
    // Commands start in the home.
    assert_eq!(
        Path::new(running.file("steady").trim()).canonicalize().ok(),
        running.root.path().canonicalize().ok()
    );
    let health = running.file("health.log");
    assert!(health.contains(" fails-once ended with status 3 after "));
    assert!(health.contains(" and starts again; its log is "));
    assert!(health.contains(" broken ended with status 7 after "));
    assert!(health.contains(" and stays down; its log is "));
    assert!(
        health.contains(" (it said last: last words)"),
        "who reads of a death reads why: {health}"
    );
    assert!(!health.contains("setup"));
    assert!(
        running
            .file("run/log/broken/current")
            .ends_with("last words\n")
    );

    let (root, status) = running.stop();
    assert_eq!(status, Some(0));
    // Dependants first; and a stop that was asked for is no death.
    let stopped = fs::read_to_string(root.path().join("stopped")).expect("both said so");
    assert_eq!(stopped, "port\nsocket\n");
    let after = fs::read_to_string(root.path().join("health.log")).expect("it was read before");
    assert_eq!(after, health);
}

/// An image may ask that the whole ends with one of its services; nothing else ends it.
#[test]
fn a_death_ends_the_whole_only_where_the_image_says_so() {
    if !s6_is_installed() {
        return;
    }
    let mut running = Running::start(
        r#"
[[services]]
name = "vital"
command = ["sh", "-c", "until test -e ROOT/die; do sleep 0.1; done; exit 9"]

[[services]]
name = "other"
command = ["sh", "-c", "sleep 0.3; exit 8"]
restart = "never"
"#,
    );
    let hook = running.root.path().join("usr/libexec/kasmforge/on-death");
    let script = "#!/bin/sh\necho \"$*\" >>hook\ntest \"$1\" != vital\n";
    let script = script.replace("hook", &format!("{}/hook", running.root.path().display()));
    fs::write(&hook, script).expect("the hook");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("its mode");
    running.wait("-D", "other");
    running.wait("-u", "vital");
    fs::write(running.root.path().join("die"), "").expect("the sign to die");
    let status = running.supervisor.wait().expect("it is our child");
    assert_eq!(status.code(), Some(1));
    assert!(
        running.file("hook").ends_with("vital 9 0\n"),
        "{}",
        running.file("hook")
    );
    assert!(
        running
            .file("health.log")
            .contains("the container ends, as its settings ask")
    );
}
