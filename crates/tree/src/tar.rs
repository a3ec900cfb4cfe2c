//! The one canonical tar of a tree: the bytes behind every layer's digest.
//!
//! POSIX.1-2001 ("pax"), as tar(5) and POSIX's pax describe it, and always the same way: entries in
//! byte order of their paths, a plain ustar header wherever one can say everything, else one pax
//! header with sorted records before it; no user or group names; numeric owners; whole seconds.
//! The format is a promise: a change here changes every digest.

use std::io::{self, Read, Write};

use crate::{Entry, Node, Tree, TreePath};

const BLOCK: u64 = 512;

/// The largest number of eleven octal digits.
const MOST_OCTAL_11: u64 = 0o77_777_777_777;

/// The largest number of seven octal digits.
const MOST_OCTAL_7: u64 = 0o7_777_777;

/// Whatever can open the content of a tree's files.
pub trait Contents {
    /// Opens the content of the regular file at `path`, which `entry` describes.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, path: &TreePath, entry: &Entry) -> io::Result<Box<dyn Read + '_>>;
}

/// The length of a tree's tar in bytes, the two closing blocks included.
#[must_use]
pub fn length(tree: &Tree) -> u64 {
    let entries: u64 = tree
        .iter()
        .map(|(path, entry)| entry_length(path, entry))
        .sum();
    entries + 2 * BLOCK
}

fn entry_length(path: &TreePath, entry: &Entry) -> u64 {
    let header = Header::of(path, entry);
    let records = header.records().len() as u64;
    let extended = if records == 0 {
        0
    } else {
        BLOCK + padded(records)
    };
    extended + BLOCK + padded(header.size)
}

/// Writes a tree's tar.
///
/// # Errors
/// When writing fails, or a content cannot be read or has not the size its entry says.
pub fn write(tree: &Tree, contents: &dyn Contents, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    for (path, entry) in tree.iter() {
        let header = Header::of(path, entry);
        header.write(out)?;
        if header.size > 0 {
            let content = contents.open(path, entry)?;
            copy_exactly(content, header.size, out, &mut buffer)
                .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
            out.write_all(&[0; 512][..(padded(header.size) - header.size) as usize])?;
        }
    }
    out.write_all(&[0; 1024])
}

fn copy_exactly(
    mut content: Box<dyn Read + '_>,
    size: u64,
    out: &mut dyn Write,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut left = size;
    loop {
        let count = match content.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match (count as u64, left) {
            (0, 0) => return Ok(()),
            (0, _) => {
                return Err(io::Error::other(
                    "the stored content is shorter than recorded",
                ));
            }
            (count, left) if count > left => {
                return Err(io::Error::other(
                    "the stored content is longer than recorded",
                ));
            }
            _ => {}
        }
        out.write_all(&buffer[..count])?;
        left -= count as u64;
    }
}

/// The length with the padding to whole blocks.
const fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK) * BLOCK
}

struct Header<'a> {
    /// The path as the tar says it: folders end in `/`, whiteouts begin with `.wh.`.
    name: Vec<u8>,
    entry: &'a Entry,
    link: &'a [u8],
    kind: u8,
    size: u64,
    device: (u32, u32),
}

impl<'a> Header<'a> {
    fn of(path: &TreePath, entry: &'a Entry) -> Self {
        let mut name = path.as_bytes().to_vec();
        let mut link: &[u8] = &[];
        let mut size = 0;
        let mut device = (0, 0);
        let kind = match &entry.node {
            Node::Directory => {
                name.push(b'/');
                b'5'
            }
            Node::File {
                link: Some(target), ..
            } => {
                link = target.as_bytes();
                b'1'
            }
            Node::File { size: length, .. } => {
                size = *length;
                b'0'
            }
            Node::Symlink(target) => {
                link = target;
                b'2'
            }
            Node::Character { major, minor } => {
                device = (*major, *minor);
                b'3'
            }
            Node::Block { major, minor } => {
                device = (*major, *minor);
                b'4'
            }
            Node::Fifo => b'6',
            Node::Whiteout => {
                let parent = path.parent().unwrap_or_default();
                let whiteout = [b".wh.", path.name().unwrap_or_default()].concat();
                name = parent.join(&whiteout).as_bytes().to_vec();
                b'0'
            }
        };
        Self {
            name,
            entry,
            link,
            kind,
            size,
            device,
        }
    }

    /// What a ustar header cannot say, as sorted pax records.
    fn records(&self) -> Vec<u8> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        for (key, text) in [("path", self.name.as_slice()), ("linkpath", self.link)] {
            if text.len() > 100 || !text.is_ascii() {
                records.push((key.into(), text.to_vec()));
                if std::str::from_utf8(text).is_err() {
                    records.push(("hdrcharset".into(), b"BINARY".to_vec()));
                }
            }
        }
        for (key, id) in [("uid", self.entry.uid), ("gid", self.entry.gid)] {
            if u64::from(id) > MOST_OCTAL_7 {
                records.push((key.into(), id.to_string().into_bytes()));
            }
        }
        if self.size > MOST_OCTAL_11 {
            records.push(("size".into(), self.size.to_string().into_bytes()));
        }
        for (key, value) in &self.entry.xattrs {
            records.push((format!("SCHILY.xattr.{key}"), value.clone()));
        }
        // A binary name and a binary link ask for the same character set once.
        records.sort();
        records.dedup();
        // The character set rules the records after it, so it comes first.
        records.sort_by_key(|(key, _)| key != "hdrcharset");
        records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let records = self.records();
        if !records.is_empty() {
            let mut block = [0; 512];
            // A constant name: what old readers show, and never more than that.
            put(&mut block[..100], b"././@PaxHeader");
            fill(&mut block, 0o644, 0, 0, records.len() as u64, 0, b'x');
            finish(&mut block);
            out.write_all(&block)?;
            out.write_all(&records)?;
            out.write_all(&[0; 512][..padded(records.len() as u64) as usize - records.len()])?;
        }
        let mut block = [0; 512];
        put(&mut block[..100], &self.name);
        let entry = self.entry;
        fill(
            &mut block,
            entry.mode & 0o7777,
            u64::from(entry.uid).min(MOST_OCTAL_7),
            u64::from(entry.gid).min(MOST_OCTAL_7),
            self.size.min(MOST_OCTAL_11),
            entry.mtime.clamp(0, 1 << 33).unsigned_abs(),
            self.kind,
        );
        put(&mut block[157..257], self.link);
        octal(&mut block[329..337], u64::from(self.device.0));
        octal(&mut block[337..345], u64::from(self.device.1));
        finish(&mut block);
        out.write_all(&block)
    }
}

/// One pax record: its own length in decimal, a blank, key, `=`, value, newline.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    let mut bytes = format!("{length} {key}=").into_bytes();
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
    debug_assert_eq!(bytes.len(), length);
    bytes
}

fn fill(block: &mut [u8; 512], mode: u32, uid: u64, gid: u64, size: u64, mtime: u64, kind: u8) {
    octal(&mut block[100..108], u64::from(mode));
    octal(&mut block[108..116], uid);
    octal(&mut block[116..124], gid);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], mtime);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
}

/// The checksum goes in last: the sum of all bytes, its own field counted as blanks.
fn finish(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// As many bytes of a text as fit.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// A number in octal, with leading zeros and a closing NUL.
fn octal(field: &mut [u8], mut number: u64) {
    let (last, digits) = field.split_last_mut().expect("fields have a length");
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}
