//! The one program a stage's sandbox runs: preinsts, then `dpkg --configure -a`.

use std::collections::VecDeque;
use std::ffi::OsString;

use kasmforge_sandbox::{Program, Trial};
use kasmforge_spec::Debconf;

use crate::related::Related;
use crate::unpack::Package;

/// Lines that begin so are ours, between those of the scripts.
const MARK: &str = "\u{1}kasmforge ";

/// The host name scripts see.
const HOST_NAME: &str = "kasmforge";

/// Where PATH leads, as dpkg itself sets it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to run for a stage.
pub(crate) struct Wanted<'a> {
    /// Its packages, in canonical order.
    pub(crate) packages: &'a [&'a Package],
    pub(crate) debconf: &'a [Debconf],
    pub(crate) epoch: i64,
    pub(crate) trial: Trial,
    /// What goes on beside the scripts: what begins it, and what waits for its end.
    pub(crate) beside: Option<(String, &'static str)>,
}

/// What runs in the sandbox for a stage.
pub(crate) fn program(wanted: &Wanted<'_>) -> Program {
    let text = |value: &str| OsString::from(value);
    let environment = [
        ("PATH", PATH),
        ("HOME", "/root"),
        // Texts are UTF-8; all else is as in C, whose categories need no files. With LC_ALL each of
        // some thousand small programs opens a dozen of them.
        ("LC_CTYPE", "C.UTF-8"),
        ("TZ", "UTC"),
        ("SHELL", "/bin/sh"),
        ("TERM", "dumb"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DPKG_COLORS", "never"),
        ("PERL_HASH_SEED", "0"),
        ("PYTHONHASHSEED", "0"),
        // What an interpreter happens to load is no reason to keep it.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("SOURCE_DATE_EPOCH", &wanted.epoch.to_string()),
    ]
    .map(|(name, value)| (text(name), text(value)));
    Program {
        argv: vec![text("/bin/sh"), text("-c"), OsString::from(driver(wanted))],
        environment: environment.to_vec(),
        directory: "/".into(),
        host_name: HOST_NAME.into(),
        trial: wanted.trial,
    }
}

fn driver(wanted: &Wanted<'_>) -> String {
    let Wanted {
        packages, debconf, ..
    } = *wanted;
    let mut text = String::from("umask 022\n");
    if !debconf.is_empty() {
        text.push_str("debconf-set-selections <<'KASMFORGE'\n");
        for Debconf {
            package,
            question,
            kind,
            value,
        } in debconf
        {
            text.push_str(&format!("{package} {question} {kind} {value}\n"));
        }
        text.push_str("KASMFORGE\n");
        text.push_str(&after("debconf", "debconf-set-selections"));
    }
    if let Some((begin, _)) = &wanted.beside {
        text.push_str(begin);
    }
    // base-passwd's makes the accounts that all others may need (it is pre-depended on by none).
    let related: Vec<Related<'_>> = packages.iter().map(|one| Related::of(one)).collect();
    let mut ordered: Vec<&Related<'_>> = related.iter().collect();
    ordered.sort_by_key(|one| one.package.name != "base-passwd");
    for one in ordered {
        if one.package.scripts.contains("preinst") {
            text.push_str(&preinst(one, &related));
        }
    }
    text.push_str("dpkg --force-confold --configure -a\n");
    text.push_str(&after("configure", "dpkg --configure -a"));
    if let Some((_, end)) = wanted.beside {
        text.push_str(end);
    }
    text
}

/// The lines that end the driver when the command before them failed.
fn after(kind: &str, what: &str) -> String {
    format!(
        "status=$?; [ $status = 0 ] || {{ printf '\\001kasmforge failed {kind} {what} %s\\n' \
         $status; exit 1; }}\n"
    )
}

/// One preinst, with the environment dpkg gives it (dpkg(1), "Internal environment").
fn preinst(of: &Related<'_>, all: &[Related<'_>]) -> String {
    let dpkg = all
        .iter()
        .map(|one| one.package)
        .find(|one| one.name == "dpkg")
        .map_or("1.21.22", |one| {
            one.version
                .split_once('-')
                .map_or(one.version.as_str(), |(upstream, _)| upstream)
        });
    let Package {
        name,
        stem,
        architecture,
        ..
    } = of.package;
    let run = format!(
        "DPKG_MAINTSCRIPT_PACKAGE={name} DPKG_MAINTSCRIPT_ARCH={architecture} \
         DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
         DPKG_RUNNING_VERSION={dpkg} DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_FORCE= \
         /var/lib/dpkg/info/{stem}.preinst install\n"
    );
    // What it pre-depends on is unpacked, and seldom needs more. One that does (adduser asks PAM,
    // which libpam-runtime's postinst sets up) is given it configured, and a second try, which
    // policy 6.2 wants scripts to stand.
    let before = of.pre_dependencies(all);
    let again = if before.is_empty() {
        String::new()
    } else {
        format!(
            "[ $? = 0 ] || {{ dpkg --force-confold --configure {}\n{run}}}\n",
            before.join(" ")
        )
    };
    format!(
        "printf '\\001kasmforge preinst {name}\\n'\n{run}{again}{}",
        after("preinst", name)
    )
}

