//! What Kasm's registry and API have words of their own for.

use super::network::Url;
use super::numbers::Size;
use super::{Complaint, Word, all, choice, word, words};

words! {
    /// A category of workspaces. Servers show any; `registry build` warns of those no other
    /// registry has.
    Category = "a category", "^[^\\x00-\\x1f]{1,40}$",
        |text| text.trim() == text && text.chars().count() <= 40 && all(text, |c| !c.is_control()),
        "one line of at most 40 characters is wanted, without blanks around it";

    /// A line of Kasm's versions.
    KasmVersion = "a version of Kasm as registries write it", "^[0-9]+\\.[0-9]+\\.x$",
        is_version, "`1.17.x` is the form: two numbers, then `.x`";
}

/// Whether a text is two numbers, then `.x`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| part.len() <= 4 && all(part, |c| c.is_ascii_digit());
    let mut parts = text.split('.');
    parts.next().is_some_and(number)
        && parts.next().is_some_and(number)
        && parts.next() == Some("x")
        && parts.next().is_none()
}

choice! {
    /// How Kasm shares out CPUs.
    CpuAllocation(&'static str) = "a way Kasm shares out CPUs" {
        "Inherit" => "Inherit",
        "Quotas" => "Quotas",
        "Shares" => "Shares",
    }
}

choice! {
    /// An architecture, by the name that Debian and Kasm share.
    ImageArchitecture(&'static str) = "an architecture" {
        "amd64" => "amd64",
        "arm64" => "arm64",
    }
}

/// An amount of memory in whole megabytes, kept in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Megabytes(pub(crate) u64);

impl Word for Megabytes {
    const KIND: &'static str = Size::KIND;
    const PATTERN: &'static str = Size::PATTERN;

    fn read(text: &str) -> Result<Megabytes, Complaint> {
        let Size(bytes) = Size::read(text)?;
        if bytes % (1 << 20) == 0 {
            return Ok(Megabytes(bytes));
        }
        let complaint = Complaint::new("Kasm counts memory in whole MB");
        Err(if text.parse::<u64>().is_ok() {
            complaint.help(format!(
                "a plain number is bytes: did you mean `\"{text}m\"`?"
            ))
        } else {
            complaint.help("write `\"2768m\"` or `\"4g\"`")
        })
    }
}

word!(Megabytes);

/// The address of a registry: what Kasm appends a schema's version to. Kept with a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RegistryUrl(pub(crate) String);

impl Word for RegistryUrl {
    const KIND: &'static str = "the address of a registry";
    const PATTERN: &'static str = Url::PATTERN;

    fn read(text: &str) -> Result<RegistryUrl, Complaint> {
        let Url(url) = Url::read(text)?;
        if url.contains(['?', '#']) {
            return Err(Complaint::new("an address without `?` and `#` is wanted"));
        }
        let plain = url.trim_end_matches('/');
        let plain = plain.strip_suffix("/list.json").unwrap_or(plain);
        let last = plain.rsplit('/').next().unwrap_or_default();
        if plain.len() < url.trim_end_matches('/').len() || matches!(last, "1.0" | "1.1") {
            let root = plain.strip_suffix(last).unwrap_or(plain);
            let root = if matches!(last, "1.0" | "1.1") {
                root
            } else {
                plain
            };
            return Err(
                Complaint::new("Kasm appends the schema's version and `list.json` itself")
                    .help(format!("write `\"{}/\"`", root.trim_end_matches('/'))),
            );
        }
        Ok(RegistryUrl(format!("{plain}/")))
    }
}

word!(RegistryUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_lines() {
        for (text, good) in [
            ("1.17.x", true),
            ("1.9.x", true),
            ("1.17", false),
            ("1.17.0", false),
            ("1.17.x.x", false),
            (".17.x", false),
            ("", false),
        ] {
            assert_eq!(KasmVersion::read(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn memory_is_whole_megabytes() {
        for (text, bytes) in [
            ("2768m", Some(2768 << 20)),
            ("4g", Some(4 << 30)),
            ("2768", None),
            ("1k", None),
        ] {
            assert_eq!(
                Megabytes::read(text).ok().map(|size| size.0),
                bytes,
                "{text}"
            );
        }
    }

    #[test]
    fn a_registry_is_named_by_its_root() {
        for (text, url) in [
            ("https://r.example/", Some("https://r.example/")),
            ("https://r.example/a", Some("https://r.example/a/")),
            ("https://r.example/a//", Some("https://r.example/a/")),
            ("https://r.example/1.1/", None),
            ("https://r.example/1.0/list.json", None),
            ("https://r.example/list.json", None),
            ("https://r.example/?a", None),
            ("r.example", None),
        ] {
            assert_eq!(
                RegistryUrl::read(text).ok().map(|url| url.0).as_deref(),
                url,
                "{text}"
            );
        }
    }
}
