//! The record of who owns what.
//!
//! The record is by inode, but an inode of an overlay is a shifty thing. What the kernel does
//! (seen on 6.18, all layers on one file system, no index):
//!
//! * a file of one link keeps the number it has in the lower directory when it is copied up, but
//!   a hard link made to it later shows the number of its copy;
//! * a file of several links is torn from the others when it is copied up and shows the number
//!   of its copy from then on; until then its number is theirs as well;
//! * a directory keeps its number.
//!
//! So an entry is known by two numbers, the one it shows and the one its copy has in the upper
//! directory. For a file of one link the latter matters once it gets a second, and is learnt just
//! before. A file of several must be looked for when something unknown turns up in the upper
//! directory; and while it has no copy, its path tells it from the others.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use crate::caller::{Identity, handle_path, path_of};
use crate::program::Device;

/// What is recorded about an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: Option<Device>,
}

impl Record {
    /// What everything is that nobody said anything about.
    pub(crate) const PLAIN: Self = Self {
        uid: 0,
        gid: 0,
        device: None,
    };
}

struct Entry {
    /// Keeps the inode, and with it its numbers, from being given to another file; finds it
    /// again wherever it is moved.
    handle: OwnedFd,
    record: Record,
    /// Its access control lists: its own, and the default one for what will be made in it.
    lists: [Option<Vec<u8>>; 2],
    /// The number it shows.
    identity: Identity,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A file of the lower directory with one link.
    Single,
    /// A file of the lower directory with several links, not copied up yet as far as we know.
    Shared,
    /// All its numbers are known.
    Settled,
}

/// The record of who owns what.
pub(crate) struct Ownership {
    entries: Vec<Entry>,
    index: BTreeMap<Identity, Vec<usize>>,
    /// The entries that are [`State::Shared`].
    shared: Vec<usize>,
    upper: OwnedFd,
    /// The device number the overlay shows, if it shows one for all its files.
    device: Option<u64>,
}

impl Ownership {
    /// Begins a record for the overlay with this upper directory. `device` is the device number
    /// of all its files, if lower and upper directory are on one file system.
    pub(crate) const fn new(upper: OwnedFd, device: Option<u64>) -> Self {
        Self {
            entries: Vec::new(),
            index: BTreeMap::new(),
            shared: Vec::new(),
            upper,
            device,
        }
    }

    /// Whether there is nothing to know, so that no call needs a closer look.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an inode may be recorded: quick, and never wrong about "no".
    pub(crate) fn may_know(&self, stat: &Stat) -> bool {
        !self.shared.is_empty() || self.index.contains_key(&Identity::of(stat))
    }

    /// What is recorded about an open file.
    pub(crate) fn get(&mut self, file: &OwnedFd, stat: &Stat) -> Option<Record> {
        self.find(file, stat)
            .map(|entry| self.entries[entry].record)
    }

    /// What is recorded about a file by its number in the upper directory itself.
    pub(crate) fn get_copy(&self, stat: &Stat) -> Option<Record> {
        let entry = self.index.get(&self.identity_of_copy(stat))?.first()?;
        Some(self.entries[*entry].record)
    }

    /// Records something about an open file that has just been changed, and so is not in the
    /// lower directory any more. `before` is what it was like before that.
    pub(crate) fn set(
        &mut self,
        file: OwnedFd,
        before: &Stat,
        record: Record,
    ) -> Result<(), Errno> {
        if let Some(entry) = self.find(&file, before) {
            self.entries[entry].record = record;
            return self.raise(entry);
        }
        let entry = self.entries.len();
        self.entries.push(Entry {
            identity: Identity::of(before),
            handle: file,
            record,
            lists: [None, None],
            state: State::Settled,
        });
        self.raise(entry)
    }

