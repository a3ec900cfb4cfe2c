//! What is written down about a desktop's upgrades, on this machine.
//!
//! ```text
//! <state>/deploy/<engine>/<container>/
//!   lock                 held by whoever changes the container
//!   journal.json         the upgrade under way: written before each step, gone when all is done
//!   generation-<n>.json  what is known of a generation besides what the engine knows
//!   failed-<n>.png       what the screen of a generation showed that did not become healthy
//! ```
//!
//! The journal is what makes a killed upgrade harmless: it tells how far things went, which
//! container was to be replaced, whether it ran and how it was restarted. The engine alone does
//! not tell that any more once the old container is stopped. Everything else (which generations
//! there are, which one runs) is asked of the engine, because others change it, too.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bollard::models::RestartPolicy;
use kasmforge_digest::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::desktop::Adoption;

/// So many generations' records are kept, of those the engine has and of those it had.
const RECORDS: usize = 50;

/// How far an upgrade or a rollback is. Each step is written down before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The new container is created; nothing else has been touched.
    Creating,
    /// The old container is stopped, and not restarted by the engine any more.
    Stopping,
    /// Files are taken from the old container into volumes of the new one.
    Adopting,
    /// The new container is started.
    Starting,
    /// The new container is to become healthy.
    Waiting,
    /// It did not: the old container is brought back.
    Undoing,
    /// It did: the containers get their names.
    Naming,
    /// Generations beyond those to keep are removed.
    Tidying,
}

impl Step {
    /// The step's name: `creating`, `stopping`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Stopping => "stopping",
            Self::Adopting => "adopting",
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Undoing => "undoing",
            Self::Naming => "naming",
            Self::Tidying => "tidying",
        }
    }
}

/// One container takes another's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) step: Step,
    /// The container that is replaced, if there is one.
    pub(crate) outgoing: Option<Outgoing>,
    pub(crate) incoming: Incoming,
    /// How many generations are kept afterwards; `None` removes none.
    pub(crate) keep: Option<usize>,
    /// What is taken over into volumes.
    #[serde(default)]
    pub(crate) adopt: Vec<Adoption>,
    /// What will be noted of the new generation; `None` for one that was noted before.
    #[serde(default)]
    pub(crate) record: Option<GenerationRecord>,
}

/// A container that is being replaced, as it was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) generation: u64,
    pub(crate) was_running: bool,
    pub(crate) policy: Option<RestartPolicy>,
}

/// A container that takes its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incoming {
    /// Its name until it has the desktop's; so it is found before its id is known.
    pub(crate) name: String,
    /// Its id; empty until it is created.
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) generation: u64,
    /// Whether it was made for this, and is not an earlier generation.
    pub(crate) made: bool,
}

impl Incoming {
    /// What an engine finds it by.
    pub(crate) fn key(&self) -> &str {
        if self.id.is_empty() {
            &self.name
        } else {
            &self.id
        }
    }
}

/// What is known of a generation besides what the engine knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GenerationRecord {
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) reference: String,
    /// The manifest's digest, which names the image in every engine and registry.
    #[serde(default)]
    pub(crate) manifest: Option<Digest>,
    /// When the engine created the container, as it tells it.
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) healthy: bool,
    /// Why it did not become healthy.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) healthy_after_ms: Option<u64>,
    #[serde(default)]
    pub(crate) downtime_ms: Option<u64>,
    /// What is in the image: packages and their versions; `None` if that was not known.
    #[serde(default)]
    pub(crate) contents: Option<BTreeMap<String, String>>,
}

/// The folder of one desktop in one engine. While it exists nobody else on this machine changes
/// that desktop.
pub(crate) struct Ledger {
    folder: PathBuf,
    _lock: File,
}

impl Ledger {
    /// Opens the folder of a desktop and locks it.
    ///
    /// # Errors
    /// [`Error::UnderWay`] if another process has locked it.
    pub(crate) fn open(folder: PathBuf, container: &str) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        let path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::UnderWay {
                container: container.to_owned(),
                waiting: None,
            }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// The upgrade that was under way when its process ended.
    pub(crate) fn journal(&self) -> Result<Option<Journal>, Error> {
        read(&self.folder.join("journal.json"))
    }

