//! What can go wrong between here and a registry.

use std::io;
use std::path::PathBuf;

use kasmforge_digest::Digest;

/// Something that could not be done with a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Servers cannot be reached in the way that was wished for.
    #[error(transparent)]
    Route(#[from] kasmforge_connection::Error),
    /// A file of logins could not be read.
    #[error("cannot take logins from {}", path.display())]
    Logins {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program that keeps logins did not give one.
    #[error(
        "`{program}` gives no login for {registry}; Docker's configuration names it for that \
         registry: mend it, or remove it from `credHelpers` or `credsStore` there"
    )]
    Helper {
        /// The program.
        program: String,
        /// The registry.
        registry: String,
        /// What it said.
        source: io::Error,
    },
    /// A registry's name is no host's.
    #[error("there is no host {host}; is the registry's name right?")]
    NoSuchName {
        /// The host.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A server does not answer.
    #[error(
        "{host} does not answer; does the registry run there, and may it be reached from here?"
    )]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A server's certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted; if an authority of your own made it, name that \
         with --ca-file, or put it into /etc/docker/certs.d/{host}/ca.crt"
    )]
    Untrusted {
        /// The host.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A server does not speak TLS.
    #[error(
        "{host} does not speak TLS; if the registry is meant to be reached without, say \
         --plain-http"
    )]
    NotTls {
        /// The host.
        host: String,
    },
    /// Somebody answers who is no registry.
    #[error(
        "{host} is no registry of images: {address} answers {status}; the first part of a reference \
         names the registry, as in registry.example.org/team/desktop"
    )]
    NotARegistry {
        /// The host.
        host: String,
        /// What was asked for.
        address: String,
        /// The answer's status.
        status: u16,
    },
    /// A registry wants a login in a way that is not known.
    #[error(
        "{host} wants a login by {}, which is not understood; `basic` and `bearer` are",
        if schemes.is_empty() { "no scheme at all".into() } else { schemes.join(", ") }
    )]
    NoWay {
        /// The registry.
        host: String,
        /// The schemes it wants.
        schemes: Vec<String>,
    },
    /// A token server would hear secrets over a line that anybody may listen at.
    #[error(
        "{host} sends logins to {realm}, which is not reached over TLS; nothing was sent there"
    )]
    InsecureRealm {
        /// The registry.
        host: String,
        /// The token server.
        realm: String,
    },
    /// A registry reached by TLS points to an address without.
    #[error(
        "{host} is reached over TLS, and says to go on at {address}, without; nothing was sent \
         there. A registry behind a proxy must be told its own address: its `http.host`, or the \
         proxy's header X-Forwarded-Proto"
    )]
    Downgrade {
        /// The registry.
        host: String,
        /// Where it points.
        address: String,
    },
    /// No login is known, and one is wanted.
    #[error(
        "{host} wants a login, and none is known: `docker login {host}` or `podman login {host}` \
         keeps one, or say --username NAME --password-stdin"
    )]
    LoginWanted {
        /// The registry.
        host: String,
    },
    /// The login that is known is wrong.
    #[error(
        "{host} refuses the login from {origin}; log in again (`docker login {host}`), or say \
         --username NAME --password-stdin"
    )]
    LoginRefused {
        /// The registry.
        host: String,
        /// Where the login was found.
        origin: String,
    },
    /// Whoever is logged in may not do this.
    #[error(
        "{host} does not allow it to push to `{repository}`{}{}; is the repository there and its \
         name right, and may this login write to it?",
        match origin { Some(origin) => format!(" with the login from {origin}"), None => " without a login".into() },
        said(words)
    )]
    Denied {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// Where the login was found, if there is one.
        origin: Option<String>,
        /// What the registry says.
        words: String,
    },
    /// A token server's answer has no token.
    #[error("{host} answered without a token; is it the token server the registry means?")]
    NoToken {
        /// The token server.
        host: String,
    },
    /// A registry does not take a repository's name.
    #[error(
        "{host} does not take the name `{repository}`{}; many registries want a project or an \
         account before the image's name, as in {host}/team/desktop",
        said(words)
    )]
    NameRefused {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What the registry says.
        words: String,
    },
    /// A registry does not take a manifest.
    #[error(
        "{host} does not take the image's manifest{}; it may be too old for OCI images, or for \
         layers compressed by zstd: --compression gzip",
        said(words)
    )]
    ManifestRefused {
        /// The registry.
        host: String,
        /// What the registry says.
        words: String,
    },
    /// A registry took a manifest for another one.
    #[error(
        "{host} says that `{reference}` is {found} now, but {expected} was sent; something on the \
         way to it changes what is sent"
    )]
    OtherDigest {
        /// The registry.
        host: String,
        /// The tag.
        reference: String,
        /// What was sent.
        expected: Digest,
        /// What the registry says.
        found: Digest,
    },
    /// A registry received a blob otherwise than it was sent.
    #[error(
        "{host} refuses the layer {digest}{}; either something on the way changed it, or it is \
         damaged here: `kasmforge store --verify` tells",
        said(words)
    )]
    BlobRefused {
        /// The registry.
        host: String,
        /// The blob.
        digest: Digest,
        /// What the registry says.
        words: String,
    },
    /// A blob is too large for a registry, or for a proxy before it.
    #[error(
        "{host} does not take the layer {digest} of {bytes} bytes: it is too large for it, or for a \
         proxy before it (nginx: `client_max_body_size 0`)"
    )]
    TooLarge {
        /// The registry.
        host: String,
        /// The blob.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// An upload broke off too often.
    #[error(
        "the upload of the layer {digest} to {host} broke off {times} times, the last time after \
         {at} of {bytes} bytes; what arrived whole is not sent again next time"
    )]
    Broken {
        /// The registry.
        host: String,
        /// The blob.
        digest: Digest,
        /// How often.
        times: u32,
        /// How far it came the last time.
        at: u64,
        /// Its length.
        bytes: u64,
        /// Why, the last time.
        source: Option<Box<ureq::Error>>,
    },
    /// A registry says that a manifest's blobs are missing which were just sent.
    #[error(
        "{host} took every layer of `{repository}` and then did not find them; it does not keep \
         what it is given, or several servers there do not share it"
    )]
    Forgetful {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
    },
    /// An answer that the protocol does not know.
    #[error("{host} answers otherwise than registries do: {what}")]
    Strange {
        /// The registry.
        host: String,
        /// What is strange.
        what: &'static str,
    },
    /// A request was refused.
    #[error("{host} answers {status} to {doing}{}", said(words))]
    Refused {
        /// What was asked.
        doing: String,
        /// The server.
        host: String,
        /// The answer's status.
        status: u16,
        /// What it says.
        words: String,
    },
    /// A blob's bytes could not be read here.
    #[error("cannot read the layer {digest} that is to be sent")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// The image could not be made ready.
    #[error("cannot make the image ready for the registry")]
    Image {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a server said, as part of a sentence.
fn said(words: &str) -> String {
    match words.trim_end_matches('.') {
        "" => String::new(),
        words => format!(" (it says: {words})"),
    }
}
