//! How a stage stands, kept in the store: where the outcome of its scripts is, and what is beside it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use kasmforge_digest::{Digest, StepKey};
use kasmforge_store::Store;
use kasmforge_tree::Tree;
use serde::{Deserialize, Serialize};

use super::{Configured, load};
use crate::content::Pool;

/// The file of a step's folder that says how a stage stands.
const RECORD: &str = "settled.json";

/// What the scripts of a stage left for the next one.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(super) key: StepKey,
    pub(super) outcome: Configured,
    /// Packages of this stage and those below that the scripts ran without, by their stems.
    pub(super) bystanders: BTreeSet<String>,
    /// Packages that looked like some, and scripts had to do with them.
    pub(super) touched: BTreeSet<String>,
}

/// How a stage stands, beside what its scripts made.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The key of the scripts' outcome.
    scripts: Digest,
    bystanders: BTreeSet<String>,
    touched: BTreeSet<String>,
    /// The difference that the bystanders make.
    added: Tree,
}

/// Writes the record of a stage into its (temporary) folder.
pub(super) fn write(step: &Path, scripted: &Scripted, added: Tree) -> io::Result<()> {
    let record = Record {
        scripts: scripted.key.digest(),
        bystanders: scripted.bystanders.clone(),
        touched: scripted.touched.clone(),
        added,
    };
    let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
    fs::write(step.join(RECORD), text)
}

fn read(store: &Store, key: &StepKey) -> Option<Record> {
    serde_json::from_slice(&fs::read(store.tree_path(key).join(RECORD)).ok()?).ok()
}

/// The record of a stage and the outcome of its scripts, their contents findable.
fn parts(store: &Store, key: &StepKey, pool: &Pool) -> Option<(Record, Configured)> {
    let record = read(store, key)?;
    let outcome = load(&store.tree_path(&record.scripts.into()))?;
    add_folders(store, key, &record, pool)?;
    Some((record, outcome))
}

/// The stage as an earlier build left it, and what its scripts left. Of its contents `pool` gains those
/// that are no package's.
pub(crate) fn find(store: &Store, key: &StepKey, pool: &Pool) -> Option<(Configured, Scripted)> {
    let (record, outcome) = parts(store, key, pool)?;
    let mut whole = outcome.clone();
    whole.tree.overlay(&record.added);
    let scripted = Scripted {
        key: record.scripts.into(),
        outcome,
        bystanders: record.bystanders,
        touched: record.touched,
    };
    Some((whole, scripted))
}

/// The same where no scripts are to run on it.
pub(crate) fn find_whole(store: &Store, key: &StepKey, pool: &Pool) -> Option<Configured> {
    let (record, mut whole) = parts(store, key, pool)?;
    whole.tree.overlay(&record.added);
    Some(whole)
}

/// Makes those contents of a settled stage findable that are no package's; `None` if it is not there.
pub(crate) fn add_contents(store: &Store, key: &StepKey, pool: &Pool) -> Option<()> {
    add_folders(store, key, &read(store, key)?, pool)
}

fn add_folders(store: &Store, key: &StepKey, record: &Record, pool: &Pool) -> Option<()> {
    for key in [*key, record.scripts.into()] {
        pool.add_folder(&store.tree_path(&key), false).ok()?;
    }
    Some(())
}

/// The key of what the scripts of a settled stage made.
pub(crate) fn scripts_of(store: &Store, key: &StepKey) -> Option<StepKey> {
    read(store, key).map(|record| record.scripts.into())
}

/// Whether a stage seems to be settled.
pub(crate) fn is_kept(store: &Store, key: &StepKey) -> bool {
    store.tree_path(key).join(RECORD).is_file()
}
