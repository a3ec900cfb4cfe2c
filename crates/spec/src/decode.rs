//! From parsed TOML to raw values: shapes are checked here, and every mistake is kept.
//!
//! serde would stop at the first mistake of a file, so values are taken from the parsed document
//! directly.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::{Diagnostic, listed, quoted};
use crate::model::{FileId, Located, Location};
use crate::near::nearest;
use crate::words::{Word, read_word};

/// Takes values out of one file's document, and keeps what was wrong with them.
pub(crate) struct Decoder<'t> {
    /// The file.
    pub(crate) file: FileId,
    /// The folder the file is in: what its own paths are relative to.
    pub(crate) folder: &'t str,
    /// The file's text.
    pub(crate) text: &'t str,
    /// What was wrong so far.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The keys that lead to the value being decoded.
    pub(crate) path: Vec<String>,
    /// Whether that value is an element of a list.
    pub(crate) listed: bool,
    /// What the whole file is called.
    pub(crate) whole: &'static str,
}

impl<'t> Decoder<'t> {
    pub(crate) fn new(file: FileId, folder: &'t str, text: &'t str) -> Decoder<'t> {
        Decoder {
            file,
            folder,
            text,
            diagnostics: Vec::new(),
            path: Vec::new(),
            listed: false,
            whole: "the definition",
        }
    }

    pub(crate) fn location(&self, span: Range<usize>) -> Location {
        Location {
            file: self.file,
            span,
        }
    }

    /// Keeps a mistake at a place, and leaves it to be completed.
    pub(crate) fn wrong(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        let diagnostic = Diagnostic::new(self.location(span), message, label);
        self.diagnostics.push(diagnostic);
        self.diagnostics
            .last_mut()
            .expect("one was pushed just now")
    }

    /// The key being decoded, as a person would name it: `packages.install`.
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    /// The table being decoded, as its header is written.
    fn table(&self) -> String {
        match (self.path.is_empty(), self.listed) {
            (true, _) => self.whole.to_owned(),
            (false, true) => format!("`[[{}]]`", self.key()),
            (false, false) => format!("`[{}]`", self.key()),
        }
    }

    /// Says that a value has another shape than its key wants.
    pub(crate) fn misshapen<T: Decode>(&mut self, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let wanted = T::noun();
        let given = noun_of(value.get_ref());
        let entry = if self.listed { "an entry of " } else { "" };
        let message = format!("{entry}`{}` must be {wanted}", self.key());
        let help = T::repair(self, value);
        let diagnostic = self.wrong(value.span(), message, format!("this is {given}"));
        diagnostic.help.extend(help);
        None
    }

    /// Says that a key is unknown; gives the one that was likely meant.
    pub(crate) fn unknown_key<'k>(
        &mut self,
        key: &str,
        span: Range<usize>,
        known: &[&'k str],
    ) -> Option<&'k str> {
        let table = self.table();
        let mut diagnostic = Diagnostic::new(
            self.location(span),
            format!("unknown key {} in {table}", quoted(key)),
            "nothing reads this key",
        );
        let near = nearest(key, known.iter().copied());
        if let Some(near) = near {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        let known = listed(known.iter().copied());
        self.diagnostics
            .push(diagnostic.help(format!("the keys of {table} are: {known}")));
        near
    }

    pub(crate) fn missing_key(&mut self, key: &str, span: Range<usize>) {
        let message = format!("{} lacks the key `{key}`", self.table());
        self.wrong(span, message, "it belongs here");
    }

    /// What a value's text is, as it was written.
    pub(crate) fn written(&self, value: &Spanned<DeValue<'_>>) -> &'t str {
        self.text.get(value.span()).unwrap_or_default()
    }
}

/// What a value is called in a message about one of another shape.
fn noun_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value of TOML that a key may have.
pub(crate) trait Decode: Sized {
    /// What the value is called: `a string`.
    fn noun() -> Cow<'static, str>;

    /// What several are called: `strings`.
    fn nouns() -> Cow<'static, str>;

    /// Takes the value, or says in the decoder why it cannot be taken.
    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Self>;

    /// How a value of another shape is mended, if one can tell.
    fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let _ = (decoder, value);
        None
    }
}

impl<T: Decode> Decode for Located<T> {
    fn noun() -> Cow<'static, str> {
        T::noun()
    }

    fn nouns() -> Cow<'static, str> {
        T::nouns()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Located<T>> {
        let at = decoder.location(value.span());
        T::decode(value, decoder).map(|value| Located { value, at })
    }

    fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        T::repair(decoder, value)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn noun() -> Cow<'static, str> {
        format!("a list of {}", T::nouns()).into()
    }

    fn nouns() -> Cow<'static, str> {
        format!("lists of {}", T::nouns()).into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Vec<T>> {
        let DeValue::Array(array) = value.get_ref() else {
            return decoder.misshapen(value);
        };
        let listed = std::mem::replace(&mut decoder.listed, true);
        let values = array
            .iter()
            .filter_map(|value| T::decode(value, decoder))
            .collect();
        decoder.listed = listed;
        Some(values)
    }

    fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let key = decoder.path.last()?;
        let written = decoder.written(value);
        match value.get_ref() {
            DeValue::Table(_) if T::nouns() == "tables" => Some(format!(
                "write `[[{}]]`, with double brackets, once for each entry",
                decoder.key()
            )),
            DeValue::String(_) if T::nouns() == "strings" && !written.contains('\n') => {
                Some(format!("write `{key} = [{written}]`"))
            }
            _ => None,
        }
    }
}

impl Decode for String {
    fn noun() -> Cow<'static, str> {
        "a string".into()
    }

    fn nouns() -> Cow<'static, str> {
        "strings".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => decoder.misshapen(value),
        }
    }

    fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let plain = matches!(
            value.get_ref(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
        );
        let written = decoder.written(value);
        plain.then(|| format!("write it in quotation marks: `\"{written}\"`"))
    }
}

impl Decode for bool {
    fn noun() -> Cow<'static, str> {
        "true or false".into()
    }

    fn nouns() -> Cow<'static, str> {
        "booleans".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => decoder.misshapen(value),
        }
    }

    fn repair(_: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let bare = value.get_ref().as_str()?.parse::<bool>().ok()?;
        Some(format!("write `{bare}` without quotation marks"))
    }
}

/// A table whose keys the reader chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map<K, V>(pub(crate) BTreeMap<K, V>);

impl<K: Word, V: Decode> Decode for Map<K, V> {
    fn noun() -> Cow<'static, str> {
        format!("a table of {}", V::nouns()).into()
    }

    fn nouns() -> Cow<'static, str> {
        format!("tables of {}", V::nouns()).into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<Map<K, V>> {
        let DeValue::Table(table) = value.get_ref() else {
            return decoder.misshapen(value);
        };
        let mut map = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            let word = read_word::<K>(name, key.span(), decoder);
            decoder.path.push(name.to_owned());
            let value = V::decode(value, decoder);
            decoder.path.pop();
            if let (Some(word), Some(value)) = (word, value) {
                map.insert(word, value);
            }
        }
        Some(Map(map))
    }
}

impl<K, V: JsonSchema> JsonSchema for Map<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
