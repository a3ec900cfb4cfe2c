//! What cannot be locked, shown at the lines of the definition that are at fault.

use std::collections::BTreeSet;

use kasmforge_resolve::{Problem, Unsatisfiable};
use kasmforge_spec::{Diagnostic, Files, Located, Location, Stage, Workspace};

use super::Superseded;
use crate::exit::{Mistakes, NOTHING_WRITTEN};

/// A suite no mirror has, shown where the definition names it; nothing for other errors.
pub(super) fn suite_missing(
    error: &kasmforge_archive::Error,
    workspace: &Workspace,
    suite: &str,
) -> Option<Mistakes> {
    let named = &workspace.debian.suite;
    if !error.is_gone() || !suite.starts_with(named.value.as_str()) {
        return None;
    }
    let message = format!("no mirror has the suite `{suite}`");
    let help = vec![
        format!("what was asked: {error}"),
        "suites are named like `trixie` or `bookworm`; another mirror is named with --mirror"
            .into(),
    ];
    let at = named.at.clone();
    Some(Mistakes::at(
        &workspace.files,
        at,
        message,
        "named here",
        help,
        NOTHING_WRITTEN,
    ))
}

/// A download of other bytes than the definition says, shown where it says so; nothing for other
/// errors.
pub(super) fn other_bytes(
    error: &kasmforge_archive::Error,
    files: &Files,
    url: &str,
    named: Option<&Located<String>>,
) -> Option<Mistakes> {
    match (error, named) {
        (kasmforge_archive::Error::OtherBytes { found, .. }, Some(named)) => {
            let message = format!("{url} has another digest than the definition says");
            let help = vec![format!(
                "what came has sha256 = \"{}\"; write that only if you know why it changed",
                found.hex()
            )];
            let at = named.at.clone();
            Some(Mistakes::at(
                files,
                at,
                message,
                "not this",
                help,
                NOTHING_WRITTEN,
            ))
        }
        _ => None,
    }
}

pub(super) fn diagnostic(message: String, at: Option<Location>, label: &str) -> Diagnostic {
    Diagnostic {
        message,
        at,
        label: label.into(),
        related: Vec::new(),
        help: Vec::new(),
    }
}

/// A failure to resolve, shown at the requests that are at fault.
pub(super) fn explained(
    error: Unsatisfiable,
    workspace: &Workspace,
    stage: &Stage,
    elsewhere: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Error {
    let superseded: BTreeSet<String> = error
        .problems
        .iter()
        .filter_map(|problem| match problem {
            Problem::KeptGone { kept } => Some(kept.name.clone()),
            _ => None,
        })
        .collect();
    if !superseded.is_empty() {
        return Superseded {
            packages: superseded,
        }
        .into();
    }
    let place = |request: usize| {
        stage
            .packages
            .install
            .get(request)
            .map(|one| one.at.clone())
    };
    let diagnostics = error
        .problems
        .iter()
        .map(|problem: &Problem| {
            let mut places = problem
                .requests()
                .iter()
                .filter_map(|&request| place(request));
            let mut told = diagnostic(problem.to_string(), places.next(), "asked for here");
            told.related = places.map(|at| (at, "and here".to_owned())).collect();
            told.help = problem.because().iter().map(ToString::to_string).collect();
            told.help.extend(problem.help());
            if let Problem::NotFound { name, .. } = problem {
                told.help.extend(elsewhere(name));
            }
            told
        })
        .collect();
    Mistakes {
        files: workspace.files.clone(),
        diagnostics,
        closing: NOTHING_WRITTEN,
    }
    .into()
}
