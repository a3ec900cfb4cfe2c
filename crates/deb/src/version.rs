//! Versions and their order (Debian policy 5.6.12).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The longest version accepted, in bytes: real ones stay under 100, and a hostile index must not
/// make every comparison slow.
pub const MAX_VERSION_LENGTH: usize = 1024;

/// A package's version: `[epoch:]upstream[-revision]`.
///
/// The text is kept as it was written, and clones share it. Two versions are equal when they are
/// equal in Debian's order (`1.0` and `0:1.00-0` are), so compare [`Version::as_str`] where the
/// spelling matters.
#[derive(Clone)]
pub struct Version {
    text: Arc<str>,
    epoch: u32,
    /// Where the upstream part begins, and where it ends.
    upstream: (u16, u16),
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {mistake}")]
pub struct VersionError {
    /// What was found, cut where it is absurdly long.
    pub text: String,
    /// What is wrong with it.
    pub mistake: VersionMistake,
}

/// What can be wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionMistake {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_VERSION_LENGTH`] bytes.
    #[error("it is longer than {MAX_VERSION_LENGTH} bytes")]
    TooLong,
    /// What stands before the first colon is no number that dpkg takes.
    #[error("its epoch is not a number from 0 to 2147483647")]
    Epoch,
    /// Nothing stands between the epoch and the revision.
    #[error("it has no upstream version")]
    NoUpstream,
    /// Nothing follows the last hyphen.
    #[error("nothing follows its last hyphen")]
    NoRevision,
    /// A character that versions cannot hold.
    #[error("it may not hold `{0}`")]
    Character(char),
}

impl Version {
    /// The version as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch; 0 where none is written.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The upstream part.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.text[usize::from(self.upstream.0)..usize::from(self.upstream.1)]
    }

    /// The Debian revision, where there is one.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.text.get(usize::from(self.upstream.1) + 1..)
    }

    /// The version without its epoch, as the names of `.deb` files have it.
    #[must_use]
    pub fn without_epoch(&self) -> &str {
        &self.text[usize::from(self.upstream.0)..]
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|mistake| VersionError {
            text: text.chars().take(80).collect(),
            mistake,
        })
    }
}

fn parse(text: &str) -> Result<Version, VersionMistake> {
    if text.is_empty() {
        return Err(VersionMistake::Empty);
    }
    if text.len() > MAX_VERSION_LENGTH {
        return Err(VersionMistake::TooLong);
    }
    let (epoch, start) = match text.find(':') {
        None => (0, 0),
        Some(colon) => (epoch(&text[..colon])?, colon + 1),
    };
    let (end, revision) = match text[start..].rfind('-') {
        None => (text.len(), ""),
        Some(hyphen) => {
            let revision = &text[start + hyphen + 1..];
            if revision.is_empty() {
                return Err(VersionMistake::NoRevision);
            }
            (start + hyphen, revision)
        }
    };
    let upstream = &text[start..end];
    if upstream.is_empty() {
        return Err(VersionMistake::NoUpstream);
    }
    let stray = |part: &str, marks: &str| {
        part.chars()
            .find(|&c| !c.is_ascii_alphanumeric() && !marks.contains(c))
    };
    if let Some(c) = stray(upstream, ".-+~:").or_else(|| stray(revision, ".+~")) {
        return Err(VersionMistake::Character(c));
    }
    let offset = |at: usize| u16::try_from(at).expect("MAX_VERSION_LENGTH fits in 16 bits");
    Ok(Version {
        text: text.into(),
        epoch,
        upstream: (offset(start), offset(end)),
    })
}

/// Reads an epoch; dpkg holds it in a C `int`.
fn epoch(digits: &str) -> Result<u32, VersionMistake> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VersionMistake::Epoch);
    }
    digits
        .parse()
        .ok()
        .filter(|&epoch| epoch <= 0x7fff_ffff)
        .ok_or(VersionMistake::Epoch)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| {
                compare_part(
                    self.revision().unwrap_or_default(),
                    other.revision().unwrap_or_default(),
                )
            })
    }
}

/// Compares two upstream versions or two revisions: pieces of non-digits and numbers in turn.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let (left_piece, right_piece) = (piece(&mut left), piece(&mut right));
        let ordering = compare_text(left_piece.0, right_piece.0)
            .then_with(|| left_piece.1.len().cmp(&right_piece.1.len()))
            .then_with(|| left_piece.1.cmp(right_piece.1));
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

