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

    /// How many bytes an id has in memory.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Narrow => 2,
            Self::Wide => 4,
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
    /// Ids to go on as.
    SetIds(Ids, Form),
    /// Returns one of the caller's ids.
    GetId(Ids, Role),
    /// Where to write the real, the effective and the saved id.
    GetIds(Ids),
    /// count, list
    GetGroups,
    /// count, list
    SetGroups,
    /// A path to be made, and where its arguments stand; with flags only if they ask for that.
    Create {
        directory: Option<usize>,
        path: usize,
        flags: Option<usize>,
    },
    /// A path gets another name: whatever is still to be recorded must be, before.
    Move,
    /// path or descriptor, name, value, size, flags
    SetAttribute(By),
    /// path or descriptor, name, value, size
    GetAttribute(By),
    /// path or descriptor, name
    RemoveAttribute(By),
    /// resource, limit: kept from one resource that the supervisor writes a note in.
    SetLimit { resource: usize },
    /// signal, action: made to begin interrupted calls again. `word`: bytes of a C `long`.
    Handle { word: usize },
    /// Waiting: spared some programs.
    Sleep,
    /// path, arguments, environment: who writes next. In a trial only.
    Execute,
    /// descriptor, buffer, size: turned round. In a trial only.
    List,
    /// clock, buffer: put forward. In a trial only.
    Clock,
    /// buffer, zone. In a trial only.
    TimeOfDay,
    /// buffer, or none. In a trial only.
    #[cfg(target_arch = "x86_64")]
    Time,
    /// The first call of a new program, with 0 as its argument. In a trial only.
    Begin,
    /// Changes what paths mean to some of the callers.
    Remount,
    /// Refused: Docker's default profile refuses these too.
    Refused,
    /// Not there, so that programs take the older way.
    Missing,
}

/// Ids of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    User,
    Group,
}

/// How ids to go on as are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `setuid`: one for all, if the caller may.
    All,
    /// `setreuid`: real, effective.
    Two,
    /// `setresuid`: real, effective, saved.
    Three,
    /// `setfsuid`: for files alone.
    Files,
}

impl Form {
    /// How many ids there are among the arguments.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::All | Self::Files => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Which of a caller's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Real,
    Effective,
}

/// How a call names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Path,
    /// A path whose last component is not followed.
    Link,
    Descriptor,
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
    /// What a trial asks about besides.
    pub(crate) in_trials: &'static [Call],
}

