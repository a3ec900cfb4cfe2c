//! What files and variables of a definition name, held against the finished image without running
//! anything: desktop entries, default applications, links, time zone, keyboard.
//!
//! A desktop passes over what it does not find: a launcher that does nothing, an icon that is a hole, a
//! clock in UTC. The formats are freedesktop.org's (Desktop Entry 1.5, MIME applications 1.0.1, Icon Theme
//! 0.13); what one desktop alone reads is not judged here. Only what a definition lays is judged:
//! packages may ship entries for programs that are not installed.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_spec::{Located, Location};
use kasmforge_tree::{Tree, TreePath};

use crate::content::path;
use crate::finish::has_program;

/// Where icons are looked for, at any depth.
const ICONS: [&str; 2] = ["usr/share/icons", "usr/share/pixmaps"];
/// Where desktop entries have their names from.
const APPLICATIONS: [&str; 2] = ["usr/share/applications", "usr/local/share/applications"];
const TIME_ZONES: &str = "usr/share/zoneinfo";
const KEYBOARDS: &str = "usr/share/X11/xkb/symbols";

/// Something a definition names and its image has not got.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// What `[image]`, a service or a check runs, or where it runs.
    #[error("the image has no {path}, which {who} names")]
    Program {
        /// A path, or a name that is looked for in `PATH`.
        path: String,
        /// The key of the definition.
        who: &'static str,
        /// Where it stands.
        at: Location,
    },
    /// The image's user, or a service's, is nobody.
    #[error("the image has no user `{}`; declare it in [[users]], or install the package that makes it", name.value)]
    User {
        /// The name, and where it was written.
        name: Located<String>,
    },
    /// What the text of a file, a link or a variable names.
    #[error("{line}")]
    Name {
        /// What names it, and what it names.
        line: String,
    },
}

impl Missing {
    /// Where the definition names it, if it does so itself.
    pub fn at(&self) -> Option<&Location> {
        match self {
            Self::Program { at, .. } => Some(at),
            Self::User { name } => Some(&name.at),
            Self::Name { .. } => None,
        }
    }
}

/// What a definition has, as far as it is judged here.
#[derive(Debug, Default)]
pub(crate) struct Named<'a> {
    /// Texts of files by target, of the last definition that lays each.
    pub(crate) texts: BTreeMap<&'a str, String>,
    /// Targets of links, and what they lead to.
    pub(crate) links: BTreeMap<&'a str, String>,
    /// The image's environment.
    pub(crate) environment: BTreeMap<&'a str, &'a str>,
    /// Folders of programs, as `PATH` has them.
    pub(crate) search: &'a str,
}

/// Whether a file's text is worth reading.
pub(crate) fn is_judged(target: &str) -> bool {
    target.ends_with(".desktop") || target.ends_with("/mimeapps.list")
}

