//! Debian's policy beside apt itself: small archives written by hand, on which apt and the resolver
//! must choose the same. Needs apt, and no network.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use kasmforge_digest::Digest;
use kasmforge_resolve::{Archive, Pin, PinTo, Request, Stage, Universe, resolve};

mod common;

use common::index;

/// One archive: its suite, what its Release file says besides, and its packages.
type Written<'a> = (&'a str, &'a str, &'a str);

/// What is asked, of whom.
struct Case<'a> {
    archives: &'a [Written<'a>],
    native: &'a str,
    foreign: &'a [&'a str],
    pins: &'a [Pin],
    recommends: bool,
}

impl<'a> Case<'a> {
    fn of(archives: &'a [Written<'a>]) -> Self {
        Self {
            archives,
            native: "amd64",
            foreign: &[],
            pins: &[],
            recommends: false,
        }
    }

    /// Asks both; they must say the same, which is given: `name version`, with a foreign
    /// architecture, or nothing if they refuse.
    fn chosen(&self, requests: &[&str]) -> Option<BTreeSet<String>> {
        let (apts, ours) = (self.apts(requests), self.ours(requests));
        assert_eq!(ours, apts, "ours and apt's for {requests:?}");
        ours
    }

    fn apts(&self, requests: &[&str]) -> Option<BTreeSet<String>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        let mut sources = String::new();
        for (suite, says, lines) in self.archives {
            let stanzas: String = index(lines)
                .split("\n\n")
                .filter(|stanza| !stanza.is_empty())
                .map(|stanza| {
                    format!(
                        "{}\nFilename: ./{}.deb\nSize: 1\nSHA256: {}\n\n",
                        stanza.trim_end(),
                        Digest::of(stanza.as_bytes()).hex(),
                        Digest::of(stanza.as_bytes()).hex(),
                    )
                })
                .collect();
            write(&format!("{suite}/Packages"), &stanzas);
            write(
                &format!("{suite}/Release"),
                &format!(
                    "Suite: {suite}\nCodename: {suite}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n{says}\
                     SHA256:\n {} {} Packages\n",
                    Digest::of(stanzas.as_bytes()).hex(),
                    stanzas.len(),
                ),
            );
            let folder = root.join(suite);
            sources += &format!("deb [trusted=yes] file:{} ./\n", folder.display());
        }
        write("sources.list", &sources);
        write("status", "");
        let pins = self.pins.iter().map(preference).collect::<Vec<_>>();
        write("preferences", &pins.join("\n"));
        for name in ["lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(root.join(name)).expect("a folder");
        }
        write("apt.conf", &self.settings(root));
        let apt = |arguments: &[&str]| {
            Command::new("apt-get")
                .env("APT_CONFIG", root.join("apt.conf"))
                .env("LC_ALL", "C.UTF-8")
                .arg("-q")
                .args(arguments)
                .output()
                .expect("apt is installed")
        };
        let update = apt(&["update"]);
        let told = String::from_utf8_lossy(&update.stderr).into_owned();
        assert!(update.status.success() && !told.contains("W:"), "{told}");
        let flag = if self.recommends {
            "--install-recommends"
        } else {
            "--no-install-recommends"
        };
        let install = [&["-y", flag, "--print-uris", "install"], requests].concat();
        let output = apt(&install);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then(|| {
            text.lines()
                .filter(|line| line.starts_with('\''))
                .filter_map(|line| line.split(' ').nth(1))
                .map(|file| {
                    let mut parts = file.trim_end_matches(".deb").split('_');
                    let mut next = || parts.next().unwrap_or_default().to_owned();
                    let (name, version, architecture) = (next(), next(), next());
                    self.shown(&name, &version.replace("%3a", ":"), &architecture)
                })
                .collect()
        })
    }

    fn settings(&self, root: &Path) -> String {
        let mut text = String::new();
        for (key, value) in [
            ("Dir::State", ""),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Log", "log"),
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "none"),
            ("Dir::Etc::preferences", "preferences"),
            ("Dir::Etc::preferencesparts", "none"),
            ("Dir::Etc::parts", "none"),
        ] {
            text += &format!("{key} \"{}\";\n", root.join(value).display());
        }
        text += &format!("APT::Architecture \"{}\";\n", self.native);
        for architecture in std::iter::once(&self.native).chain(self.foreign) {
            text += &format!("APT::Architectures:: \"{architecture}\";\n");
        }
        text + "Dir::Etc::main \"/dev/null\";\nAPT::Sandbox::User \"root\";\n\
                Acquire::Languages \"none\";\nAcquire::AllowInsecureRepositories \"true\";\n"
    }

    fn ours(&self, requests: &[&str]) -> Option<BTreeSet<String>> {
        let mut universe = Universe::new(self.native);
        for (suite, says, lines) in self.archives {
            let archive = universe.add_archive(Archive {
                name: (*suite).into(),
                suite: (*suite).into(),
                priority: match (says.contains("NotAutomatic"), says.contains("ButAuto")) {
                    (false, _) => Archive::AUTOMATIC,
                    (true, true) => Archive::BUT_AUTOMATIC_UPGRADES,
                    (true, false) => Archive::NOT_AUTOMATIC,
                },
            });
            universe
                .add_index(archive, index(lines))
                .expect("a good index");
        }
        let requests: Vec<Request> = requests
            .iter()
            .map(|request| request.parse().expect("a request"))
            .collect();
        let stage = Stage {
            requests: &requests,
            recommends: self.recommends,
            pins: self.pins,
            ..Stage::default()
        };
        let solution = resolve(&universe, &stage).ok()?;
        let packages = solution.packages.iter().map(|chosen| &chosen.stanza);
        Some(
            packages
                .map(|stanza| {
                    let version = stanza.version.as_str();
                    self.shown(&stanza.name, version, &stanza.architecture)
                })
                .collect(),
        )
    }

    fn shown(&self, name: &str, version: &str, architecture: &str) -> String {
        if architecture == self.native || architecture == "all" {
            format!("{name} {version}")
        } else {
            format!("{name}:{architecture} {version}")
        }
    }
}

