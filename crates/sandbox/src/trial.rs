//! What makes a trial a trial: answers that would be others on another day or another disk.

pub(crate) mod clock;
pub(crate) mod listing;
pub(crate) mod writers;
