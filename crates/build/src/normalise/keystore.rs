//! Java's key stores of trusted certificates.
//!
//! ca-certificates-java writes one in which each certificate has the time at which it came in, and
//! they stand in the order of a hash table. Nobody asks for either. The format (JKS) is that of
//! `sun.security.provider.JavaKeyStore` in OpenJDK, whose numbers are big-endian:
//!
//! ```text
//! u32 0xfeedfeed, u32 version (1 or 2), u32 number of entries, then each of them:
//!     u32 kind (1 a private key, 2 a trusted certificate)
//!     u16 length, alias
//!     u64 milliseconds since 1970
//!     in version 2: u16 length, the certificate's type
//!     u32 length, the certificate
//! 20 bytes: SHA-1 over the password in UTF-16, "Mighty Aphrodite", and all of the above
//! ```

use std::ops::Range;

use sha1::{Digest as _, Sha1};

/// What ca-certificates-java closes its store with, and Java opens it with unless told otherwise.
const PASSWORD: &str = "changeit";
/// What Java mixes into each store's sum.
const PHRASE: &[u8] = b"Mighty Aphrodite";
/// Length of the sum.
const SUM: usize = 20;
const MAGIC: u32 = 0xfeed_feed;
const TRUSTED: u32 = 2;

/// The store with its certificates in the order of their aliases and all of 1970; `None` unless it is one
/// of trusted certificates alone, and its sum is right.
pub(super) fn steady(store: &[u8]) -> Option<Vec<u8>> {
    let (content, found) = store.split_at_checked(store.len().checked_sub(SUM)?)?;
    if sum(content) != found {
        return None;
    }
    let mut reader = Reader { content, at: 0 };
    let version = (reader.u32()? == MAGIC).then(|| reader.u32())??;
    if !(1..=2).contains(&version) {
        return None;
    }
    let count = reader.u32()?;
    let head = 0..reader.at;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.certificate(version)?);
    }
    if reader.at != content.len() {
        return None;
    }
    entries.sort_by_key(|entry| (&content[entry.alias.clone()], &content[entry.rest.clone()]));
    let mut sorted = content[head].to_vec();
    for Certificate { alias, rest } in entries {
        sorted.extend(TRUSTED.to_be_bytes());
        let length = u16::try_from(alias.len()).expect("it was read from 16 bits");
        sorted.extend(length.to_be_bytes());
        sorted.extend(&content[alias]);
        sorted.extend(0_u64.to_be_bytes());
        sorted.extend(&content[rest]);
    }
    let sum = sum(&sorted);
    sorted.extend(sum);
    Some(sorted)
}

fn sum(content: &[u8]) -> [u8; SUM] {
    let mut hasher = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        hasher.update(unit.to_be_bytes());
    }
    hasher.update(PHRASE);
    hasher.update(content);
    hasher.finalize().into()
}

/// Where the parts of an entry lie that stay as they are.
struct Certificate {
    alias: Range<usize>,
    /// Its type and the certificate itself.
    rest: Range<usize>,
}

struct Reader<'a> {
    content: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes(&mut self, length: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(length)?;
        self.content.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }

    fn u16(&mut self) -> Option<u16> {
        let range = self.bytes(2)?;
        Some(u16::from_be_bytes(self.content[range].try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        let range = self.bytes(4)?;
        Some(u32::from_be_bytes(self.content[range].try_into().ok()?))
    }

    fn certificate(&mut self, version: u32) -> Option<Certificate> {
        if self.u32()? != TRUSTED {
            return None;
        }
        let length = self.u16()?;
        let alias = self.bytes(length.into())?;
        let _time = self.bytes(8)?;
        let start = self.at;
        if version == 2 {
            let length = self.u16()?;
            self.bytes(length.into())?;
        }
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)?;
        Some(Certificate {
            alias,
            rest: start..self.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store as the format says it, of `(alias, time, certificate)`.
    fn store(kind: u32, entries: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).expect("a few");
        let mut bytes = [MAGIC, 2, count].map(u32::to_be_bytes).concat();
        let text = |text: &str| {
            let length = u16::try_from(text.len())
                .expect("a short one")
                .to_be_bytes();
            [&length, text.as_bytes()].concat()
        };
        for (alias, time, certificate) in entries {
            let length = u32::try_from(certificate.len()).expect("a short one");
            bytes.extend(kind.to_be_bytes());
            bytes.extend(text(alias));
            bytes.extend(time.to_be_bytes());
            bytes.extend(text("X.509"));
            bytes.extend(length.to_be_bytes());
            bytes.extend(*certificate);
        }
        let sum = sum(&bytes);
        bytes.extend(sum);
        bytes
    }

    const ONE: [(&str, u64, &[u8]); 3] = [
        ("debian:b.pem", 1_700_000_000_123, b"second"),
        ("debian:a.pem", 1_700_000_000_100, b"first"),
        ("debian:c.pem", 1_700_000_000_999, b""),
    ];

    #[test]
    fn order_and_times_of_arrival_go() {
        let [b, a, c] = ONE;
        let expected = store(TRUSTED, &[(a.0, 0, a.2), (b.0, 0, b.2), (c.0, 0, c.2)]);
        for entries in [[a, b, c], [c, b, a], [b, c, a]] {
            assert_eq!(steady(&store(TRUSTED, &entries)), Some(expected.clone()));
        }
        assert_eq!(steady(&expected), Some(expected.clone()));
        let none = store(TRUSTED, &[]);
        assert_eq!(steady(&none), Some(none.clone()));
    }

    #[test]
    fn what_is_no_sound_store_of_certificates_stays_as_it_is() {
        let good = store(TRUSTED, &ONE);
        for length in 0..good.len() {
            assert_eq!(steady(&good[..length]), None, "{length} bytes");
        }
        for at in 0..good.len() {
            let mut other = good.clone();
            other[at] ^= 1;
            assert_eq!(steady(&other), None, "byte {at}");
        }
        // Whose sum is right, and whose content is not what it says.
        assert_eq!(steady(&store(1, &ONE)), None, "private keys");
        let mut long = [MAGIC, 2, 1, TRUSTED].map(u32::to_be_bytes).concat();
        long.extend([0xff; 64]);
        for content in [
            long,
            [MAGIC, 3, 0].map(u32::to_be_bytes).concat(),
            vec![0; 12],
        ] {
            let closed = [content.as_slice(), &sum(&content)].concat();
            assert_eq!(steady(&closed), None);
        }
    }
}
