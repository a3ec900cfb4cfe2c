//! Programs that keep logins, by the protocol of Docker's credential helpers.
//!
//! `docker-credential-NAME get` reads the registry from its standard input and answers with JSON, or
//! fails and says why on its standard output.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Error;

/// What a helper says of a registry it knows no login for.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The longest answer of a helper that is told on.
const LONGEST: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The program of a helper that a file names.
pub(crate) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Asks a helper for the user and the secret of a registry.
pub(crate) fn get(name: &str, registry: &str) -> Result<Option<(String, String)>, Error> {
    let program = program(name);
    let failed = |source| Error::Helper {
        program: program.clone(),
        registry: registry.into(),
        source,
    };
    if name.contains('/') {
        return Err(failed(io::Error::other(
            "its name is no program's: a helper is looked for in PATH",
        )));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed(io::Error::other("it is not in PATH")),
            _ => failed(error),
        })?;
    // A helper that does not read is judged by what it says.
    let mut input = child.stdin.take().expect("its input is a pipe");
    drop(writeln!(input, "{registry}"));
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if said.trim() == NOT_FOUND {
            return Ok(None);
        }
        let mut words: String = said.trim().chars().take(LONGEST).collect();
        if words.is_empty() {
            words = output.status.to_string();
        }
        return Err(failed(io::Error::other(words)));
    }
    // What is wrong with the answer is not told: there is a secret in it.
    let answer: Answer = serde_json::from_str(&said)
        .map_err(|_| failed(io::Error::other("its answer is not understood")))?;
    let known = !(answer.username.is_empty() && answer.secret.is_empty());
    Ok(known.then_some((answer.username, answer.secret)))
}
