//! Judges any registry: what a server refuses, what people get wrong, each at its place.

mod config;
mod entry;
mod fields;
mod folders;
mod found;
mod icons;
mod list;
mod since;

use std::ops::Range;

use found::{found, versions};
use since::Since;

use super::json::{self, Node};
use super::{Schema, Source, SourceError};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A server refuses it, or a workspace cannot be installed.
    Error,
    /// It works, but not as was meant.
    Warning,
}

/// Something that is wrong with a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// A word for it that does not change, for programs: `image-without-tag`.
    pub code: &'static str,
    /// The text it is in: an index into [`Checked::texts`].
    pub text: usize,
    /// The way to it: `workspaces[3].name`; empty for the whole file.
    pub path: String,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What is said at the place itself.
    pub label: String,
    /// What mends it.
    pub help: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its path or address.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The files the findings are in.
    pub texts: Vec<Text>,
    /// The findings, by file and place.
    pub findings: Vec<Finding>,
    /// The schemas found, with how many workspaces each has.
    pub lists: Vec<(Schema, usize)>,
}

/// A registry that could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is nothing that is a registry.
    #[error(
        "there is no registry: neither {} is there; name the folder or address that has \
         1.0/ or 1.1/ in it", tried.join(" nor ")
    )]
    Nothing {
        /// What was looked for.
        tried: Vec<String>,
    },
    /// A file that should be text is none.
    #[error("{name} is not UTF-8 text")]
    NotText {
        /// The file.
        name: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Reads and judges a registry.
///
/// `previous` is an earlier state of the same one: what changed since must have another `sha`.
///
/// # Errors
/// There is no registry, or it cannot be read.
pub fn check(source: &dyn Source, previous: Option<&dyn Source>) -> Result<Checked, CheckError> {
    let mut lists = found(source)?;
    let mut ledger = Ledger::default();
    versions(source, &lists, &mut ledger)?;
    let before = previous.map(found).transpose()?.unwrap_or_default();
    for list in &mut lists {
        list.text = ledger.texts.len();
        ledger.texts.push(Text {
            name: source.name(&list.path),
            text: std::mem::take(&mut list.content),
        });
        let content = ledger.texts[list.text].text.clone();
        let document = match json::parse(&content) {
            Ok(document) => document,
            Err(error) => {
                let end = content.len().min(error.at + 1);
                let at = At::new(list.text, "", error.at.min(end)..end);
                ledger.error("not-json", &at, "this is not JSON", error.message);
                continue;
            }
        };
        let at = At::new(list.text, "", document.span.clone());
        list::judge(&document, &at, list.schema, &mut ledger);
        list.workspaces = document
            .get("workspaces")
            .map_or(0, |member| member.value.elements().len());
        icons::judge(source, list, &document, &mut ledger)?;
        folders::judge(source, list, &document, &mut ledger)?;
        let old = before.iter().find(|old| old.schema == list.schema);
        if let (Some(old), Some(previous)) = (old, previous) {
            let judged = Since {
                source,
                previous,
                list,
                old,
            };
            judged.unchanged_shas(&document, &mut ledger)?;
        }
    }
    let Ledger {
        texts,
        mut findings,
    } = ledger;
    findings.sort_by_key(|finding| (finding.text, finding.span.start, finding.span.end));
    Ok(Checked {
        texts,
        findings,
        lists: lists
            .iter()
            .map(|list| (list.schema, list.workspaces))
            .collect(),
    })
}

fn entries(document: &Node) -> &[Node] {
    document
        .get("workspaces")
        .map_or(&[], |member| member.value.elements())
}

/// A place: a text, the way to a value in it, and its bytes.
#[derive(Debug, Clone)]
struct At {
    text: usize,
    path: String,
    span: Range<usize>,
}

impl At {
    fn new(text: usize, path: &str, span: Range<usize>) -> Self {
        let path = path.to_owned();
        Self { text, path, span }
    }

    /// A value below this one.
    fn below(&self, step: &str, span: Range<usize>) -> Self {
        let dot = match (self.path.is_empty(), step.starts_with('[')) {
            (true, _) | (_, true) => "",
            _ => ".",
        };
        Self::new(self.text, &format!("{}{dot}{step}", self.path), span)
    }
}

/// The findings, as they are made.
#[derive(Debug, Default)]
struct Ledger {
    texts: Vec<Text>,
    findings: Vec<Finding>,
}

impl Ledger {
    fn error(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Finding {
        self.push(Level::Error, code, at, message.into(), label.into())
    }

    fn warning(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Finding {
        self.push(Level::Warning, code, at, message.into(), label.into())
    }

    fn push(
        &mut self,
        level: Level,
        code: &'static str,
        at: &At,
        message: String,
        label: String,
    ) -> &mut Finding {
        self.findings.push(Finding {
            level,
            code,
            text: at.text,
            path: at.path.clone(),
            span: at.span.clone(),
            message,
            label,
            help: Vec::new(),
        });
        self.findings.last_mut().expect("one was pushed just now")
    }
}

impl Finding {
    fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help.push(help.into());
        self
    }
}

/// A text as it is quoted in messages: on one line, and not longer than people read.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{}`", shown.replace(char::is_control, "\u{fffd}"))
}
