//! Which versions go before others, or are not taken at all.

use crate::universe::{PackageId, Universe};

/// A rule about versions of some packages, as apt's preferences have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The packages' names, or patterns in which `*` stands for any characters.
    pub packages: Vec<String>,
    /// Which versions are meant.
    pub to: PinTo,
    /// What they count instead of their archive's priority. None that is not above 0 is ever taken.
    pub priority: i32,
}

/// Which versions a pin means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinTo {
    /// Those in archives of a suite.
    Suite(String),
    /// Those that match a pattern: `128.*`.
    Version(String),
    /// All.
    Any,
}

impl Pin {
    /// The priority of what must not be taken.
    pub const NEVER: i32 = -1;

    /// The priority of what is pinned without saying how much it counts: above every archive, as
    /// apt's own default for a target release.
    pub const DEFAULT: i32 = 990;

    pub(crate) fn names(&self, name: &str) -> bool {
        self.packages.iter().any(|pattern| matches(pattern, name))
    }

    pub(crate) fn means(&self, universe: &Universe, id: PackageId) -> bool {
        match &self.to {
            PinTo::Any => true,
            PinTo::Suite(suite) => universe.is_of_suite(id, suite),
            PinTo::Version(pattern) => matches(pattern, universe.package(id).version().as_str()),
        }
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("128.*", "128.5.0esr-1", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
