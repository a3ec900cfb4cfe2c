//! What the fields of a server's workspace mean, whatever types they travel in.

use serde_json::{Value, json};

use super::Id;

/// How a field is written and compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Number,
    /// A JSON value that travels as its text.
    Text,
    /// A list of words in no order.
    Words,
    /// An id, with dashes or without.
    Id,
}

/// How the server writes a field.
pub(super) fn kind(field: &str) -> Kind {
    match field {
        "run_config" | "exec_config" | "launch_config" | "volume_mappings" => Kind::Text,
        "cores" | "memory" | "gpu_count" | "session_time_limit" => Kind::Number,
        "categories" | "restrict_network_names" => Kind::Words,
        "filter_policy_id" | "zone_id" => Kind::Id,
        _ => Kind::Plain,
    }
}

/// A field by what it means, whatever type the server wrote it in.
pub(super) fn meant(kind: Kind, value: Option<&Value>) -> Value {
    let value = value.cloned().unwrap_or_default();
    match (kind, value) {
        (Kind::Plain, Value::String(text)) if text.is_empty() => Value::Null,
        (Kind::Plain, value) => value,
        (Kind::Number, value) => match &value {
            Value::Number(number) => json!(number.as_f64()),
            Value::String(text) => text
                .trim()
                .parse::<f64>()
                .map_or(value, |number| json!(number)),
            _ => value,
        },
        (Kind::Text, Value::String(text)) => match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        },
        (Kind::Text, Value::Object(object)) if object.is_empty() => Value::Null,
        (Kind::Text, value) => value,
        (Kind::Words, Value::String(text)) => match serde_json::from_str(&text) {
            Ok(Value::Array(words)) => sorted(words),
            _ => sorted(text.split(',').map(|word| json!(word.trim())).collect()),
        },
        (Kind::Words, Value::Array(words)) => sorted(words),
        (Kind::Id, Value::String(text)) => {
            Id::parse(&text).map_or(json!(text), |id| json!(id.as_str()))
        }
        (Kind::Words | Kind::Id, value) => value,
    }
}

fn sorted(mut words: Vec<Value>) -> Value {
    words.retain(|word| word.as_str() != Some(""));
    words.sort_by_key(Value::to_string);
    match words.is_empty() {
        true => Value::Null,
        false => Value::Array(words),
    }
}
