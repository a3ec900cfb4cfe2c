//! The workspace registry: a static site that Kasm servers and people read.
