//! The API key: where it may come from, and that it never gets out.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The most a file with a key may hold.
const LARGEST: u64 = 64 * 1024;

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "[masked]";

/// The name of the key's variable, and that of its secret's.
const NAMES: [&str; 2] = ["KASM_API_KEY", "KASM_API_KEY_SECRET"];

/// An API key with its secret. Neither is ever shown.
#[derive(Clone)]
pub struct Credentials {
    key: String,
    secret: String,
}

/// Why there are no credentials. No text of the file is repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the API key in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the file.
    #[error(
        "{} can be read by others (its mode is {mode:04o}); anybody who can read it can act as any \
         user of the server: chmod 600 {}", path.display(), path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is no key in the text.
    #[error(
        "{origin} holds no API key: it must have a line KASM_API_KEY=… and a line \
         KASM_API_KEY_SECRET=…, or be the JSON with `api_key` and `api_key_secret` that the server \
         gave"
    )]
    Format {
        /// Where the text came from.
        origin: String,
    },
}

impl Credentials {
    /// A key and its secret; `None` if either is empty or is no one word.
    #[must_use]
    pub fn new(key: &str, secret: &str) -> Option<Self> {
        let word = |text: &str| {
            let text = text.trim();
            let whole = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
            whole.then(|| text.to_owned())
        };
        Some(Self {
            key: word(key)?,
            secret: word(secret)?,
        })
    }

    /// Reads a text: lines `KASM_API_KEY=…` and `KASM_API_KEY_SECRET=…`, or the server's JSON.
    /// `origin` names where it came from.
    ///
    /// # Errors
    /// If there is no key in it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, CredentialsError> {
        let found = match text.trim_start().starts_with('{') {
            true => of_json(text),
            false => of_lines(text),
        };
        found.ok_or_else(|| CredentialsError::Format {
            origin: origin.to_owned(),
        })
    }

    /// Reads a file that only its owner can read.
    ///
    /// # Errors
    /// If it cannot be read, others can read it, or there is no key in it.
    pub fn from_file(path: &Path) -> Result<Self, CredentialsError> {
        let read = |source| CredentialsError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CredentialsError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(read)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The key's public half: its name on the server.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The secret half, for whoever was told to hand it over.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.secret
    }

    /// The texts that must not be repeated.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [&self.secret, &self.key]
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

fn of_lines(text: &str) -> Option<Credentials> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (found, value) = line.split_once('=')?;
            (found.trim() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        })
    };
    Credentials::new(&value(NAMES[0])?, &value(NAMES[1])?)
}

fn of_json(text: &str) -> Option<Credentials> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    // What `add_api_key` answers, whole or its inner object.
    let inner = [&value, &value["api_key"], &value["api_config"]];
    inner.into_iter().find_map(|object| {
        Credentials::new(
            object["api_key"].as_str()?,
            object["api_key_secret"].as_str()?,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Credentials, CredentialsError};

    #[test]
    fn keys_are_read_in_both_forms() {
        for text in [
            "KASM_API_KEY=abc\nKASM_API_KEY_SECRET=xyz\n",
            "# of the server\nexport KASM_API_KEY=\"abc\"\nexport KASM_API_KEY_SECRET='xyz'",
            "{\"api_key\": \"abc\", \"api_key_secret\": \"xyz\"}",
            "{\"api_key\": {\"api_key\": \"abc\", \"api_key_secret\": \"xyz\"}}",
        ] {
            let found = Credentials::parse(text, "it").expect(text);
            assert_eq!((found.key(), found.expose_secret()), ("abc", "xyz"));
        }
        for text in [
            "",
            "abc",
            "KASM_API_KEY=abc",
            "{",
            "{\"api_key\": 5}",
            "KASM_API_KEY=a b\nKASM_API_KEY_SECRET=c",
        ] {
            let error = Credentials::parse(text, "it").expect_err(text);
            assert!(matches!(error, CredentialsError::Format { .. }));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "KASM_API_KEY=abc\nKASM_API_KEY_SECRET=xyz\n").expect("a file");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(Credentials::from_file(&path).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn nothing_shows_them() {
        let found = Credentials::new("abc", "xyz").expect("both");
        assert_eq!(format!("{found:?}"), "Credentials");
    }
}
