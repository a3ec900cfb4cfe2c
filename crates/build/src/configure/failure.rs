//! How configuring fails, and how that is noticed.

use std::io;
use std::path::{Path, PathBuf};

use kasmforge_digest::StepKey;
use kasmforge_sandbox::Outcome;
use kasmforge_store::Store;
use kasmforge_tree::Tree;

use super::{Stage, status};
use crate::content::Pool;
use crate::database;
use crate::farm::FarmError;
use crate::merge::Collision;
use crate::normalise;
use crate::script::{Failure, Follower, LAST_WORDS};

/// A stage that could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// Two packages ship the same path.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// The tree could not be made real.
    #[error("cannot lay out the packages for their scripts")]
    Farm(#[from] FarmError),
    /// The sandbox could not run.
    #[error("cannot run the maintainer scripts")]
    Sandbox(#[from] kasmforge_sandbox::Error),
    /// A script failed.
    #[error("{}\n  all of it: {}", failed_text(failures, tail), log.display())]
    Scripts {
        /// The package, and what dpkg says of it.
        failures: Vec<(String, String)>,
        /// The last lines of the output.
        tail: String,
        /// Where all of the output is.
        log: PathBuf,
    },
    /// A script left a private key.
    #[error(
        "the scripts left a private key in /{path}: everyone who gets the image would have it; \
         leave the package out that makes it, or make the key when the container starts"
    )]
    PrivateKey {
        /// The path in the image.
        path: String,
    },
    /// What the scripts did could not be read or kept.
    #[error("cannot keep what the scripts did ({})", path.display())]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kasmforge_store::Error),
}

/// Where the output of a stage's failed scripts is kept until the next try.
fn failed_log(store: &Store, key: &StepKey) -> PathBuf {
    store
        .root()
        .join("tmp")
        .join(format!("failed-{}.log", key.digest().short()))
}

fn failed_text(failures: &[(String, String)], tail: &str) -> String {
    let mut text = String::from("a maintainer script failed");
    for (package, what) in failures {
        text.push_str(&format!("\n  package {package}: {what}"));
    }
    text.push_str("\n  its last words:");
    for line in tail.lines() {
        text.push_str(&format!("\n  | {line}"));
    }
    text
}

impl Stage<'_> {
    /// Whether all went well: the exit status alone does not prove it.
    pub(super) fn judge(
        &self,
        store: &Store,
        tree: &Tree,
        pool: &Pool,
        outcome: &Outcome,
        follower: &Follower,
        step: &Path,
    ) -> Result<(), ConfigureError> {
        let keep = |source| ConfigureError::Keep {
            path: step.into(),
            source,
        };
        let left = database::not_installed(&status(tree, pool).map_err(keep)?);
        let failures = follower.failures();
        if outcome.status.success() && left.is_empty() && failures.is_empty() {
            return Ok(());
        }
        let mut told: Vec<(String, String)> = Vec::new();
        let mut words = Vec::new();
        for Failure {
            package,
            what,
            words: said,
        } in failures
        {
            told.push((package, what));
            words.extend(said);
        }
        if told.is_empty() {
            told.extend(
                left.into_iter().map(|(package, state)| {
                    (package, format!("it was left in the state `{state}`"))
                }),
            );
        }
        if told.is_empty() {
            told.push(("dpkg".into(), format!("it ended with {:?}", outcome.status)));
        }
        let log = failed_log(store, &self.key);
        store.write_file(&log, &follower.log)?;
        Err(ConfigureError::Scripts {
            failures: told,
            tail: if words.is_empty() {
                follower.tail(LAST_WORDS)
            } else {
                words.join("\n")
            },
            log,
        })
    }
}

/// No image has a private key in it that scripts made.
pub(super) fn refuse_private_keys(layer: &Tree, pool: &Pool) -> Result<(), ConfigureError> {
    /// No key is larger; no larger file is read.
    const LARGEST: u64 = 256 << 10;
    for (path, entry) in layer.iter() {
        let Some((_, size)) = entry
            .content()
            .filter(|(_, size)| (1..LARGEST).contains(size))
        else {
            continue;
        };
        let keep = |source| ConfigureError::Keep {
            path: path.as_path().into(),
            source,
        };
        let bytes = pool.text(layer, path).map_err(keep)?.unwrap_or_default();
        debug_assert_eq!(bytes.len() as u64, size);
        if normalise::is_private_key(&bytes) {
            return Err(ConfigureError::PrivateKey {
                path: path.to_string(),
            });
        }
    }
    Ok(())
}
