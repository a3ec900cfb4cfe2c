//! What is wrong with a definition, as values: a place, what is said of it, and what mends it.

use std::fmt;

use crate::model::{Files, Location};

/// One mistake in a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// Where. `None` for what stands in no file, such as a workspace nobody wrote.
    pub at: Option<Location>,
    /// What is said at the place itself; shorter than the message. May be empty.
    pub label: String,
    /// Other places that explain it, and what is said of each.
    pub related: Vec<(Location, String)>,
    /// What mends it: sentences for the reader.
    pub help: Vec<String>,
}

impl Diagnostic {
    pub(crate) fn new(
        at: Location,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            at: Some(at),
            label: label.into(),
            ..Diagnostic::nowhere(message)
        }
    }

    pub(crate) fn nowhere(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            message: message.into(),
            at: None,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    pub(crate) fn related(mut self, at: Location, label: impl Into<String>) -> Diagnostic {
        self.related.push((at, label.into()));
        self
    }
}

/// Everything that is wrong with a workspace's definition, and the texts it was read from.
///
/// Its `Display` is plain text, `path:line:column: message` and indented lines below. There is at
/// least one diagnostic, and they are in the order the files were read, each file from its top.
#[derive(Debug, Clone)]
pub struct Report {
    /// The texts the locations speak of.
    pub files: Files,
    /// The mistakes.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Orders the mistakes, and leaves out what was found twice (a module used by two stages).
    pub(crate) fn new(files: Files, found: Vec<Diagnostic>) -> Report {
        let mut diagnostics: Vec<Diagnostic> = Vec::with_capacity(found.len());
        for diagnostic in found {
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        diagnostics.sort_by_key(|diagnostic| {
            diagnostic
                .at
                .as_ref()
                .map(|at| (at.file, at.span.start, at.span.end))
        });
        Report { files, diagnostics }
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |at: &Location| {
            let (line, column) = self.files.position(at);
            format!("{}:{line}:{column}", self.files.path(at.file))
        };
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &diagnostic.at {
                Some(at) => write!(f, "{}: {}", place(at), diagnostic.message)?,
                None => write!(f, "error: {}", diagnostic.message)?,
            }
            if !diagnostic.label.is_empty() {
                write!(f, " ({})", diagnostic.label)?;
            }
            for (at, label) in &diagnostic.related {
                write!(f, "\n  {}: {label}", place(at))?;
            }
            for help in &diagnostic.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        Ok(())
    }
}

/// A text as it is quoted in messages: on one line, and not longer than people read.
pub(crate) fn quoted(text: &str) -> String {
    /// Longer texts say nothing more in a message whose place is shown beside it.
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let shown: String = shown
        .chars()
        .flat_map(|c| {
            let control = c.is_control();
            let escaped = control.then(|| c.escape_default());
            escaped.into_iter().flatten().chain((!control).then_some(c))
        })
        .collect();
    format!("`{shown}`")
}

/// Several names, quoted, in one line.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(quoted).collect();
    names.join(", ")
}
