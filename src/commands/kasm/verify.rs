//! `kasmforge kasm verify`

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use kasmforge_deploy::Engine;
use kasmforge_kasm::api::{Client, Error, Id, Started, Status, Waiting};
use kasmforge_spec::{Check, Workspace};
use serde_json::{Value, json};

use super::World;
use super::connection::{Connection, ConnectionArguments};
use super::interrupt::Interrupt;
use super::register::id;
use super::script::{self, Seen};
use super::session::Patience;
use super::start;
use super::variables::Variables;
use crate::cli::EngineArguments;
use crate::commands::engine;

/// The pause between two looks for results.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// Which of the server's workspaces is started, where several have the image.
    #[arg(long, value_name = "ID", value_parser = id)]
    image_id: Option<Id>,
    #[command(flatten)]
    variables: Variables,
    /// Asks the container through the agent's Docker engine at this address, and not through the
    /// server.
    #[arg(long, value_name = "HOST")]
    engine: Option<String>,
    /// Seconds that server and agent may take, besides the checks themselves, to have them made and
    /// to pass on what they saw.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    result_timeout: u64,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// How a session's container is asked.
enum Way {
    /// Through the engine that runs it.
    Engine { host: String, engine: Box<Engine> },
    /// It asks itself, and the server passes on what it saw, within so long.
    Server { delay: Duration },
}

/// What is verified, and how.
struct Verification<'a> {
    workspace: &'a Workspace,
    way: Way,
    waiting: Waiting,
    connection: &'a Connection,
    interrupt: &'a Interrupt,
    world: &'a World<'a>,
}

/// A session that ran.
struct Ran {
    after: Duration,
    checks: anyhow::Result<Vec<Seen>>,
}

/// Starts a session, runs the checks in it, and stops it in any case.
pub(super) fn run(wanted: &Verify, world: &World<'_>) -> anyhow::Result<()> {
    let workspace = world.workspace(wanted.workspace.as_ref())?;
    let variables = wanted.variables.read()?;
    let connection = start::connect_with(&variables, &wanted.connection, world)?;
    let image = match &wanted.image_id {
        Some(id) => id.clone(),
        None => start::image(&connection.client, &workspace)?,
    };
    // An engine that cannot be asked is known before there is a session.
    let way = match &wanted.engine {
        None => Way::Server {
            delay: Duration::from_secs(wanted.result_timeout),
        },
        Some(host) => Way::Engine {
            host: host.clone(),
            engine: Box::new(engine::connected(&EngineArguments {
                host: Some(host.clone()),
            })?),
        },
    };
    let interrupt = Interrupt::listen()?;
    let started = start::request(&connection, image.clone(), variables, None)?;
    world.printer.say(&format!("session {} starts", started.id));

    // From here on there is a session, and every way out goes through its end.
    let verification = Verification {
        workspace: &workspace,
        way,
        waiting: wanted.patience.waiting(),
        connection: &connection,
        interrupt: &interrupt,
        world,
    };
    let ran = verification.steps(&started);
    let stopped = connection
        .client
        .destroy_session(&started.id, &started.user);
    match &stopped {
        Ok(_) => world.printer.say(&format!("session {} is stopped", started.id)),
        Err(error) => world.printer.warn(&format!(
            "session {} could not be stopped ({error}); `kasmforge kasm session stop {}` tries again",
            started.id, started.id
        )),
    }

    let (after, checks) = match &ran {
        Ok(ran) => (Some(ran.after), ran.checks.as_deref().unwrap_or_default()),
        Err(_) => (None, &[][..]),
    };
    let complete = matches!(&ran, Ok(ran) if ran.checks.is_ok());
    let failed = checks.iter().filter(|seen| seen.problem.is_some()).count();
    let json = json!({
        "workspace": workspace.name,
        "session": started.id.as_str(),
        "image_id": image.as_str(),
        "running_after_ms": after.map(|after| Value::from(after.as_millis() as u64)),
        "checks": checks.iter().map(check_json).collect::<Vec<_>>(),
        "passed": complete && failed == 0,
        "stopped": stopped.is_ok(),
    });
    let text = match complete {
        true => told(&workspace, checks, after.unwrap_or_default()),
        false => String::new(),
    };
    if complete || world.printer.json() {
        world.printer.result(&text, &json)?;
    }
    let count = checks.len();
    ran?.checks?;
    if failed > 0 {
        bail!("{failed} of {count} checks failed");
    }
    stopped.map(drop).context("the session is still there")
}

