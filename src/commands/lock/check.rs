//! Whether the lock fits the definitions: told without an index, a network or a solver.

use anyhow::Context as _;
use serde_json::json;

use super::Arguments;
use crate::commands::architecture;
use crate::locking::check::{misfits, uncanonical};
use crate::printer::Printer;
use crate::project::Project;

/// Says whether the lock fits the definitions.
pub(super) fn check(
    wanted: &Arguments,
    project: &Project,
    printer: &Printer,
) -> anyhow::Result<()> {
    let path = project.lock_path();
    let lock = project.lock()?;
    let all = project.workspaces()?;
    let names = if wanted.workspaces.is_empty() {
        &all
    } else {
        &wanted.workspaces
    };
    let mut told: Vec<(String, String)> = Vec::new();
    let mut left_out: Vec<&str> = Vec::new();
    for name in names {
        let workspace = project.load(name)?;
        if wanted.workspaces.is_empty() && lock.left_out.contains(name) {
            left_out.push(name);
            continue;
        }
        let mut architectures: Vec<&str> = match wanted.architecture.is_empty() {
            true => lock
                .workspaces
                .iter()
                .filter(|one| one.name == *name)
                .map(|one| one.architecture.as_str())
                .collect(),
            false => wanted.architecture.iter().map(String::as_str).collect(),
        };
        if architectures.is_empty() {
            architectures.push(architecture()?);
        }
        for architecture in architectures {
            for misfit in misfits(&lock, &workspace, architecture, project) {
                let line = (misfit.workspace, misfit.what);
                if !told.contains(&line) {
                    told.push(line);
                }
            }
        }
    }
    if wanted.workspaces.is_empty() {
        let left = lock
            .workspaces
            .iter()
            .map(|one| &one.name)
            .chain(&lock.left_out)
            .filter(|name| !all.contains(name));
        told.extend(left.map(|name| (name.clone(), "no definition makes it any more".into())));
        if path.exists() {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            told.extend(uncanonical(&lock, &text).map(|line| {
                let what = format!("line {line} is not as kasmforge writes it");
                ("kasmforge.lock".to_owned(), what)
            }));
        }
    }
    let json = json!({
        "fits": told.is_empty(),
        "packages": lock.packages.len(),
        "misfits": told
            .iter()
            .map(|(workspace, what)| json!({ "workspace": workspace, "what": what }))
            .collect::<Vec<_>>(),
        "left_out": left_out,
    });
    if told.is_empty() {
        let mut text = format!(
            "kasmforge.lock fits the definitions ({} packages)",
            lock.packages.len()
        );
        if !left_out.is_empty() {
            text.push_str(&format!(
                "; left out, because something could not be fetched where it was written: {} \
                 (`kasmforge lock` takes them up where it can be)",
                left_out.join(", ")
            ));
        }
        return Ok(printer.result(&text, &json)?);
    }
    if printer.json() {
        printer.result("", &json)?;
    }
    let lines: Vec<_> = told
        .iter()
        .map(|(workspace, what)| format!("\n  {workspace}: {what}"))
        .collect();
    anyhow::bail!(
        "kasmforge.lock does not fit the definitions; run `kasmforge lock` and commit it{}",
        lines.concat()
    )
}
