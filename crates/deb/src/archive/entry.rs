//! The entries of a package's tar: what dpkg would unpack, and nothing else.

use std::io::{self, Read};

use tar::{EntryType, PaxExtensions};

use super::DebError;

/// The longest name, or set of PAX records, of one entry: Linux's paths end at 4 KiB.
const MAX_NAME_LENGTH: u64 = 1 << 20;

/// One entry of a package: its metadata, and its bytes through [`Read`].
pub struct Entry<'a> {
    /// The path below the root, without a leading `./` or a closing `/`; empty for the root.
    ///
    /// Its parts are never empty, `.` or `..`, and it holds no NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Its permissions, with set-id and sticky bits.
    pub mode: u32,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its owner's name, if one is told: dpkg prefers it to the number.
    pub user: Option<String>,
    /// Its group's name, if one is told.
    pub group: Option<String>,
    /// When it was changed, in seconds since 1970.
    pub mtime: u64,
    /// How many bytes [`Read`] gives; 0 for all but files.
    pub size: u64,
    pub(super) member: &'a str,
    reader: &'a mut dyn Read,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with bytes of its own.
    File,
    /// Another name of a file of the same package, by its path as in [`Entry::path`].
    HardLink(Vec<u8>),
    /// A symbolic link, with its target as it was written.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A character device.
    CharacterDevice {
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// Why a package may not have an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A path that leads out of the root, or that no file system takes.
    #[error("its path leads out of the package, or holds a NUL")]
    Path,
    /// A link without a target.
    #[error("the link has no target")]
    Target,
    /// A type that dpkg does not unpack either.
    #[error("its tar type `{0}` is none that dpkg unpacks")]
    Type(char),
    /// A name longer than 1 MiB.
    #[error("its name or its PAX records are longer than {MAX_NAME_LENGTH} bytes")]
    NameTooLong,
    /// PAX and ustar headers that disagree about the length. Readers differ in whom they believe,
    /// so that one would see files that another does not.
    #[error("its headers disagree about its length: {ustar} and {pax} bytes")]
    Size {
        /// What the ustar header says.
        ustar: u64,
        /// What the PAX record says.
        pax: u64,
    },
    /// A PAX record, or a number of the header, that cannot be read.
    #[error("its header cannot be read")]
    Header,
}

impl Read for Entry<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Entry<'_> {
    /// The error that says that this entry's bytes could not be read.
    #[must_use]
    pub fn damaged(&self, source: io::Error) -> DebError {
        DebError::Damaged {
            member: self.member.to_owned(),
            source,
        }
    }
}

/// What the entries before a file say about it: GNU long names and PAX records.
#[derive(Default)]
pub(super) struct Preface {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    user: Option<String>,
    group: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<u64>,
    size: Option<u64>,
}

