//! Normalisers: named rules for what scripts leave that no two machines would leave alike.
//!
//! They touch only what scripts made, never what packages ship, and each tells what it did. A rule
//! that changes gets a new version; [`fingerprint`] is part of every configured stage's meaning.

mod icon_cache;
mod info_dir;
mod keystore;

use std::io;

use kasmforge_tree::{Entry, Node, Tree, TreePath};

/// What a rule does to a path it matches.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Takes it away.
    Remove,
    /// Takes it away if the whole tree says so.
    RemoveIf(fn(&Tree, &TreePath) -> bool),
    /// Leaves it, empty.
    Empty,
    /// Gives a regular file another content; one that is not understood stays as it is.
    Rewrite(fn(&[u8]) -> Option<Vec<u8>>),
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
pub const NORMALISERS: [Normaliser; 19] = [
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
    Normaliser {
        name: "java-certificates",
        version: 1,
        why: "times and order of arrival: sorted by alias, all of 1970",
        action: Action::Rewrite(keystore::steady),
        paths: &["etc/ssl/certs/java/cacerts"],
    },
    Normaliser {
        name: "info-index",
        version: 1,
        why: "order of arrival: sorted by section and name",
        action: Action::Rewrite(info_dir::steady),
        paths: &["usr/share/info/dir"],
    },
    Normaliser {
        name: "endless-icon-caches",
        version: 1,
        why: "a theme with a link to a folder it is in has no end that two walks agree on; GTK reads \
              the theme's folders instead",
        action: Action::RemoveIf(icon_cache::is_of_endless_theme),
        paths: &["usr/share/icons/*/icon-theme.cache"],
    },
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

/// How rules come by contents.
pub(crate) trait Contents {
    /// The content of a regular file.
    fn read(&self, path: &TreePath, entry: &Entry) -> io::Result<Vec<u8>>;

    /// Keeps a content; gives the entry of a file that has it and is like another otherwise.
    fn keep(&mut self, content: &[u8], like: &Entry) -> io::Result<Entry>;
}

/// Applies all rules to what scripts changed.
pub(crate) fn apply(
    tree: &mut Tree,
    changed: &Tree,
    contents: &mut dyn Contents,
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
            let new = match (rule.action, &entry.node) {
                // Folders stay: rules are about what is in them.
                (_, Node::Directory) => continue,
                (Action::Remove, _) => None,
                (Action::RemoveIf(ought), _) if ought(tree, path) => None,
                (Action::Empty, _) => Some(contents.keep(b"", entry)?),
                // Told whether it came out another or not: which of two builds it did says nothing of
                // the image.
                (Action::Rewrite(rewritten), Node::File { link: None, .. }) => {
                    match rewritten(&contents.read(path, entry)?) {
                        Some(content) => Some(contents.keep(&content, entry)?),
                        None => continue,
                    }
                }
                _ => continue,
            };
            match new {
                Some(new) => tree.insert(path.clone(), new),
                None => tree.remove(path),
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use kasmforge_digest::Digest;

    /// Contents in memory.
    #[derive(Default)]
    struct Memory(BTreeMap<Digest, Vec<u8>>);

    impl Contents for Memory {
        fn read(&self, _: &TreePath, entry: &Entry) -> io::Result<Vec<u8>> {
            let (digest, _) = entry.content().expect("a regular file");
            Ok(self.0[&digest].clone())
        }

        fn keep(&mut self, content: &[u8], like: &Entry) -> io::Result<Entry> {
            let digest = Digest::of(content);
            self.0.insert(digest, content.to_vec());
            let mut entry = like.clone();
            entry.node = Entry::file(0, 0, digest, content.len() as u64).node;
            Ok(entry)
        }
    }

    #[test]
    fn what_scripts_made_is_removed_emptied_rewritten_or_left() {
        let path = |text: &str| TreePath::new(text.as_bytes()).expect("a clean path");
        let mut memory = Memory::default();
        let mut made = Tree::new();
        for (at, content) in [
            ("etc/machine-id", &b"0123"[..]),
            ("etc/hostname", b"here"),
            ("etc/other", b"x"),
            ("etc/ssl/certs/java/cacerts", b"none of Java's stores"),
            ("usr/share/icons/a/apps/16/a.png", b"x"),
            ("usr/share/icons/a/icon-theme.cache", b"x"),
            ("usr/share/icons/b/apps/16/a.png", b"x"),
            ("usr/share/icons/b/icon-theme.cache", b"x"),
            (
                "usr/share/info/dir",
                b"* Menu:\n\nAll\n* b: (b).\n* a: (a).\n",
            ),
        ] {
            let like = Entry::file(0o640, 7, Digest::of(b""), 0).owned(3, 4);
            let entry = memory.keep(content, &like).expect("memory");
            made.insert(path(at), entry);
        }
        let to_itself = Entry::symlink(b"..", 0);
        made.insert(path("usr/share/icons/b/apps/16/up"), to_itself);
        made.complete_parents();
        let mut tree = made.clone();
        // What a package ships is not looked at.
        tree.insert(
            path("var/log/a.log"),
            made.get(&path("etc/other")).expect("it").clone(),
        );
        let applied = apply(&mut tree, &made, &mut memory).expect("memory");

        let names: Vec<&str> = applied.iter().map(|one| one.name.as_str()).collect();
        let expected = [
            "machine-id",
            "host-identity",
            "info-index",
            "endless-icon-caches",
        ];
        assert_eq!(names, expected);
        for (at, content) in [
            ("etc/machine-id", Some(&b""[..])),
            ("etc/hostname", None),
            ("etc/other", Some(b"x")),
            ("etc/ssl/certs/java/cacerts", Some(b"none of Java's stores")),
            ("usr/share/icons/a/icon-theme.cache", Some(b"x")),
            ("usr/share/icons/b/icon-theme.cache", None),
            (
                "usr/share/info/dir",
                Some(b"* Menu:\n\nAll\n* a: (a).\n* b: (b).\n"),
            ),
            ("var/log/a.log", Some(b"x")),
        ] {
            let found = tree.get(&path(at));
            let read = found.map(|entry| memory.read(&path(at), entry).expect("memory"));
            assert_eq!(read.as_deref(), content, "{at}");
            let shapes = found.map(|entry| (entry.mode, entry.mtime, entry.uid, entry.gid));
            assert_eq!(shapes, content.map(|_| (0o640, 7, 3, 4)), "{at}");
        }
        // What went through the rules once stays.
        let before = tree.clone();
        apply(&mut tree, &made, &mut memory).expect("memory");
        assert_eq!(tree, before);
    }

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
