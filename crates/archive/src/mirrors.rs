//! Which mirrors serve a distribution.
//!
//! A lock names no mirror; each machine has its own. [`Mirrors::find`] takes the first of these
//! that says anything, and all addresses it says:
//!
//! 1. `--mirror`;
//! 2. the variable `KASMFORGE_MIRROR`;
//! 3. the user's settings file;
//! 4. the host's apt sources, where they are of the same distribution;
//! 5. an address built into the program, where its packager set one.
//!
//! The first three are lists of base addresses, separated by blanks or commas. A base whose last
//! folders are called `…-security`, or one written `security=ADDRESS`, serves the security suites;
//! the others serve all the rest. Where no security base is given, it is made from the main ones:
//! a folder `debian` becomes its sibling `debian-security`, as Debian's mirrors have it, and any
//! other base serves both, as Ubuntu's do.
//!
//! Host sources need not be of the suite that is wanted: a bookworm host fetches trixie from where
//! it gets its own packages. An entry counts when apt checks it with the distribution's own keys
//! (or says nothing of keys), has the component `main`, and either lies in a folder named after
//! the distribution or is of the host's own release.

use crate::sources::{AptSource, Host};
use crate::{Error, address};

/// The endings of the suites a distribution has beside its release.
const COMPANIONS: [&str; 5] = [
    "-updates",
    "-backports",
    "-proposed-updates",
    "-proposed",
    "-security",
];

/// Where the addresses of mirrors were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Named on the command line.
    CommandLine,
    /// Named in KASMFORGE_MIRROR.
    Environment,
    /// Named in the settings file.
    Settings,
    /// Found in the host's apt sources.
    Host,
    /// Built into the program.
    BuiltIn,
}

/// What may name a mirror, in the order of its weight.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// The values of `--mirror`.
    pub command_line: &'a [String],
    /// The value of `KASMFORGE_MIRROR`.
    pub environment: Option<&'a str>,
    /// The value in the settings file.
    pub settings: Option<&'a str>,
    /// The host.
    pub host: Option<&'a Host>,
    /// The address built into the program.
    pub built_in: Option<&'a str>,
}

/// The mirrors of one distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The base addresses of the main archive, the best first; never empty.
    pub main: Vec<String>,
    /// The base addresses of the security archive, the best first; never empty.
    pub security: Vec<String>,
    /// Where they were found.
    pub origin: Origin,
}

impl Mirrors {
    /// Finds the mirrors of a distribution, named as os-release's `ID` does: `debian`.
    ///
    /// # Errors
    /// When nobody names one, or what is named is no address.
    pub fn find(distribution: &str, choice: Choice<'_>) -> Result<Self, Error> {
        let joined = choice.command_line.join(" ");
        let written = [
            (Origin::CommandLine, Some(joined.as_str())),
            (Origin::Environment, choice.environment),
            (Origin::Settings, choice.settings),
        ];
        for (origin, text) in written {
            if let Some(mirrors) = Self::parse(text.unwrap_or_default(), origin)? {
                return Ok(mirrors);
            }
        }
        if let Some(mirrors) = choice.host.and_then(|host| of_host(distribution, host)) {
            return Ok(mirrors);
        }
        Self::parse(choice.built_in.unwrap_or_default(), Origin::BuiltIn)?.ok_or_else(|| {
            Error::NoMirror {
                distribution: distribution.into(),
            }
        })
    }

    /// Reads a list of base addresses; `None` where it is empty.
    fn parse(text: &str, origin: Origin) -> Result<Option<Self>, Error> {
        let mut main = Vec::new();
        let mut security = Vec::new();
        for word in text
            .split([' ', '\t', '\n', ','])
            .filter(|word| !word.is_empty())
        {
            match word.strip_prefix("security=") {
                Some(word) => push(&mut security, address::base(word)?),
                None => {
                    let base = address::base(word)?;
                    if is_security(&base) {
                        push(&mut security, base);
                    } else {
                        push(&mut main, base);
                    }
                }
            }
        }
        if main.is_empty() && !security.is_empty() {
            return Err(Error::Address {
                address: text.into(),
                why: "it names a security archive, and no main one",
            });
        }
        Ok(Self::of(main, security, origin))
    }

