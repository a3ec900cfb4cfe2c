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

/// What it was once called, and still is in some files.
const OLD_DEFAULT_DOMAIN: &str = "index.docker.io";

/// The most letters of registry and repository that clients agree on.
const LONGEST_NAME: usize = 255;

impl Reference {
    /// The full form: `docker.io/kasmforge/desktop:latest`.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}:{}", self.domain, self.repository(), self.tag)
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

    /// The registry: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.domain
    }

    /// The repository as its registry knows it: `library/debian`.
    #[must_use]
    pub fn repository(&self) -> String {
        if self.domain == DEFAULT_DOMAIN && !self.path.contains('/') {
            format!("library/{}", self.path)
        } else {
            self.path.clone()
        }
    }

    /// Whether a text names a tag, and does not mean `latest` by naming none.
    #[must_use]
    pub fn names_a_tag(text: &str) -> bool {
        text.rsplit_once(':')
            .is_some_and(|(_, tag)| !tag.contains('/'))
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

/// Whether a text is a host, perhaps with a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let label = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    (address || host.split('.').all(label))
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether a text is a part of a repository's name, as the distribution specification has it:
/// small letters and digits, with one dot, one or two underscores or any number of dashes between.
fn is_word(part: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut between = String::new();
    let mut begun = false;
    for byte in part.bytes() {
        if letter(byte) {
            let joined = match between.as_str() {
                "" => true,
                "." | "_" | "__" => begun,
                dashes => begun && dashes.bytes().all(|b| b == b'-'),
            };
            if !joined {
                return false;
            }
            between.clear();
            begun = true;
        } else if b"._-".contains(&byte) {
            between.push(char::from(byte));
        } else {
            return false;
        }
    }
    begun && between.is_empty()
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
        let domain = match domain {
            OLD_DEFAULT_DOMAIN => DEFAULT_DOMAIN,
            other => other,
        };
        let path = match path.strip_prefix("library/") {
            Some(rest) if domain == DEFAULT_DOMAIN && !rest.contains('/') => rest,
            _ => path,
        };
        if text.contains('@') {
            return refuse("an image gets its digest from what it is; name a tag");
        }
        if !is_registry(domain) {
            return refuse("a registry is a host, perhaps with a port");
        }
        if !path.split('/').all(is_word) {
            return refuse("a repository has lower-case letters, digits, `.`, `_`, `-` and `/`");
        }
        if domain.len() + path.len() >= LONGEST_NAME {
            return refuse("registry and repository have up to 255 letters together");
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
            ("[::1]:5000/x:t", "[::1]:5000/x:t", "[::1]:5000/x:t"),
            (
                "a__b/c---d.e",
                "docker.io/a__b/c---d.e:latest",
                "a__b/c---d.e:latest",
            ),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.canonical(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
        for text in [
            "",
            "Upper",
            "a:",
            "a//b",
            "a:.x",
            "-a",
            "a b",
            "a..b",
            "a_-b",
            "a___b",
            "a@sha256:00",
            "exam ple.org/x",
            "example.org:0/x",
            "example.org:99999/x",
            "-a.org/x",
            "[::x]:5/x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
