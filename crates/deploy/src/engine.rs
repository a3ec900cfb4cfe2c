//! A connection to an engine.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use kasmforge_digest::Digest;
use tokio::runtime::Runtime;

use crate::endpoint::{Endpoint, Environment, Transport};
use crate::ssh::Relay;
use crate::{Cause, Error, Reference};

/// How long an ordinary request may take until its answer begins, in seconds.
const REQUEST_SECONDS: u64 = 60;
/// How long something that must be there at once may take.
const GREETING: Duration = Duration::from_secs(10);
/// How long ssh may take to let us in.
const SSH_GREETING: Duration = Duration::from_secs(120);
/// The oldest version of the API that is known to do: Docker 20.10's.
const OLDEST: (u32, u32) = (1, 41);

/// An engine that answered.
///
/// All its methods block; the futures below them are run here and nowhere else. It must not be
/// used from within an async runtime.
pub struct Engine {
    pub(crate) docker: Docker,
    pub(crate) endpoint: Endpoint,
    runtime: Runtime,
    about: About,
    /// Whether containers' own addresses can be reached from here.
    pub(crate) bridged: bool,
    /// Names this engine among others, also when its address changes.
    id: String,
    /// Where upgrades are written down.
    state: Option<PathBuf>,
    relay: Option<Relay>,
}

/// What is known of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub product: Product,
    /// Its version: `20.10.24`.
    pub version: String,
    /// The newest version of the API it speaks: `1.41`.
    pub api_version: String,
    /// How it keeps images.
    pub store: Store,
    /// Its address.
    pub endpoint: String,
    /// The context that named it, if one did.
    pub context: Option<String>,
    /// The name of its machine.
    pub name: String,
    /// The architecture of its machine, as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
}

/// Engines that speak the same language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Docker's engine.
    Docker,
    /// Docker Desktop: an engine in a virtual machine.
    DockerDesktop,
    /// Colima: an engine in a virtual machine.
    Colima,
    /// Podman's service.
    Podman,
}

impl Product {
    /// The product's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::DockerDesktop => "Docker Desktop",
            Self::Colima => "Colima",
            Self::Podman => "Podman",
        }
    }
}

/// How an engine keeps images. Its version does not tell: upgraded engines keep the old store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The graph drivers': an image's id is its configuration's digest.
    Classic,
    /// containerd's: an image's id is its manifest's digest.
    Containerd,
}

impl Store {
    /// The store's name: `classic` or `containerd`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Containerd => "containerd",
        }
    }
}

/// Connects to the engine that `host`, the environment or Docker's contexts name.
///
/// # Errors
/// If its address cannot be found, nobody answers there, or it is no engine; the text says what
/// mends it.
pub fn connect(host: Option<&str>, environment: &Environment) -> Result<Engine, Error> {
    let endpoint = Endpoint::find(host, environment)?;
    knock(&endpoint)?;
    let client = |source: Cause| Error::Client {
        endpoint: endpoint.to_string(),
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| client(error.into()))?;
    let relay = match &endpoint.transport {
        Transport::Ssh(host) => Some(Relay::open(host).map_err(|error| client(error.into()))?),
        _ => None,
    };
    let docker = docker(&endpoint, relay.as_ref()).map_err(|error| client(error.into()))?;

    let stranger = |source: bollard::errors::Error| {
        let endpoint = endpoint.to_string();
        match relay.as_ref().and_then(Relay::said) {
            Some(said) => Error::SshFailed { endpoint, said },
            None => Error::NotAnEngine {
                endpoint,
                source: source.into(),
            },
        }
    };
    let greeting = docker.clone().with_timeout(match relay {
        // Somebody may have to type a password first.
        Some(_) => SSH_GREETING,
        None => GREETING,
    });
    let version = runtime.block_on(greeting.version()).map_err(stranger)?;
    let info = runtime.block_on(docker.info()).map_err(stranger)?;
    let snapshots = info.driver_status.iter().flatten().any(|pair| {
        pair.first().is_some_and(|key| key == "driver-type")
            && pair
                .get(1)
                .is_some_and(|value| value.starts_with("io.containerd.snapshotter"))
    });
    let security = info.security_options.unwrap_or_default();
    let rootless = security.iter().any(|option| option.contains("rootless"));
    let system = info.operating_system.unwrap_or_default();
    let name = info.name.unwrap_or_default();
    let podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name.contains("Podman"));
    let product = if podman {
        Product::Podman
    } else if system.contains("Docker Desktop") {
        Product::DockerDesktop
    } else if name.starts_with("colima") {
        Product::Colima
    } else {
        Product::Docker
    };
    // An engine's id alone is not enough: those of one machine, or of copies of it, share theirs.
    let id = match (info.id, info.docker_root_dir) {
        (Some(id), Some(root)) if !id.is_empty() => format!("{id} {name} {root}"),
        _ => endpoint.to_string(),
    };
    let about = About {
        product,
        version: version.version.unwrap_or_default(),
        api_version: version.api_version.unwrap_or_default(),
        store: if snapshots {
            Store::Containerd
        } else {
            Store::Classic
        },
        endpoint: endpoint.to_string(),
        context: endpoint.context.clone(),
        name,
        architecture: version.arch.unwrap_or_default(),
        rootless,
    };
    tracing::debug!(?about, "connected");
    if about.product != Product::Podman && !at_least(&about.api_version, OLDEST) {
        return Err(Error::TooOld {
            endpoint: endpoint.to_string(),
            version: about.version,
        });
    }
    let bridged = cfg!(target_os = "linux")
        && endpoint.is_local()
        && !rootless
        && matches!(product, Product::Docker | Product::Podman);
    Ok(Engine {
        docker,
        endpoint,
        runtime,
        about,
        bridged,
        id,
        state: environment.state.clone(),
        relay,
    })
}

