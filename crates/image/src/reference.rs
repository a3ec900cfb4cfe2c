//! Names of images: a repository and a tag.

use std::fmt;
use std::str::FromStr;

/// A repository and a tag, brought into canonical form as Docker's distribution/reference does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: String,
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of an image like kasmforge/desktop:latest: {why}")]
pub struct InvalidReference {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The registry that a name without one means.
const DEFAULT_DOMAIN: &str = "docker.io";

impl Reference {
    /// The full form: `docker.io/kasmforge/desktop:latest`.
    #[must_use]
    pub fn canonical(&self) -> String {
        let library = if self.domain == DEFAULT_DOMAIN && !self.path.contains('/') {
            "library/"
        } else {
            ""
        };
        format!("{}/{library}{}:{}", self.domain, self.path, self.tag)
    }

    /// The form people write: `kasmforge/desktop:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        if self.domain == DEFAULT_DOMAIN {
            format!("{}:{}", self.path, self.tag)
        } else {
            format!("{}/{}:{}", self.domain, self.path, self.tag)
        }
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            Err(InvalidReference {
                text: text.into(),
                why,
            })
        };
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest)
            }
            _ => (DEFAULT_DOMAIN, name),
        };
        let path = match path.strip_prefix("library/") {
            Some(rest) if domain == DEFAULT_DOMAIN && !rest.contains('/') => rest,
            _ => path,
        };
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !path.split('/').all(word) {
            return refuse("a repository has lower-case letters, digits, `.`, `_`, `-` and `/`");
        }
        let tag_byte = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if tag.is_empty()
            || tag.len() > 128
            || !tag.bytes().all(tag_byte)
            || tag.starts_with(['.', '-'])
        {
            return refuse("a tag has up to 128 letters, digits, `.`, `_` and `-`");
        }
        Ok(Self {
            domain: domain.into(),
            path: path.into(),
            tag: tag.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_canonical() {
        for (text, canonical, familiar) in [
            (
                "desktop",
                "docker.io/library/desktop:latest",
                "desktop:latest",
            ),
            (
                "kasmforge/desktop:1",
                "docker.io/kasmforge/desktop:1",
                "kasmforge/desktop:1",
            ),
            (
                "localhost:5000/x",
                "localhost:5000/x:latest",
                "localhost:5000/x:latest",
            ),
            (
                "example.org/a/b:t",
                "example.org/a/b:t",
                "example.org/a/b:t",
            ),
            ("docker.io/library/x:t", "docker.io/library/x:t", "x:t"),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.canonical(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
        for text in ["", "Upper", "a:", "a//b", "a:.x", "-a", "a b"] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
