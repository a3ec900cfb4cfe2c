//! Reading and writing another process's memory, and the structures that go there.

#![expect(
    unsafe_code,
    reason = "process_vm_readv(2) and views of C structures as bytes"
)]

use std::ffi::CStr;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::slice;

use libc::{c_int, pid_t};
use rustix::io::Errno;

use super::process::last_error;

/// Copies from another process; returns how much was copied.
pub(crate) fn read(pid: u32, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = remote(address, into.len())?;
    // SAFETY: `local` describes `into`; the remote side is checked by the kernel.
    let count = unsafe {
        libc::process_vm_readv(pid as pid_t, &raw const local, 1, &raw const remote, 1, 0)
    };
    usize::try_from(count).map_err(|_| last_error())
}

/// Copies to another process, all of `from` or an error.
pub(crate) fn write(pid: u32, address: u64, from: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = remote(address, from.len())?;
    // SAFETY: `local` describes `from`, which is only read; the kernel checks the remote side.
    let count = unsafe {
        libc::process_vm_writev(pid as pid_t, &raw const local, 1, &raw const remote, 1, 0)
    };
    match usize::try_from(count) {
        Ok(count) if count == from.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(last_error()),
    }
}

fn remote(address: u64, length: usize) -> Result<libc::iovec, Errno> {
    Ok(libc::iovec {
        iov_base: std::ptr::without_provenance_mut(
            usize::try_from(address).map_err(|_| Errno::FAULT)?,
        ),
        iov_len: length,
    })
}

const NO_PATH: &CStr = c"";

/// `fstat` of a descriptor, as the C structure that callers of this machine's own kind expect.
pub(crate) fn stat(of: BorrowedFd<'_>) -> Result<libc::stat, Errno> {
    // SAFETY: `stat` is plain data for which zero is valid.
    let mut result: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one `stat`.
    match unsafe { libc::fstat(of.as_raw_fd(), &raw mut result) } {
        0 => Ok(result),
        _ => Err(last_error()),
    }
}

/// `statx` of a descriptor.
pub(crate) fn statx(of: BorrowedFd<'_>, flags: c_int, mask: u32) -> Result<libc::statx, Errno> {
    // SAFETY: `statx` is plain data for which zero is valid.
    let mut result: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: the path is a C string and the kernel writes one `statx`.
    let code = unsafe {
        libc::statx(
            of.as_raw_fd(),
            NO_PATH.as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            mask,
            &raw mut result,
        )
    };
    match code {
        0 => Ok(result),
        _ => Err(last_error()),
    }
}

/// The bytes of a [`libc::stat`].
pub(crate) fn stat_bytes(value: &libc::stat) -> &[u8] {
    // SAFETY: the structure has no implicit padding (what there is are fields), and every byte
    // was zeroed before the kernel filled it in.
    unsafe { slice::from_raw_parts((&raw const *value).cast(), size_of_val(value)) }
}

/// The bytes of a [`libc::statx`].
pub(crate) fn statx_bytes(value: &libc::statx) -> &[u8] {
    // SAFETY: as for `stat_bytes`.
    unsafe { slice::from_raw_parts((&raw const *value).cast(), size_of_val(value)) }
}
