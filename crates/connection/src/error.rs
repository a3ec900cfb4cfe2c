//! What can be wrong with the way to others, before anybody is asked.

use std::io;
use std::path::PathBuf;

/// A way that cannot be taken as it is wished for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The proxy's address cannot be used.
    #[error("`{proxy}` is no address of a proxy; write http://HOST:PORT")]
    Proxy {
        /// What was given, without a password.
        proxy: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// A file of certificates cannot be used.
    #[error("cannot read the certificates in {}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
