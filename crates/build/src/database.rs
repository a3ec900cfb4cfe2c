//! dpkg's database of a stage whose packages are all unpacked and not yet configured.
//!
//! The formats are dpkg's own (`/var/lib/dpkg`, described in dpkg's doc/ and deb-triggers(5)); the
//! state is the one dpkg itself is in between its two phases, so `dpkg --configure -a` goes on from
//! here as if it had unpacked the packages.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_deb::relations;
use kasmforge_deb::stanza::Stanzas;

use crate::unpack::Package;

/// Fields of a control stanza that dpkg does not keep for an unpacked package, or writes itself.
const NOT_KEPT: [&str; 4] = ["Package", "Status", "Conffiles", "Config-Version"];

/// Names that fields of `status` had once.
const OBSOLETE: [&str; 6] = [
    "Recommended",
    "Optional",
    "Class",
    "Package-Revision",
    "Package_Revision",
    "Revision",
];

/// The stanza of an unpacked package in `status`.
pub(crate) fn unpacked_stanza(package: &Package) -> String {
    let mut text = format!("Package: {}\nStatus: install ok unpacked\n", package.name);
    for stanza in Stanzas::new(&package.control).flatten().take(1) {
        for field in stanza.fields() {
            if !NOT_KEPT
                .iter()
                .any(|name| name.eq_ignore_ascii_case(field.name))
            {
                text.push_str(field.name);
                text.push(':');
                text.push_str(field.raw.trim_end_matches('\n'));
                text.push('\n');
            }
        }
    }
    text.push_str(&conffiles(package));
    text
}

/// A package's conffiles as a field of `status`; nothing if it has none.
fn conffiles(package: &Package) -> String {
    let lines: String = package
        .conffiles
        .iter()
        .map(|(path, sum)| format!(" {path} {sum}\n"))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    format!("Conffiles:\n{lines}")
}

/// `status` as it stands before the scripts run: what is below, then this stage's packages.
pub(crate) fn status(below: &str, packages: &[&Package]) -> String {
    let mut text = below.trim_end().to_owned();
    let mut sorted: Vec<_> = packages.to_vec();
    sorted.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    for package in sorted {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(unpacked_stanza(package).trim_end());
    }
    text.push('\n');
    text
}

// Fields in the order dpkg writes them to `status`: these before `Status`, then what it keeps as it is, then
// relations, which it writes in its own words, conffiles, the description; those it does not know follow as
// they came (`fieldinfos` in dpkg's lib/dpkg/parse.c).
const FLAGS: [&str; 2] = ["Essential", "Protected"];
const PLAIN: [&str; 10] = [
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
];
const RELATIONS: [&str; 9] = [
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
];
const LAST: &str = "Description";

/// The stanza of an installed package in `status`, as dpkg itself writes it. `None` for
/// one that dpkg might write otherwise.
pub(crate) fn installed_stanza(package: &Package) -> Option<String> {
    let stanza = Stanzas::new(&package.control).next()?.ok()?;
    let value = |name: &str| {
        let mut fields = stanza.fields();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(own_words(field.raw))
    };
    if value("Version").is_some_and(|version| version != package.version) {
        return None;
    }
    // What is not so goes without saying.
    let said = |name: &str| value(name).filter(|value| *value != "no");
    let mut text = format!("Package: {}\n", package.name);
    for name in FLAGS {
        push_field(&mut text, name, said(name));
    }
    push_field(&mut text, "Status", Some("install ok installed"));
    for name in PLAIN {
        let value = if name == "Multi-Arch" {
            said(name)
        } else {
            value(name)
        };
        push_field(&mut text, name, value);
    }
    for name in RELATIONS {
        if let Some(value) = value(name) {
            push_field(&mut text, name, Some(&in_dpkgs_words(value)?));
        }
    }
    text.push_str(&conffiles(package));
    push_field(&mut text, LAST, value(LAST));
    let ordered = [&FLAGS[..], &PLAIN, &RELATIONS, &[LAST], &NOT_KEPT].concat();
    let is_of = |all: &[&str], name: &str| all.iter().any(|one| one.eq_ignore_ascii_case(name));
    for field in stanza.fields().filter(|field| !is_of(&ordered, field.name)) {
        // What these are called today is for dpkg to say.
        if is_of(&OBSOLETE, field.name) {
            return None;
        }
        push_field(&mut text, field.name, Some(own_words(field.raw)));
    }
    Some(text)
}

/// A field's value as dpkg keeps one that it does not take apart.
fn own_words(raw: &str) -> &str {
    raw.trim_start_matches([' ', '\t']).trim_end()
}

/// Adds a field, if there is one.
fn push_field(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text.push_str(&format!("{name}: {value}\n"));
    }
}

fn in_dpkgs_words(value: &str) -> Option<String> {
    let clauses: Vec<String> = relations(value)
        .ok()?
        .iter()
        .map(|clause| {
            let atoms: Vec<String> = clause.iter().map(ToString::to_string).collect();
            atoms.join(" | ")
        })
        .collect();
    Some(clauses.join(", "))
}

