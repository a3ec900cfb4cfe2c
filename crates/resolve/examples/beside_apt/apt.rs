//! apt with folders of its own: an empty system, the archives of one suite, and nothing of the
//! machine's but the way to its mirrors.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What apt said to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It would install these, as `name version`.
    Packages(BTreeSet<String>),
    /// It would not, and this is what it said last.
    Refused(String),
}

/// An apt for one suite.
pub(crate) struct Apt {
    folder: PathBuf,
    architecture: String,
    /// A name for the state of its archives: answers are kept under it.
    state: String,
}

/// Where the archives are.
pub(crate) struct Mirrors {
    pub(crate) main: String,
    pub(crate) security: String,
}

impl Mirrors {
    /// The mirrors this machine's own apt uses for its own suite.
    pub(crate) fn of_machine() -> Result<Self, String> {
        let release = fs::read_to_string("/etc/os-release").map_err(|error| error.to_string())?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .ok_or("/etc/os-release has no VERSION_CODENAME")?;
        let targets = run(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(CODENAME) $(SUITE)",
            "Created-By: Packages",
        ]))?;
        let of = |wanted: &str| {
            targets.lines().find_map(|line| {
                let mut words = line.split(' ');
                let uri = words.next()?;
                words.any(|word| word == wanted).then(|| uri.to_owned())
            })
        };
        let main = of(codename)
            .ok_or_else(|| format!("no source of {codename} known to apt: name --mirror"))?;
        let security = of(&format!("{codename}-security"))
            .unwrap_or_else(|| format!("{}-security/", main.trim_end_matches('/')));
        Ok(Self { main, security })
    }
}

