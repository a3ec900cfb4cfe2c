//! Tables with known keys, each declared once.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::decode::{Decode, Decoder};

/// How a table decodes its keys; implemented by [`table!`].
pub(crate) trait Table: Default {
    /// Every key the table may have, and whether it must have it.
    fn keys() -> Vec<(String, bool)>;

    /// Takes one key's value. The key is one of [`keys`](Table::keys).
    fn field(&mut self, key: &str, value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>);

    /// Remembers that something in the table could not be understood, so that nobody complains of
    /// what then seems to be missing.
    fn set_flawed(&mut self);

    /// Takes a whole table, and says which keys are unknown or missing.
    fn fields(table: &DeTable<'_>, span: Range<usize>, decoder: &mut Decoder<'_>) -> Self {
        let mut decoded = Self::default();
        let keys = Self::keys();
        let mistakes = decoder.diagnostics.len();
        let mut meant: Vec<&str> = Vec::new();
        let listed = std::mem::take(&mut decoder.listed);
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if keys.iter().any(|(known, _)| known == name) {
                decoder.path.push(name.to_owned());
                decoded.field(name, value, decoder);
                decoder.path.pop();
            } else {
                let known: Vec<&str> = keys.iter().map(|(known, _)| known.as_str()).collect();
                decoder.listed = listed;
                meant.extend(decoder.unknown_key(name, key.span(), &known));
                decoder.listed = false;
            }
        }
        decoder.listed = listed;
        if decoder.diagnostics.len() > mistakes {
            decoded.set_flawed();
        }
        for (key, required) in &keys {
            let key = key.as_str();
            if *required && !table.contains_key(key) && !meant.contains(&key) {
                decoder.missing_key(key, span.clone());
            }
        }
        decoded
    }
}

impl<T: Table> Decode for T {
    fn noun() -> Cow<'static, str> {
        "a table".into()
    }

    fn nouns() -> Cow<'static, str> {
        "tables".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<T> {
        match value.get_ref() {
            DeValue::Table(table) => Some(T::fields(table, value.span(), decoder)),
            _ => decoder.misshapen(value),
        }
    }

    fn repair(decoder: &Decoder<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let headers = decoder.written(value).starts_with("[[");
        headers.then(|| format!("write `[{}]`, with single brackets, once", decoder.key()))
    }
}

/// The key of a field: `start-period` for `start_period`, `use` for `r#use`.
pub(crate) fn key_of(field: &str) -> String {
    field.trim_start_matches("r#").replace('_', "-")
}

/// Declares a table: a struct whose fields are the table's keys, all optional as typed. `[required]`
/// before a field says that the table must have the key.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $field_doc:literal])+ $([$required:ident])? $field:ident: $type:ty,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Default, PartialEq, schemars::JsonSchema)]
        #[schemars(rename_all = "kebab-case", deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                $(#[doc = $field_doc])+
                $(#[schemars($required)])?
                pub(crate) $field: Option<$type>,
            )+
            /// Whether something in the table could not be understood.
            #[schemars(skip)]
            pub(crate) flawed: bool,
        }

        impl $crate::table::Table for $name {
            fn keys() -> Vec<(String, bool)> {
                vec![$((
                    $crate::table::key_of(stringify!($field)),
                    !stringify!($($required)?).is_empty(),
                ),)+]
            }

            fn set_flawed(&mut self) {
                self.flawed = true;
            }

            fn field(
                &mut self,
                key: &str,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                decoder: &mut $crate::decode::Decoder<'_>,
            ) {
                $(
                    if key == $crate::table::key_of(stringify!($field)) {
                        self.$field = $crate::decode::Decode::decode(value, decoder);
                    }
                )+
            }
        }

        impl $crate::merge::Lay for $name {
            fn lay(&mut self, nearer: &Self) {
                $($crate::merge::Lay::lay(&mut self.$field, &nearer.$field);)+
            }
        }
    };
}
pub(crate) use table;
