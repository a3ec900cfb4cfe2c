//! apt in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kasmforge_deb::Version;
use tempfile::TempDir;

/// An apt that knows the archives of this machine's distribution, and an empty system.
pub(crate) struct Apt {
    folder: TempDir,
    /// The native architecture.
    pub(crate) architecture: String,
}

impl Apt {
    /// Makes the folder and downloads the indexes.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let apt = Self {
            folder,
            architecture: run(Command::new("dpkg").arg("--print-architecture"))
                .trim()
                .into(),
        };
        for name in [
            "lists/partial",
            "cache/archives/partial",
            "sources.d",
            "parts",
            "log",
        ] {
            fs::create_dir_all(apt.path(name)).expect("a folder in the temporary folder");
        }
        fs::write(apt.path("status"), "").expect("an empty file");
        fs::write(apt.path("apt.conf"), apt.configuration()).expect("a file");
        apt.copy_sources();
        run(apt.command("apt-get").args(["-q", "update"]));
        apt
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// apt's settings: how the machine reaches its mirrors (`Acquire::…`), and our own folders.
    fn configuration(&self) -> String {
        let machine = run(Command::new("apt-config").arg("dump"));
        let mut text: String = machine
            .lines()
            .filter(|line| line.starts_with("Acquire::") && !line.starts_with("Acquire::Languages"))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut set = |key: &str, value: &str| text.push_str(&format!("{key} \"{value}\";\n"));
        let path = |name: &str| self.path(name).display().to_string();
        set("Dir::State", &path(""));
        set("Dir::State::lists", &path("lists"));
        set("Dir::State::status", &path("status"));
        set("Dir::State::extended_states", &path("extended_states"));
        set("Dir::Cache", &path("cache"));
        set("Dir::Log", &path("log"));
        set("Dir::Etc::sourcelist", "/dev/null");
        set("Dir::Etc::sourceparts", &path("sources.d"));
        set("Dir::Etc::preferences", "/dev/null");
        set("Dir::Etc::preferencesparts", "/dev/null");
        set("Dir::Etc::main", "/dev/null");
        set("Dir::Etc::parts", &path("parts"));
        set("APT::Architecture", &self.architecture);
        set("APT::Architectures", &self.architecture);
        set("APT::Sandbox::User", "root");
        set("Acquire::Languages", "none");
        set("Acquire::Check-Valid-Until", "false");
        set("Acquire::Retries", "3");
        text
    }

    /// Copies those of the machine's sources that are of its own distribution: those whose suite
    /// is its code name, or begins with it.
    fn copy_sources(&self) {
        let release = fs::read_to_string("/etc/os-release").expect("every Debian has it");
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .expect("Debian tells its code name");
        let of_distribution = |suite: &str| {
            suite == codename
                || suite
                    .strip_prefix(codename)
                    .is_some_and(|rest| rest.starts_with(['-', '/']))
        };
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        let more = fs::read_dir("/etc/apt/sources.list.d")
            .into_iter()
            .flatten();
        files.extend(more.map(|entry| entry.expect("a folder entry").path()));
        files.sort();
        for (at, file) in files.iter().enumerate() {
            let text = fs::read_to_string(file).unwrap_or_default();
            let deb822 = file
                .extension()
                .is_some_and(|extension| extension == "sources");
            let separator = if deb822 { "\n\n" } else { "\n" };
            let kept: Vec<_> = text
                .split(separator)
                .filter(|part| {
                    let mut suites = part
                        .lines()
                        .filter(|line| line.starts_with("Suites:") || line.starts_with("deb"));
                    suites.any(|line| line.split_whitespace().any(of_distribution))
                })
                .collect();
            let extension = if deb822 { "sources" } else { "list" };
            let copy = self.path("sources.d").join(format!("{at}.{extension}"));
            fs::write(copy, kept.join(separator) + "\n").expect("a file");
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.path("apt.conf"))
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// The texts of the indexes it downloaded, in the order of its sources.
    pub(crate) fn indexes(&self) -> Vec<String> {
        let targets = run(self.command("apt-get").args([
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ]));
        let files: Vec<_> = targets
            .lines()
            .filter(|file| Path::new(file).exists())
            .collect();
        assert!(!files.is_empty(), "apt downloaded no index");
        files
            .into_iter()
            .map(|file| {
                run(self
                    .command("/usr/lib/apt/apt-helper")
                    .args(["cat-file", file]))
            })
            .collect()
    }

    /// The packages apt would install on an empty system, without its recommendations.
    ///
    /// apt is asked for the files it would fetch: to simulate the installation too, as `-s` does,
    /// takes it four times as long and chooses the same.
    pub(crate) fn install(&self, requests: &[&str]) -> BTreeMap<String, Version> {
        let text = run(self
            .command("apt-get")
            .args([
                "-q",
                "-y",
                "--no-install-recommends",
                "--print-uris",
                "install",
            ])
            .args(requests));
        let files = text.lines().filter(|line| line.starts_with('\''));
        files
            .map(|line| {
                let file = line
                    .split(' ')
                    .nth(1)
                    .expect("the file's name follows its address");
                let mut parts = file.split('_');
                let (name, version) = (parts.next(), parts.next());
                let version = version
                    .expect("a version follows the name")
                    .replace("%3a", ":");
                let name = name.expect("a name comes first").to_owned();
                (name, version.parse().expect("apt knows versions"))
            })
            .collect()
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("apt and dpkg are installed");
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("apt writes UTF-8")
}
