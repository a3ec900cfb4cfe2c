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
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.engine.host())
            .args(arguments)
            .output();
        let output = output.expect("docker runs");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {talk}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
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

    /// Builds a workspace, asks it everything, looks at it; its row of the table.
    fn prove(
        &self,
        name: &str,
        core: &mut BTreeSet<String>,
        whole: &mut BTreeMap<String, u64>,
    ) -> String {
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
        let seconds = match name {
            // It has no display; `tests/contract` asks it what it must do.
            "core" => "–".to_owned(),
            _ => {
                let told = self.json(&[
                    "checks",
                    name,
                    "--screenshot",
                    &picture.display().to_string(),
                ]);
                assert_eq!(told["passed"], true, "{told}");
                self.look(name, built["reference"].as_str().expect("a name"));
                format!("{:.1}", told["desktop_seconds"].as_f64().expect("seconds"))
            }
        };
        let mega = |bytes: u64| bytes as f64 / 1e6;
        // One archive of a gigabyte and more each: only the figures are kept.
        let archive = built["archive"].as_str().expect("a path");
        let _ = std::fs::remove_file(archive);
        format!(
            "| `{name}` | {packages} | {:.0} | {:.0} | {} | {seconds} |",
            mega(bytes.0),
            mega(bytes.1),
            layers.len()
        )
    }

    /// Opens it in a browser and sees that something is drawn there.
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
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        let healthy = ["inspect", "--format", "{{.State.Health.Status}}", &id];
        while self.docker(&healthy) != "healthy" {
            assert!(
                std::time::Instant::now() < deadline,
                "{name}: {}",
                self.docker(&["logs", &id])
            );
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        browser.open(&format!("https://kasm_user:{PASSWORD}@127.0.0.1:{port}/"));
        browser.until("something is drawn", |browser| {
            browser
                .picture()
                .is_some_and(|picture| picture.colours > 20)
        });
        std::thread::sleep(std::time::Duration::from_secs(3));
        browser.keep(&output(&format!("{name}-in-a-browser.png")));
        self.docker(&["rm", "--force", "--volumes", &id]);
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
    for name in names {
        let row = shop.prove(name, &mut core, &mut whole);
        eprintln!("{row}");
        let size = row
            .split('|')
            .nth(3)
            .and_then(|size| size.trim().parse::<u64>().ok());
        all += size.expect("a number");
        rows.push(row);
        std::fs::write(output("table.md"), rows.join("\n")).expect("written");
    }
    let shared: u64 = whole.values().sum();
    rows.push(format!(
        "\nAll together, each layer once: {} MB; as images of one layer each: {all} MB.",
        shared / 1_000_000
    ));
    std::fs::write(output("table.md"), rows.join("\n")).expect("written");
}

/// The smallest application, for the ordinary run.
#[test]
fn one_application_is_proved() {
    table(&["terminal".to_owned()]);
}

#[test]
#[ignore = "an hour or so: tests/nightly.sh workspaces"]
fn each_workspace_is_proved() {
    let names = Shop::open().names();
    // What is shared with `core` can be told once it is built.
    let (core, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "core");
    table(&[core, others].concat());
}