fn preference(pin: &Pin) -> String {
    let to = match &pin.to {
        PinTo::Any => "version *".to_owned(),
        PinTo::Suite(suite) => format!("release n={suite}"),
        PinTo::Version(pattern) => format!("version {pattern}"),
    };
    format!(
        "Package: {}\nPin: {to}\nPin-Priority: {}\n",
        pin.packages.join(" "),
        pin.priority
    )
}

fn some(packages: &[&str]) -> Option<BTreeSet<String>> {
    Some(packages.iter().map(ToString::to_string).collect())
}

#[test]
fn relations() {
    let lines = "
        app; Depends: missing | second, versioned (>= 2)
        second
        provider; Provides: versioned (= 2.1)
        other; Provides: versioned
        mta-user; Depends: mta
        exim; Provides: mta; Conflicts: mta; Priority: standard
        postfix; Provides: mta; Conflicts: mta; Priority: optional
        rival; Conflicts: app (<< 2)
        breaker; Breaks: second (= 1)
        early 1:1~rc1; Pre-Depends: second
        early 1:1~~beta
        tied; Depends: early (>= 1:1~~beta), early (<< 1:1)
        chain; Recommends: exim, postfix, missing; Suggests: second";
    let archives = [("trixie", "", lines)];
    let mut case = Case::of(&archives);
    assert_eq!(
        case.chosen(&["app"]),
        some(&["app 1", "provider 1", "second 1"])
    );
    assert_eq!(case.chosen(&["mta-user"]), some(&["exim 1", "mta-user 1"]));
    assert_eq!(
        case.chosen(&["mta-user", "postfix"]),
        some(&["mta-user 1", "postfix 1"])
    );
    assert_eq!(case.chosen(&["exim", "postfix"]), None);
    assert_eq!(case.chosen(&["app", "rival"]), None);
    assert_eq!(case.chosen(&["app", "breaker"]), None);
    assert_eq!(case.chosen(&["mta"]), None);
    assert_eq!(
        case.chosen(&["tied"]),
        some(&["early 1:1~rc1", "second 1", "tied 1"])
    );
    case.recommends = true;
    // The second recommendation takes the place of the first, which nothing needs.
    assert_eq!(case.chosen(&["chain"]), some(&["chain 1", "postfix 1"]));
}

#[test]
fn priorities() {
    let lines = "
        base; Priority: required; Depends: below
        below; Priority: optional
        login; Priority: required; Conflicts: rival
        editor; Priority: important
        mail; Priority: standard
        rival; Priority: extra
        app; Depends: editor";
    let archives = [("trixie", "", lines)];
    let case = Case::of(&archives);
    assert_eq!(
        case.chosen(&["?priority(required)"]),
        some(&["base 1", "below 1", "login 1"])
    );
    assert_eq!(
        case.chosen(&["?priority(required)", "?priority(important)", "app"]),
        some(&["app 1", "base 1", "below 1", "editor 1", "login 1"])
    );
    assert_eq!(case.chosen(&["?priority(standard)"]), some(&["mail 1"]));
    assert_eq!(case.chosen(&["?priority(required)", "rival"]), None);
}

