//! What is wanted: a container of an image, its settings, and how its health is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use kasmforge_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Reference, Remains};

/// The container that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desktop {
    /// The image's name; the container is created from it.
    pub reference: Reference,
    /// The id the engine must know that image by (see [`crate::Loaded::image_id`]).
    pub image_id: Digest,
    /// The container's name.
    pub container: String,
    /// How the container is run.
    pub settings: Settings,
    /// When it counts as healthy.
    pub health: Health,
    /// Replaces the container although it is up to date, was not made from this image's
    /// repository, or the image is for another architecture.
    pub force: bool,
    /// Whether the settings are this container's. If not, it keeps its own: it is one of several
    /// of the same image, and the definition's names and ports are another's.
    pub own: bool,
    /// How many earlier generations are kept to go back to; at least one is wise.
    pub keep: usize,
    /// The digest of the image's manifest, to be remembered.
    pub manifest: Option<Digest>,
    /// What is in the image, to be remembered: packages and their versions.
    pub contents: Option<BTreeMap<String, String>>,
    /// Folders of the old container that become volumes of the new one, filled.
    pub adopt: Vec<Adoption>,
    /// Waits, before anything is stopped, until nobody is connected to the desktop.
    pub when_idle: bool,
    /// What was changed in the container that runs, if that was asked already.
    pub remains: Option<Remains>,
}

/// A folder of a container's own layer that becomes a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The folder: absolute, without a slash at its end.
    pub path: String,
    /// The volume's name.
    pub volume: String,
}

/// How a container is run.
///
/// When a container is replaced, what the definition changed since last time takes effect and
/// everything else stays as the container has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Published ports: `6901`, `6901:6901`, `127.0.0.1:6901:6901`, `[::1]:53:53/udp`.
    pub ports: Vec<String>,
    /// Volumes: `name:/path` or `/host/path:/path[:ro]`.
    pub volumes: Vec<String>,
    /// The size of `/dev/shm` in bytes; `None` leaves it to the engine (64 MiB).
    pub shm_size: Option<u64>,
    /// The limit of memory in bytes; `None` sets no limit.
    pub memory: Option<u64>,
    /// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:<times>`.
    pub restart: Option<String>,
    /// Environment variables, over the image's.
    pub environment: BTreeMap<String, String>,
}

/// When a container counts as healthy: it runs, the image's own health check (if it has one)
/// says so, the desktop answers, and every check holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How long all that may take.
    pub timeout: Duration,
    /// The container's port that serves the desktop. It answers if an HTTP request, over TLS or
    /// not, gets 200 or 401 (the desktop asks for a password).
    pub desktop_port: Option<u16>,
    /// Whether the screen is looked at: it must show something, and a window manager must run.
    /// Asked of containers that have a `DISPLAY`.
    pub picture: bool,
    /// Further questions.
    pub checks: Vec<Check>,
}

/// What must hold in the running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A name for reports.
    pub name: String,
    /// The question.
    pub probe: Probe,
    /// How long after the start it may take to come true.
    pub within: Duration,
}

/// One question to a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Something listens on this TCP port of the container.
    Port(u16),
    /// An HTTP request to the container, from here, answers with this status.
    Http {
        /// The container's port.
        port: u16,
        /// Whether TLS is spoken. Certificates are not verified: a desktop makes its own.
        tls: bool,
        /// The path asked for.
        path: String,
        /// The expected status.
        status: u16,
    },
    /// A command in the container ends with status 0.
    Command(Vec<String>),
    /// A file exists in the container.
    File(String),
    /// A process of this name runs in the container.
    Process(String),
}

/// A published port, read from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// The container's port and protocol, as the API writes them: `6901/tcp`.
    pub(crate) container: String,
    /// The address of the host it is bound to; empty for all.
    pub(crate) address: String,
    /// The port of the host; empty for one the engine chooses.
    pub(crate) host: String,
}

impl Port {
    /// Reads `[[address:]port:]port[/protocol]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidPort {
            port: text.to_owned(),
        };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (before, container) = match ports.rsplit_once(':') {
            Some((before, container)) => (Some(before), container),
            None => (None, ports),
        };
        let (address, host) = match before {
            None => ("", ""),
            Some(before) => before.rsplit_once(':').unwrap_or(("", before)),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let number = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
        let fits = number(container)
            && (host.is_empty() || number(host))
            && (address.is_empty() || address.parse::<IpAddr>().is_ok())
            && matches!(protocol, "tcp" | "udp" | "sctp");
        if !fits {
            return Err(invalid());
        }
        Ok(Self {
            container: format!("{container}/{protocol}"),
            address: address.to_owned(),
            host: host.to_owned(),
        })
    }
}

/// A restart policy's name and its number of tries, read from its text.
pub(crate) fn restart_policy(text: &str) -> Result<(&str, Option<i64>), Error> {
    let invalid = || Error::InvalidRestart {
        restart: text.to_owned(),
    };
    match text.split_once(':') {
        Some(("on-failure", tries)) => {
            Ok(("on-failure", Some(tries.parse().map_err(|_| invalid())?)))
        }
        None if matches!(text, "no" | "always" | "unless-stopped" | "on-failure") => {
            Ok((text, None))
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, container, address, host) in [
            ("6901", "6901/tcp", "", ""),
            ("6901:80", "80/tcp", "", "6901"),
            ("127.0.0.1:6901:80", "80/tcp", "127.0.0.1", "6901"),
            ("127.0.0.1::80", "80/tcp", "127.0.0.1", ""),
            ("[::1]:53:53/udp", "53/udp", "::1", "53"),
        ] {
            let port = Port::parse(text).expect(text);
            assert_eq!(
                (&*port.container, &*port.address, &*port.host),
                (container, address, host)
            );
        }
        for text in [
            "",
            "x",
            "0",
            "70000",
            "1-2:1-2",
            "localhost:1:1",
            "1/icmp",
            ":",
        ] {
            assert!(Port::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(
            restart_policy("on-failure:3").expect("a policy"),
            ("on-failure", Some(3))
        );
        assert_eq!(
            restart_policy("always").expect("a policy"),
            ("always", None)
        );
        for text in ["", "never", "always:3", "on-failure:x"] {
            assert!(restart_policy(text).is_err(), "{text}");
        }
    }
}