impl Apt {
    /// Makes the folder, or takes it as an earlier run left it, and brings the indexes up to date.
    pub(crate) fn new(
        folder: &Path,
        suite: &str,
        architecture: &str,
        mirrors: &Mirrors,
    ) -> Result<Self, String> {
        let folder = folder.join(format!("{suite}-{architecture}"));
        let path = |name: &str| folder.join(name);
        for name in [
            "lists/partial",
            "cache/archives/partial",
            "sources.d",
            "parts",
            "log",
            "answers",
        ] {
            fs::create_dir_all(path(name)).map_err(|error| error.to_string())?;
        }
        let write =
            |name: &str, text: &str| fs::write(path(name), text).map_err(|error| error.to_string());
        let Mirrors { main, security } = mirrors;
        write("status", "")?;
        write(
            "sources.d/suite.sources",
            &format!(
                "Types: deb\nURIs: {main}\nSuites: {suite} {suite}-updates\nComponents: main\n\
                 Architectures: {architecture}\n\n\
                 Types: deb\nURIs: {security}\nSuites: {suite}-security\nComponents: main\n\
                 Architectures: {architecture}\n"
            ),
        )?;
        let machine = run(Command::new("apt-config").arg("dump"))?;
        let acquire = machine
            .lines()
            .filter(|line| line.starts_with("Acquire::") && !line.starts_with("Acquire::Languages"))
            .map(|line| format!("{line}\n"));
        let mut settings: String = acquire.collect();
        for (key, value) in [
            ("Dir::State", ""),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::State::extended_states", "extended_states"),
            ("Dir::Cache", "cache"),
            ("Dir::Log", "log"),
            ("Dir::Etc::sourceparts", "sources.d"),
            ("Dir::Etc::parts", "parts"),
        ] {
            settings += &format!("{key} \"{}\";\n", path(value).display());
        }
        for key in ["sourcelist", "preferences", "preferencesparts", "main"] {
            settings += &format!("Dir::Etc::{key} \"/dev/null\";\n");
        }
        settings += &format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::Check-Valid-Until \"false\";\nAcquire::Retries \"3\";\n"
        );
        write("apt.conf", &settings)?;
        let mut apt = Self {
            folder,
            architecture: architecture.into(),
            state: String::new(),
        };
        run(apt.command("apt-get").args(["-q", "update"]))?;
        apt.state = apt.releases()?;
        Ok(apt)
    }

    /// The dates of the Release files: when one changes, so may every answer.
    fn releases(&self) -> Result<String, String> {
        let lists = fs::read_dir(self.folder.join("lists")).map_err(|error| error.to_string())?;
        let mut dates = BTreeSet::new();
        for entry in lists {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.to_string_lossy().ends_with("Release") {
                let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
                let date = text.lines().find(|line| line.starts_with("Date:"));
                dates.insert(format!("{} {}", path.display(), date.unwrap_or_default()));
            }
        }
        Ok(format!("{:016x}", hash(&format!("{dates:?}"))))
    }

    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The version of apt.
    pub(crate) fn version(&self) -> Result<String, String> {
        let text = run(self.command("apt-get").arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// The texts of the indexes, in the order of the sources.
    pub(crate) fn indexes(&self) -> Result<Vec<String>, String> {
        let targets = run(self.command("apt-get").args([
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ]))?;
        targets
            .lines()
            .filter(|file| Path::new(file).exists())
            .map(|file| {
                run(self
                    .command("/usr/lib/apt/apt-helper")
                    .args(["cat-file", file]))
            })
            .collect()
    }

    /// What apt would install on an empty system. Answers are kept, so that a second run over the
    /// same requests and archives asks apt nothing.
    pub(crate) fn install(
        &self,
        requests: &[String],
        essential: &[String],
        recommends: bool,
    ) -> Result<Answer, String> {
        let flag = if recommends {
            "--install-recommends"
        } else {
            "--no-install-recommends"
        };
        let key = format!("{} {flag} {requests:?} {essential:?}", self.state);
        let kept = self
            .folder
            .join("answers")
            .join(format!("{:016x}", hash(&key)));
        if let Ok(text) = fs::read_to_string(&kept)
            && let Some(text) = text.strip_prefix(&format!("{key}\n"))
        {
            return Ok(match text.strip_prefix("refused ") {
                Some(reason) => Answer::Refused(reason.into()),
                None => Answer::Packages(text.lines().map(ToOwned::to_owned).collect()),
            });
        }
        // apt is asked for the files it would fetch: to simulate the installation too, as `-s`
        // does, takes it four times as long and chooses the same.
        let output = self
            .command("apt-get")
            .args(["-q", "-y", flag, "--print-uris", "install"])
            .args(requests)
            .args(essential)
            .output()
            .map_err(|error| format!("apt-get cannot be run: {error}"))?;
        let answer = if output.status.success() {
            Answer::Packages(packages(&String::from_utf8_lossy(&output.stdout)))
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Answer::Refused(said.lines().last().unwrap_or_default().to_owned())
        };
        let text = match &answer {
            Answer::Packages(packages) => packages.iter().cloned().collect::<Vec<_>>().join("\n"),
            Answer::Refused(reason) => format!("refused {reason}"),
        };
        let mut file = tempfile::NamedTempFile::new_in(self.folder.join("answers"))
            .map_err(|error| error.to_string())?;
        write!(file, "{key}\n{text}").map_err(|error| error.to_string())?;
        file.persist(kept).map_err(|error| error.to_string())?;
        Ok(answer)
    }
}

/// Reads lines like `'http://…/foo_1%3a2_amd64.deb' foo_1%3a2_amd64.deb 123 MD5Sum:…`.
fn packages(uris: &str) -> BTreeSet<String> {
    let files = uris
        .lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| line.split(' ').nth(1));
    files
        .filter_map(|file| {
            let mut parts = file.split('_');
            let (name, version) = (parts.next()?, parts.next()?.replace("%3a", ":"));
            Some(format!("{name} {version}"))
        })
        .collect()
}

/// FNV-1a: names for files that keep answers need no more.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?} cannot be run: {error}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    Err(format!(
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}
