//! Files of certificates to trust.

use std::path::Path;
use std::{fs, io};

use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::Error;

/// Where systems keep the certificates they trust: Debian, Fedora, openSUSE.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// The system's list of certificates to trust, if it has one.
#[must_use]
pub fn system_certificates<'a>() -> Option<&'a Path> {
    let known = SYSTEM.iter().copied().map(Path::new);
    known.into_iter().find(|path| path.is_file())
}

/// The certificates in a file, in its order.
///
/// Bundles hold oddities; one certificate that cannot be read does not spoil the others.
///
/// # Errors
/// [`Error::Certificates`], if it cannot be read or holds none at all.
pub fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let failed = |source| Error::Certificates {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::read(path).map_err(failed)?;
    let certificates: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(failed(io::Error::other(
            "it holds no certificate in PEM form",
        ))),
        false => Ok(certificates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        fs::write(&path, "no certificate\n").expect("written");
        let error = certificates(&path).expect_err("none in it");
        assert!(error.to_string().contains("key.pem"), "{error}");
        assert!(certificates(&folder.path().join("gone.pem")).is_err());
    }
}
