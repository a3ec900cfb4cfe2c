//! What processes with an identity of their own make, and whose it is.
//!
//! The kernel makes it, as root's, once the call goes on; so what was about to be made is kept
//! until the next call anybody makes, and is recorded then. No process can do anything to a file
//! that the supervisor cares about without a call.

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::ownership::{Ownership, Record};

/// A path that a process is about to make.
struct Awaited {
    directory: OwnedFd,
    name: OsString,
    /// Who is about to make it.
    maker: u32,
    owner: (u32, u32),
}

/// The paths that are about to be made.
#[derive(Default)]
pub(crate) struct Awaiting(Vec<Awaited>);

impl Awaiting {
    /// Awaits a path, unless it is there already and will only be opened.
    pub(crate) fn expect(
        &mut self,
        maker: u32,
        directory: OwnedFd,
        name: OsString,
        owner: (u32, u32),
    ) {
        let found = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW);
        if matches!(found, Err(Errno::NOENT)) {
            self.0.push(Awaited {
                directory,
                name,
                maker,
                owner,
            });
        }
    }

    /// Records what has been made by now. `caller` has returned from whatever it called before.
    pub(crate) fn settle(
        &mut self,
        caller: Option<u32>,
        ownership: &mut Ownership,
    ) -> Result<(), Errno> {
        for awaited in std::mem::take(&mut self.0) {
            let opened = rustix::fs::openat(
                &awaited.directory,
                &awaited.name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            );
            let file = match opened {
                Ok(file) => file,
                Err(_) if caller.is_some_and(|caller| caller != awaited.maker) => {
                    self.0.push(awaited);
                    continue;
                }
                // Its call failed.
                Err(_) => continue,
            };
            let stat = rustix::fs::fstat(&file)?;
            let parent = rustix::fs::fstat(&awaited.directory)?;
            let (uid, mut gid) = awaited.owner;
            if parent.st_mode & libc::S_ISGID != 0 {
                let known = ownership.get(&awaited.directory, &parent);
                gid = known.unwrap_or(Record::PLAIN).gid;
            }
            let record = Record {
                uid,
                gid,
                device: None,
            };
            ownership.set(file, &stat, record)?;
        }
        Ok(())
    }
}
