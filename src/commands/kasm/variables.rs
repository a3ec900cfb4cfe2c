//! Variables for a session, given so that their values need not stand in the arguments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

/// Variables for a session's container.
#[derive(Debug, Clone, Args)]
pub(super) struct Variables {
    /// A variable: NAME=VALUE, or NAME to take the value it has here; for secrets the latter,
    /// because anybody on this machine can read arguments.
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// A file with a line NAME=VALUE for each variable; empty lines and lines with `#` are skipped.
    #[arg(long, value_name = "PATH")]
    env_file: Vec<PathBuf>,
}

impl Variables {
    /// The variables. Those of the command line hold over those of files.
    pub(super) fn read(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for path in &self.env_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                // The line itself may be the secret.
                let place = || format!("{}:{}", path.display(), number + 1);
                let (name, value) = line
                    .split_once('=')
                    .with_context(|| format!("{}: this is no NAME=VALUE", place()))?;
                variables.insert(named(name).with_context(place)?, value.to_owned());
            }
        }
        for given in &self.env {
            let (name, value) = match given.split_once('=') {
                Some((name, value)) => (named(name)?, value.to_owned()),
                None => {
                    let name = named(given)?;
                    let value = std::env::var(&name)
                        .ok()
                        .with_context(|| format!("--env {name}: there is no such variable here"))?;
                    (name, value)
                }
            };
            variables.insert(name, value);
        }
        Ok(variables)
    }
}

fn named(name: &str) -> anyhow::Result<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || digit || !name.chars().all(fine) {
        bail!("`{}` is no name of a variable", name.escape_debug());
    }
    Ok(name.to_owned())
}
