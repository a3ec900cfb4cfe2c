//! Stanzas of deb822 text: the paragraphs of `Packages`, `Release`, `control` and `status` files.
//!
//! The scanner copies nothing: a [`Stanza`] is a slice of the text, and a field is looked for only
//! when it is asked for.

use std::borrow::Cow;

/// The longest stanza [`Stanzas::new`] accepts, in bytes: the longest in real indexes are under
/// 100 KiB, and an index that holds a longer one is broken or hostile.
pub const MAX_STANZA_LENGTH: usize = 1 << 20;

/// One paragraph: a list of fields.
#[derive(Debug, Clone, Copy)]
pub struct Stanza<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

/// One field of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's name, as it was written.
    pub name: &'a str,
    /// All that follows the colon, with the continuation lines as they stand.
    pub raw: &'a str,
}

impl<'a> Field<'a> {
    /// The field's value: lines without the space around them, joined by line feeds.
    ///
    /// Only the first space of a continuation line is taken away, so that a `Description` keeps
    /// its indented lines. Borrowed unless the field is folded.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        let raw = self.raw.trim_end();
        if !raw.contains('\n') {
            return Cow::Borrowed(raw.trim_start());
        }
        let mut lines = raw.split('\n');
        let mut value = lines.next().unwrap_or_default().trim().to_owned();
        for line in lines {
            let line = line.trim_end();
            // A comment in the midst of a field is no part of it.
            if line.starts_with('#') {
                continue;
            }
            value.push('\n');
            value.push_str(line.strip_prefix([' ', '\t']).unwrap_or(line));
        }
        Cow::Owned(value)
    }
}

impl<'a> Stanza<'a> {
    /// The stanza's text, without the empty line that ends it.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The byte of the whole text at which the stanza begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The line of the whole text on which the stanza begins, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The fields, in the order they were written.
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        Fields { rest: self.text }
    }

    /// The value of a field, by its name in any case. Of two fields of one name the first counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.fields()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value())
    }
}

/// The fields of a stanza, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest.as_bytes();
        let mut start = 0;
        while bytes.get(start) == Some(&b'#') {
            start = line_end(bytes, start);
        }
        let colon = start + memchr::memchr(b':', &bytes[start..])?;
        let mut end = line_end(bytes, colon);
        while matches!(bytes.get(end), Some(b' ' | b'\t' | b'#')) {
            end = line_end(bytes, end);
        }
        let (name, raw) = (&self.rest[start..colon], &self.rest[colon + 1..end]);
        self.rest = &self.rest[end..];
        Some(Field { name, raw })
    }
}

/// The byte after the line feed that ends the line.
fn line_end(bytes: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length + 1)
}

/// A text that is not deb822.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} (byte {offset})")]
pub struct StanzaError {
    /// The line at fault, counted from 1.
    pub line: usize,
    /// The byte at which that line begins.
    pub offset: usize,
    /// What is wrong.
    #[source]
    pub mistake: StanzaMistake,
}

/// What can be wrong with deb822 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StanzaMistake {
    /// A line that is neither a field, nor continues one, nor is a comment.
    #[error("a line must be `Field: value`, or begin with a space to continue a field")]
    NoColon,
    /// A field without a name, or with a space in it.
    #[error("a field's name may not be empty or hold a space")]
    Name,
    /// A continuation line at the head of a stanza.
    #[error("the line continues a field, but no field stands before it")]
    Continuation,
    /// More bytes than one stanza may have.
    #[error("the stanza is longer than {limit} bytes")]
    TooLong {
        /// The limit that was set.
        limit: usize,
    },
}

/// Walks the stanzas of a text. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    limit: usize,
}

