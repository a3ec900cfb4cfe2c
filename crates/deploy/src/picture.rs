//! What a desktop's screen shows.
//!
//! A desktop may serve its page, and every process may run, while people see a black screen. So
//! the screen itself is looked at, from within the container (`look.pl` tells how).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::engine::Engine;

/// Asks the X server, in the container.
const LOOK: &str = include_str!("look.pl");
/// What its answer begins with.
const ANSWER: &str = "kasmforge-look ";

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something is shown, and a window manager of this name runs.
    Good,
    /// It is not as it should be, and perhaps not yet.
    Bad(String),
    /// The container has no means to tell.
    Unknown(String),
}

/// The pixels of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    width: usize,
    height: usize,
    /// Bits of a pixel: 8, 16, 24 or 32.
    bits: usize,
    /// Bytes of a line.
    line: usize,
    /// Whether the least significant byte comes first.
    little: bool,
    /// The bits of red, green and blue.
    masks: [u32; 3],
    pixels: Vec<u8>,
}

impl Engine {
    /// Looks at the screen of a running container.
    pub(crate) fn look(&self, container: &str) -> Result<Look, crate::Error> {
        let command = ["perl", "-e", LOOK, "look"].map(str::to_owned);
        let ran = self.run(container, &command)?;
        let words = ran
            .output
            .lines()
            .find_map(|line| line.strip_prefix(ANSWER));
        Ok(match words {
            Some(words) => judge(words),
            None => Look::Unknown(format!(
                "its screen cannot be looked at: `perl` ended with status {}",
                ran.status
            )),
        })
    }

    /// A picture of a container's screen, if it has one.
    pub(crate) fn picture(&self, container: &str) -> Option<Picture> {
        let command = ["perl", "-e", LOOK, "picture"].map(str::to_owned);
        parse(&self.output(container, &command).ok()?)
    }
}

/// Judges what was seen: `ok WIDTH … shown|blank MANAGER` or `error WORDS`.
fn judge(words: &str) -> Look {
    if let Some(problem) = words.strip_prefix("error ") {
        return Look::Bad(problem.to_owned());
    }
    let mut last = words.rsplit(' ');
    match (last.next(), last.next()) {
        (_, Some("blank")) => Look::Bad("the screen is blank: one colour all over".to_owned()),
        (Some("-"), _) => Look::Bad("no window manager runs on the screen".to_owned()),
        (Some(_), Some("shown")) => Look::Good,
        _ => Look::Unknown("its screen gave no answer that could be understood".to_owned()),
    }
}

fn parse(output: &[u8]) -> Option<Picture> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let words = std::str::from_utf8(&output[..end]).ok()?;
    let words = words.strip_prefix(ANSWER)?.strip_prefix("ok ")?;
    let numbers: Vec<usize> = words
        .split(' ')
        .map_while(|word| word.parse().ok())
        .collect();
    let [width, height, bits, line, order, red, green, blue] = numbers[..] else {
        return None;
    };
    let mask = |mask: usize| u32::try_from(mask).ok();
    let picture = Picture {
        width,
        height,
        bits,
        line,
        little: order == 0,
        masks: [mask(red)?, mask(green)?, mask(blue)?],
        pixels: output[end + 1..].to_vec(),
    };
    let fits = matches!(bits, 8 | 16 | 24 | 32)
        && width.checked_mul(bits / 8)? <= line
        && line.checked_mul(height)? <= picture.pixels.len()
        && width > 0
        && height > 0;
    fits.then_some(picture)
}

/// A picture as a PNG file (PNG specification, third edition): eight bits of red, green and blue.
pub(crate) fn png(picture: &Picture) -> Vec<u8> {
    let mut rows = Vec::with_capacity(picture.height * (1 + picture.width * 3));
    let bytes = picture.bits / 8;
    for line in picture
        .pixels
        .chunks_exact(picture.line)
        .take(picture.height)
    {
        // Each row begins with its filter: none.
        rows.push(0);
        for pixel in line.chunks_exact(bytes).take(picture.width) {
            let append = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
            let value = if picture.little {
                pixel.iter().rev().fold(0, append)
            } else {
                pixel.iter().fold(0, append)
            };
            rows.extend(picture.masks.map(|mask| channel(value, mask)));
        }
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let data = encoder
        .write_all(&rows)
        .and_then(|()| encoder.finish())
        .expect("memory takes all that is written");

    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = Vec::new();
    header.extend(side(picture.width));
    header.extend(side(picture.height));
    // Eight bits, true colour, and the only compression, filters and order there are but one.
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &data);
    chunk(&mut file, b"IEND", &[]);
    file
}

/// A colour's share of a pixel, from 0 to 255.
fn channel(pixel: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let highest = u64::from(mask >> mask.trailing_zeros());
    let value = u64::from((pixel & mask) >> mask.trailing_zeros());
    u8::try_from(value * 255 / highest).unwrap_or(u8::MAX)
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    file.extend(length.to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(data);
    file.extend(kind);
    file.extend(data);
    file.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_judged() {
        let size = "1280 720 32 5120 0 16711680 65280 255";
        assert_eq!(judge(&format!("ok {size} shown Xfwm4")), Look::Good);
        assert!(matches!(
            judge(&format!("ok {size} blank Xfwm4")),
            Look::Bad(why) if why.contains("blank")
        ));
        assert!(matches!(
            judge(&format!("ok {size} shown -")),
            Look::Bad(why) if why.contains("window manager")
        ));
        assert_eq!(
            judge("error the X server does not answer on :1"),
            Look::Bad("the X server does not answer on :1".into())
        );
        assert!(matches!(judge("?"), Look::Unknown(_)));
    }

    #[test]
    fn pixels_become_a_png() {
        let mut answer = b"kasmforge-look ok 2 1 32 8 0 16711680 65280 255 shown X\n".to_vec();
        answer.extend([0x01, 0x02, 0x03, 0, 0xff, 0x80, 0, 0]);
        let picture = parse(&answer).expect("a picture");
        let file = png(&picture);
        let data = file
            .windows(4)
            .position(|window| window == b"IDAT")
            .expect("data");
        let mut rows = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::ZlibDecoder::new(&file[data + 4..]),
            &mut rows,
        )
        .expect("compressed data");
        assert_eq!(rows, [0, 3, 2, 1, 0, 0x80, 0xff]);
        assert_eq!(file[16..24], [0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(parse(&answer[..answer.len() - 1]), None, "it is cut");
        assert_eq!(channel(0b11111 << 11, 0b11111 << 11), 255);
    }
}
