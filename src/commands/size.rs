//! `kasmforge size`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use clap::Args;
use kasmforge_build::{Built, latest};
use kasmforge_lock::{Lock, Package};
use serde_json::json;

use super::{Context, architecture};
use crate::printer::{Printer, bytes};

#[derive(Debug, Args)]
pub(crate) struct Size {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// How many packages and layers are shown, the largest first; all with 0.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

/// A package in an image.
struct Weighed<'a> {
    package: &'a Package,
    stage: &'a str,
    /// The packages that have it among what was chosen for their dependencies.
    wanted_by: Vec<&'a str>,
    /// What would go with it: itself, and whatever only it leads to.
    alone: u64,
}

/// Tells what an image's bytes are: by stage, by layer, by package.
pub(crate) fn run(wanted: &Size, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = match &wanted.workspace {
        Some(name) => name.clone(),
        None => context.project.only()?,
    };
    let workspace = context.project.load(&name)?;
    let lock = context.project.lock()?;
    let mut members: Vec<(&str, &Package)> = Vec::new();
    for stage in &workspace.stages {
        let locked = lock
            .workspace(&stage.name, architecture()?)
            .with_context(|| {
                format!(
                    "the lock has no `{}`; `kasmforge lock` makes it",
                    stage.name
                )
            })?;
        let own = locked.packages.iter().map(|at| &lock.packages[*at]);
        members.extend(own.map(|package| (stage.name.as_str(), package)));
    }
    let mut packages = weigh(&members);
    packages.sort_by(|a, b| {
        let size = |one: &Weighed<'_>| one.package.installed_size;
        size(b)
            .cmp(&size(a))
            .then(a.package.name.cmp(&b.package.name))
    });
    let built = latest(&context.store, &context.project.root, &name);
    let text = text(&packages, built.as_ref(), &lock, wanted.top);
    Ok(printer.result(&text, &as_json(&name, &packages, built.as_ref()))?)
}

fn weigh<'a>(members: &[(&'a str, &'a Package)]) -> Vec<Weighed<'a>> {
    let by_name: BTreeMap<&str, &Package> = members
        .iter()
        .map(|(_, package)| (package.name.as_str(), *package))
        .collect();
    let mut wanted_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, package) in members {
        for need in &package.depends {
            wanted_by.entry(need).or_default().push(&package.name);
        }
    }
    // What nobody depends on was asked for by name, or recommended.
    let roots: BTreeSet<&str> = by_name
        .keys()
        .copied()
        .filter(|name| !wanted_by.contains_key(name))
        .collect();
    let reach = |without: Option<&str>| -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<&str> = roots.iter().copied().collect();
        while let Some(name) = todo.pop() {
            if Some(name) == without || !by_name.contains_key(name) || !seen.insert(name) {
                continue;
            }
            todo.extend(by_name[name].depends.iter().map(String::as_str));
        }
        seen
    };
    let all = reach(None);
    members
        .iter()
        .map(|(stage, package)| {
            let rest = reach(Some(&package.name));
            let alone = all.difference(&rest);
            Weighed {
                package,
                stage,
                wanted_by: wanted_by
                    .get(package.name.as_str())
                    .cloned()
                    .unwrap_or_default(),
                alone: alone.map(|name| by_name[name].installed_size * 1024).sum(),
            }
        })
        .collect()
}

fn text(packages: &[Weighed<'_>], built: Option<&Built>, lock: &Lock, top: usize) -> String {
    let top = if top == 0 { usize::MAX } else { top };
    let mut lines = Vec::new();
    let mut stages: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for one in packages {
        let sum = stages.entry(one.stage).or_default();
        sum.0 += 1;
        sum.1 += one.package.installed_size * 1024;
    }
    for (stage, (count, size)) in &stages {
        lines.push(format!(
            "{:>9}  stage {stage}: {count} packages, as they say",
            bytes(*size)
        ));
    }
    if let Some(built) = built {
        let total: u64 = built.layers.iter().map(|layer| layer.size).sum();
        lines.push(format!(
            "{:>9}  the image last built, {} layers",
            bytes(total),
            built.layers.len()
        ));
        lines.push(String::new());
        lines.push("layers, the largest first".into());
        let mut layers: Vec<_> = built.layers.iter().enumerate().collect();
        layers.sort_by_key(|(at, layer)| (std::cmp::Reverse(layer.size), *at));
        for (at, layer) in layers.iter().take(top) {
            let what = layer
                .created_by
                .strip_prefix("kasmforge ")
                .unwrap_or(&layer.created_by);
            lines.push(format!("{:>9}  {at:>3}  {}", bytes(layer.size), cut(what)));
        }
    }
    lines.push(String::new());
    lines.push("packages, the largest first: alone, with what only they lead to, wanted by".into());
    for one in packages.iter().take(top) {
        let by = match one.wanted_by.as_slice() {
            [] => "nobody: asked for".to_owned(),
            some => some.join(", "),
        };
        lines.push(format!(
            "{:>9}  {:>9}  {}  ({})",
            bytes(one.package.installed_size * 1024),
            bytes(one.alone),
            one.package.name,
            cut(&by)
        ));
    }
    if lock.packages.is_empty() {
        lines.push("none".into());
    }
    lines.join("\n")
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 70;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn as_json(name: &str, packages: &[Weighed<'_>], built: Option<&Built>) -> serde_json::Value {
    json!({
        "workspace": name,
        "packages": packages.iter().map(|one| json!({
            "name": one.package.name,
            "version": one.package.version,
            "stage": one.stage,
            "installed": one.package.installed_size * 1024,
            "alone": one.alone,
            "wanted_by": one.wanted_by,
        })).collect::<Vec<_>>(),
        "layers": built.map(|built| built.layers.iter().map(|layer| json!({
            "digest": layer.diff_id,
            "size": layer.size,
            "stage": layer.stage,
            "created_by": layer.created_by,
            "packages": layer.packages,
        })).collect::<Vec<_>>()),
    })
}
