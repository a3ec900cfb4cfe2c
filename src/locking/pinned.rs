//! Pins, from the definition's words to the resolver's.

use kasmforge_resolve::{Pin, PinTo, Universe};
use kasmforge_spec::{PinTo as Wanted, Stage, Workspace};

use crate::exit::{Mistakes, NOTHING_WRITTEN};

/// The pins of a stage and of those below it, the nearest first.
pub(super) fn pins(
    universe: &Universe,
    workspace: &Workspace,
    stage: usize,
) -> anyhow::Result<Vec<Pin>> {
    let stages = workspace.stages[..=stage].iter().rev();
    let mut pins = Vec::new();
    for pin in stages.flat_map(|stage| &stage.packages.pins) {
        let to = match &pin.to {
            Wanted::Any => PinTo::Any,
            Wanted::Version(pattern) => PinTo::Version(pattern.clone()),
            Wanted::Suite(suite) if universe.has_suite(&suite.value) => {
                PinTo::Suite(suite.value.clone())
            }
            Wanted::Suite(suite) => {
                let known: Vec<_> = universe
                    .archives()
                    .map(|archive| format!("`{}`", archive.suite))
                    .collect();
                let message = format!("no archive of `[debian]` has the suite `{}`", suite.value);
                let mut help = vec![format!("its suites are {}", known.join(", "))];
                if suite.value.ends_with("-backports") {
                    help.push("write `backports = true` in `[debian]` to have it".into());
                }
                let at = suite.at.clone();
                let mistakes = Mistakes::at(
                    &workspace.files,
                    at,
                    message,
                    "pinned to here",
                    help,
                    NOTHING_WRITTEN,
                );
                return Err(mistakes.into());
            }
        };
        pins.push(Pin {
            packages: pin.packages.clone(),
            to,
            priority: match pin.priority.map(i32::try_from) {
                Some(Ok(priority)) => priority,
                _ => Pin::NEVER,
            },
        });
    }
    Ok(pins)
}

/// The pins that hold for a stage as one text, and the priorities of archives: what they are is part
/// of what a lock is made for.
pub(super) fn words(workspace: &Workspace, stage: &Stage) -> String {
    let mut words = String::new();
    for stage in workspace
        .stages
        .iter()
        .take_while(|other| other.name != stage.name)
        .chain([stage])
    {
        for pin in &stage.packages.pins {
            let to = match &pin.to {
                Wanted::Any => String::new(),
                Wanted::Version(pattern) => format!("version {pattern}"),
                Wanted::Suite(suite) => format!("suite {}", suite.value),
            };
            let packages = pin.packages.join(" ");
            words += &format!("{packages}: {to} {:?}\n", pin.priority);
        }
    }
    for archive in &workspace.debian.archives {
        if let Some(priority) = archive.priority {
            words += &format!("archive {} {priority}\n", archive.name);
        }
    }
    words
}