impl<'a> Stanzas<'a> {
    /// Walks a text whose stanzas have at most [`MAX_STANZA_LENGTH`] bytes.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self::with_limit(text, MAX_STANZA_LENGTH)
    }

    /// Walks a text whose stanzas have at most `limit` bytes.
    #[must_use]
    pub const fn with_limit(text: &'a str, limit: usize) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            limit,
        }
    }

    /// The mistake of a line, if it has one. `first` lines cannot continue a field.
    fn mistake(line: &[u8], first: bool) -> Option<StanzaMistake> {
        match line[0] {
            b'#' => None,
            b' ' | b'\t' => first.then_some(StanzaMistake::Continuation),
            _ => match memchr::memchr(b':', line) {
                None => Some(StanzaMistake::NoColon),
                Some(0) => Some(StanzaMistake::Name),
                Some(colon) => memchr::memchr2(b' ', b'\t', &line[..colon])
                    .is_some()
                    .then_some(StanzaMistake::Name),
            },
        }
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, StanzaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let (mut start, mut first_line) = (self.at, self.line);
        let mut fields = false;
        while self.at < bytes.len() {
            let end = line_end(bytes, self.at);
            let line = &bytes[self.at..end];
            if line.trim_ascii().is_empty() {
                let stanza = &self.text[start..self.at];
                self.at = end;
                self.line += 1;
                if fields {
                    return Some(Ok(Stanza {
                        text: stanza,
                        offset: start,
                        line: first_line,
                    }));
                }
                (start, first_line) = (self.at, self.line);
                continue;
            }
            let mistake = Self::mistake(line, !fields)
                .or((end - start > self.limit)
                    .then_some(StanzaMistake::TooLong { limit: self.limit }));
            if let Some(mistake) = mistake {
                let error = StanzaError {
                    line: self.line,
                    offset: self.at,
                    mistake,
                };
                self.at = bytes.len();
                return Some(Err(error));
            }
            fields |= line[0] != b'#';
            self.at = end;
            self.line += 1;
        }
        fields.then(|| {
            Ok(Stanza {
                text: &self.text[start..],
                offset: start,
                line: first_line,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\n# a comment\nPackage: one\nDescription: short\n  indented\n .\n \
                        last  \ndepends:  a,\n# between\n\tb\n\n \t\nPackage:two\r\nEmpty:\r\n";

    #[test]
    fn walks_stanzas_and_folds_fields() {
        let stanzas: Vec<_> = Stanzas::new(TEXT)
            .collect::<Result<_, _>>()
            .expect("a good text");
        let [one, two] = stanzas.as_slice() else {
            panic!("two stanzas, not {}", stanzas.len());
        };
        assert_eq!(one.get("package").as_deref(), Some("one"));
        assert_eq!(
            one.get("Description").as_deref(),
            Some("short\n indented\n.\nlast")
        );
        assert_eq!(one.get("Depends").as_deref(), Some("a,\nb"));
        assert!(matches!(one.get("Package"), Some(Cow::Borrowed("one"))));
        assert_eq!((one.line(), two.line()), (2, 13));
        assert!(TEXT[two.offset()..].starts_with("Package:two"));
        assert_eq!(two.get("Package").as_deref(), Some("two"));
        assert_eq!(two.get("Empty").as_deref(), Some(""));
        assert_eq!(two.get("Depends"), None);
        let names: Vec<_> = one.fields().map(|field| field.name).collect();
        assert_eq!(names, ["Package", "Description", "depends"]);
    }

    #[test]
    fn tells_where_a_mistake_stands() {
        let error = |text| {
            let error = Stanzas::new(text)
                .find_map(Result::err)
                .expect("a bad text");
            (error.line, error.offset, error.mistake)
        };
        assert_eq!(error("A: 1\n\nB\n"), (3, 6, StanzaMistake::NoColon));
        assert_eq!(error(" A: 1"), (1, 0, StanzaMistake::Continuation));
        assert_eq!(error("A: 1\n: 2"), (2, 5, StanzaMistake::Name));
        assert_eq!(error("A b: 1"), (1, 0, StanzaMistake::Name));
    }

    #[test]
    fn refuses_a_stanza_without_end() {
        let text = format!(
            "Package: a\n\nPackage: b\nDepends: {}\n",
            "c, ".repeat(4 << 20)
        );
        let mut stanzas = Stanzas::new(&text);
        assert!(stanzas.next().is_some_and(|first| first.is_ok()));
        let error = stanzas.next().expect("an error").expect_err("too long");
        assert_eq!(
            error.mistake,
            StanzaMistake::TooLong {
                limit: MAX_STANZA_LENGTH
            }
        );
        assert!(stanzas.next().is_none());
    }

    proptest! {
        #[test]
        fn fields_of_any_good_text_are_read(text in "[Aa:# \n\té-]{0,60}") {
            for stanza in Stanzas::new(&text).flatten() {
                prop_assert!(stanza.fields().count() > 0);
                for field in stanza.fields() {
                    prop_assert!(!field.name.is_empty() && !field.value().ends_with(' '));
                }
            }
        }

        #[test]
        fn values_come_back(values in proptest::collection::vec("[!-~]([ -~]{0,8}[!-~])?", 1..8)) {
            let text: String = values
                .iter()
                .enumerate()
                .map(|(at, value)| format!("Field-{at}: {value}\n more: {value}\n"))
                .collect();
            let stanza = Stanzas::new(&text).next().expect("a stanza").expect("a good one");
            for (at, value) in values.iter().enumerate() {
                let expected = format!("{value}\nmore: {value}");
                let found = stanza.get(&format!("field-{at}"));
                prop_assert_eq!(found.as_deref(), Some(&*expected));
            }
        }
    }
}