    /// Whether any access control list is recorded.
    pub(crate) fn has_lists(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.lists.iter().any(Option::is_some))
    }

    /// The list recorded about an open file.
    pub(crate) fn list(&mut self, file: &OwnedFd, stat: &Stat, default: bool) -> Option<Vec<u8>> {
        let entry = self.find(file, stat)?;
        self.entries[entry].lists[usize::from(default)].clone()
    }

    /// Records a list of an open file that has just been changed, or that it has none any more.
    pub(crate) fn set_list(
        &mut self,
        file: OwnedFd,
        before: &Stat,
        default: bool,
        list: Option<Vec<u8>>,
    ) -> Result<(), Errno> {
        let entry = match self.find(&file, before) {
            Some(entry) => entry,
            None if list.is_none() => return Ok(()),
            None => {
                self.set(file, before, Record::PLAIN)?;
                self.entries.len() - 1
            }
        };
        self.entries[entry].lists[usize::from(default)] = list;
        self.raise(entry)
    }

    /// Records the owner of a file of the lower directory.
    pub(crate) fn seed(&mut self, handle: OwnedFd, record: Record) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(&handle)?;
        let identity = Identity::of(&stat);
        let entry = self.entries.len();
        let state = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => State::Settled,
            _ if stat.st_nlink > 1 || self.device.is_none() => State::Shared,
            _ => State::Single,
        };
        if state == State::Shared {
            self.shared.push(entry);
        }
        self.entries.push(Entry {
            handle,
            record,
            lists: [None, None],
            identity,
            state,
        });
        self.name(entry, identity);
        Ok(())
    }

    /// Prepares for a new link to an open file.
    pub(crate) fn expect_link(&mut self, file: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        match self.find(file, stat) {
            Some(entry) if self.entries[entry].state == State::Single => {
                copy_up(file, stat)?;
                self.raise(entry)
            }
            _ => Ok(()),
        }
    }

    /// Notices files of several links that have been copied up since.
    pub(crate) fn settle(&mut self) -> Result<(), Errno> {
        for entry in self.shared.clone() {
            let Entry {
                handle, identity, ..
            } = &self.entries[entry];
            if Identity::of(&rustix::fs::fstat(handle)?) != *identity {
                self.raise(entry)?;
            }
        }
        Ok(())
    }

    fn find(&mut self, file: &OwnedFd, stat: &Stat) -> Option<usize> {
        let known = self.look_up(file, stat);
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if known.is_some() || self.shared.is_empty() || directory || self.copy_of(file).is_none() {
            return known;
        }
        self.settle().ok()?;
        self.look_up(file, stat)
    }

    fn look_up(&self, file: &OwnedFd, stat: &Stat) -> Option<usize> {
        let candidates = self.index.get(&Identity::of(stat))?;
        candidates.iter().copied().find(|entry| {
            let entry = &self.entries[*entry];
            entry.state != State::Shared
                || matches!(
                    (path_of(&entry.handle), path_of(file)),
                    (Ok(recorded), Ok(asked)) if recorded == asked
                )
        })
    }

    /// Takes in that an entry is not, or not only, in the lower directory.
    fn raise(&mut self, number: usize) -> Result<(), Errno> {
        let entry = &self.entries[number];
        let (before, now) = (
            entry.identity,
            Identity::of(&rustix::fs::fstat(&entry.handle)?),
        );
        let copy = self.copy_of(&entry.handle);
        if before != now
            && let Some(numbers) = self.index.get_mut(&before)
        {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.index.remove(&before);
            }
        }
        self.shared.retain(|other| *other != number);
        self.entries[number].identity = now;
        self.entries[number].state = State::Settled;
        self.name(number, now);
        if let Some(copy) = copy {
            self.name(number, copy);
        }
        Ok(())
    }

    fn name(&mut self, entry: usize, identity: Identity) {
        let numbers = self.index.entry(identity).or_default();
        if !numbers.contains(&entry) {
            numbers.push(entry);
        }
    }

    /// The number a file has in the upper directory itself, if it is there.
    fn copy_of(&self, file: &OwnedFd) -> Option<Identity> {
        let path = path_of(file).ok()?;
        let path = path.strip_prefix("/").ok()?;
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let stat = rustix::fs::statat(&self.upper, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(self.identity_of_copy(&stat))
    }

    /// What the overlay shows of a file that is in the upper directory only.
    fn identity_of_copy(&self, stat: &Stat) -> Identity {
        Identity::new(self.device.unwrap_or(stat.st_dev), stat.st_ino)
    }
}

/// Has the overlay copy a file up, by giving it what it has: a link would do so anyway.
fn copy_up(file: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let (user, group) = (Some(Uid::ROOT), Some(Gid::ROOT));
        return rustix::fs::chownat(file, "", user, group, AtFlags::EMPTY_PATH);
    }
    rustix::fs::chmod(
        handle_path(file),
        Mode::from_raw_mode(stat.st_mode & 0o7777),
    )
}
