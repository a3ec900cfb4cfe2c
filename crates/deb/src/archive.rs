//! Reading a `.deb`: an `ar` archive of a format number, control files and data (deb(5)).

use std::collections::BTreeMap;
use std::io::{self, Read};

mod ar;
mod entry;

pub use entry::{Entry, EntryError, EntryKind};

use ar::{Header, Member};
use entry::Preface;

/// The most bytes the control files of one package may have together: the longest real lists of
/// md5sums have a few MiB.
const MAX_CONTROL_LENGTH: u64 = 64 << 20;

/// A `.deb` whose control files were read, and whose data is next in the stream.
pub struct DebReader<R> {
    control: ControlFiles,
    reader: R,
    sums: Sums,
}

/// What is done with the sums that compressed data brings of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sums {
    Checked,
    Ignored,
}

/// The control files of a package by their names (`control`, `postinst`, `md5sums` …).
pub type ControlFiles = BTreeMap<String, ControlFile>;

/// One control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its permissions: maintainer scripts are executable.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A `.deb` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The stream does not begin as an `ar` archive does.
    #[error("this is not a .deb: it does not begin with `!<arch>`")]
    NotAr,
    /// The header of a member is not one.
    #[error("the package is damaged: the header of an ar member cannot be read")]
    Header,
    /// The stream ends before the package does.
    #[error("the package is cut short in {member}")]
    Truncated {
        /// What was being read.
        member: String,
    },
    /// The stream itself cannot be read.
    #[error("{member} cannot be read")]
    Read {
        /// What was being read.
        member: String,
        /// Why not.
        source: io::Error,
    },
    /// A format that this reader does not know.
    #[error("the package's format is `{version}`; only 2.x can be read")]
    Format {
        /// What the member `debian-binary` says.
        version: String,
    },
    /// A member other than the one that must come next.
    #[error("the package has `{found}` where {wanted} must stand")]
    Member {
        /// The member's name.
        found: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// A member compressed in a way that this reader does not know.
    #[error("{member} is compressed in a way that cannot be read (known: none, gz, xz, zst)")]
    Compression {
        /// The member's name.
        member: String,
    },
    /// Compressed data or a tar header that is damaged.
    #[error("{member} is damaged")]
    Damaged {
        /// The member's name.
        member: String,
        /// What the decoder says.
        source: io::Error,
    },
    /// More control files than any package has.
    #[error("the control files have more than {MAX_CONTROL_LENGTH} bytes")]
    ControlTooLong,
    /// No file `control` among the control files.
    #[error("the package has no control file")]
    NoControl,
    /// An entry of the tar that no package may have.
    #[error("{member} has an entry that no package may have: `{path}`")]
    Entry {
        /// The member's name.
        member: String,
        /// The entry's path.
        path: String,
        /// Why not.
        source: EntryError,
    },
}

impl<R: Read> DebReader<R> {
    /// Reads a package up to its data.
    ///
    /// # Errors
    /// Whatever [`DebError`] tells: a stream that is no `.deb`, that is damaged or cut short, or
    /// whose control files exceed 64 MiB.
    pub fn open(mut reader: R) -> Result<Self, DebError> {
        ar::magic(&mut reader)?;
        let header = Header::read(&mut reader)?;
        if header.name != "debian-binary" {
            return Err(DebError::Member {
                found: header.name,
                wanted: "debian-binary",
            });
        }
        let version = Member::new(header, &mut reader).text()?;
        if !version.starts_with("2.") {
            return Err(DebError::Format {
                version: version.chars().take(20).collect(),
            });
        }
        let mut control = ControlFiles::new();
        let mut total = 0;
        walk(
            tar_member(&mut reader, "control.tar")?,
            Sums::Checked,
            |entry| {
                if entry.kind != EntryKind::File {
                    return Ok(());
                }
                total += entry.size;
                if total > MAX_CONTROL_LENGTH {
                    return Err(DebError::ControlTooLong);
                }
                let mut bytes = Vec::new();
                entry
                    .read_to_end(&mut bytes)
                    .map_err(|source| entry.damaged(source))?;
                let name = String::from_utf8_lossy(&entry.path).into_owned();
                let mode = entry.mode & 0o777;
                control.insert(name, ControlFile { mode, bytes });
                Ok(())
            },
        )?;
        if !control.contains_key("control") {
            return Err(DebError::NoControl);
        }
        Ok(Self {
            control,
            reader,
            sums: Sums::Checked,
        })
    }

    /// Leaves the sums that xz brings of the data unchecked, which take a tenth of the time. For
    /// whoever compares the digest of the whole package.
    #[must_use]
    pub fn without_sums(mut self) -> Self {
        self.sums = Sums::Ignored;
        self
    }

    /// The control files.
    #[must_use]
    pub const fn control(&self) -> &ControlFiles {
        &self.control
    }

    /// Shows each entry of the package's data in the order of the archive, and gives the control
    /// files back.
    ///
    /// Nothing is kept: an entry's bytes pass once, through the entry's [`Read`], and what `visit`
    /// leaves unread is read over. All compressed data is read to its end, so that when this
    /// returns, every checksum in it was right, unless they are to be
    /// [left unchecked](Self::without_sums). How much an entry may hold is for `visit` to
    /// decide: only the ar member's length bounds it here.
    ///
    /// # Errors
    /// Damage ([`DebError`], through `E`), and what `visit` returns.
    pub fn data<E: From<DebError>>(
        mut self,
        visit: impl FnMut(&mut Entry<'_>) -> Result<(), E>,
    ) -> Result<ControlFiles, E> {
        walk(tar_member(&mut self.reader, "data.tar")?, self.sums, visit)?;
        Ok(self.control)
    }
}

/// Finds the next member that counts; names that begin with `_` are to be read over.
fn tar_member<'r, R: Read>(
    reader: &'r mut R,
    wanted: &'static str,
) -> Result<Member<'r, R>, DebError> {
    let mut header = Header::read(reader)?;
    while header.name.starts_with('_') {
        Member::new(header, &mut *reader).skip()?;
        header = Header::read(reader)?;
    }
    if header.name.starts_with(wanted) {
        return Ok(Member::new(header, reader));
    }
    Err(DebError::Member {
        found: header.name,
        wanted,
    })
}

/// Shows each entry of a tar member, then reads the member to its end.
fn walk<R: Read, E: From<DebError>>(
    mut member: Member<'_, R>,
    sums: Sums,
    mut visit: impl FnMut(&mut Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let name = member.name().to_owned();
    let walked = walk_entries(&name, ar::decoder(&mut member, sums)?, &mut visit);
    // Why the stream failed explains whatever the decoder says about it.
    if let Some(failure) = member.failure() {
        return Err(failure.into());
    }
    walked?;
    Ok(member.skip()?)
}

fn walk_entries<E: From<DebError>>(
    member: &str,
    decoder: impl Read,
    visit: &mut impl FnMut(&mut Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = |source| DebError::Damaged {
        member: member.to_owned(),
        source,
    };
    let mut archive = tar::Archive::new(decoder);
    let mut preface = Preface::default();
    for raw in archive.entries().map_err(damaged)?.raw(true) {
        preface.take(member, &mut raw.map_err(damaged)?, visit)?;
    }
    // The checksums of compressed data stand at its end.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}
