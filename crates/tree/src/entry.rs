//! What stands at a path.

use std::collections::BTreeMap;

use kasmforge_digest::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::path::{escape, escaped};
use crate::{FOLDER_TIME, TreePath};

/// One entry of a tree: what it is, and the metadata all kinds share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Permission bits with set-id and sticky: at most 0o7777. Links have 0o777.
    pub mode: u32,
    /// The owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// The owning group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name: `security.capability`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub node: Node,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(id: &u32) -> bool {
    *id == 0
}

/// The kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A folder.
    Directory,
    /// A regular file, by its content's name.
    File {
        /// The content's digest.
        digest: Digest,
        /// The content's length in bytes.
        size: u64,
        /// The path this is another name of (a hard link). The same content and metadata stand
        /// there; whoever cannot keep the link may repeat the content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<TreePath>,
    },
    /// A symbolic link.
    Symlink(Target),
    /// A character device.
    Character {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// In a layer: what a lower layer has here is gone.
    Whiteout,
}

/// What a symbolic link says: any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(pub Box<[u8]>);

impl std::ops::Deref for Target {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        escaped(deserializer, |bytes| Ok(Self(bytes.into())))
    }
}

impl Entry {
    /// A folder of root's, mode 0755, with the time all folders have.
    #[must_use]
    pub fn folder() -> Self {
        Self::new(0o755, FOLDER_TIME, Node::Directory)
    }

    /// A regular file of root's.
    #[must_use]
    pub fn file(mode: u32, mtime: i64, digest: Digest, size: u64) -> Self {
        Self::new(
            mode,
            mtime,
            Node::File {
                digest,
                size,
                link: None,
            },
        )
    }

    /// A symbolic link of root's.
    #[must_use]
    pub fn symlink(target: &[u8], mtime: i64) -> Self {
        Self::new(0o777, mtime, Node::Symlink(Target(target.into())))
    }

    /// An entry of root's without extended attributes.
    #[must_use]
    pub fn new(mode: u32, mtime: i64, node: Node) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: BTreeMap::new(),
            node,
        }
    }

    /// The same entry with another owner.
    #[must_use]
    pub fn owned(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self.node, Node::Directory)
    }

    /// A regular file's digest and size.
    #[must_use]
    pub fn content(&self) -> Option<(Digest, u64)> {
        match self.node {
            Node::File { digest, size, .. } => Some((digest, size)),
            _ => None,
        }
    }
}
