//! A registry, and what can be asked of it.

use std::path::{Path, PathBuf};

use kasmforge_connection::Route;
use kasmforge_digest::Digest;
use ureq::http::Method;

use crate::guard::{Guard, Scopes};
use crate::logins::Logins;
use crate::patience;
use crate::transport::{Answer, Kind, Load, Question, Transport, Unanswered};
use crate::{Error, address, words};

/// How often an answer may point elsewhere.
const REDIRECTS: usize = 5;

/// The manifests a registry may know an image by.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether registries are spoken to without TLS; those of this machine always may be.
    pub plain_http: bool,
    /// The way to them: proxy, certificates.
    pub route: Route,
    /// Certificates that TLS trusts besides.
    pub authorities: Vec<PathBuf>,
    /// A folder in which registries have folders with the certificates of who vouches for them, as
    /// Docker has it: `/etc/docker/certs.d/registry.example.org:5000/ca.crt`.
    pub certificates_by_host: Option<PathBuf>,
    /// Logins.
    pub logins: Logins,
    /// How many requests are on their way at once, at most.
    pub at_once: usize,
}

/// A registry that answers.
#[derive(Debug)]
pub struct Registry {
    /// What references call it.
    name: String,
    /// Where it answers: `https://registry-1.docker.io`.
    base: String,
    transport: Transport,
    guard: Guard,
}

/// One repository of a registry.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) path: &'a str,
}

impl Registry {
    /// Finds out where and how a registry answers. `name` is what references call it, with a port
    /// where it has one: `docker.io`, `localhost:5000`.
    ///
    /// # Errors
    /// If nobody answers there, or somebody who is no registry.
    pub fn connect(name: &str, settings: &Settings) -> Result<Self, Error> {
        let server = address::server(name);
        let local = address::is_loopback(server);
        let mut authorities = settings.authorities.clone();
        if let Some(folder) = &settings.certificates_by_host {
            authorities.extend(certificates_in(&folder.join(server)));
        }
        let schemes: &[&str] = match (settings.plain_http, local) {
            (true, _) => &["http"],
            // Whoever names a certificate means TLS.
            (false, true) if authorities.is_empty() => &["http", "https"],
            _ => &["https"],
        };
        let mut route = settings.route.clone();
        if local {
            // No proxy knows what is on this machine.
            route.proxy = None;
        }
        let transport = Transport::new(&route, &authorities, settings.at_once)?;
        let mut last = None;
        for (index, scheme) in schemes.iter().enumerate() {
            let base = format!("{scheme}://{server}");
            let further = index + 1 < schemes.len();
            match greet(&transport, &base) {
                Ok(answer) if further && wants_tls(&answer) => {}
                Ok(answer) => {
                    // Somebody is there, and does not say who.
                    if matches!(answer.status, 403 | 407 | 429 | 500..) {
                        return Err(Error::Refused {
                            doing: "being asked whether it is a registry".into(),
                            host: server.into(),
                            status: answer.status,
                            words: words::of(&answer),
                        });
                    }
                    if !is_registry(&answer) {
                        return Err(Error::NotARegistry {
                            host: server.into(),
                            address: format!("{base}/v2/"),
                            status: answer.status,
                        });
                    }
                    let guard =
                        Guard::new(name, &base, settings.logins.clone(), settings.plain_http);
                    if answer.status == 401 {
                        guard.refused(&answer, None, &[])?;
                    }
                    return Ok(Self {
                        name: name.into(),
                        base,
                        transport,
                        guard,
                    });
                }
                // A server that wants TLS may also just hang up.
                Err(failed) if further && failed.kind == Kind::Cut => last = Some(failed),
                Err(failed) => return Err(last.unwrap_or(failed).told(server)),
            }
        }
        Err(Error::NotTls {
            host: server.into(),
        })
    }

    /// What references call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A repository of it: `library/debian`.
    #[must_use]
    pub const fn repository<'a>(&'a self, path: &'a str) -> Repository<'a> {
        Repository {
            registry: self,
            path,
        }
    }