/// `status` with stanzas of more packages, in dpkg's order: by name, then by architecture.
///
/// A package whose stanza dpkg might write otherwise is left out; ask [`installed_stanza`] before.
pub(crate) fn with_installed(status: &str, packages: &[&Package]) -> String {
    let mut stanzas: BTreeMap<(String, String), String> = BTreeMap::new();
    for stanza in Stanzas::new(status).flatten() {
        let field = |name| stanza.get(name).unwrap_or_default().into_owned();
        stanzas.insert(
            (field("Package"), field("Architecture")),
            stanza.text().into(),
        );
    }
    for package in packages {
        if let Some(text) = installed_stanza(package) {
            stanzas.insert((package.name.clone(), package.architecture.clone()), text);
        }
    }
    stanzas
        .into_values()
        .map(|text| format!("{}\n\n", text.trim_end()))
        .collect()
}

/// Packages in `status` that are not wholly installed, with the state they are in.
pub(crate) fn not_installed(status: &str) -> Vec<(String, String)> {
    Stanzas::new(status)
        .flatten()
        .filter_map(|stanza| {
            let state = stanza.get("Status")?;
            (state != "install ok installed" && !state.ends_with("config-files")).then(|| {
                (
                    stanza.get("Package").unwrap_or_default().into_owned(),
                    state.into_owned(),
                )
            })
        })
        .collect()
}

/// What the `triggers` files of packages say (deb-triggers(5)).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// Named triggers: who is interested, with `/noawait` behind those who need not be awaited.
    pub(crate) named: BTreeMap<String, BTreeSet<String>>,
    /// File triggers: path and interested package.
    pub(crate) files: BTreeSet<(String, String)>,
    /// Triggers the packages' unpacking activates.
    activated: BTreeSet<String>,
}

