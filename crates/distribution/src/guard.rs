//! How a registry lets people in: not at all, by a password with each request, or by tokens that
//! another server gives (the token authentication of Docker's registry).
//!
//! Nothing is known beforehand. A registry that wants something says so to the first request; then
//! a login is looked for, and what it buys is kept for the requests that follow.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use ureq::http::Method;

use crate::challenge::{self, Challenge};
use crate::logins::{Found, Login, Logins, basic};
use crate::transport::{Answer, Load, Question, Transport};
use crate::{Error, address};

/// The name this program has for token servers.
const CLIENT: &str = "kasmforge";

/// What requests are about: `repository:NAME:pull,push`, one or several.
pub(crate) type Scopes<'a> = &'a [String];

/// Gets what a registry wants to see.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What references call the registry.
    registry: String,
    /// Where it answers.
    base: String,
    logins: Logins,
    /// Whether secrets may go over lines that anybody may listen at, because somebody said so.
    plain: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    /// Looked up at most once.
    login: Option<Option<Found>>,
    /// What was last shown, by scopes.
    shown: BTreeMap<String, Shown>,
}

#[derive(Debug, Clone, Default)]
enum Way {
    /// Nothing was asked for yet.
    #[default]
    Open,
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

#[derive(Clone)]
struct Shown(String);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(…)")
    }
}

