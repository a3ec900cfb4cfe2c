//! What Debian's changelogs say of the versions between two.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use kasmforge_deb::Version;
use kasmforge_deb::archive::{DebError, DebReader, EntryKind};

/// The longest changelog read, in bytes, unpacked: the kernel's has 8 MB.
const LONGEST: u64 = 32 << 20;

/// The entries of a package's changelog that are later than a version, newest first; `None` where
/// the package has none of its own.
pub(crate) fn since(deb: &Path, version: &str) -> anyhow::Result<Option<String>> {
    let file = File::open(deb).with_context(|| format!("cannot read {}", deb.display()))?;
    let reader = DebReader::open(BufReader::with_capacity(128 << 10, file))?;
    let mut found: Option<Vec<u8>> = None;
    reader.data(|entry| -> Result<(), DebError> {
        if entry.kind != EntryKind::File || !is_changelog(&entry.path) {
            return Ok(());
        }
        // Debian's own goes before that of the people upstream.
        let debians = entry.path.ends_with(b"changelog.Debian.gz");
        if found.is_none() || debians {
            let mut bytes = Vec::new();
            let read = entry.by_ref().take(LONGEST).read_to_end(&mut bytes);
            read.map_err(|source| entry.damaged(source))?;
            found = Some(bytes);
        }
        Ok(())
    })?;
    let Some(packed) = found else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    MultiGzDecoder::new(&*packed)
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .context("it cannot be decompressed")?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(entries(&text, version))
}

/// Whether a path is of a package's changelog, in Debian's form (policy 12.7).
fn is_changelog(path: &[u8]) -> bool {
    path.starts_with(b"usr/share/doc/")
        && path.iter().filter(|&&byte| byte == b'/').count() == 4
        && (path.ends_with(b"/changelog.Debian.gz") || path.ends_with(b"/changelog.gz"))
}

/// The entries of a changelog (deb-changelog(5)) down to a version.
fn entries(text: &str, version: &str) -> Option<String> {
    let known: Option<Version> = version.parse().ok();
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(found) = heading(line) {
            let found: Option<Version> = found.parse().ok();
            if found.is_none() || found <= known {
                break;
            }
        } else if kept.is_empty() {
            // What stands before the first heading, and is no changelog of Debian's.
            if !line.trim().is_empty() {
                return None;
            }
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    let kept = kept.trim_end();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// The version in an entry's first line: `source (version) suites; urgency=…`.
fn heading(line: &str) -> Option<&str> {
    if line.starts_with([' ', '\t']) {
        return None;
    }
    let (_, rest) = line.split_once(" (")?;
    let (version, rest) = rest.split_once(')')?;
    rest.contains(';').then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
foo (1.2-3+deb13u2) trixie-security; urgency=high

  * Mends CVE-1.

 -- A <a@example.org>  Sat, 10 Jun 2023 08:00:00 +0000

foo (1.2-3+deb13u1) trixie; urgency=medium

  * Mends another (see 1.2); yes.

 -- A <a@example.org>  Fri, 09 Jun 2023 08:00:00 +0000

foo (1.2-3) unstable; urgency=medium

  * New.

 -- A <a@example.org>  Thu, 08 Jun 2023 08:00:00 +0000
";

    #[test]
    fn entries_between_two_versions_are_kept() {
        let newer = entries(TEXT, "1.2-3+deb13u1").expect("one");
        assert!(
            newer.contains("CVE-1") && !newer.contains("another"),
            "{newer}"
        );
        let both = entries(TEXT, "1.2-3").expect("two");
        assert!(both.contains("another") && !both.contains("New"), "{both}");
        assert_eq!(entries(TEXT, "1.2-3+deb13u2"), None);
        assert_eq!(entries("Version 1.0\n\n* upstream's own\n", "0"), None);
    }

    #[test]
    fn changelogs_have_their_places() {
        for (path, is) in [
            ("usr/share/doc/foo/changelog.Debian.gz", true),
            ("usr/share/doc/foo/changelog.gz", true),
            ("usr/share/doc/foo/examples/changelog.gz", false),
            ("usr/share/foo/changelog.gz", false),
        ] {
            assert_eq!(is_changelog(path.as_bytes()), is, "{path}");
        }
    }
}