    /// An address an answer points to. What is meant for TLS never goes without.
    pub(crate) fn pointed_to(&self, from: &str, answer: &Answer) -> Result<String, Error> {
        let location = answer.header("location").unwrap_or_default();
        let address = address::resolve(from, location).filter(|_| !location.is_empty());
        let Some(address) = address else {
            return Err(Error::Strange {
                host: self.name.clone(),
                what: "it points to no address to go on at",
            });
        };
        if from.starts_with("https://") && address.starts_with("http://") {
            return Err(Error::Downgrade {
                host: self.name.clone(),
                address: address::shown(&address),
            });
        }
        Ok(address)
    }

    /// Asks what may be asked twice: until there is an answer, with the login that is wanted, and
    /// wherever answers point.
    pub(crate) fn ask(
        &self,
        question: &Question,
        bytes: Option<&[u8]>,
        scopes: Scopes<'_>,
    ) -> Result<Answer, Error> {
        let mut question = question.clone();
        let mut redirects = 0;
        // Refused once without a login, and once with one that may have grown old.
        let (mut blind, mut renewed) = (false, false);
        loop {
            let header = self.header_for(&question.address, scopes)?;
            let answer = patience::patiently(|| {
                let load = bytes.map_or(Load::Nothing, Load::Bytes);
                self.transport
                    .ask(&dressed(&question, header.as_deref()), load)
            })
            .map_err(|failed| failed.told(address::host(&question.address)))?;
            let ours = address::same_server(&self.base, &question.address);
            match answer.status {
                401 if ours && !(if header.is_some() { renewed } else { blind }) => {
                    if header.is_some() {
                        renewed = true;
                    } else {
                        blind = true;
                    }
                    if !self.guard.refused(&answer, header.as_deref(), scopes)? {
                        return Ok(answer);
                    }
                }
                301 | 302 | 303 | 307 | 308 if question.follows && redirects < REDIRECTS => {
                    let safe = [Method::GET, Method::HEAD].contains(&question.method);
                    if !safe && ![307, 308].contains(&answer.status) {
                        return Ok(answer);
                    }
                    redirects += 1;
                    question.address = self.pointed_to(&question.address, &answer)?;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Sends a stream, once.
    pub(crate) fn send(
        &self,
        question: &Question,
        load: Load<'_>,
        scopes: Scopes<'_>,
    ) -> Result<Result<Answer, Unanswered>, Error> {
        let header = self.header_for(&question.address, scopes)?;
        let answer = self
            .transport
            .ask(&dressed(question, header.as_deref()), load);
        if let Ok(answer) = &answer
            && answer.status == 401
        {
            self.guard.refused(answer, header.as_deref(), scopes)?;
        }
        Ok(answer)
    }

    /// A login is for the registry alone, wherever it points.
    fn header_for(&self, address: &str, scopes: Scopes<'_>) -> Result<Option<String>, Error> {
        if address::same_server(&self.base, address) {
            self.guard.header(&self.transport, scopes)
        } else {
            Ok(None)
        }
    }

    /// An answer that is none of those expected, in words.
    pub(crate) fn refusal(&self, answer: &Answer, repository: &str, doing: String) -> Error {
        let host = self.name.clone();
        match answer.status {
            401 | 403 => self.guard.denied(answer, repository),
            _ if words::has(answer, "DENIED") => self.guard.denied(answer, repository),
            _ if words::has(answer, "NAME_INVALID") || words::has(answer, "NAME_UNKNOWN") => {
                Error::NameRefused {
                    host,
                    repository: repository.into(),
                    words: words::of(answer),
                }
            }
            status => Error::Refused {
                doing,
                host,
                status,
                words: words::of(answer),
            },
        }
    }
}

impl Repository<'_> {
    /// The repository with its registry: `docker.io/library/debian`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.registry.name, self.path)
    }

    /// What requests are about that put something here, perhaps from other repositories.
    pub(crate) fn scopes(&self, also_from: Option<&str>) -> Vec<String> {
        let mut scopes = vec![format!("repository:{}:pull,push", self.path)];
        scopes.extend(also_from.map(|other| format!("repository:{other}:pull")));
        scopes
    }

    pub(crate) fn address(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.registry.base, self.path)
    }

    pub(crate) fn refusal(&self, answer: &Answer, doing: impl Into<String>) -> Error {
        self.registry.refusal(answer, self.path, doing.into())
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// If the registry cannot be asked or refuses to say.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut question = Question::new(Method::HEAD, self.address(&format!("blobs/{digest}")));
        // A registry that keeps its blobs elsewhere points there only if it has this one. What it
        // points to may be for GET alone.
        question.follows = false;
        let answer = self.registry.ask(&question, None, &self.scopes(None))?;
        match answer.status {
            200..=399 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(&answer, "asking for a layer")),
        }
    }

