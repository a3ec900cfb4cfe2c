//! dpkg's database of a stage whose packages are all unpacked and not yet configured.
//!
//! The formats are dpkg's own (`/var/lib/dpkg`, described in dpkg's doc/ and deb-triggers(5)); the
//! state is the one dpkg itself is in between its two phases, so `dpkg --configure -a` goes on from
//! here as if it had unpacked the packages.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_deb::stanza::Stanzas;

use crate::unpack::Package;

/// Fields of a control stanza that dpkg does not keep for an unpacked package, or writes itself.
const NOT_KEPT: [&str; 4] = ["Package", "Status", "Conffiles", "Config-Version"];

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
    if !package.conffiles.is_empty() {
        text.push_str("Conffiles:\n");
        for (path, sum) in &package.conffiles {
            text.push_str(&format!(" {path} {sum}\n"));
        }
    }
    text
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
