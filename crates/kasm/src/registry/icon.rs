//! What an icon is: its format and its size, from its first bytes.

/// A format of pictures that browsers and Kasm show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IconFormat {
    /// PNG.
    Png,
    /// SVG.
    Svg,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

impl IconFormat {
    /// The extension of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// Tells a picture's format from its bytes; `None` for anything else.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Some(Self::Png);
        }
        if bytes.starts_with(b"\xff\xd8\xff") {
            return Some(Self::Jpeg);
        }
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            return Some(Self::Webp);
        }
        let head = std::str::from_utf8(bytes).ok()?;
        let head = head.trim_start_matches('\u{feff}').trim_start();
        (head.starts_with('<') && head.contains("<svg")).then_some(Self::Svg)
    }
}

/// Larger icons make a registry slow for everybody who opens it.
pub(crate) const LARGEST: usize = 512 << 10;

/// Kasm's template asks for at least so many pixels on a side.
const SMALLEST: u32 = 50;

/// Why a picture is no good icon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IconError {
    /// It is no picture that is known.
    #[error("it is neither PNG nor SVG")]
    Format,
    /// It is a picture Kasm's registries do not name.
    #[error("it is {}, where Kasm's registries have PNG or SVG", .0.extension())]
    Other(IconFormat),
    /// It is not as wide as it is high.
    #[error("it is not square: {width} × {height}")]
    NotSquare {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// It is too small.
    #[error("it is {0} × {0} pixels; at least {SMALLEST} × {SMALLEST} are wanted")]
    Small(u32),
    /// Its file is too large.
    #[error("its file has {0} bytes; at most {LARGEST} are wanted")]
    Large(usize),
    /// It carries a script.
    #[error("it has a script, which whoever opens the file would run")]
    Script,
}

/// Judges an icon; the gravest objection.
///
/// # Errors
/// What is wrong with it.
pub fn judge(bytes: &[u8]) -> Result<IconFormat, IconError> {
    let format = IconFormat::of(bytes).ok_or(IconError::Format)?;
    let size = match format {
        IconFormat::Png => png_size(bytes),
        IconFormat::Svg => {
            let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
            if text.contains("<script") || text.contains("javascript:") {
                return Err(IconError::Script);
            }
            svg_size(&text)
        }
        other => return Err(IconError::Other(other)),
    };
    if let Some((width, height)) = size {
        if width != height {
            return Err(IconError::NotSquare { width, height });
        }
        if format == IconFormat::Png && width < SMALLEST {
            return Err(IconError::Small(width));
        }
    }
    if bytes.len() > LARGEST {
        return Err(IconError::Large(bytes.len()));
    }
    Ok(format)
}

/// Width and height from a PNG's header (ISO/IEC 15948, 11.2.2).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    Some((number(16)?, number(20)?))
}

/// Width and height of an SVG's view box, rounded; `None` where it names none.
fn svg_size(text: &str) -> Option<(u32, u32)> {
    let root = &text[text.find("<svg")?..];
    let root = &root[..root.find('>')?];
    let rest = &root[root.find("viewbox=")? + "viewbox=".len()..];
    let quote = rest.chars().next()?;
    let inner = rest[1..].split(quote).next()?;
    let mut numbers = inner
        .split([' ', ',', '\n', '\t'])
        .filter(|part| !part.is_empty())
        .map(str::parse::<f64>);
    let width = numbers.nth(2)?.ok()?;
    let height = numbers.next()?.ok()?;
    Some((width.round() as u32, height.round() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes
    }

    #[test]
    fn icons_are_judged_by_their_bytes() {
        let svg = |root: &str| format!("<?xml version=\"1.0\"?>\n{root}</svg>").into_bytes();
        for (bytes, judged) in [
            (png(64, 64), Ok(IconFormat::Png)),
            (
                png(64, 32),
                Err(IconError::NotSquare {
                    width: 64,
                    height: 32,
                }),
            ),
            (png(16, 16), Err(IconError::Small(16))),
            (svg("<svg viewBox=\"0 0 24 24\">"), Ok(IconFormat::Svg)),
            (svg("<svg width='3'>"), Ok(IconFormat::Svg)),
            (
                svg("<svg viewBox='0 0 24.4 12'>"),
                Err(IconError::NotSquare {
                    width: 24,
                    height: 12,
                }),
            ),
            (svg("<svg><script>x()</script>"), Err(IconError::Script)),
            (
                b"RIFF\0\0\0\0WEBPVP8 ".to_vec(),
                Err(IconError::Other(IconFormat::Webp)),
            ),
            (b"<html>".to_vec(), Err(IconError::Format)),
            (Vec::new(), Err(IconError::Format)),
        ] {
            assert_eq!(judge(&bytes), judged);
        }
        let mut large = png(64, 64);
        large.resize(LARGEST + 1, 0);
        assert_eq!(judge(&large), Err(IconError::Large(LARGEST + 1)));
    }
}
