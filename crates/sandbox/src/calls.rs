//! The system calls that are not left to the kernel alone, for each architecture a program of
//! this machine may be of.
//!
//! One table feeds both the filter, which decides what is asked about, and the supervisor, which
//! must understand what it is asked. Numbers of the machine's own architecture are libc's; those
//! of i386, which libc does not have on other machines, are from the kernel's `syscall_32.tbl`.

use crate::kernel::seccomp::Notification;

/// One system call and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) width: Width,
}

/// How wide a user or group id is among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// 16 bits: the first calls of i386.
    #[cfg(target_arch = "x86_64")]
    Narrow,
    /// 32 bits.
    Wide,
}

impl Width {
    /// The bits of an argument that count; all of them set mean "leave as it is".
    pub(crate) const fn mask(self) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Narrow => 0xffff,
            Self::Wide => 0xffff_ffff,
        }
    }
}

/// What a system call does, as far as ownership goes. Arguments in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// path, uid, gid
    Chown { follow: bool },
    /// descriptor, uid, gid
    Fchown,
    /// directory, path, uid, gid, flags
    Fchownat,
    /// path, mode, device: asked about only if the mode is a device's
    Mknod,
    /// directory, path, mode, device: as above
    Mknodat,
    /// path, buffer
    Stat { follow: bool, layout: Layout },
    /// descriptor, buffer
    Fstat(Layout),
    /// directory, path, buffer, flags
    Fstatat(Layout),
    /// directory, path, flags, mask, buffer
    Statx,
    /// old path, new path
    Link,
    /// directory, old path, directory, new path, flags
    Linkat,
    /// This many user ids: asked about only if one is neither 0 nor "leave it".
    SetUser(usize),
    /// This many group ids: as above.
    SetGroup(usize),
    /// Nothing, successfully.
    Nothing,
    /// Refused: Docker's default profile refuses these too.
    Refused,
    /// Not there, so that programs take the older way.
    Missing,
}

/// The structure a `stat` call fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `struct stat` of this machine.
    Native,
    /// `struct stat64` of i386.
    #[cfg(target_arch = "x86_64")]
    I386,
}

/// A family of system call numbers.
pub(crate) struct Architecture {
    /// `AUDIT_ARCH_*`, as a filter sees it.
    pub(crate) audit: u32,
    /// From here on the numbers are a different family's (x32): answered with ENOSYS.
    pub(crate) end: Option<u32>,
    pub(crate) calls: &'static [Call],
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the sandbox knows the system calls of x86_64 and aarch64 only");

/// What programs may be of. Calls of any other architecture kill their process: a call that
/// nobody understands must not look like one that did its work.
#[cfg(target_arch = "x86_64")]
pub(crate) static ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        audit: 0xc000_003e,
        end: Some(0x4000_0000),
        calls: NATIVE,
    },
    Architecture {
        audit: 0x4000_0003,
        end: None,
        calls: I386,
    },
];

/// What programs may be of. 32-bit ARM is not among them; its processes are killed.
#[cfg(target_arch = "aarch64")]
pub(crate) static ARCHITECTURES: [Architecture; 1] = [Architecture {
    audit: 0xc000_00b7,
    end: None,
    calls: NATIVE,
}];

impl Call {
    /// Finds what a notification is about.
    pub(crate) fn of(notification: &Notification) -> Option<Self> {
        ARCHITECTURES
            .iter()
            .find(|architecture| architecture.audit == notification.architecture)?
            .calls
            .iter()
            .find(|call| call.number == notification.number)
            .copied()
    }
}

const fn wide(number: u32, kind: Kind) -> Call {
    Call {
        number,
        kind,
        width: Width::Wide,
    }
}

#[cfg(target_arch = "x86_64")]
const fn narrow(number: u32, kind: Kind) -> Call {
    Call {
        number,
        kind,
        width: Width::Narrow,
    }
}

const fn native(number: libc::c_long, kind: Kind) -> Call {
    wide(number as u32, kind)
}

