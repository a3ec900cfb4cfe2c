//! The seccomp filter and its listener.

#![expect(
    unsafe_code,
    reason = "seccomp(2) and the listener's ioctls have no safe wrapper"
)]

use std::mem;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;

use super::process::last_error;

/// One instruction of a filter.
pub(crate) type Instruction = libc::sock_filter;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    id: u64,
    /// The calling thread, in the supervisor's process id namespace.
    pub(crate) pid: u32,
    /// `AUDIT_ARCH_*` of the call.
    pub(crate) architecture: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// What a waiting system call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It goes on as if nobody had asked.
    Continue,
    /// It returns 0 without being carried out.
    Done,
    /// It returns this without being carried out.
    Value(i64),
    /// It fails without being carried out.
    Fail(Errno),
}

impl From<Result<(), Errno>> for Answer {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Fail, |()| Self::Done)
    }
}

/// Puts a filter over this process and all it will start, and returns its listener.
///
/// Where the kernel can (5.19), a process is deaf to all but fatal signals from the moment its
/// call was received: a call that was carried out is then never begun a second time.
///
/// # Errors
///
/// [`Errno::BUSY`] if there is a listener already.
pub(crate) fn install(filter: &[Instruction]) -> Result<Listener, Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let try_with = |flags: c_ulong| -> Result<Listener, Errno> {
        // SAFETY: `program` describes `filter`, which outlives the call and is only read.
        let result: c_long = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        match RawFd::try_from(result) {
            Ok(descriptor) if descriptor >= 0 => {
                // SAFETY: the kernel has just made this descriptor for us.
                Ok(Listener(unsafe { OwnedFd::from_raw_fd(descriptor) }))
            }
            _ => Err(last_error()),
        }
    };
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match try_with(listen | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => try_with(listen),
        result => result,
    }
}

/// Where system calls that wait for an answer arrive.
pub(crate) struct Listener(OwnedFd);

impl From<OwnedFd> for Listener {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for a kernel's idea of a structure, which may have grown since ours.
#[repr(C, align(8))]
struct Room<T> {
    value: T,
    spare: [u8; 256],
}

impl Listener {
    /// Asks the kernel to run the waiting process on this processor as soon as it is answered,
    /// which halves the time of a round trip. Kernels before 6.6 cannot, and nothing is lost.
    pub(crate) fn wake_synchronously(&self) {
        const SYNC_WAKE_UP: c_ulong = 1;
        // SAFETY: this request takes its argument by value.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
    }

    /// Takes the next call. None if its process has died meanwhile.
    pub(crate) fn receive(&self) -> Result<Option<Notification>, Errno> {
        // SAFETY: both are plain data for which zero is valid; the kernel demands zeroes.
        let mut room: Room<libc::seccomp_notif> = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes one `seccomp_notif`, for which there is room to spare.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut room,
            )
        };
        if result == -1 {
            return match last_error() {
                Errno::NOENT | Errno::INTR | Errno::AGAIN => Ok(None),
                error => Err(error),
            };
        }
        let libc::seccomp_notif { id, pid, data, .. } = room.value;
        Ok(Some(Notification {
            id,
            pid,
            architecture: data.arch,
            number: data.nr.cast_unsigned(),
            arguments: data.args,
        }))
    }

    /// Whether the call still waits, and so everything read under its process id was its own.
    pub(crate) fn still_waits(&self, call: &Notification) -> bool {
        // SAFETY: this request reads one `u64`.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const call.id,
            )
        };
        result == 0
    }

    /// Lets the call go. A process that has died meanwhile needs no answer.
    pub(crate) fn answer(&self, call: &Notification, answer: Answer) -> Result<(), Errno> {
        let (flags, error, val): (c_ulong, c_int, i64) = match answer {
            Answer::Continue => (libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE, 0, 0),
            Answer::Done => (0, 0, 0),
            Answer::Value(value) => (0, 0, value),
            Answer::Fail(error) => (0, -error.raw_os_error(), 0),
        };
        let response = Room {
            value: libc::seccomp_notif_resp {
                id: call.id,
                val,
                error,
                flags: u32::try_from(flags).expect("a small flag"),
            },
            spare: [0; 256],
        };
        // SAFETY: the kernel reads one `seccomp_notif_resp`, followed by zeroes to spare.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const response,
            )
        };
        match result {
            -1 => match last_error() {
                Errno::NOENT => Ok(()),
                error => Err(error),
            },
            _ => Ok(()),
        }
    }
}
