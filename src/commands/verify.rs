//! `kasmforge verify`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use kasmforge_build::{Difference, NORMALISERS, compare};
use kasmforge_digest::Digest;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use crate::printer::Printer;
use crate::verifying::cause;
use crate::verifying::variation::{AHEAD, ALL, Rebuild, Rebuilt, Variation};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// Varies one thing after the other, to learn which one makes a difference.
    #[arg(long)]
    each: bool,
    /// Lists the rules by which configured stages are made alike, and does nothing else.
    #[arg(long)]
    pub(crate) normalisers: bool,
}

/// What `build --json` says, as far as it is of use here.
#[derive(Debug, Deserialize)]
struct Image {
    digest: Digest,
    size: u64,
    archive: PathBuf,
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    digest: Digest,
    stage: String,
    packages: Vec<String>,
}

/// Prints the normalising rules.
pub(crate) fn normalisers(printer: &Printer) -> anyhow::Result<()> {
    let text: Vec<String> = NORMALISERS
        .iter()
        .map(|rule| format!("{} {}: {}", rule.name, rule.version, rule.why))
        .collect();
    let json: Vec<_> = NORMALISERS
        .iter()
        .map(|rule| {
            json!({
                "name": rule.name,
                "version": rule.version,
                "why": rule.why,
                "paths": rule.paths(),
            })
        })
        .collect();
    Ok(printer.result(&text.join("\n"), &json.into())?)
}

/// Builds a workspace again where everything is different, and compares.
pub(crate) fn run(wanted: &Verify, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = match &wanted.workspace {
        Some(name) => name.clone(),
        None => context.project.only()?,
    };
    // What stands in the store is what is to be proved; it is built first if it is not there.
    let aside = context.store.temporary_folder()?;
    let first = here(&name, context, &aside.path().join("result"))?;
    let rebuild = Rebuild {
        workspace: &name,
        project: &context.project.root,
        downloads: downloads(context)?,
        disk: aside.path().to_owned(),
        // Unpacked, configured, packed; and the downloads.
        room: 3 * first.size + (1 << 30),
        source_date_epoch: context.settings.source_date_epoch,
    };
    let rounds: Vec<Vec<Variation>> = if wanted.each {
        let each = ALL.iter().map(|one| vec![*one]);
        std::iter::once(Vec::new()).chain(each).collect()
    } else {
        vec![ALL.to_vec()]
    };
    let mut told = Vec::new();
    let mut results = Vec::new();
    let mut differing = 0;
    for variations in rounds {
        // Gone before the next round begins: each takes as much room as an image and its downloads.
        let disk = context.store.temporary_folder()?;
        printer.say(&format!("building {name} again: {}", words(&variations)));
        let rebuilt = Rebuild {
            disk: disk.path().to_owned(),
            ..rebuild_again(&rebuild)
        }
        .run(&variations)?;
        let differences = judge(&first, &rebuilt)?;
        differing += usize::from(!differences.is_empty());
        told.push(report(&differences, &rebuilt));
        results.push(json!({
            "varied": rebuilt.applied.iter().map(|one| one.name()).collect::<Vec<_>>(),
            "not_varied": rebuilt.left_out.iter().map(|(one, why)| json!({
                "what": one.name(), "why": why,
            })).collect::<Vec<_>>(),
            "user": rebuilt.went.user,
            "equal": differences.is_empty(),
            "differences": differences.iter().map(Told::json).collect::<Vec<_>>(),
        }));
    }
    let json = json!({
        "workspace": name,
        "digest": first.digest,
        "equal": differing == 0,
        "rounds": results,
    });
    let closing = if differing == 0 {
        format!("{name} is the same, to the byte: {}", first.digest)
    } else {
        String::new()
    };
    printer.result(format!("{}\n{closing}", told.join("\n")).trim(), &json)?;
    if differing > 0 {
        let help = if wanted.each {
            ""
        } else {
            "; `kasmforge verify --each` tells which of the variations matters"
        };
        bail!("{name} does not come out the same{help}");
    }
    Ok(())
}

fn rebuild_again<'a>(of: &Rebuild<'a>) -> Rebuild<'a> {
    Rebuild {
        downloads: of.downloads.clone(),
        disk: of.disk.clone(),
        ..*of
    }
}

fn words(variations: &[Variation]) -> String {
    if variations.is_empty() {
        return "nothing varied".into();
    }
    let names: Vec<_> = variations.iter().map(|one| one.name()).collect();
    names.join(", ")
}

/// The image as it is built here; the lock is brought up to date by that, as by any build.
fn here(name: &str, context: &Context, result: &Path) -> anyhow::Result<Image> {
    let output = Command::new("/proc/self/exe")
        .arg("-C")
        .arg(&context.project.root)
        .arg("--store")
        .arg(&context.settings.store)
        .args(
            context
                .settings
                .mirrors
                .iter()
                .flat_map(|one| ["--mirror", one]),
        )
        .args(["build", name, "--json", "--result"])
        .arg(result)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start this program again")?;
    if !output.status.success() {
        bail!("there is no image to be verified: the build above failed");
    }
    serde_json::from_slice(&output.stdout).context("the build's own words are not understood")
}

