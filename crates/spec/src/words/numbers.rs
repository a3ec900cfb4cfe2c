//! Whole numbers with bounds, and numbers that are written as text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::all;
use super::{Complaint, Word, word};
use crate::decode::{Decode, Decoder};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A number of a port.
pub(crate) type PortNumber = Whole<1, 65535>;
/// The number of a user or a group: what a signed 32-bit integer holds.
pub(crate) type Id = Whole<0, 2_147_483_647>;
/// How much the versions of an archive count, as in apt's preferences; those above 1000 would take
/// older versions than what is there, and nothing is there.
pub(crate) type ArchivePriority = Whole<1, 1000>;
/// A time to wait, up to a day: a longer one is a slip.
pub(crate) type Seconds = Whole<1, 86_400>;

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number as a port.
    pub(crate) fn port(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u32, "only ports are as small as that") };
        self.0 as u16
    }
}

impl<const MIN: u32, const MAX: u32> Decode for Whole<MIN, MAX> {
    fn noun() -> Cow<'static, str> {
        "a whole number".into()
    }

    fn nouns() -> Cow<'static, str> {
        "whole numbers".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return decoder.misshapen(value);
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (MIN..=MAX).contains(number));
        if number.is_none() {
            let message = format!("`{}` cannot be {integer}", decoder.key());
            decoder.wrong(value.span(), message, format!("{MIN} to {MAX} is wanted"));
        }
        number.map(Whole)
    }

    fn repair(_: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str()?;
        text.parse::<u32>()
            .ok()
            .map(|number| format!("write `{number}` without quotation marks"))
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("WholeFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mode(pub(crate) u32);

impl Word for Mode {
    const KIND: &'static str = "a file's mode";
    const PATTERN: &'static str = "^0?[0-7]{3,4}$";

    fn read(text: &str) -> Result<Mode, Complaint> {
        let complaint = || {
            Complaint::new("three or four octal digits are wanted, at most 7777")
                .help("`\"0755\"` may be executed by everybody, `\"0644\"` only read")
        };
        let digits = all(text, |c| ('0'..='7').contains(&c));
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777);
        match mode {
            Some(mode) if digits && (3..=5).contains(&text.len()) => Ok(Mode(mode)),
            _ => Err(complaint()),
        }
    }
}

word!(Mode);

/// A number of bytes: `512m`, `1g`, or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl Word for Size {
    const KIND: &'static str = "a size";
    const PATTERN: &'static str = "^[1-9][0-9]*[bkmgtBKMGT]?$";

    fn read(text: &str) -> Result<Size, Complaint> {
        // As the engines' command lines write sizes: one letter, powers of 1024.
        let (digits, shift) = match text.char_indices().last() {
            Some((at, unit)) if unit.is_ascii_alphabetic() => {
                let shift = "bkmgt".find(unit.to_ascii_lowercase());
                (&text[..at], shift)
            }
            _ => (text, Some(0)),
        };
        let bytes = shift.and_then(|power| {
            let number = all(digits, |c| c.is_ascii_digit()).then_some(digits)?;
            number.parse::<u64>().ok()?.checked_mul(1 << (10 * power))
        });
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Size(bytes)),
            _ => Err(Complaint::new("a number of bytes above 0 is wanted")
                .help("write `\"512m\"` or `\"2g\"`; the letters b, k, m, g, t count in 1024s")),
        }
    }
}

word!(Size);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_bytes() {
        for (text, bytes) in [
            ("512m", Some(512 << 20)),
            ("1G", Some(1 << 30)),
            ("2768m", Some(2768 << 20)),
            ("7", Some(7)),
            ("7b", Some(7)),
            ("3k", Some(3072)),
            ("0", None),
            ("0g", None),
            ("", None),
            ("m", None),
            ("1.5g", None),
            ("-1", None),
            ("1gb", None),
            ("99999999999t", None),
            ("1€", None),
        ] {
            assert_eq!(Size::read(text).ok().map(|size| size.0), bytes, "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, mode) in [
            ("0755", Some(0o755)),
            ("644", Some(0o644)),
            ("4755", Some(0o4755)),
            ("07777", Some(0o7777)),
            ("10000", None),
            ("0788", None),
            ("75", None),
            ("", None),
            ("+755", None),
            ("000755", None),
        ] {
            assert_eq!(Mode::read(text).ok().map(|mode| mode.0), mode, "{text}");
        }
    }
}
