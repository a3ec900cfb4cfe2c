//! What a registry says of an error: a list of codes and messages, as the distribution
//! specification has it, or anything at all.

use serde::Deserialize;

use crate::transport::Answer;

/// As much of what a server says is told on.
const LONGEST: usize = 300;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn said(answer: &Answer) -> Vec<Said> {
    let errors = serde_json::from_slice::<Errors>(&answer.body);
    errors.map(|errors| errors.errors).unwrap_or_default()
}

/// Whether an answer has a code: `BLOB_UNKNOWN`. Older registries write blanks into them.
pub(crate) fn has(answer: &Answer, code: &str) -> bool {
    said(answer)
        .iter()
        .any(|one| one.code.to_ascii_uppercase().replace(' ', "_") == code)
}

/// What an answer says, in one line; nothing if it says nothing that is for people.
pub(crate) fn of(answer: &Answer) -> String {
    let said = said(answer);
    let mut text = if said.is_empty() {
        let plain = String::from_utf8_lossy(&answer.body);
        let kind = answer.header("content-type").unwrap_or_default();
        if kind.starts_with("text/plain") {
            plain.trim().to_owned()
        } else {
            String::new()
        }
    } else {
        let lines = said.iter().map(|one| match one.message.as_str() {
            "" => one.code.clone(),
            message => message.to_owned(),
        });
        lines.collect::<Vec<_>>().join("; ")
    };
    text.retain(|letter| !letter.is_control());
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).collect();
        text.push('…');
    }
    text
}
