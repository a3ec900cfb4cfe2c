//! POSIX access control lists, which a namespace of one uid could only hold of that one.
//!
//! The attribute is `linux/posix_acl_xattr.h`'s: a version, then entries of tag, permissions and
//! id. The permissions that a list shares with the mode are really set, as the kernel would; the
//! list itself is kept in the record.

use std::ffi::CStr;

use rustix::io::Errno;

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER_OBJECT: u16 = 0x01;
const GROUP_OBJECT: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The longest list that is taken in: Linux files hold 64 KiB of an attribute.
pub(crate) const LONGEST: usize = 64 << 10;

/// Which list an attribute is: the default one, or the one for the path itself; none if another
/// attribute.
pub(crate) fn which(name: &CStr) -> Option<bool> {
    match name {
        name if name == ACCESS => Some(false),
        name if name == DEFAULT => Some(true),
        _ => None,
    }
}

/// A list.
pub(crate) struct List {
    entries: Vec<(u16, u16, u32)>,
}

impl List {
    pub(crate) fn parse(value: &[u8]) -> Result<Self, Errno> {
        let (version, rest) = value.split_first_chunk::<HEADER>().ok_or(Errno::INVAL)?;
        if u32::from_le_bytes(*version) != VERSION || rest.len() % ENTRY != 0 {
            return Err(Errno::INVAL);
        }
        let entries = rest
            .chunks_exact(ENTRY)
            .map(|entry| {
                let short = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
                let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                (short(0), short(2), id)
            })
            .collect();
        Ok(Self { entries })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in &self.entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// Whether it says nothing that a mode cannot say.
    pub(crate) fn is_mode_alone(&self) -> bool {
        self.entries
            .iter()
            .all(|(tag, ..)| [USER_OBJECT, GROUP_OBJECT, OTHER].contains(tag))
    }

    /// The permission bits of the mode that goes with it.
    pub(crate) fn mode(&self) -> u32 {
        let of = |wanted: u16| {
            let found = self.entries.iter().find(|(tag, ..)| *tag == wanted);
            found.map(|(_, permissions, _)| u32::from(*permissions) & 7)
        };
        let group = of(MASK).or_else(|| of(GROUP_OBJECT)).unwrap_or(0);
        of(USER_OBJECT).unwrap_or(0) << 6 | group << 3 | of(OTHER).unwrap_or(0)
    }

    /// Takes over what a later change of mode has changed in it.
    pub(crate) fn set_mode(&mut self, mode: u32) {
        let masked = self.entries.iter().any(|(tag, ..)| *tag == MASK);
        for (tag, permissions, _) in &mut self.entries {
            let shift = match *tag {
                USER_OBJECT => 6,
                MASK => 3,
                GROUP_OBJECT if !masked => 3,
                OTHER => 0,
                _ => continue,
            };
            *permissions = u16::try_from(mode >> shift & 7).expect("three bits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_its_mode_agree() {
        // user::rwx group::r-x group:4:r-x mask::r-x other::---
        let entries = [
            (USER_OBJECT, 7, u32::MAX),
            (GROUP_OBJECT, 5, u32::MAX),
            (0x08, 5, 4),
            (MASK, 5, u32::MAX),
            (OTHER, 0, u32::MAX),
        ];
        let mut list = List {
            entries: entries.to_vec(),
        };
        assert_eq!(list.mode(), 0o750);
        assert!(!list.is_mode_alone());
        list.set_mode(0o2771);
        assert_eq!(list.mode(), 0o771);
        assert_eq!(list.entries[1].1, 5, "the mask stands for the group");
        let again = List::parse(&list.bytes()).expect("its own bytes");
        assert_eq!(again.entries, list.entries);
        assert!(List::parse(b"\x01\0\0\0").is_err());
        assert!(List::parse(&list.bytes()[..9]).is_err());
    }
}
