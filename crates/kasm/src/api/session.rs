//! Sessions: requested, watched, told to do something, destroyed.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::client::{Client, Endpoint};
use super::permission::{AS_USER, SESSIONS_MODIFY, SESSIONS_VIEW};
use super::{Error, Id};

/// How long a pause is between two looks at whether somebody wants to stop waiting.
const SLICE: Duration = Duration::from_millis(100);

/// The session that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The workspace.
    pub image: Id,
    /// Whose session it is.
    pub user: Id,
    /// Variables of its container.
    pub environment: BTreeMap<String, String>,
    /// What its browser opens.
    pub url: Option<String>,
}

/// A session that was requested.
#[derive(Debug, Clone)]
pub struct Started {
    /// The session.
    pub id: Id,
    /// Whose it is.
    pub user: Id,
    /// The login name of that user, where the server tells it.
    pub username: Option<String>,
    token: Option<Token>,
}

/// What logs in as a session's user.
#[derive(Clone)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It is on its way: the server's word.
    Starting(String),
    /// It will not run by itself: the server's word.
    Ended(String),
}

impl State {
    fn read(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "running" => Self::Running,
            "error" | "failed" | "stopped" | "stopping" | "paused" | "pausing" | "deleted"
            | "deleting" | "deletion_failed" | "destroyed" => Self::Ended(word.to_owned()),
            _ => Self::Starting(word.to_owned()),
        }
    }

    /// The server's word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Starting(word) | Self::Ended(word) => word,
        }
    }
}

/// How a session is.
#[derive(Debug, Clone)]
pub struct Status {
    /// The session.
    pub id: Id,
    /// What it is doing.
    pub state: State,
    /// How far it is, in percent.
    pub progress: Option<u64>,
    /// What the server says of it.
    pub message: Option<String>,
    /// The engine's id of its container.
    pub container: Option<String>,
    /// The agent's host.
    pub host: Option<String>,
    /// When it ends by itself, as the server writes it.
    pub expires: Option<String>,
    /// The login link that this very question made; the one before is void. Whoever has it is the
    /// user.
    pub link: Option<String>,
    /// The path below which the server passes requests on to the container's web server.
    pub path: Option<String>,
}

/// A session in the list.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session.
    pub id: Id,
    /// Whose it is.
    pub user: Id,
    /// That user's login name, where it is told.
    pub username: Option<String>,
    /// The workspace.
    pub image: Option<Id>,
    /// What it is doing.
    pub state: State,
    /// The agent's host.
    pub host: Option<String>,
    /// When it was started, as the server writes it.
    pub started: Option<String>,
    /// When it ends by itself.
    pub expires: Option<String>,
}

/// How to wait.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// At most this long.
    pub limit: Duration,
    /// The pause between two questions: each makes a new login link.
    pub pause: Duration,
}

impl Client {
    /// Requests a session. Never repeated: each request makes one.
    ///
    /// # Errors
    /// If the server refuses, or the connection is lost before it answered.
    pub fn request_session(&self, request: &Request) -> Result<Started, Error> {
        const ENDPOINT: Endpoint =
            Endpoint::public("request_kasm", AS_USER).once("`kasmforge kasm session list`");
        let mut body = Map::new();
        body.insert("image_id".into(), json!(request.image.as_str()));
        body.insert("user_id".into(), json!(request.user.as_str()));
        if !request.environment.is_empty() {
            body.insert("environment".into(), json!(request.environment));
        }
        if let Some(url) = &request.url {
            body.insert("kasm_url".into(), json!(url));
        }
        let answer = self.ask(ENDPOINT, body)?;
        let answer = Answer::new(ENDPOINT.name, &answer);
        Ok(Started {
            id: answer.id("kasm_id")?,
            user: match answer.optional("user_id") {
                Some(_) => answer.id("user_id")?,
                None => request.user.clone(),
            },
            username: answer.optional_text("username")?,
            token: answer.optional_text("session_token")?.map(Token),
        })
    }

