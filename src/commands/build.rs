//! `kasmforge build`

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use kasmforge_build::{
    BuildError, Built, Compression, Exported, Format, Request, build, export, remember,
};
use kasmforge_lock::Lock;
use kasmforge_spec::Workspace;
use serde_json::{Value, json};

use super::{Context, architecture, plan};
use crate::cli::{Build, OutputCompression, OutputFormat};
use crate::exit;
use crate::fetching::{self, Fetching, Gone};
use crate::locking::{Change, Locking, Universes};
use crate::printer::{Printer, bytes};
use crate::progress::Progress;
use crate::recording::Record;
use crate::vendored::Vendored;

/// Builds a workspace's image and links `result` to it.
pub(crate) fn run(wanted: &Build, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let made = make(wanted, context, printer)?;
    Ok(printer.result(&told(&made), &json(&made))?)
}

/// What a build made.
pub(super) struct Made {
    pub(super) built: Built,
    link: PathBuf,
    /// What it was written out as besides.
    output: Option<Exported>,
    seconds: f64,
}

/// Builds a workspace's image and links `result` to it.
pub(super) fn make(wanted: &Build, context: &Context, printer: &Printer) -> anyhow::Result<Made> {
    let started = Instant::now();
    if let Some(other) = &wanted.architecture
        && other != architecture()?
    {
        anyhow::bail!(
            "images for {other} cannot be built on this host, which is {}: packages' scripts run \
             programs of their own architecture. Build on a host of {other}; `kasmforge lock \
             --architecture {other}` locks for it anywhere",
            architecture()?
        );
    }
    let mut wanted = wanted.clone();
    if wanted.vendored.is_some() {
        wanted.locking.locked = true;
        wanted.locking.offline = true;
    }
    let wanted = &wanted;
    let name = match &wanted.workspace {
        Some(name) => name.clone(),
        None => context.project.only()?,
    };
    let workspace = context.project.load(&name)?;
    let progress = Progress::new(printer);
    let link = wanted
        .result
        .clone()
        .unwrap_or_else(|| context.project.root.join("result"));
    let link = std::path::absolute(&link)
        .with_context(|| format!("{} is no place for a link", link.display()))?;
    let built = Building {
        wanted,
        context,
        workspace: &workspace,
        progress: &progress,
    }
    .run(&link)?;
    progress.end();
    if wanted.explain {
        for line in plan::explained(built.differences.as_deref()) {
            printer.say(&line);
        }
    }
    remember(&context.store, &context.project.root, &built)?;
    // Noted before it is made, so that no build ever takes an archive from under it.
    context.store.note_link(&link)?;
    relink(&link, &built.archive)?;
    let output = write_out(wanted, &built, printer)?;
    if let Some(path) = &wanted.record {
        Record {
            project: &context.project.root,
            workspace: &workspace,
            lock: &context.project.lock()?,
            built: &built,
            output: output.as_ref(),
        }
        .write(path)?;
    }
    Ok(Made {
        built,
        link,
        output,
        seconds: started.elapsed().as_secs_f64(),
    })
}

struct Building<'a> {
    wanted: &'a Build,
    context: &'a Context,
    workspace: &'a Workspace,
    progress: &'a Progress<'a>,
}

impl Building<'_> {
    fn run(&self, link: &Path) -> anyhow::Result<Built> {
        let mut lock = self.context.project.lock()?;
        self.lock(&mut lock, &Change::Needed)?;
        let built = match self.build(&mut lock, link) {
            Ok(built) => built,
            Err(error) => {
                // What every mirror has dropped is locked anew, and loudly so, unless that is
                // forbidden.
                let gone = error
                    .downcast_ref::<Gone>()
                    .filter(|_| !self.wanted.locking.locked);
                let Some(Gone { packages }) = gone else {
                    return Err(error);
                };
                self.progress.warn(&format!(
                    "no mirror has {} any more as locked; kasmforge.lock takes newer ones, see \
                     `git diff kasmforge.lock`",
                    packages.join(", ")
                ));
                let change = Change::Packages(packages.iter().cloned().collect());
                self.lock(&mut lock, &change)?;
                self.build(&mut lock, link)?
            }
        };
        self.note(&mut lock, &built)?;
        Ok(built)
    }

    fn build(&self, lock: &mut Lock, link: &Path) -> anyhow::Result<Built> {
        let Context {
            project,
            settings,
            store,
        } = self.context;
        let offline = self.wanted.locking.offline;
        let client = fetching::client(
            store,
            project,
            settings,
            &self.workspace.debian,
            offline,
            self.progress,
        );
        let request = Request {
            project: &project.root,
            workspace: self.workspace,
            architecture: architecture()?,
            created: settings.source_date_epoch,
            trial: settings.trial,
            link: Some(link),
        };
        // Each damaged file is fetched again once; a second time the disk itself is bad.
        let mut mended = BTreeSet::new();
        loop {
            if let Some(folder) = &self.wanted.vendored {
                let inputs = fetching::inputs(self.workspace, request.architecture, lock);
                Vendored::named(folder).read(lock, &inputs, store)?;
            }
            fetching::fetch_downloads(&client, store, self.workspace, lock)?;
            let before = lock.clone();
            let supply = Fetching {
                project,
                settings,
                store,
                workspace: self.workspace,
                architecture: request.architecture,
                offline,
                lock: &before,
                progress: self.progress,
                failure: Mutex::default(),
            };
            match build(store, &request, lock, &supply, self.progress) {
                Ok(built) => return Ok(built),
                Err(BuildError::Damaged { digest, .. }) if mended.insert(digest) => {
                    self.progress.warn(&format!(
                        "the stored file {digest} was damaged; fetching it again"
                    ));
                }
                Err(error) => {
                    let failure = supply.failure.into_inner();
                    return Err(match failure.unwrap_or_else(PoisonError::into_inner) {
                        Some(failure) if matches!(error, BuildError::Supply(_)) => failure,
                        _ => exit::located(error, &self.workspace.files),
                    });
                }
            }
        }
    }

    fn lock(&self, lock: &mut Lock, change: &Change) -> anyhow::Result<()> {
        let locking = Locking {
            project: &self.context.project,
            settings: &self.context.settings,
            store: &self.context.store,
            progress: self.progress,
            architecture: architecture()?,
            locked: self.wanted.locking.locked,
            offline: self.wanted.locking.offline,
            older: self.wanted.locking.allow_older,
            listed: RefCell::default(),
            universes: Universes::default(),
        };
        locking.bring(lock, self.workspace, change)?;
        lock.normalise();
        if !self.wanted.locking.locked && self.context.project.write_lock(lock)? {
            self.progress.say("kasmforge.lock is written");
        }
        Ok(())
    }

    /// Notes the image in the lock, and says when the same lock once gave another.
    fn note(&self, lock: &mut Lock, built: &Built) -> anyhow::Result<()> {
        if self.wanted.locking.locked {
            let written = self.context.project.lock()?;
            let noted = written.workspace(&built.workspace, &built.architecture);
            let noted = noted.and_then(|one| one.image);
            if let Some(expected) = noted.filter(|expected| *expected != built.manifest) {
                self.progress.warn(&format!(
                    "the lock knows this image as {expected}; files of the definition, or \
                     kasmforge itself, have changed since"
                ));
            }
            return Ok(());
        }
        for one in &mut lock.workspaces {
            if (&one.name, &one.architecture) == (&built.workspace, &built.architecture) {
                one.image = Some(built.manifest);
            }
        }
        self.context.project.write_lock(lock)?;
        Ok(())
    }
}

