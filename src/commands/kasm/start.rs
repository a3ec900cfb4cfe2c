//! From a workspace to a session that runs: what `session start` and `verify` have in common.

use std::collections::BTreeMap;

use anyhow::bail;
use kasmforge_kasm::api::{Client, Error, Id, Request, Started, State, Status, Waiting};
use kasmforge_spec::Workspace;

use super::connection::{Connection, ConnectionArguments};
use super::interrupt::Interrupt;
use super::{World, reference};
use crate::printer::Printer;

/// Finds the server's workspace for a definition.
pub(super) fn image(client: &Client, workspace: &Workspace) -> anyhow::Result<Id> {
    let name = reference(workspace);
    let images = client.images()?;
    let mut found: Vec<_> = images.iter().filter(|image| image.name == name).collect();
    // One that people do not see, beside one that they do, is not meant.
    if found.len() > 1 {
        found.retain(|image| image.enabled != Some(false));
    }
    match found.as_slice() {
        [] => bail!(
            "the server has no workspace with the image {name}; run `kasmforge kasm register {}`",
            workspace.name
        ),
        [image] => Ok(image.id.clone()),
        several => {
            let ids = several.iter().map(|image| image.id.to_string()).collect();
            Err(Error::Ambiguous { ids }.into())
        }
    }
}

/// Connects for a session with variables, whose values are then not repeated.
pub(super) fn connect_with(
    variables: &BTreeMap<String, String>,
    arguments: &ConnectionArguments,
    world: &World<'_>,
) -> anyhow::Result<Connection> {
    Connection::new(arguments, variables.values().cloned().collect(), world)
}

/// Requests a session.
pub(super) fn request(
    connection: &Connection,
    image: Id,
    environment: BTreeMap<String, String>,
    open: Option<String>,
) -> anyhow::Result<Started> {
    let user = connection.user()?;
    Ok(connection.client.request_session(&Request {
        image,
        user: user.id,
        environment,
        url: open,
    })?)
}

/// Waits until a session runs, and tells how far it is whenever that changes.
pub(super) fn watch(
    client: &Client,
    session: &Id,
    user: &Id,
    waiting: Waiting,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<Status, Error> {
    let mut told = String::new();
    let mut observe = |status: &Status| {
        if status.state == State::Running {
            return;
        }
        let mut text = status.state.word().to_owned();
        if let Some(progress) = status.progress {
            text.push_str(&format!(", {progress} %"));
        }
        if let Some(message) = &status.message {
            text.push_str(&format!(": {}", client.without_secrets(message)));
        }
        if text != told {
            printer.say(&text);
            told = text;
        }
    };
    client.wait_until_running(session, user, waiting, &mut observe, &|| interrupt.asked())
}
