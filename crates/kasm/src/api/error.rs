//! What can go wrong between this machine and a Kasm server.

use std::fmt::Write as _;
use std::time::Duration;

use super::permission::{Permission, named};
use super::tls::Fingerprint;
use super::{Server, explain};

/// Why a server did not do what it was asked.
///
/// Texts of the server are shown without control characters and without secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address would send the key readable by anybody on the way.
    #[error(
        "{server} is not encrypted, and the API key would be sent with every request; use https, or \
         --insecure if that is meant"
    )]
    Plain {
        /// The server.
        server: Server,
    },
    /// The proxy or the certificates to trust are no good.
    #[error(transparent)]
    Connection(#[from] kasmforge_connection::Error),
    /// There is nobody to trust.
    #[error(
        "this machine has no list of certificate authorities; name the server's authority with \
         --ca-file, or pin its certificate with --fingerprint"
    )]
    NobodyTrusted,
    /// The server's certificate is not one to trust.
    #[error(
        "the certificate of {server} is not trusted here: {why}\n\
         its SHA-256 fingerprint is {fingerprint}\n\
         if that is what `openssl x509 -noout -fingerprint -sha256 -in \
         /opt/kasm/current/certs/kasm_nginx.crt` says on the server, pin it with --fingerprint, in \
         KASM_FINGERPRINT or in the settings file; or name its authority with --ca-file"
    )]
    NotTrusted {
        /// The server.
        server: Server,
        /// What it showed.
        fingerprint: Fingerprint,
        /// What is wrong with it.
        why: String,
    },
    /// The server showed another certificate than the pinned one.
    #[error(
        "{server} shows another certificate than the one that is pinned: {found}, not {pinned}; \
         either it was renewed, or somebody stands between: compare on the server itself before the \
         pin is changed"
    )]
    OtherCertificate {
        /// The server.
        server: Server,
        /// What was pinned.
        pinned: Fingerprint,
        /// What it showed.
        found: Fingerprint,
    },
    /// The server cannot be spoken with; nothing was asked of it.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// The server.
        server: Server,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The connection was lost after the request was sent.
    #[error("the connection to {server} was lost during {endpoint}{loss}")]
    Lost {
        /// The server.
        server: Server,
        /// The endpoint.
        endpoint: &'static str,
        /// Whether the request may have been carried out all the same.
        loss: Loss,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The server is up but not well.
    #[error("{server} is not healthy: {found}")]
    Unhealthy {
        /// The server.
        server: Server,
        /// What it answered.
        found: String,
    },
    /// The server sends elsewhere.
    #[error(
        "{server} answers {endpoint} with status {status} and sends to {to}; that is not followed, \
         because the API key would go along: give the address it is really at"
    )]
    Redirected {
        /// The server.
        server: Server,
        /// The endpoint.
        endpoint: &'static str,
        /// The status.
        status: u16,
        /// Where to: scheme, host and port only.
        to: String,
    },
    /// The answer does not end.
    #[error("the answer to {endpoint} is larger than {} MB", limit / 1_000_000)]
    TooLarge {
        /// The endpoint.
        endpoint: &'static str,
        /// How many bytes are read at most.
        limit: u64,
    },
    /// The answer is no JSON: something else than Kasm's API answers there.
    #[error(
        "{server} answers {endpoint} with status {status} and no JSON{}; is a Kasm server there?",
        begins(begin)
    )]
    NotJson {
        /// The server.
        server: Server,
        /// The endpoint.
        endpoint: &'static str,
        /// The status.
        status: u16,
        /// How it begins.
        begin: String,
    },
    /// The answer is another one than this API gives.
    #[error(
        "the answer to {endpoint} is not as expected: {at} {problem}; the server may be of a version \
         this program does not know"
    )]
    Shape {
        /// The endpoint.
        endpoint: &'static str,
        /// Where in the answer: `images[3].image_id`.
        at: String,
        /// What is wrong there.
        problem: String,
    },
    /// The key may not do this.
    #[error("the server refuses {endpoint}: {message}\n{}", needed(needs))]
    Denied {
        /// The endpoint.
        endpoint: &'static str,
        /// The server's words.
        message: String,
        /// The permissions it takes.
        needs: &'static [Permission],
    },
    /// The server says no.
    #[error("the server refuses {endpoint}: {message}{}", help(message))]
    Refused {
        /// The endpoint.
        endpoint: &'static str,
        /// The server's words.
        message: String,
    },
    /// The server is in trouble, and gives no words.
    #[error("the server answers {endpoint} with status {status}{}", trouble(*status))]
    Status {
        /// The endpoint.
        endpoint: &'static str,
        /// The status.
        status: u16,
    },
    /// There is no such user.
    #[error("the server has no user `{name}`")]
    NoUser {
        /// The name or id.
        name: String,
    },
    /// Several images could be meant.
    #[error(
        "the server has {} workspaces that could be meant: {}; say which with --image-id", ids.len(),
        ids.join(", ")
    )]
    Ambiguous {
        /// Their ids.
        ids: Vec<String>,
    },
    /// There is no such image.
    #[error("the server has no workspace {wanted}; `kasmforge kasm images` shows those it has")]
    NoImage {
        /// What was looked for.
        wanted: String,
    },
    /// The server took a change and says something else afterwards.
    #[error(
        "the server took the registration, but says afterwards: {}; correct it in the server's web \
         interface (Workspaces > Edit) and run this again", found.join("; ")
    )]
    NotKept {
        /// Which fields are otherwise.
        found: Vec<String>,
    },
    /// A session ended instead of running.
    #[error("session {session} will not run: it is {state}{}", said(message))]
    Ended {
        /// The session.
        session: String,
        /// The server's word for its state.
        state: String,
        /// The server's explanation.
        message: Option<String>,
    },
    /// A session does not get on.
    #[error(
        "session {session} does not run after {} s: it is {state}{}{}", after.as_secs(),
        percent(*progress), said(message)
    )]
    NotRunning {
        /// The session.
        session: String,
        /// How long was waited.
        after: Duration,
        /// The server's word for its state.
        state: String,
        /// How far it says it is, in percent.
        progress: Option<u64>,
        /// The server's explanation.
        message: Option<String>,
    },
    /// The server does not say how a session's downloads are reached.
    #[error("the server does not tell how the session's downloads are reached")]
    NoWay,
    /// A person asked to end.
    #[error("interrupted")]
    Interrupted,
}