impl Architecture {
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Call> {
        self.calls.iter().chain(self.in_trials)
    }
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
        in_trials: NATIVE_IN_TRIALS,
    },
    Architecture {
        audit: 0x4000_0003,
        end: None,
        calls: I386,
        // Its clock and its folders stay as they are.
        in_trials: &[wide(11, Kind::Execute)],
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
            .all()
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

const fn create(directory: Option<usize>, path: usize, flags: Option<usize>) -> Kind {
    Kind::Create {
        directory,
        path,
        flags,
    }
}

/// What a trial asks about besides.
static NATIVE_IN_TRIALS: &[Call] = &[
    native(libc::SYS_execve, Kind::Execute),
    native(libc::SYS_getdents64, Kind::List),
    native(libc::SYS_clock_gettime, Kind::Clock),
    native(libc::SYS_gettimeofday, Kind::TimeOfDay),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_time, Kind::Time),
    native(libc::SYS_brk, Kind::Begin),
];

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
    native(libc::SYS_setuid, Kind::SetIds(Ids::User, Form::All)),
    native(libc::SYS_setreuid, Kind::SetIds(Ids::User, Form::Two)),
    native(libc::SYS_setresuid, Kind::SetIds(Ids::User, Form::Three)),
    native(libc::SYS_setfsuid, Kind::SetIds(Ids::User, Form::Files)),
    native(libc::SYS_setgid, Kind::SetIds(Ids::Group, Form::All)),
    native(libc::SYS_setregid, Kind::SetIds(Ids::Group, Form::Two)),
    native(libc::SYS_setresgid, Kind::SetIds(Ids::Group, Form::Three)),
    native(libc::SYS_setfsgid, Kind::SetIds(Ids::Group, Form::Files)),
    native(libc::SYS_getuid, Kind::GetId(Ids::User, Role::Real)),
    native(libc::SYS_geteuid, Kind::GetId(Ids::User, Role::Effective)),
    native(libc::SYS_getgid, Kind::GetId(Ids::Group, Role::Real)),
    native(libc::SYS_getegid, Kind::GetId(Ids::Group, Role::Effective)),
    native(libc::SYS_getresuid, Kind::GetIds(Ids::User)),
    native(libc::SYS_getresgid, Kind::GetIds(Ids::Group)),
    native(libc::SYS_setgroups, Kind::SetGroups),
    native(libc::SYS_getgroups, Kind::GetGroups),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_open, create(None, 0, Some(1))),
    native(libc::SYS_openat, create(Some(0), 1, Some(2))),
    // Its flags are in memory, where a filter cannot look.
    native(libc::SYS_openat2, create(Some(0), 1, None)),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_creat, create(None, 0, None)),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_mkdir, create(None, 0, None)),
    native(libc::SYS_mkdirat, create(Some(0), 1, None)),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_symlink, create(None, 1, None)),
    native(libc::SYS_symlinkat, create(Some(1), 2, None)),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_rename, Kind::Move),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_renameat, Kind::Move),
    native(libc::SYS_renameat2, Kind::Move),
    native(libc::SYS_setxattr, Kind::SetAttribute(By::Path)),
    native(libc::SYS_lsetxattr, Kind::SetAttribute(By::Link)),
    native(libc::SYS_fsetxattr, Kind::SetAttribute(By::Descriptor)),
    native(libc::SYS_getxattr, Kind::GetAttribute(By::Path)),
    native(libc::SYS_lgetxattr, Kind::GetAttribute(By::Link)),
    native(libc::SYS_fgetxattr, Kind::GetAttribute(By::Descriptor)),
    native(libc::SYS_removexattr, Kind::RemoveAttribute(By::Path)),
    native(libc::SYS_lremovexattr, Kind::RemoveAttribute(By::Link)),
    native(
        libc::SYS_fremovexattr,
        Kind::RemoveAttribute(By::Descriptor),
    ),
    // setxattrat and getxattrat, the same numbers everywhere (Linux 6.13).
    wide(463, Kind::Missing),
    wide(464, Kind::Missing),
    #[cfg(target_arch = "x86_64")]
    native(libc::SYS_setrlimit, Kind::SetLimit { resource: 0 }),
    native(libc::SYS_prlimit64, Kind::SetLimit { resource: 1 }),
    native(libc::SYS_rt_sigaction, Kind::Handle { word: 8 }),
    native(libc::SYS_nanosleep, Kind::Sleep),
    native(libc::SYS_clock_nanosleep, Kind::Sleep),
    native(libc::SYS_chroot, Kind::Remount),
    native(libc::SYS_pivot_root, Kind::Remount),
    native(libc::SYS_mount, Kind::Remount),
    native(libc::SYS_umount2, Kind::Remount),
    native(libc::SYS_move_mount, Kind::Remount),
    native(libc::SYS_setns, Kind::Remount),
    native(libc::SYS_add_key, Kind::Refused),
    native(libc::SYS_request_key, Kind::Refused),
    native(libc::SYS_keyctl, Kind::Refused),
    native(libc::SYS_bpf, Kind::Refused),
    native(libc::SYS_perf_event_open, Kind::Refused),
    native(libc::SYS_kexec_load, Kind::Refused),
    native(libc::SYS_kexec_file_load, Kind::Refused),
    native(libc::SYS_userfaultfd, Kind::Refused),
    // A file of any path, by a number that can be guessed.
    native(libc::SYS_open_by_handle_at, Kind::Refused),
    // The kernel's messages are the host's.
    native(libc::SYS_syslog, Kind::Refused),
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
    narrow(23, Kind::SetIds(Ids::User, Form::All)),
    narrow(70, Kind::SetIds(Ids::User, Form::Two)),
    narrow(164, Kind::SetIds(Ids::User, Form::Three)),
    narrow(138, Kind::SetIds(Ids::User, Form::Files)),
    narrow(46, Kind::SetIds(Ids::Group, Form::All)),
    narrow(71, Kind::SetIds(Ids::Group, Form::Two)),
    narrow(170, Kind::SetIds(Ids::Group, Form::Three)),
    narrow(139, Kind::SetIds(Ids::Group, Form::Files)),
    wide(213, Kind::SetIds(Ids::User, Form::All)),
    wide(203, Kind::SetIds(Ids::User, Form::Two)),
    wide(208, Kind::SetIds(Ids::User, Form::Three)),
    wide(215, Kind::SetIds(Ids::User, Form::Files)),
    wide(214, Kind::SetIds(Ids::Group, Form::All)),
    wide(204, Kind::SetIds(Ids::Group, Form::Two)),
    wide(210, Kind::SetIds(Ids::Group, Form::Three)),
    wide(216, Kind::SetIds(Ids::Group, Form::Files)),
    narrow(24, Kind::GetId(Ids::User, Role::Real)),
    narrow(49, Kind::GetId(Ids::User, Role::Effective)),
    narrow(47, Kind::GetId(Ids::Group, Role::Real)),
    narrow(50, Kind::GetId(Ids::Group, Role::Effective)),
    wide(199, Kind::GetId(Ids::User, Role::Real)),
    wide(201, Kind::GetId(Ids::User, Role::Effective)),
    wide(200, Kind::GetId(Ids::Group, Role::Real)),
    wide(202, Kind::GetId(Ids::Group, Role::Effective)),
    narrow(165, Kind::GetIds(Ids::User)),
    narrow(171, Kind::GetIds(Ids::Group)),
    wide(209, Kind::GetIds(Ids::User)),
    wide(211, Kind::GetIds(Ids::Group)),
    narrow(81, Kind::SetGroups),
    wide(206, Kind::SetGroups),
    narrow(80, Kind::GetGroups),
    wide(205, Kind::GetGroups),
    wide(5, create(None, 0, Some(1))),
    wide(295, create(Some(0), 1, Some(2))),
    wide(437, create(Some(0), 1, None)),
    wide(8, create(None, 0, None)),
    wide(39, create(None, 0, None)),
    wide(296, create(Some(0), 1, None)),
    wide(83, create(None, 1, None)),
    wide(304, create(Some(1), 2, None)),
    wide(38, Kind::Move),
    wide(302, Kind::Move),
    wide(353, Kind::Move),
    wide(226, Kind::SetAttribute(By::Path)),
    wide(229, Kind::GetAttribute(By::Path)),
    wide(235, Kind::RemoveAttribute(By::Path)),
    wide(227, Kind::SetAttribute(By::Link)),
    wide(230, Kind::GetAttribute(By::Link)),
    wide(236, Kind::RemoveAttribute(By::Link)),
    wide(228, Kind::SetAttribute(By::Descriptor)),
    wide(231, Kind::GetAttribute(By::Descriptor)),
    wide(237, Kind::RemoveAttribute(By::Descriptor)),
    wide(463, Kind::Missing),
    wide(464, Kind::Missing),
    wide(174, Kind::Handle { word: 4 }),
    wide(162, Kind::Sleep),
    wide(267, Kind::Sleep),
    wide(407, Kind::Sleep),
    wide(75, Kind::SetLimit { resource: 0 }),
    wide(340, Kind::SetLimit { resource: 1 }),
    wide(61, Kind::Remount),
    wide(217, Kind::Remount),
    wide(21, Kind::Remount),
    wide(22, Kind::Remount),
    wide(52, Kind::Remount),
    wide(429, Kind::Remount),
    wide(346, Kind::Remount),
    wide(286, Kind::Refused),
    wide(287, Kind::Refused),
    wide(288, Kind::Refused),
    wide(357, Kind::Refused),
    wide(336, Kind::Refused),
    wide(283, Kind::Refused),
    wide(374, Kind::Refused),
    wide(342, Kind::Refused),
    wide(103, Kind::Refused),
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
