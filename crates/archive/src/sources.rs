//! The host's apt sources: where its administrator gets packages from.
//!
//! Both forms that `sources.list(5)` describes are read: deb822 stanzas (`*.sources`) and one-line
//! entries (`sources.list`, `*.list`). They are a hint where a mirror may be, never a reason to
//! trust it: what cannot be read or understood is passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One entry of the host's apt sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AptSource {
    /// The base addresses, of any scheme apt knows; those in the list that a `mirror+file:` names.
    pub uris: Vec<String>,
    /// The suites.
    pub suites: Vec<String>,
    /// The components.
    pub components: Vec<String>,
    /// Who may sign: paths or fingerprints, or a whole key where it is written out.
    pub signed_by: Option<String>,
    /// Whether apt takes it without a signature.
    pub trusted: bool,
    /// All other fields or options, with lower-case names.
    pub options: BTreeMap<String, String>,
}

/// What the host says of its packages' origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// `ID` of os-release: `debian`, `ubuntu`.
    pub id: Option<String>,
    /// `VERSION_CODENAME` of os-release: `bookworm`.
    pub codename: Option<String>,
    /// Its apt sources, in apt's order.
    pub sources: Vec<AptSource>,
}

impl Host {
    /// Reads what the system below a folder says; `/` for the host itself.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let release = ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|path| fs::read_to_string(root.join(path)).ok())
            .unwrap_or_default();
        Self {
            id: os_release(&release, "ID"),
            codename: os_release(&release, "VERSION_CODENAME"),
            sources: host_sources(root),
        }
    }
}

/// A value of os-release, without its quotes.
fn os_release(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    })
}

/// Reads the apt sources of binary packages below a folder, in apt's order; disabled ones are left
/// out.
#[must_use]
pub fn host_sources(root: &Path) -> Vec<AptSource> {
    let folder = root.join("etc/apt/sources.list.d");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_source_file(path))
        .collect();
    paths.sort();
    paths.insert(0, root.join("etc/apt/sources.list"));
    let mut sources = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if path.extension().is_some_and(|ending| ending == "sources") {
            sources.extend(stanzas(&text));
        } else {
            sources.extend(text.lines().filter_map(one_line));
        }
    }
    for source in &mut sources {
        source.uris = std::mem::take(&mut source.uris)
            .into_iter()
            .flat_map(|uri| listed(root, uri))
            .collect();
    }
    sources
}

/// The addresses in the file that a `mirror+file:` address names, one a line with remarks for apt
/// behind it: what many cloud images have. Any other address stands for itself.
fn listed(root: &Path, uri: String) -> Vec<String> {
    let path = uri
        .strip_prefix("mirror+")
        .and_then(crate::address::file_path);
    let Some(path) = path else {
        return vec![uri];
    };
    let path = root.join(path.strip_prefix("/").unwrap_or(&path));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split('#').next()?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Whether apt reads a file of this name: letters, digits, `-`, `_` and `.` only.
fn is_source_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    (name.ends_with(".list") || name.ends_with(".sources"))
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Reads deb822 stanzas.
///
/// Not with `deb`'s reader, which knows no comments and refuses whole files for one bad line.
fn stanzas(text: &str) -> Vec<AptSource> {
    let mut sources = Vec::new();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(source(std::mem::take(&mut fields)));
            last = None;
        } else if line.starts_with([' ', '\t']) {
            // A dot alone stands for an empty line, in a key written out.
            let more = if line.trim() == "." { "" } else { line.trim() };
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(more);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            fields.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    sources
}

/// The meaning of a stanza, if it is an enabled source of binary packages.
fn source(mut fields: BTreeMap<String, String>) -> Option<AptSource> {
    let words =
        |value: String| -> Vec<String> { value.split_whitespace().map(str::to_owned).collect() };
    let mut take = |name: &str| fields.remove(name);
    let enabled = take("enabled").is_none_or(|value| yes(&value));
    let binary = words(take("types")?).iter().any(|kind| kind == "deb");
    let source = AptSource {
        uris: words(take("uris")?),
        suites: words(take("suites")?),
        components: words(take("components").unwrap_or_default()),
        signed_by: take("signed-by").map(|value| value.trim().to_owned()),
        trusted: take("trusted").is_some_and(|value| yes(&value)),
        options: fields,
    };
    (enabled && binary).then_some(source)
}

/// Reads `deb [option=value …] uri suite component…`.
fn one_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next().unwrap_or(line);
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let mut source = AptSource {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        ..AptSource::default()
    };
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        match name.trim_end_matches(['+', '-']) {
            "signed-by" => source.signed_by = Some(value.into()),
            "trusted" => source.trusted = yes(value),
            name => {
                source
                    .options
                    .insert(name.to_ascii_lowercase(), value.into());
            }
        }
    }
    Some(source)
}

/// What apt takes for yes.
fn yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"]
        .iter()
        .any(|word| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_in_apts_order() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        write(
            "etc/os-release",
            "PRETTY_NAME=\"Debian 12\"\nID=debian\nVERSION_CODENAME='bookworm'\n",
        );
        write(
            "etc/apt/sources.list",
            "# deb http://no.test/debian sid main\n\
             deb-src http://no.test/debian sid main\n\
             deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://a.test/debian sid main contrib # x\n\
             debris\n",
        );
        write(
            "etc/apt/sources.list.d/b.sources",
            "Types: deb deb-src\n# a remark\nURIs: http://b.test/debian\n http://c.test/debian\n\
             Suites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n\n\
             Types: deb\nURIs: http://no.test\nSuites: sid\nEnabled: no\n\n\
             Types: deb\nURIs: file:/srv/flat\nSuites: ./\nPDiffs: no\n",
        );
        write(
            "etc/apt/sources.list.d/a.list",
            "deb http://d.test/debian sid main\n",
        );
        write(
            "etc/apt/sources.list.d/a.list.save",
            "deb http://no.test/debian sid main\n",
        );
        write(
            "etc/apt/sources.list.d/c.list",
            "deb mirror+file:/etc/apt/mirrors.txt sid main\n",
        );
        write(
            "etc/apt/mirrors.txt",
            "# near\nhttp://e.test/debian/\tpriority:1\n\nhttp://f.test/debian/\n",
        );
        let host = Host::read(folder.path());
        assert_eq!(host.id.as_deref(), Some("debian"));
        assert_eq!(host.codename.as_deref(), Some("bookworm"));
        let uris: Vec<_> = host
            .sources
            .iter()
            .flat_map(|source| &source.uris)
            .collect();
        assert_eq!(
            uris,
            [
                "http://a.test/debian",
                "http://d.test/debian",
                "http://b.test/debian",
                "http://c.test/debian",
                "file:/srv/flat",
                "http://e.test/debian/",
                "http://f.test/debian/",
            ]
        );
        let first = &host.sources[0];
        assert_eq!(first.components, ["main", "contrib"]);
        assert_eq!(first.signed_by.as_deref(), Some("/k.gpg"));
        assert!(first.trusted);
        assert_eq!(first.options["arch"], "amd64");
        assert_eq!(
            host.sources[2].signed_by.as_deref(),
            Some("-----BEGIN\n\nabc")
        );
        assert_eq!(host.sources[3].options["pdiffs"], "no");
    }
}