impl Named<'_> {
    /// What is named and is not there: a line for each.
    pub(crate) fn missing(&self, tree: &Tree) -> Vec<String> {
        let mut missing = Vec::new();
        let mut icons = None;
        for (target, text) in &self.texts {
            if target.ends_with(".desktop") {
                let icons = icons.get_or_insert_with(|| names_of_icons(tree));
                self.entry(target, text, tree, icons, &mut missing);
            } else {
                applications(target, text, tree, &mut missing);
            }
        }
        for (target, to) in &self.links {
            // Elsewhere a volume may be mounted, or the link is for what appears when it runs.
            let within =
                to.starts_with("/usr/") || (!to.starts_with('/') && target.starts_with("/usr/"));
            if within && !there(tree, target) {
                missing.push(format!("{target}: there is no {to}, which it links to"));
            }
        }
        let variable = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        if let Some(zone) = variable("TZ").map(|zone| zone.trim_start_matches(':'))
            && tree.get(&path(TIME_ZONES)).is_some()
            // A rule of its own has a number of hours in it.
            && !zone.contains(|sign: char| sign.is_ascii_digit())
            && !there(tree, &format!("/{TIME_ZONES}/{zone}"))
        {
            missing.push(format!(
                "[image.environment]: TZ={zone} is no time zone of the image"
            ));
        }
        if let Some(layouts) = variable("XKB_DEFAULT_LAYOUT")
            && tree.get(&path(KEYBOARDS)).is_some()
        {
            for layout in layouts
                .split(',')
                .filter(|layout| !there(tree, &format!("/{KEYBOARDS}/{layout}")))
            {
                missing.push(format!(
                    "[image.environment]: XKB_DEFAULT_LAYOUT={layout} is no keyboard layout of the image"
                ));
            }
        }
        missing
    }

    fn entry(
        &self,
        target: &str,
        text: &str,
        tree: &Tree,
        icons: &BTreeSet<Vec<u8>>,
        missing: &mut Vec<String>,
    ) {
        let keys = group(text, "Desktop Entry");
        let key = |name: &str| keys.get(name).copied().filter(|value| !value.is_empty());
        if keys.is_empty() {
            missing.push(format!("{target}: there is no [Desktop Entry] in it"));
            return;
        }
        let has = |program: &str| has_program(tree, program, self.search);
        // Whoever reads it passes over it, and it says so.
        if key("Hidden") == Some("true") || key("TryExec").is_some_and(|program| !has(program)) {
            return;
        }
        if key("Type").unwrap_or("Application") == "Application" {
            match key("Exec").map(program) {
                None if key("DBusActivatable") == Some("true") => {}
                Some(Some(program)) if has(&program) => {}
                _ => missing.push(format!(
                    "{target}: Exec={} names no program of the image",
                    key("Exec").unwrap_or_default()
                )),
            }
        }
        if let Some(icon) = key("Icon") {
            let known = match icon.starts_with('/') {
                true => there(tree, icon),
                false => icons.contains(stem(icon.as_bytes())) || icons.contains(icon.as_bytes()),
            };
            if !known {
                missing.push(format!("{target}: there is no icon {icon}"));
            }
        }
    }
}

/// Of several applications for a type the first that is there is taken: one must be.
fn applications(target: &str, text: &str, tree: &Tree, missing: &mut Vec<String>) {
    for (kind, names) in group(text, "Default Applications") {
        let names: Vec<&str> = names
            .split(';')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        let installed = |name: &&str| {
            APPLICATIONS.iter().any(|folder| {
                there(tree, &format!("/{folder}/{name}"))
                    // In a folder of its own an entry is named `folder-name.desktop`.
                    || there(tree, &format!("/{folder}/{}", name.replacen('-', "/", 1)))
            })
        };
        if !names.iter().any(installed) {
            missing.push(format!(
                "{target}: nothing opens {kind}: there is no {}",
                names.join(", no ")
            ));
        }
    }
}

/// The keys of a group of a desktop file.
fn group<'a>(text: &'a str, name: &str) -> BTreeMap<&'a str, &'a str> {
    let header = format!("[{name}]");
    let lines = text.lines().map(str::trim);
    lines
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim_end(), value.trim_start()))
        .collect()
}

/// The program that a command line of a desktop entry starts: its first word, or the first that is no
/// variable where that is `env`.
fn program(line: &str) -> Option<String> {
    let mut words = words(line).into_iter().peekable();
    if words
        .peek()
        .is_some_and(|word| word == "env" || word.ends_with("/env"))
    {
        words.next();
        return words.find(|word| !word.contains('=') && !word.starts_with('-'));
    }
    words.next()
}

/// Words as the Desktop Entry Specification quotes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '\\' => word.extend(signs.next()),
            ' ' | '\t' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            other => word.push(other),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

fn there(tree: &Tree, at: &str) -> bool {
    TreePath::new(at.as_bytes()).is_ok_and(|at| tree.resolve(&at).is_some())
}

fn names_of_icons(tree: &Tree) -> BTreeSet<Vec<u8>> {
    let files = ICONS
        .iter()
        .flat_map(|folder| tree.below(&path(folder)).collect::<Vec<_>>());
    files
        .filter(|(_, entry)| !entry.is_folder())
        .filter_map(|(path, _)| Some(stem(path.name()?).to_vec()))
        .collect()
}