/// The files of the store that are named by the lock, so that nothing is fetched again.
fn downloads(context: &Context) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let lock = context.project.lock()?;
    let mut digests: Vec<Digest> = lock.packages.iter().map(|package| package.sha256).collect();
    digests.extend(lock.urls.values());
    digests.sort();
    digests.dedup();
    let store = &context.store;
    Ok(digests
        .iter()
        .filter(|digest| store.has_blob(digest, None))
        .map(|digest| {
            let path = store.blob_path(digest);
            let name = path.strip_prefix(store.root()).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            (path, name)
        })
        .collect())
}

/// A difference, and what is known about it.
struct Told {
    difference: Difference,
    stage: String,
    writer: String,
    cause: String,
}

impl Told {
    fn json(&self) -> serde_json::Value {
        json!({
            "path": self.difference.path,
            "layer": self.difference.layer,
            "stage": self.stage,
            "what": self.difference.what(),
            "written_by": self.writer,
            "looks_like": self.cause,
        })
    }

    fn text(&self) -> String {
        let what = self.difference.what().join(", ");
        let mut text = format!(
            "/{}: {what}\n  stage {}, written by {}\n  looks like {}",
            self.difference.path, self.stage, self.writer, self.cause
        );
        if let [Some(one), Some(other)] = &self.difference.found {
            for (differs, was, is) in [
                (
                    one.mode != other.mode,
                    format!("mode {:o}", one.mode),
                    format!("mode {:o}", other.mode),
                ),
                (
                    one.owner != other.owner,
                    format!("owner {}:{}", one.owner.0, one.owner.1),
                    format!("owner {}:{}", other.owner.0, other.owner.1),
                ),
                (
                    one.time != other.time,
                    format!("time {}", one.time),
                    format!("time {}", other.time),
                ),
                (
                    one.content.0 != other.content.0,
                    format!("{} bytes", one.content.0),
                    format!("{} bytes", other.content.0),
                ),
            ] {
                if differs {
                    text.push_str(&format!("\n  - {was}\n  + {is}"));
                }
            }
        }
        if let Some([one, other]) = cause::first_line(&self.difference) {
            text.push_str(&format!("\n  - {one}\n  + {other}"));
        }
        text
    }
}

fn judge(first: &Image, rebuilt: &Rebuilt) -> anyhow::Result<Vec<Told>> {
    let went = &rebuilt.went;
    if !went.status.success() {
        let errors = went.errors().unwrap_or_default();
        let last: Vec<&str> = errors.lines().rev().take(12).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "the build failed where it was repeated:\n  | {}",
            last.join("\n  | ")
        );
    }
    let output = went.output().context("cannot read what the rebuild said")?;
    let image: Image =
        serde_json::from_str(&output).context("the rebuild's own words are not understood")?;
    if image.digest == first.digest {
        return Ok(Vec::new());
    }
    // The rebuild's paths begin at the root it saw.
    let inside = |path: &Path| went.inside(path);
    let digests =
        |image: &Image| -> Vec<Digest> { image.layers.iter().map(|layer| layer.digest).collect() };
    let archive = inside(&image.archive);
    let differences = compare(
        (&first.archive, &digests(first)),
        (&archive, &digests(&image)),
    )
    .with_context(|| {
        format!(
            "cannot compare {} with the rebuild",
            first.archive.display()
        )
    })?;
    if differences.is_empty() {
        bail!(
            "the images' contents are the same, but their configuration is not: {} and {}",
            first.digest,
            image.digest
        );
    }
    let store = image.archive.ancestors().nth(3).map(inside);
    let writers = store.map(|store| writers(&store)).unwrap_or_default();
    let ahead = if rebuilt.applied.contains(&Variation::Clock) {
        AHEAD
    } else {
        0
    };
    Ok(differences
        .into_iter()
        .map(|difference| {
            let layer = first.layers.get(difference.layer);
            let writer = match layer {
                Some(layer) if !layer.packages.is_empty() => {
                    format!("a package of the layer ({})", layer.packages.join(", "))
                }
                _ => writers
                    .get(&difference.path)
                    .cloned()
                    .unwrap_or_else(|| "the definition, or kasmforge itself".into()),
            };
            Told {
                stage: layer.map_or_else(String::new, |layer| layer.stage.clone()),
                writer,
                cause: cause::of(&difference, ahead),
                difference,
            }
        })
        .collect())
}

/// Which script wrote which path, in all stages of a store.
fn writers(store: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let steps = std::fs::read_dir(store.join("trees")).into_iter().flatten();
    for step in steps.flatten() {
        let text = std::fs::read(step.path().join(kasmforge_build::WRITERS));
        let read = text.map(|text| serde_json::from_slice::<BTreeMap<String, String>>(&text));
        if let Ok(Ok(writers)) = read {
            all.extend(writers);
        }
    }
    all
}

fn report(differences: &[Told], rebuilt: &Rebuilt) -> String {
    const SHOWN: usize = 20;
    let mut lines = Vec::new();
    for (variation, why) in &rebuilt.left_out {
        lines.push(format!("not varied: {} ({why})", variation.name()));
    }
    let varied = words(&rebuilt.applied);
    if differences.is_empty() {
        lines.push(format!("equal with {varied}"));
        return lines.join("\n");
    }
    lines.push(format!("{} paths differ with {varied}", differences.len()));
    lines.extend(differences.iter().take(SHOWN).map(Told::text));
    if differences.len() > SHOWN {
        lines.push(format!(
            "and {} more: --json lists them all",
            differences.len() - SHOWN
        ));
    }
    lines.join("\n")
}