    fn of(main: Vec<String>, security: Vec<String>, origin: Origin) -> Option<Self> {
        if main.is_empty() {
            return None;
        }
        let security = if security.is_empty() {
            main.iter().map(|base| security_of(base)).collect()
        } else {
            security
        };
        Some(Self {
            main,
            security,
            origin,
        })
    }

    /// The base addresses for a suite of the distribution.
    #[must_use]
    pub fn for_suite(&self, suite: &str) -> &[String] {
        // `buster/updates` is how Debian's security suites were called before bullseye.
        if suite.ends_with("-security") || suite.ends_with("/updates") {
            &self.security
        } else {
            &self.main
        }
    }
}

fn push(list: &mut Vec<String>, base: String) {
    if !list.contains(&base) {
        list.push(base);
    }
}

/// The folders of an address.
fn folders(base: &str) -> impl Iterator<Item = &str> {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.split('/').skip(1)
}

fn is_security(base: &str) -> bool {
    folders(base).any(|folder| folder.ends_with("-security") || folder == "security")
}

/// Where the security archive of a main one should be.
///
/// The last folder called `debian` counts, not the last folder: snapshots have their date behind.
fn security_of(base: &str) -> String {
    let start = base.find("://").map_or(0, |at| at + 3);
    let parts: Vec<_> = base[start..].split('/').collect();
    let Some(at) = parts.iter().skip(1).rposition(|part| *part == "debian") else {
        return base.to_owned();
    };
    let mut parts: Vec<_> = parts.into_iter().map(str::to_owned).collect();
    parts[at + 1].push_str("-security");
    format!("{}{}", &base[..start], parts.join("/"))
}

/// The mirrors in a host's apt sources.
fn of_host(distribution: &str, host: &Host) -> Option<Mirrors> {
    let mut main = Vec::new();
    let mut security = Vec::new();
    for source in &host.sources {
        if !signed_by(source, distribution) || !source.components.iter().any(|c| c == "main") {
            continue;
        }
        for uri in &source.uris {
            // `cdrom:`, `mirror+http:` and other things that only apt can read.
            let Ok(base) = address::base(uri) else {
                continue;
            };
            let named = folders(&base).any(|folder| {
                folder == distribution
                    || folder
                        .strip_prefix(distribution)
                        .is_some_and(|rest| rest == "-security")
            });
            for suite in &source.suites {
                if !named && !is_own(suite, distribution, host) {
                    continue;
                }
                if suite.ends_with("-security") || suite.ends_with("/updates") {
                    push(&mut security, base.clone());
                } else {
                    push(&mut main, base.clone());
                }
            }
        }
    }
    Mirrors::of(main, security, Origin::Host)
}

/// Whether a suite is of the host's own release.
fn is_own(suite: &str, distribution: &str, host: &Host) -> bool {
    let Some(codename) = host.codename.as_deref() else {
        return false;
    };
    host.id.as_deref() == Some(distribution)
        && suite
            .strip_prefix(codename)
            .is_some_and(|rest| rest.is_empty() || COMPANIONS.contains(&rest))
}

