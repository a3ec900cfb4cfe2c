//! Lists that are one value, and tables that are handed on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::names::{Locale, Text};
use crate::decode::{Decode, Decoder};

/// Declares a list that is one value: where merged, the nearer one replaces the other whole.
/// `true`: the first is a program.
macro_rules! whole_list {
    ($($(#[doc = $doc:literal])+ $name:ident, $element:ty, $program:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) Vec<String>);

        impl Decode for $name {
            fn noun() -> Cow<'static, str> {
                Vec::<$element>::noun()
            }

            fn nouns() -> Cow<'static, str> {
                Vec::<$element>::nouns()
            }

            fn decode(
                value: &Spanned<DeValue<'_>>,
                decoder: &mut Decoder<'_>,
            ) -> Option<$name> {
                if !value.get_ref().is_array() {
                    return decoder.misshapen(value);
                }
                let before = decoder.diagnostics.len();
                let words = Vec::<$element>::decode(value, decoder)?;
                let words: Vec<String> = words.into_iter().map(|word| word.0).collect();
                let nothing = $program && words.first().is_none_or(String::is_empty);
                if nothing && decoder.diagnostics.len() == before {
                    let message = format!("`{}` names no program", decoder.key());
                    decoder.wrong(value.span(), message, "a program and its arguments are wanted");
                    return None;
                }
                Some($name(words))
            }

            fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
                let text = value.get_ref().as_str().filter(|_| $program)?;
                let words: Vec<String> =
                    text.split_whitespace().map(|word| format!("{word:?}")).collect();
                let key = decoder.key();
                let key = key.rsplit('.').next().unwrap_or_default();
                (!words.is_empty() && !text.contains(['"', '\'', '$', '|', '&', ';'])).then(|| {
                    format!("write `{key} = [{}]`", words.join(", "))
                })
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let element = generator.subschema_for::<$element>();
                json_schema!({ "type": "array", "items": element, "minItems": u32::from($program) })
            }
        }
    )+};
}

whole_list! {
    /// A program and its arguments.
    Command, Text, true;
    /// Arguments for another command.
    Arguments, Text, false;
    /// Languages.
    Locales, Locale, false;
}

/// A table whose keys are another program's, kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) String);

impl Decode for Json {
    fn noun() -> Cow<'static, str> {
        "a table".into()
    }

    fn nouns() -> Cow<'static, str> {
        "tables".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Json> {
        match value.get_ref() {
            DeValue::Table(_) => to_json(value, decoder).map(|json| Json(json.to_string())),
            _ => decoder.misshapen(value),
        }
    }
}

/// The same value in JSON; dates become strings. What JSON cannot hold is kept as a mistake.
fn to_json(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<serde_json::Value> {
    let number = match value.get_ref() {
        DeValue::String(text) => return Some(text.as_ref().into()),
        DeValue::Boolean(value) => return Some((*value).into()),
        DeValue::Datetime(value) => return Some(value.to_string().into()),
        DeValue::Array(values) => {
            let values = values.iter().map(|value| to_json(value, decoder));
            return values.collect::<Option<Vec<_>>>().map(Into::into);
        }
        DeValue::Table(table) => {
            // In the keys' order, whatever order the table has.
            let sorted: BTreeMap<_, _> = table
                .iter()
                .map(|(key, value)| (key.get_ref(), value))
                .collect();
            let mut object = serde_json::Map::new();
            for (key, value) in sorted {
                object.insert(key.to_string(), to_json(value, decoder)?);
            }
            return Some(object.into());
        }
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            number.ok().map(serde_json::Number::from)
        }
        DeValue::Float(float) => {
            let number: Option<f64> = float.as_str().parse().ok();
            number.and_then(serde_json::Number::from_f64)
        }
    };
    if number.is_none() {
        let message = format!("`{}` holds a number that JSON cannot hold", decoder.key());
        decoder.wrong(value.span(), message, "a smaller number is wanted");
    }
    number.map(Into::into)
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}
