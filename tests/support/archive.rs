//! What whole-program tests stand on: projects in folders of their own, packages and an archive
//! made on the spot, and a server that misbehaves when it is told to.
//!
//! Needs `dpkg-deb` (any Debian has it). What a build with scripts needs besides (a shell, dpkg
//! itself) comes from a real mirror: the one the host's apt uses.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// The suite that tests with real packages use: the oldest that is served everywhere, because its
/// packages change least.
pub(crate) const SUITE: &str = "bookworm";

/// The date of the archives made here: fixed, and older than any real one's.
const DATE: &str = "Sat, 10 Jun 2023 08:00:00 UTC";

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

    /// An empty project with an empty store, which goes with it.
    pub(crate) fn with_own_store() -> Self {
        let own = TempDir::new().expect("a temporary folder");
        let mut project = Self::with_store(own.path());
        project.own = Some(own);
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

/// A package to be made.
#[derive(Debug, Default, Clone)]
pub(crate) struct Deb {
    name: String,
    version: String,
    /// Empty: `all`.
    architecture: String,
    fields: String,
    scripts: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
}

impl Deb {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            ..Self::default()
        }
    }

    /// Makes it for one architecture, and not for all.
    pub(crate) fn only_for(mut self, architecture: &str) -> Self {
        self.architecture = architecture.into();
        self
    }

    fn architecture(&self) -> &str {
        match self.architecture.as_str() {
            "" => "all",
            other => other,
        }
    }

    /// Adds a field: `("Depends", "libc6")`.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        writeln!(self.fields, "{name}: {value}").expect("memory");
        self
    }

    /// Adds a maintainer script: `postinst`, and what its shell does.
    pub(crate) fn script(mut self, name: &str, text: &str) -> Self {
        self.scripts
            .push((name.into(), format!("#!/bin/sh\n{text}\n")));
        self
    }

    /// Adds a file: `usr/share/x`, and what it holds.
    pub(crate) fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.into(), bytes.into()));
        self
    }

    /// Its control stanza.
    fn control(&self) -> String {
        let Self {
            name,
            version,
            fields,
            ..
        } = self;
        let architecture = self.architecture();
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: nobody \
             <nobody@example.org>\n{fields}Description: made by a test\n"
        )
    }

    /// Makes the .deb with Debian's own tool.
    pub(crate) fn make(&self, folder: &Path) -> PathBuf {
        let root = TempDir::new().expect("a temporary folder");
        let put = |path: &str, bytes: &[u8], mode: u32| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, bytes).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        put("DEBIAN/control", self.control().as_bytes(), 0o644);
        for (name, text) in &self.scripts {
            put(&format!("DEBIAN/{name}"), text.as_bytes(), 0o755);
        }
        for (path, bytes) in &self.files {
            put(path, bytes, 0o644);
        }
        // `dpkg-deb` looks at the mode of this one; a temporary folder has 0700.
        for folder in [root.path().to_owned(), root.path().join("DEBIAN")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        let architecture = self.architecture();
        let path = folder.join(format!("{}_{}_{architecture}.deb", self.name, self.version));
        let made = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "--build"])
            .arg(root.path())
            .arg(&path)
            .env("SOURCE_DATE_EPOCH", "1686384000")
            .output()
            .expect("`dpkg-deb` runs: this test needs Debian's dpkg");
        assert!(made.status.success(), "{made:?}");
        path
    }
}

/// An archive without a signature, in a folder and on a port: `dists/local/main`, and a pool.
pub(crate) struct Archive {
    folder: TempDir,
    server: Server,
    suite: String,
    /// Further lines of its Release file.
    says: String,
}

impl Archive {
    /// Makes the packages, their index and their Release file.
    pub(crate) fn of(debs: &[Deb]) -> Self {
        Self::of_suite("local", debs)
    }

    /// The same in a suite of this name.
    pub(crate) fn of_suite(suite: &str, debs: &[Deb]) -> Self {
        Self::saying(suite, "", debs)
    }

