//! The image, the engine, and containers that go when they are dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::engine::Engine;

/// The password containers are given.
pub(crate) const PASSWORD: &str = "correct-horse";

/// How long anything may take on a busy machine; only failures take as long.
const PATIENCE: Duration = Duration::from_secs(180);

/// The workspace under test: the smallest that has a display, with an application of one script.
const WORKSPACE: &str = r#"
name = "bench"
extends = "xfce"
use = ["modules/kiosk"]

[[files]]
target = "/usr/local/bin/notepad-of-the-test"
text = """
#!/bin/sh
echo "$@" >>/tmp/application.log
exec /usr/local/bin/notepad 1000000
"""
mode = "0755"

[[files]]
target = "/usr/local/bin/notepad"
symlink = "/usr/bin/sleep"

[image.environment]
START_COMMAND = "notepad-of-the-test"
# A script is known by its own name until it becomes another program.
PGREP = "notepad"
DEFAULT_ARGS = "--default 'two words'"

[layers]
budget = 64
"#;

/// Everything the cases share.
pub(crate) struct Bench {
    _engine: Option<Engine>,
    host: String,
    pub(crate) project: tempfile::TempDir,
    next: AtomicU32,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let engine = std::env::var("KASMFORGE_TEST_HOST")
            .is_err()
            .then(Engine::start);
        let host = match &engine {
            Some(engine) => engine.host(),
            None => std::env::var("KASMFORGE_TEST_HOST").expect("it is set"),
        };
        let project = tempfile::tempdir().expect("a temporary folder");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["workspaces", "kasmforge.lock"] {
            run(Command::new("cp")
                .arg("-r")
                .arg(here.join(part))
                .arg(project.path()));
        }
        std::fs::write(project.path().join("workspaces/bench.toml"), WORKSPACE).expect("written");
        let bench = Self {
            _engine: engine,
            host,
            project,
            next: AtomicU32::new(0),
        };
        bench.kasmforge(&["build", "bench"]);
        bench.kasmforge(&["load", "bench"]);
        bench
    }

    /// Runs kasmforge; its JSON.
    pub(crate) fn kasmforge(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.try_kasmforge(arguments);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kasmforge {arguments:?}:\n{talk}");
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    }

    pub(crate) fn try_kasmforge(&self, arguments: &[&str]) -> Output {
        let store = std::env::var_os("KASMFORGE_TEST_STORE").map(PathBuf::from);
        let store = store
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-store"));
        Command::new(env!("CARGO_BIN_EXE_kasmforge"))
            .arg("-C")
            .arg(self.project.path())
            .arg("--store")
            .arg(store)
            .arg("--json")
            .args(arguments)
            .env("DOCKER_HOST", &self.host)
            .output()
            .expect("kasmforge runs")
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .arg("--host")
            .arg(&self.host)
            .args(arguments)
            .output()
            .expect("docker runs")
    }

    /// Starts a container with these arguments of `docker run`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Container<'_> {
        self.start_with(arguments, &[])
    }

    /// The same, with words after the image.
    pub(crate) fn start_with(&self, arguments: &[&str], after: &[&str]) -> Container<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench-{}-{number}", std::process::id());
        let password = format!("VNC_PW={PASSWORD}");
        let all = [
            &[
                "run",
                "--detach",
                "--name",
                &name,
                "--env",
                &password,
                "--restart",
                "always",
            ],
            arguments,
            &["kasmforge/bench:latest"],
            after,
        ]
        .concat();
        let output = self.docker(&all);
        let container = Container { bench: self, name };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        container
    }

    /// A folder or file of the host, for a container to see.
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.project.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
        path.display().to_string()
    }
}

/// A container; it goes when dropped.
pub(crate) struct Container<'a> {
    bench: &'a Bench,
    pub(crate) name: String,
}

impl Container<'_> {
    /// Runs a script in it as its user; status and output.
    pub(crate) fn try_inside(&self, script: &str) -> (bool, String) {
        self.exec(&["--user", "1000"], script)
    }

    pub(crate) fn exec(&self, options: &[&str], script: &str) -> (bool, String) {
        let all = [&["exec"], options, &[&self.name, "bash", "-c", script]].concat();
        let output = self.bench.docker(&all);
        // A shell may talk; what it says matters where it failed.
        let text = match output.status.success() {
            true => output.stdout,
            false => [output.stdout, output.stderr].concat(),
        };
        (
            output.status.success(),
            String::from_utf8_lossy(&text).trim().to_owned(),
        )
    }

    /// Runs a script that must succeed; its output.
    pub(crate) fn inside(&self, script: &str) -> String {
        let (done, text) = self.try_inside(script);
        assert!(done, "{script}: {text}\n{}", self.told());
        text
    }

    /// Runs a Python program of the test's in it.
    pub(crate) fn python(&self, program: &str) -> String {
        let mut child = Command::new("docker")
            .args([
                "--host",
                &self.bench.host,
                "exec",
                "-i",
                &self.name,
                "python3",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker runs");
        let mut input = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, program.as_bytes()).expect("written");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The container's own log.
    pub(crate) fn log(&self) -> String {
        let output = self.bench.docker(&["logs", &self.name]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// The container's log and its health log.
    pub(crate) fn told(&self) -> String {
        let (_, health) = self.try_inside("cat /tmp/container-health.log");
        format!("{}\n--- health log\n{health}", self.log())
    }

    /// Waits until a script succeeds in it.
    pub(crate) fn until(&self, what: &str, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (done, text) = self.try_inside(script);
            if done {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "in vain: {what}: {text}\n{}",
                self.told()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits until it says something in its log or its health log.
    pub(crate) fn until_told(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.told().contains(words) {
            assert!(
                Instant::now() < deadline,
                "it never said {words:?}:\n{}",
                self.told()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    pub(crate) fn until_healthy(&self) {
        self.until("healthy", "kasmforge-health");
    }

    pub(crate) fn inspect(&self, format: &str) -> String {
        let output = self
            .bench
            .docker(&["inspect", "--format", format, &self.name]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// PID 1 is the one that was started first, and commands can be run.
    pub(crate) fn never_restarted(&self) {
        assert_eq!(
            self.inspect("{{.RestartCount}} {{.State.Running}}"),
            "0 true",
            "{}",
            self.told()
        );
        assert_eq!(self.inside("echo here"), "here");
    }

    /// `docker stop` ends it by its own doing, not by the engine's SIGKILL after ten seconds (137).
    pub(crate) fn stops(&self) {
        assert!(self.bench.docker(&["stop", &self.name]).status.success());
        assert_eq!(self.inspect("{{.State.ExitCode}}"), "0", "{}", self.log());
    }

    /// The HTTP status of the web server for these arguments of curl.
    pub(crate) fn http(&self, arguments: &str) -> String {
        self.inside(&format!(
            "curl -sk -m 20 -o /tmp/answer -w '%{{http_code}}' {arguments} || true"
        ))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self
            .bench
            .docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {talk}");
}
