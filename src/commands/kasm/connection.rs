//! Which server is meant, whom to believe that it is it, and where the key comes from.
//!
//! For each: the command line, the environment, the settings file. The key and its secret are the
//! exception: no argument takes them, because anybody on the machine can read arguments.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kasmforge_kasm::api::{
    Client, Credentials, Fingerprint, Server, Settings as ClientSettings, Trust, User,
};

use super::World;
use crate::settings::Settings;

/// Which server is meant.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ConnectionArguments {
    /// The server's address [default: KASM_API_URL, else `server` in the settings' `[kasm]`].
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// The user sessions belong to, by name or id [default: KASM_USER_ID, else `user`].
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// A file with the API key that only its owner can read [default: KASM_API_KEY with
    /// KASM_API_KEY_SECRET, else KASM_API_KEY_FILE, else `api-key-file` or `api-key-command`].
    #[arg(long, value_name = "PATH")]
    pub(super) key_file: Option<PathBuf>,
    /// Trusts the one certificate with this SHA-256 [default: KASM_FINGERPRINT, else
    /// `fingerprint`].
    #[arg(long, value_name = "SHA256", conflicts_with = "ca_file")]
    pub(super) fingerprint: Option<String>,
    /// Trusts the authorities, or the server's own certificate, in this file [default:
    /// KASM_CA_FILE, else `ca-file`].
    #[arg(long, value_name = "PATH")]
    pub(super) ca_file: Option<PathBuf>,
    /// Trusts whoever answers, with the API key.
    #[arg(long, conflicts_with_all = ["ca_file", "fingerprint"])]
    pub(super) insecure: bool,
    /// Seconds one request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) request_timeout: u64,
}

/// A server that can be asked.
pub(super) struct Connection {
    pub(super) client: Client,
    user: Option<String>,
}

impl Connection {
    /// Connects. `secrets` are values that must not be repeated, whoever repeats them.
    pub(super) fn new(
        arguments: &ConnectionArguments,
        secrets: Vec<String>,
        world: &World<'_>,
    ) -> anyhow::Result<Self> {
        let settings = Settings::resolve(world.global)?;
        let server = server(arguments, &settings)?;
        let trust = trust(arguments, &settings)?;
        if trust == Trust::Anybody {
            world.printer.warn(&format!(
                "--insecure: whoever answers as {} is believed, and is given the API key, with which \
                 anybody can act as any user of the server",
                server.host()
            ));
        }
        let mut client = ClientSettings::new(server, trust, credentials(arguments, &settings)?);
        client.timeout = Duration::from_secs(arguments.request_timeout);
        client.route.clone_from(&settings.route);
        client.secrets = secrets;
        let user = arguments.user.clone();
        Ok(Self {
            client: Client::new(client)?,
            user: user
                .or_else(|| variable("KASM_USER_ID"))
                .or_else(|| variable("KASM_DEFAULT_USER_ID"))
                .or(settings.kasm.user),
        })
    }

    /// The user sessions belong to, if one is named.
    pub(super) fn user_if_named(&self) -> anyhow::Result<Option<User>> {
        let user = self.user.as_deref().map(|name| self.client.user(name));
        Ok(user.transpose()?)
    }

    /// The user sessions belong to.
    pub(super) fn user(&self) -> anyhow::Result<User> {
        self.user_if_named()?.context(
            "no user is named whose session it is; give --user NAME, KASM_USER_ID, or `user` in \
             `[kasm]` of the settings file",
        )
    }
}

