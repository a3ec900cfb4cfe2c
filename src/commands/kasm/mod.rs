//! `kasmforge kasm …`: a Kasm server's side of a workspace.

mod check;
mod connection;
mod handover;
mod host;
mod images;
mod interrupt;
mod register;
mod script;
mod session;
mod start;
mod variables;
mod verify;

use clap::{Args, Subcommand};
use kasmforge_spec::Workspace;

use self::connection::Connection;
use crate::cli::Global;
use crate::printer::Printer;
use crate::project::Project;

/// Speaks with a Kasm server.
#[derive(Debug, Args)]
pub(crate) struct Kasm {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks whether the server, the API key and a workspace's image are as they must be.
    Check(check::Check),
    /// Lists the workspaces the server has.
    Images(images::Images),
    /// Creates or changes the server's workspace for a definition.
    Register(register::Register),
    /// Removes the server's workspace for a definition.
    Unregister(register::Unregister),
    /// Starts, watches and stops sessions.
    Session(session::Session),
    /// Starts a session, runs the workspace's checks in it, and stops it in any case.
    Verify(verify::Verify),
    /// Prints a cloud-init file for a new host with Kasm.
    Host(host::Host),
}

/// Carries a command out.
pub(crate) fn run(wanted: &Kasm, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let world = World { global, printer };
    match &wanted.command {
        Command::Check(wanted) => check::run(wanted, &world),
        Command::Images(wanted) => images::run(wanted, &world),
        Command::Register(wanted) => register::run(wanted, &world),
        Command::Unregister(wanted) => register::remove(wanted, &world),
        Command::Session(wanted) => session::run(wanted, &world),
        Command::Verify(wanted) => verify::run(wanted, &world),
        Command::Host(wanted) => host::run(wanted, &world),
    }
}

/// What the commands share. Not all of them need a project, and none a store.
struct World<'a> {
    global: &'a Global,
    printer: &'a Printer,
}

impl World<'_> {
    fn project(&self) -> anyhow::Result<Project> {
        Project::find(self.global.directory.as_deref())
    }

    /// The definition that is meant: the one named, else the only one.
    fn workspace(&self, named: Option<&String>) -> anyhow::Result<Workspace> {
        let project = self.project()?;
        let name = match named {
            Some(name) => name.clone(),
            None => project.only()?,
        };
        project.load(&name)
    }

    fn connect(&self, arguments: &connection::ConnectionArguments) -> anyhow::Result<Connection> {
        Connection::new(arguments, Vec::new(), self)
    }
}

/// The image a workspace's sessions run, exactly as an engine names it.
fn reference(workspace: &Workspace) -> String {
    let image = &workspace.image;
    let tag = image.tags.first().map_or("latest", String::as_str);
    format!("{}:{tag}", image.repository)
}