    /// The same, and its Release file says this besides: `NotAutomatic: yes\n`.
    pub(crate) fn saying(suite: &str, says: &str, debs: &[Deb]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("pool")).expect("a pool");
        let server = Server::of(folder.path());
        let archive = Self {
            folder,
            server,
            suite: suite.into(),
            says: says.into(),
        };
        archive.publish(DATE, debs);
        archive
    }

    /// Serves these packages from now on, by a Release file of this date. Packages that were there
    /// stay in the pool.
    pub(crate) fn publish(&self, date: &str, debs: &[Deb]) {
        let pool = self.path().join("pool");
        let machine = architecture();
        // Those for all architectures stand in the index of each.
        let mut indexes = BTreeMap::from([(machine.as_str(), String::new())]);
        for deb in debs.iter().filter(|deb| !deb.architecture.is_empty()) {
            indexes.entry(&deb.architecture).or_default();
        }
        for deb in debs {
            let path = deb.make(&pool);
            let name = path.file_name().expect("a name").to_string_lossy();
            let stanza = format!(
                "{}Filename: pool/{name}\nSize: {}\nSHA256: {}\n\n",
                deb.control(),
                fs::metadata(&path).expect("the package").len(),
                sha256(&path),
            );
            for (architecture, index) in &mut indexes {
                if ["all", architecture].contains(&deb.architecture()) {
                    index.push_str(&stanza);
                }
            }
        }
        self.index(date, &indexes);
    }

    /// Writes indexes, and a Release file that fits them.
    fn index(&self, date: &str, indexes: &BTreeMap<&str, String>) {
        let suite = self.suite();
        let mut sums = String::new();
        for (architecture, text) in indexes {
            let path = format!("main/binary-{architecture}/Packages");
            fs::create_dir_all(suite.join(&path).parent().expect("a folder")).expect("a folder");
            fs::write(suite.join(&path), text).expect("an index");
            let digest = sha256(&suite.join(&path));
            writeln!(sums, " {digest} {} {path}", text.len()).expect("memory");
        }
        let architectures: Vec<&str> = indexes.keys().copied().collect();
        let release = format!(
            "Origin: Tests\nSuite: {0}\nCodename: {0}\nDate: {date}\n{1}Architectures: {2} \
             all\nComponents: main\nSHA256:\n{sums}",
            self.suite,
            self.says,
            architectures.join(" "),
        );
        fs::write(suite.join("Release"), release).expect("a Release file");
    }

    /// Its suite.
    pub(crate) fn suite_name(&self) -> &str {
        &self.suite
    }

    /// The folder of its suite.
    pub(crate) fn suite(&self) -> PathBuf {
        self.folder.path().join("dists").join(&self.suite)
    }

    /// Its index.
    pub(crate) fn packages(&self) -> PathBuf {
        let folder = format!("main/binary-{}", architecture());
        self.suite().join(folder).join("Packages")
    }

    /// The folder it is in.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        self.server.address()
    }

    /// The table that names it in a definition.
    pub(crate) fn table(&self) -> String {
        table(&self.address()).replace("suite = \"local\"", &format!("suite = \"{}\"", self.suite))
    }
}

/// The table of a definition that names an archive at an address.
pub(crate) fn table(address: &str) -> String {
    format!(
        "[[debian.archives]]\nname = \"local\"\nuri = \"{address}\"\nsuite = \"local\"\ntrusted = \
         true\n"
    )
}

/// The distribution that tests use, without its security suite: one index less to read.
pub(crate) fn debian() -> String {
    format!("[debian]\nsuite = \"{SUITE}\"\nsecurity = false\n")
}

/// The SHA-256 of a file, by another program than the one under test.
pub(crate) fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("`sha256sum` runs (coreutils)");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

/// The same of some bytes.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("room for it");
    sha256(file.path())
}

/// Debian's name of this machine's architecture.
pub(crate) fn architecture() -> String {
    let output = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .expect("`dpkg` runs: this test needs Debian's dpkg");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
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

/// What a [`Server`] does with the bytes it answers with, by the path asked for.
type Change = dyn Fn(&str, &mut Vec<u8>) + Send + Sync;

/// An HTTP server for a folder, on a port of this machine. It lives as long as the test process.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves a folder as it is.
    pub(crate) fn of(folder: &Path) -> Self {
        Self::changing(folder, |_, _| {})
    }

    /// Serves a folder, each answer changed on its way.
    pub(crate) fn changing(
        folder: &Path,
        change: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let folder = folder.to_owned();
        Self::start(
            move |path| fs::read(folder.join(path)).ok(),
            Box::new(change),
        )
    }

    /// Serves files of another server, each answer changed on its way.
    ///
    /// The other is asked with `curl`, so that no code under test lies between.
    pub(crate) fn between(
        upstream: &str,
        change: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let upstream = upstream.trim_end_matches('/').to_owned();
        let get = move |path: &str| {
            let output = Command::new("curl")
                .args(["--silent", "--fail", "--location", "--retry", "5"])
                .arg(format!("{upstream}/{path}"))
                .output()
                .expect("`curl` runs: apt-get install curl");
            output.status.success().then_some(output.stdout)
        };
        Self::start(get, Box::new(change))
    }

    fn start(
        get: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        change: Box<Change>,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (get, change, log) = (Arc::new(get), Arc::new(change), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (get, change, log) = (Arc::clone(&get), Arc::clone(&change), Arc::clone(&log));
                // Whoever goes away in the middle of an answer is not our concern.
                thread::spawn(move || answer(&stream, &*get, &**change, &log));
            }
        });
        Self { address, asked }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The paths it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no answer panics").clone()
    }
}

/// Answers the requests of one connection.
fn answer(
    stream: &TcpStream,
    get: &dyn Fn(&str) -> Option<Vec<u8>>,
    change: &Change,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or("/");
        let path = path.trim_start_matches('/');
        asked
            .lock()
            .expect("no answer panics")
            .push(path.to_owned());
        let (status, body) = match get(&decoded(path)) {
            Some(mut bytes) => {
                change(path, &mut bytes);
                ("200 OK", bytes)
            }
            None => ("404 Not Found", Vec::new()),
        };
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        out.write_all(&body)?;
    }
}

/// A path without `%2b` and its like.
fn decoded(path: &str) -> String {
    let mut text = String::new();
    let mut parts = path.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let code = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[2..]);
            }
            None => {
                text.push('%');
                text.push_str(part);
            }
        }
    }
    text
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
