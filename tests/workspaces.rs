//! Each shipped workspace that needs Debian alone: built, loaded, asked everything `kasmforge checks`
//! asks, and opened in a real browser. Long: `tests/nightly.sh workspaces` runs it; the ordinary run takes
//! it for one application (`tests/desktop.rs` is for the desktop).
//!
//! Screenshots and a table of figures are kept below `target/test-output`. Needs root and
//! `apt-get install docker.io iproute2 chromium chromium-driver`.

#![allow(
    clippy::print_stderr,
    reason = "the row of each is told while the rest still runs"
)]

mod support {
    pub(crate) mod browser;
    pub(crate) mod engine;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::browser::Browser;
use support::engine::Engine;

/// What needs a package of KasmVNC's vendor.
const VENDORS: [&str; 2] = ["kasm-core", "kasm-desktop"];

const PASSWORD: &str = "correct-horse";

/// WebDriver's names of keys.
const CONTROL: &str = "\u{e009}";
const ALT: &str = "\u{e00a}";
const SHIFT: &str = "\u{e008}";

/// In a whole desktop, a terminal.
const TERMINAL: &[&str] = &[CONTROL, ALT, "t"];

/// Single applications, and keys that open another window of theirs, or change a title.
const KIOSKS: [(&str, &[&str]); 11] = [
    // Preferences.
    ("audacity", &[CONTROL, "p"]),
    ("chromium", &[CONTROL, "n"]),
    // The list of sites.
    ("filezilla", &[CONTROL, "s"]),
    ("firefox", &[CONTROL, "n"]),
    // A new picture: its size is asked for.
    ("gimp", &[CONTROL, "n"]),
    ("inkscape", &[CONTROL, "n"]),
    // A new text.
    ("libreoffice", &[CONTROL, "n"]),
    // Preferences.
    ("remmina", &[CONTROL, "p"]),
    ("terminal", &[CONTROL, SHIFT, "N"]),
    // The console of errors: mail needs an account.
    ("thunderbird", &[CONTROL, SHIFT, "J"]),
    // Which file to open.
    ("vlc", &[CONTROL, "o"]),
];

/// Prints where the pointer is on the display: Xlib's `XQueryPointer`.
const POINTER: &str = r#"
import ctypes
x11 = ctypes.CDLL("libX11.so.6")
x11.XOpenDisplay.restype = ctypes.c_void_p
x11.XDefaultRootWindow.restype = ctypes.c_ulong
display = ctypes.c_void_p(x11.XOpenDisplay(None))
root = ctypes.c_ulong(x11.XDefaultRootWindow(display))
windows = [ctypes.c_ulong(), ctypes.c_ulong()]
numbers = [ctypes.c_int() for _ in range(4)]
mask = ctypes.c_uint()
x11.XQueryPointer(display, root, *map(ctypes.byref, windows + numbers + [mask]))
print(numbers[0].value, numbers[1].value)
"#;

struct Shop {
    engine: Engine,
    project: tempfile::TempDir,
    store: PathBuf,
}

impl Shop {
    fn open() -> Self {
        let project = tempfile::tempdir().expect("a temporary folder");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["workspaces", "kasmforge.lock"] {
            let copied = Command::new("cp")
                .arg("-r")
                .arg(here.join(part))
                .arg(project.path())
                .status();
            assert!(
                copied.is_ok_and(|status| status.success()),
                "{part} can be copied"
            );
        }
        let store = std::env::var_os("KASMFORGE_TEST_STORE").map(PathBuf::from);
        Self {
            engine: Engine::start(),
            project,
            store: store.unwrap_or_else(|| here.join("target/test-store")),
        }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_kasmforge"))
            .arg("-C")
            .arg(self.project.path())
            .arg("--store")
            .arg(&self.store)
            .arg("--json")
            .args(arguments)
            .env("DOCKER_HOST", self.engine.host())
            .output()
            .expect("kasmforge runs");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kasmforge {arguments:?}:\n{talk}");
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    }

    fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments)
            .unwrap_or_else(|talk| panic!("docker {arguments:?}: {talk}"))
    }

    /// What docker prints; what it says if it fails.
    fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.engine.host())
            .args(arguments)
            .output();
        let output = output.expect("docker runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    fn names(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.project.path().join("workspaces")).expect("a folder");
        let files = folder.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = files
            .filter_map(|file| Some(file.to_str()?.strip_suffix(".toml")?.to_owned()))
            .filter(|name| !VENDORS.contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }

    /// Builds a workspace, asks it everything, looks at it; its row of the table, and its bytes.
    fn prove(
        &self,
        name: &str,
        core: &mut BTreeSet<String>,
        whole: &mut BTreeMap<String, u64>,
    ) -> (String, u64) {
        let built = self.json(&["build", name]);
        let layers = built["layers"].as_array().expect("layers");
        let mut bytes = (0, 0);
        let mut packages = 0;
        for layer in layers {
            let (id, size) = (
                layer["diff_id"].as_str().expect("an id"),
                layer["size"].as_u64().expect("bytes"),
            );
            bytes.0 += size;
            packages += layer["packages"].as_array().map_or(0, Vec::len);
            if name == "core" {
                core.insert(id.to_owned());
            }
            if !core.contains(id) {
                bytes.1 += size;
            }
            whole.insert(id.to_owned(), size);
        }
        let picture = output(&format!("{name}.png"));
        let kept = picture.display().to_string();
        let told = self.json(&["checks", name, "--screenshot", &kept]);
        assert_eq!(told["passed"], true, "{told}");
        let seconds = match name {
            // It has no display.
            "core" => "–".to_owned(),
            _ => {
                self.look(name, built["reference"].as_str().expect("a name"));
                format!("{:.1}", told["desktop_seconds"].as_f64().expect("seconds"))
            }
        };
        let mega = |bytes: u64| bytes as f64 / 1e6;
        // One archive of a gigabyte and more each: only the figures are kept.
        let archive = built["archive"].as_str().expect("a path");
        let _ = std::fs::remove_file(archive);
        let row = format!(
            "| `{name}` | {packages} | {:.0} | {:.0} | {} | {seconds} |",
            mega(bytes.0),
            mega(bytes.1),
            layers.len()
        );
        (row, bytes.0)
    }

    /// Opens it in a browser: something is drawn there, the pointer goes where it is clicked, and a
    /// press of keys opens what it must.
    fn look(&self, name: &str, reference: &str) {
        let port = support::engine::free_port();
        let id = self.docker(&[
            "run",
            "--detach",
            "--shm-size",
            "512m",
            "--env",
            &format!("VNC_PW={PASSWORD}"),
            "--env",
            "AGENT_ID=test",
            "--env",
            "AGENT_SECRET=a-secret-of-the-test",
            "--publish",
            &format!("127.0.0.1:{port}:6901"),
            reference,
        ]);
        let browser = Browser::start();
        let healthy = ["inspect", "--format", "{{.State.Health.Status}}", &id];
        until("it is healthy", || self.docker(&healthy) == "healthy");
        if KIOSKS.iter().any(|(kiosk, _)| *kiosk == name) {
            let shown = ["exec", &id, "/usr/libexec/kasmforge/application-shown"];
            until("the application is shown", || {
                self.try_docker(&shown).is_ok()
            });
        }
        browser.open(&format!("https://kasm_user:{PASSWORD}@127.0.0.1:{port}/"));
        // A terminal has few colours; a display with nothing on it has one.
        browser.until("something is drawn", |browser| {
            browser.picture().is_some_and(|picture| picture.colours > 1)
        });
        let pointer = ["exec", &id, "python3", "-c", POINTER];
        until("the pointer goes where it is clicked", || {
            let Some((x, y)) = browser.click_middle() else {
                return false;
            };
            // noVNC's picture and the screen may be of different sizes for a moment; half of an odd
            // size is rounded by each in its own way.
            let seen = self.try_docker(&pointer).unwrap_or_default();
            let seen: Vec<i64> = seen
                .split(' ')
                .filter_map(|part| part.parse().ok())
                .collect();
            matches!(seen[..], [a, b] if a.abs_diff(x) <= 2 && b.abs_diff(y) <= 2)
        });
        let keys = KIOSKS.iter().find(|(kiosk, _)| *kiosk == name);
        let keys = keys.map_or(TERMINAL, |(_, keys)| *keys);
        if name != "xfce" {
            let windows = ["exec", &id, "wmctrl", "-l"];
            // Until there is a window manager nobody lists windows.
            let mut before = String::new();
            until("windows are listed", || {
                self.try_docker(&windows).map(|list| before = list).is_ok()
            });
            let mut tries = 0;
            until("keys open something", || {
                // An application that has only just come may not listen yet.
                if tries % 20 == 0 {
                    browser.press(keys);
                }
                tries += 1;
                self.try_docker(&windows).is_ok_and(|now| now != before)
            });
        }
        settle(&browser);
        browser.keep(&output(&format!("{name}-in-a-browser.png")));
        self.docker(&["rm", "--force", "--volumes", &id]);
    }
}

/// Waits until a picture stays the same, or for as long as pictures move.
fn settle(browser: &Browser) {
    let mut before = browser.picture();
    for _ in 0..10 {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = browser.picture();
        if now == before {
            return;
        }
        before = now;
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(240);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

fn output(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-output/workspaces");
    std::fs::create_dir_all(&folder).expect("made");
    folder.join(name)
}

fn table(names: &[String]) {
    let shop = Shop::open();
    let (mut core, mut whole) = (BTreeSet::new(), BTreeMap::new());
    let mut rows = vec![
        "| workspace | packages | image, MB | not shared with `core`, MB | layers | seconds to the desktop |".to_owned(),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    let mut all = 0_u64;
    let mut failed = Vec::new();
    for name in names {
        let proof = std::panic::AssertUnwindSafe(|| shop.prove(name, &mut core, &mut whole));
        let Ok((row, bytes)) = std::panic::catch_unwind(proof) else {
            eprintln!("{name} FAILED");
            failed.push(name);
            continue;
        };
        eprintln!("{row}");
        all += bytes;
        rows.push(row);
        std::fs::write(output("table.md"), rows.join("\n")).expect("written");
    }
    let shared: u64 = whole.values().sum();
    rows.push(format!(
        "\nAll together, each layer once: {} MB; as images of one layer each: {} MB.",
        shared / 1_000_000,
        all / 1_000_000
    ));
    std::fs::write(output("table.md"), rows.join("\n")).expect("written");
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// The smallest application, for the ordinary run.
#[test]
fn one_application_is_proved() {
    table(&["terminal".to_owned()]);
}

#[test]
#[ignore = "an hour or so: tests/nightly.sh workspaces"]
fn each_workspace_is_proved() {
    let mut names = Shop::open().names();
    if let Ok(only) = std::env::var("KASMFORGE_TEST_WORKSPACES") {
        let only: Vec<&str> = only.split_whitespace().collect();
        names.retain(|name| name == "core" || only.contains(&name.as_str()));
    }
    // What is shared with `core` can be told once it is built.
    let (core, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "core");
    table(&[core, others].concat());
}
