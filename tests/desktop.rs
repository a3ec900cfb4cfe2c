//! The main job, end to end, on real things: the shipped desktop is built from a real mirror, read
//! by other tools, loaded into a real engine, looked at in a real browser, hurt, and upgraded to an
//! image that never becomes healthy.
//!
//! One test, in order, because a desktop is built once. Needs root and
//! `apt-get install docker.io iproute2 chromium chromium-driver skopeo umoci`. Screenshots are kept
//! below `target/test-output`. With `KASMFORGE_TEST_STORE` downloads outlive the run.

mod support {
    pub(crate) mod browser;
    pub(crate) mod engine;
}

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::browser::Browser;
use support::engine::Engine;

/// The container the definition names.
const CONTAINER: &str = "kasm-desktop";

/// The password the test gives the desktop.
const PASSWORD: &str = "correct-horse";

/// A project of its own, with the shipped workspaces.
struct Project {
    folder: tempfile::TempDir,
    store: PathBuf,
    host: String,
}

impl Project {
    fn new(host: String, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        run(Command::new("cp")
            .arg("-r")
            .arg(here.join("workspaces"))
            .arg(folder.path()));
        if here.join("kasmforge.lock").exists() {
            run(Command::new("cp")
                .arg(here.join("kasmforge.lock"))
                .arg(folder.path()));
        }
        let store = std::env::var_os("KASMFORGE_TEST_STORE").map(PathBuf::from);
        let store = store.unwrap_or_else(|| here.join("target/test-store"));
        let project = Self {
            folder,
            store,
            host,
        };
        project.change("desktop.toml", |text| {
            let ports = text
                .lines()
                .find(|line| line.starts_with("ports = "))
                .expect("ports");
            let free = format!("ports = [\"127.0.0.1:{port}:6901\"]");
            let environment = format!("[deploy.environment]\nVNC_PW = \"{PASSWORD}\"\n");
            format!("{}\n{environment}", text.replacen(ports, &free, 1))
        });
        project
    }

    fn change(&self, name: &str, change: impl Fn(&str) -> String) {
        let path = self.folder.path().join("workspaces").join(name);
        let text = std::fs::read_to_string(&path).expect("a definition");
        std::fs::write(&path, change(&text)).expect("written");
    }

    fn kasmforge(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_kasmforge"))
            .arg("-C")
            .arg(self.folder.path())
            .arg("--store")
            .arg(&self.store)
            .arg("--json")
            .args(arguments)
            .env("DOCKER_HOST", &self.host)
            .output()
            .expect("kasmforge runs")
    }

