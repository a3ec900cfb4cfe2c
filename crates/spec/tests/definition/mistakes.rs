//! One test for each kind of mistake: what a reader is told.

mod chains;
mod entries;
mod shapes;
mod words;
