//! Packages and an archive made on the spot.
//!
//! Needs `dpkg-deb` (any Debian has it).

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::oracle::{architecture, sha256};
use super::server::Server;

/// The date of the archives made here: fixed, and older than any real one's.
const DATE: &str = "Sat, 10 Jun 2023 08:00:00 UTC";

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
