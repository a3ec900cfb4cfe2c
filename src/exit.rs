//! How the command ends: 0 done, 1 failed, 2 not understood.

use std::io;
use std::process::ExitCode;

use kasmforge_build::{BuildError, FinishError, Missing};
use kasmforge_spec::{Diagnostic, Files, Location, Report};

use crate::printer::Printer;

/// What is said when a definition is refused before anything was done.
pub(crate) const NOTHING_WRITTEN: &str = "nothing was written";

/// Mistakes in what a person wrote, found after the definition was read: shown with their lines.
#[derive(Debug)]
pub(crate) struct Mistakes {
    pub(crate) files: Files,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What was not done because of them.
    pub(crate) closing: &'static str,
}

impl Mistakes {
    /// One mistake at one place.
    pub(crate) fn at(
        files: &Files,
        at: Location,
        message: String,
        label: &str,
        help: Vec<String>,
        closing: &'static str,
    ) -> Self {
        let diagnostic = Diagnostic {
            message,
            at: Some(at),
            label: label.into(),
            related: Vec::new(),
            help,
        };
        Self {
            files: files.clone(),
            diagnostics: vec![diagnostic],
            closing,
        }
    }
}

impl std::fmt::Display for Mistakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A command in a container ended with a status of its own, and this program ends with the same.
#[derive(Debug, thiserror::Error)]
#[error("the command ended with status {status}")]
pub(crate) struct Ended {
    /// The status, from 1.
    pub(crate) status: u8,
}

/// An error and what it comes of, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// Tells an error, and gives the status to end with.
pub(crate) fn of(error: &anyhow::Error, printer: &Printer) -> ExitCode {
    let closed = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    });
    if closed {
        // Whoever read our output has read enough of it.
        return ExitCode::SUCCESS;
    }
    if let Some(ended) = error.downcast_ref::<Ended>() {
        // It has said what it had to say.
        return ExitCode::from(ended.status);
    }
    if let Some(report) = error.downcast_ref::<Report>() {
        printer.mistakes(&report.files, &report.diagnostics, NOTHING_WRITTEN);
    } else if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        printer.mistakes(&mistakes.files, &mistakes.diagnostics, mistakes.closing);
    } else {
        printer.error(error);
    }
    ExitCode::FAILURE
}

/// Tells a command line that was not understood, or the help that was asked for.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a closed pipe here.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

/// Shows a build's error at the lines that are at fault, where some are.
pub(crate) fn located(error: BuildError, files: &Files) -> anyhow::Error {
    let closing = "no image was built";
    let label = "named here";
    let at = match &error {
        BuildError::Finish(FinishError::Owner { name, .. }) => name.at.clone(),
        BuildError::Finish(FinishError::Group { user, .. }) => user.at.clone(),
        BuildError::Missing { missing } => {
            let diagnostics = missing.iter().map(|one| Diagnostic {
                message: one.to_string(),
                at: one.at().cloned(),
                label: label.into(),
                related: Vec::new(),
                help: match one {
                    Missing::Name { .. } => {
                        vec!["install the package that has it, or mend the line".into()]
                    }
                    _ => Vec::new(),
                },
            });
            let mistakes = Mistakes {
                files: files.clone(),
                diagnostics: diagnostics.collect(),
                closing,
            };
            return mistakes.into();
        }
        _ => return error.into(),
    };
    let message = error.to_string();
    Mistakes::at(files, at, message, label, Vec::new(), closing).into()
}