    /// Writes down what is about to be done, and returns once that is on the disk.
    pub(crate) fn write(&self, journal: &Journal) -> Result<(), Error> {
        write(&self.folder.join("journal.json"), journal)
    }

    /// Notes that nothing is under way.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let path = self.folder.join("journal.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => sync(&self.folder),
        }
    }

    /// Writes down what is known of a generation.
    pub(crate) fn note(&self, generation: u64, record: &GenerationRecord) -> Result<(), Error> {
        write(&record_path(&self.folder, generation), record)?;
        let mut numbers: Vec<_> = records(&self.folder)?.into_keys().collect();
        while numbers.len() > RECORDS {
            let path = record_path(&self.folder, numbers.remove(0));
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// What is known of the generations.
    pub(crate) fn records(&self) -> Result<BTreeMap<u64, GenerationRecord>, Error> {
        records(&self.folder)
    }

    /// Keeps a picture of a generation's screen. Answers where.
    pub(crate) fn keep_picture(&self, generation: u64, png: &[u8]) -> Result<PathBuf, Error> {
        let path = self.folder.join(format!("failed-{generation}.png"));
        replace(&path, png)?;
        Ok(path)
    }

    /// Forgets the desktop.
    pub(crate) fn forget(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.folder).map_err(failed("remove", &self.folder))
    }
}

/// What is known of a desktop's generations, read without the lock.
pub(crate) fn records(folder: &Path) -> Result<BTreeMap<u64, GenerationRecord>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed("list", folder)(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("generation-")?.strip_suffix(".json"))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number
            && let Some(record) = read(&entry.path())?
        {
            found.insert(number, record);
        }
    }
    Ok(found)
}

/// The upgrade that is or was under way, read without the lock.
pub(crate) fn journal(folder: &Path) -> Result<Option<Journal>, Error> {
    read(&folder.join("journal.json"))
}

fn record_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("generation-{generation}.json"))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::State {
        action,
        path: path.to_owned(),
        source,
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(source) => Err(Error::DamagedState {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).expect("records are JSON");
    replace(path, &text)
}

/// Writes a file whole or not at all, and returns once it is on the disk.
fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("write", path))?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("write", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(folder: &Path) -> Result<Ledger, Error> {
        Ledger::open(folder.join("deploy/engine/desk"), "desk")
    }

    #[test]
    fn a_journal_outlives_its_process_and_has_one_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal {
            step: Step::Waiting,
            outgoing: Some(Outgoing {
                id: "a".into(),
                image: "sha256:1".into(),
                generation: 3,
                was_running: true,
                policy: None,
            }),
            incoming: Incoming {
                name: "desk-kf-new".into(),
                id: "b".into(),
                image: "sha256:2".into(),
                generation: 4,
                made: true,
            },
            keep: Some(2),
            adopt: Vec::new(),
            record: Some(GenerationRecord::default()),
        };
        let first = ledger(folder.path()).expect("the first one");
        assert_eq!(first.journal().expect("readable"), None);
        first.write(&journal).expect("written");
        assert!(matches!(ledger(folder.path()), Err(Error::UnderWay { .. })));
        drop(first);
        let second = ledger(folder.path()).expect("the lock is free");
        assert_eq!(second.journal().expect("readable"), Some(journal));
        second.clear().expect("cleared");
        second.clear().expect("cleared twice");
        assert_eq!(second.journal().expect("readable"), None);
    }

    #[test]
    fn records_are_few() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = ledger(folder.path()).expect("a ledger");
        for number in 0..60 {
            ledger
                .note(number, &GenerationRecord::default())
                .expect("noted");
        }
        let numbers: Vec<_> = ledger.records().expect("records").into_keys().collect();
        assert_eq!(numbers, (10..60).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = ledger(folder.path()).expect("a ledger");
        fs::write(ledger.folder.join("journal.json"), "{").expect("written");
        let error = ledger.journal().expect_err("it is damaged").to_string();
        assert!(error.contains("journal.json"), "{error}");
    }
}
