//! One request to one server, and what came of it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Body, SendBody};

use crate::{Error, Settings, address};

/// How long a name may take to resolve, and a connection to come about.
const CONNECT: Duration = Duration::from_secs(20);

/// How long a server may be silent, and how long it may take nothing from us.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a server may think about an upload that is complete: some read all of it again.
pub(crate) const THOUGHT: Duration = Duration::from_secs(15 * 60);

/// As much of an answer is read: they are small documents.
const LONGEST_ANSWER: u64 = 4 << 20;

/// Where systems keep the certificates they trust: Debian, Fedora, openSUSE.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

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
    pub(crate) fn new(settings: &Settings, authorities: &[PathBuf]) -> Result<Self, Error> {
        let mut trusted = certificates(settings.certificates.as_deref())?;
        for path in authorities {
            trusted.get_or_insert_default().extend(pem(path)?);
        }
        let roots = trusted.map_or(RootCerts::WebPki, RootCerts::from);
        let proxy = settings.proxy.as_deref().map(|text| {
            proxy(text, settings.no_proxy.as_deref()).map_err(|source| Error::Proxy {
                proxy: address::shown(text),
                source: Box::new(source),
            })
        });
        let idle = settings.at_once.max(1) + 1;
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("kasmforge/", env!("CARGO_PKG_VERSION")))
            // Digests are of the bytes as they are: none may be packed on the way.
            .accept_encoding("identity")
            .http_status_as_error(false)
            // Followed by whoever knows which secret is for whom.
            .max_redirects(0)
            .proxy(proxy.transpose()?)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
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

/// A proxy, and the hosts that are asked without it.
fn proxy(text: &str, except: Option<&str>) -> Result<ureq::Proxy, ureq::Error> {
    let given = ureq::Proxy::new(text)?;
    let Some(except) = except else {
        return Ok(given);
    };
    let mut builder = ureq::Proxy::builder(given.protocol())
        .host(given.host())
        .port(given.port())
        .resolve_target(given.resolve_target());
    if let Some(user) = given.username() {
        builder = builder.username(user);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    let hosts = except.split(',').map(str::trim);
    for host in hosts.filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build()
}

/// The certificates to trust: those of the file named, else the system's; `None` where it has none.
fn certificates(named: Option<&Path>) -> Result<Option<Vec<Certificate<'static>>>, Error> {
    let system = SYSTEM_CERTIFICATES.map(Path::new);
    let path = named.or_else(|| system.into_iter().find(|path| path.is_file()));
    path.map(pem).transpose()
}

/// The certificates in a file.
fn pem(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let failed = |source| Error::Certificates {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::read(path).map_err(failed)?;
    // Bundles hold oddities; one certificate that cannot be read does not spoil the others.
    let certificates: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(failed(io::Error::other(
            "it holds no certificate in PEM form",
        )));
    }
    Ok(certificates)
}
