//! The ids of images, users and sessions.

use std::fmt;

/// A UUID, written by some endpoints with dashes and by others without; kept without.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Reads an id in either manner; `None` if it is no UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text
            .trim()
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let is_id = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(Self(digits))
    }

    /// The id that nothing has.
    pub(crate) fn nil() -> Self {
        Self("0".repeat(32))
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn dashes_do_not_matter() {
        let with = Id::parse("01366DF3-a03b-4bcc-bb8c-913846594826");
        assert_eq!(with, Id::parse("01366df3a03b4bccbb8c913846594826"));
        assert!(with.is_some());
        for wrong in [
            "",
            "desktop",
            "01366df3a03b4bccbb8c91384659482",
            "g1366df3a03b4bccbb8c913846594826",
        ] {
            assert_eq!(Id::parse(wrong), None, "{wrong}");
        }
    }
}
