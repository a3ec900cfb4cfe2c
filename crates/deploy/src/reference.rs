//! Names of images.

use std::fmt;

use crate::Error;

/// An image's name, canonical: registry and repository, and a tag.
///
/// Engines accept short forms, but keep some of them as they are and then do not find them again;
/// so names are always written out (`desktop` is `docker.io/library/desktop:latest`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Registry and repository: `docker.io/kasmforge/desktop`.
    pub repository: String,
    /// The tag: `latest`.
    pub tag: String,
}

impl Reference {
    /// Reads a reference and writes it out in full.
    ///
    /// # Errors
    /// If it is empty, names a digest, or holds characters an engine refuses.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, tag) = match text.rsplit_once(':') {
            // A colon before the last slash belongs to a registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        let word = |text: &str, also: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        let components: Vec<_> = name.split('/').collect();
        let (registry, path) = match components.as_slice() {
            [registry, rest @ ..] if !rest.is_empty() && is_registry(registry) => (*registry, rest),
            all => ("docker.io", all),
        };
        let fits = word(registry, ".-:")
            && path
                .iter()
                .all(|part| word(part, "._-") && !part.contains(|c: char| c.is_ascii_uppercase()))
            && word(tag, "._-");
        if !fits {
            return Err(Error::InvalidReference {
                reference: text.to_owned(),
            });
        }
        let library = if registry == "docker.io" && path.len() == 1 {
            "library/"
        } else {
            ""
        };
        Ok(Self {
            repository: format!("{registry}/{library}{}", path.join("/")),
            tag: tag.to_owned(),
        })
    }

    /// The last component of the repository.
    pub(crate) fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

fn is_registry(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_out() {
        for (short, full) in [
            ("desktop", "docker.io/library/desktop:latest"),
            ("desktop:1", "docker.io/library/desktop:1"),
            ("kasmforge/desktop", "docker.io/kasmforge/desktop:latest"),
            (
                "docker.io/kasmforge/desktop:x",
                "docker.io/kasmforge/desktop:x",
            ),
            ("localhost/desktop", "localhost/desktop:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("box:5000/a", "box:5000/a:latest"),
        ] {
            let reference = Reference::parse(short).expect(short);
            assert_eq!(reference.to_string(), full);
            assert_eq!(Reference::parse(full).expect(full), reference);
        }
        for wrong in ["", ":x", "a:", "a//b", "Desktop", "a@sha256:00", "a b"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
