//! The JSON Schema of a definition file, for editors.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, RemoveRefSiblings, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::raw::{RawDefinition, RawRegistry};

/// The JSON Schema (draft 7, which editors' TOML extensions read) of a definition file, as text that
/// ends in a newline. The same for each call.
#[must_use]
pub fn schema() -> String {
    text_of::<RawDefinition>("kasmforge workspace")
}

/// The JSON Schema of `registry.toml`, in the same form.
#[must_use]
pub fn registry_schema() -> String {
    text_of::<RawRegistry>("kasmforge registry")
}

fn text_of<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<T>();
    RecursiveTransform(tidied).transform(&mut schema);
    // Draft 7 ignores what stands beside a reference: descriptions would be lost.
    RemoveRefSiblings::default().transform(&mut schema);
    schema.insert("title".to_owned(), title.into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a JSON value has a text");
    text.push('\n');
    text
}

/// Takes `null` out of a schema, since TOML has none (a key is left out instead), and the line breaks
/// of our source out of descriptions.
fn tidied(schema: &mut Schema) {
    let null = |value: &Value| value == "null" || value["type"] == "null";
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    for key in ["type", "anyOf"] {
        let Some(Value::Array(kinds)) = schema.get_mut(key) else {
            continue;
        };
        kinds.retain(|kind| !null(kind));
        if kinds.len() > 1 {
            continue;
        }
        let only = kinds.pop();
        schema.remove(key);
        match only {
            Some(Value::Object(only)) => {
                for (key, value) in only {
                    schema.insert(key, value);
                }
            }
            Some(kind) => {
                schema.insert(key.to_owned(), kind);
            }
            None => {}
        }
    }
    schema.remove("default");
}
