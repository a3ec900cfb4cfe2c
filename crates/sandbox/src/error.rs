//! Why a run did not take place, and what mends it.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::wire::{Fault, Operation};

/// A run that did not take place, or could not be followed to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The executable does not begin with [`crate::enter_if_asked`], so it cannot be its own
    /// inner half.
    #[error("the sandbox was not prepared: `enter_if_asked` must be the first thing `main` does")]
    NotPrepared,
    /// The inner half could not be started.
    #[error("cannot start this executable again as the sandbox's inner half")]
    Launch(#[source] io::Error),
    /// The inner half could not be listened to.
    #[error("cannot read from the sandbox's inner half")]
    Listen(#[source] io::Error),
    /// The inner half ended without a word.
    #[error("the sandbox's inner half ended without a report ({0})")]
    Lost(std::process::ExitStatus),
    /// This host does not let this user make the namespaces a sandbox is made of.
    #[error("cannot {operation}: {obstacle}")]
    Forbidden {
        /// What was tried.
        operation: &'static str,
        /// What stands in the way.
        obstacle: Obstacle,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A directory of the root could not be used.
    #[error("cannot open {path:?} for the sandbox's root")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A directory of the root belongs to another user or group than the caller.
    #[error(
        "{path:?} belongs to another user or group: the sandbox's directories, and all in them, \
         must be this user's and this user's group's (is it inside a directory with the setgid bit?)"
    )]
    NotOwned {
        /// The directory.
        path: PathBuf,
    },
    /// The work directory is not empty; the kernel refuses one that has been used before.
    #[error("{path:?} holds something: the overlay needs an empty work directory for each run")]
    WorkNotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The file system under the upper directory does not carry an overlay.
    #[error(
        "cannot lay an overlay over {upper:?}: it must be on a file system with user attributes, \
         such as ext4, xfs, btrfs or tmpfs, which a container's own layer is not (give it a volume)"
    )]
    Overlay {
        /// The upper directory.
        upper: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file system of the sandbox's own could not be mounted.
    #[error("cannot mount over {path:?} of the sandbox's root; that directory must exist there")]
    Mount {
        /// The place, relative to the root.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An owner was given for a path that is not there.
    #[error("cannot find {path:?}, whose owner was given, in the lower directory")]
    Owner {
        /// The path, relative to the root.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the system call filter.
    #[error(
        "cannot install the system call filter: Linux 5.0 or later with CONFIG_SECCOMP_FILTER is \
         needed, and no other supervisor of system calls around this process"
    )]
    Filter(#[source] io::Error),
    /// The program never stopped talking.
    #[error("the program said more than {most} MiB, and was stopped")]
    TooMuchOutput {
        /// How much it may say, in MiB.
        most: u64,
    },
    /// The program never stopped starting others.
    #[error("the program started too many processes, and was stopped")]
    TooManyProcesses,
    /// The program could not be started.
    #[error("cannot start {program:?} in the sandbox")]
    Start {
        /// The program, or the directory it was to start in.
        program: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Any other step inside failed.
    #[error("cannot {operation}{}", Of(path))]
    Inside {
        /// What was tried.
        operation: &'static str,
        /// What it was about; empty if nothing in particular.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Appends a path in parentheses, if there is one.
struct Of<'a>(&'a PathBuf);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str().is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.0.display())
        }
    }
}

/// The setting that keeps an ordinary user from making namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// Debian's own switch is off.
    UnprivilegedClone,
    /// The number of user namespaces is limited to none, or the limit is reached.
    Limit,
    /// AppArmor takes away the rights inside a user namespace (Ubuntu 23.10 and later).
    AppArmor,
    /// A seccomp filter is around this process, as in a container with a default profile.
    SystemCallFilter,
    /// The kernel was built without something.
    Kernel,
    /// None of the known ones.
    Unknown,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnprivilegedClone => {
                "this kernel forbids user namespaces to ordinary users; \
                 allow them with `sysctl kernel.unprivileged_userns_clone=1`"
            }
            Self::Limit => {
                "the number of user namespaces is used up; \
                 raise it with `sysctl user.max_user_namespaces=15000`"
            }
            Self::AppArmor => {
                "AppArmor restricts user namespaces; allow them with \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or give this executable \
                 a profile with the rule `userns,`"
            }
            Self::SystemCallFilter => {
                "a system call filter forbids it, as the default profile of a container does; \
                 start the container with `--security-opt seccomp=unconfined` \
                 (and `--security-opt apparmor=unconfined` where AppArmor is in use)"
            }
            Self::Kernel => {
                "this kernel lacks it; Linux 5.11 or later with user namespaces and overlayfs is \
                 needed"
            }
            Self::Unknown => {
                "the host forbids it by a setting that is not one of the usual ones \
                 (a security module, or a container that drops rights)"
            }
        })
    }
}

impl Obstacle {
    /// Finds the setting behind a refusal, by looking at the host's.
    fn find(error: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        let setting = |path: &str| fs::read_to_string(path).ok();
        let is = |path: &str, value: &str| setting(path).is_some_and(|text| text.trim() == value);
        match error {
            Errno::NOSPC | Errno::USERS => Self::Limit,
            Errno::NOSYS | Errno::INVAL | Errno::NODEV => Self::Kernel,
            _ if is("/proc/sys/user/max_user_namespaces", "0") => Self::Limit,
            _ if is("/proc/sys/kernel/unprivileged_userns_clone", "0")
                && !rustix::process::geteuid().is_root() =>
            {
                Self::UnprivilegedClone
            }
            _ if setting("/proc/self/status")
                .is_some_and(|text| text.lines().any(|line| line == "Seccomp:\t2")) =>
            {
                Self::SystemCallFilter
            }
            _ if is(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ) =>
            {
                Self::AppArmor
            }
            _ => Self::Unknown,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        use rustix::io::Errno;
        let Fault {
            operation,
            path,
            error,
        } = fault;
        let refused = matches!(error, Errno::PERM | Errno::ACCESS);
        let source = io::Error::from(error);
        match operation {
            Operation::EnterNamespaces | Operation::MapIds => Self::Forbidden {
                operation: operation.text(),
                obstacle: Obstacle::find(error),
                source,
            },
            Operation::MountOverlay
            | Operation::Mount
            | Operation::MountProc
            | Operation::BindDevice
            | Operation::PivotRoot
                if refused =>
            {
                Self::Forbidden {
                    operation: operation.text(),
                    obstacle: Obstacle::find(error),
                    source,
                }
            }
            Operation::OpenDirectory => Self::Directory { path, source },
            Operation::CheckOwner => Self::NotOwned { path },
            Operation::CheckEmpty => Self::WorkNotEmpty { path },
            Operation::MountOverlay => Self::Overlay {
                upper: path,
                source,
            },
            Operation::Mount | Operation::MountProc => Self::Mount { path, source },
            Operation::FindOwned => Self::Owner { path, source },
            Operation::TooManyProcesses => Self::TooManyProcesses,
            Operation::InstallFilter => Self::Filter(source),
            Operation::Execute | Operation::ChangeDirectory => Self::Start {
                program: path,
                source,
            },
            _ => Self::Inside {
                operation: operation.text(),
                path,
                source,
            },
        }
    }
}
