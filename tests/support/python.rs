//! Second opinions that are written in Python: the public client of Kasm's API, and cloud-init.
//!
//! Both are fetched once into the folder of the test store: the client by `pip` into an environment
//! of its own, cloud-init by `apt-get download`, unpacked and not installed. Installed, it would take
//! over the machine's next start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::support::project::shared_store;

/// What is fetched by `pip`. cloud-init is judged by its own schema, which needs the rest.
const PACKAGES: [&str; 8] = [
    "kasm==1.18.1.0",
    "jsonschema<5",
    "pyyaml",
    "configobj",
    "jinja2",
    "jsonpatch",
    "requests",
    "setuptools<81",
];

/// The environment's folder.
fn environment() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = shared_store().with_file_name("test-python");
        let ready = folder.join("ready");
        let wanted = PACKAGES.join("\n");
        if fs::read_to_string(&ready).is_ok_and(|found| found == wanted) {
            return folder;
        }
        let _ = fs::remove_dir_all(&folder);
        succeed(
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
            "`python3 -m venv` works: apt-get install python3-venv",
        );
        succeed(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .args(PACKAGES),
            "`pip` fetches the client",
        );
        fs::write(&ready, wanted).expect("a file");
        folder
    })
    .clone()
}

fn succeed(command: &mut Command, what: &str) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {errors}");
    output
}

/// Runs the whole use of the public client against a server.
pub(crate) fn client_runs(address: &str, key: &str, secret: &str, user: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kasm_client.py");
    let output = succeed(
        Command::new(environment().join("bin/python"))
            .arg(script)
            .args([address, user])
            .env("KEY", key)
            .env("SECRET", secret)
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("ALL_PROXY")
            .env_remove("all_proxy"),
        "the public client is content",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.trim(),
        "sync: all\nasync: all",
        "it did not come to its end"
    );
}

/// Unpacks Debian's cloud-init, and gives the folder of its Python.
fn cloud_init() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = environment().join("cloud-init");
        let root = folder.join("root");
        if !root.exists() {
            fs::create_dir_all(&folder).expect("a folder");
            succeed(
                Command::new("apt-get")
                    .args(["download", "cloud-init"])
                    .args(["-o", "APT::Sandbox::User=root"])
                    .current_dir(&folder),
                "`apt-get download cloud-init` works",
            );
            let package = fs::read_dir(&folder)
                .expect("the folder")
                .map(|entry| entry.expect("an entry").path())
                .find(|path| path.extension().is_some_and(|end| end == "deb"))
                .expect("the package");
            let part = folder.join("part");
            succeed(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .args([&package, &part]),
                "`dpkg-deb` unpacks it",
            );
            fs::rename(part, &root).expect("a name");
        }
        root.join("usr/lib/python3/dist-packages")
    })
    .clone()
}

fn judged(file: &Path) -> Output {
    Command::new(environment().join("bin/python"))
        .args([
            "-c",
            "import sys; from cloudinit.config.schema import main; sys.exit(main())",
        ])
        .arg("--config-file")
        .arg(file)
        .env("PYTHONPATH", cloud_init())
        .output()
        .expect("the environment's python runs")
}

/// That cloud-init's own schema check has nothing to say against a file.
pub(crate) fn cloud_init_accepts(file: &Path) {
    let output = judged(file);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Valid"),
        "{output:?}"
    );
}

/// That it has.
pub(crate) fn cloud_init_refuses(file: &Path) {
    assert!(!judged(file).status.success());
}
