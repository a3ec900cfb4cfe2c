//! Entries of the image archive, a plain tar.
//!
//! Entries have fixed metadata. Their names are at most 77 bytes, so ustar headers say everything
//! but a size over 8 GiB, which then stands in base-256 as GNU tar and all engines read it.

/// The length of a tar block.
pub const BLOCK: u64 = 512;

/// A length with the padding to whole blocks.
#[must_use]
pub const fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK) * BLOCK
}

/// The header of a regular file in the archive.
///
/// # Panics
/// When the name has over 100 bytes: no entry of an image archive has.
#[must_use]
pub fn header(name: &str, size: u64) -> [u8; 512] {
    assert!(name.len() <= 100, "{name} is no name of an image archive");
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size < 1 << 33 {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
