//! A step's key, and its inputs in words.

use kasmforge_digest::{Digest, KeyHasher, StepKey};
use serde::{Deserialize, Serialize};

/// A step: its key, and the named inputs it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, to what: `configure desktop`. Unique within a plan.
    pub name: String,
    /// The kind of step with the version of its code: `configure 1`.
    pub kind: String,
    /// The key.
    #[serde(with = "hex")]
    pub key: StepKey,
    /// What the key is a function of.
    pub inputs: Vec<Input>,
}

/// One named input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name, unique within the step.
    pub name: String,
    /// The digest that went into the key.
    pub value: Digest,
    /// What it is, for people: one text for each member of a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}

/// Makes a [`Step`]: the key and the words that go with it, from the same calls.
pub(crate) struct StepMaker {
    name: String,
    kind: &'static str,
    hasher: KeyHasher,
    words: Vec<Vec<String>>,
}

impl StepMaker {
    pub(crate) fn new(kind: &'static str, name: String) -> Self {
        Self {
            name,
            kind,
            hasher: KeyHasher::new(kind),
            words: Vec::new(),
        }
    }

    /// Adds an input that is a text.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.hasher = self.hasher.field(name, value);
        self.words.push(vec![value.into()]);
        self
    }

    /// Adds an input that is itself the outcome of a step; `None` where there is none.
    pub(crate) fn step(mut self, name: &str, value: Option<&Step>) -> Self {
        let key = value.map_or(Vec::new(), |step| step.key.digest().as_bytes().to_vec());
        self.hasher = self.hasher.field(name, key);
        self.words
            .push(value.map(|step| step.name.clone()).into_iter().collect());
        self
    }

    /// Adds a list in an order that matters, each member with its words.
    pub(crate) fn list<T: AsRef<[u8]>>(
        mut self,
        name: &str,
        members: impl IntoIterator<Item = (T, String)>,
    ) -> Self {
        let (values, words): (Vec<T>, Vec<String>) = members.into_iter().unzip();
        self.hasher = self.hasher.list(name, values);
        self.words.push(words);
        self
    }

    pub(crate) fn finish(self) -> Step {
        let (key, fields) = self.hasher.finish();
        let inputs = fields.into_iter().zip(self.words);
        Step {
            name: self.name,
            kind: self.kind.into(),
            key,
            inputs: inputs
                .map(|(field, words)| Input {
                    name: field.name,
                    value: field.value,
                    words,
                })
                .collect(),
        }
    }
}

/// A key as its hexadecimal digits.
mod hex {
    use kasmforge_digest::{Digest, StepKey};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        key: &StepKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<StepKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::from_hex(&text)
            .map(StepKey::from)
            .map_err(serde::de::Error::custom)
    }
}
