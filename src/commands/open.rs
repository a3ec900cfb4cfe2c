//! `kasmforge open`

use std::process::{Command, Stdio};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Context, engine};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// What opens an address: on Linux, in WSL, and on a Mac.
const OPENERS: [&str; 3] = ["xdg-open", "wslview", "open"];

/// Whose desktop is opened.
#[derive(Debug, Args)]
pub(crate) struct Open {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
    /// Only prints the address.
    #[arg(long)]
    print: bool,
}

/// Opens a desktop in the browser, and prints its address.
pub(crate) fn run(wanted: &Open, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    let port = workspace.deploy.desktop_port;
    let address = engine.address(container, port)?.with_context(|| {
        format!(
            "`{container}` does not answer on a published port {port}; `kasmforge status` and \
             `kasmforge logs` tell more"
        )
    })?;
    let url = address.to_string();
    // Without a screen of its own a machine has no browser to open.
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let opened = !wanted.print
        && !printer.json()
        && (screen || cfg!(target_os = "macos"))
        && OPENERS.iter().any(|opener| {
            Command::new(opener)
                .arg(&url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
    let login = engine::login(&engine, container, &workspace)?;
    let json = json!({ "container": container, "url": url, "login": login, "opened": opened });
    Ok(printer.result(&format!("{url}  {login}"), &json)?)
}