/// Whether a version of the API is this one or a newer one.
fn at_least(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}

/// Opens and closes a connection, because that tells apart what the client would not.
fn knock(endpoint: &Endpoint) -> Result<(), Error> {
    let silent = |source: std::io::Error| Error::NotRunning {
        endpoint: endpoint.to_string(),
        source: source.into(),
    };
    match &endpoint.transport {
        Transport::Unix(path) => match UnixStream::connect(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound => Error::NoSocket { path: path.clone() },
                ErrorKind::PermissionDenied => Error::SocketForbidden { path: path.clone() },
                _ => silent(error),
            }),
        },
        Transport::Tcp { host, port, .. } => {
            let addresses = (host.as_str(), *port).to_socket_addrs().map_err(silent)?;
            let mut last = std::io::Error::from(ErrorKind::AddrNotAvailable);
            for address in addresses {
                match TcpStream::connect_timeout(&address, GREETING) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(silent(last))
        }
        // Who answers is known only after a greeting.
        Transport::Ssh(_) => Ok(()),
    }
}

fn docker(endpoint: &Endpoint, relay: Option<&Relay>) -> Result<Docker, bollard::errors::Error> {
    let address = match relay {
        Some(relay) => format!("unix://{}", relay.socket().display()),
        None => endpoint.to_string(),
    };
    match &endpoint.transport {
        Transport::Unix(_) | Transport::Ssh(_) => {
            Docker::connect_with_unix(&address, REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
        Transport::Tcp {
            certificates: None, ..
        } => Docker::connect_with_http(&address, REQUEST_SECONDS, API_DEFAULT_VERSION),
        Transport::Tcp {
            certificates: Some(folder),
            ..
        } => Docker::connect_with_ssl(
            &address,
            &folder.join("key.pem"),
            &folder.join("cert.pem"),
            &folder.join("ca.pem"),
            REQUEST_SECONDS,
            API_DEFAULT_VERSION,
        ),
    }
}

impl Engine {
    /// What is known of the engine.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether the engine speaks this version of the API, `(1, 44)` say.
    pub(crate) fn speaks(&self, major: u32, minor: u32) -> bool {
        at_least(&self.about.api_version, (major, minor))
    }

    /// Whether the engine answers now.
    pub(crate) fn answers(&self) -> bool {
        self.wait(self.docker.clone().with_timeout(GREETING).ping())
            .is_ok()
    }

    /// Where the upgrades of a container are written down.
    pub(crate) fn ledger_folder(&self, container: &str) -> Result<PathBuf, Error> {
        let state = self.state.as_ref().ok_or(Error::NoState)?;
        let engine = Digest::of(self.id.as_bytes()).hex();
        Ok(state.join("deploy").join(&engine[..16]).join(container))
    }

    /// Runs a future to its end.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs a request to its end and puts what went wrong into words.
    pub(crate) fn ask<T>(
        &self,
        action: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        self.wait(request)
            .map_err(|error| self.failed(action, subject, error))
    }

    /// As [`Self::ask`], but what is not there is `None`.
    pub(crate) fn find<T>(
        &self,
        action: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<Option<T>, Error> {
        match self.wait(request) {
            Ok(value) => Ok(Some(value)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed(action, subject, error)),
        }
    }

    /// Puts a failed request into words: an engine that went away is told as such.
    pub(crate) fn failed(
        &self,
        action: &'static str,
        subject: &str,
        error: bollard::errors::Error,
    ) -> Error {
        if error.to_string().contains("no space left on device") {
            return Error::EngineFull {
                source: error.into(),
            };
        }
        let refused = matches!(
            error,
            bollard::errors::Error::DockerResponseServerError { .. }
                | bollard::errors::Error::JsonDataError { .. }
                | bollard::errors::Error::DockerStreamError { .. }
                | bollard::errors::Error::RequestTimeoutError
        );
        if refused {
            return Error::Request {
                action,
                subject: subject.to_owned(),
                source: error.into(),
            };
        }
        // What is left is about the connection.
        if let Some(said) = self.relay.as_ref().and_then(Relay::said) {
            return Error::SshFailed {
                endpoint: self.endpoint.to_string(),
                said,
            };
        }
        match knock(&self.endpoint) {
            Err(gone) => gone,
            Ok(()) => Error::Broken {
                action,
                subject: subject.to_owned(),
                source: error.into(),
            },
        }
    }
}

impl Error {
    /// Tells a refused creation in the words of an upgrade.
    pub(crate) fn of_creation(self, container: &str, reference: &Reference, id: Digest) -> Self {
        let Self::Request { source, .. } = &self else {
            return self;
        };
        let refusal = source.downcast_ref::<bollard::errors::Error>();
        match refusal.and_then(status) {
            Some(404) if source.to_string().to_lowercase().contains("image") => {
                Self::ImageMissing {
                    reference: reference.clone(),
                    id,
                    found: None,
                }
            }
            Some(409) => Self::UnderWay {
                container: container.to_owned(),
                waiting: Some(crate::upgrade::new_name(container)),
            },
            _ => self,
        }
    }
}

/// The HTTP status of an engine's refusal.
pub(crate) fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