/// Takes a run of non-digits, and the number after it without leading zeros, off the front.
fn piece<'a>(rest: &mut &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let text = rest
        .iter()
        .position(u8::is_ascii_digit)
        .unwrap_or(rest.len());
    let (text, after) = rest.split_at(text);
    let number = after
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(after.len());
    let (number, after) = after.split_at(number);
    *rest = after;
    let zeros = number
        .iter()
        .position(|&byte| byte != b'0')
        .unwrap_or(number.len());
    (text, &number[zeros..])
}

/// Compares non-digits: `~` before the end, the end before letters, letters before the rest.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    for at in 0..left.len().max(right.len()) {
        let ordering = weight(left.get(at)).cmp(&weight(right.get(at)));
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Equal versions must hash alike however they are spelt, so the pieces are hashed, not the text.
impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
        for part in [self.upstream(), self.revision().unwrap_or_default()] {
            let mut rest = part.as_bytes();
            while !rest.is_empty() {
                let piece = piece(&mut rest);
                // "0" and "" are equal: their only piece is empty.
                if piece != (&[][..], &[][..]) {
                    piece.hash(state);
                }
            }
            state.write_u8(0xff);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("written by hand")
    }

    #[test]
    fn orders_as_policy_says() {
        // Policy 5.6.12's own example, then what it implies.
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1~rc1-1",
            "1-0~bpo1",
            "1-0.1",
            "1-1",
            "1.0-1",
            "1.9",
            "1.10~",
            "1.10",
            "1.10+deb12u1",
            "1.10+deb12u2",
            "1.10+deb12u10",
            "1:0",
            "2:0.1-1",
        ];
        for pair in ascending.windows(2) {
            assert!(
                version(pair[0]) < version(pair[1]),
                "{} < {}",
                pair[0],
                pair[1]
            );
        }
        for (left, right) in [
            ("1.0", "0:1.00"),
            ("1.0", "1.0-0"),
            ("1.a", "1.a0"),
            ("007", "7"),
        ] {
            assert_eq!(version(left), version(right));
        }
    }

    #[test]
    fn has_parts() {
        let version = version("2:1.2-rc1-3+deb12u1");
        assert_eq!(version.epoch(), 2);
        assert_eq!(version.upstream(), "1.2-rc1");
        assert_eq!(version.revision(), Some("3+deb12u1"));
        assert_eq!(version.without_epoch(), "1.2-rc1-3+deb12u1");
        assert_eq!(version.to_string(), "2:1.2-rc1-3+deb12u1");
        assert_eq!("7".parse::<Version>().expect("a version").revision(), None);
    }

    #[test]
    fn refuses_what_dpkg_refuses() {
        let mistake = |text: &str| text.parse::<Version>().expect_err(text).mistake;
        assert_eq!(mistake(""), VersionMistake::Empty);
        assert_eq!(mistake(":1"), VersionMistake::Epoch);
        assert_eq!(mistake("a:1"), VersionMistake::Epoch);
        assert_eq!(mistake("-1:1"), VersionMistake::Epoch);
        assert_eq!(mistake("2147483648:1"), VersionMistake::Epoch);
        assert_eq!(mistake("1:"), VersionMistake::NoUpstream);
        assert_eq!(mistake("-1"), VersionMistake::NoUpstream);
        assert_eq!(mistake("1-"), VersionMistake::NoRevision);
        assert_eq!(mistake("1 2"), VersionMistake::Character(' '));
        assert_eq!(mistake("1-2:3"), VersionMistake::Epoch);
        assert_eq!(mistake("1.é"), VersionMistake::Character('é'));
        assert_eq!(mistake("1-a_b"), VersionMistake::Character('_'));
        assert_eq!(
            mistake(&"1".repeat(MAX_VERSION_LENGTH + 1)),
            VersionMistake::TooLong
        );
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let text = "([0-2]:)?[0-1][0-2a~.+]{0,4}(-[0-2a~.+]{1,3})?";
        proptest::string::string_regex(text)
            .expect("a regular expression")
            .prop_map(|text| version(&text))
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_hashes_agree(
            a in any_version(),
            b in any_version(),
            c in any_version(),
        ) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            if a == b {
                prop_assert_eq!(hasher.hash_one(&a), hasher.hash_one(&b));
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
            prop_assert!(BTreeSet::from([a.clone(), b, c]).contains(&a));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.as_str(), text);
            }
        }
    }
}
