//! `kasmforge run`

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kasmforge_deploy::{Engine, Remains};
use notify::{RecursiveMode, Watcher as _};
use serde_json::json;

use super::{Context, build, engine, load, upgrade};
use crate::cli::{Build, EngineArguments, Locking, OutputCompression, OutputFormat};
use crate::exit;
use crate::printer::Printer;

/// Editors write a file in several steps; what follows within this time belongs together.
const TOGETHER: Duration = Duration::from_millis(300);

/// What is built and run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    #[command(flatten)]
    locking: Locking,
    #[command(flatten)]
    engine: EngineArguments,
    #[command(flatten)]
    how: upgrade::How,
    /// Goes on: whenever a definition, a module or one of its files changes, does it again.
    #[arg(long)]
    watch: bool,
}

/// Builds a workspace's image, loads it and upgrades its desktop.
pub(crate) fn run(wanted: &Run, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    if !wanted.watch {
        return once(wanted, context, printer);
    }
    let folder = context.project.root.join("workspaces");
    // From before the first build on: what changes meanwhile is built next.
    let changes = Changes::of(&folder)?;
    loop {
        // A mistake is told, and mended by the next change.
        if let Err(error) = once(wanted, context, printer) {
            exit::of(&error, printer);
        }
        printer.say(&format!("watching {} for changes", folder.display()));
        let Some(changed) = changes.next() else {
            return Ok(());
        };
        printer.say(&format!("{changed} has changed"));
    }
}

fn once(wanted: &Run, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    // First of all: whoever has no engine need not build for a minute to learn it.
    let engine = Arc::new(engine::connected(&wanted.engine)?);
    let remains = remains(&engine, wanted, context);
    let built = build::make(
        &Build {
            workspace: wanted.workspace.clone(),
            locking: wanted.locking.clone(),
            architecture: None,
            vendored: None,
            result: None,
            output: None,
            format: OutputFormat::Archive,
            record: None,
            compression: OutputCompression::None,
            explain: false,
        },
        context,
        printer,
    )?;
    let workspace = context.project.load(&built.built.workspace)?;
    let loaded = load::give(&engine, &built.built, printer)?;
    let mut desktop = upgrade::desktop(&workspace, &built.built, &loaded, &wanted.how, context)?;
    // Where nothing changed nothing is replaced, and what is in the container is of no interest.
    if let Some(remains) = remains.filter(|_| !loaded.already_there) {
        desktop.remains = remains.join().ok().flatten();
    }
    let upgraded = upgrade::replace(&engine, &desktop, &built.built, printer)?;
    let (text, json) = upgrade::report(&engine, &upgraded, &workspace)?;
    printer.say(&build::told(&built));
    printer.say(&load::told(&loaded));
    let json = json!({
        "build": build::json(&built),
        "load": load::json(&engine, &loaded),
        "upgrade": json,
    });
    Ok(printer.result(&text, &json)?)
}

/// Looks into the container that will be replaced, while its successor's image is built and loaded.
fn remains(
    engine: &Arc<Engine>,
    wanted: &Run,
    context: &Context,
) -> Option<JoinHandle<Option<Remains>>> {
    let name = wanted.workspace.clone();
    let name = name.or_else(|| context.project.only().ok())?;
    // A definition with mistakes is told of by the build.
    let container = context.project.load(&name).ok()?.deploy.container;
    let engine = Arc::clone(engine);
    Some(thread::spawn(move || engine.remains(&container)))
}

/// The changes of a folder.
struct Changes {
    paths: Receiver<String>,
    _watcher: notify::RecommendedWatcher,
}

impl Changes {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let (sender, paths) = channel();
        let root = folder.to_owned();
        let told = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if event.kind.is_access() || event.kind.is_other() {
                return;
            }
            // What an editor writes beside a file until it is done.
            let passing =
                |name: &str| name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp");
            for path in event.paths {
                let name = path.file_name().and_then(|name| name.to_str());
                if !name.is_some_and(passing) {
                    let path = path.strip_prefix(&root).unwrap_or(&path);
                    // Nobody listens any more when the program ends.
                    let _ = sender.send(path.display().to_string());
                }
            }
        };
        let watched = |error| anyhow::Error::new(error);
        let mut watcher = notify::recommended_watcher(told).map_err(watched)?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(Self {
            paths,
            _watcher: watcher,
        })
    }

    /// Waits for a change, and for those that belong to it. Answers the first one's path.
    fn next(&self) -> Option<String> {
        let first = self.paths.recv().ok()?;
        while self.paths.recv_timeout(TOGETHER).is_ok() {}
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::Changes;

    #[test]
    fn a_change_is_told_once_and_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("modules");
        std::fs::create_dir(&below).expect("a folder");
        let changes = Changes::of(folder.path()).expect("it is watched");
        std::fs::write(folder.path().join(".hidden.swp"), "").expect("written");
        for text in ["a", "b", "c"] {
            std::fs::write(below.join("one.toml"), text).expect("written");
        }
        assert_eq!(changes.next().as_deref(), Some("modules/one.toml"));
        std::fs::remove_file(below.join("one.toml")).expect("removed");
        std::fs::write(below.join("two.toml"), "").expect("written");
        let next = changes.next();
        assert!(next.is_some_and(|path| path.starts_with("modules/")));
    }
}