/// Points a link at the archive, by one rename. What is there and is no link stays.
fn relink(link: &Path, archive: &Path) -> anyhow::Result<()> {
    if std::fs::read_link(link).is_ok_and(|target| target == archive) {
        return Ok(());
    }
    let failed = || format!("cannot link {} to the image", link.display());
    if std::fs::symlink_metadata(link).is_ok_and(|found| !found.is_symlink()) {
        anyhow::bail!(
            "{} is there and is no link; name another place with --result",
            link.display()
        );
    }
    let mut temporary = PathBuf::from(link);
    temporary.set_file_name(format!(".result-{}", std::process::id()));
    std::os::unix::fs::symlink(archive, &temporary).with_context(failed)?;
    std::fs::rename(&temporary, link).with_context(failed)
}

/// Writes the image out, where that was asked for.
fn write_out(wanted: &Build, built: &Built, printer: &Printer) -> anyhow::Result<Option<Exported>> {
    let Some(output) = &wanted.output else {
        return Ok(None);
    };
    let format = match wanted.format {
        OutputFormat::Archive => Format::Archive,
        OutputFormat::OciArchive => Format::OciArchive,
        OutputFormat::DockerArchive => Format::DockerArchive,
        OutputFormat::OciDir => Format::OciFolder,
    };
    let compression = match wanted.compression {
        OutputCompression::None => Compression::None,
        OutputCompression::Gzip => Compression::Gzip,
        OutputCompression::Zstd => Compression::Zstd,
    };
    let written = export(built, output, format, compression)?;
    printer.say(&format!(
        "{}  {}  {}",
        written.path.display(),
        written.digest,
        bytes(written.size)
    ));
    Ok(Some(written))
}

/// What was built, in words.
pub(super) fn told(made: &Made) -> String {
    let Made { built, seconds, .. } = made;
    let reused = built.layers.iter().filter(|layer| layer.reused).count();
    let new = built.layers.len() - reused;
    format!(
        "{}  {}  {}  {new} layers built, {reused} reused  {seconds:.1} s",
        shown(&built.references),
        built.manifest,
        bytes(size(built)),
    )
}

fn size(built: &Built) -> u64 {
    built.layers.iter().map(|layer| layer.size).sum()
}

/// What was built, for machines.
pub(super) fn json(made: &Made) -> Value {
    let Made {
        built,
        link,
        output,
        seconds,
    } = made;
    let layers: Vec<_> = built
        .layers
        .iter()
        .map(|layer| {
            json!({
                "diff_id": layer.diff_id,
                // Layers are stored uncompressed: the blob is what the diff ID names.
                "digest": layer.diff_id,
                "size": layer.size,
                "reused": layer.reused,
                "stage": layer.stage,
                "packages": layer.packages,
            })
        })
        .collect();
    json!({
        "workspace": built.workspace,
        "architecture": built.architecture,
        "reference": shown(&built.references),
        "digest": built.manifest,
        "image_id": built.config,
        "archive": built.archive,
        "result": link,
        "size": size(built),
        "reused": built.reused,
        "layers": layers,
        "output": output,
        "differences": built.differences,
        "seconds": seconds,
    })
}

/// The first name, as people write it.
fn shown(references: &[String]) -> &str {
    let first = references.first().map_or("", String::as_str);
    first
        .strip_prefix("docker.io/library/")
        .or_else(|| first.strip_prefix("docker.io/"))
        .unwrap_or(first)
}
