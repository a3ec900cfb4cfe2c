//! A process inside that waits for an answer: its memory, its descriptors, what its paths mean.
//!
//! The supervisor lives outside the process id namespace and works in the host's `/proc` as its
//! current directory, so every path here is relative to that.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use crate::kernel::memory;

/// The longest path the kernel takes, with the zero at its end.
const PATH_MAX: usize = 4096;
/// The smallest page there is: reading within one of these never runs into unmapped memory.
const PAGE: u64 = 4096;

/// What makes an inode the inode it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    pub(crate) const fn new(device: u64, number: u64) -> Self {
        Self { device, number }
    }

    pub(crate) const fn of(stat: &Stat) -> Self {
        Self::new(stat.st_dev, stat.st_ino)
    }
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// An open file.
    Descriptor(i32),
    /// A path in the caller's memory.
    Path {
        /// The descriptor of the directory it is relative to, or `AT_FDCWD`.
        at: i32,
        /// Where it is.
        address: u64,
        /// Whether a symbolic link at its end is followed.
        follow: bool,
        /// Whether an empty path means the directory itself.
        empty: bool,
    },
}

/// What a call is about, once its path has been read.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// An open file.
    Descriptor(i32),
    /// The directory a path is relative to, the path, and whether a link at its end is followed.
    Path(i32, CString, bool),
}

/// A process that waits.
pub(crate) struct Caller {
    pid: u32,
}

impl Caller {
    pub(crate) const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// The calling thread's id.
    pub(crate) const fn id(&self) -> u32 {
        self.pid
    }

