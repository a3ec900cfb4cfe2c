//! `kasmforge plan`

use std::cell::RefCell;

use clap::Args;
use kasmforge_build::{Planned, Request, StepChange, planned};

use super::{Context, architecture};
use crate::cli;
use crate::exit;
use crate::locking::{Change, Locking, Universes};
use crate::printer::{Printer, bytes};
use crate::progress::Progress;

/// What `kasmforge plan` is told.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The workspace [default: the only one].
    pub(crate) workspace: Option<String>,
    #[command(flatten)]
    pub(crate) locking: cli::Locking,
}

/// How many names a line of text shows.
const SHOWN: usize = 6;

/// Tells what a build would do and what it would reuse; builds and writes nothing.
pub(crate) fn run(wanted: &Plan, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = match &wanted.workspace {
        Some(name) => name.clone(),
        None => context.project.only()?,
    };
    let workspace = context.project.load(&name)?;
    let progress = Progress::new(printer);
    let mut lock = context.project.lock()?;
    let locking = Locking {
        project: &context.project,
        settings: &context.settings,
        store: &context.store,
        progress: &progress,
        architecture: architecture()?,
        locked: wanted.locking.locked,
        offline: wanted.locking.offline,
        older: wanted.locking.allow_older,
        listed: RefCell::default(),
        universes: Universes::default(),
    };
    locking.bring(&mut lock, &workspace, &Change::Needed)?;
    progress.end();
    let request = Request {
        project: &context.project.root,
        workspace: &workspace,
        architecture: architecture()?,
        created: context.settings.source_date_epoch,
        trial: context.settings.trial,
        link: None,
    };
    let planned = planned(&context.store, &request, &lock)
        .map_err(|error| exit::located(error, &workspace.files))?;
    let json = serde_json::to_value(&planned)?;
    Ok(printer.result(&text(&planned), &json)?)
}

fn text(planned: &Planned) -> String {
    let mut lines = Vec::new();
    let mut packages = |verb: &str, names: &[String], more: String| {
        if !names.is_empty() {
            let count = names.len();
            lines.push(format!("{verb:<8} {count} packages{more}: {}", some(names)));
        }
    };
    packages(
        "fetch",
        &planned.fetched,
        format!(", {}", bytes(planned.bytes)),
    );
    packages("unpack", &planned.unpacked, String::new());
    let (reused, made): (Vec<_>, Vec<_>) = planned.steps.iter().partition(|step| step.reused);
    lines.extend(made.iter().map(|step| format!("make     {}", step.name)));
    lines.push(format!(
        "{} {}: {} steps to do, {} reused",
        planned.workspace,
        planned.architecture,
        made.len(),
        reused.len()
    ));
    lines.extend(explained(planned.differences.as_deref()));
    lines.join("\n")
}

/// Why steps are done, in words: which of their inputs changed since the last build.
///
/// A step whose only changed inputs are other steps is not told: they are.
pub(crate) fn explained(differences: Option<&[StepChange]>) -> Vec<String> {
    let Some(differences) = differences else {
        return vec!["no earlier build of this workspace to compare with".into()];
    };
    if differences.is_empty() {
        return vec!["nothing changed since the last build".into()];
    }
    let mut lines = Vec::new();
    for difference in differences {
        let step = &difference.step;
        if difference.inputs.is_empty() {
            lines.push(format!("{step}: it is new"));
        }
        for input in &difference.inputs {
            let name = &input.input;
            match (input.removed.as_slice(), input.added.as_slice()) {
                ([], []) if ["below", "configured", "layers"].contains(&name.as_str()) => {}
                ([], []) => lines.push(format!("{step}: {name} changed its order or content")),
                (removed, added) => {
                    let signed = |sign, words: &[String]| {
                        let words: Vec<String> =
                            words.iter().map(|one| format!("{sign} {one}")).collect();
                        (!words.is_empty()).then(|| some(&words))
                    };
                    let words: Vec<String> = [signed('-', removed), signed('+', added)]
                        .into_iter()
                        .flatten()
                        .collect();
                    lines.push(format!("{step}: {name} changed: {}", words.join(", ")));
                }
            }
        }
    }
    lines
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_build::InputChange;

    #[test]
    fn changes_are_told_where_they_began() {
        let changed = |input: &str, removed: &[&str], added: &[&str]| InputChange {
            input: input.into(),
            removed: removed.iter().map(|one| (*one).to_owned()).collect(),
            added: added.iter().map(|one| (*one).to_owned()).collect(),
        };
        let differences = [
            StepChange {
                step: "configure desktop".into(),
                inputs: vec![changed("packages", &["bash 1"], &["bash 2"])],
            },
            StepChange {
                step: "files desktop".into(),
                inputs: vec![changed("configured", &[], &[])],
            },
        ];
        assert_eq!(
            explained(Some(&differences)),
            ["configure desktop: packages changed: - bash 1, + bash 2"]
        );
        assert_eq!(
            explained(Some(&[])),
            ["nothing changed since the last build"]
        );
    }
}
