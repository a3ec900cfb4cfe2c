//! Proving that an image comes out the same: what is varied, and what a difference means.

pub(crate) mod cause;
pub(crate) mod variation;