#[test]
fn pins() {
    let archives = [
        (
            "trixie",
            "",
            "app 1; Depends: lib, tool\nlib 1\ntool 1\nextra 1; Recommends: tool",
        ),
        ("trixie-security", "", "lib 1.1\ntool 1.2"),
        (
            "trixie-backports",
            "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
            "app 2; Depends: lib (>= 1), tool\nlib 2\ntool 2",
        ),
        ("experimental", "NotAutomatic: yes\n", "app 3\nnew 3"),
    ];
    let pin = |packages: &[&str], to: PinTo, priority: i32| Pin {
        packages: packages.iter().map(ToString::to_string).collect(),
        to,
        priority,
    };
    let suite = |suite: &str| PinTo::Suite(suite.into());
    let version = |pattern: &str| PinTo::Version(pattern.into());
    let chosen = |pins: &[Pin], recommends: bool, requests: &[&str]| {
        Case {
            pins,
            recommends,
            ..Case::of(&archives)
        }
        .chosen(requests)
    };
    let default = Pin::DEFAULT;
    assert_eq!(
        chosen(&[], false, &["app"]),
        some(&["app 1", "lib 1.1", "tool 1.2"])
    );
    // Whoever asks for a version or a suite has it, and a package that is nowhere else.
    assert_eq!(
        chosen(&[], false, &["app/trixie-backports"]),
        some(&["app 2", "lib 1.1", "tool 1.2"])
    );
    assert_eq!(
        chosen(&[], false, &["app=3", "new"]),
        some(&["app 3", "new 3"])
    );
    let pins = [
        pin(&["app"], suite("trixie-backports"), default),
        pin(&["li*"], version("1"), default),
        pin(&["*"], suite("trixie-security"), 100),
    ];
    assert_eq!(
        chosen(&pins, false, &["app"]),
        some(&["app 2", "lib 1", "tool 1"])
    );
    // The first pin that means a version counts.
    let pins = [
        pin(&["tool"], version("1.*"), 400),
        pin(&["tool"], suite("trixie-security"), default),
    ];
    assert_eq!(chosen(&pins, false, &["tool"]), some(&["tool 1"]));
    let never = [pin(&["tool"], PinTo::Any, Pin::NEVER)];
    assert_eq!(chosen(&never, true, &["extra"]), some(&["extra 1"]));
    assert_eq!(chosen(&never, false, &["app"]), None);
    assert_eq!(chosen(&never, false, &["tool"]), None);
}

#[test]
fn a_version_that_needs_more_of_its_suite_gets_it() {
    let archives = [
        ("trixie", "", "app 1\nlib 1"),
        (
            "trixie-backports",
            "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
            "app 2; Depends: lib (>= 2)\nlib 2",
        ),
    ];
    let case = Case::of(&archives);
    assert_eq!(
        case.chosen(&["app/trixie-backports"]),
        some(&["app 2", "lib 2"])
    );
    // By version, apt refuses; there is a solution, and we take it.
    assert_eq!(case.apts(&["app=2"]), None);
    assert_eq!(case.ours(&["app=2"]), some(&["app 2", "lib 2"]));
}

#[test]
fn several_architectures() {
    let lines = "
        libc 2; Multi-Arch: same
        libc:i386 2; Multi-Arch: same
        libold 1; Multi-Arch: same
        libold:i386 2; Multi-Arch: same
        tool; Multi-Arch: foreign
        perl; Multi-Arch: allowed
        plain\nplain:i386
        data:all
        data-foreign:all; Multi-Arch: foreign
        wine:i386; Depends: libc, tool, perl:any, data-foreign
        bad:i386; Depends: data
        worse:i386; Depends: perl
        native; Depends: wine:i386
        ours:i386; Depends: plain:native
        theirs; Depends: plain:i386
        mixed; Depends: plain:native, theirs
        any-lib; Depends: libc:any
        old:i386; Depends: libold";
    let archives = [("trixie", "", lines)];
    let case = Case {
        foreign: &["i386"],
        ..Case::of(&archives)
    };
    assert_eq!(
        case.chosen(&["wine:i386", "libc"]),
        some(&[
            "data-foreign 1",
            "libc 2",
            "libc:i386 2",
            "perl 1",
            "tool 1",
            "wine:i386 1"
        ])
    );
    assert_eq!(case.chosen(&["bad:i386"]), None);
    assert_eq!(case.chosen(&["worse:i386"]), None);
    assert_eq!(case.chosen(&["plain", "plain:i386"]), None);
    assert_eq!(case.chosen(&["libold", "old:i386"]), None);
    assert_eq!(
        case.chosen(&["old:i386"]),
        some(&["libold:i386 2", "old:i386 1"])
    );
    assert_eq!(
        case.chosen(&["ours:i386"]),
        some(&["ours:i386 1", "plain 1"])
    );
    assert_eq!(
        case.chosen(&["theirs"]),
        some(&["plain:i386 1", "theirs 1"])
    );
    assert_eq!(case.chosen(&["mixed"]), None);
    assert_eq!(case.chosen(&["any-lib"]), None);
    let arm = [(
        "trixie",
        "",
        "app:arm64 1; Depends: lib\nlib:arm64 1\nlib:amd64 2",
    )];
    let case = Case {
        native: "arm64",
        ..Case::of(&arm)
    };
    assert_eq!(case.chosen(&["app"]), some(&["app 1", "lib 1"]));
}
