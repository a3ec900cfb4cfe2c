//! Layers made smaller for registries and files: the same bytes from the same layer, wherever and
//! however often.

use std::io::{self, BufWriter, Read, Write};

use kasmforge_digest::{Digest, HashingReader, HashingWriter};
use kasmforge_image::{Blob, Compression};

/// The version of what is made here of the same layer. Raise it with whatever changes the bytes: a
/// level, or a compressor's crate; a test below tells when.
pub(crate) const VERSION: &str = "compress 1";

/// The default of gzip(1).
const GZIP: u32 = 6;

/// The default of zstd(1).
const ZSTD: i32 = 3;

/// What compresses layers, by the crates of this program; the level is the tools' own default.
pub(crate) fn compressor(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("zlib-rs gzip level 6"),
        Compression::Zstd => Some("libzstd level 3"),
    }
}

/// A layer that was compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// The digest of what was read.
    pub(crate) diff_id: Digest,
    /// What was written.
    pub(crate) blob: Blob,
}

/// Compresses a layer, on this thread alone.
pub(crate) fn compress(
    reader: impl Read,
    to: impl Write,
    compression: Compression,
) -> io::Result<Compressed> {
    let mut reader = HashingReader::new(reader);
    let writer = HashingWriter::new(BufWriter::with_capacity(1 << 20, to));
    let writer = match compression {
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, ZSTD)?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
        Compression::Gzip => {
            // No name and no time in the header.
            let level = flate2::Compression::new(GZIP);
            let mut encoder = flate2::write::GzEncoder::new(writer, level);
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
        Compression::None => {
            let mut writer = writer;
            io::copy(&mut reader, &mut writer)?;
            writer
        }
    };
    let (mut file, digest, size) = writer.finish();
    file.flush()?;
    Ok(Compressed {
        diff_id: reader.finish().0,
        blob: Blob {
            digest,
            size,
            compression,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a compressor makes other bytes than it did: raise [`VERSION`], so that nobody
    /// takes a digest noted by an earlier kasmforge for one of this, and write the new ones here.
    #[test]
    fn the_bytes_are_those_of_this_version() {
        let layer: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| (n.wrapping_mul(n) >> 9).to_le_bytes())
            .collect();
        let made = |compression| {
            let mut bytes = Vec::new();
            let made = compress(&layer[..], &mut bytes, compression).expect("memory");
            assert_eq!(made.diff_id, Digest::of(&layer));
            assert_eq!(made.blob.digest, Digest::of(&bytes));
            assert_eq!(made.blob.size, bytes.len() as u64);
            (made.blob.digest.hex()[..16].to_owned(), bytes)
        };
        let (gzip, bytes) = made(Compression::Gzip);
        let mut back = Vec::new();
        io::copy(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut back).expect("gzip");
        assert!(back == layer);
        let (zstd, bytes) = made(Compression::Zstd);
        assert!(zstd::decode_all(&bytes[..]).expect("zstd") == layer);
        assert_eq!(
            [gzip.as_str(), zstd.as_str()],
            ["8f1b998004ce2910", "e5f6061884e3a341"]
        );
        assert_eq!(made(Compression::None).1, layer);
    }
}
