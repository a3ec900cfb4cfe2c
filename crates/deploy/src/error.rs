//! What can go wrong, in words that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kasmforge_digest::Digest;

use crate::Reference;

/// What went wrong between us and an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Docker's configuration could not be read.
    #[error("could not read Docker's configuration `{path}`")]
    ReadConfiguration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Docker's configuration is not the JSON it should be.
    #[error("Docker's configuration `{path}` is not valid")]
    ParseConfiguration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A context was named that does not exist.
    #[error(
        "there is no Docker context `{name}` (there are: {}); `docker context ls` lists them",
        list(known)
    )]
    UnknownContext {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An engine's address could not be understood.
    #[error(
        "`{host}` is not an engine's address; write `unix:///var/run/docker.sock`, \
         `tcp://host:2375` or `ssh://user@host`"
    )]
    InvalidHost {
        /// The address.
        host: String,
    },
    /// The engine behind ssh cannot be reached.
    #[error(
        "the engine at {endpoint} cannot be reached; ssh says: {said}\n  \
         (it must work without kasmforge, too: `ssh HOST docker system dial-stdio`)"
    )]
    SshFailed {
        /// The address.
        endpoint: String,
        /// What ssh or the far `docker` said last.
        said: String,
    },
    /// The engine is older than any this was tried with.
    #[error("the engine at {endpoint} is version {version}; 20.10 or newer is needed")]
    TooOld {
        /// The address.
        endpoint: String,
        /// Its version.
        version: String,
    },
    /// TLS was asked for, but not with what.
    #[error(
        "`{host}` asks for TLS without certificates; set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
    )]
    TlsWithoutCertificates {
        /// The address.
        host: String,
    },
    /// The engine's socket does not exist.
    #[error(
        "no Docker engine runs here: `{path}` does not exist; \
         start it (`sudo systemctl start docker`, or `colima start`), \
         or say where it is with DOCKER_HOST"
    )]
    NoSocket {
        /// The socket.
        path: PathBuf,
    },
    /// The engine's socket may not be used.
    #[error(
        "you may not use the Docker engine at `{path}`; \
         join its group with `sudo usermod -aG docker \"$USER\"` and log in again"
    )]
    SocketForbidden {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody answers at the engine's address.
    #[error(
        "the Docker engine at {endpoint} is not running; \
         start it (`sudo systemctl start docker`, or `colima start`)"
    )]
    NotRunning {
        /// The engine's address.
        endpoint: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// What answers is no Docker engine, or speaks another protocol (TLS).
    #[error(
        "what answers at {endpoint} does not speak as a Docker engine does; is it the right address, with or without TLS?"
    )]
    NotAnEngine {
        /// The address.
        endpoint: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The client could not be made.
    #[error("could not prepare the connection to {endpoint}")]
    Client {
        /// The engine's address.
        endpoint: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A request to the engine failed.
    #[error("the engine could not {action} `{subject}`")]
    Request {
        /// What it was asked to do: a verb.
        action: &'static str,
        /// To what.
        subject: String,
        /// Why.
        #[source]
        source: Cause,
    },

    /// An image's name is not one.
    #[error("`{reference}` is not an image's name with a tag")]
    InvalidReference {
        /// The name.
        reference: String,
    },
    /// The image archive could not be read.
    #[error("could not read the image archive `{path}`")]
    ReadArchive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image archive is not what its description says.
    #[error("the image archive `{path}` is damaged: {problem}; build it again")]
    DamagedArchive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The engine took the archive and then refused the image.
    #[error(
        "the engine refused the image `{reference}`, whose name was not touched; it said: {said}"
    )]
    ImageRefused {
        /// The name the image was to have.
        reference: Reference,
        /// The engine's words.
        said: String,
    },
    /// The engine has another image than the one sent.
    #[error(
        "the engine made another image of `{reference}` than was sent ({problem}); its name was not touched"
    )]
    ImageDiffers {
        /// The name the image was to have.
        reference: Reference,
        /// What differs.
        problem: String,
    },
    /// The engine stopped reading.
    #[error("the engine took nothing for {} seconds, after {sent} of {length} bytes", patience.as_secs())]
    Stalled {
        /// Bytes sent.
        sent: u64,
        /// Bytes to send.
        length: u64,
        /// How long we waited.
        patience: Duration,
    },

    /// The engine does not have the wanted image.
    #[error("the engine has no image `{reference}` with the id {id}; load it first")]
    ImageMissing {
        /// The image's name.
        reference: Reference,
        /// The id it should have.
        id: Digest,
        /// The id it has, if the name exists.
        found: Option<String>,
    },
    /// A port to publish cannot be understood.
    #[error("`{port}` is not a port to publish; write `6901:6901` or `127.0.0.1:6901:6901`")]
    InvalidPort {
        /// Its text.
        port: String,
    },
    /// A restart policy cannot be understood.
    #[error(
        "`{restart}` is not a restart policy; write `no`, `always`, `unless-stopped` or `on-failure`"
    )]
    InvalidRestart {
        /// Its text.
        restart: String,
    },
    /// A host port is in use.
    #[error(
        "port {port} of the host is in use by {}; free it, or publish another port",
        holder(by)
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The container that publishes it; `None` if it is no container of this engine.
        by: Option<String>,
    },
    /// There is no such container.
    #[error("there is no container `{container}`")]
    NoContainer {
        /// Its name.
        container: String,
    },
    /// The container does not run.
    #[error("the container `{container}` does not run; `kasmforge upgrade` starts it")]
    Stopped {
        /// Its name.
        container: String,
    },
    /// containerd could not be given an image.
    #[error(
        "containerd at {socket} could not be given the image; it is spoken to with `ctr`, which \
         must be installed and, usually, run by root"
    )]
    Containerd {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The container of that name is not a desktop of ours.
    #[error(
        "the container `{container}` runs `{image}`, which is something else; \
         give the desktop another name, or replace that container with --force"
    )]
    AnotherContainer {
        /// Its name.
        container: String,
        /// Its image's name.
        image: String,
    },
    /// The container cannot be replaced so that it could come back.
    #[error("the container `{container}` cannot be replaced safely: {}", danger.explain())]
    Unsafe {
        /// Its name.
        container: String,
        /// Why.
        danger: Danger,
    },
    /// There is no generation to go back to.
    #[error("there is no earlier generation of `{container}` to go back to")]
    NoPrevious {
        /// The container's name.
        container: String,
    },
    /// The generation asked for is not kept.
    #[error(
        "generation {wanted} of `{container}` {}; there {}",
        if *current { "is the one that is there now" } else { "is not kept" },
        numbers(there)
    )]
    NoGeneration {
        /// The container's name.
        container: String,
        /// The generation asked for.
        wanted: u64,
        /// Whether it is the present one.
        current: bool,
        /// The generations that can be gone back to.
        there: Vec<u64>,
    },
    /// A record of ours could not be kept.
    #[error("could not {action} `{path}`, where upgrades are written down")]
    State {
        /// What was attempted: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record of ours is damaged.
    #[error(
        "`{path}`, where an upgrade was written down, is damaged; look with `docker ps -a` at what \
         is there, then remove that file"
    )]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no place for records.
    #[error("there is no place to write an upgrade down; set HOME or XDG_STATE_HOME")]
    NoState,
    /// Somebody else is upgrading the same desktop.
    #[error(
        "`{container}` is being upgraded by somebody else{}",
        under_way(waiting)
    )]
    UnderWay {
        /// The container's name.
        container: String,
        /// The new container, if it was left or is being made by another machine.
        waiting: Option<String>,
    },
    /// The image is made for another machine.
    #[error(
        "the image `{reference}` is for {image}, and the engine's machine is {engine}; build it \
         there, or, if that machine can emulate {image}, use --force"
    )]
    OtherArchitecture {
        /// The image's name.
        reference: Reference,
        /// The image's architecture.
        image: String,
        /// The engine's.
        engine: String,
    },
    /// A folder cannot become a volume.
    #[error("`{path}` cannot be taken over into a volume: {why}")]
    NotAdopted {
        /// The folder.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The new container is healthy and serves, but something was left to do.
    #[error(
        "the new container of `{container}` (generation {generation}) is healthy and serves, but \
         not all could be tidied up; `kasmforge upgrade --resume` goes on"
    )]
    Unfinished {
        /// The container's name.
        container: String,
        /// The generation that serves.
        generation: u64,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// The container that is back is not healthy.
    #[error("`{container}` runs as before, but is not healthy: {reason}")]
    Ill {
        /// The container's name.
        container: String,
        /// Why.
        reason: Reason,
    },
    /// The connection to the engine broke.
    #[error(
        "the connection to the engine broke while it was asked to {action} `{subject}`; ask again"
    )]
    Broken {
        /// What it was asked to do: a verb.
        action: &'static str,
        /// To what.
        subject: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The engine's disk is full.
    #[error(
        "the engine's disk is full: make room there (`docker system df`, `docker system prune`), \
         then try again"
    )]
    EngineFull {
        /// The engine's words.
        #[source]
        source: Cause,
    },
    /// The new container did not become healthy, and the old one was brought back.
    #[error(transparent)]
    Failed(Box<Failure>),
}