/// Where a run is, told by its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A package's preinst runs.
    Preinst(String),
    /// dpkg configures a package.
    Configure(String),
    /// dpkg runs a package's triggers.
    Triggers(String),
}

/// Follows a run's output line by line and keeps its end.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    partial: Vec<u8>,
    /// All of the output, our own marks left out.
    pub(crate) log: Vec<u8>,
    failed: Vec<Failure>,
    /// The last lines of the script that runs now.
    section: VecDeque<String>,
    waiting: Option<String>,
}

/// A script that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) package: String,
    /// `preinst`, `postinst` or what dpkg says of it.
    pub(crate) what: String,
    /// The last lines it wrote.
    pub(crate) words: Vec<String>,
}

/// How many of a failed script's last lines are shown.
pub(crate) const LAST_WORDS: usize = 15;

/// The most output that is kept. A script that never stops talking is cut, not stored.
const MOST_LOG: usize = 16 << 20;

impl Follower {
    /// Takes the next output; tells what began.
    pub(crate) fn take(&mut self, bytes: &[u8], told: &mut dyn FnMut(Progress)) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&line, told);
        }
        if self.partial.len() > 64 << 10 {
            let line = std::mem::take(&mut self.partial);
            self.line(&line, told);
        }
    }

    fn line(&mut self, line: &[u8], told: &mut dyn FnMut(Progress)) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        if let Some(mark) = text.strip_prefix(MARK) {
            self.mark(mark, told);
            return;
        }
        if self.log.len() < MOST_LOG {
            self.log.extend_from_slice(line);
        }
        // dpkg's own words in the locale C.
        if let Some(package) = self.waiting.take() {
            self.fail(&package, text.trim().to_owned());
        } else if let Some(rest) = text.strip_prefix("dpkg: error processing package ") {
            let package = rest.split([' ', ':']).next().unwrap_or(rest);
            self.waiting = Some(package.to_owned());
        } else if let Some(rest) = text.strip_prefix("Setting up ") {
            self.section.clear();
            told(Progress::Configure(
                rest.split(' ').next().unwrap_or(rest).to_owned(),
            ));
        } else if let Some(rest) = text.strip_prefix("Processing triggers for ") {
            self.section.clear();
            told(Progress::Triggers(
                rest.split(' ').next().unwrap_or(rest).to_owned(),
            ));
        } else {
            // No more than is shown: a script may talk without end.
            if self.section.len() == LAST_WORDS {
                self.section.pop_front();
            }
            self.section.push_back(text.to_owned());
        }
    }

    fn mark(&mut self, mark: &str, told: &mut dyn FnMut(Progress)) {
        if let Some(name) = mark.strip_prefix("preinst ") {
            self.section.clear();
            told(Progress::Preinst(name.to_owned()));
        } else if let Some(rest) = mark.strip_prefix("failed preinst ") {
            let (package, status) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            let what = format!("its preinst script ended with status {status}");
            self.fail(package, what);
        } else if let Some(rest) = mark.strip_prefix("failed debconf ") {
            let (_, status) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            let what = format!("the definition's answers were refused (status {status})");
            self.fail("debconf", what);
        } else if let Some(rest) = mark.strip_prefix("failed bytecode ") {
            let (package, _) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            self.fail(package, "its Python modules could not be compiled".into());
        }
    }

    fn fail(&mut self, package: &str, what: String) {
        self.failed.push(Failure {
            package: package.to_owned(),
            what,
            words: self.section.drain(..).collect(),
        });
    }

    /// What failed, the cause first: dpkg tells of packages that only waited for a failed one too.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let mut causes: Vec<Failure> = self
            .failed
            .iter()
            .filter(|failure| !failure.what.starts_with("dependency problems"))
            .cloned()
            .collect();
        if causes.is_empty() {
            causes.clone_from(&self.failed);
        }
        causes
    }

    /// The last lines of the output.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = String::from_utf8_lossy(&self.log);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preinst_gets_what_it_pre_depends_on() {
        let package = |name: &str, fields: &str| Package {
            name: name.into(),
            stem: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            control: format!("Package: {name}\n{fields}"),
            scripts: std::collections::BTreeSet::from(["preinst".to_owned()]),
            triggers: String::new(),
            conffiles: Vec::new(),
            list: Vec::new(),
            tree: kasmforge_tree::Tree::new(),
        };
        let all = [
            package("pam", "Provides: pam-api (= 1)\n"),
            package("adduser", "Depends: pam-api, gone | other\n"),
            package("unasked", ""),
            package("base", "Essential: yes\nPre-Depends: awk\n"),
            package("mawk", "Provides: awk\n"),
            package(
                "server",
                "Pre-Depends: adduser (>= 3), absent\nDepends: unasked\n",
            ),
        ];
        let all: Vec<Related<'_>> = all.iter().map(Related::of).collect();
        assert_eq!(
            all[5].pre_dependencies(&all),
            ["pam", "adduser", "base", "mawk"]
        );
        assert!(preinst(&all[5], &all).contains("--configure pam adduser base mawk\n"));
        assert!(!preinst(&all[2], &all).contains("--configure"));
    }

    #[test]
    fn failures_name_package_and_cause() {
        let mut follower = Follower::default();
        let mut told = Vec::new();
        let output = "\u{1}kasmforge preinst bash\nSetting up a (1) ...\nsome words\n\
                      dpkg: error processing package a (--configure):\n installed a package \
                      post-installation script subprocess returned error exit status 7\n\
                      dpkg: error processing package b (--configure):\n dependency problems - \
                      leaving unconfigured\nErrors were encountered while processing:\n a\n b\n\
                      \u{1}kasmforge failed configure dpkg --configure -a 1\n";
        // Output comes in whatever pieces a pipe gives.
        for piece in output.as_bytes().chunks(7) {
            follower.take(piece, &mut |progress| told.push(progress));
        }
        assert_eq!(
            told,
            [
                Progress::Preinst("bash".into()),
                Progress::Configure("a".into())
            ]
        );
        let failures = follower.failures();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].package, "a");
        assert!(failures[0].what.ends_with("returned error exit status 7"));
        assert_eq!(failures[0].words, ["some words"]);
        assert!(!follower.tail(3).contains('\u{1}'));
    }

    #[test]
    fn modules_that_cannot_be_compiled_fail_their_package() {
        let mut follower = Follower::default();
        let output = "Setting up last (1) ...\n  File \"/usr/lib/python3/dist-packages/a.py\"\n\
                      SyntaxError: invalid syntax\n\u{1}kasmforge failed bytecode python3-a 1\n";
        follower.take(output.as_bytes(), &mut |_| {});
        let failures = follower.failures();
        assert_eq!(failures[0].package, "python3-a");
        assert_eq!(
            failures[0].words.last().expect("words"),
            "SyntaxError: invalid syntax"
        );
    }
}
