//! What an orchestrator needs to know of a registered workspace: addresses and ids; the key by the
//! names of its variables only, unless it is asked for.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kasmforge_kasm::api::{Id, User};
use serde_json::{Value, json};

use super::World;
use super::connection::Connection;

/// The variables an orchestrator gets the key in.
const KEY: &str = "KASM_API_KEY";
const SECRET: &str = "KASM_API_KEY_SECRET";

#[derive(Debug, Args)]
#[command(next_help_heading = "Handover")]
pub(super) struct HandoverArguments {
    /// What is printed: words, or what an orchestrator needs, as variables or as JSON.
    #[arg(long, value_name = "FORM", default_value = "text")]
    output: Output,
    /// Prints the API key and its secret with the rest.
    #[arg(long)]
    with_secret: bool,
    /// The name of the host's record [default: the server's host].
    #[arg(long, value_name = "NAME")]
    host_name: Option<String>,
    /// The environment of the host's record: `staging`.
    #[arg(long, value_name = "NAME")]
    host_environment: Option<String>,
    /// How many sessions the host's record says it takes.
    #[arg(long, value_name = "SESSIONS", default_value_t = 1)]
    host_capacity: u32,
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Words for people.
    Text,
    /// NAME=VALUE, a line each.
    Env,
    /// A JSON object.
    Json,
}

/// A handover with all it needs.
pub(super) struct Handover<'a> {
    pub(super) output: Output,
    arguments: &'a HandoverArguments,
    user: Option<User>,
}

impl HandoverArguments {
    /// Finds what the handover needs besides the workspace.
    pub(super) fn prepare(&self, connection: &Connection) -> anyhow::Result<Handover<'_>> {
        let user = match self.output {
            Output::Text => None,
            Output::Env | Output::Json => Some(connection.user()?),
        };
        Ok(Handover {
            output: self.output,
            arguments: self,
            user,
        })
    }
}

impl Handover<'_> {
    /// Prints it and nothing else.
    pub(super) fn print(
        &self,
        image: &Id,
        connection: &Connection,
        world: &World<'_>,
    ) -> anyhow::Result<()> {
        if self.arguments.with_secret {
            world.printer.warn(
                "the API key's secret is in the output: with it anybody can act as any user of the \
                 server",
            );
        }
        let text = match self.output {
            Output::Json => {
                let json = self.json(image, connection)?;
                serde_json::to_string_pretty(&json).context("JSON is text")? + "\n"
            }
            Output::Env | Output::Text => self.env(image, connection)?,
        };
        Ok(world.printer.raw(&text)?)
    }

    /// Puts it into a command's JSON.
    pub(super) fn extend(
        &self,
        mut json: Value,
        image: &Id,
        connection: &Connection,
    ) -> anyhow::Result<Value> {
        if self.output != Output::Text {
            json["handover"] = self.json(image, connection)?;
        }
        Ok(json)
    }

    fn user(&self) -> anyhow::Result<&User> {
        self.user.as_ref().context("the user is known before")
    }

    fn json(&self, image: &Id, connection: &Connection) -> anyhow::Result<Value> {
        let client = &connection.client;
        let mut json = json!({
            "api_url": client.server().api(),
            "image_id": image.as_str(),
            "user_id": self.user()?.id.as_str(),
            "key_variables": [KEY, SECRET],
            "host": {
                "name": self.name(connection),
                "address": client.server().host(),
                "environment": self.arguments.host_environment,
                "machine_type": "kasm",
                "capacity": self.arguments.host_capacity,
            },
        });
        if self.arguments.with_secret {
            json["api_key"] = json!(client.credentials().key());
            json["api_key_secret"] = json!(client.credentials().expose_secret());
        }
        Ok(json)
    }

    fn env(&self, image: &Id, connection: &Connection) -> anyhow::Result<String> {
        let client = &connection.client;
        let mut lines = vec![
            line("KASM_API_URL", &client.server().api()),
            line("KASM_DEFAULT_IMAGE_ID", image.as_str()),
            line("KASM_DEFAULT_USER_ID", self.user()?.id.as_str()),
        ];
        match self.arguments.with_secret {
            true => lines.extend([
                line(KEY, client.credentials().key()),
                line(SECRET, client.credentials().expose_secret()),
            ]),
            false => lines.push(format!(
                "# {KEY} and {SECRET} are to be set apart from this"
            )),
        }
        lines.push(line("KASM_HOST_NAME", self.name(connection)));
        lines.push(line("KASM_HOST_ADDRESS", client.server().host()));
        if let Some(environment) = &self.arguments.host_environment {
            lines.push(line("KASM_HOST_ENVIRONMENT", environment));
        }
        let capacity = self.arguments.host_capacity.to_string();
        lines.push(line("KASM_HOST_CAPACITY", &capacity));
        Ok(lines.join("\n") + "\n")
    }

    fn name<'a>(&'a self, connection: &'a Connection) -> &'a str {
        let named = self.arguments.host_name.as_deref();
        named.unwrap_or_else(|| connection.client.server().host())
    }
}

/// A line that a shell and programs that read such files understand alike.
fn line(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@[]".contains(c);
    match value.chars().all(plain) {
        true => format!("{name}={value}"),
        false => format!("{name}='{}'", value.replace('\'', "'\\''")),
    }
}
