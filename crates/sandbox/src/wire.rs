//! What the two halves say to each other.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::message::{Malformed, Message, fields};
use crate::program::{
    AccessList, Claim, Device, IdentityChange, Outcome, Owner, Program, Status, Trial,
};

/// What the caller asks of the inner half.
pub(crate) struct Request {
    /// The caller's process id: if the inner half's parent is another, the caller has died.
    pub(crate) caller: i32,
    /// The directories; none to try everything on a file system in memory.
    pub(crate) place: Option<Place>,
    pub(crate) owners: Vec<Owner>,
    /// The program; none to stop where it would be started.
    pub(crate) program: Option<Program>,
}

/// [`crate::Root`] with paths of its own.
pub(crate) struct Place {
    pub(crate) lower: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

/// What the inner half answers.
pub(crate) enum Report {
    Done(Outcome),
    Failed(Fault),
}

/// An operation of the inner half that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// What it was about, if anything.
    pub(crate) path: PathBuf,
    pub(crate) error: Errno,
}

impl Fault {
    pub(crate) fn new(operation: Operation, path: impl AsRef<Path>, error: Errno) -> Self {
        Self {
            operation,
            path: path.as_ref().to_owned(),
            error,
        }
    }
}

/// Names the operation a system call was part of.
pub(crate) trait During<T> {
    fn during(self, operation: Operation) -> Result<T, Fault>;
    fn during_on(self, operation: Operation, path: impl AsRef<Path>) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, operation: Operation) -> Result<T, Fault> {
        self.during_on(operation, "")
    }
    fn during_on(self, operation: Operation, path: impl AsRef<Path>) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(operation, path, error))
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, operation: Operation) -> Result<T, Fault> {
        self.during_on(operation, "")
    }
    fn during_on(self, operation: Operation, path: impl AsRef<Path>) -> Result<T, Fault> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .during_on(operation, path)
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What the inner half does, step by step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($(#[$doc])* $name = $number,)*
        }
        impl Operation {
            /// The operation in words that follow "cannot".
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

operations! {
    ReadRequest = 0, "read the request";
    Prepare = 1, "prepare the inner process";
    EnterNamespaces = 2, "enter new namespaces";
    MapIds = 3, "map the user and group ids";
    OpenDirectory = 4, "open a directory of the root";
    CheckOwner = 5, "use a directory that belongs to somebody else";
    MountOverlay = 6, "mount the overlay";
    Mount = 7, "mount a file system";
    MountProc = 8, "mount /proc";
    BindDevice = 9, "show a device of the host";
    PivotRoot = 10, "change the root";
    FindOwned = 11, "find a path whose owner was given";
    Fork = 12, "start a process";
    SetUp = 13, "set up the program's surroundings";
    ChangeDirectory = 14, "go to the program's directory";
    InstallFilter = 15, "install the seccomp filter";
    PassListener = 16, "pass the seccomp listener on";
    Execute = 17, "execute the program";
    Supervise = 18, "answer the program's system calls";
    Survey = 19, "read what the program left";
    CheckEmpty = 20, "use a work directory that is not empty";
    CopyElsewhere = 22, "copy a file to another place";
    TooManyProcesses = 21, "go on: the program started too many processes";
}

impl Message for Operation {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u8).put(to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Self::from_number(u8::take(from)?).ok_or(Malformed)
    }
}

impl Message for Errno {
    fn put(&self, to: &mut Vec<u8>) {
        self.raw_os_error().put(to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        i32::take(from).map(Self::from_raw_os_error)
    }
}

impl Message for Status {
    fn put(&self, to: &mut Vec<u8>) {
        let (signaled, number) = match *self {
            Self::Exited(code) => (false, code),
            Self::Signaled(signal) => (true, signal),
        };
        signaled.put(to);
        number.put(to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match (bool::take(from)?, i32::take(from)?) {
            (false, code) => Self::Exited(code),
            (true, signal) => Self::Signaled(signal),
        })
    }
}

impl Message for Report {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Done(outcome) => {
                true.put(to);
                outcome.put(to);
            }
            Self::Failed(fault) => {
                false.put(to);
                fault.put(to);
            }
        }
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        if bool::take(from)? {
            Outcome::take(from).map(Self::Done)
        } else {
            Fault::take(from).map(Self::Failed)
        }
    }
}

fields!(Request {
    caller,
    place,
    owners,
    program
});
fields!(Place { lower, upper, work });
fields!(Fault {
    operation,
    path,
    error
});
fields!(Owner { path, uid, gid });
fields!(Program {
    argv,
    environment,
    directory,
    host_name,
    trial
});
fields!(Trial {
    clock_ahead,
    reverse_folders,
    attribute
});
fields!(AccessList {
    path,
    default,
    value
});
fields!(Outcome {
    status,
    claims,
    capabilities,
    access_lists,
    identity_changes,
    writers
});
fields!(Claim {
    path,
    uid,
    gid,
    device
});
fields!(Device {
    character,
    major,
    minor
});
fields!(IdentityChange {
    program,
    arguments,
    uid,
    gid
});

/// A path as the kernel wants it.
pub(crate) fn c_string(text: impl AsRef<std::ffi::OsStr>) -> Result<std::ffi::CString, Errno> {
    std::ffi::CString::new(text.as_ref().as_bytes()).map_err(|_| Errno::INVAL)
}
