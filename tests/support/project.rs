//! Projects in folders of their own, runs of the command upon them, and what a build says of its image.
//!
//! What a build with scripts needs (a shell, dpkg itself) comes from a real mirror: the one the host's apt
//! uses.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The suite that tests with real packages use: the oldest that is served everywhere, because its
/// packages change least.
pub(crate) const SUITE: &str = "bookworm";

/// The distribution that tests use, without its security suite: one index less to read.
pub(crate) fn debian() -> String {
    format!("[debian]\nsuite = \"{SUITE}\"\nsecurity = false\n")
}

/// A project in a temporary folder.
pub(crate) struct Project {
    folder: TempDir,
    store: PathBuf,
    /// What holds the store, if it goes with the project.
    own: Option<TempDir>,
    mirrors: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Project {
    /// An empty project, with a store that all tests share: what was fetched once is not fetched
    /// again.
    pub(crate) fn new() -> Self {
        Self::with_store(&shared_store())
    }

    /// An empty project with a store of its own that is not there yet.
    pub(crate) fn with_own_store() -> Self {
        Self::with_store_in(TempDir::new().expect("a temporary folder"))
    }

    /// The same with the store in this folder, which goes with the project.
    pub(crate) fn with_store_in(folder: TempDir) -> Self {
        let mut project = Self::with_store(&folder.path().join("store"));
        project.own = Some(folder);
        project
    }

    /// An empty project with this store.
    pub(crate) fn with_store(store: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("workspaces")).expect("a folder of definitions");
        Self {
            folder,
            store: store.into(),
            own: None,
            mirrors: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// The project's folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The project's store.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Writes a definition: `desktop`, or `modules/xfce`.
    pub(crate) fn define(&self, name: &str, text: &str) -> &Self {
        self.file(&format!("workspaces/{name}.toml"), text.as_bytes())
    }

    /// Writes a file.
    pub(crate) fn file(&self, path: &str, bytes: &[u8]) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file of the project");
        self
    }

    /// Asks this mirror, and not the host's.
    pub(crate) fn mirror(mut self, address: &str) -> Self {
        self.mirrors.push(address.into());
        self
    }

    /// Sets a variable for every run.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The command, ready to run: nothing of the caller's settings reaches it but its mirror.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasmforge"));
        self.dress(&mut command);
        command
    }

    /// The command below another program, such as `unshare --user`.
    pub(crate) fn command_below(&self, program: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(env!("CARGO_BIN_EXE_kasmforge"));
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        command
            .arg("-C")
            .arg(self.path())
            .arg("--store")
            .arg(&self.store)
            .arg("--progress=never")
            .arg("--color=never")
            .env_remove("KASMFORGE_STORE")
            .env_remove("SOURCE_DATE_EPOCH")
            // Settings of whoever runs the tests are not ours.
            .env("XDG_CONFIG_HOME", self.path().join("no-settings"))
            .stdin(Stdio::null());
        for mirror in &self.mirrors {
            command.arg("--mirror").arg(mirror);
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command().args(arguments))
    }

    /// Builds a workspace, which must succeed.
    pub(crate) fn build(&self, workspace: &str) -> Image {
        let ran = self.run(&["build", workspace, "--json"]);
        assert_eq!(ran.status, 0, "{}", ran.errors);
        Image::of(&ran)
    }

    /// The lock's text, if one was written.
    pub(crate) fn lock(&self) -> Option<String> {
        fs::read_to_string(self.path().join("kasmforge.lock")).ok()
    }

    /// Whether anything was written into the project.
    pub(crate) fn is_untouched(&self) -> bool {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .expect("the project's folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.retain(|name| !["workspaces", "files"].contains(&name.to_str().unwrap_or_default()));
        names.is_empty()
    }
}

/// The store that tests share.
pub(crate) fn shared_store() -> PathBuf {
    std::env::var_os("KASMFORGE_TEST_STORE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-store"),
        PathBuf::from,
    )
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub(crate) status: i32,
    /// What it printed.
    pub(crate) output: String,
    /// What it said.
    pub(crate) errors: String,
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        output.into()
    }

    /// That it failed as it should: with status 1, and these words in what it said.
    pub(crate) fn failed_with(&self, words: &[&str]) {
        assert_eq!(self.status, 1, "{self:?}");
        for word in words {
            assert!(
                self.errors.contains(word),
                "`{word}` is not in:\n{}",
                self.errors
            );
        }
        assert!(!self.errors.contains("panicked"), "{}", self.errors);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command speaks UTF-8");
        Self {
            status: output.status.code().unwrap_or(-1),
            output: text(output.stdout),
            errors: text(output.stderr),
        }
    }
}

/// What `build --json` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The manifest's digest.
    pub(crate) digest: String,
    /// The archive.
    pub(crate) archive: PathBuf,
    /// The layers' diff IDs, lowest first.
    pub(crate) layers: Vec<String>,
}

impl Image {
    pub(crate) fn of(ran: &Ran) -> Self {
        let json: Value = serde_json::from_str(&ran.output)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.output, ran.errors));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            digest: text(&json["digest"]),
            archive: text(&json["archive"]).into(),
            layers: json["layers"]
                .as_array()
                .expect("layers")
                .iter()
                .map(|layer| text(&layer["diff_id"]))
                .collect(),
        }
    }
}

/// Flips one bit in the middle of a file. Other hard links to it stay whole.
pub(crate) fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("the file to damage");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let found = fs::metadata(path).expect("the file to damage");
    let beside = path.with_extension("damaged");
    fs::write(&beside, bytes).expect("room for another");
    File::open(&beside)
        .and_then(|file| {
            file.set_modified(found.modified()?)?;
            file.set_permissions(found.permissions())
        })
        .expect("it looks as the other did");
    fs::rename(&beside, path).expect("it takes the other's place");
}

/// The mirror this host's apt takes packages of the distribution from.
pub(crate) fn host_mirror() -> String {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(COMPONENT)"])
        .output()
        .expect("`apt-get` runs: this test needs Debian's apt");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(address, component)| *component == "main" && address.contains("/debian/"))
        .map(|(address, _)| address.trim_end_matches('/').to_owned())
        .expect("the host's apt has a mirror of Debian")
}
