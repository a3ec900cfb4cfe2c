//! `kasmforge kasm session …`

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use kasmforge_kasm::api::{Client, Id, State, Status, Waiting};
use serde_json::{Value, json};

use super::World;
use super::connection::{Connection, ConnectionArguments};
use super::interrupt::Interrupt;
use super::register::id;
use super::start::{connect_with, image, request, watch};
use super::variables::Variables;

/// The pause between two looks at a session that starts. Each makes a new login link.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Session {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a session of a workspace.
    Start(Start),
    /// Says how a session is.
    Status(Status_),
    /// Waits until a session runs.
    Wait(Wait),
    /// Has a command executed in a session; its output and its end are not told by the server.
    Exec(Exec),
    /// Stops a session, and destroys it.
    Stop(Stop),
    /// Lists the sessions of the server.
    List(List),
}

#[derive(Debug, Args)]
struct Start {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// The server's workspace, instead of one that is defined here.
    #[arg(long, value_name = "ID", value_parser = id, conflicts_with = "workspace")]
    image_id: Option<Id>,
    #[command(flatten)]
    variables: Variables,
    /// What the session's browser opens.
    #[arg(long, value_name = "URL")]
    open: Option<String>,
    /// Waits until the session runs.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct Status_ {
    /// The session.
    #[arg(value_parser = id)]
    session: Id,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct Wait {
    /// The session.
    #[arg(value_parser = id)]
    session: Id,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct Exec {
    /// The session.
    #[arg(value_parser = id)]
    session: Id,
    /// Runs as root, and not as the session's user.
    #[arg(long)]
    root: bool,
    #[command(flatten)]
    variables: Variables,
    /// The command with its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct Stop {
    /// The session.
    #[arg(value_parser = id)]
    session: Id,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Patience {
    /// Seconds to wait at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl Patience {
    pub(super) const fn waiting(self) -> Waiting {
        Waiting {
            limit: Duration::from_secs(self.timeout),
            pause: PAUSE,
        }
    }
}

/// Whether the login link is shown.
#[derive(Debug, Clone, Copy, Args)]
struct Link {
    /// Prints a link that logs in as the session's user: whoever has it is that user.
    #[arg(long)]
    link: bool,
}

/// Carries a command out.
pub(super) fn run(wanted: &Session, world: &World<'_>) -> anyhow::Result<()> {
    match &wanted.command {
        Command::Start(wanted) => begin(wanted, world),
        Command::Status(wanted) => status(wanted, world),
        Command::Wait(wanted) => wait(wanted, world),
        Command::Exec(wanted) => execute(wanted, world),
        Command::Stop(wanted) => stop(wanted, world),
        Command::List(wanted) => list(wanted, world),
    }
}

fn begin(wanted: &Start, world: &World<'_>) -> anyhow::Result<()> {
    let variables = wanted.variables.read()?;
    let workspace = match wanted.image_id {
        Some(_) => None,
        None => Some(world.workspace(wanted.workspace.as_ref())?),
    };
    let connection = connect_with(&variables, &wanted.connection, world)?;
    let client = &connection.client;
    let image = match (&wanted.image_id, &workspace) {
        (Some(id), _) => id.clone(),
        (None, Some(workspace)) => image(client, workspace)?,
        (None, None) => bail!("no workspace is named"),
    };
    let interrupt = Interrupt::listen()?;
    let started = request(&connection, image, variables, wanted.open.clone())?;
    if !wanted.wait {
        let text = format!(
            "session {} starts; `kasmforge kasm session wait {}` waits until it runs",
            started.id, started.id
        );
        let json = json!({
            "session": started.id.as_str(),
            "user_id": started.user.as_str(),
            "state": "starting",
        });
        return Ok(world.printer.result(&text, &json)?);
    }
    let begun = Instant::now();
    let waiting = wanted.patience.waiting();
    let status = watch(
        client,
        &started.id,
        &started.user,
        waiting,
        &interrupt,
        world.printer,
    );
    let status = status.with_context(|| {
        format!(
            "session {} is left as it is; `kasmforge kasm session stop {}` stops it",
            started.id, started.id
        )
    })?;
    report(
        &status,
        &started.user,
        Some(begun),
        wanted.link,
        client,
        world,
    )
}

fn wait(wanted: &Wait, world: &World<'_>) -> anyhow::Result<()> {
    let connection = world.connect(&wanted.connection)?;
    let client = &connection.client;
    let user = owner(&connection, &wanted.session)?;
    let interrupt = Interrupt::listen()?;
    let begun = Instant::now();
    let waiting = wanted.patience.waiting();
    let status = watch(
        client,
        &wanted.session,
        &user,
        waiting,
        &interrupt,
        world.printer,
    )?;
    report(&status, &user, Some(begun), wanted.link, client, world)
}

fn status(wanted: &Status_, world: &World<'_>) -> anyhow::Result<()> {
    let connection = world.connect(&wanted.connection)?;
    let user = owner(&connection, &wanted.session)?;
    let status = connection.client.session_status(&wanted.session, &user)?;
    report(&status, &user, None, wanted.link, &connection.client, world)
}

/// Whose session it is: the user named, else as the server's list says.
fn owner(connection: &Connection, session: &Id) -> anyhow::Result<Id> {
    if let Some(user) = connection.user_if_named()? {
        return Ok(user.id);
    }
    let sessions = connection.client.sessions().context(
        "no user is named whose session it is (--user, KASM_USER_ID), so the server's list was asked",
    )?;
    let found = sessions.into_iter().find(|one| one.id == *session);
    let found = found.with_context(|| {
        format!(
            "the server has no session {session}; `kasmforge kasm session list` shows those it has"
        )
    })?;
    Ok(found.user)
}

fn report(
    status: &Status,
    user: &Id,
    begun: Option<Instant>,
    link: Link,
    client: &Client,
    world: &World<'_>,
) -> anyhow::Result<()> {
    let shown = |text: &Option<String>| text.as_deref().map(|text| client.without_secrets(text));
    let after = begun.map(|begun| begun.elapsed().as_millis());
    let mut text = format!("session {}  {}", status.id, status.state.word());
    if let Some(progress) = status.progress.filter(|_| status.state != State::Running) {
        text.push_str(&format!(", {progress} %"));
    }
    if let Some(message) = shown(&status.message) {
        text.push_str(&format!(": {message}"));
    }
    for (word, value) in [("on", &status.host), ("until", &status.expires)] {
        if let Some(value) = value {
            text.push_str(&format!("  {word} {value}"));
        }
    }
    let address = link
        .link
        .then(|| status.link.as_deref().map(|path| absolute(client, path)));
    let address = address.flatten();
    match (&address, link.link) {
        (Some(address), _) => text.push_str(&format!("\n{address}")),
        (None, true) => text.push_str("\nthe server gives no link while the session does not run"),
        (None, false) => {}
    }
    let mut json = json!({
        "session": status.id.as_str(),
        "user_id": user.as_str(),
        "state": status.state.word(),
        "running": status.state == State::Running,
        "progress": status.progress,
        "message": shown(&status.message),
        "container": status.container,
        "host": status.host,
        "expires": status.expires,
        "waited_ms": after.map(|after| Value::from(after as u64)),
    });
    if link.link {
        json["link"] = json!(address);
    }
    Ok(world.printer.result(&text, &json)?)
}

/// A link of the server, which gives it without its own address.
fn absolute(client: &Client, link: &str) -> String {
    match link.starts_with('/') {
        true => format!("{}{link}", client.server()),
        false => link.to_owned(),
    }
}

fn execute(wanted: &Exec, world: &World<'_>) -> anyhow::Result<()> {
    let variables = wanted.variables.read()?;
    let connection = connect_with(&variables, &wanted.connection, world)?;
    let user = owner(&connection, &wanted.session)?;
    let client = &connection.client;
    client.execute(
        &wanted.session,
        &user,
        &quoted(&wanted.command),
        wanted.root,
        &variables,
    )?;
    let text = format!(
        "handed to session {}; the server tells neither what it prints nor how it ends",
        wanted.session
    );
    let json = json!({"session": wanted.session.as_str(), "handed_over": true});
    Ok(world.printer.result(&text, &json)?)
}

/// Words as one line that is split into them again, as a shell splits.
pub(super) fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quoted = words
        .iter()
        .map(|word| match !word.is_empty() && word.chars().all(plain) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        });
    quoted.collect::<Vec<_>>().join(" ")
}

fn stop(wanted: &Stop, world: &World<'_>) -> anyhow::Result<()> {
    let connection = world.connect(&wanted.connection)?;
    let user = owner(&connection, &wanted.session)?;
    let stopped = connection.client.destroy_session(&wanted.session, &user)?;
    let text = match stopped {
        true => format!("session {} is stopped", wanted.session),
        false => format!("there is no session {}; nothing to do", wanted.session),
    };
    let json = json!({"session": wanted.session.as_str(), "stopped": stopped});
    Ok(world.printer.result(&text, &json)?)
}

fn list(wanted: &List, world: &World<'_>) -> anyhow::Result<()> {
    let connection = world.connect(&wanted.connection)?;
    let sessions = connection.client.sessions()?;
    let lines = sessions.iter().map(|one| {
        let user = one.username.clone().unwrap_or_else(|| one.user.to_string());
        let mut line = format!("{}  {}  {user}", one.id, one.state.word());
        for (word, value) in [
            ("on", &one.host),
            ("since", &one.started),
            ("until", &one.expires),
        ] {
            if let Some(value) = value {
                line.push_str(&format!("  {word} {value}"));
            }
        }
        line
    });
    let text = match sessions.is_empty() {
        true => "no sessions".into(),
        false => lines.collect::<Vec<_>>().join("\n"),
    };
    let json: Vec<_> = sessions
        .iter()
        .map(|one| {
            json!({
                "session": one.id.as_str(),
                "user_id": one.user.as_str(),
                "username": one.username,
                "image_id": one.image.as_ref().map(Id::as_str),
                "state": one.state.word(),
                "host": one.host,
                "started": one.started,
                "expires": one.expires,
            })
        })
        .collect();
    let json = json!({"server": connection.client.server().to_string(), "sessions": json});
    Ok(world.printer.result(&text, &json)?)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        let words = ["sh", "-c", "echo \"it's $HOME\"", ""].map(str::to_owned);
        assert_eq!(quoted(&words), "sh -c 'echo \"it'\\''s $HOME\"' ''");
    }
}