    /// Reads a file of a session's download folder, as the web interface does: through the server,
    /// from the container's web server. `None`: it is not there.
    ///
    /// # Errors
    /// If the session tells no way there, or the server refuses.
    pub fn download(
        &self,
        started: &Started,
        status: &Status,
        file: &str,
    ) -> Result<Option<String>, Error> {
        const WHAT: &str = "the session's downloads";
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_graphic() && !b"?#;,\"\\".contains(&b))
        };
        let (Some(path), Some(Token(token)), Some(user)) =
            (&status.path, &started.token, &started.username)
        else {
            return Err(Error::NoWay);
        };
        let path = path.trim_matches('/');
        if ![path, token, user].into_iter().all(plain) || path.split('/').any(|part| part == "..") {
            return Err(Error::NoWay);
        }
        let path = format!("/{path}/Downloads/Downloads/{file}");
        let cookies = format!("username={user}; session_token={token}");
        match self.get(WHAT, &path, &cookies)? {
            (200, body) => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
            (404, _) => Ok(None),
            (status, _) => Err(Error::Status {
                endpoint: WHAT,
                status,
            }),
        }
    }

    /// How a session is. Makes a new login link, and the one before void.
    ///
    /// # Errors
    /// If there is no such session, or the server refuses.
    pub fn session_status(&self, id: &Id, user: &Id) -> Result<Status, Error> {
        const ENDPOINT: Endpoint = Endpoint::public("get_kasm_status", AS_USER);
        let mut body = session(id, user);
        body.insert("skip_agent_check".into(), json!(false));
        let answer = self.ask(ENDPOINT, body)?;
        read(id, &Answer::new(ENDPOINT.name, &answer))
    }

    /// Waits until a session runs. `observe` is told each status; `interrupted` is asked often.
    ///
    /// # Errors
    /// If the session ends, does not run in time, or waiting is interrupted.
    pub fn wait_until_running(
        &self,
        id: &Id,
        user: &Id,
        waiting: Waiting,
        observe: &mut dyn FnMut(&Status),
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Status, Error> {
        let begun = Instant::now();
        loop {
            if interrupted() {
                return Err(Error::Interrupted);
            }
            let status = self.session_status(id, user)?;
            observe(&status);
            match &status.state {
                State::Running => return Ok(status),
                State::Ended(state) => {
                    return Err(Error::Ended {
                        session: id.to_string(),
                        state: state.clone(),
                        message: status.message,
                    });
                }
                State::Starting(state) => {
                    if begun.elapsed() + waiting.pause > waiting.limit {
                        return Err(Error::NotRunning {
                            session: id.to_string(),
                            after: waiting.limit,
                            state: state.clone(),
                            progress: status.progress,
                            message: status.message,
                        });
                    }
                }
            }
            let pause = Instant::now();
            while pause.elapsed() < waiting.pause && !interrupted() {
                sleep(SLICE.min(waiting.pause));
            }
        }
    }

    /// Has a command executed in a session's container, by `sh -c`. What it prints and how it ends
    /// is not told by the server.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn execute(
        &self,
        id: &Id,
        user: &Id,
        command: &str,
        as_root: bool,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        const ENDPOINT: Endpoint = Endpoint::public("exec_command_kasm", &[SESSIONS_MODIFY])
            .once("what the command leaves behind in the session");
        let mut exec = Map::new();
        exec.insert("cmd".into(), json!(command));
        exec.insert("workdir".into(), json!("/"));
        exec.insert("privileged".into(), json!(false));
        if !environment.is_empty() {
            exec.insert("environment".into(), json!(environment));
        }
        if as_root {
            exec.insert("user".into(), json!("root"));
        }
        let mut body = session(id, user);
        body.insert("exec_config".into(), Value::Object(exec));
        self.ask(ENDPOINT, body).map(drop)
    }

    /// Destroys a session. `false`: there was none any more.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn destroy_session(&self, id: &Id, user: &Id) -> Result<bool, Error> {
        // A session that is gone stays gone.
        const ENDPOINT: Endpoint = Endpoint::public("destroy_kasm", AS_USER);
        match self.ask(ENDPOINT, session(id, user)) {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All sessions of the server.
    ///
    /// # Errors
    /// If the server refuses or answers otherwise.
    pub fn sessions(&self) -> Result<Vec<Session>, Error> {
        const ENDPOINT: Endpoint = Endpoint::public("get_kasms", &[SESSIONS_VIEW]);
        let answer = self.ask(ENDPOINT, Map::new())?;
        let listed = Answer::new(ENDPOINT.name, &answer).list("kasms")?;
        let mut sessions = listed
            .iter()
            .map(|one| {
                let state = one.optional_text("operational_status")?.unwrap_or_default();
                let user = one
                    .optional("user")
                    .map(|user| user.optional_text("username"));
                Ok(Session {
                    id: one.id("kasm_id")?,
                    user: one.id("user_id")?,
                    username: match one.optional_text("username")? {
                        Some(name) => Some(name),
                        None => user.transpose()?.flatten(),
                    },
                    image: one.optional_text("image_id")?.and_then(|id| Id::parse(&id)),
                    state: State::read(&state),
                    host: one.optional_text("hostname")?,
                    started: one.optional_text("start_date")?,
                    expires: one.optional_text("expiration_date")?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        sessions.sort_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id)));
        Ok(sessions)
    }
}

/// Whether an error says that there is no such session.
fn is_gone(error: &Error) -> bool {
    let Error::Refused { message, .. } = error else {
        return false;
    };
    let message = message.to_lowercase();
    [
        "invalid kasm_id",
        "no longer exists",
        "does not exist",
        "not found",
    ]
    .iter()
    .any(|word| message.contains(word))
}

fn session(id: &Id, user: &Id) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("kasm_id".into(), json!(id.as_str()));
    body.insert("user_id".into(), json!(user.as_str()));
    body
}