/// A token server's answer; both names are in use.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Guard {
    pub(crate) fn new(registry: &str, base: &str, logins: Logins, plain: bool) -> Self {
        Self {
            registry: registry.into(),
            base: base.into(),
            logins,
            plain,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked had learned is still true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header `Authorization` for a request about these scopes, as far as it is known.
    pub(crate) fn header(
        &self,
        transport: &Transport,
        scopes: Scopes<'_>,
    ) -> Result<Option<String>, Error> {
        let mut state = self.lock();
        if matches!(state.way, Way::Open) {
            return Ok(None);
        }
        let key = scopes.join(" ");
        if let Some(shown) = state.shown.get(&key) {
            return Ok(Some(shown.0.clone()));
        }
        self.obtain(&mut state, transport, scopes)
    }

    /// Takes note of an answer 401 to a request with this header. Whether another header may help.
    pub(crate) fn refused(
        &self,
        answer: &Answer,
        used: Option<&str>,
        scopes: Scopes<'_>,
    ) -> Result<bool, Error> {
        let mut state = self.lock();
        let key = scopes.join(" ");
        if let Some(shown) = state.shown.get(&key)
            && Some(shown.0.as_str()) != used
        {
            // Another request was quicker to get a new one.
            return Ok(true);
        }
        let values = answer.all("www-authenticate");
        let challenges: Vec<Challenge> = values.flat_map(challenge::parse).collect();
        let of = |scheme: &str| challenges.iter().find(|one| one.scheme == scheme);
        let way = match (of("bearer"), of("basic")) {
            (Some(bearer), _) if bearer.parameter("realm").is_some() => Way::Bearer {
                realm: self.realm(bearer.parameter("realm").unwrap_or_default())?,
                service: bearer.parameter("service").map(str::to_owned),
            },
            (_, Some(_)) => Way::Basic,
            _ => {
                return Err(Error::NoWay {
                    host: self.registry.clone(),
                    schemes: challenges.into_iter().map(|one| one.scheme).collect(),
                });
            }
        };
        // A password that was refused is refused again; a token may only have grown old.
        let again = used.is_none() || matches!(way, Way::Bearer { .. });
        state.way = way;
        state.shown.remove(&key);
        Ok(again)
    }

    /// The address of a token server, if secrets may go there.
    fn realm(&self, realm: &str) -> Result<String, Error> {
        let address = address::resolve(&self.base, realm).unwrap_or_default();
        let secure = address.starts_with("https://")
            || address::is_loopback(address::host(&address))
            || (self.plain && self.base.starts_with("http://"));
        if address.is_empty() || !secure {
            return Err(Error::InsecureRealm {
                host: self.registry.clone(),
                realm: address::shown(realm),
            });
        }
        Ok(address)
    }

    fn obtain(
        &self,
        state: &mut State,
        transport: &Transport,
        scopes: Scopes<'_>,
    ) -> Result<Option<String>, Error> {
        if state.login.is_none() {
            let repository = scopes.first().and_then(|scope| scope.split(':').nth(1));
            let found = self
                .logins
                .find(&self.registry, repository.unwrap_or_default())?;
            state.login = Some(found);
        }
        let found = state.login.as_ref().and_then(Option::as_ref);
        let header = match (&state.way, found.map(|found| &found.login)) {
            (Way::Open, _) => None,
            (_, Some(Login::Token(token))) => Some(format!("Bearer {token}")),
            (Way::Basic, Some(Login::Password { user, password })) => Some(basic(user, password)),
            // Nothing but a password will do here.
            (Way::Basic, _) => None,
            (Way::Bearer { realm, service }, _) => {
                let service = service.as_deref();
                Some(self.token(transport, realm, service, found, scopes)?)
            }
        };
        if let Some(header) = &header {
            state.shown.insert(scopes.join(" "), Shown(header.clone()));
        }
        Ok(header)
    }

    /// A token for these scopes.
    fn token(
        &self,
        transport: &Transport,
        realm: &str,
        service: Option<&str>,
        found: Option<&Found>,
        scopes: Scopes<'_>,
    ) -> Result<String, Error> {
        let host = address::host(realm).to_owned();
        let (question, form) = match found.map(|found| &found.login) {
            Some(Login::Identity(token)) => {
                let mut form = format!(
                    "grant_type=refresh_token&client_id={CLIENT}&refresh_token={}",
                    address::encoded(token)
                );
                if let Some(service) = service {
                    form.push_str(&format!("&service={}", address::encoded(service)));
                }
                form.push_str(&format!("&scope={}", address::encoded(&scopes.join(" "))));
                let question = Question::new(Method::POST, realm)
                    .header("Content-Type", "application/x-www-form-urlencoded");
                (question, Some(form))
            }
            other => {
                let mut address = realm.to_owned();
                if let Some(service) = service {
                    address = address::with(&address, "service", service);
                }
                for scope in scopes {
                    address = address::with(&address, "scope", scope);
                }
                let mut question = Question::new(Method::GET, address);
                if let Some(Login::Password { user, password }) = other {
                    question = question.header("Authorization", basic(user, password));
                }
                (question, None)
            }
        };
        let answer = crate::patience::patiently(|| {
            let load = match &form {
                Some(form) => Load::Bytes(form.as_bytes()),
                None => Load::Nothing,
            };
            transport.ask(&question, load)
        })
        .map_err(|failed| failed.told(&host))?;
        match answer.status {
            200..=299 => {}
            400 | 401 | 403 => return Err(self.turned_away(found)),
            status => {
                return Err(Error::Refused {
                    doing: "asking for a token".into(),
                    host,
                    status,
                    words: crate::words::of(&answer),
                });
            }
        }
        let token = serde_json::from_slice::<Token>(&answer.body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        match token.filter(|token| !token.is_empty() && token.is_ascii()) {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(Error::NoToken { host }),
        }
    }

    /// What is told when nobody is let in: that a login is wrong, or that none is known.
    fn turned_away(&self, found: Option<&Found>) -> Error {
        let host = self.registry.clone();
        match found {
            Some(found) => Error::LoginRefused {
                host,
                origin: found.origin.clone(),
            },
            None => Error::LoginWanted { host },
        }
    }

    /// What is told when a request is not allowed, whatever was shown. 401 says "not you", and 403
    /// "not this".
    pub(crate) fn denied(&self, answer: &Answer, repository: &str) -> Error {
        let state = self.lock();
        let found = state.login.as_ref().and_then(Option::as_ref);
        let password = matches!(state.way, Way::Basic);
        if answer.status == 401 && (found.is_none() || password) {
            return self.turned_away(found);
        }
        Error::Denied {
            host: self.registry.clone(),
            repository: repository.into(),
            origin: found.map(|found| found.origin.clone()),
            words: crate::words::of(answer),
        }
    }
}