impl Verification<'_> {
    /// Waits until the session runs, and has the checks made.
    fn steps(&self, started: &Started) -> anyhow::Result<Ran> {
        let client = &self.connection.client;
        let printer = self.world.printer;
        let begun = Instant::now();
        let (id, user) = (&started.id, &started.user);
        let status = start::watch(client, id, user, self.waiting, self.interrupt, printer)?;
        let after = begun.elapsed();
        printer.say(&format!("it runs after {:.1} s", after.as_secs_f64()));
        let checks = match (self.workspace.checks.as_slice(), &self.way) {
            ([], _) => Ok(Vec::new()),
            (_, Way::Engine { host, engine }) => {
                through_engine(host, engine, &status, self.workspace)
            }
            (checks, Way::Server { delay }) => {
                printer.say(&format!("{} checks are made", checks.len()));
                through_server(checks, *delay, started, &status, client, self.interrupt)
            }
        };
        Ok(Ran { after, checks })
    }
}

/// Asks the container through the engine that runs it.
fn through_engine(
    host: &str,
    engine: &Engine,
    status: &Status,
    workspace: &Workspace,
) -> anyhow::Result<Vec<Seen>> {
    let container = status.container.as_deref();
    let container = container.context("the server does not tell the session's container")?;
    let outcomes = engine.check(container, &engine::health(workspace).checks);
    let outcomes = outcomes.with_context(|| {
        let agent = status.host.as_deref().unwrap_or("another host");
        format!("the engine at {host} cannot be asked; the session runs on {agent}")
    })?;
    let seen = outcomes.into_iter().map(|outcome| Seen {
        name: outcome.name,
        problem: outcome.problem,
    });
    Ok(seen.collect())
}

/// Has the container ask itself, and reads what it saw.
fn through_server(
    checks: &[Check],
    delay: Duration,
    started: &Started,
    status: &Status,
    client: &Client,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Seen>> {
    let (id, user) = (&started.id, &started.user);
    let no_variables = std::collections::BTreeMap::new();
    client.execute(id, user, &script::command(checks, id), false, &no_variables)?;
    let within: u64 = checks.iter().map(|check| check.within).sum();
    let limit = delay + Duration::from_secs(within);
    let begun = Instant::now();
    let problem = loop {
        if interrupt.asked() {
            return Err(Error::Interrupted.into());
        }
        let problem = match client.download(started, status, &script::file(id)) {
            Ok(Some(text)) => match script::read(&text, checks) {
                Some(seen) => {
                    // The home may outlive the session; that it does not stay clean is no failure.
                    let _ = client.execute(id, user, &script::removal(id), false, &no_variables);
                    return Ok(seen);
                }
                None => "what stands there is something else".to_owned(),
            },
            Ok(None) => "there is no such file".to_owned(),
            Err(error @ (Error::Status { .. } | Error::Redirected { .. })) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if begun.elapsed() >= limit {
            break problem;
        }
        sleep(PAUSE);
    };
    bail!(
        "the session runs, but what its checks saw cannot be read within {} s: {problem}\n\
         they are read from the session's downloads, which the image's web server must offer as \
         Kasm's own images do; where the agent's Docker engine can be reached, --engine HOST asks \
         the container itself",
        limit.as_secs()
    )
}

fn told(workspace: &Workspace, checks: &[Seen], after: Duration) -> String {
    let lines = checks.iter().map(|seen| match &seen.problem {
        None => format!("ok      {}\n", seen.name),
        Some(problem) => format!("failed  {}: {problem}\n", seen.name),
    });
    let mut text: String = lines.collect();
    let failed = checks.iter().filter(|seen| seen.problem.is_some()).count();
    let verdict = match (failed, checks.len()) {
        (0, 0) => "runs; it has no [[checks]]".to_owned(),
        (0, count) => format!("runs, and {count} of {count} checks hold"),
        (failed, count) => format!("runs, but {failed} of {count} checks do not hold"),
    };
    text.push_str(&format!(
        "{} {verdict}  {:.1} s",
        workspace.name,
        after.as_secs_f64()
    ));
    text
}

fn check_json(seen: &Seen) -> Value {
    json!({
        "name": seen.name,
        "passed": seen.problem.is_none(),
        "seen": seen.problem,
    })
}
