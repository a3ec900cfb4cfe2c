//! JSON with the place of each value, so that a mistake can be shown where it stands.

use std::ops::Range;

/// Deeper documents are refused: no registry nests so, and reading must not exhaust the stack.
const DEEPEST: usize = 64;

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The bytes of the text that are the value.
    pub(crate) span: Range<usize>,
    /// The value.
    pub(crate) value: Value,
}

/// A value of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As it is written: what it fits into is the reader's matter.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// In the order written; a key may occur twice.
    Object(Vec<Member>),
}

/// A key of an object with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// A text that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotJson {
    /// The byte at which it ceases to be.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) message: &'static str,
}

impl Node {
    /// An object's value by its key; the last, where it occurs twice.
    pub(crate) fn get(&self, key: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == key)
    }

    /// An object's members; none of any other value.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements of an array; none of any other value.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// A string's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn whole(&self) -> Option<u64> {
        match &self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// What the value is called.
    pub(crate) const fn noun(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// The same value without its place.
    pub(crate) fn plain(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => text
                .parse()
                .map_or(serde_json::Value::Null, serde_json::Value::Number),
            Value::String(text) => text.as_str().into(),
            Value::Array(elements) => elements.iter().map(Node::plain).collect(),
            Value::Object(members) => {
                let pairs = members
                    .iter()
                    .map(|member| (member.key.clone(), member.value.plain()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }
}

/// Reads a whole text.
///
/// # Errors
/// Where it ceases to be JSON (RFC 8259). A byte order mark at the start is passed over.
pub(crate) fn parse(text: &str) -> Result<Node, NotJson> {
    let mut parser = Parser { text, at: 0 };
    if text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    let node = parser.value(0)?;
    parser.blanks();
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.wrong("nothing more is wanted after the value")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, message: &'static str) -> NotJson {
        NotJson {
            at: self.at,
            message,
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, NotJson> {
        self.blanks();
        let start = self.at;
        if depth > DEEPEST {
            return Err(self.wrong("this is nested deeper than any registry"));
        }
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node {
            span: start..self.at,
            value,
        })
    }

    fn word(&mut self) -> Result<Value, NotJson> {
        let rest = &self.text[self.at..];
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong(match rest.chars().next() {
            None => "the text ends where a value is wanted",
            Some('\'') => "strings are written in double quotation marks",
            Some('}' | ']') => "a value is wanted here; a comma before it is one too many",
            Some('/' | '#') => "JSON has no comments",
            Some(_) => "a value is wanted here",
        }))
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let start = self.at;
        let more = |c: u8| c.is_ascii_alphanumeric() || b"+-._".contains(&c);
        while self.peek().is_some_and(more) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        // The grammar of numbers is serde_json's to know.
        match text.parse::<serde_json::Number>() {
            Ok(_) => Ok(Value::Number(text.to_owned())),
            Err(_) => Err(NotJson {
                at: start,
                message: "this is not a number as JSON writes it",
            }),
        }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    return Err(NotJson {
                        at: start,
                        message: "this string is not closed",
                    });
                }
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=0x1f) => {
                    return Err(
                        self.wrong("a line break or control character must be escaped here")
                    );
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        // Only escapes are left to decode; both ends stand on quotation marks.
        let text = self.text.get(start..self.at);
        text.and_then(|text| serde_json::from_str(text).ok())
            .ok_or(NotJson {
                at: start,
                message: "this string has an escape that JSON does not know",
            })
    }

    fn array(&mut self, depth: usize) -> Result<Value, NotJson> {
        let mut elements = Vec::new();
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if !self.another(b']', "a comma or `]` is wanted here")? {
                return Ok(Value::Array(elements));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, NotJson> {
        let mut members = Vec::new();
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in double quotation marks is wanted here"));
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = start..self.at;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.wrong("`:` is wanted after a key"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            members.push(Member {
                key,
                key_span,
                value,
            });
            if !self.another(b'}', "a comma or `}` is wanted here")? {
                return Ok(Value::Object(members));
            }
        }
    }

    /// Takes a comma, or the end.
    fn another(&mut self, end: u8, message: &'static str) -> Result<bool, NotJson> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(found) if found == end => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wrong(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>()
                .prop_filter("JSON has no infinity", |number| number.is_finite())
                .prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_writes(value in any_json()) {
            let text = serde_json::to_string_pretty(&value).expect("a value has a text");
            let node = parse(&text).expect("it is JSON");
            // Fractions lose their last digit on the way through any reader: it is asked, too.
            let read: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            prop_assert_eq!(node.plain(), read);
            prop_assert_eq!(&text[node.span], text.as_str());
        }

        #[test]
        fn it_takes_exactly_what_serde_json_takes(text in "[\\[\\]{}:,\"\\\\0-9a-z.eE+ -]{0,24}") {
            let ours = parse(&text).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn noise_does_no_harm(text in any::<String>()) {
            if let Err(error) = parse(&text) {
                prop_assert!(error.at <= text.len() + 1);
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let text = "[".repeat(100_000);
        assert!(parse(&text).is_err());
    }
}
