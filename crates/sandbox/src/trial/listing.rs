//! Folders listed in reverse.
//!
//! The first time a process asks for what is in a folder, all of it is read through its own
//! descriptor, which is then at the folder's end as far as the kernel is concerned, and given out
//! from the last to the first. A descriptor that is at the beginning again was rewound.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

/// How much is asked of the kernel at once.
const ROOM: usize = 64 << 10;
/// Number, place, length and kind, before the name (`linux_dirent64`, getdents64(2)).
const HEADER: usize = 8 + 8 + 2 + 1;

/// What is still to be given out, by process and descriptor.
#[derive(Default)]
pub(crate) struct Listings(BTreeMap<(u32, i32), Vec<Vec<u8>>>);

impl Listings {
    /// The next entries that fit into `size` bytes; none at the folder's end.
    pub(crate) fn next(
        &mut self,
        process: u32,
        number: i32,
        folder: &OwnedFd,
        size: usize,
    ) -> Result<Vec<u8>, Errno> {
        let key = (process, number);
        if rustix::fs::seek(folder, SeekFrom::Current(0))? == 0 {
            self.0.insert(key, entries(folder)?);
        }
        let mut out = Vec::new();
        let Some(left) = self.0.get_mut(&key) else {
            return Ok(out);
        };
        // They are taken from the end: that is the reverse.
        while let Some(entry) = left.last() {
            if out.len() + entry.len() > size {
                if out.is_empty() {
                    return Err(Errno::INVAL);
                }
                return Ok(out);
            }
            out.extend(left.pop().unwrap_or_default());
        }
        if out.is_empty() {
            self.0.remove(&key);
        }
        Ok(out)
    }
}

fn entries(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut room = vec![MaybeUninit::uninit(); ROOM];
    let mut listing = RawDir::new(folder, &mut room);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes_with_nul();
        let length = (HEADER + name.len()).next_multiple_of(8);
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(entry.ino().to_ne_bytes());
        bytes.extend(entry.next_entry_cookie().to_ne_bytes());
        bytes.extend(
            u16::try_from(length)
                .map_err(|_| Errno::NAMETOOLONG)?
                .to_ne_bytes(),
        );
        bytes.push(kind(entry.file_type()));
        bytes.extend(name);
        bytes.resize(length, 0);
        entries.push(bytes);
    }
    Ok(entries)
}

/// `DT_*` of a kind of file: its bits in a mode, moved down.
fn kind(of: rustix::fs::FileType) -> u8 {
    if of == rustix::fs::FileType::Unknown {
        return libc::DT_UNKNOWN;
    }
    u8::try_from(of.as_raw_mode() >> 12 & 0xf).unwrap_or(libc::DT_UNKNOWN)
}
