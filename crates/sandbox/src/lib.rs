//! Runs a program in a root of our own, for anybody.
//!
//! Packages come with scripts that want to be root: they change owners, make device nodes, start
//! programs with the setuid bit. This room lets them, without anybody being root. Three types to
//! know: [`Root`] is made of the directories the program starts from and writes to, [`Program`]
//! is what to run, [`Outcome`] says what it left behind. [`run`] takes the first two and gives
//! the third. `main` must call [`enter_if_asked`] first.
//!
//! # How
//!
//! ```text
//! run() ── starts this executable again ──┐
//!   │                                     │  one uid and gid of its own (user namespace),
//!   │ output, report                      ▼  overlay over lower and upper
//!   └──────────────────────────────── inner half ──────┬── process 1 ── program ── ...
//!                                         ▲            │   new root, /proc, /dev, /tmp, /run,
//!                                         │            │   no network, nothing of the host
//!                                         └────────────┘
//!                          system calls about ownership, by seccomp notification
//! ```
//!
//! A user without further ids can own files as one user only. So the owners that programs give
//! to files are kept in a record by inode, which answers `stat` as well, and end up as
//! [`Claim`]s. The same is done when root runs this: owners are then as little real, and the
//! outcome is the same.
//!
//! # What the program sees
//!
//! * `/` is the overlay. `/tmp` and `/run` are empty file systems in memory, the latter with the
//!   directories of the root's own and `/run/lock`; `/sys` is empty and read-only; `/dev` holds
//!   six devices and what goes with them; `/proc` shows its own processes only and lets no
//!   setting of the kernel be changed. Where a container forbids a fresh `/proc`, it is the
//!   container's.
//! * Files in new directories with the setgid bit get their group in the [`Outcome`], not while
//!   the program looks.
//! * A program that changes to another user is that user as far as it can ask, and owns what it
//!   makes. It is still let through everywhere, as root is, and who is at the other end of a
//!   socket is always root. Who changed is told in [`Outcome::identity_changes`].
//! * Access control lists may name any user or group; what is made in a directory does not get
//!   its default list while the program runs.
//! * On x86_64, programs of i386 are treated alike. Programs of any other foreign architecture
//!   are killed by SIGSYS, since half their calls would not be understood.
//! * There is no keyring, BPF, perf, userfaultfd, kexec or io_uring.

mod caller;
mod calls;
mod creation;
pub mod elsewhere;
mod error;
mod filter;
mod identity;
mod init;
mod inside;
mod kernel;
mod lists;
mod message;
mod mounts;
mod ownership;
mod program;
mod run;
mod supervisor;
mod survey;
mod trial;
mod wire;

pub use error::{Error, Obstacle};
pub use program::{
    AccessList, Claim, Device, IdentityChange, Outcome, Owner, Program, Root, Status, Trial,
};
pub use run::{enter_if_asked, probe, probe_in, run};

/// Whether a file may be open anywhere but through this very descriptor, in any process.
///
/// It stands here because it takes a system call without a safe wrapper.
#[must_use]
pub fn is_open_elsewhere(file: &std::fs::File) -> bool {
    kernel::lease::is_open_elsewhere(file)
}
