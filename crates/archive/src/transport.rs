//! One request to one server, over HTTP or from a `file:` address.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::tls::RootCerts;
use ureq::unversioned::transport::DefaultConnector;

use crate::error::Cause;
use crate::names::Names;
use crate::{Credentials, Error, Settings, address};

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// How often an answer may point elsewhere.
const REDIRECTS: u32 = 5;

/// The longest pause taken on a server's word.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Asks servers.
#[derive(Debug)]
pub(crate) struct Transport {
    agent: ureq::Agent,
    /// Agents that trust further certificates, by the host and port they are for.
    private: Vec<(String, ureq::Agent)>,
    credentials: Credentials,
    names: Names,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Question<'a> {
    /// The first byte wanted.
    pub(crate) from: u64,
    /// The ETag of what is there already.
    pub(crate) etag: Option<&'a str>,
    /// The Last-Modified of what is there already.
    pub(crate) modified: Option<&'a str>,
}

/// What a server answers, other than failing.
pub(crate) enum Answer {
    /// Here it is.
    Content(Content),
    /// What is there already is still right.
    Unchanged,
    /// There is no such file, or not for you.
    Absent,
    /// It has no such part: the file is shorter than what is there already.
    NoSuchPart,
}

/// A file, or its later part.
pub(crate) struct Content {
    /// The bytes.
    pub(crate) reader: Box<dyn Read + Send>,
    /// The place of the first of them in the file.
    pub(crate) from: u64,
    /// The length of the whole file, where the server tells it.
    pub(crate) length: Option<u64>,
    /// The ETag.
    pub(crate) etag: Option<String>,
    /// The Last-Modified.
    pub(crate) modified: Option<String>,
}

/// A request that failed.
pub(crate) struct Failed {
    /// What happened.
    pub(crate) cause: Cause,
    /// Whether it may go better another time.
    pub(crate) passing: bool,
}

impl Transport {
    /// Makes the connections' common settings.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let names = Names::default();
        let common = settings.route.trusted()?;
        let mut private = Vec::new();
        for authority in &settings.authorities {
            let mut trusted = kasmforge_connection::certificates(&authority.certificates)?;
            trusted.extend(common.iter().flatten().cloned());
            let agent = agent(settings, trusted.into(), &names)?;
            private.push((address::host(&authority.address).to_owned(), agent));
        }
        let roots = common.map_or(RootCerts::WebPki, RootCerts::from);
        Ok(Self {
            agent: agent(settings, roots, &names)?,
            private,
            credentials: settings.credentials.clone(),
            names,
        })
    }

    /// Asks for the file at an address.
    pub(crate) fn ask(&self, address: &str, question: Question<'_>) -> Result<Answer, Failed> {
        match address::file_path(address) {
            Some(path) => read(path, question),
            None => self.get(address, question),
        }
    }

    fn agent_for(&self, address: &str) -> &ureq::Agent {
        let host = address::host(address);
        let private = self.private.iter().find(|(known, _)| known == host);
        private.map_or(&self.agent, |(_, agent)| agent)
    }

    fn get(&self, address: &str, question: Question<'_>) -> Result<Answer, Failed> {
        let mut request = self.agent_for(address).get(address);
        let login = self.credentials.login(address);
        if let Some(login) = login {
            request = request.header("Authorization", login.header);
        }
        if question.from > 0 {
            request = request.header("Range", format!("bytes={}-", question.from));
        }
        if let Some(etag) = question.etag {
            request = request.header("If-None-Match", etag);
        }
        if let Some(modified) = question.modified {
            request = request.header("If-Modified-Since", modified);
        }
        let response = request.call().map_err(|error| {
            self.names.doubt();
            failed(address, error)
        })?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.trim().to_owned())
        };
        match status {
            200 | 206 => {}
            304 => return Ok(Answer::Unchanged),
            416 => return Ok(Answer::NoSuchPart),
            408 | 425 | 429 | 500..=599 => {
                let pause = header("retry-after").and_then(|value| value.parse().ok());
                return Err(Failed {
                    cause: Cause::Status {
                        host: address::host(address).into(),
                        status,
                        pause: pause.map(|pause| Duration::from_secs(pause).min(LONGEST_PAUSE)),
                    },
                    passing: true,
                });
            }
            // Some servers say 403 of what does not exist; but not to those who know the password.
            401 | 403 if status == 401 || login.is_some() => {
                return Err(Failed {
                    cause: Cause::Login {
                        host: address::host(address).into(),
                        known: login.map(|login| login.origin.to_owned()),
                    },
                    passing: false,
                });
            }
            403 | 404 | 410 | 451 => return Ok(Answer::Absent),
            _ => {
                return Err(Failed {
                    cause: Cause::Status {
                        host: address::host(address).into(),
                        status,
                        pause: None,
                    },
                    passing: false,
                });
            }
        }
        let length = response.body().content_length();
        let (from, length) = if status == 206 {
            let range = header("content-range");
            let Some(range) = range.as_deref().and_then(content_range) else {
                return Err(Failed {
                    cause: Cause::Range {
                        host: address::host(address).into(),
                    },
                    passing: false,
                });
            };
            range
        } else {
            (0, length)
        };
        let (etag, modified) = (header("etag"), header("last-modified"));
        Ok(Answer::Content(Content {
            // The callers know how long a file may be.
            reader: Box::new(
                response
                    .into_body()
                    .into_with_config()
                    .limit(u64::MAX)
                    .reader(),
            ),
            from,
            length,
            etag,
            modified,
        }))
    }
}

