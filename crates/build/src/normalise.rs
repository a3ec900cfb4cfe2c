//! Normalisers: named rules for what scripts leave that no two machines would leave alike.
//!
//! They touch only what scripts made, never what packages ship, and each tells what it did. A rule
//! that changes gets a new version; [`fingerprint`] is part of every configured stage's meaning.

use std::io;

use kasmforge_digest::Digest;
use kasmforge_tree::{Entry, Node, Tree, TreePath};

/// What a rule does to a path it matches.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Takes it away.
    Remove,
    /// Leaves it, empty.
    Empty,
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Normaliser {
    /// Its name, for the build record.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// Why it is needed, for people.
    pub why: &'static str,
    action: Action,
    /// Paths; `*` stands for any bytes but `/`, a final `/**` for everything below.
    paths: &'static [&'static str],
}

impl Normaliser {
    /// The paths it is about; `*` stands for any bytes but `/`, a final `/**` for everything
    /// below.
    #[must_use]
    pub const fn paths(&self) -> &'static [&'static str] {
        self.paths
    }
}

const fn remove(
    name: &'static str,
    why: &'static str,
    paths: &'static [&'static str],
) -> Normaliser {
    Normaliser {
        name,
        version: 1,
        why,
        action: Action::Remove,
        paths,
    }
}

/// All rules, in the order they are applied.
pub const NORMALISERS: [Normaliser; 16] = [
    Normaliser {
        name: "machine-id",
        version: 1,
        why: "every machine has its own; an empty one is made at first start",
        action: Action::Empty,
        paths: &["etc/machine-id"],
    },
    remove(
        "dbus-machine-id",
        "every machine has its own",
        &["var/lib/dbus/machine-id"],
    ),
    remove(
        "ssh-host-keys",
        "secrets are made at first start",
        &["etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_*_key.pub"],
    ),
    remove(
        "snakeoil",
        "a private key and its certificate are made at first start",
        &[
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "etc/ssl/certs/ssl-cert-snakeoil.pem",
        ],
    ),
    remove(
        "ldconfig-aux-cache",
        "it holds inode numbers; ldconfig works without it",
        &["var/cache/ldconfig/aux-cache"],
    ),
    remove(
        "logs",
        "they tell of the build's hour, not of the image",
        &[
            "var/log/*.log",
            "var/log/apt/**",
            "var/log/installer/**",
            "var/log/lastlog",
            "var/log/faillog",
        ],
    ),
    remove(
        "apt-caches",
        "they tell of the archive's state",
        &[
            "var/lib/apt/lists/**",
            "var/cache/apt/*.bin",
            "var/cache/apt/archives/**",
        ],
    ),
    remove(
        "backups",
        "they tell in how many steps a file was written",
        &[
            "var/cache/debconf/*-old",
            "var/lib/dpkg/*-old",
            "var/lib/dpkg/info/*-old",
            "etc/passwd-",
            "etc/group-",
            "etc/shadow-",
            "etc/gshadow-",
            "etc/subuid-",
            "etc/subgid-",
            "var/lib/ucf/hashfile.*",
            "var/lib/ucf/registry.*",
            "var/lib/sgml-base/supercatalog.old",
            "etc/xml/catalog.old",
            "usr/share/info/dir.old",
        ],
    ),
    remove(
        "locks",
        "leftovers of programs that ran",
        &[
            "etc/.pwd.lock",
            "var/lib/dpkg/lock",
            "var/lib/dpkg/lock-frontend",
            "var/lib/dpkg/triggers/Lock",
            "var/cache/apt/archives/lock",
        ],
    ),
    remove(
        "vlc-plugins-cache",
        "directory order; made again at first use",
        &["usr/lib/*/vlc/plugins/plugins.dat"],
    ),
    remove(
        "man-db-index",
        "its order depends on the order files are read in; man works without it",
        &["var/cache/man/**"],
    ),
    remove(
        "doc-base",
        "it holds the time of registration",
        &["var/lib/doc-base/info/files.yml"],
    ),
    remove(
        "appstream-cache",
        "it holds pointers and random ids",
        &[
            "var/cache/app-info/cache/**",
            "var/cache/swcatalog/cache/**",
        ],
    ),
    remove(
        "random-seeds",
        "secrets are made at first start",
        &[
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/NetworkManager/secret_key",
            "etc/popularity-contest.conf",
            "etc/hostid",
        ],
    ),
    remove(
        "root-home",
        "leftovers of programs that ran as root",
        &[
            "root/.cache/**",
            "root/.config/**",
            "root/.local/**",
            "root/.gnupg/**",
            "root/.dbus/**",
        ],
    ),
    remove(
        "host-identity",
        "engines write these when a container starts",
        &["etc/hostname", "etc/resolv.conf", "etc/mtab"],
    ),
];

