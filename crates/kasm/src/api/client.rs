//! One request at a time to one server: what is asked, and whether the answer is one.

use std::sync::PoisonError;
use std::time::Duration;

use kasmforge_connection::Route;
use serde_json::{Map, Value, json};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};

use super::answer::clean;
use super::credentials::MASK;
use super::permission::{self, Permission};
use super::tls::{Memory, Seen, TlsConnector};
use super::{Credentials, Error, Loss, Server, Trust, explain};

/// How much of an answer that is no JSON is shown.
const BEGIN: usize = 60;

/// How a client works; every value comes from the caller.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// Whom to believe that it is the server.
    pub trust: Trust,
    /// The API key.
    pub credentials: Credentials,
    /// How long one request may take. An agent that is asked on the way may be slow.
    pub timeout: Duration,
    /// The pauses before a request that may be repeated is repeated.
    pub pauses: Vec<Duration>,
    /// The way to the server: a proxy, and whom the machine trusts.
    pub route: Route,
    /// Texts besides the key that must not be repeated: values of variables, say.
    pub secrets: Vec<String>,
}

impl Settings {
    /// The usual settings.
    #[must_use]
    pub fn new(server: Server, trust: Trust, credentials: Credentials) -> Self {
        Self {
            server,
            trust,
            credentials,
            timeout: Duration::from_secs(60),
            pauses: vec![Duration::from_millis(500), Duration::from_secs(2)],
            route: Route::default(),
            secrets: Vec::new(),
        }
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    agent: ureq::Agent,
    memory: Memory,
}

/// An endpoint, and what a caller should know of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    /// `public` for what is documented, `admin` for what is not.
    pub(crate) area: &'static str,
    pub(crate) name: &'static str,
    /// The permissions it takes.
    pub(crate) needs: &'static [Permission],
    /// Whether it may be repeated; else where its effect can be seen.
    pub(crate) loss: Loss,
}

impl Endpoint {
    /// A documented endpoint that may be repeated.
    pub(crate) const fn public(name: &'static str, needs: &'static [Permission]) -> Self {
        Self {
            area: "public",
            name,
            needs,
            loss: Loss::Harmless,
        }
    }

    /// The same, undocumented.
    pub(crate) const fn admin(name: &'static str, needs: &'static [Permission]) -> Self {
        Self {
            area: "admin",
            ..Self::public(name, needs)
        }
    }

    /// The same, not to be repeated.
    pub(crate) const fn once(self, look: &'static str) -> Self {
        Self {
            loss: Loss::Unknown(look),
            ..self
        }
    }
}