/// The connections' common settings, with certain certificates.
fn agent(settings: &Settings, roots: RootCerts, names: &Names) -> Result<ureq::Agent, Error> {
    let config = settings
        .route
        .agent()?
        // Files are named by the digest of their own bytes: none may be packed on the way.
        .accept_encoding("identity")
        .max_redirects(REDIRECTS)
        // A login is for the host it was given for, wherever that host may point.
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .tls_config(kasmforge_connection::tls(roots))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        // Every worker keeps its connection.
        .max_idle_connections(2 * settings.parallel.max(1))
        .max_idle_connections_per_host(settings.parallel.max(1))
        .build();
    let connector = DefaultConnector::new();
    Ok(ureq::Agent::with_parts(config, connector, names.clone()))
}

/// Reads `bytes 100-199/9678380`: the first byte, and the length of the whole if it is told.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = value.strip_prefix("bytes")?.trim().split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let length = match length.trim() {
        "*" => None,
        length => Some(length.parse().ok()?),
    };
    Some((from.trim().parse().ok()?, length))
}

fn failed(address: &str, error: ureq::Error) -> Failed {
    use ureq::Error as E;
    let host = address::host(address).to_owned();
    let passing = match &error {
        // A certificate that does not hold today will not hold in a second.
        E::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        E::Timeout(_)
        | E::HostNotFound
        | E::ConnectionFailed
        | E::ConnectProxyFailed(_)
        | E::Protocol(_)
        | E::BodyStalled => true,
        _ => false,
    };
    let source = Box::new(error);
    let cause = if is_resolving(&source) {
        Cause::Resolve { host, source }
    } else {
        Cause::Network { host, source }
    };
    Failed { cause, passing }
}

/// Whether a name did not resolve. The standard library has no kind for it, only a text.
fn is_resolving(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(ureq::Timeout::Resolve) => true,
        ureq::Error::Io(error) => error.to_string().contains("failed to lookup address"),
        _ => false,
    }
}

/// Reads a `file:` address.
fn read(path: PathBuf, question: Question<'_>) -> Result<Answer, Failed> {
    let failed = |source| Failed {
        cause: Cause::File {
            path: path.clone(),
            source,
        },
        passing: false,
    };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Absent),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Ok(Answer::Absent);
    }
    if question.from > metadata.len() {
        return Ok(Answer::NoSuchPart);
    }
    file.seek(SeekFrom::Start(question.from)).map_err(failed)?;
    Ok(Answer::Content(Content {
        reader: Box::new(file),
        from: question.from,
        length: Some(metadata.len()),
        etag: None,
        modified: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        assert_eq!(
            content_range("bytes 100-199/9678380"),
            Some((100, Some(9_678_380)))
        );
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for wrong in ["", "bytes */5", "bytes 1-2", "items 1-2/3", "bytes x-2/3"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
