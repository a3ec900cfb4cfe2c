//! Paths below a root.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path below a root: no leading or final `/`, no empty, `.` or `..` component, any other bytes.
///
/// The empty path is the root itself. A clone shares the bytes: trees are cloned whole, and have
/// many thousand paths.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Arc<[u8]>);

/// A path that would leave its root, or that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path `{path}` is not one below a root: {why}")]
pub struct InvalidPath {
    /// The path, as far as it is text.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl TreePath {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a path as archives and people write it: `./usr/bin/x`, `/usr/bin/x`, `usr/bin/`.
    ///
    /// # Errors
    /// Refuses `..`, NUL bytes, and components longer than 255 bytes, which no file system holds.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidPath> {
        let refuse = |why| {
            Err(InvalidPath {
                path: String::from_utf8_lossy(bytes).into_owned(),
                why,
            })
        };
        let mut is_clean = true;
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => is_clean = false,
                b".." => return refuse("it goes up by `..`"),
                _ if component.contains(&0) => return refuse("it holds a NUL byte"),
                _ if component.len() > 255 => return refuse("a name in it is over 255 bytes"),
                _ => {}
            }
        }
        if is_clean {
            return Ok(Self(bytes.into()));
        }
        let names = bytes.split(|byte| *byte == b'/');
        let names: Vec<_> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
        Ok(Self(names.join(&b'/').into()))
    }

    /// Takes bytes that are known to be clean, or that only serve as a bound in a search.
    pub(crate) fn from_clean(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for the operating system, relative to wherever the root is.
    #[must_use]
    pub fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names on the way, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty())
    }

    /// The last name; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The folder it is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.folder().into()))
    }

    /// The bytes of the folder it is in; none for what is in the root, and the root.
    pub(crate) fn folder(&self) -> &[u8] {
        folder(&self.0)
    }

    /// The path of a name in this folder. The name must be a single clean component.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        let mut bytes = self.with_slash();
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The path of a clean path below this one.
    #[must_use]
    pub fn join_path(&self, below: &Self) -> Self {
        let mut bytes = if below.is_root() {
            self.0.to_vec()
        } else {
            self.with_slash()
        };
        bytes.extend_from_slice(&below.0);
        Self(bytes.into())
    }

    /// Whether this path is the other or below it.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.is_root() || self == folder || self.0.starts_with(&folder.with_slash())
    }

    /// What all paths strictly below start with; empty for the root.
    pub(crate) fn with_slash(&self) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl std::str::FromStr for TreePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.as_bytes())
    }
}

/// What of a path's bytes names the folder it is in.
pub(crate) fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &path[..end]
}

/// Paths are found by their bytes, whose order is theirs.
impl std::borrow::Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes as text in which `%` and whatever is not UTF-8 stand as `%` and two digits.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' {
                text.push_str("%25");
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

/// The bytes behind an escaped text; `None` if an escape is broken.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        escaped(deserializer, |bytes| {
            Self::new(bytes).map_err(|invalid| invalid.to_string())
        })
    }
}

/// Reads an escaped text, and makes something of its bytes without a copy of them in between
/// where nothing is escaped, which is nearly always.
pub(crate) fn escaped<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    make: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Escaped<T, F>(F, PhantomData<T>);

    impl<T, F: FnOnce(&[u8]) -> Result<T, String>> Visitor<'_> for Escaped<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes as escaped text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            let made = if text.contains('%') {
                unescape(text)
                    .ok_or_else(|| "a broken escape".to_owned())
                    .and_then(|bytes| self.0(&bytes))
            } else {
                self.0(text.as_bytes())
            };
            made.map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Escaped(make, PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_what_is_clean_in_meaning() {
        for (given, meant) in [
            ("./a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./", ""),
            (".", ""),
            ("a/./b", "a/b"),
        ] {
            assert_eq!(
                TreePath::new(given.as_bytes()).expect(given).to_string(),
                meant
            );
        }
        for given in ["..", "a/../b", "a/\0"] {
            assert!(TreePath::new(given.as_bytes()).is_err(), "{given:?}");
        }
    }

    #[test]
    fn any_bytes_survive_as_text() {
        for bytes in [&b"a/%41\xff\xfe/\xc3\xa9"[..], b"", b"100%"] {
            let path = TreePath::new(bytes).expect("clean");
            assert_eq!(
                unescape(&escape(path.as_bytes())).as_deref(),
                Some(path.as_bytes())
            );
        }
        assert_eq!(unescape("%4"), None);
    }

    #[test]
    fn families() {
        let path = TreePath::new(b"a/b/c").expect("clean");
        assert_eq!(path.parent().map(|p| p.to_string()).as_deref(), Some("a/b"));
        assert_eq!(path.name(), Some(&b"c"[..]));
        assert!(path.is_within(&TreePath::root()) && !TreePath::root().is_within(&path));
        assert_eq!(TreePath::root().parent(), None);
    }
}
