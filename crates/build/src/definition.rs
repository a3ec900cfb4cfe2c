//! What a definition lays over its packages, read from the host once and named by its bytes.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kasmforge_digest::Digest;
use kasmforge_lock::Lock;
use kasmforge_plan::services;
use kasmforge_spec::{FileContent, Located, Stage, User, Workspace};
use kasmforge_store::Store;
use kasmforge_tree::{Node, Tree};

use crate::content::Pool;
use crate::extract::{self, ExtractError};

/// Everything a stage's definition lays over its packages.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) files: Vec<DefinedFile>,
    pub(crate) users: Vec<User>,
    /// Lines of `/etc/apt/sources.list`.
    pub(crate) sources: Vec<String>,
}

/// One file, folder or link that a definition lays into the image.
#[derive(Debug, Clone)]
pub(crate) struct DefinedFile {
    /// The absolute path, as written.
    pub(crate) target: String,
    pub(crate) content: DefinedContent,
    pub(crate) owner: Located<String>,
    pub(crate) group: Located<String>,
    pub(crate) mode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefinedContent {
    Folder,
    Symlink(Vec<u8>),
    /// A file of the host, with the digest and the size it had when it was looked at. A download's size
    /// is not known: it may be yet to come.
    Host {
        path: PathBuf,
        digest: Digest,
        size: Option<u64>,
    },
    Bytes(Vec<u8>),
}

/// A file a definition names that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is neither a file, a folder nor a link.
    #[error("{} is neither a file nor a folder nor a link", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// A download is not there.
    #[error("{url} was not fetched")]
    Absent {
        /// The address.
        url: String,
    },
    /// A download that could not be unpacked.
    #[error("cannot unpack {url} into the image")]
    Extract {
        /// The address.
        url: String,
        /// Why.
        source: ExtractError,
    },
}

impl Definition {
    /// Reads what a stage's definition names. `project` is the folder its paths are relative to.
    pub(crate) fn read(
        project: &Path,
        workspace: &Workspace,
        stage: &Stage,
        lock: &Lock,
        store: &Store,
    ) -> Result<Self, DefinitionError> {
        let mut files = Vec::new();
        // Compiled services first: a definition's own files may stand over them.
        let nowhere = stage
            .services
            .first()
            .map(|service| service.name.at.clone());
        for compiled in services::compile(&stage.services) {
            let at = nowhere
                .clone()
                .expect("something was compiled from a service");
            let root = Located {
                value: "root".to_owned(),
                at,
            };
            files.push(DefinedFile {
                target: compiled.path,
                content: DefinedContent::Bytes(compiled.content),
                owner: root.clone(),
                group: root,
                mode: compiled.mode,
            });
        }
        for file in &stage.image_files {
            let target = file.target.value.clone();
            let (owner, group) = (&file.owner, &file.group);
            let mut add = |target: String, content, mode| {
                let (owner, group) = (owner.clone(), group.clone());
                files.push(DefinedFile {
                    target,
                    content,
                    owner,
                    group,
                    mode,
                });
            };
            match &file.content {
                FileContent::Directory => {
                    add(target, DefinedContent::Folder, file.mode.unwrap_or(0o755));
                }
                FileContent::Symlink(to) => {
                    add(
                        target,
                        DefinedContent::Symlink(to.clone().into_bytes()),
                        0o777,
                    );
                }
                FileContent::Text(text) => {
                    let content = DefinedContent::Bytes(text.clone().into_bytes());
                    add(target, content, file.mode.unwrap_or(0o644));
                }
                FileContent::Url { url, extract, .. } => {
                    let absent = || DefinitionError::Absent {
                        url: url.value.clone(),
                    };
                    let digest = *lock.urls.get(&url.value).ok_or_else(absent)?;
                    if *extract {
                        let (folder, tree) =
                            extract::extract(store, &digest).map_err(|source| {
                                DefinitionError::Extract {
                                    url: url.value.clone(),
                                    source,
                                }
                            })?;
                        add(target.clone(), DefinedContent::Folder, 0o755);
                        extracted(&folder, &tree, &target, &mut add);
                    } else {
                        let path = store.blob_path(&digest);
                        let content = DefinedContent::Host {
                            path,
                            digest,
                            size: None,
                        };
                        add(target, content, file.mode.unwrap_or(0o644));
                    }
                }
                FileContent::Source(source) => {
                    walk(&project.join(&source.value), &target, file.mode, &mut add)?;
                }
            }
        }
        Ok(Self {
            files,
            users: stage.users.clone(),
            sources: workspace.debian.sources_in_image.clone(),
        })
    }