impl Preface {
    /// Takes the next raw entry: keeps it if it speaks about the one after it, else shows it.
    pub(super) fn take<E: From<DebError>, R: Read>(
        &mut self,
        member: &str,
        raw: &mut tar::Entry<'_, R>,
        visit: &mut impl FnMut(&mut Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = |source| {
            E::from(DebError::Damaged {
                member: member.to_owned(),
                source,
            })
        };
        let path = self
            .path
            .clone()
            .unwrap_or_else(|| raw.path_bytes().into_owned());
        let refused = |source| {
            E::from(DebError::Entry {
                member: member.to_owned(),
                path: String::from_utf8_lossy(&path).chars().take(256).collect(),
                source,
            })
        };
        match raw.header().entry_type() {
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader => {
                let kind = raw.header().entry_type();
                if raw.size() > MAX_NAME_LENGTH {
                    return Err(refused(EntryError::NameTooLong));
                }
                let mut bytes = Vec::new();
                raw.read_to_end(&mut bytes).map_err(damaged)?;
                match kind {
                    EntryType::GNULongName => self.path = Some(until_nul(bytes)),
                    EntryType::GNULongLink => self.link = Some(until_nul(bytes)),
                    _ => self.records(&bytes).map_err(refused)?,
                }
                Ok(())
            }
            // Global records hold comments (git's commit) in all that is known.
            EntryType::XGlobalHeader => Ok(()),
            _ => {
                let preface = std::mem::take(self);
                let mut entry = preface.entry(member, &path, raw).map_err(refused)?;
                visit(&mut entry)
            }
        }
    }

    fn records(&mut self, bytes: &[u8]) -> Result<(), EntryError> {
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(|_| EntryError::Header)?;
            let value = record.value_bytes();
            let text = || std::str::from_utf8(value).map_err(|_| EntryError::Header);
            let number = || text()?.parse().map_err(|_| EntryError::Header);
            let id = || u32::try_from(number()?).map_err(|_| EntryError::Header);
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uname" => self.user = Some(text()?.to_owned()),
                b"gname" => self.group = Some(text()?.to_owned()),
                b"uid" => self.uid = Some(id()?),
                b"gid" => self.gid = Some(id()?),
                b"size" => self.size = Some(number()?),
                b"mtime" => {
                    let whole = text()?.split('.').next().unwrap_or_default();
                    self.mtime = Some(whole.parse().map_err(|_| EntryError::Header)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry<'e, R: Read>(
        self,
        member: &'e str,
        path: &[u8],
        raw: &'e mut tar::Entry<'_, R>,
    ) -> Result<Entry<'e>, EntryError> {
        let header = raw.header();
        let number = |read: io::Result<u64>| read.map_err(|_| EntryError::Header);
        let id =
            |read: io::Result<u64>| u32::try_from(number(read)?).map_err(|_| EntryError::Header);
        let ustar = number(header.entry_size())?;
        if let Some(pax) = self.size.filter(|&pax| pax != ustar) {
            return Err(EntryError::Size { ustar, pax });
        }
        let target = self
            .link
            .or_else(|| header.link_name_bytes().map(|bytes| bytes.into_owned()))
            .filter(|target| !target.is_empty() && !target.contains(&0));
        let device = || {
            let major = header.device_major().ok().flatten();
            let minor = header.device_minor().ok().flatten();
            major.zip(minor).ok_or(EntryError::Header)
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink(target.ok_or(EntryError::Target)?),
            EntryType::Link => EntryKind::HardLink(normal(&target.ok_or(EntryError::Target)?)?),
            EntryType::Char => {
                let (major, minor) = device()?;
                EntryKind::CharacterDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device()?;
                EntryKind::BlockDevice { major, minor }
            }
            EntryType::Fifo => EntryKind::Fifo,
            other => return Err(EntryError::Type(char::from(other.as_byte()))),
        };
        let name = |read: Option<&[u8]>| {
            read.filter(|name| !name.is_empty())
                .map(|name| String::from_utf8_lossy(name).into_owned())
        };
        Ok(Entry {
            path: normal(path)?,
            mode: header.mode().map_err(|_| EntryError::Header)? & 0o7777,
            uid: self.uid.map_or_else(|| id(header.uid()), Ok)?,
            gid: self.gid.map_or_else(|| id(header.gid()), Ok)?,
            user: self.user.or_else(|| name(header.username_bytes())),
            group: self.group.or_else(|| name(header.groupname_bytes())),
            mtime: self.mtime.map_or_else(|| number(header.mtime()), Ok)?,
            size: if kind == EntryKind::File { ustar } else { 0 },
            kind,
            member,
            reader: raw,
        })
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Makes a path relative to the root and takes `.` parts out of it.
fn normal(path: &[u8]) -> Result<Vec<u8>, EntryError> {
    let mut normal = Vec::with_capacity(path.len());
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(EntryError::Path),
            _ if part.contains(&0) => return Err(EntryError::Path),
            _ => {}
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(part);
    }
    Ok(normal)
}
