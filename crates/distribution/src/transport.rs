//! One request to one server, and what came of it.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use kasmforge_connection::{Route, certificates, tls};
use ureq::http::{HeaderMap, Method, Request};
use ureq::tls::RootCerts;
use ureq::{Body, SendBody};

use crate::Error;

/// How long a server may be silent, and how long it may take nothing from us.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a server may think about an upload that is complete: some read all of it again.
pub(crate) const THOUGHT: Duration = Duration::from_secs(15 * 60);

/// As much of an answer is read: they are small documents.
const LONGEST_ANSWER: u64 = 4 << 20;

/// Asks servers.
#[derive(Debug)]
pub(crate) struct Transport {
    agent: ureq::Agent,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) address: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// How long the server may think about it.
    pub(crate) patience: Duration,
    /// Whether it is asked elsewhere if the answer points there.
    pub(crate) follows: bool,
}

impl Question {
    pub(crate) fn new(method: Method, address: impl Into<String>) -> Self {
        Self {
            method,
            address: address.into(),
            headers: Vec::new(),
            patience: SILENCE,
            follows: true,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What is sent with a question.
pub(crate) enum Load<'a> {
    /// Nothing.
    Nothing,
    /// Some bytes, or none of them.
    Bytes(&'a [u8]),
    /// So many bytes.
    Stream(&'a mut dyn Read, u64),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok())
    }
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The name means no address.
    Name,
    /// Nobody listens, or nobody lets us through.
    Connection,
    /// The certificate does not hold.
    Certificate,
    /// The server speaks plain HTTP where TLS was meant.
    NotTls,
    /// The connection broke off, or went silent.
    Cut,
    /// Anything else.
    Other,
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) kind: Kind,
    pub(crate) source: Box<ureq::Error>,
}

impl Unanswered {
    /// Whether it may go better another time.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Name | Kind::Connection | Kind::Cut)
    }

    /// In words, for `host`.
    pub(crate) fn told(self, host: &str) -> Error {
        let host = host.to_owned();
        match self.kind {
            Kind::Certificate => Error::Untrusted {
                host,
                source: self.source,
            },
            Kind::NotTls => Error::NotTls { host },
            Kind::Name => Error::NoSuchName {
                host,
                source: self.source,
            },
            Kind::Connection | Kind::Cut | Kind::Other => Error::Unreachable {
                host,
                source: self.source,
            },
        }
    }
}

impl Transport {
    /// Makes the connections' common settings, for servers whose certificates these authorities
    /// may vouch for besides the usual ones.
    pub(crate) fn new(
        route: &Route,
        authorities: &[PathBuf],
        at_once: usize,
    ) -> Result<Self, Error> {
        let mut trusted = route.trusted()?;
        for path in authorities {
            trusted.get_or_insert_default().extend(certificates(path)?);
        }
        let roots = trusted.map_or(RootCerts::WebPki, RootCerts::from);
        let idle = at_once.max(1) + 1;
        let config = route
            .agent()?
            // Digests are of the bytes as they are: none may be packed on the way.
            .accept_encoding("identity")
            // Followed by whoever knows which secret is for whom.
            .max_redirects(0)
            .tls_config(tls(roots))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_idle_connections(2 * idle)
            .max_idle_connections_per_host(idle)
            .build();
        Ok(Self {
            agent: config.into(),
        })
    }

    /// Asks, once.
    pub(crate) fn ask(&self, question: &Question, load: Load<'_>) -> Result<Answer, Unanswered> {
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(&question.address);
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let length = match &load {
            Load::Nothing => None,
            Load::Bytes(bytes) => Some(bytes.len() as u64),
            Load::Stream(_, length) => Some(*length),
        };
        if let Some(length) = length {
            request = request.header("Content-Length", length);
        }
        let request = request.body(()).map_err(|error| unanswered(error.into()))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(question.patience))
            .timeout_per_read(Some(question.patience))
            .build();
        let answered = match load {
            Load::Nothing => self.agent.run(request),
            Load::Bytes(bytes) => self.agent.run(request.map(|()| bytes)),
            Load::Stream(reader, _) => self
                .agent
                .run(request.map(|()| SendBody::from_reader(reader))),
        };
        let response = answered.map_err(unanswered)?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: read(body).map_err(|error| unanswered(error.into()))?,
        })
    }
}

fn read(body: Body) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = body.into_with_config().limit(u64::MAX).reader();
    (&mut reader).take(LONGEST_ANSWER).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unanswered(error: ureq::Error) -> Unanswered {
    use ureq::Error as E;
    let kind = match &error {
        E::HostNotFound | E::Timeout(ureq::Timeout::Resolve) => Kind::Name,
        E::ConnectionFailed | E::ConnectProxyFailed(_) | E::Timeout(ureq::Timeout::Connect) => {
            Kind::Connection
        }
        E::Timeout(_) | E::Protocol(_) | E::BodyStalled => Kind::Cut,
        E::Io(error) => of_io(error),
        // A handshake that does not understand what it hears, from the library that does it.
        E::Rustls(error) => of_tls(&error.to_string()),
        _ => Kind::Other,
    };
    Unanswered {
        kind,
        source: Box::new(error),
    }
}

fn of_io(error: &io::Error) -> Kind {
    use io::ErrorKind as K;
    let text = error.to_string();
    match error.kind() {
        // The standard library has no kind for it, only a text.
        _ if text.contains("failed to lookup address") => Kind::Name,
        K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => {
            Kind::Connection
        }
        K::InvalidData => of_tls(&text),
        _ => Kind::Cut,
    }
}

fn of_tls(text: &str) -> Kind {
    if text.contains("certificate") {
        Kind::Certificate
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        Kind::NotTls
    } else {
        Kind::Cut
    }
}
