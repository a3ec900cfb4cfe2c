//! Answers about access control lists. All other attributes are left to the kernel.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;

use super::Supervisor;
use crate::caller::{Caller, Target, handle_path};
use crate::kernel::seccomp::Answer;
use crate::lists::{LONGEST, List, which};

impl Supervisor {
    /// Arguments from the name on: name, value, size.
    pub(super) fn set_attribute(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
        [name, value, size]: [u64; 3],
    ) -> Answer {
        let mut set = || -> Result<Option<()>, Errno> {
            let Some(default) = which(&caller.path(name, false)?) else {
                return Ok(None);
            };
            let size = usize::try_from(size).map_err(|_| Errno::RANGE)?;
            if size > LONGEST {
                return Err(Errno::RANGE);
            }
            let value = caller.bytes(value, size)?;
            let (file, stat) = self.file(caller, target)?;
            valid()?;
            if value.is_empty() {
                self.ownership.set_list(file, &stat, default, None)?;
                return Ok(None);
            }
            let list = List::parse(&value)?;
            if list.is_mode_alone() {
                // The kernel makes a mode of it.
                self.ownership.set_list(file, &stat, default, None)?;
                return Ok(None);
            }
            let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if default && !directory {
                return Err(Errno::ACCESS);
            }
            let mode = if default {
                stat.st_mode & 0o7777
            } else {
                stat.st_mode & 0o7000 | list.mode()
            };
            rustix::fs::chmod(handle_path(&file), Mode::from_raw_mode(mode))?;
            self.ownership
                .set_list(file, &stat, default, Some(list.bytes()))?;
            Ok(Some(()))
        };
        match set() {
            Ok(Some(())) => Answer::Done,
            Ok(None) => Answer::Continue,
            Err(error) => Answer::Fail(error),
        }
    }

    /// Arguments from the name on: name, buffer, size.
    pub(super) fn get_attribute(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
        [name, buffer, size]: [u64; 3],
    ) -> Answer {
        if !self.ownership.has_lists() {
            return Answer::Continue;
        }
        let mut look = || -> Result<Option<Vec<u8>>, Errno> {
            let Some(default) = which(&caller.path(name, false)?) else {
                return Ok(None);
            };
            let (file, stat) = self.file(caller, target)?;
            Ok(self.ownership.list(&file, &stat, default))
        };
        // What cannot be looked up is the kernel's to refuse.
        let Ok(Some(value)) = look() else {
            return Answer::Continue;
        };
        let length = value.len() as u64;
        if size != 0 {
            if size < length {
                return Answer::Fail(Errno::RANGE);
            }
            if let Err(error) = valid().and_then(|()| caller.write(buffer, &value)) {
                return Answer::Fail(error);
            }
        }
        Answer::Value(length.cast_signed())
    }

    pub(super) fn remove_attribute(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
        name: u64,
    ) -> Answer {
        if !self.ownership.has_lists() {
            return Answer::Continue;
        }
        let mut remove = || -> Result<bool, Errno> {
            let Some(default) = which(&caller.path(name, false)?) else {
                return Ok(false);
            };
            let (file, stat) = self.file(caller, target)?;
            valid()?;
            let there = self.ownership.list(&file, &stat, default).is_some();
            self.ownership.set_list(file, &stat, default, None)?;
            Ok(there)
        };
        match remove() {
            Ok(true) => Answer::Done,
            _ => Answer::Continue,
        }
    }

    fn file(&self, caller: &Caller, target: Target) -> Result<(OwnedFd, Stat), Errno> {
        let file = caller.open(&caller.object(target)?, self.root)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok((file, stat))
    }
}
