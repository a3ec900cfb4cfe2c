//! What all doors of the room share.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use kasmforge_store::Store;

use crate::rounds::{Health, Rounds};
use crate::transport::Transport;
use crate::{Error, Progress, Settings};

/// Asks mirrors, and keeps in the store what they give.
///
/// One client serves a whole run; its connections stay open between calls. All methods may be
/// called from several threads at once.
pub struct Client<'a> {
    pub(crate) store: &'a Store,
    pub(crate) settings: Settings,
    pub(crate) progress: &'a dyn Progress,
    transport: OnceLock<Transport>,
    health: Health,
}

impl<'a> Client<'a> {
    /// Makes a client. Nothing is asked yet, and no certificate is read.
    #[must_use]
    pub fn new(store: &'a Store, settings: Settings, progress: &'a dyn Progress) -> Self {
        Self {
            store,
            settings,
            progress,
            transport: OnceLock::new(),
            health: Health::default(),
        }
    }

    /// The settings it works by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connections; made at the first question, so that offline work needs no certificates.
    pub(crate) fn transport(&self) -> Result<&Transport, Error> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let transport = Transport::new(&self.settings)?;
        Ok(self.transport.get_or_init(|| transport))
    }

    pub(crate) fn rounds<'r>(&'r self, stop: &'r AtomicBool) -> Rounds<'r> {
        Rounds {
            retry: self.settings.retry,
            health: &self.health,
            progress: self.progress,
            stop,
        }
    }
}
