//! A clock that is ahead.
//!
//! Programs ask for the time without a system call: the kernel maps code into each of them (the
//! vDSO) that reads it from memory. So in a trial the first call a new program makes, which is its
//! loader's or allocator's `brk(0)`, is used to write other code over that: it makes the system
//! call, which can be answered. The page becomes the program's own copy in that moment.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use crate::kernel::{memory, process};

/// What a program's auxiliary vector says of the vDSO (`AT_SYSINFO_EHDR`, getauxval(3)).
const VDSO: u64 = 33;
/// No vDSO is larger.
const LARGEST: usize = 64 << 10;

/// The functions that are replaced, and the code that makes the system call of each.
#[cfg(target_arch = "x86_64")]
const REPLACED: [(&[u8], &[u8]); 3] = [
    // mov eax, 228; syscall; ret - and so on.
    (b"__vdso_clock_gettime", b"\xb8\xe4\0\0\0\x0f\x05\xc3"),
    (b"__vdso_gettimeofday", b"\xb8\x60\0\0\0\x0f\x05\xc3"),
    (b"__vdso_time", b"\xb8\xc9\0\0\0\x0f\x05\xc3"),
];
/// The functions that are replaced, and the code that makes the system call of each.
#[cfg(target_arch = "aarch64")]
const REPLACED: [(&[u8], &[u8]); 2] = [
    // mov x8, 113; svc 0; ret - and so on.
    (
        b"__kernel_clock_gettime",
        b"\x28\x0e\x80\xd2\x01\0\0\xd4\xc0\x03\x5f\xd6",
    ),
    (
        b"__kernel_gettimeofday",
        b"\x28\x15\x80\xd2\x01\0\0\xd4\xc0\x03\x5f\xd6",
    ),
];

/// A clock that is ahead of the host's.
pub(crate) struct Clock {
    ahead: i64,
    /// What is written where in a vDSO, from its beginning.
    patches: Vec<(u64, &'static [u8])>,
}

impl Clock {
    /// Makes one that is so many seconds ahead. The supervisor's current directory is `/proc`.
    pub(crate) fn new(ahead: u64) -> Result<Self, Errno> {
        let own = std::process::id();
        let base = base("self")?;
        let mut image = vec![0; LARGEST];
        // What lies behind the vDSO is not mapped: page by page, as far as it goes.
        let mut length = 0;
        for page in image.chunks_mut(4096) {
            match memory::read(own, base + length, page) {
                Ok(4096) => length += 4096,
                _ => break,
            }
        }
        image.truncate(usize::try_from(length).unwrap_or(0));
        let patches: Vec<_> = REPLACED
            .iter()
            .filter_map(|(name, code)| Some((symbol(&image, name)?, *code)))
            .collect();
        if patches.len() != REPLACED.len() {
            return Err(Errno::NOEXEC);
        }
        Ok(Self {
            ahead: i64::try_from(ahead).map_err(|_| Errno::RANGE)?,
            patches,
        })
    }

    /// Has a program that has just begun ask for the time by system calls.
    pub(crate) fn begin(&self, pid: u32) -> Result<(), Errno> {
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let base = base(&pid.to_string())?;
        let memory = File::options()
            .write(true)
            .open(format!("{pid}/mem"))
            .map_err(io)?;
        for (offset, code) in &self.patches {
            memory.write_all_at(code, base + offset).map_err(io)?;
        }
        Ok(())
    }

    /// The time of the wall: seconds since 1970 and nanoseconds.
    pub(crate) fn now(&self) -> Result<(i64, i64), Errno> {
        let (seconds, nanoseconds) = process::wall_clock()?;
        Ok((seconds + self.ahead, nanoseconds))
    }

    /// Whether a clock of clock_gettime(2) tells the time of the wall.
    pub(crate) fn is_wall(clock: i32) -> bool {
        [
            libc::CLOCK_REALTIME,
            libc::CLOCK_REALTIME_COARSE,
            libc::CLOCK_REALTIME_ALARM,
            libc::CLOCK_TAI,
        ]
        .contains(&clock)
    }
}

/// Where a process has its vDSO.
fn base(process: &str) -> Result<u64, Errno> {
    let vector = std::fs::read(format!("{process}/auxv"))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let (words, _) = vector.as_chunks::<8>();
    words
        .chunks_exact(2)
        .find(|pair| u64::from_ne_bytes(pair[0]) == VDSO)
        .map(|pair| u64::from_ne_bytes(pair[1]))
        .ok_or(Errno::NOENT)
}

/// Where a function of a 64-bit ELF image begins, by its dynamic symbols (elf(5)).
fn symbol(image: &[u8], wanted: &[u8]) -> Option<u64> {
    const DYNAMIC: u32 = 2;
    const STRINGS: u64 = 5;
    const SYMBOLS: u64 = 6;
    const SYMBOL_SIZE: usize = 24;
    let bytes = |at: usize, length: usize| image.get(at..at.checked_add(length)?);
    let long = |at: usize| Some(u64::from_ne_bytes(bytes(at, 8)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(bytes(at, 4)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_ne_bytes(bytes(at, 2)?.try_into().ok()?));
    let headers = usize::try_from(long(32)?).ok()?;
    let (size, count) = (usize::from(short(54)?), usize::from(short(56)?));
    let header = |number: usize| headers + number * size;
    let dynamic = (0..count)
        .map(header)
        .find(|at| word(*at) == Some(DYNAMIC))?;
    let (mut at, mut strings, mut symbols) = (usize::try_from(long(dynamic + 8)?).ok()?, 0, 0);
    loop {
        match (long(at)?, usize::try_from(long(at + 8)?).ok()?) {
            (0, _) => break,
            (STRINGS, value) => strings = value,
            (SYMBOLS, value) => symbols = value,
            _ => {}
        }
        at += 16;
    }
    // Symbols end where their names begin.
    let mut at = symbols;
    while at + SYMBOL_SIZE <= strings.max(symbols) {
        let name = strings + usize::try_from(word(at)?).ok()?;
        let text = bytes(name, wanted.len() + 1);
        if text.is_some_and(|text| text.starts_with(wanted) && text.ends_with(b"\0")) {
            return long(at + 8);
        }
        at += SYMBOL_SIZE;
    }
    None
}