/// All rules' names and versions.
pub(crate) fn fingerprint() -> Vec<String> {
    NORMALISERS
        .iter()
        .map(|rule| format!("{} {}", rule.name, rule.version))
        .collect()
}

/// A rule that was applied, and to what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// The rule's name.
    pub name: String,
    /// The paths it changed.
    pub paths: Vec<String>,
}

/// Applies all rules to what scripts changed; `empty` is the entry of an empty file.
pub(crate) fn apply(
    tree: &mut Tree,
    changed: &Tree,
    empty: &dyn Fn(&Entry) -> io::Result<Entry>,
) -> io::Result<Vec<Applied>> {
    let mut applied = Vec::new();
    for rule in &NORMALISERS {
        let mut paths = Vec::new();
        for (path, _) in changed.iter() {
            let matched = rule
                .paths
                .iter()
                .any(|pattern| matches(pattern, path.as_bytes()));
            let Some(entry) = tree.get(path).filter(|_| matched) else {
                continue;
            };
            match (rule.action, &entry.node) {
                // Folders stay: rules are about what is in them.
                (_, Node::Directory) => continue,
                (Action::Remove, _) => {
                    tree.remove(path);
                }
                (Action::Empty, _) => {
                    let emptied = empty(entry)?;
                    tree.insert(path.clone(), emptied);
                }
            }
            paths.push(path.to_string());
        }
        if !paths.is_empty() {
            applied.push(Applied {
                name: rule.name.into(),
                paths,
            });
        }
    }
    remove_snakeoil_link(tree, changed);
    Ok(applied)
}

/// OpenSSL finds a certificate by a link named after its hash; the snakeoil one would dangle.
fn remove_snakeoil_link(tree: &mut Tree, changed: &Tree) {
    let folder = TreePath::new(b"etc/ssl/certs").expect("a clean path");
    let links: Vec<TreePath> = changed
        .below(&folder)
        .filter(|(_, entry)| match &entry.node {
            Node::Symlink(target) => target.ends_with(b"ssl-cert-snakeoil.pem"),
            _ => false,
        })
        .map(|(path, _)| path.clone())
        .collect();
    for link in links {
        tree.remove(&link);
    }
}

/// Whether a path matches a pattern.
pub(crate) fn matches(pattern: &str, path: &[u8]) -> bool {
    if let Some(folder) = pattern.strip_suffix("/**") {
        return path
            .strip_prefix(folder.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"/"));
    }
    fn go(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if go(rest, path) => true,
            (Some((b'*', _)), Some((byte, tail))) if *byte != b'/' => go(pattern, tail),
            (Some((wanted, rest)), Some((byte, tail))) if wanted == byte && *wanted != b'*' => {
                go(rest, tail)
            }
            _ => false,
        }
    }
    go(pattern.as_bytes(), path)
}

/// Whether a content is a private key, as PEM files say it.
pub(crate) fn is_private_key(content: &[u8]) -> bool {
    let head = &content[..content.len().min(64 << 10)];
    let text = String::from_utf8_lossy(head);
    text.lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----"))
}

/// The entry of an empty file in the place of another.
pub(crate) fn emptied(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.node = Node::File {
        digest: Digest::of(b""),
        size: 0,
        link: None,
    };
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, matched) in [
            ("var/log/*.log", "var/log/dpkg.log", true),
            ("var/log/*.log", "var/log/apt/dpkg.log", false),
            ("var/log/apt/**", "var/log/apt/a/b", true),
            ("var/log/apt/**", "var/log/apt", false),
            ("etc/passwd-", "etc/passwd-", true),
            ("etc/passwd-", "etc/passwd", false),
            ("etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_rsa_key", true),
            (
                "etc/ssh/ssh_host_*_key",
                "etc/ssh/ssh_host_rsa_key.pub",
                false,
            ),
        ] {
            assert_eq!(
                matches(pattern, path.as_bytes()),
                matched,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn names_are_told_once() {
        let names: std::collections::BTreeSet<_> = NORMALISERS.iter().map(|r| r.name).collect();
        assert_eq!(names.len(), NORMALISERS.len());
    }

    #[test]
    fn keys_are_known_by_their_armour() {
        assert!(is_private_key(
            b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
        ));
        assert!(!is_private_key(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(!is_private_key(
            b"grep '-----BEGIN PRIVATE KEY-----' file\n"
        ));
    }
}
