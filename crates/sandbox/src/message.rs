//! The bytes that travel between the two halves.
//!
//! Both halves are the same executable, so the form needs no version: numbers are little-endian,
//! byte strings and lists carry their length as a `u64` in front.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Text that is not a message.
#[derive(Debug, thiserror::Error)]
#[error("the message ends early or holds a value that does not exist")]
pub(crate) struct Malformed;

/// Something that can cross over.
pub(crate) trait Message: Sized {
    fn put(&self, to: &mut Vec<u8>);
    fn take(from: &mut &[u8]) -> Result<Self, Malformed>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let value = Self::take(&mut bytes)?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }
}

fn split<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = from.split_at_checked(length).ok_or(Malformed)?;
    *from = tail;
    Ok(head)
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Message for $kind {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
                let bytes = split(from, size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
            }
        }
    )*};
}
number!(u8, u32, i32, u64);

impl Message for bool {
    fn put(&self, to: &mut Vec<u8>) {
        u8::from(*self).put(to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Message for OsString {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self, to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self::from_vec(take_bytes(from)?))
    }
}

impl Message for PathBuf {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_os_str(), to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        OsString::take(from).map(Self::from)
    }
}

impl Message for String {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(Path::new(self).as_os_str(), to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Self::from_utf8(take_bytes(from)?).map_err(|_| Malformed)
    }
}

fn put_bytes(text: &OsStr, to: &mut Vec<u8>) {
    put_length(text.len(), to);
    to.extend_from_slice(text.as_bytes());
}

fn take_bytes(from: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let length = take_length(from)?;
    Ok(split(from, length)?.to_vec())
}

fn put_length(length: usize, to: &mut Vec<u8>) {
    (length as u64).put(to);
}

fn take_length(from: &mut &[u8]) -> Result<usize, Malformed> {
    usize::try_from(u64::take(from)?).map_err(|_| Malformed)
}

impl<T: Message> Message for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        put_length(self.len(), to);
        for item in self {
            item.put(to);
        }
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        (0..take_length(from)?).map(|_| T::take(from)).collect()
    }
}

impl<T: Message> Message for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        if bool::take(from)? {
            T::take(from).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<A: Message, B: Message> Message for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

/// Implements [`Message`] for a struct, field by field.
macro_rules! fields {
    ($name:path { $($field:ident),* $(,)? }) => {
        impl $crate::message::Message for $name {
            fn put(&self, to: &mut Vec<u8>) {
                $( self.$field.put(to); )*
            }
            fn take(from: &mut &[u8]) -> Result<Self, $crate::message::Malformed> {
                Ok(Self { $( $field: $crate::message::Message::take(from)? ),* })
            }
        }
    };
}
pub(crate) use fields;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        type Everything = Vec<(Option<OsString>, (PathBuf, (u32, (i32, bool))))>;
        let value: Everything = vec![
            (None, (PathBuf::from("a"), (7, (-1, true)))),
            (
                Some(OsString::from_vec(vec![0xff, 0, b'x'])),
                (PathBuf::new(), (u32::MAX, (i32::MIN, false))),
            ),
        ];
        let bytes = value.to_bytes();
        assert_eq!(Everything::from_bytes(&bytes).expect("own bytes"), value);
        for cut in 0..bytes.len() {
            assert!(
                Everything::from_bytes(&bytes[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }
}
