//! Logins, where Docker and Podman keep them: `config.json`, `auth.json` and helper programs.
//!
//! Each file is JSON:
//!
//! ```json
//! {
//!   "auths": { "registry.example.org": { "auth": "<base64 of user:password>" } },
//!   "credHelpers": { "other.example.org": "pass" },
//!   "credsStore": "secretservice"
//! }
//! ```
//!
//! The helper of a registry is asked first, then the one for all, then `auths`, as Docker does. A
//! secret is never part of an error, of what `Debug` shows, or of another program's arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use crate::{Error, helper};

/// What Docker calls Docker Hub where it keeps logins.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The name a helper gives for a user when its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Logins for registries. They are looked up when a registry asks, and not before.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    given: Option<Login>,
    files: Vec<File>,
}

/// How somebody logs in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A user and a password.
    Password { user: String, password: String },
    /// A token that buys other tokens (OAuth 2's refresh token).
    Identity(String),
    /// A token that is shown as it is.
    Token(String),
}

/// A login, and where it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) login: Login,
    /// For messages: a file or a program.
    pub(crate) origin: String,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Content {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    helper: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.auths.keys()).finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
            Self::Identity(_) => f.write_str("Identity(…)"),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

impl Logins {
    /// No logins.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads files of logins; those that do not exist are passed over.
    ///
    /// # Errors
    /// If one cannot be read, or is no JSON of this kind.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in paths {
            let failed = |source| Error::Logins {
                path: path.clone(),
                source,
            };
            match fs::read(path) {
                Ok(bytes) => files.push(File {
                    path: path.clone(),
                    // Where in the file, but never what stands there: it may be a secret.
                    content: serde_json::from_slice(&bytes).map_err(|error| {
                        failed(io::Error::other(format!(
                            "line {}, column {} is not understood",
                            error.line(),
                            error.column()
                        )))
                    })?,
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(Self { given: None, files })
    }

    /// The same, but with this user and password for every registry.
    #[must_use]
    pub fn with(mut self, user: &str, password: &str) -> Self {
        self.given = Some(Login::Password {
            user: user.into(),
            password: password.into(),
        });
        self
    }

    /// The login for a repository, if one is known.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Result<Option<Found>, Error> {
        if let Some(login) = &self.given {
            return Ok(Some(Found {
                login: login.clone(),
                origin: "the command line".into(),
            }));
        }
        for file in &self.files {
            if let Some(found) = file.find(registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl File {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Found>, Error> {
        let Content {
            auths,
            helpers,
            helper,
        } = &self.content;
        let own = helpers.iter().find(|(key, _)| is_for(key, registry));
        let asked = own.map(|(_, helper)| helper).or(helper.as_ref());
        if let Some(name) = asked.filter(|name| !name.is_empty()) {
            let key = match registry {
                "docker.io" => DOCKER_HUB_KEY,
                other => other,
            };
            if let Some((user, secret)) = helper::get(name, key)? {
                let login = if user == TOKEN_USER {
                    Login::Identity(secret)
                } else {
                    Login::Password {
                        user,
                        password: secret,
                    }
                };
                return Ok(Some(Found {
                    login,
                    origin: helper::program(name),
                }));
            }
        }
        // Podman also keeps logins for parts of a registry: the nearest counts.
        let whole = format!("{registry}/{repository}");
        let nearest = auths
            .iter()
            .filter(|(key, _)| {
                is_for(key, registry)
                    || whole == **key
                    || whole
                        .strip_prefix(key.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(|(key, _)| {
                key.starts_with(&format!("{registry}/"))
                    .then_some(key.len())
            });
        let login = nearest.and_then(|(_, entry)| entry.login(&self.path).transpose());
        Ok(login.transpose()?.map(|login| Found {
            login,
            origin: self.path.display().to_string(),
        }))
    }
}

/// Whether a key of a file is for a registry: by its host, or by an address there.
fn is_for(key: &str, registry: &str) -> bool {
    if registry == "docker.io" && key == DOCKER_HUB_KEY {
        return true;
    }
    let plain = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    match plain {
        // Docker once kept addresses such as https://registry.example.org/v1/.
        Some(plain) => {
            let (host, path) = plain.split_once('/').unwrap_or((plain, ""));
            host == registry && ["", "v1", "v1/", "v2", "v2/"].contains(&path)
        }
        None => key == registry,
    }
}

impl Entry {
    fn login(&self, path: &Path) -> Result<Option<Login>, Error> {
        let there = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = there(&self.registrytoken) {
            return Ok(Some(Login::Token(token)));
        }
        if let Some(token) = there(&self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(auth) = there(&self.auth) {
            let coded = auth.trim();
            let plain = STANDARD
                .decode(coded)
                .or_else(|_| STANDARD_NO_PAD.decode(coded))
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = plain.as_deref().and_then(|plain| plain.split_once(':'));
            let Some((user, password)) = pair else {
                return Err(Error::Logins {
                    path: path.into(),
                    source: io::Error::other(
                        "an `auth` in it is not the base64 of a user, a colon and a password",
                    ),
                });
            };
            return Ok(Some(Login::Password {
                user: user.into(),
                // Docker writes a zero byte behind some.
                password: password.trim_end_matches('\0').into(),
            }));
        }
        Ok(match (there(&self.username), there(&self.password)) {
            (Some(user), Some(password)) => Some(Login::Password { user, password }),
            _ => None,
        })
    }
}

/// A user and a password as HTTP's basic scheme has them (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> Logins {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        fs::write(&path, text).expect("a file");
        Logins::read(&[folder.path().join("absent.json"), path]).expect("logins")
    }

    fn user(logins: &Logins, registry: &str, repository: &str) -> Option<String> {
        let found = logins.find(registry, repository).expect("no helper");
        found.map(|found| match found.login {
            Login::Password { user, password } => format!("{user}:{password}"),
            Login::Identity(token) => format!("identity {token}"),
            Login::Token(token) => format!("token {token}"),
        })
    }

    #[test]
    fn logins_are_found_by_registry() {
        let logins = logins(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOm9uZQ=="},
                "a.test:5000": {"auth": "YTp0d286MgA="},
                "https://b.test/v2/": {"username": "b", "password": "three"},
                "c.test": {"identitytoken": "four", "auth": "AAAA"},
                "d.test": {"registrytoken": "five"},
                "e.test": {"auth": "ZTpldmVyeWJvZHk="},
                "e.test/team": {"auth": "ZTp0ZWFt"},
                "f.test": {}
            }, "HttpHeaders": {"x": "y"}}"#,
        );
        for (registry, repository, expected) in [
            ("docker.io", "library/x", Some("hub:one")),
            ("a.test:5000", "x", Some("a:two:2")),
            ("a.test", "x", None),
            ("b.test", "x", Some("b:three")),
            ("c.test", "x", Some("identity four")),
            ("d.test", "x", Some("token five")),
            ("e.test", "team/x", Some("e:team")),
            ("e.test", "teams", Some("e:everybody")),
            ("f.test", "x", None),
            ("g.test", "x", None),
        ] {
            let found = user(&logins, registry, repository);
            assert_eq!(found.as_deref(), expected, "{registry}/{repository}");
        }
        assert!(!format!("{logins:?}").contains("five"), "{logins:?}");
        let given = logins.with("me", "secret");
        assert_eq!(user(&given, "a.test", "x").as_deref(), Some("me:secret"));
        assert!(!format!("{given:?}").contains("secret"), "{given:?}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        for text in [
            r#"{"auths": {"a.test": {"auth": 5, "password": "hunter2"}}}"#,
            r#"{"auths": {"a.test": {"auth": "aHVudGVyMg==", "password": "hunter2"}}}"#,
            r#"{"auths": {"a.test": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"a.test": {"password": "hunter2"#,
        ] {
            fs::write(&path, text).expect("a file");
            let wrong = Logins::read(std::slice::from_ref(&path))
                .and_then(|logins| logins.find("a.test", "x"))
                .expect_err("wrong");
            let told = format!("{wrong} {wrong:?}");
            assert!(
                told.contains("config.json") && !told.contains("hunter2"),
                "{told}"
            );
        }
    }
}
