//! What cannot be had from here just now: other workspaces may do without it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kasmforge_archive::Error;

/// An input of a workspace that cannot be had: nobody answers, or whoever answers has it not.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unavailable {
    /// A download.
    #[error("cannot fetch {url}")]
    Download {
        /// Its address.
        url: String,
        /// Why not.
        #[source]
        source: Arc<Error>,
    },
    /// A Release file or an index of an archive.
    #[error(transparent)]
    Archive(Arc<Error>),
}

/// Whether an error says that something cannot be had, and not that it is wrong.
fn is_absence(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. } | Error::Gone { .. } | Error::Offline { .. }
    )
}

/// What could not be had in this run: nobody waits for it a second time.
#[derive(Default)]
pub(super) struct Absences(RefCell<BTreeMap<String, Unavailable>>);

impl Absences {
    /// Says that something could not be had before.
    pub(super) fn check(&self, what: &str) -> Result<(), Unavailable> {
        match self.0.borrow().get(what) {
            Some(absence) => Err(absence.clone()),
            None => Ok(()),
        }
    }

    /// Notes that an archive could not be reached; other errors are given as they are.
    pub(super) fn archive(&self, what: &str, error: Error) -> anyhow::Error {
        if !is_absence(&error) {
            return error.into();
        }
        self.note(what, Unavailable::Archive(Arc::new(error)))
    }

    /// Notes that a download could not be had; other errors are given as they are.
    pub(super) fn download(&self, url: &str, error: Error) -> anyhow::Error {
        if !is_absence(&error) {
            return anyhow::Error::from(error).context(format!("cannot fetch {url}"));
        }
        let url = url.to_owned();
        let source = Arc::new(error);
        self.note(&url.clone(), Unavailable::Download { url, source })
    }

    fn note(&self, what: &str, absence: Unavailable) -> anyhow::Error {
        let known = &mut *self.0.borrow_mut();
        known.insert(what.to_owned(), absence.clone());
        absence.into()
    }
}