/// What lies below an error: of the network, the protocol or the engine itself.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a container cannot be replaced with a way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Danger {
    /// It is removed as soon as it stops (`--rm`).
    RemovedWhenStopped,
    /// Podman starts it again although it was stopped, and cannot be told not to.
    RestartedByPodman,
    /// Another container is bound to it and would be left without.
    SharedWith {
        /// The other container.
        by: String,
        /// How it is bound.
        how: &'static str,
    },
}

impl Danger {
    fn explain(&self) -> String {
        match self {
            Self::RemovedWhenStopped => {
                "it was started with --rm and vanishes when it stops, so it could not come back; \
                 stop it, then upgrade"
                    .to_owned()
            }
            Self::RestartedByPodman => {
                "Podman restarts it by its policy and cannot be told to leave it stopped; create it \
                 with the restart policy `no`"
                    .to_owned()
            }
            Self::SharedWith { by, how } => format!(
                "the container `{by}` {how}, and is bound to this very container; remove `{by}`, \
                 upgrade, then create it again"
            ),
        }
    }
}

/// A container that did not become healthy.
#[derive(Debug)]
pub struct Failure {
    /// The name it was to have.
    pub container: String,
    /// The image id it was to replace, if there was a container.
    pub from: Option<String>,
    /// Its image's id.
    pub to: String,
    /// What went wrong.
    pub reason: Reason,
    /// The last lines of its log.
    pub logs: Vec<String>,
    /// The last lines of what its services wrote about their health.
    pub health_log: Vec<String>,
    /// The last lines of what its session wrote.
    pub session_log: Vec<String>,
    /// A picture of its screen, if it had one.
    pub screenshot: Option<PathBuf>,
    /// The name under which it is kept, stopped, for a closer look.
    pub kept: Option<String>,
    /// What became of the container it was to replace.
    pub old: Old,
    /// How long nothing answered, in milliseconds.
    pub downtime_ms: u64,
}