/// Whether apt checks an entry with the distribution's own keys, or says nothing of keys.
fn signed_by(source: &AptSource, distribution: &str) -> bool {
    source.signed_by.as_deref().is_none_or(|keys| {
        keys.split([',', ' ', '\n']).any(|key| {
            let name = key.rsplit('/').next().unwrap_or(key);
            name.starts_with(&format!("{distribution}-archive"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Mirrors {
        let choice = Choice {
            environment: Some(text),
            ..Choice::default()
        };
        Mirrors::find("debian", choice).expect("a mirror")
    }

    #[test]
    fn a_value_may_name_main_and_security() {
        for (text, main, security) in [
            (
                "http://a.test/debian/",
                "http://a.test/debian",
                "http://a.test/debian-security",
            ),
            (
                "http://a.test/ubuntu",
                "http://a.test/ubuntu",
                "http://a.test/ubuntu",
            ),
            (
                "http://debian.test",
                "http://debian.test",
                "http://debian.test",
            ),
            (
                "http://a.test/x, http://a.test/x-security",
                "http://a.test/x",
                "http://a.test/x-security",
            ),
            (
                "http://a.test/x security=http://b.test/y",
                "http://a.test/x",
                "http://b.test/y",
            ),
            (
                "https://a.test/archive/debian/20260101T000000Z",
                "https://a.test/archive/debian/20260101T000000Z",
                "https://a.test/archive/debian-security/20260101T000000Z",
            ),
            (
                "file:/srv/debian",
                "file:/srv/debian",
                "file:/srv/debian-security",
            ),
        ] {
            let mirrors = written(text);
            assert_eq!(mirrors.for_suite("trixie-updates"), [main], "{text}");
            assert_eq!(mirrors.for_suite("trixie-security"), [security], "{text}");
        }
    }

    #[test]
    fn the_first_that_says_anything_wins() {
        let line = [
            "http://a.test/debian".to_owned(),
            "http://b.test/debian".to_owned(),
        ];
        let mut choice = Choice {
            command_line: &line,
            environment: Some("http://c.test/debian"),
            settings: Some(" "),
            built_in: Some("http://d.test/debian"),
            ..Choice::default()
        };
        let find = |choice| Mirrors::find("debian", choice).map(|found| (found.origin, found.main));
        assert_eq!(
            find(choice).expect("two"),
            (Origin::CommandLine, line.to_vec())
        );
        choice.command_line = &[];
        assert_eq!(find(choice).expect("one").0, Origin::Environment);
        choice.environment = None;
        assert_eq!(find(choice).expect("one").0, Origin::BuiltIn);
        choice.built_in = None;
        assert!(matches!(find(choice), Err(Error::NoMirror { .. })));
        choice.settings = Some("mirror.test");
        assert!(matches!(find(choice), Err(Error::Address { .. })));
        choice.settings = Some("http://a.test/debian-security");
        assert!(matches!(find(choice), Err(Error::Address { .. })));
    }

    #[test]
    fn host_sources_of_other_vendors_are_not_mirrors() {
        let source =
            |uri: &str, suites: &str, components: &str, signed_by: Option<&str>| AptSource {
                uris: vec![uri.into()],
                suites: suites.split(' ').map(str::to_owned).collect(),
                components: vec![components.into()],
                signed_by: signed_by.map(str::to_owned),
                ..AptSource::default()
            };
        let own = Some("/usr/share/keyrings/debian-archive-keyring.gpg");
        let host = Host {
            id: Some("debian".into()),
            codename: Some("bookworm".into()),
            sources: vec![
                // Vendors with a folder `debian`, and with the host's suite.
                source(
                    "https://vendor.test/debian",
                    "bookworm",
                    "main",
                    Some("/etc/apt/keyrings/vendor.gpg"),
                ),
                source(
                    "https://vendor.test/linux/debian",
                    "bookworm",
                    "stable",
                    None,
                ),
                source("https://vendor.test/apt", "vendor-bookworm", "main", None),
                source("cdrom:[Debian 12]/", "bookworm", "main", None),
                source(
                    "http://corporate.test/deb-main",
                    "bookworm bookworm-updates",
                    "main",
                    None,
                ),
                source("http://a.test/debian", "bookworm", "main", own),
                source(
                    "http://a.test/debian-security",
                    "bookworm-security",
                    "main",
                    own,
                ),
            ],
        };
        let choice = Choice {
            host: Some(&host),
            ..Choice::default()
        };
        let mirrors = Mirrors::find("debian", choice).expect("two");
        assert_eq!(
            mirrors.main,
            ["http://corporate.test/deb-main", "http://a.test/debian"]
        );
        assert_eq!(mirrors.security, ["http://a.test/debian-security"]);
        assert!(Mirrors::find("ubuntu", choice).is_err());
    }

    #[test]
    fn one_base_serves_all_of_ubuntu() {
        let host = Host {
            id: Some("ubuntu".into()),
            codename: Some("noble".into()),
            sources: vec![AptSource {
                uris: vec!["http://a.test/ubuntu/".into()],
                suites: ["noble", "noble-updates", "noble-security"]
                    .map(str::to_owned)
                    .into(),
                components: vec!["main".into(), "universe".into()],
                ..AptSource::default()
            }],
        };
        let choice = Choice {
            host: Some(&host),
            ..Choice::default()
        };
        let mirrors = Mirrors::find("ubuntu", choice).expect("one");
        assert_eq!(mirrors.main, ["http://a.test/ubuntu"]);
        assert_eq!(mirrors.security, mirrors.main);
        assert!(Mirrors::find("debian", choice).is_err());
    }
}