    /// The digest of the manifest that a tag or a digest means here; `None` if it means nothing, or
    /// if the registry does not tell.
    ///
    /// # Errors
    /// If the registry cannot be asked or refuses to say.
    pub fn manifest(&self, reference: &str) -> Result<Option<Digest>, Error> {
        let question = Question::new(
            Method::HEAD,
            self.address(&format!("manifests/{reference}")),
        )
        .header("Accept", MANIFESTS);
        let answer = self.registry.ask(&question, None, &self.scopes(None))?;
        match answer.status {
            200..=299 => Ok(digest_of(&answer)),
            404 => Ok(None),
            _ => Err(self.refusal(&answer, format!("asking for `{reference}`"))),
        }
    }

    /// Puts a manifest under a tag or its digest. Some of its blobs may not be there: then this is
    /// told by [`Put::Lacking`].
    ///
    /// # Errors
    /// If the registry cannot be asked, refuses, or took it for another.
    pub fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> Result<Put, Error> {
        let question = Question::new(Method::PUT, self.address(&format!("manifests/{reference}")))
            .header("Content-Type", media_type)
            .patience(crate::transport::THOUGHT);
        let answer = self
            .registry
            .ask(&question, Some(manifest), &self.scopes(None))?;
        let host = self.registry.name.clone();
        match answer.status {
            200..=299 => {
                let expected = Digest::of(manifest);
                match digest_of(&answer) {
                    Some(found) if found != expected => Err(Error::OtherDigest {
                        host,
                        reference: reference.into(),
                        expected,
                        found,
                    }),
                    _ => Ok(Put::Done),
                }
            }
            400 | 404
                if words::has(&answer, "MANIFEST_BLOB_UNKNOWN")
                    || words::has(&answer, "BLOB_UNKNOWN") =>
            {
                Ok(Put::Lacking)
            }
            400 | 415 | 422
                if answer.status == 415
                    || words::has(&answer, "MANIFEST_INVALID")
                    || words::has(&answer, "UNSUPPORTED") =>
            {
                Err(Error::ManifestRefused {
                    host,
                    words: words::of(&answer),
                })
            }
            _ => Err(self.refusal(&answer, format!("naming the image `{reference}`"))),
        }
    }
}

/// What became of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// It names a blob the repository does not have.
    Lacking,
}

fn dressed(question: &Question, authorization: Option<&str>) -> Question {
    match authorization {
        Some(value) => question.clone().header("Authorization", value),
        None => question.clone(),
    }
}

/// Asks whether there is a registry. Nobody who does not listen is asked again: it is the likeliest
/// mistake, and told at once.
fn greet(transport: &Transport, base: &str) -> Result<Answer, Unanswered> {
    let question = Question::new(Method::GET, format!("{base}/v2/"));
    let mut gone = None;
    let answer = patience::patiently(|| match transport.ask(&question, Load::Nothing) {
        Err(failed) if failed.kind == Kind::Connection => {
            let kind = Kind::Other;
            gone = Some(failed.kind);
            Err(Unanswered { kind, ..failed })
        }
        other => other,
    });
    answer.map_err(|failed| Unanswered {
        kind: gone.unwrap_or(failed.kind),
        ..failed
    })
}

/// Whether an answer is what servers say that wanted TLS and heard plain HTTP. There is no status
/// for it: Go's servers and nginx say so in words.
fn wants_tls(answer: &Answer) -> bool {
    answer.status == 400 && String::from_utf8_lossy(&answer.body).contains("HTTPS")
}

/// Whether an answer to `/v2/` is a registry's, and no other web server's.
fn is_registry(answer: &Answer) -> bool {
    let told = answer
        .header("docker-distribution-api-version")
        .is_some_and(|version| version.starts_with("registry/2"));
    let page = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"));
    match answer.status {
        200..=299 => told || !page,
        401 => told || answer.header("www-authenticate").is_some(),
        _ => told,
    }
}

fn digest_of(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.parse().ok()
}

/// The certificates in a registry's folder; none if it has no folder.
fn certificates_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "crt"));
    paths.sort();
    paths
}
