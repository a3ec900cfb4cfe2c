//! Keys of steps: what a step's outcome is a function of.

use std::fmt;

use crate::{Digest, Hasher};

/// The key of a step: equal keys promise equal outcomes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey(Digest);

impl StepKey {
    /// The digest behind the key.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.0
    }

    /// The key as a file name: 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl From<Digest> for StepKey {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepKey({})", self.0.short())
    }
}

/// One named input of a step, kept so that "why did this rebuild" has an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The input's name, unique within its step.
    pub name: String,
    /// The digest of the input's value.
    pub value: Digest,
}

/// Makes a [`StepKey`] from a kind and named fields.
///
/// The kind carries the version of the step's code (`"configure 3"`): whoever changes what a step
/// makes of the same inputs MUST change it. Each part is hashed with its length before it, so that
/// no two different lists of fields give the same bytes.
pub struct KeyHasher {
    kind: String,
    fields: Vec<Field>,
}

impl KeyHasher {
    /// Starts the key of a step of this kind.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self {
            kind: kind.into(),
            fields: Vec::new(),
        }
    }

    /// Adds an input by its bytes.
    #[must_use]
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.digest(name, Digest::of(value.as_ref()))
    }

    /// Adds an input by its digest.
    #[must_use]
    pub fn digest(mut self, name: &str, value: Digest) -> Self {
        debug_assert!(
            self.fields.iter().all(|field| field.name != name),
            "{name} given twice"
        );
        self.fields.push(Field {
            name: name.into(),
            value,
        });
        self
    }

    /// Adds an input that is itself the outcome of a step.
    #[must_use]
    pub fn step(self, name: &str, key: StepKey) -> Self {
        self.digest(name, key.digest())
    }

    /// Adds a list of inputs in an order that matters.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut hasher = Hasher::new();
        for value in values {
            part(&mut hasher, value.as_ref());
        }
        self.digest(name, hasher.finish())
    }

    /// The key, and the fields it was made from.
    #[must_use]
    pub fn finish(self) -> (StepKey, Vec<Field>) {
        let mut hasher = Hasher::new();
        part(&mut hasher, self.kind.as_bytes());
        for field in &self.fields {
            part(&mut hasher, field.name.as_bytes());
            part(&mut hasher, field.value.as_bytes());
        }
        (StepKey(hasher.finish()), self.fields)
    }

    /// The key alone.
    #[must_use]
    pub fn key(self) -> StepKey {
        self.finish().0
    }
}

fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_names_values_and_order_all_matter() {
        let keys = [
            KeyHasher::new("a").field("x", "1").key(),
            KeyHasher::new("b").field("x", "1").key(),
            KeyHasher::new("a").field("y", "1").key(),
            KeyHasher::new("a").field("x", "2").key(),
            KeyHasher::new("a").field("x", "1").field("y", "1").key(),
            KeyHasher::new("a").field("y", "1").field("x", "1").key(),
            KeyHasher::new("a").list("x", ["1", "2"]).key(),
            KeyHasher::new("a").list("x", ["12"]).key(),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[0], KeyHasher::new("a").field("x", "1").key());
    }
}