/// A name without its extension.
fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;
    use kasmforge_tree::{Entry, Node};

    fn tree() -> Tree {
        let mut tree = Tree::new();
        let file = Entry::new(
            0o755,
            0,
            Node::File {
                digest: Digest::of(b""),
                size: 0,
                link: None,
            },
        );
        for at in [
            "usr/bin/gimp",
            "usr/bin/env",
            "usr/share/icons/mate/48x48/apps/gimp.png",
            "usr/share/applications/gimp.desktop",
            "usr/share/applications/kde/okular.desktop",
            "usr/share/zoneinfo/Etc/UTC",
            "usr/share/X11/xkb/symbols/de",
            "usr/share/backgrounds/dusk.svg",
        ] {
            tree.insert(path(at), file.clone());
        }
        for (at, to) in [
            ("usr/share/backgrounds/default.png", "dusk.svg"),
            ("usr/share/backgrounds/gone.png", "noon.svg"),
            ("usr/share/novnc/Downloads", "/home/kasm-user/Downloads"),
        ] {
            tree.insert(path(at), Entry::symlink(to.as_bytes(), 0));
        }
        tree.complete_parents();
        tree
    }

    fn missing(target: &str, text: &str) -> Vec<String> {
        let named = Named {
            texts: BTreeMap::from([(target, text.to_owned())]),
            search: "/usr/bin",
            ..Named::default()
        };
        named.missing(&tree())
    }

    #[test]
    fn entries_name_programs_and_icons() {
        let entry = |rest: &str| {
            missing(
                "/x.desktop",
                &format!("[Desktop Entry]\n{rest}\n[Other]\nExec=no\n"),
            )
        };
        for good in [
            "Exec=gimp %F\nIcon=gimp",
            "Exec=\"/usr/bin/gimp\" --new\nIcon=gimp.png",
            "Exec=env A=b gimp",
            "Type=Link\nURL=https://example.org",
            "Exec=nothing\nHidden=true",
            "Exec=nothing\nTryExec=nothing",
            "DBusActivatable=true",
        ] {
            assert_eq!(entry(good), [""; 0], "{good}");
        }
        assert_eq!(
            entry("Exec=gmip %F\nIcon=gmip"),
            [
                "/x.desktop: Exec=gmip %F names no program of the image",
                "/x.desktop: there is no icon gmip"
            ]
        );
        assert_eq!(entry("Exec=\nIcon=/usr/none.png").len(), 2);
        assert_eq!(missing("/x.desktop", "Exec=gimp\n").len(), 1);
    }

    #[test]
    fn one_application_of_a_type_must_be_there() {
        let list = "[Default Applications]\nimage/png=gone.desktop;gimp.desktop\n\
                    application/pdf=kde-okular.desktop\ntext/plain=gone.desktop;far.desktop;\n";
        assert_eq!(
            missing("/etc/xdg/mimeapps.list", list),
            [
                "/etc/xdg/mimeapps.list: nothing opens text/plain: there is no gone.desktop, no far.desktop"
            ]
        );
    }

    #[test]
    fn links_zones_and_keyboards() {
        let named = Named {
            links: [
                ("/usr/share/backgrounds/default.png", "dusk.svg"),
                ("/usr/share/backgrounds/gone.png", "noon.svg"),
                ("/usr/share/novnc/Downloads", "/home/kasm-user/Downloads"),
            ]
            .map(|(at, to)| (at, to.to_owned()))
            .into(),
            environment: BTreeMap::from([("TZ", "Middle/Earth"), ("XKB_DEFAULT_LAYOUT", "de,tlh")]),
            ..Named::default()
        };
        assert_eq!(
            named.missing(&tree()),
            [
                "/usr/share/backgrounds/gone.png: there is no noon.svg, which it links to",
                "[image.environment]: TZ=Middle/Earth is no time zone of the image",
                "[image.environment]: XKB_DEFAULT_LAYOUT=tlh is no keyboard layout of the image",
            ]
        );
        for zone in ["Etc/UTC", ":Etc/UTC", "CET-1CEST", ""] {
            let named = Named {
                environment: BTreeMap::from([("TZ", zone)]),
                ..Named::default()
            };
            assert_eq!(named.missing(&tree()), [""; 0], "{zone}");
        }
    }
}
