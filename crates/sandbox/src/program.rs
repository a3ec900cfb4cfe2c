//! What goes in and what comes out: plain values, no kernel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The three directories a root is made of.
///
/// Everything in them must belong to the calling user and group, for the program sees that one
/// uid and gid as root and no other at all.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// The files the program starts from; never modified. It must hold the directories `dev`,
    /// `proc`, `run`, `sys` and `tmp`, over which file systems of the sandbox's own are laid.
    pub lower: &'a Path,
    /// Receives what the program changes, in overlayfs's form: a removed path is a character
    /// device 0/0, a directory that hides the one below has the attribute `user.overlay.opaque`.
    pub upper: &'a Path,
    /// Scratch space of the overlay: empty, and on the file system of `upper`.
    pub work: &'a Path,
}

/// A path of the lower directory that belongs to somebody else than root in the finished image.
///
/// On disk everything is the calling user's; this is how the program gets to see the owner the
/// image will have. Files named here had better not be hard links to anything else, nor on
/// another file system than the upper directory: those change their inode number when they are
/// copied up, and while a run has any of them, each `stat` takes half as long again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Relative to the root, through no symbolic link.
    pub path: PathBuf,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program and its arguments. A name without a slash is looked for in the `PATH` of
    /// [`environment`](Self::environment).
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts, as seen inside.
    pub directory: PathBuf,
    /// The host name it sees.
    pub host_name: String,
    /// What is made strange around it; nothing, unless something is to be proved.
    pub trial: Trial,
}

/// What is made strange around a program, to prove that what it makes does not depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trial {
    /// How many seconds the wall clock of its processes is ahead. Files are still stamped with
    /// the kernel's time, and programs of a foreign architecture see the true time, as do those
    /// that do not use the C library's way of asking.
    pub clock_ahead: u64,
    /// Lists every folder in the reverse of the file system's order.
    pub reverse_folders: bool,
    /// Learns which maintainer script wrote what: [`Outcome::writers`].
    pub attribute: bool,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It returned this exit code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl Status {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

/// What a run leaves behind besides the upper directory.
///
/// A path of the upper directory without a [`Claim`] belongs to root (0:0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the program ended.
    pub status: Status,
    /// The owners of paths in the upper directory, in order of their paths.
    pub claims: Vec<Claim>,
    /// `security.capability` of files in the upper directory, in the form a run by real root
    /// would have written (version 2, no root id), in order of their paths.
    pub capabilities: Vec<(PathBuf, Vec<u8>)>,
    /// POSIX access control lists of paths in the upper directory, in order of their paths.
    pub access_lists: Vec<AccessList>,
    /// Programs that went on as another user or group.
    pub identity_changes: Vec<IdentityChange>,
    /// In a trial: for each path of the upper directory, the script that wrote it last
    /// (`bash.postinst`), in order of the paths.
    pub writers: Vec<(PathBuf, String)>,
}

/// A POSIX access control list that a program gave to a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessList {
    /// Relative to the root.
    pub path: PathBuf,
    /// Whether it is for what will be made in the directory, rather than for the path itself.
    pub default: bool,
    /// The value of the attribute, as root would read it back (`linux/posix_acl_xattr.h`).
    pub value: Vec<u8>,
}

/// What the program was told a path of the upper directory is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Relative to the root, as it was when the program ended: renames are followed and every
    /// hard link has a claim of its own.
    pub path: PathBuf,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Set if the path, an empty regular file on disk, stands for a device node.
    pub device: Option<Device>,
}

/// The identity of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// A character device; otherwise a block device.
    pub character: bool,
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// A program went on as another user or group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityChange {
    /// The executable, as seen inside.
    pub program: PathBuf,
    /// Its arguments, the program's own name first.
    pub arguments: Vec<OsString>,
    /// The user asked for, if other than root.
    pub uid: Option<u32>,
    /// The group asked for, if other than root.
    pub gid: Option<u32>,
}
