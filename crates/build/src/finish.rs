//! Finishing: laying ids, users, services and files over a configured stage. Pure tree work: no
//! script sees it, and no script is run again because of it.

use std::io;
use std::path::PathBuf;

use kasmforge_digest::Digest;
use kasmforge_lock::Ids;
use kasmforge_spec::Located;
use kasmforge_tree::{Entry, FOLDER_TIME, InvalidPath, Node, Tree, TreePath};

use crate::accounts::{self, Accounts, NewUser};
use crate::configure::Configured;
use crate::content::{Broken, Pool, Promise, Writer};
use crate::definition::{DefinedContent, DefinedFile, Definition};

/// A definition that does not fit its packages.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// A file's owner or group is nobody.
    #[error("`{}` is no {kind} of the image; declare it in [[users]], or install the package that makes it", name.value)]
    Owner {
        /// The name, and where it was written.
        name: Located<String>,
        /// `user` or `group`.
        kind: &'static str,
    },
    /// A user is to join a group that is not there.
    #[error("the user `{}` is to join the group `{group}`, which the image does not have", user.value)]
    Group {
        /// The user, and where it was written.
        user: Located<String>,
        /// The group.
        group: String,
    },
    /// A target leads through something that is no folder.
    #[error("{target} cannot be made: {blocking} is no folder in the image")]
    Target {
        /// The target as written.
        target: String,
        /// What is in the way.
        blocking: String,
    },
    /// A target that is no path of an image.
    #[error("{target} is no path of an image")]
    Path {
        /// The target as written.
        target: String,
        /// Why.
        source: InvalidPath,
    },
    /// A file changed while it was read.
    #[error("{} changed while it was read; run the build again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The digest it had before.
        digest: Digest,
    },
    /// A content could not be read or kept.
    #[error("cannot keep {target}")]
    Keep {
        /// The target.
        target: String,
        /// Why.
        source: io::Error,
    },
}

/// Lays a definition over a configured stage.
///
/// `locked` are the ids of the lock; `None` for the definition leaves the packages alone, as the
/// state layer of a root stage needs it.
pub(crate) fn finish(
    configured: &Configured,
    definition: Option<&Definition>,
    locked: &Ids,
    pool: &Pool,
    writer: &mut Writer<'_>,
) -> Result<Tree, FinishError> {
    let mut finishing = Finishing {
        tree: configured.tree.clone(),
        epoch: configured.epoch,
        writer,
    };
    let keep = |target: &str| {
        let target = target.to_owned();
        move |source| FinishError::Keep { target, source }
    };
    let files = accounts::FILES.map(|file| pool.text(&finishing.tree, &path(file)));
    let [passwd, group, shadow, gshadow] = files;
    let failed = keep("/etc/passwd");
    let read = (|| Ok([passwd?, group?, shadow?, gshadow?]))();
    let mut accounts = Accounts::parse(read.map_err(failed)?);
    let before = accounts.clone();
    let renumbering = accounts.renumber(locked);
    for (_, entry) in finishing.tree.iter_mut() {
        entry.uid = renumbering
            .users
            .get(&entry.uid)
            .copied()
            .unwrap_or(entry.uid);
        entry.gid = renumbering
            .groups
            .get(&entry.gid)
            .copied()
            .unwrap_or(entry.gid);
    }
    if let Some(definition) = definition {
        finishing.users(definition, &mut accounts)?;
    }
    if accounts != before {
        for (at, text) in accounts::FILES.iter().zip(accounts.render()) {
            finishing.rewrite(at, text.as_bytes()).map_err(keep(at))?;
        }
    }
    let Some(definition) = definition else {
        return Ok(finishing.tree);
    };
    for user in &definition.users {
        finishing.home(&user.home, user.uid, user.gid)?;
    }
    if !definition.sources.is_empty() {
        let text: String = definition
            .sources
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        finishing
            .rewrite("etc/apt/sources.list", text.as_bytes())
            .map_err(keep("sources"))?;
    }
    for file in &definition.files {
        finishing.file(file, &accounts)?;
    }
    finishing.tree.complete_parents();
    Ok(finishing.tree)
}

/// Writes the content of an entry, if it is the definition's and is not written yet.
pub(crate) fn fulfil(entry: &Entry, writer: &mut Writer<'_>) -> Result<(), FinishError> {
    let target = "what the definition lays into the image";
    writer.fulfil(entry).map_err(|broken| told(broken, target))
}

fn told(broken: Broken, target: &str) -> FinishError {
    match broken {
        Broken::Changed(path, digest) => FinishError::Changed { path, digest },
        Broken::Failed(source) => FinishError::Keep {
            target: target.into(),
            source,
        },
    }
}

struct Finishing<'a, 'b> {
    tree: Tree,
    epoch: i64,
    writer: &'a mut Writer<'b>,
}