impl Triggers {
    /// Gathers the triggers of packages.
    pub(crate) fn of<'a>(packages: impl IntoIterator<Item = &'a Package>) -> Self {
        let mut triggers = Self::default();
        for package in packages {
            for line in package.triggers.lines() {
                triggers.take(line.trim(), &package.stem);
            }
        }
        triggers
    }

    fn take(&mut self, line: &str, stem: &str) {
        let mut words = line.split_whitespace();
        let (Some(directive), Some(name)) = (words.next(), words.next()) else {
            return;
        };
        if directive.starts_with('#') {
            return;
        }
        let (verb, noawait) = match directive.strip_suffix("-noawait") {
            Some(verb) => (verb, true),
            None => (directive.strip_suffix("-await").unwrap_or(directive), false),
        };
        match verb {
            "interest" => {
                let who = if noawait {
                    format!("{stem}/noawait")
                } else {
                    stem.to_owned()
                };
                if name.starts_with('/') {
                    self.files.insert((name.to_owned(), who));
                } else {
                    self.named.entry(name.to_owned()).or_default().insert(who);
                }
            }
            "activate" => {
                self.activated.insert(name.to_owned());
            }
            _ => {}
        }
    }

    /// `triggers/File`: a line for each file trigger.
    pub(crate) fn file_text(&self) -> String {
        self.files
            .iter()
            .map(|(path, who)| format!("{path} {who}\n"))
            .collect()
    }

    /// What `added` packages activate for packages that were there before: names and paths.
    pub(crate) fn pending<'a>(&'a self, before: &'a Self, added: &[&Package]) -> BTreeSet<&'a str> {
        let mut pending: BTreeSet<&str> = BTreeSet::new();
        for name in &self.activated {
            if before.named.contains_key(name) || before.files.iter().any(|(path, _)| path == name)
            {
                pending.insert(name);
            }
        }
        for (trigger, _) in &before.files {
            let within = |path: &String| {
                path.strip_prefix(trigger.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if added.iter().any(|package| package.list.iter().any(within)) {
                pending.insert(trigger);
            }
        }
        pending
    }

    /// `triggers/Unincorp`: what is pending, a line for each.
    ///
    /// Nobody awaits: all packages are configured before anything looks at the result.
    pub(crate) fn unincorporated(&self, before: &Self, added: &[&Package]) -> String {
        let pending = self.pending(before, added).into_iter();
        pending.map(|trigger| format!("{trigger} -\n")).collect()
    }

    /// The packages of `before` whose triggers `added` ones activate, by their stems.
    pub(crate) fn woken(&self, before: &Self, added: &[&Package]) -> BTreeSet<String> {
        let pending = self.pending(before, added);
        let files = before.files.iter().map(|(path, who)| (path, who));
        let named = before
            .named
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |who| (name, who)));
        files
            .chain(named)
            .filter(|(trigger, _)| pending.contains(trigger.as_str()))
            .map(|(_, who)| who.trim_end_matches("/noawait").to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_tree::Tree;

    fn package(name: &str, triggers: &str, list: &[&str]) -> Package {
        Package {
            name: name.into(),
            stem: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            control: format!("Package: {name}\nVersion: 1\nDescription: short\n long\n .\n end\n"),
            scripts: BTreeSet::new(),
            triggers: triggers.into(),
            conffiles: vec![("/etc/x".into(), "00".into())],
            list: list.iter().map(|path| (*path).to_owned()).collect(),
            tree: Tree::new(),
        }
    }

    #[test]
    fn a_stanza_keeps_its_fields_and_gains_a_state() {
        let text = status("", &[&package("x", "", &[])]);
        assert_eq!(
            text,
            "Package: x\nStatus: install ok unpacked\nVersion: 1\nDescription: short\n long\n .\n \
             end\nConffiles:\n /etc/x 00\n"
        );
        assert_eq!(
            not_installed(&text),
            [("x".into(), "install ok unpacked".into())]
        );
    }

    /// dpkg itself configures packages and writes `status`; ours is to be the same.
    #[test]
    fn installed_packages_are_told_as_dpkg_tells_them() {
        let with = |name: &str, fields: &str| Package {
            control: format!("Package: {name}\n{fields}"),
            version: "1:2.0-3".into(),
            architecture: "all".into(),
            conffiles: Vec::new(),
            ..package(name, "", &["/.", "/usr"])
        };
        let mut packages = [
            with(
                "plain",
                "Multi-Arch: allowed\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: Nobody \
                 <n@example>\nDescription: plain\n",
            ),
            with(
                "disordered",
                "Homepage: https://example.org/\nDescription: short\n  indented\n .\n end\nversion:   \
                 1:2.0-3\nX-Odd:\n one\n two\nDepends: plain(>=1),\n plain|other ( << 9~ ) , \
                 plain:any\nArchitecture: all\nMaintainer: Nobody <n@example>\nBuilt-Using: a (= 1), b \
                 (=2)\nProvides: other (=5)\nTag: a::b,\n c::d\nMulti-Arch: foreign\nSource: from \
                 (9)\nBugs: mailto:n@example\nOrigin: Somewhere\nInstalled-Size: 12\nSection: \
                 misc\nPriority: optional\n",
            ),
            with(
                "refusals",
                "Essential: no\nMulti-Arch: no\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: Nobody \
                 <n@example>\nBreaks: old (<< 1)\nConflicts: older\nReplaces: old, older (<= \
                 1)\nEnhances: x\nSuggests: y | z\nRecommends: w\nPre-Depends: plain\nDescription: none\n",
            ),
        ];
        packages[0].conffiles = vec![("/etc/plainrc".into(), "00".repeat(16))];
        let all: Vec<&Package> = packages.iter().collect();
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("var/lib/dpkg/info")).expect("a folder");
        std::fs::create_dir_all(at("var/lib/dpkg/updates")).expect("a folder");
        std::fs::create_dir_all(at("etc")).expect("a folder");
        std::fs::write(at("etc/plainrc"), "").expect("a conffile");
        std::fs::write(at("var/lib/dpkg/status"), status("", &all)).expect("a file");
        for one in &all {
            let (list, text) = (
                at(&format!("var/lib/dpkg/info/{}.list", one.name)),
                "/.\n/usr\n",
            );
            std::fs::write(list, text).expect("a list");
        }
        let ran = std::process::Command::new("dpkg")
            .arg(format!("--root={}", root.path().display()))
            .args(["--force-not-root", "--force-bad-path", "--log=/dev/null"])
            .args(["--configure", "-a"])
            .output()
            .expect("dpkg runs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let theirs = std::fs::read_to_string(at("var/lib/dpkg/status")).expect("a status");
        assert_eq!(with_installed("", &all), theirs);
        // Those that are there stay as they are, and each comes to stand where dpkg puts it.
        let two = with_installed(&with_installed("", &[all[2]]), &[all[1], all[0]]);
        assert_eq!(two, theirs);
        // What dpkg would call otherwise is left to it.
        assert!(installed_stanza(&with("old", "Version: 1:2.0-3\nRecommended: x\n")).is_none());
        assert!(installed_stanza(&with("odd", "Version: 2.0-3\n")).is_none());
    }

    #[test]
    fn new_files_wake_those_who_watch_their_folder() {
        let old = [package(
            "menu",
            "interest-noawait /usr/share/menus\ninterest update-x",
            &[],
        )];
        let new = package(
            "app",
            "activate-noawait update-x",
            &["/usr/share/menus/app"],
        );
        let near = package("near", "", &["/usr/share/menus-of-others"]);
        let before = Triggers::of(&old);
        assert_eq!(before.file_text(), "/usr/share/menus menu/noawait\n");
        let added = Triggers::of([&new]);
        assert_eq!(
            added.unincorporated(&before, &[&new]),
            "/usr/share/menus -\nupdate-x -\n"
        );
        assert_eq!(Triggers::of([&near]).unincorporated(&before, &[&near]), "");
        let woken: Vec<_> = added.woken(&before, &[&new]).into_iter().collect();
        assert_eq!(woken, ["menu"]);
        assert!(Triggers::of([&near]).woken(&before, &[&near]).is_empty());
    }
}