/// What became of the container that was to be replaced.
#[derive(Debug)]
pub enum Old {
    /// There was none.
    None,
    /// It did not run before and was left so.
    LeftStopped,
    /// It runs again.
    Restored,
    /// It could not be brought back.
    Lost(Box<Error>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the new container of `{}` failed: {}; ",
            self.container, self.reason
        )?;
        match &self.old {
            Old::None => f.write_str("there was none before it")?,
            Old::LeftStopped => f.write_str("the previous one is as it was, stopped")?,
            Old::Restored => f.write_str("the previous one runs again")?,
            Old::Lost(error) => write!(
                f,
                "AND THE PREVIOUS ONE COULD NOT BE STARTED AGAIN ({error}); `kasmforge rollback` \
                 tries again"
            )?,
        }
        match &self.kept {
            Some(name) => write!(f, " (the failed one is kept as `{name}`)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Engine(error) => std::error::Error::source(&**error),
            _ => None,
        }
    }
}

/// Why a container does not count as healthy.
#[derive(Debug)]
pub enum Reason {
    /// The engine failed at something, the start say.
    Engine(Box<Error>),
    /// It ended.
    Exited {
        /// Its exit status.
        status: i64,
        /// Whether it ran out of memory.
        out_of_memory: bool,
    },
    /// It ended, and its restart policy started it again.
    Restarted {
        /// The exit status of the last run.
        status: i64,
    },
    /// The image's health check says so.
    Unhealthy {
        /// What the health check wrote last.
        said: String,
    },
    /// A check did not come true in its time.
    Check {
        /// The check's name.
        name: String,
        /// What was seen instead.
        seen: String,
    },
    /// Not everything came true in the time there was.
    Timeout {
        /// How long that was.
        after: Duration,
        /// What was still waited for.
        waiting: Vec<String>,
    },
    /// It vanished.
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Exited {
                status,
                out_of_memory: true,
            } => {
                write!(f, "it ran out of memory and ended with status {status}")
            }
            Self::Exited { status, .. } => write!(f, "it ended with status {status}"),
            Self::Restarted { status } => {
                write!(f, "it ended with status {status} and keeps being restarted")
            }
            Self::Unhealthy { said } if said.is_empty() => {
                f.write_str("its health check says it is unhealthy")
            }
            Self::Unhealthy { said } => write!(f, "its health check says it is unhealthy: {said}"),
            Self::Check { name, seen } => write!(f, "the check `{name}` does not hold: {seen}"),
            Self::Timeout { after, waiting } => {
                write!(
                    f,
                    "after {} s it was not healthy yet: {}",
                    after.as_secs(),
                    waiting.join("; ")
                )
            }
            Self::Gone => f.write_str("it vanished"),
        }
    }
}

impl Error {
    /// Whether the engine went away, so that asking again may do.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::NotRunning { .. } | Self::NoSocket { .. } | Self::Broken { .. }
        )
    }
}

fn numbers(numbers: &[u64]) -> String {
    let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
    match words.as_slice() {
        [] => "is none to go back to".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

fn under_way(waiting: &Option<String>) -> String {
    match waiting {
        None => "; try again when that is done".to_owned(),
        Some(waiting) => format!(
            ": `{waiting}` waits to take its place. If that was interrupted, on another machine \
             say, `kasmforge upgrade --resume` finishes it and `kasmforge rollback` undoes it"
        ),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn holder(by: &Option<String>) -> String {
    match by {
        Some(container) => format!("the container `{container}`"),
        None => "another program".to_owned(),
    }
}