impl Client {
    /// Makes the connections' common settings. Nothing is asked yet.
    ///
    /// # Errors
    /// If the certificates to trust or the proxy cannot be used, or the key would be sent in the
    /// open to another machine.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let server = &settings.server;
        if server.is_plain() && !server.is_loopback() && settings.trust != Trust::Anybody {
            return Err(Error::Plain {
                server: server.clone(),
            });
        }
        let tls = TlsConnector::new(&settings.trust, &settings.route)?;
        let memory = tls.memory();
        let config = settings
            .route
            .agent()?
            // The key is in the body: it goes nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(settings.timeout))
            // A connection that was closed while it idled looks like one that was cut.
            .max_idle_connections(0)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(tls);
        Ok(Self {
            agent: ureq::Agent::with_parts(config, connector, DefaultResolver::default()),
            settings,
            memory,
        })
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.settings.server
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The key.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.settings.credentials
    }

    /// Asks whether the server is up, without the key.
    ///
    /// # Errors
    /// If it cannot be reached, is not trusted, or is not well.
    pub fn healthy(&self) -> Result<(), Error> {
        const ENDPOINT: &str = "__healthcheck";
        let address = self.server().at("/api/__healthcheck");
        let (status, body) = self.repeated(ENDPOINT, Loss::Harmless, || {
            self.forget();
            self.agent.get(&address).call()
        })?;
        let text = String::from_utf8_lossy(&body);
        if status == 200 && text.contains("true") {
            return Ok(());
        }
        let found = match status {
            200 => format!("its health check says `{}`", self.shown(&begin(&text))),
            status => format!("its health check answers with status {status}"),
        };
        Err(Error::Unhealthy {
            server: self.server().clone(),
            found,
        })
    }

    /// Asks for a path of the server with a user's cookies, without the key. `what` names it.
    pub(crate) fn get(
        &self,
        what: &'static str,
        path: &str,
        cookies: &str,
    ) -> Result<(u16, Vec<u8>), Error> {
        let address = self.server().at(path);
        let origin = self.server().to_string();
        self.repeated(what, Loss::Harmless, || {
            self.forget();
            self.agent
                .get(&address)
                .header("Cookie", cookies)
                .header("Origin", &origin)
                .call()
        })
    }

    /// Asks an endpoint, with the key.
    pub(crate) fn ask(&self, endpoint: Endpoint, body: Map<String, Value>) -> Result<Value, Error> {
        let Endpoint {
            area,
            name,
            needs,
            loss,
        } = endpoint;
        let address = self.server().at(&format!("/api/{area}/{name}"));
        let mut body = body;
        let credentials = &self.settings.credentials;
        body.insert("api_key".into(), credentials.key().into());
        body.insert("api_key_secret".into(), credentials.expose_secret().into());
        let bytes = Value::Object(body).to_string();
        let (status, answer) = self.repeated(name, loss, || {
            self.forget();
            self.agent
                .post(&address)
                .header("Content-Type", "application/json")
                .header("Accept", "application/json")
                .send(bytes.as_bytes())
        })?;
        tracing::debug!("{area}/{name}: status {status}, {} bytes", answer.len());
        let value: Value = match serde_json::from_slice(&answer) {
            Ok(value) => value,
            Err(_) if status >= 400 => {
                let text = String::from_utf8_lossy(&answer);
                let denied = matches!(status, 401 | 403) || explain::is_denial(&begin(&text));
                return Err(match denied {
                    true => Error::Denied {
                        endpoint: name,
                        message: format!("status {status}"),
                        needs,
                    },
                    false => Error::Status {
                        endpoint: name,
                        status,
                    },
                });
            }
            Err(_) => {
                return Err(Error::NotJson {
                    server: self.server().clone(),
                    endpoint: name,
                    status,
                    begin: self.shown(&begin(&String::from_utf8_lossy(&answer))),
                });
            }
        };
        self.judged(endpoint, status, value)
    }

    /// Tells an answer from an error, in both manners a server has.
    fn judged(&self, endpoint: Endpoint, status: u16, value: Value) -> Result<Value, Error> {
        let name = endpoint.name;
        let message = value.get("error_message").and_then(Value::as_str);
        let message = message.filter(|message| !message.trim().is_empty());
        match message {
            Some(message) => {
                let denied = matches!(status, 401 | 403) || explain::is_denial(message);
                let message = self.shown(message);
                Err(match denied {
                    true => Error::Denied {
                        endpoint: name,
                        message,
                        needs: endpoint.needs,
                    },
                    false => Error::Refused {
                        endpoint: name,
                        message,
                    },
                })
            }
            None if matches!(status, 401 | 403) => Err(Error::Denied {
                endpoint: name,
                message: format!("status {status}"),
                needs: endpoint.needs,
            }),
            None if !(200..300).contains(&status) => Err(Error::Status {
                endpoint: name,
                status,
            }),
            None if !value.is_object() => Err(Error::Shape {
                endpoint: name,
                at: "it".into(),
                problem: "is no JSON object".into(),
            }),
            None => Ok(value),
        }
    }

    /// What the server showed of itself at the last connection.
    pub(super) fn seen(&self) -> Option<Seen> {
        let memory = self.memory.lock();
        memory.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A server's text, fit to be shown: without secrets, in one line.
    pub(crate) fn shown(&self, text: &str) -> String {
        clean(&self.without_secrets(text))
    }

    /// A text without what must not be repeated.
    #[must_use]
    pub fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let more = self.settings.secrets.iter().map(String::as_str);
        for secret in self.settings.credentials.secrets().into_iter().chain(more) {
            // A variable's value that is a common word is no secret, and hiding it hides sense.
            if secret.len() >= permission::SHORTEST_SECRET {
                text = text.replace(secret, MASK);
            }
        }
        text
    }
}

/// The body of a request as it may be shown.
pub(crate) fn masked(body: &Map<String, Value>) -> Value {
    let mut body = body.clone();
    for name in ["api_key", "api_key_secret"] {
        body.insert(name.into(), json!(MASK));
    }
    Value::Object(body)
}

fn begin(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(BEGIN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::begin;

    #[test]
    fn beginnings_are_short() {
        assert_eq!(begin("<html>\n"), "<html>");
        assert_eq!(begin(&"é".repeat(100)).chars().count(), 61);
    }
}
