//! Pins, from the definition's words to the resolver's; and packages that are files of the project.

use std::fs;

use anyhow::Context as _;
use kasmforge_digest::Digest;
use kasmforge_lock::Lock;
use kasmforge_resolve::{Pin, PinTo, Universe};
use kasmforge_spec::{DebByUrl, Files, PinTo as Wanted, Stage, Workspace};

use super::{FetchedDeb, Locking, control};
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

impl Locking<'_> {
    /// Whether the packages that are files of the project are those the lock knows.
    pub(super) fn has_debs_of_project(&self, lock: &Lock, stage: &Stage) -> anyhow::Result<bool> {
        for deb in stage.packages.debs.iter().filter(|deb| deb.local) {
            let path = self.project.root.join(&deb.url.value);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if lock.urls.get(&deb.url.value) != Some(&Digest::of(&bytes)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a package that is a file of the project into the store.
    pub(super) fn deb_of_project(
        &self,
        lock: &mut Lock,
        files: &Files,
        deb: &DebByUrl,
    ) -> anyhow::Result<FetchedDeb> {
        let path = self.project.root.join(&deb.url.value);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = Digest::of(&bytes);
        if let Some(named) = &deb.sha256
            && Digest::from_hex(&named.value)? != digest
        {
            let message = format!(
                "{} has another digest than the definition says",
                deb.url.value
            );
            let help = vec![format!(
                "the file has sha256 = \"{}\"; write that only if you know why it changed",
                digest.hex()
            )];
            let at = named.at.clone();
            return Err(Mistakes::at(files, at, message, "not this", help, NOTHING_WRITTEN).into());
        }
        let control =
            control(&*bytes).with_context(|| format!("{} is no package", path.display()))?;
        let size = bytes.len() as u64;
        self.store.keep_bytes(&bytes)?;
        lock.urls.insert(deb.url.value.clone(), digest);
        Ok(FetchedDeb {
            url: deb.url.value.clone(),
            digest,
            size,
            control,
        })
    }
}
