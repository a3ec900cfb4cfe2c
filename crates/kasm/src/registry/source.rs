//! Where a registry is read from: a folder, or the web.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kasmforge_connection::Route;

/// No file of a registry is larger; a server that sends more is not listened to.
const LARGEST: u64 = 32 << 20;

/// How long one file may take.
const WHOLE: Duration = Duration::from_secs(60);

/// How often an answer may point elsewhere.
const REDIRECTS: u32 = 5;

/// The files of a registry.
pub trait Source: Sync {
    /// The file as a person would name it.
    fn name(&self, path: &str) -> String;

    /// A file's bytes, by its path below the registry's root; `None` if there is none.
    ///
    /// # Errors
    /// It is there, perhaps, but cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// Whether asking for files that may not be there costs nothing.
    fn is_near(&self) -> bool;
}

/// A file of a registry that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file on disk.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An address that could not be asked.
    #[error("cannot fetch {url}")]
    Fetch {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A server that answered with something else than the file.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// A file that is too large to be one of a registry's.
    #[error("{name} has more than {} MB; no file of a registry is so large", LARGEST >> 20)]
    Large {
        /// The file.
        name: String,
    },
}

impl Source for PathBuf {
    fn name(&self, path: &str) -> String {
        self.join(path).display().to_string()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let path = self.join(path);
        let failed = |source| SourceError::File {
            path: path.clone(),
            source,
        };
        match File::open(&path) {
            Ok(file) if file.metadata().is_ok_and(|found| found.is_dir()) => Ok(None),
            Ok(file) => bounded(file, || path.display().to_string())?
                .map(Some)
                .map_err(failed),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn is_near(&self) -> bool {
        true
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Reads to the end, but no more than a registry's files have.
fn bounded(
    reader: impl Read,
    name: impl FnOnce() -> String,
) -> Result<io::Result<Vec<u8>>, SourceError> {
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > LARGEST {
        return Err(SourceError::Large { name: name() });
    }
    Ok(read.map(|_| bytes))
}

/// A registry on the web.
#[derive(Debug)]
pub struct Web {
    agent: ureq::Agent,
    /// Ends in `/`.
    base: String,
}

impl Web {
    /// A registry below an address.
    ///
    /// # Errors
    /// The certificates or the proxy are no good.
    pub fn new(route: &Route, base: &str) -> Result<Self, kasmforge_connection::Error> {
        let config = route
            .agent()?
            .max_redirects(REDIRECTS)
            .tls_config(kasmforge_connection::tls(route.roots()?))
            .timeout_global(Some(WHOLE))
            .build();
        Ok(Self {
            agent: ureq::Agent::new_with_config(config),
            base: format!("{}/", base.trim_end_matches('/')),
        })
    }

    /// The folder of an address, for a file whose address is known.
    #[must_use]
    pub fn folder_of(url: &str) -> (&str, &str) {
        url.rsplit_once('/').unwrap_or(("", url))
    }
}

impl Source for Web {
    fn name(&self, path: &str) -> String {
        format!("{}{}", self.base, escaped(path))
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let url = self.name(path);
        let failed = |source| SourceError::Fetch {
            url: url.clone(),
            source: Box::new(source),
        };
        let answer = self.agent.get(&url).call().map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            // Static hosts answer 403 for what is not there when they may not be listed.
            403 | 404 | 410 => return Ok(None),
            status => return Err(SourceError::Status { url, status }),
        }
        bounded(answer.into_body().into_reader(), || url.clone())?
            .map(Some)
            .map_err(|error| failed(error.into()))
    }

    fn is_near(&self) -> bool {
        false
    }
}

/// Reads several files at once; the answers are in the order asked.
pub(crate) fn read_all(
    source: &dyn Source,
    paths: &[String],
) -> Vec<Result<Option<Vec<u8>>, SourceError>> {
    /// Servers of static files take so many connections from anyone.
    const READERS: usize = 8;
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..READERS.min(paths.len()) {
            scope.spawn(|| {
                while let Some((index, path)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    paths.get(index).map(|path| (index, path))
                } {
                    let answer = source.read(path);
                    answers
                        .lock()
                        .expect("no reader panics")
                        .insert(index, answer);
                }
            });
        }
    });
    let answers = answers.into_inner().expect("no reader panics");
    answers.into_values().collect()
}

/// A path in the form addresses have (RFC 3986): everything but unreserved characters and `/` is
/// escaped.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Whether a text is the plain name of a file: nothing that leads elsewhere.
pub(crate) fn is_file_name(text: &str) -> bool {
    Path::new(text).file_name() == Some(text.as_ref()) && !text.contains(['\\', '\0'])
}
