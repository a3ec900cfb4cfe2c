//! `kasmforge exec`

use std::io::{IsTerminal as _, stdin, stdout};

use clap::Args;
use kasmforge_deploy::Execution;
use rustix::termios::{self, OptionalActions, Termios};

use super::{Context, engine, logs};
use crate::cli::EngineArguments;
use crate::exit::Ended;

/// A terminal's size where it cannot be asked.
const USUAL: (u16, u16) = (80, 24);

/// What is run, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The workspace [default: the one built last].
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
    /// The user [default: the image's own].
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The folder [default: the image's own].
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// A variable: NAME=value; may be given several times.
    #[arg(short, long, value_name = "VARIABLE")]
    env: Vec<String>,
    /// The command [default: a shell].
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs a command in a workspace's container, and ends as it ends.
pub(crate) fn run(wanted: &Exec, context: &Context) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let mut command = wanted.command.clone();
    if command.is_empty() {
        command = vec![
            "/bin/sh".into(),
            "-c".into(),
            "exec ${SHELL:-/bin/sh}".into(),
        ];
    }
    let terminal = stdin().is_terminal() && stdout().is_terminal();
    let mut environment = wanted.env.clone();
    if terminal && let Ok(term) = std::env::var("TERM") {
        environment.insert(0, format!("TERM={term}"));
    }
    let raw = terminal.then(Raw::begin).transpose()?;
    let execution = Execution {
        command,
        user: wanted.user.clone(),
        directory: wanted.workdir.clone(),
        environment,
        terminal: terminal.then_some(&size),
        input: Some(Box::new(stdin())),
    };
    let mut closed = None;
    let ended = engine.execute(
        &workspace.deploy.container,
        execution,
        &mut |stream, piece| match logs::write(stream, piece) {
            Ok(()) => true,
            Err(error) => {
                closed = Some(error);
                false
            }
        },
    );
    drop(raw);
    let status = ended?;
    if let Some(error) = closed {
        return Err(error.into());
    }
    match u8::try_from(status) {
        Ok(0) => Ok(()),
        Ok(status) => Err(Ended { status }.into()),
        Err(_) => Err(Ended { status: 1 }.into()),
    }
}

fn size() -> (u16, u16) {
    termios::tcgetwinsize(stdout()).map_or(USUAL, |size| (size.ws_col, size.ws_row))
}

/// A terminal that hands on each key as it is pressed, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn begin() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to be told.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
