//! The kinds of strings and numbers a definition is made of, each a type that cannot be wrong.

pub(crate) mod kasm;
pub(crate) mod lists;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod numbers;
pub(crate) mod packages;
pub(crate) mod paths;

use std::ops::Range;

use crate::decode::Decoder;
use crate::diagnostic::quoted;

/// A string of one kind: what it must look like, and what to say if it does not.
pub(crate) trait Word: Sized + Ord {
    /// What it is called: `a port`.
    const KIND: &'static str;

    /// A regular expression for editors; reading may be stricter. Empty: anything.
    const PATTERN: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// The text is none; what is wanted instead.
    fn read(text: &str) -> Result<Self, Complaint>;
}

/// Why a string is not what it should be.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// What is wanted instead, shown at the place.
    pub(crate) label: String,
    /// What mends it.
    pub(crate) help: Option<String>,
}

impl Complaint {
    pub(crate) fn new(label: impl Into<String>) -> Complaint {
        Complaint {
            label: label.into(),
            help: None,
        }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Complaint {
        Complaint {
            help: Some(help.into()),
            ..self
        }
    }
}

/// Reads a string as a word; what it is not is kept as a mistake at its place.
pub(crate) fn read_word<W: Word>(
    text: &str,
    span: Range<usize>,
    decoder: &mut Decoder<'_>,
) -> Option<W> {
    match W::read(text) {
        Ok(word) => Some(word),
        Err(complaint) => {
            let message = format!("{} is not {}", quoted(text), W::KIND);
            let diagnostic = decoder.wrong(span, message, complaint.label);
            diagnostic.help.extend(complaint.help);
            None
        }
    }
}

/// Makes a [`Word`] a value of TOML: a string, for the decoder and for the schema.
macro_rules! word {
    ($name:ident) => {
        impl $crate::decode::Decode for $name {
            fn noun() -> std::borrow::Cow<'static, str> {
                "a string".into()
            }

            fn nouns() -> std::borrow::Cow<'static, str> {
                "strings".into()
            }

            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                decoder: &mut $crate::decode::Decoder<'_>,
            ) -> Option<$name> {
                match value.get_ref() {
                    toml::de::DeValue::String(text) => {
                        $crate::words::read_word(text, value.span(), decoder)
                    }
                    _ => decoder.misshapen(value),
                }
            }

            fn repair(
                decoder: &$crate::decode::Decoder<'_>,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
            ) -> Option<String> {
                <String as $crate::decode::Decode>::repair(decoder, value)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::words::Word;
                let mut schema = schemars::json_schema!({ "type": "string" });
                if !$name::PATTERN.is_empty() {
                    schema.insert("pattern".to_owned(), $name::PATTERN.into());
                }
                schema
            }
        }
    };
}
pub(crate) use word;

/// Declares words that are kept as they are written: a type around a `String`, what it is called, a
/// regular expression for editors, when a text is one, and what is said if it is not.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $kind:literal, $pattern:literal, $check:expr, $label:literal $(, $help:literal)?;
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) String);

        impl $crate::words::Word for $name {
            const KIND: &'static str = $kind;
            const PATTERN: &'static str = $pattern;

            fn read(text: &str) -> Result<$name, $crate::words::Complaint> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok($name(text.to_owned()));
                }
                let complaint = $crate::words::Complaint::new($label);
                $(let complaint = complaint.help($help);)?
                Err(complaint)
            }
        }

        $crate::words::word!($name);

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.0
            }
        }
    )+};
}
pub(crate) use words;

/// Declares words of a short list, each with the value it stands for.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $name:ident($type:ty) = $kind:literal { $($text:literal => $value:expr,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $type);

        impl $crate::decode::Decode for $name {
            fn noun() -> std::borrow::Cow<'static, str> {
                "a string".into()
            }

            fn nouns() -> std::borrow::Cow<'static, str> {
                "strings".into()
            }

            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                decoder: &mut $crate::decode::Decoder<'_>,
            ) -> Option<$name> {
                let toml::de::DeValue::String(text) = value.get_ref() else {
                    return decoder.misshapen(value);
                };
                match text.as_ref() {
                    $($text => Some($name($value)),)+
                    other => {
                        let known = [$($text),+];
                        let near = $crate::near::nearest(other, known);
                        let message =
                            format!("{} is not {}", $crate::diagnostic::quoted(other), $kind);
                        let label = format!("one of {} is wanted", $crate::diagnostic::listed(known));
                        let diagnostic = decoder.wrong(value.span(), message, label);
                        diagnostic.help.extend(near.map(|near| format!("did you mean `{near}`?")));
                        None
                    }
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),+] })
            }
        }
    };
}
pub(crate) use choice;

/// Whether every character of a text that is not empty is one of these.
pub(crate) fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

/// Whether a text begins with one kind of character, and goes on with another.
pub(crate) fn begins(
    text: &str,
    first: impl Fn(char) -> bool,
    rest: impl Fn(char) -> bool,
) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(first) && characters.all(rest)
}

/// A small letter or a digit.
pub(crate) fn small(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}
