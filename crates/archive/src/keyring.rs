//! Keyrings: the certificates that may sign an archive.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kasmforge_digest::Digest;
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::parse::Parse;

/// Debian's archive keys; see `keys/README.md`.
const DEBIAN: &[u8] = include_bytes!("../keys/debian-archive-keyring.pgp");

/// The longest keyring file read, in bytes: Debian's is 56 kB.
const MAX_LENGTH: u64 = 16 << 20;

const ARMOR_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const ARMOR_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// A keyring that is not one.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file could not be read.
    #[error("cannot read the keyring {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is GnuPG's own keybox.
    #[error(
        "the keyring {name} is a GnuPG keybox; export its keys with `gpg --no-default-keyring \
         --keyring {name} --export > keyring.pgp` and name that file"
    )]
    Keybox {
        /// Its name.
        name: String,
    },
    /// The bytes are no OpenPGP certificates.
    #[error("the keyring {name} does not hold OpenPGP certificates")]
    Malformed {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A certificate that the definition names is not in it.
    #[error("the keyring {name} holds no certificate with the fingerprint {fingerprint}; it holds {}", held.join(", "))]
    NotThere {
        /// Its name.
        name: String,
        /// The fingerprint named.
        fingerprint: String,
        /// The fingerprints of those in it.
        held: Vec<String>,
    },
    /// There is no certificate in it.
    #[error("the keyring {name} holds no certificate")]
    Empty {
        /// Its name.
        name: String,
    },
}

/// The certificates that may sign an archive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    digest: Digest,
    certificates: Vec<Cert>,
}

impl Keyring {
    /// Debian's archive keys, as built into this program.
    ///
    /// The default, rather than the host's file, so that all machines agree on who may sign.
    ///
    /// # Panics
    /// Never: a test reads the same bytes.
    #[must_use]
    pub fn debian() -> Self {
        Self::parse("of Debian's archive keys built into kasmforge", DEBIAN)
            .expect("the built-in keyring is sound")
    }

    /// Reads a keyring file, binary or armoured.
    ///
    /// # Errors
    /// When it cannot be read or is no keyring.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let failed = |source| KeyringError::Read {
            path: path.to_owned(),
            source,
        };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > MAX_LENGTH {
            return Err(failed(io::Error::other(format!(
                "it has {length} bytes; keyrings have {MAX_LENGTH} at most"
            ))));
        }
        let bytes = fs::read(path).map_err(failed)?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// Reads certificates: binary, one after the other; or armoured, in one block or several.
    ///
    /// The name is for messages.
    ///
    /// # Errors
    /// When the bytes are something else, or hold no certificate.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, KeyringError> {
        // A keybox begins with a block whose type says so, and whose magic stands at byte 8.
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(KeyringError::Keybox { name: name.into() });
        }
        let mut certificates = Vec::new();
        for block in blocks(bytes) {
            let malformed =
                |source: Box<dyn std::error::Error + Send + Sync>| KeyringError::Malformed {
                    name: name.into(),
                    source,
                };
            let parser = CertParser::from_bytes(block).map_err(|error| malformed(error.into()))?;
            for certificate in parser {
                certificates.push(certificate.map_err(|error| malformed(error.into()))?);
            }
        }
        if certificates.is_empty() {
            return Err(KeyringError::Empty { name: name.into() });
        }
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.into(),
                digest: Digest::of(bytes),
                certificates,
            }),
        })
    }

    /// The same keyring with only the certificates of these fingerprints, of their primary keys or
    /// of subkeys: nobody else may sign.
    ///
    /// # Errors
    /// When one of them is not in it.
    pub fn only(&self, fingerprints: &[String]) -> Result<Self, KeyringError> {
        let mut certificates: Vec<Cert> = Vec::new();
        let mut bytes = self.inner.digest.to_string();
        for wanted in fingerprints {
            let plain = wanted.replace(' ', "").to_ascii_uppercase();
            let has = |certificate: &&Cert| {
                let mut keys = certificate.keys();
                keys.any(|key| key.key().fingerprint().to_hex() == plain)
            };
            let Some(found) = self.certificates().iter().find(has) else {
                return Err(KeyringError::NotThere {
                    name: self.name().into(),
                    fingerprint: wanted.clone(),
                    held: self.fingerprints(),
                });
            };
            if !certificates.contains(found) {
                certificates.push(found.clone());
            }
            bytes.push(' ');
            bytes.push_str(&plain);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                name: self.name().into(),
                digest: Digest::of(bytes.as_bytes()),
                certificates,
            }),
        })
    }

    /// The keyring's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The digest of the keyring's bytes, for the lock.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The fingerprints of its certificates, in the keyring's order.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates()
            .iter()
            .map(|certificate| certificate.fingerprint().to_hex())
            .collect()
    }

    pub(crate) fn certificates(&self) -> &[Cert] {
        &self.inner.certificates
    }
}

/// The armoured blocks of a keyring, or all of it where it is binary.
///
/// The parser reads one block; people make keyrings by appending.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let find = |from: usize, text: &str| {
        bytes[from..]
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .map(|at| from + at)
    };
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(begin) = find(from, ARMOR_BEGIN) {
        let end = find(begin, ARMOR_END).map_or(bytes.len(), |end| end + ARMOR_END.len());
        blocks.push(&bytes[begin..end]);
        from = end;
    }
    if blocks.is_empty() {
        blocks.push(bytes);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use sequoia_openpgp::serialize::SerializeInto;

    #[test]
    fn debian_has_keys_of_three_releases() {
        let keyring = Keyring::debian();
        assert_eq!(keyring.certificates().len(), 9);
        let names: Vec<_> = keyring
            .certificates()
            .iter()
            .flat_map(Cert::userids)
            .map(|user| user.userid().to_string())
            .collect();
        for release in ["11/bullseye", "12/bookworm", "13/trixie"] {
            assert!(names.iter().any(|name| name.contains(release)), "{names:?}");
        }
    }

    #[test]
    fn armoured_blocks_may_follow_one_another() {
        let debian = Keyring::debian();
        let mut text = Vec::new();
        for certificate in &debian.certificates()[..2] {
            text.extend(certificate.armored().to_vec().expect("memory"));
            text.extend(b"\nA remark between.\n");
        }
        let keyring = Keyring::parse("two", &text).expect("two certificates");
        assert_eq!(keyring.fingerprints(), debian.fingerprints()[..2]);
    }

    #[test]
    fn tells_what_is_no_keyring() {
        let of = |bytes: &[u8]| Keyring::parse("x", bytes).expect_err("no keyring");
        assert!(matches!(
            of(b"\0\0\0\x20\x01\x01\0\x02KBXf"),
            KeyringError::Keybox { .. }
        ));
        assert!(matches!(
            of(b"<html>"),
            KeyringError::Malformed { .. } | KeyringError::Empty { .. }
        ));
        assert!(matches!(
            of(b""),
            KeyringError::Malformed { .. } | KeyringError::Empty { .. }
        ));
        assert!(matches!(
            of(&DEBIAN[..5000]),
            KeyringError::Malformed { .. }
        ));
    }
}