fn server(arguments: &ConnectionArguments, settings: &Settings) -> anyhow::Result<Server> {
    let named = [
        ("--server", arguments.server.clone()),
        ("KASM_API_URL", variable("KASM_API_URL")),
        (
            "`server` in `[kasm]` of the settings file",
            settings.kasm.server.clone(),
        ),
    ];
    let named = named
        .into_iter()
        .find_map(|(origin, text)| Some((origin, text?)));
    let (origin, text) = named.context(
        "no Kasm server is named; give --server URL, KASM_API_URL, or `server` in `[kasm]` of the \
         settings file",
    )?;
    Server::parse(&text).with_context(|| format!("{origin} is no address of a Kasm server"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn trust(arguments: &ConnectionArguments, settings: &Settings) -> anyhow::Result<Trust> {
    let pinned = |text: &str, origin: &str| {
        let fingerprint = Fingerprint::parse(text);
        fingerprint.map(Trust::Pinned).with_context(|| {
            format!(
                "{origin} is no SHA-256 fingerprint of a certificate: 32 pairs of hexadecimal \
                 digits, as `openssl x509 -noout -fingerprint -sha256` prints them"
            )
        })
    };
    if arguments.insecure {
        return Ok(Trust::Anybody);
    }
    if let Some(text) = &arguments.fingerprint {
        return pinned(text, "--fingerprint");
    }
    if let Some(path) = &arguments.ca_file {
        return Ok(Trust::Authorities(path.clone()));
    }
    if let Some(text) = variable("KASM_FINGERPRINT") {
        return pinned(&text, "KASM_FINGERPRINT");
    }
    if let Some(path) = variable("KASM_CA_FILE") {
        return Ok(Trust::Authorities(path.into()));
    }
    if let Some(text) = &settings.kasm.fingerprint {
        return pinned(text, "`fingerprint` in `[kasm]` of the settings file");
    }
    if let Some(path) = &settings.kasm.ca_file {
        return Ok(Trust::Authorities(path.clone()));
    }
    Ok(Trust::Machine)
}

fn credentials(
    arguments: &ConnectionArguments,
    settings: &Settings,
) -> anyhow::Result<Credentials> {
    if let Some(path) = &arguments.key_file {
        return Ok(Credentials::from_file(path)?);
    }
    match (variable("KASM_API_KEY"), variable("KASM_API_KEY_SECRET")) {
        (Some(key), Some(secret)) => {
            return Credentials::new(&key, &secret)
                .context("KASM_API_KEY or KASM_API_KEY_SECRET is not one word");
        }
        (None, None) => {}
        (Some(_), None) => bail!("KASM_API_KEY is set, but not KASM_API_KEY_SECRET"),
        (None, Some(_)) => bail!("KASM_API_KEY_SECRET is set, but not KASM_API_KEY"),
    }
    if let Some(path) = variable("KASM_API_KEY_FILE") {
        return Ok(Credentials::from_file(path.as_ref())?);
    }
    match (&settings.kasm.api_key_file, &settings.kasm.api_key_command) {
        (Some(_), Some(_)) => bail!(
            "`[kasm]` of the settings file has both `api-key-file` and `api-key-command`; keep one"
        ),
        (Some(path), None) => Ok(Credentials::from_file(path)?),
        (None, Some(command)) => of_command(command),
        (None, None) => bail!(
            "there is no API key; set KASM_API_KEY and KASM_API_KEY_SECRET, or name a file that has \
             them with --key-file, KASM_API_KEY_FILE or `api-key-file` in `[kasm]` of the settings \
             file, or a command that prints them with `api-key-command`"
        ),
    }
}

/// Asks a program for the key: a password store, say.
fn of_command(command: &[String]) -> anyhow::Result<Credentials> {
    let (program, words) = command
        .split_first()
        .context("`api-key-command` in `[kasm]` of the settings file is empty")?;
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{program}`, which is to print the API key, does not start"))?;
    if !output.status.success() {
        bail!(
            "`{program}`, which is to print the API key, ended with {}",
            output.status
        );
    }
    // Not UTF-8: not a key either.
    let text = String::from_utf8(output.stdout).unwrap_or_default();
    Ok(Credentials::parse(
        &text,
        &format!("what `{program}` prints"),
    )?)
}
