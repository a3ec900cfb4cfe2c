//! Reads what a program left: the owners and capabilities of every path in the upper directory.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::caller::handle_path;
use crate::lists::List;
use crate::mounts::Layers;
use crate::ownership::{Ownership, Record};
use crate::program::{AccessList, Claim, Outcome, Status};
use crate::supervisor::Supervisor;
use crate::wire::{During as _, Fault, Operation};

/// The attribute of a file's capabilities.
const CAPABILITY: &CStr = c"security.capability";
/// The longest capability attribute: version 3.
const CAPABILITY_SIZE: usize = 24;
/// Version 2 is version 3 without the root id at its end.
const CAPABILITY_2_SIZE: usize = 20;
const CAPABILITY_VERSION_MASK: u32 = 0xff00_0000;
const CAPABILITY_2: u32 = 0x0200_0000;
const CAPABILITY_3: u32 = 0x0300_0000;

/// Goes through the upper directory once nobody changes it any more.
pub(crate) fn survey(
    layers: &Layers,
    mut supervisor: Supervisor,
    status: Status,
) -> Result<Outcome, Fault> {
    supervisor.settle().during(Operation::Survey)?;
    let Supervisor {
        mut ownership,
        identity_changes,
        writers,
        ..
    } = supervisor;
    let writers = match writers {
        Some(writers) => writers.finish().during(Operation::Survey)?,
        None => Vec::new(),
    };
    ownership.settle().during(Operation::Survey)?;
    let mut survey = Survey {
        layers,
        ownership,
        claims: Vec::new(),
        capabilities: Vec::new(),
        access_lists: Vec::new(),
    };
    let top = PathBuf::new();
    let copy = rustix::fs::fstat(&layers.upper).during(Operation::Survey)?;
    let root = survey.visit(&top, &copy, None).during(Operation::Survey)?;
    if let Some(root) = root {
        survey.walk(&layers.upper, &top, root)?;
    }
    let Survey {
        mut claims,
        mut capabilities,
        mut access_lists,
        ..
    } = survey;
    claims.sort();
    capabilities.sort();
    access_lists.sort();
    Ok(Outcome {
        status,
        claims,
        capabilities,
        access_lists,
        identity_changes: identity_changes.into_iter().collect(),
        writers,
    })
}

struct Survey<'a> {
    layers: &'a Layers,
    ownership: Ownership,
    claims: Vec<Claim>,
    capabilities: Vec<(PathBuf, Vec<u8>)>,
    access_lists: Vec<AccessList>,
}

/// What a directory hands on to what is made in it.
#[derive(Clone, Copy)]
struct Heritage {
    /// The group of new files, where it is not their maker's.
    group: Option<u32>,
}

impl Survey<'_> {
    /// Goes through a directory of the upper layer.
    fn walk(&mut self, upper: &OwnedFd, path: &Path, heritage: Heritage) -> Result<(), Fault> {
        let list = || -> Result<(OwnedFd, Vec<(PathBuf, Stat)>), Errno> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let place = match path.file_name() {
                Some(name) => Path::new(name),
                None => Path::new("."),
            };
            let directory = rustix::fs::openat(upper, place, flags, Mode::empty())?;
            let mut names = Vec::new();
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                names.push((path.join(name), stat));
            }
            Ok((directory, names))
        };
        let (directory, entries) = list().during_on(Operation::Survey, path)?;
        for (path, copy) in entries {
            let kind = FileType::from_raw_mode(copy.st_mode);
            // Programs cannot make device nodes here: this one says that a file was removed.
            if kind == FileType::CharacterDevice {
                continue;
            }
            let found = self
                .visit(&path, &copy, Some(heritage))
                .during_on(Operation::Survey, &path)?;
            match found {
                Some(heritage) if kind == FileType::Directory => {
                    self.walk(&directory, &path, heritage)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at one path of the overlay. None if a mount lies over it, and so no program can
    /// have changed it.
    ///
    /// `copy` is what it is like in the upper directory itself.
    fn visit(
        &mut self,
        path: &Path,
        copy: &Stat,
        heritage: Option<Heritage>,
    ) -> Result<Option<Heritage>, Errno> {
        let opened = rustix::fs::openat2(
            &self.layers.merged,
            match path.as_os_str().is_empty() {
                true => Path::new("."),
                false => path,
            },
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        );
        let file = match opened {
            Err(Errno::XDEV | Errno::NOENT) => return Ok(None),
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        let known = self
            .ownership
            .get(&file, &stat)
            .or_else(|| self.ownership.get_copy(copy));
        let record = match known {
            Some(record) => record,
            None => Record {
                gid: heritage
                    .and_then(|heritage| heritage.group)
                    .filter(|_| self.is_new(path))
                    .unwrap_or(Record::PLAIN.gid),
                ..Record::PLAIN
            },
        };
        if record != Record::PLAIN {
            self.claims.push(Claim {
                path: path.to_owned(),
                uid: record.uid,
                gid: record.gid,
                device: record.device,
            });
        }
        for default in [false, true] {
            if let Some(value) = self.ownership.list(&file, &stat, default) {
                let mut list = List::parse(&value)?;
                if !default {
                    list.set_mode(stat.st_mode);
                }
                self.access_lists.push(AccessList {
                    path: path.to_owned(),
                    default,
                    value: list.bytes(),
                });
            }
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile
            && record.device.is_none()
            && let Some(value) = capability(&file)?
        {
            self.capabilities.push((path.to_owned(), value));
        }
        let hands_on = kind == FileType::Directory && stat.st_mode & libc::S_ISGID != 0;
        Ok(Some(Heritage {
            group: (hands_on && record.gid != 0).then_some(record.gid),
        }))
    }

    /// Whether the program made a path; what it only changed had its owner before.
    fn is_new(&self, path: &Path) -> bool {
        let below = rustix::fs::statat(&self.layers.lower, path, AtFlags::SYMLINK_NOFOLLOW);
        matches!(below, Err(Errno::NOENT | Errno::NOTDIR))
    }
}

/// The capabilities of a file, as real root would have written them.
fn capability(file: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0; CAPABILITY_SIZE];
    match rustix::fs::getxattr(handle_path(file), CAPABILITY, &mut value[..]) {
        Ok(length) => without_root_id(&value[..length]).map(Some),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Turns version 3, which holds for one user namespace, into version 2, which holds everywhere
/// (`struct vfs_ns_cap_data` in `linux/capability.h`).
fn without_root_id(value: &[u8]) -> Result<Vec<u8>, Errno> {
    let (version, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
    let version = u32::from_le_bytes(*version);
    match version & CAPABILITY_VERSION_MASK {
        CAPABILITY_3 if value.len() == CAPABILITY_SIZE => {
            let version = version & !CAPABILITY_VERSION_MASK | CAPABILITY_2;
            let mut value = version.to_le_bytes().to_vec();
            value.extend_from_slice(&rest[..CAPABILITY_2_SIZE - size_of_val(&version)]);
            Ok(value)
        }
        _ => Ok(value.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::without_root_id;

    #[test]
    fn capabilities_lose_their_root_id() {
        // cap_net_raw=ep, as setcap writes it and as the kernel stores it for uid 1000.
        let two = [
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let mut three = two.to_vec();
        three[3] = 3;
        three.extend(1000_u32.to_le_bytes());
        assert_eq!(without_root_id(&three).expect("version 3"), two);
        assert_eq!(without_root_id(&two).expect("version 2"), two);
    }
}