    /// Runs a command that must succeed, and reads its JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.kasmforge(arguments);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kasmforge {arguments:?}:\n{talk}");
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command
            .arg("--host")
            .arg(&self.host)
            .args(arguments)
            .output()
            .expect("docker runs")
    }

    /// Runs a command in the desktop as root; its output.
    fn inside(&self, script: &str) -> String {
        let output = self.docker(&["exec", "--user", "0", CONTAINER, "sh", "-c", script]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {text}{talk}");
        text
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {talk}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/test-output")
        .join(name)
}

#[test]
fn the_main_job() {
    for tool in [
        "dockerd",
        "docker",
        "chromium",
        "chromedriver",
        "skopeo",
        "umoci",
    ] {
        let found = Command::new("sh")
            .arg("-c")
            .arg(format!("command -v {tool}"))
            .output();
        assert!(
            found.is_ok_and(|found| found.status.success()),
            "{tool} is missing: apt-get install docker.io iproute2 curl chromium chromium-driver \
             skopeo umoci"
        );
    }
    let engine = Engine::start();
    let port = support::engine::free_port();
    let project = Project::new(engine.host(), port);

    let built = project.json(&["build", "desktop"]);
    let again = project.json(&["build", "desktop"]);
    assert_eq!(
        (&again["reused"], &again["digest"]),
        (&true.into(), &built["digest"])
    );
    other_tools_read(&project, &built);

    let loaded = project.json(&["load"]);
    assert!(loaded["bytes_sent"].as_u64() > Some(100 << 20), "{loaded}");
    assert_eq!(
        loaded["image_id"], built["image_id"],
        "the classic store names the config"
    );
    let nothing = project.json(&["load"]);
    assert_eq!(
        (&nothing["already_there"], &nothing["bytes_sent"]),
        (&true.into(), &0.into())
    );

    // The archive itself is what `docker load` takes, too.
    let result = project.folder.path().join("result");
    let output = project.docker(&["load", "--input", &result.display().to_string()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let id = project.docker(&["inspect", "--format", "{{.Id}}", "kasmforge/desktop:latest"]);
    assert_eq!(
        Some(String::from_utf8_lossy(&id.stdout).trim()),
        built["image_id"].as_str()
    );

    let first = project.json(&["upgrade"]);
    assert_eq!(first["created"], true);
    let url = first["url"].as_str().expect("where the desktop is");
    let page = url.replacen("https://", &format!("https://kasm_user:{PASSWORD}@"), 1);
    let browser = Browser::start();
    looks_like_a_desktop(&project, &browser, &page);
    debian_is_content(&project);
    survives_its_server(&project, &browser, &page);
    drop(browser);
    says_what_is_missing(&project);
    comes_back_from_a_bad_upgrade(&project, &first);
}

fn other_tools_read(project: &Project, built: &Value) {
    let result = project.folder.path().join("result");
    let config = |transport: &str| {
        let mut command = Command::new("skopeo");
        let image = format!("{transport}:{}", result.display());
        let text = run(command.args(["inspect", "--config", &image]));
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let (oci, docker) = (config("oci-archive"), config("docker-archive"));
    assert_eq!(oci, docker, "both readings of the archive agree");
    assert_eq!(oci["config"]["User"], "1000");
    let layers = oci["rootfs"]["diff_ids"].as_array().expect("layers").len();
    assert_eq!(Some(layers), built["layers"].as_array().map(Vec::len));
    let mut inspect = Command::new("skopeo");
    let image = format!("oci-archive:{}", result.display());
    let digest = run(inspect.args(["inspect", "--format", "{{.Digest}}", &image]));
    assert_eq!(Some(digest.trim()), built["digest"].as_str());

    let layout = project.folder.path().join("layout");
    std::fs::create_dir(&layout).expect("made");
    run(Command::new("tar")
        .arg("-xf")
        .arg(&result)
        .arg("-C")
        .arg(&layout));
    let image = format!("{}:latest", layout.display());
    let stat = run(Command::new("umoci").args(["stat", "--json", "--image", &image]));
    let stat: Value = serde_json::from_str(&stat).expect("JSON");
    let history = stat["history"].as_array().expect("history");
    assert_eq!(history.len(), layers);
    std::fs::remove_dir_all(&layout).expect("removed");
}

/// A wallpaper has many colours; a panel is one band of mostly one colour, and what is above is not.
fn drawn(browser: &Browser) -> bool {
    browser
        .picture()
        .is_some_and(|picture| picture.colours > 200 && picture.panel > 60 && picture.above < 30)
}

fn looks_like_a_desktop(project: &Project, browser: &Browser, page: &str) {
    browser.open(page);
    browser.until("the panel is drawn", drawn);
    browser.keep(&shot("desktop.png"));
    // The wallpaper is drawn anew once the screen has its size: let the picture come to rest.
    std::thread::sleep(Duration::from_secs(3));
    let before = browser.picture().expect("a picture");
    browser.press(&["\u{e009}", "\u{e00a}", "t"]);
    browser.until("a terminal opens", |browser| {
        browser
            .picture()
            .is_some_and(|picture| picture.middle != before.middle)
    });
    std::thread::sleep(Duration::from_secs(2));
    for key in "touch ~/typed".chars() {
        browser.press(&[&key.to_string()]);
    }
    browser.press(&["\u{e007}"]);
    browser.until("what was typed is done", |_| {
        let there = "test -e /home/kasm-user/typed && echo yes || true";
        project.inside(there).trim() == "yes"
    });
    browser.keep(&shot("terminal.png"));
}

/// dpkg and apt inside the image agree that all is well.
fn debian_is_content(project: &Project) {
    assert_eq!(project.inside("dpkg --audit"), "");
    // Nothing that a package ships was changed behind dpkg's back but what the definition lays
    // over it. machine-id and the like are nobody's files.
    assert_eq!(project.inside("dpkg --verify"), "");
    project.inside("apt-get check");
    assert_eq!(
        project.inside("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true"),
        ""
    );
    let key = project.inside(
        "grep -rlE '^-----BEGIN [A-Z ]*PRIVATE KEY-----' /etc /usr/share /var 2>/dev/null || true",
    );
    assert_eq!(key, "", "no private key is in the image");
    installs_something_small(project);
}

/// With a sources file, apt in the image works. The mirror is the host's own.
fn installs_something_small(project: &Project) {
    let sources = run(Command::new("sh").arg("-c").arg(
        "cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
         2>/dev/null || true",
    ));
    let mirror = sources
        .split_whitespace()
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.starts_with("http") && word.ends_with("/debian"))
        .expect("the host has a Debian mirror among its apt sources")
        .to_owned();
    let script = format!(
        "echo 'deb [check-valid-until=no] {mirror} trixie main' > /etc/apt/sources.list && \
         apt-get update -qq && apt-get install -y -qq --no-install-recommends hello && hello"
    );
    let output = project.docker(&[
        "run",
        "--rm",
        "--network",
        "host",
        "--user",
        "0",
        "--entrypoint",
        "sh",
        "--volume",
        "/etc/resolv.conf:/etc/resolv.conf:ro",
        "kasmforge/desktop:latest",
        "-c",
        &script,
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("Hello, world!"),
        "{text}{talk}"
    );
}

/// Killed, the X server comes back; PID 1 never went, so `docker exec` works throughout.
fn survives_its_server(project: &Project, browser: &Browser, page: &str) {
    let pid = project.inside("pgrep -x Xvnc || pgrep -x Xtigervnc");
    project.inside("pkill -9 -x Xvnc || pkill -9 -x Xtigervnc");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = project.inside("pgrep -x Xvnc || pgrep -x Xtigervnc || true");
        if !now.is_empty() && now != pid {
            break;
        }
        assert!(Instant::now() < deadline, "the X server did not come back");
        std::thread::sleep(Duration::from_millis(300));
    }
    let restarts = project.docker(&["inspect", "--format", "{{.RestartCount}}", CONTAINER]);
    assert_eq!(String::from_utf8_lossy(&restarts.stdout).trim(), "0");
    let told = project.inside("cat /tmp/container-health.log");
    assert!(told.contains("display"), "the death is told: {told}");
    // Whoever comes while there is no server is let in when there is one.
    let service = "/tmp/kasmforge/services/display";
    project.inside(&format!("s6-svc -wD -d {service}"));
    browser.visit(page);
    browser.until("noVNC tries again", |browser| {
        if browser.is_cut_off() {
            browser.visit(page);
        }
        let script = "return document.documentElement.classList.contains('noVNC_reconnecting')";
        browser.script(script) == serde_json::json!(true)
    });
    project.inside(&format!("s6-svc -u {service}"));
    browser.until("the desktop is back", drawn);
    browser.keep(&shot("after-the-server-died.png"));
}

fn says_what_is_missing(project: &Project) {
    let output = project.kasmforge(&["load", "--host", "unix:///nonexistent"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        talk.contains("no Docker engine runs here") && talk.contains("start it"),
        "{talk}"
    );
}

fn comes_back_from_a_bad_upgrade(project: &Project, first: &Value) {
    // A text no earlier run has built with: the store may outlive them.
    let unique = project.folder.path().display().to_string();
    project.change("desktop.toml", |text| {
        let check = "[[checks]]\nname = \"never\"\ncommand = [\"false\"]\nwithin = 5\n";
        let file = format!("[[files]]\ntarget = \"/etc/new\"\ntext = \"{unique}\"\n");
        format!("{text}\n{check}\n{file}")
    });
    let changed = project.json(&["build", "desktop"]);
    let layers = changed["layers"].as_array().expect("layers");
    let made = layers
        .iter()
        .filter(|layer| layer["reused"] == false)
        .count();
    assert_eq!(made, 1, "a changed file makes one layer");
    let loaded = project.json(&["load"]);
    assert_eq!(
        loaded["layers_sent"], 1,
        "only that layer is sent: {loaded}"
    );
    let output = project.kasmforge(&["upgrade"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{talk}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    assert_eq!(told["rolled_back"], true, "{told}");
    assert!(talk.contains("never"), "the check is named: {talk}");
    let image = project.docker(&[
        "inspect",
        "--format",
        "{{.Image}} {{.State.Running}}",
        CONTAINER,
    ]);
    let image = String::from_utf8_lossy(&image.stdout).trim().to_owned();
    assert_eq!(
        image,
        format!("{} true", first["to"].as_str().expect("an image id"))
    );
    let url = first["url"].as_str().expect("an address");
    let code = run(Command::new("curl").args([
        "--insecure",
        "--silent",
        "--retry",
        "20",
        "--retry-delay",
        "1",
        "--retry-all-errors",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        "--user",
        &format!("kasm_user:{PASSWORD}"),
        url,
    ]));
    assert_eq!(code, "200", "the old desktop answers again");
}