    /// Each part of it by its digest and in words: what the finished stage is a function of.
    pub(crate) fn parts(&self) -> Vec<(Digest, String)> {
        let mut parts: Vec<String> = self.files.iter().map(DefinedFile::words).collect();
        for User {
            name,
            uid,
            gid,
            home,
            shell,
            groups,
        } in &self.users
        {
            let (name, groups) = (&name.value, groups.join(","));
            parts.push(format!(
                "user {name} {uid}:{gid} {home:?} {shell:?} {groups:?}"
            ));
        }
        for line in &self.sources {
            parts.push(format!("source {line:?}"));
        }
        let named = |words: String| (Digest::of(words.as_bytes()), words);
        parts.into_iter().map(named).collect()
    }
}

impl DefinedFile {
    /// All of it in one line; quoted, so that no two different files give the same.
    fn words(&self) -> String {
        let what = match &self.content {
            DefinedContent::Folder => "folder".to_owned(),
            DefinedContent::Symlink(target) => {
                format!("link to {:?}", std::ffi::OsStr::from_bytes(target))
            }
            DefinedContent::Host { digest, .. } => digest.to_string(),
            DefinedContent::Bytes(bytes) => Digest::of(bytes).to_string(),
        };
        let Self {
            target,
            owner,
            group,
            mode,
            ..
        } = self;
        let (owner, group) = (&owner.value, &group.value);
        format!("{target:?} {owner}:{group} {mode:o} {what}")
    }
}

/// Adds an unpacked download below its target.
fn extracted(
    folder: &Path,
    tree: &Tree,
    target: &str,
    add: &mut dyn FnMut(String, DefinedContent, u32),
) {
    let pool = Pool::default();
    pool.add(folder, tree);
    for (path, entry) in tree.iter() {
        let content = match &entry.node {
            Node::Directory => DefinedContent::Folder,
            Node::Symlink(to) => DefinedContent::Symlink(to.to_vec()),
            Node::File { digest, size, .. } => {
                let path = pool.path(digest).expect("it was added above");
                DefinedContent::Host {
                    path,
                    digest: *digest,
                    size: Some(*size),
                }
            }
            _ => continue,
        };
        add(
            format!("{}/{path}", target.trim_end_matches('/')),
            content,
            entry.mode,
        );
    }
}

/// Walks a file or folder of the project in the order of names.
///
/// Of a file's mode only the owner's execute bit counts: the rest is the checkout's umask.
fn walk(
    path: &Path,
    target: &str,
    mode: Option<u32>,
    add: &mut dyn FnMut(String, DefinedContent, u32),
) -> Result<(), DefinitionError> {
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| DefinitionError::Read {
            path: error.path().unwrap_or(path).to_owned(),
            source: error.into(),
        })?;
        let at = entry.path();
        let failed = |source| DefinitionError::Read {
            path: at.into(),
            source,
        };
        let below = at.strip_prefix(path).unwrap_or(Path::new(""));
        let target = match below.to_string_lossy() {
            below if below.is_empty() => target.to_owned(),
            below => format!("{}/{below}", target.trim_end_matches('/')),
        };
        let kind = entry.file_type();
        if kind.is_dir() {
            add(target, DefinedContent::Folder, 0o755);
        } else if kind.is_symlink() {
            let link = fs::read_link(at).map_err(failed)?;
            add(
                target,
                DefinedContent::Symlink(link.as_os_str().as_bytes().to_vec()),
                0o777,
            );
        } else if kind.is_file() {
            let file = fs::File::open(at).map_err(failed)?;
            let executable = file.metadata().map_err(failed)?.permissions().mode() & 0o100 != 0;
            let (digest, size) = Digest::of_reader(file).map_err(failed)?;
            let mode = mode.unwrap_or(if executable { 0o755 } else { 0o644 });
            add(
                target,
                DefinedContent::Host {
                    path: at.into(),
                    digest,
                    size: Some(size),
                },
                mode,
            );
        } else {
            return Err(DefinitionError::Kind { path: at.into() });
        }
    }
    Ok(())
}
