//! What is varied when a build is repeated, and how far this host lets it be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kasmforge_sandbox::elsewhere::{self, Elsewhere, Went};

/// How far the clock is ahead.
pub(crate) const AHEAD: u64 = 400 * 86_400;

/// One thing that is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variation {
    /// Another path of the store, and of the project.
    Path,
    /// A file system in memory.
    Memory,
    /// Another user.
    User,
    /// Locale, time zone, home, umask, and what else is in an environment.
    Environment,
    /// Another host name.
    HostName,
    /// One processor.
    Processors,
    /// Every folder the other way round.
    Folders,
    /// The clock 400 days on.
    Clock,
}

/// All of them.
pub(crate) const ALL: [Variation; 8] = [
    Variation::Path,
    Variation::Memory,
    Variation::User,
    Variation::Environment,
    Variation::HostName,
    Variation::Processors,
    Variation::Folders,
    Variation::Clock,
];

impl Variation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Path => "another path",
            Self::Memory => "a file system in memory",
            Self::User => "another user",
            Self::Environment => "another locale, time zone, home and umask",
            Self::HostName => "another host name",
            Self::Processors => "one processor",
            Self::Folders => "folders listed in reverse",
            Self::Clock => "the clock 400 days ahead",
        }
    }
}

/// What a rebuild needs.
pub(crate) struct Rebuild<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) project: &'a Path,
    /// Files of the store that it may not fetch again, and where they lie in a store.
    pub(crate) downloads: Vec<(PathBuf, String)>,
    /// A folder on disk it may use.
    pub(crate) disk: PathBuf,
    /// How many bytes it will need at most.
    pub(crate) room: u64,
    pub(crate) source_date_epoch: Option<i64>,
}

/// A rebuild that was done.
pub(crate) struct Rebuilt {
    pub(crate) went: Went,
    /// What was varied.
    pub(crate) applied: Vec<Variation>,
    /// What could not be, and why.
    pub(crate) left_out: Vec<(Variation, String)>,
}

impl Rebuild<'_> {
    /// Builds once more, with all of these varied as far as this host allows.
    pub(crate) fn run(&self, variations: &[Variation]) -> anyhow::Result<Rebuilt> {
        let place = elsewhere::place().context(
            "none of /mnt, /media, /srv and /tmp is there, over one of which the rebuild's own \
             file system is laid",
        )?;
        let has = |one| variations.contains(&one);
        let mut left_out = Vec::new();
        let memory = if has(Variation::Memory) {
            match available_memory() {
                Some(free) if free > self.room + self.room / 4 => Some(self.room),
                free => {
                    let text = format!(
                        "{} of memory are needed, {} are free",
                        crate::printer::bytes(self.room + self.room / 4),
                        crate::printer::bytes(free.unwrap_or(0)),
                    );
                    left_out.push((Variation::Memory, text));
                    None
                }
            }
        } else {
            None
        };
        let deep = if has(Variation::Path) {
            "elsewhere/deeper down/the store"
        } else {
            "store"
        };
        let store = place.join(deep);
        let mut arguments: Vec<OsString> = vec!["-C".into(), place.join("project").into()];
        arguments.extend(["--store".into(), store.into()]);
        arguments
            .extend(["build", self.workspace, "--locked", "--offline", "--json"].map(Into::into));
        arguments.extend(["--result".into(), place.join("result").into()]);
        let went = elsewhere::go(&Elsewhere {
            memory,
            disk: self.disk.clone(),
            user: has(Variation::User),
            host_name: if has(Variation::HostName) {
                "elsewhere"
            } else {
                "here"
            }
            .into(),
            mask: if has(Variation::Environment) {
                0o077
            } else {
                0o022
            },
            processors: u32::from(has(Variation::Processors)),
            shown: vec![(self.project.to_owned(), "project".into())],
            copied: self
                .downloads
                .iter()
                .map(|(path, name)| (path.clone(), format!("{deep}/{name}")))
                .collect(),
            arguments,
            environment: self.environment(variations),
            place,
        })?;
        let applied = variations
            .iter()
            .copied()
            .filter(|one| !left_out.iter().any(|(left, _)| left == one))
            .collect();
        Ok(Rebuilt {
            went,
            applied,
            left_out,
        })
    }

    fn environment(&self, variations: &[Variation]) -> Vec<(OsString, OsString)> {
        let has = |one| variations.contains(&one);
        let mut environment: Vec<(String, String)> = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let mut set = |name: &str, value: &str| environment.push((name.into(), value.into()));
        if has(Variation::Environment) {
            for (name, value) in [
                ("LANG", "tr_TR.UTF-8"),
                ("LC_ALL", "tr_TR.UTF-8"),
                ("TZ", "Pacific/Kiritimati"),
                ("HOME", "/nonexistent"),
                ("USER", "somebody"),
                ("COLUMNS", "33"),
                ("PERL_HASH_SEED", "7"),
                ("PYTHONHASHSEED", "7"),
                ("PYTHONDONTWRITEBYTECODE", "1"),
            ] {
                set(name, value);
            }
        }
        let mut trial = vec!["attribute"];
        let clock = format!("clock={AHEAD}");
        if has(Variation::Clock) {
            trial.push(&clock);
        }
        if has(Variation::Folders) {
            trial.push("folders");
        }
        set(crate::settings::TRIAL, &trial.join(","));
        if let Some(epoch) = self.source_date_epoch {
            set("SOURCE_DATE_EPOCH", &epoch.to_string());
        }
        let words = environment.into_iter();
        words
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

/// How much memory can be had, by the kernel's own estimate.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