static NATIVE: &[Call] = &[
    native(libc::SYS_newfstatat, Kind::Fstatat(Layout::Native)),
    native(libc::SYS_fstat, Kind::Fstat(Layout::Native)),
    #[cfg(target_arch = "x86_64")]
    native(
        libc::SYS_stat,
        Kind::Stat {
            follow: true,
            layout: Layout::Native,
        },
    ),
    #[cfg(target_arch = "x86_64")]
    native(
        libc::SYS_lstat,
        Kind::Stat {
            follow: false,
            layout: Layout::Native,
        },
    ),
    native(libc::SYS_statx, Kind::Statx),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_chown, Kind::Chown { follow: true }),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_lchown, Kind::Chown { follow: false }),
    native(libc::SYS_fchown, Kind::Fchown),
    native(libc::SYS_fchownat, Kind::Fchownat),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_mknod, Kind::Mknod),
    native(libc::SYS_mknodat, Kind::Mknodat),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_link, Kind::Link),
    native(libc::SYS_linkat, Kind::Linkat),
    native(libc::SYS_setuid, Kind::SetUser(1)),
    native(libc::SYS_setreuid, Kind::SetUser(2)),
    native(libc::SYS_setresuid, Kind::SetUser(3)),
    native(libc::SYS_setfsuid, Kind::SetUser(1)),
    native(libc::SYS_setgid, Kind::SetGroup(1)),
    native(libc::SYS_setregid, Kind::SetGroup(2)),
    native(libc::SYS_setresgid, Kind::SetGroup(3)),
    native(libc::SYS_setfsgid, Kind::SetGroup(1)),
    native(libc::SYS_setgroups, Kind::Nothing),
    // Without supplementary groups, whatever the caller's are.
    native(libc::SYS_getgroups, Kind::Nothing),
    native(libc::SYS_add_key, Kind::Refused),
    native(libc::SYS_request_key, Kind::Refused),
    native(libc::SYS_keyctl, Kind::Refused),
    native(libc::SYS_bpf, Kind::Refused),
    native(libc::SYS_perf_event_open, Kind::Refused),
    native(libc::SYS_kexec_load, Kind::Refused),
    native(libc::SYS_kexec_file_load, Kind::Refused),
    native(libc::SYS_userfaultfd, Kind::Refused),
    // Its statx would not be asked about.
    native(libc::SYS_io_uring_setup, Kind::Missing),
];

#[cfg(target_arch = "x86_64")]
static I386: &[Call] = &[
    wide(
        195,
        Kind::Stat {
            follow: true,
            layout: Layout::I386,
        },
    ),
    wide(
        196,
        Kind::Stat {
            follow: false,
            layout: Layout::I386,
        },
    ),
    wide(197, Kind::Fstat(Layout::I386)),
    wide(300, Kind::Fstatat(Layout::I386)),
    wide(383, Kind::Statx),
    narrow(182, Kind::Chown { follow: true }),
    narrow(16, Kind::Chown { follow: false }),
    narrow(95, Kind::Fchown),
    wide(212, Kind::Chown { follow: true }),
    wide(198, Kind::Chown { follow: false }),
    wide(207, Kind::Fchown),
    wide(298, Kind::Fchownat),
    wide(14, Kind::Mknod),
    wide(297, Kind::Mknodat),
    wide(9, Kind::Link),
    wide(303, Kind::Linkat),
    narrow(23, Kind::SetUser(1)),
    narrow(70, Kind::SetUser(2)),
    narrow(164, Kind::SetUser(3)),
    narrow(138, Kind::SetUser(1)),
    narrow(46, Kind::SetGroup(1)),
    narrow(71, Kind::SetGroup(2)),
    narrow(170, Kind::SetGroup(3)),
    narrow(139, Kind::SetGroup(1)),
    wide(213, Kind::SetUser(1)),
    wide(203, Kind::SetUser(2)),
    wide(208, Kind::SetUser(3)),
    wide(215, Kind::SetUser(1)),
    wide(214, Kind::SetGroup(1)),
    wide(204, Kind::SetGroup(2)),
    wide(210, Kind::SetGroup(3)),
    wide(216, Kind::SetGroup(1)),
    narrow(81, Kind::Nothing),
    wide(206, Kind::Nothing),
    narrow(80, Kind::Nothing),
    wide(205, Kind::Nothing),
    wide(286, Kind::Refused),
    wide(287, Kind::Refused),
    wide(288, Kind::Refused),
    wide(357, Kind::Refused),
    wide(336, Kind::Refused),
    wide(283, Kind::Refused),
    wide(374, Kind::Refused),
    wide(425, Kind::Missing),
    // The oldest stat calls, whose ids have 16 bits and whose files must be smaller than 2 GiB.
    // No C library of this century makes them.
    wide(18, Kind::Missing),
    wide(28, Kind::Missing),
    wide(84, Kind::Missing),
    wide(106, Kind::Missing),
    wide(107, Kind::Missing),
    wide(108, Kind::Missing),
];
