//! Reads answers whose types nobody promises: what is wrong is told with its place.

use serde_json::Value;

use super::{Error, Id};

/// A value of an answer, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Answer<'a> {
    endpoint: &'static str,
    at: String,
    value: &'a Value,
}

impl<'a> Answer<'a> {
    /// The whole answer.
    pub(crate) fn new(endpoint: &'static str, value: &'a Value) -> Self {
        Self {
            endpoint,
            at: String::new(),
            value,
        }
    }

    /// A field, if it is there and not null.
    pub(crate) fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let at = match self.at.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.at),
        };
        Some(Self {
            endpoint: self.endpoint,
            at,
            value,
        })
    }

    /// A field that must be there.
    pub(crate) fn field(&self, name: &str) -> Result<Self, Error> {
        self.optional(name)
            .ok_or_else(|| self.wrong(format!("has no `{name}`")))
    }

    /// The elements of a list.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Self>, Error> {
        let field = self.field(name)?;
        let Value::Array(values) = field.value else {
            return Err(field.wrong(format!("is {}, not a list", kind(field.value))));
        };
        let element = |(index, value)| Self {
            endpoint: self.endpoint,
            at: format!("{}[{index}]", field.at),
            value,
        };
        Ok(values.iter().enumerate().map(element).collect())
    }

    /// A text that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<String, Error> {
        let field = self.field(name)?;
        match field.value {
            Value::String(text) => Ok(clean(text)),
            other => Err(field.wrong(format!("is {}, not a text", kind(other)))),
        }
    }

    /// A text, if there is one that is not empty.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<String>, Error> {
        if self.optional(name).is_none() {
            return Ok(None);
        }
        // The server writes an absent date as the text `None`.
        let absent = |text: &String| text.is_empty() || text == "None";
        Ok(Some(self.text(name)?).filter(|text| !absent(text)))
    }

    /// An id that must be there.
    pub(crate) fn id(&self, name: &str) -> Result<Id, Error> {
        let text = self.text(name)?;
        Id::parse(&text).ok_or_else(|| {
            let field = self.field(name);
            match field {
                Ok(field) => field.wrong("is no id".into()),
                Err(error) => error,
            }
        })
    }

    /// A number, if there is one; some servers write it as a text.
    pub(crate) fn optional_number(&self, name: &str) -> Result<Option<f64>, Error> {
        let Some(field) = self.optional(name) else {
            return Ok(None);
        };
        let number = match field.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        number
            .map(Some)
            .ok_or_else(|| field.wrong(format!("is {}, not a number", kind(field.value))))
    }

    /// A whole number, if there is one.
    pub(crate) fn optional_count(&self, name: &str) -> Result<Option<u64>, Error> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is finite and not negative; what is larger than u64 saturates"
        )]
        let count = self.optional_number(name)?.map(|number| number as u64);
        Ok(count)
    }

    /// Whether something is so, if it is said.
    pub(crate) fn optional_flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(field) = self.optional(name) else {
            return Ok(None);
        };
        match field.value {
            Value::Bool(flag) => Ok(Some(*flag)),
            other => Err(field.wrong(format!("is {}, neither true nor false", kind(other)))),
        }
    }

    /// What is wrong here.
    fn wrong(&self, problem: String) -> Error {
        let at = match self.at.is_empty() {
            true => "it".to_owned(),
            false => format!("`{}`", self.at),
        };
        Error::Shape {
            endpoint: self.endpoint,
            at,
            problem,
        }
    }

    /// The value itself.
    pub(crate) const fn value(&self) -> &'a Value {
        self.value
    }
}

/// The most of a server's text that is shown.
const LONGEST: usize = 500;

/// A server's text for a terminal: in one line, without control characters, not endless.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST + 1)
        .collect();
    if cleaned.chars().count() > LONGEST {
        cleaned.pop();
        cleaned.push('…');
    }
    cleaned.trim().to_owned()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Answer, clean};

    #[test]
    fn places_are_told() {
        let value =
            json!({"images": [{"image_id": "01366df3a03b4bccbb8c913846594826"}, {"image_id": 5}]});
        let answer = Answer::new("get_images", &value);
        let images = answer.list("images").expect("a list");
        assert!(images[0].id("image_id").is_ok());
        let error = images[1].id("image_id").expect_err("a number").to_string();
        assert!(
            error.contains("`images[1].image_id` is a number, not a text"),
            "{error}"
        );
        let error = answer.list("kasms").expect_err("absent").to_string();
        assert!(error.contains("it has no `kasms`"), "{error}");
    }

    #[test]
    fn a_terminal_is_not_written_to_by_a_server() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc"), "a [31mb  c");
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), 501);
    }
}