    /// Reads so many bytes at an address.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        if length > 0 && memory::read(self.pid, address, &mut bytes)? != length {
            return Err(Errno::FAULT);
        }
        Ok(bytes)
    }

    /// A descriptor of the process as one of our own, with the place in it shared; and the
    /// process's id, which its threads have in common.
    pub(crate) fn borrow(&self, number: i32) -> Result<(u32, OwnedFd), Errno> {
        let status = self.read("status")?;
        let process = status
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"Tgid:\t"))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok())
            .ok_or(Errno::SRCH)?;
        let pid = Pid::from_raw(process.cast_signed()).ok_or(Errno::SRCH)?;
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let flags = PidfdGetfdFlags::empty();
        let file = rustix::process::pidfd_getfd(handle, number, flags)?;
        Ok((process, file))
    }

    /// Reads what a call is about from the process's memory.
    pub(crate) fn object(&self, target: Target) -> Result<Object, Errno> {
        Ok(match target {
            Target::Descriptor(number) => Object::Descriptor(number),
            Target::Path {
                at,
                address,
                follow,
                empty,
            } => {
                let path = self.path(address, empty)?;
                match (path.is_empty(), own_descriptor(path.to_bytes())) {
                    (true, _) if !empty => return Err(Errno::NOENT),
                    (true, _) if at == libc::AT_FDCWD => Object::Path(at, c".".into(), true),
                    (true, _) => Object::Descriptor(at),
                    (false, Some(number)) if follow => Object::Descriptor(number),
                    (false, _) => Object::Path(at, path, follow),
                }
            }
        })
    }

    /// Opens what a call is about, without reading or changing it.
    pub(crate) fn open(&self, object: &Object, own_root: Identity) -> Result<OwnedFd, Errno> {
        match object {
            Object::Descriptor(number) => self.descriptor(*number),
            Object::Path(at, path, follow) => self.resolve(*at, path, *follow, own_root),
        }
    }

    /// The path at an address. With `empty`, no address at all is an empty path (Linux 6.11).
    pub(crate) fn path(&self, address: u64, empty: bool) -> Result<CString, Errno> {
        if address == 0 && empty {
            return Ok(CString::default());
        }
        let mut path = Vec::new();
        let mut room = [0; PAGE as usize];
        while path.len() < PATH_MAX {
            let from = address.checked_add(path.len() as u64).ok_or(Errno::FAULT)?;
            // Paths are short: a quarter of a page holds nearly all of them.
            let length = (PAGE - from % PAGE).min(PAGE / 4) as usize;
            let count = memory::read(self.pid, from, &mut room[..length])?;
            if count == 0 {
                return Err(Errno::FAULT);
            }
            match room[..count].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    path.extend_from_slice(&room[..end]);
                    return CString::new(path).map_err(|_| Errno::INVAL);
                }
                None => path.extend_from_slice(&room[..count]),
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Opens a path as the process itself would.
    pub(crate) fn resolve(
        &self,
        at: i32,
        path: &CStr,
        follow: bool,
        own_root: Identity,
    ) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        if let Some(rest) = own_files(path.to_bytes()) {
            let rest = OsStr::from_bytes(rest);
            let path = Path::new(&self.pid.to_string()).join(rest);
            return rustix::fs::openat(CWD, path, flags, Mode::empty());
        }
        let root = self.magic("root")?;
        let beneath_root = |path: &CStr| {
            rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
        };
        if path.to_bytes().starts_with(b"/") {
            return beneath_root(path);
        }
        if Identity::of(&rustix::fs::fstat(&root)?) == own_root {
            // Its root is ours, so nothing on the way can mean something else for us.
            return rustix::fs::openat(self.directory(at)?, path, flags, Mode::empty());
        }
        // After a chroot: the whole path, as seen from its root.
        let from_our_root = |name: &str| self.link(name).map(PathBuf::from);
        let directory = from_our_root(&directory_name(at))?;
        let root_path = from_our_root("root")?;
        let directory = directory
            .strip_prefix(&root_path)
            .map_err(|_| Errno::XDEV)?;
        let whole = directory.join(OsStr::from_bytes(path.to_bytes()));
        beneath_root(&crate::wire::c_string(whole)?)
    }

    fn directory(&self, at: i32) -> Result<OwnedFd, Errno> {
        match at {
            libc::AT_FDCWD => self.magic("cwd"),
            number => self.descriptor(number),
        }
    }

    /// Opens what a descriptor refers to.
    fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::BADF);
        }
        self.magic(&format!("fd/{number}"))
            .map_err(|error| match error {
                Errno::NOENT => Errno::BADF,
                other => other,
            })
    }

    /// Asks about what a call is about without opening it, which is quicker. None where that is no
    /// sure way; with `same_paths`, the process's paths mean what they mean to the supervisor, whose
    /// root is the sandbox's.
    pub(crate) fn glance(&self, object: &Object, same_paths: bool) -> Option<Result<Stat, Errno>> {
        let (at, path, follow) = match object {
            Object::Descriptor(number) => {
                let path = format!("{}/fd/{number}", self.pid);
                return Some(rustix::fs::statat(CWD, path, AtFlags::empty()));
            }
            Object::Path(at, path, follow) => (*at, path, *follow),
        };
        if !same_paths || own_files(path.to_bytes()).is_some() {
            return None;
        }
        let flags = match follow {
            true => AtFlags::empty(),
            false => AtFlags::SYMLINK_NOFOLLOW,
        };
        if path.to_bytes().starts_with(b"/") {
            return Some(rustix::fs::statat(CWD, path, flags));
        }
        let mut whole = format!("{}/{}/", self.pid, directory_name(at)).into_bytes();
        whole.extend_from_slice(path.to_bytes());
        Some(rustix::fs::statat(CWD, whole, flags))
    }

    fn magic(&self, name: &str) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(
            CWD,
            format!("{}/{name}", self.pid),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    fn link(&self, name: &str) -> Result<OsString, Errno> {
        let path = format!("{}/{name}", self.pid);
        let target = rustix::fs::readlinkat(CWD, path, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        memory::write(self.pid, address, bytes)
    }

    /// The process's file mode creation mask.
    pub(crate) fn mask(&self) -> Result<u32, Errno> {
        let status = self.read("status")?;
        let line = status
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"Umask:\t"))
            .ok_or(Errno::IO)?;
        let digits = std::str::from_utf8(line).map_err(|_| Errno::IO)?;
        u32::from_str_radix(digits, 8).map_err(|_| Errno::IO)
    }

    /// The executable as the process sees it, if it can still be told.
    pub(crate) fn executable(&self) -> PathBuf {
        self.link("exe").unwrap_or_default().into()
    }

    /// The arguments the process was started with, if they can still be told.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut text = self.read("cmdline").unwrap_or_default();
        if text.last() == Some(&0) {
            text.pop();
        }
        text.split(|byte| *byte == 0)
            .map(|argument| OsStr::from_bytes(argument).to_owned())
            .collect()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Errno> {
        std::fs::read(Path::new(&self.pid.to_string()).join(name))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// What a process's folder in `/proc` calls the directory that a path is relative to.
fn directory_name(at: i32) -> String {
    match at {
        libc::AT_FDCWD => "cwd".to_owned(),
        number => format!("fd/{number}"),
    }
}

/// A path that leads to an open file whatever its names, from the supervisor's current directory.
pub(crate) fn handle_path(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("self/fd/{}", file.as_raw_fd())
}

/// The path an open file has by now, relative to the supervisor's root.
pub(crate) fn path_of(file: &OwnedFd) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlinkat(CWD, handle_path(file), Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

/// The descriptor a path means by way of `/proc/self`.
///
/// For the supervisor "self" is another process, in another process id namespace at that.
fn own_descriptor(path: &[u8]) -> Option<i32> {
    const FOLDERS: [&[u8]; 3] = [b"/proc/self/fd/", b"/proc/thread-self/fd/", b"/dev/fd/"];
    match path {
        b"/dev/stdin" => return Some(0),
        b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = FOLDERS
        .iter()
        .find_map(|folder| path.strip_prefix(*folder))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// What follows `/proc/self` in a path. Not if it leads back up: out of the host's `/proc`, where
/// it is looked up, that would be the way to the host's files.
fn own_files(path: &[u8]) -> Option<&[u8]> {
    const FOLDERS: [&[u8]; 2] = [b"/proc/self/", b"/proc/thread-self/"];
    FOLDERS
        .iter()
        .find_map(|folder| path.strip_prefix(*folder))
        .filter(|rest| !rest.starts_with(b"/"))
        .filter(|rest| rest.split(|byte| *byte == b'/').all(|name| name != b".."))
}

#[cfg(test)]
mod tests {
    use super::{own_descriptor, own_files};

    #[test]
    fn ways_to_name_a_process_of_ones_own() {
        assert_eq!(own_files(b"/proc/self/cwd/a"), Some(&b"cwd/a"[..]));
        assert_eq!(own_files(b"/proc/self/../../etc"), None);
        assert_eq!(own_files(b"/proc/self//etc"), None);
        assert_eq!(own_files(b"/proc/selfish/a"), None);
    }

    #[test]
    fn ways_to_name_an_open_file() {
        assert_eq!(own_descriptor(b"/proc/self/fd/12"), Some(12));
        assert_eq!(own_descriptor(b"/dev/fd/3"), Some(3));
        assert_eq!(own_descriptor(b"/dev/stderr"), Some(2));
        assert_eq!(own_descriptor(b"/proc/self/fd/3/etc"), None);
        assert_eq!(own_descriptor(b"/proc/self/fd"), None);
        assert_eq!(own_descriptor(b"/etc/passwd"), None);
    }
}