fn read(id: &Id, answer: &Answer<'_>) -> Result<Status, Error> {
    let kasm = answer.optional("kasm");
    // What does not run yet is told at the top.
    let inner = kasm.as_ref().unwrap_or(answer);
    let text = |name: &str| match inner.optional_text(name)? {
        Some(text) => Ok(Some(text)),
        None => answer.optional_text(name),
    };
    let word = match text("operational_status")? {
        Some(word) => word,
        None => match answer.optional_text("status")? {
            Some(word) => word,
            None => answer.text("operational_status")?,
        },
    };
    let progress = inner.optional_count("operational_progress")?;
    let ports = inner
        .optional("port_map")
        .and_then(|ports| ports.optional("vnc"));
    Ok(Status {
        id: id.clone(),
        state: State::read(&word),
        progress,
        message: text("operational_message")?,
        container: text("container_id")?,
        host: text("hostname")?,
        expires: text("expiration_date")?,
        link: answer.optional_text("kasm_url")?,
        path: match ports {
            Some(vnc) => vnc.optional_text("path")?,
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Answer, Id, State, read};

    #[test]
    fn both_shapes_of_a_status_are_read() {
        let id = Id::parse(&"1".repeat(32)).expect("an id");
        let starting = json!({
            "operational_status": "starting", "operational_progress": 40,
            "operational_message": "Creating the container",
        });
        let status = read(&id, &Answer::new("get_kasm_status", &starting)).expect("a status");
        assert_eq!(status.state, State::Starting("starting".into()));
        assert_eq!(
            (status.progress, status.message.as_deref()),
            (Some(40), Some("Creating the container"))
        );
        let running = json!({
            "kasm_url": "/#/connect/kasm/1/2/3",
            "kasm": {"operational_status": "running", "container_id": "5f", "expiration_date": "None",
                     "port_map": {"vnc": {"port": 443, "path": "desktop/1/vnc"}}},
        });
        let status = read(&id, &Answer::new("get_kasm_status", &running)).expect("a status");
        assert_eq!(status.state, State::Running);
        assert_eq!(status.container.as_deref(), Some("5f"));
        assert_eq!(
            (status.expires, status.path.as_deref()),
            (None, Some("desktop/1/vnc"))
        );
        assert!(read(&id, &Answer::new("get_kasm_status", &json!({}))).is_err());
    }
}
