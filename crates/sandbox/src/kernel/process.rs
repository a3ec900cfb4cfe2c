//! Making a process and what surrounds it.

#![expect(
    unsafe_code,
    reason = "fork, exec and file descriptor tables are beyond Rust's rules"
)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem;
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Turns the usual -1 into the error it stands for.
fn check(result: c_int) -> Result<c_int, Errno> {
    if result == -1 {
        Err(last_error())
    } else {
        Ok(result)
    }
}

pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Splits this process in two: `None` in the child, the child's id in the parent.
///
/// # Errors
///
/// [`Errno::BUSY`] if the process has more than one thread: the child would find their locks
/// taken for ever.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Errno::BUSY);
    }
    // SAFETY: this is the only thread, so the child has a consistent copy of all memory.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid))
}

/// Leaves namespaces of the parent for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the flags that would endanger memory or descriptors (`FILES`) are never given.
    unsafe { rustix::thread::unshare_unsafe(flags - UnshareFlags::FILES) }
}

/// Ends the process at once, without running destructors or flushing anything of the parent's.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Makes `to` another name of the descriptor `from`.
pub(crate) fn duplicate_onto(from: c_int, to: c_int) -> Result<(), Errno> {
    // SAFETY: only called for the standard streams, which nothing in this process owns.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// Has every descriptor but the standard streams closed when a program is executed.
pub(crate) fn close_others_on_execute() -> Result<(), Errno> {
    let all = libc::c_uint::MAX;
    let flag = c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).expect("a small flag");
    // SAFETY: setting close-on-exec does not close anything that is in use.
    check(unsafe { libc::close_range(3, all, flag) }).map(drop)
}

/// Restores what a program expects of signals: default actions, none blocked.
///
/// Rust's runtime ignores SIGPIPE, and ignored signals stay ignored over exec.
pub(crate) fn default_signals() -> Result<(), Errno> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action needs no handler; the numbers refused with EINVAL (KILL,
        // STOP and those glibc keeps to itself) need no reset.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero set is a valid value to be initialised by `sigemptyset`.
    let mut none: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `none` is a valid set for both calls; the old set is not asked for.
    check(unsafe {
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())
    })
    .map(drop)
}

/// The resource whose limit carries a note of the supervisor's with each process.
///
/// A limit is inherited by whatever a process starts and survives its becoming another program,
/// and the kernel has not looked at this one, the number of file locks, since 2.4.
pub(crate) const NOTE: u32 = libc::RLIMIT_LOCKS;

/// Reads the note a process carries.
pub(crate) fn note(pid: u32) -> Result<u64, Errno> {
    exchange_note(pid, None).map(|limit| limit.rlim_cur)
}

/// Has a process carry a note.
pub(crate) fn set_note(pid: u32, note: u64) -> Result<(), Errno> {
    let mut limit = exchange_note(pid, None)?;
    limit.rlim_cur = note.min(limit.rlim_max);
    exchange_note(pid, Some(&limit)).map(drop)
}

fn exchange_note(pid: u32, new: Option<&libc::rlimit>) -> Result<libc::rlimit, Errno> {
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel reads one `rlimit` unless the pointer is null, and writes one.
    check(unsafe { libc::prlimit(pid as libc::pid_t, libc::RLIMIT_LOCKS, new, &raw mut old) })?;
    Ok(old)
}

/// The wall clock: seconds since 1970 and nanoseconds.
pub(crate) fn wall_clock() -> Result<(i64, i64), Errno> {
    // SAFETY: `timespec` is plain data for which zero is valid.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one `timespec`.
    check(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) })?;
    Ok((time.tv_sec, time.tv_nsec))
}

/// Names the host of the current UTS namespace.
pub(crate) fn set_host_name(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length describe `name`, which is only read.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Brings up the loopback interface of the current network namespace.
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    // SAFETY: plain integers.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    let socket = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(socket) };
    // SAFETY: `ifreq` is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is.
    check(unsafe {
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    })
    .map(drop)
}

/// Becomes another program. Returns only if that failed.
pub(crate) fn execute(program: &CStr, argv: &[CString], environment: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: both lists end with a null pointer and point to strings that live until the call
    // returns or the process is another.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    last_error()
}
