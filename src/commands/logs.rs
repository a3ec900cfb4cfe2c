//! `kasmforge logs`

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use kasmforge_deploy::Stream;

use super::{Context, engine};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// Which lines are shown.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
    /// How many of the last lines are shown.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 200)]
    lines: usize,
    /// Goes on until the container ends.
    #[arg(short, long, conflicts_with = "of")]
    follow: bool,
    /// Which log.
    #[arg(long, value_name = "LOG", default_value = "container")]
    of: Which,
}

/// A log of a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// What the container writes.
    Container,
    /// What its health checks saw: /tmp/container-health.log.
    Health,
    /// What its session writes: /tmp/xstartup.log.
    Session,
}

/// Shows what a desktop writes.
pub(crate) fn run(wanted: &Logs, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    if wanted.follow {
        return follow(&engine, container, wanted.lines);
    }
    let lines = match wanted.of {
        Which::Container => engine.logs(container, wanted.lines)?,
        Which::Health => engine.lines_of(container, "/tmp/container-health.log", wanted.lines)?,
        Which::Session => engine.lines_of(container, "/tmp/xstartup.log", wanted.lines)?,
    };
    let json = serde_json::json!({ "container": container, "lines": lines });
    if lines.is_empty() && !printer.json() {
        return Ok(());
    }
    Ok(printer.result(&lines.join("\n"), &json)?)
}

fn follow(engine: &kasmforge_deploy::Engine, container: &str, lines: usize) -> anyhow::Result<()> {
    let mut closed = None;
    engine.follow(
        container,
        Some(lines),
        &mut |stream, piece| match write(stream, piece) {
            Ok(()) => true,
            Err(error) => {
                closed = Some(error);
                false
            }
        },
    )?;
    closed.map_or(Ok(()), |error| Err(error.into()))
}

/// Hands on what a container wrote to the stream of ours that it belongs to.
pub(super) fn write(stream: Stream, piece: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Output => {
            let mut out = io::stdout().lock();
            out.write_all(piece)?;
            out.flush()
        }
        Stream::Error => io::stderr().lock().write_all(piece),
    }
}
