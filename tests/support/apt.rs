//! apt itself as a second opinion: with folders of its own, an empty system, and the archives that a
//! test made.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::archive::Archive;

/// An apt that knows some archives and nothing else.
pub(crate) struct Apt {
    folder: TempDir,
    native: String,
}

impl Apt {
    /// Reads the indexes of archives, in this order, for some architectures, the native one first.
    pub(crate) fn of(archives: &[&Archive], architectures: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let apt = Self {
            folder,
            native: architectures[0].to_owned(),
        };
        let root = apt.folder.path();
        for name in ["lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(root.join(name)).expect("a folder");
        }
        let sources: String = archives
            .iter()
            .map(|archive| {
                let suite = archive.suite_name();
                format!("deb [trusted=yes] {} {suite} main\n", archive.address())
            })
            .collect();
        fs::write(root.join("sources.list"), sources).expect("a file");
        for name in ["status", "preferences"] {
            fs::write(root.join(name), "").expect("a file");
        }
        let settings = settings(root, architectures);
        fs::write(root.join("apt.conf"), settings).expect("a file");
        let update = apt.command().arg("update").output().expect("apt runs");
        assert!(update.status.success(), "{update:?}");
        apt
    }

    /// Replaces its preferences (apt_preferences(5)).
    pub(crate) fn prefer(&self, text: &str) {
        fs::write(self.folder.path().join("preferences"), text).expect("a file");
    }

    /// What it would install: `name version`, with the architecture where that is a foreign one.
    /// Nothing if it refuses.
    pub(crate) fn install(&self, recommends: bool, requests: &[&str]) -> Option<BTreeSet<String>> {
        let flag = match recommends {
            true => "--install-recommends",
            false => "--no-install-recommends",
        };
        let mut command = self.command();
        let ran = command.args(["-s", flag, "install"]).args(requests);
        let ran = ran.output().expect("apt runs");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        ran.status.success().then(|| {
            // Inst probe:i386 (1.0 Tests:local [i386])
            let lines = text.lines().filter_map(|line| line.strip_prefix("Inst "));
            lines
                .map(|line| {
                    let (name, rest) = line.split_once(" (").expect("a version");
                    let version = rest.split(' ').next().unwrap_or_default();
                    let native = format!(":{}", self.native);
                    format!("{} {version}", name.trim_end_matches(&native))
                })
                .collect()
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", self.folder.path().join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .args(["-q", "-y"]);
        command
    }
}

fn settings(root: &Path, architectures: &[&str]) -> String {
    let mut text = String::new();
    for (key, value) in [
        ("Dir::State", ""),
        ("Dir::State::lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::State::extended_states", "extended_states"),
        ("Dir::Cache", "cache"),
        ("Dir::Log", "log"),
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Etc::sourceparts", "none"),
        ("Dir::Etc::preferences", "preferences"),
        ("Dir::Etc::preferencesparts", "none"),
        ("Dir::Etc::parts", "none"),
    ] {
        let path = root.join(value);
        writeln!(text, "{key} \"{}\";", path.display()).expect("memory");
    }
    writeln!(text, "APT::Architecture \"{}\";", architectures[0]).expect("memory");
    for architecture in architectures {
        writeln!(text, "APT::Architectures:: \"{architecture}\";").expect("memory");
    }
    // Archives of this machine's own must not be asked through what the host says of proxies.
    text + "Dir::Etc::main \"/dev/null\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \
            \"none\";\nAcquire::http::Proxy \"DIRECT\";\nAcquire::AllowInsecureRepositories \
            \"true\";\n"
}
