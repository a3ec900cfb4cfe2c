//! The members of an `ar` archive, and the decoders of what they hold.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, IGNORE_CHECK, Stream};

use super::{DebError, Sums};

/// What every `ar` archive begins with.
const MAGIC: &[u8; 8] = b"!<arch>\n";

/// Reads the first bytes of the archive.
pub(super) fn magic(reader: &mut impl Read) -> Result<(), DebError> {
    let mut magic = [0; MAGIC.len()];
    fill(reader, &mut magic, "the ar header")?;
    if &magic == MAGIC {
        Ok(())
    } else {
        Err(DebError::NotAr)
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8], member: &str) -> Result<(), DebError> {
    reader.read_exact(buffer).map_err(|source| {
        let member = member.to_owned();
        if source.kind() == io::ErrorKind::UnexpectedEof {
            DebError::Truncated { member }
        } else {
            DebError::Read { member, source }
        }
    })
}

/// What stands before a member.
pub(super) struct Header {
    pub(super) name: String,
    length: u64,
}

impl Header {
    /// Reads a header: name, time, owner, group, mode, length and an end mark, all ASCII.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, DebError> {
        let mut header = [0; 60];
        fill(reader, &mut header, "an ar header")?;
        let text = std::str::from_utf8(&header).map_err(|_| DebError::Header)?;
        let (name, length) = (text.get(..16), text.get(48..58));
        let (Some(name), Some(length), Some("`\n")) = (name, length, text.get(58..)) else {
            return Err(DebError::Header);
        };
        Ok(Self {
            name: name.trim_end().trim_end_matches('/').to_owned(),
            length: length.trim_end().parse().map_err(|_| DebError::Header)?,
        })
    }
}

/// One member, whose bytes are next in the stream.
pub(super) struct Member<'r, R> {
    header: Header,
    remaining: u64,
    reader: &'r mut R,
    /// Why the stream failed while a decoder was reading: decoders tell it worse.
    failure: Option<DebError>,
}

impl<'r, R: Read> Member<'r, R> {
    /// The member whose header was just read.
    pub(super) const fn new(header: Header, reader: &'r mut R) -> Self {
        Self {
            remaining: header.length,
            header,
            reader,
            failure: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.header.name
    }

    /// Takes the failure of the stream, if there was one.
    pub(super) fn failure(&mut self) -> Option<DebError> {
        self.failure.take()
    }

    /// Reads a member of a few bytes of text.
    pub(super) fn text(mut self) -> Result<String, DebError> {
        /// What `debian-binary` may hold: real ones have 4 bytes.
        const MAX_TEXT_LENGTH: u64 = 1024;
        let mut text = String::new();
        let read = self
            .by_ref()
            .take(MAX_TEXT_LENGTH)
            .read_to_string(&mut text);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        read.map_err(|source| DebError::Damaged {
            member: self.header.name.clone(),
            source,
        })?;
        self.skip()?;
        Ok(text)
    }

    /// Reads over what is left of the member.
    pub(super) fn skip(mut self) -> Result<(), DebError> {
        let skipped = io::copy(&mut self, &mut io::sink());
        match (self.failure.take(), skipped) {
            (Some(failure), _) => Err(failure),
            (None, Err(source)) => Err(DebError::Read {
                member: self.header.name,
                source,
            }),
            (None, Ok(_)) => {
                if self.header.length % 2 == 1 {
                    // The last member of an archive may lack its padding.
                    let mut padding = [0];
                    while let Err(source) = self.reader.read(&mut padding) {
                        if source.kind() != io::ErrorKind::Interrupted {
                            return Err(DebError::Read {
                                member: self.header.name,
                                source,
                            });
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let member = || self.header.name.clone();
        match self.reader.read(&mut buffer[..wanted]) {
            Ok(0) => {
                self.failure = Some(DebError::Truncated { member: member() });
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(count) => {
                self.remaining -= count as u64;
                Ok(count)
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => Err(source),
            Err(source) => {
                let kind = source.kind();
                self.failure = Some(DebError::Read {
                    member: member(),
                    source,
                });
                Err(kind.into())
            }
        }
    }
}

/// The memory one xz stream may ask for: what `xz -9` needs is 65 MiB.
const MAX_XZ_MEMORY: u64 = 256 << 20;

/// Chooses the decoder of a tar member by the member's name.
pub(super) fn decoder<'m, R: Read>(
    member: &'m mut Member<'_, R>,
    sums: Sums,
) -> Result<Box<dyn Read + 'm>, DebError> {
    let damaged = |member: &str, source: io::Error| DebError::Damaged {
        member: member.to_owned(),
        source,
    };
    let suffix = member
        .header
        .name
        .split_once(".tar")
        .map(|(_, suffix)| suffix);
    Ok(match suffix {
        Some("") => Box::new(member),
        Some(".gz") => Box::new(MultiGzDecoder::new(member)),
        Some(".xz") => {
            let flags = match sums {
                Sums::Checked => CONCATENATED,
                Sums::Ignored => CONCATENATED | IGNORE_CHECK,
            };
            let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY, flags)
                .map_err(|source| damaged(&member.header.name, source.into()))?;
            Box::new(XzDecoder::new_stream(member, stream))
        }
        Some(".zst") => {
            let name = member.header.name.clone();
            let decoder = zstd::stream::read::Decoder::new(member);
            Box::new(decoder.map_err(|source| damaged(&name, source))?)
        }
        _ => {
            return Err(DebError::Compression {
                member: member.header.name.clone(),
            });
        }
    })
}
