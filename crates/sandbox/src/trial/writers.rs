//! Who wrote what.
//!
//! Scripts run one after another, and each begins with a call the supervisor sees. What has
//! changed in the upper directory until the next one begins is the work of the one before, or of
//! dpkg on its behalf.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Where dpkg has the scripts of packages.
const SCRIPTS: &[u8] = b"/var/lib/dpkg/info/";
/// The scripts a package may have.
const KINDS: [&[u8]; 4] = [b".preinst", b".postinst", b".prerm", b".postrm"];
/// What is written before any script runs.
const BEFORE: &str = "what runs before the scripts";

/// Learns who wrote what.
pub(crate) struct Writers {
    upper: OwnedFd,
    current: String,
    seen: BTreeMap<PathBuf, (Print, String)>,
}

/// What changes whenever a file does.
#[derive(PartialEq, Eq)]
struct Print {
    number: u64,
    changed: (i64, u64),
}

impl Print {
    fn of(stat: &Stat) -> Self {
        #[expect(
            clippy::unnecessary_cast,
            reason = "the field is another number on other machines"
        )]
        Self {
            number: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec as u64),
        }
    }
}

impl Writers {
    pub(crate) fn new(upper: OwnedFd) -> Self {
        Self {
            upper,
            current: BEFORE.into(),
            seen: BTreeMap::new(),
        }
    }

    /// Takes in that a program is about to begin.
    pub(crate) fn begins(&mut self, program: &[u8]) -> Result<(), Errno> {
        let Some(name) = script(program) else {
            return Ok(());
        };
        self.look()?;
        self.current = String::from_utf8_lossy(name).into_owned();
        Ok(())
    }

    /// For each path that was written, the last who did.
    pub(crate) fn finish(mut self) -> Result<Vec<(PathBuf, String)>, Errno> {
        self.look()?;
        let told = self.seen.into_iter();
        Ok(told.map(|(path, (_, writer))| (path, writer)).collect())
    }

    fn look(&mut self) -> Result<(), Errno> {
        let upper = rustix::fs::openat(&self.upper, ".", FOLDER, Mode::empty())?;
        self.walk(&upper, Path::new(""))
    }

    fn walk(&mut self, folder: &OwnedFd, path: &Path) -> Result<(), Errno> {
        for entry in Dir::read_from(folder.as_fd())? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = path.join(name);
            let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Somebody who runs beside took it away.
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let print = Print::of(&stat);
            // A folder changes with what is in it; who made it first is what counts.
            let known = match self.seen.get(&path) {
                Some((before, _)) => is_folder || *before == print,
                None => false,
            };
            if !known {
                let writer = self.current.clone();
                self.seen.insert(path.clone(), (print, writer));
            }
            if is_folder {
                match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
                    // Gone, or closed even to its owner: nothing below can be told.
                    Err(Errno::NOENT | Errno::ACCESS) => {}
                    inner => self.walk(&inner?, &path)?,
                }
            }
        }
        Ok(())
    }
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// The name of a maintainer script, if a program is one: `bash.postinst`.
fn script(program: &[u8]) -> Option<&[u8]> {
    let name = program.strip_prefix(SCRIPTS)?;
    KINDS
        .iter()
        .any(|kind| name.ends_with(kind))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn scripts_are_known_by_their_place() {
        assert_eq!(
            script(b"/var/lib/dpkg/info/bash.postinst"),
            Some(&b"bash.postinst"[..])
        );
        assert_eq!(script(b"/var/lib/dpkg/info/bash.list"), None);
        assert_eq!(script(b"/bin/bash.postinst"), None);
    }
}