impl Finishing<'_, '_> {
    fn users(&self, definition: &Definition, accounts: &mut Accounts) -> Result<(), FinishError> {
        for user in &definition.users {
            accounts.add_user(&NewUser {
                name: &user.name.value,
                uid: user.uid,
                gid: user.gid,
                home: &user.home,
                shell: &user.shell,
                day: self.epoch / 86_400,
            });
            for group in &user.groups {
                if !accounts.join(&user.name.value, group) {
                    let (user, group) = (user.name.clone(), group.clone());
                    return Err(FinishError::Group { user, group });
                }
            }
        }
        Ok(())
    }

    /// Replaces a file's content and keeps whatever else is known of it.
    fn rewrite(&mut self, at: &str, bytes: &[u8]) -> io::Result<()> {
        let shape = self.tree.get(&path(at)).cloned();
        let shape = shape.unwrap_or_else(|| Entry::new(0o644, self.epoch, Node::Directory));
        let shape = Entry {
            mtime: self.epoch,
            node: Node::Directory,
            ..shape
        };
        let entry = self.writer.keep(bytes, shape)?;
        self.tree.insert(path(at), entry);
        Ok(())
    }

    fn home(&mut self, home: &str, uid: u32, gid: u32) -> Result<(), FinishError> {
        let at = self.place(home)?;
        if self.tree.get(&at).is_none() {
            self.tree.insert(at, Entry::folder().owned(uid, gid));
        }
        Ok(())
    }

    fn file(&mut self, file: &DefinedFile, accounts: &Accounts) -> Result<(), FinishError> {
        let uid = number(&file.owner).or_else(|| accounts.uid(&file.owner.value));
        let uid = uid.ok_or_else(|| FinishError::Owner {
            name: file.owner.clone(),
            kind: "user",
        })?;
        // A group that is named like a user means that user's own group.
        let named = &file.group.value;
        let gid = number(&file.group)
            .or_else(|| accounts.gid(named))
            .or_else(|| accounts.primary_gid(named));
        let gid = gid.ok_or_else(|| FinishError::Owner {
            name: file.group.clone(),
            kind: "group",
        })?;
        let at = self.place(&file.target)?;
        // A fixed time: files are named by their bytes, and their host's times are chance.
        let shape = Entry::new(file.mode, FOLDER_TIME, Node::Directory).owned(uid, gid);
        let entry = match &file.content {
            DefinedContent::Folder => shape,
            DefinedContent::Symlink(target) => Entry {
                mode: 0o777,
                ..Entry::symlink(target, FOLDER_TIME)
            }
            .owned(uid, gid),
            DefinedContent::Bytes(bytes) => {
                let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
                let content = Promise::Bytes(bytes.clone());
                self.writer.promise(content, digest, size, shape)
            }
            DefinedContent::Host {
                path,
                digest,
                size: Some(size),
            } => {
                let content = Promise::Host(path.clone());
                self.writer.promise(content, *digest, *size, shape)
            }
            DefinedContent::Host { path, digest, .. } => {
                let kept = self.writer.keep_host(path, digest, shape);
                kept.map_err(|broken| told(broken, &file.target))?
            }
        };
        let was_folder = self.tree.get(&at).is_some_and(Entry::is_folder);
        if was_folder && !entry.is_folder() {
            return Err(FinishError::Target {
                target: file.target.clone(),
                blocking: format!("/{at} is a folder, and what the definition lays there"),
            });
        }
        self.tree.insert(at, entry);
        Ok(())
    }

    /// Where something written to a target comes to stand: links on the way are followed within
    /// the image, and folders that are missing are made.
    fn place(&mut self, target: &str) -> Result<TreePath, FinishError> {
        let wanted = TreePath::new(target.as_bytes()).map_err(|source| FinishError::Path {
            target: target.into(),
            source,
        })?;
        let mut here = TreePath::root();
        let names: Vec<&[u8]> = wanted.components().collect();
        let (last, parents) = names.split_last().ok_or_else(|| FinishError::Target {
            target: target.into(),
            blocking: "the root".into(),
        })?;
        for name in parents {
            let next = here.join(name);
            here = match self.tree.get(&next) {
                None => {
                    self.tree.insert(next.clone(), Entry::folder());
                    next
                }
                Some(_) => {
                    let real = self.tree.resolve(&next);
                    let folder = real.filter(|real| {
                        real.is_root() || self.tree.get(real).is_some_and(Entry::is_folder)
                    });
                    folder.ok_or_else(|| FinishError::Target {
                        target: target.into(),
                        blocking: format!("/{next}"),
                    })?
                }
            };
        }
        Ok(here.join(last))
    }
}

fn number(name: &Located<String>) -> Option<u32> {
    name.value.parse().ok()
}

/// A path this module spells out.
fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).expect("paths in the code are clean")
}

/// Whether a finished tree has the program a command begins with: checked at build, not at start.
/// A name without a folder is looked for in those of `search`, a `PATH`.
pub(crate) fn has_program(tree: &Tree, command: &str, search: &str) -> bool {
    let there = |path: &str| {
        TreePath::new(path.as_bytes())
            .ok()
            .is_some_and(|at| tree.resolve(&at).is_some())
    };
    if command.contains('/') {
        // A relative path is relative to wherever the program will start: who knows.
        return !command.starts_with('/') || there(command);
    }
    search
        .split(':')
        .any(|folder| there(&format!("{folder}/{command}")))
}
