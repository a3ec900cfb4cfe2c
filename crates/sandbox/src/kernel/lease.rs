//! Asking the kernel whether anybody else has a file open.

#![expect(unsafe_code, reason = "leases (fcntl(2)) have no safe wrapper")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Whether a file may be open anywhere but through this very descriptor, in any process.
///
/// A write lease is given only to whoever alone has a file open; it is returned at once. Where a
/// file system knows no leases, or the file is another user's, the answer is that it may be.
pub(crate) fn is_open_elsewhere(file: &File) -> bool {
    let descriptor = file.as_raw_fd();
    // SAFETY: the descriptor is open as long as `file` is, and the argument is a plain number.
    let leased = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) } == 0;
    if leased {
        // SAFETY: as above. It cannot fail: the lease is ours.
        unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) };
    }
    !leased
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opening_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "x").expect("a file");
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).open(&path).expect("opened")
        };
        let file = open();
        assert!(!is_open_elsewhere(&file));
        let reader = File::open(&path).expect("opened");
        assert!(is_open_elsewhere(&file));
        drop(reader);
        assert!(!is_open_elsewhere(&file));
    }
}