/// Whether a request may have been carried out although its answer never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It changes nothing, or nothing more the second time.
    Harmless,
    /// It may have: what to look at.
    Unknown(&'static str),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Harmless => Ok(()),
            Self::Unknown(look) => write!(
                f,
                "; whether it was carried out is not known, so it is not repeated: look with {look}"
            ),
        }
    }
}

fn begins(begin: &str) -> String {
    match begin.is_empty() {
        true => String::new(),
        false => format!(" (`{begin}`)"),
    }
}

fn needed(needs: &[Permission]) -> String {
    let mut text = format!("it takes {}", named(needs));
    let _ = write!(
        text,
        "; the key lacks it, or is wrong: give it what is missing in the web interface (Settings > \
         Developers > API Keys > Permissions), or look with `kasmforge kasm check`"
    );
    text
}

fn help(message: &str) -> String {
    explain::explained(message).map_or_else(String::new, |help| format!("\n{help}"))
}

fn trouble(status: u16) -> &'static str {
    match status {
        404 => ": it does not know it; is it a Kasm server, and not too old?",
        502..=504 => ": its API is not up; it may be starting",
        500..=599 => ": its own log says more (`docker logs kasm_api` on the server)",
        _ => "",
    }
}

fn said(message: &Option<String>) -> String {
    let Some(message) = message else {
        return String::new();
    };
    format!(": {message}{}", help(message))
}

fn percent(progress: Option<u64>) -> String {
    progress.map_or_else(String::new, |progress| format!(", {progress} %"))
}
