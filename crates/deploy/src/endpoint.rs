//! Where the engine is: hosts, contexts and TLS material, as the `docker` command finds them.
//!
//! bollard knows `DOCKER_HOST` only; Colima, Docker Desktop and rootless engines are found through
//! contexts (`docker context`), which are files below the Docker configuration folder:
//! `config.json` names the current one, `contexts/meta/<sha256 of the name>/meta.json` holds its
//! address and `contexts/tls/<the same>/docker/` its certificates.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kasmforge_digest::Digest;
use serde::Deserialize;

use crate::Error;
use crate::ssh::SshHost;

/// The system-wide engine's socket.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// What the environment says of the engine. The caller reads it; this crate never does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`: the configuration folder; `~/.docker` if absent.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY`: anything but nothing asks for TLS on `tcp://` hosts.
    pub docker_tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`: the folder of `ca.pem`, `cert.pem` and `key.pem`.
    pub docker_cert_path: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where a rootless engine has its socket.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The folder in which upgrades are written down, `$XDG_STATE_HOME/kasmforge`: without one
    /// nothing is upgraded.
    pub state: Option<PathBuf>,
}

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// How it is reached.
    pub transport: Transport,
    /// The context that named it, if one did.
    pub context: Option<String>,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A unix socket of this machine.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// The folder of `ca.pem`, `cert.pem` and `key.pem`; `None` speaks plain HTTP.
        certificates: Option<PathBuf>,
    },
    /// Another machine's engine, through ssh.
    Ssh(SshHost),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
            Transport::Tcp { host, port, .. } if host.contains(':') => {
                write!(f, "tcp://[{host}]:{port}")
            }
            Transport::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Transport::Ssh(host) => host.fmt(f),
        }
    }
}

impl Endpoint {
    /// Whether the engine shares this machine's file system and, usually, its network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.transport, Transport::Unix(_))
    }

    /// Finds the engine's address: `host` if given, else `DOCKER_HOST`, else the context that
    /// `DOCKER_CONTEXT` or `config.json` names, else the first socket that exists.
    ///
    /// # Errors
    /// If an address cannot be used or a named context cannot be read. Whether anything answers
    /// is not asked here.
    pub fn find(host: Option<&str>, environment: &Environment) -> Result<Self, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(host) = host
            .map(str::to_owned)
            .or_else(|| given(&environment.docker_host))
        {
            let verify = given(&environment.docker_tls_verify).is_some();
            let certificates = verify.then(|| environment.certificates()).flatten();
            return Ok(Self {
                transport: parse_host(&host, certificates)?,
                context: None,
            });
        }
        let context = match given(&environment.docker_context) {
            Some(name) => Some(name),
            None => environment.current_context()?,
        };
        match context.filter(|name| name != "default") {
            Some(name) => environment.context(&name),
            None => Ok(Self {
                transport: Transport::Unix(environment.socket()),
                context: None,
            }),
        }
    }
}

/// The part of `config.json` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

/// A context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<MetaEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetaEndpoint {
    host: Option<String>,
}

impl Environment {
    fn configuration(&self) -> Option<PathBuf> {
        let given = self
            .docker_config
            .clone()
            .filter(|path| !path.as_os_str().is_empty());
        given.or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }

    fn certificates(&self) -> Option<PathBuf> {
        let given = self
            .docker_cert_path
            .clone()
            .filter(|path| !path.as_os_str().is_empty());
        given.or_else(|| self.configuration())
    }

    fn current_context(&self) -> Result<Option<String>, Error> {
        let Some(folder) = self.configuration() else {
            return Ok(None);
        };
        let path = folder.join("config.json");
        let Some(config) = read_json::<Config>(&path)? else {
            return Ok(None);
        };
        Ok(config.current_context.filter(|name| !name.is_empty()))
    }

    fn context(&self, name: &str) -> Result<Endpoint, Error> {
        let unknown = || Error::UnknownContext {
            name: name.to_owned(),
            known: self.contexts(),
        };
        let folder = self.configuration().ok_or_else(unknown)?.join("contexts");
        let id = Digest::of(name.as_bytes()).hex();
        let meta: Meta =
            read_json(&folder.join("meta").join(&id).join("meta.json"))?.ok_or_else(unknown)?;
        let host = meta
            .endpoints
            .docker
            .and_then(|docker| docker.host)
            .ok_or_else(unknown)?;
        let certificates = folder.join("tls").join(&id).join("docker");
        let transport = parse_host(&host, certificates.is_dir().then_some(certificates))?;
        Ok(Endpoint {
            transport,
            context: Some(name.to_owned()),
        })
    }

    /// The names of the contexts there are, for a message.
    fn contexts(&self) -> Vec<String> {
        let Some(folder) = self.configuration() else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(folder.join("contexts/meta")) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                read_json::<Meta>(&entry.path().join("meta.json"))
                    .ok()
                    .flatten()
            })
            .map(|meta| meta.name)
            .collect();
        names.sort();
        names
    }

    /// The system's socket; where that does not exist, the first of a rootless engine's, Docker
    /// Desktop's, Colima's and Podman's that does.
    fn socket(&self) -> PathBuf {
        let system = PathBuf::from(DEFAULT_SOCKET);
        let others = [
            self.xdg_runtime_dir
                .as_ref()
                .map(|folder| folder.join("docker.sock")),
            self.home
                .as_ref()
                .map(|home| home.join(".docker/run/docker.sock")),
            self.home
                .as_ref()
                .map(|home| home.join(".colima/default/docker.sock")),
            self.xdg_runtime_dir
                .as_ref()
                .map(|folder| folder.join("podman/podman.sock")),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ];
        let there = |path: &PathBuf| path.symlink_metadata().is_ok();
        std::iter::once(system.clone())
            .chain(others.into_iter().flatten())
            .find(there)
            .unwrap_or(system)
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => {
            return Err(Error::ReadConfiguration {
                path: path.to_owned(),
                source,
            });
        }
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(source) => Err(Error::ParseConfiguration {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse_host(text: &str, certificates: Option<PathBuf>) -> Result<Transport, Error> {
    let invalid = || Error::InvalidHost {
        host: text.to_owned(),
    };
    let (scheme, rest) = match text.split_once("://") {
        Some(parts) => parts,
        None if text.starts_with('/') => ("unix", text),
        None => ("tcp", text),
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Transport::Unix(rest.into())),
        "tcp" | "http" | "https" => {
            let authority = rest.trim_end_matches('/');
            let default = if certificates.is_some() { 2376 } else { 2375 };
            let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
                let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
                (host, port.strip_prefix(':'))
            } else {
                match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                }
            };
            if host.is_empty() || host.contains('/') {
                return Err(invalid());
            }
            let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| invalid()))?;
            if scheme == "https" && certificates.is_none() {
                return Err(Error::TlsWithoutCertificates {
                    host: text.to_owned(),
                });
            }
            Ok(Transport::Tcp {
                host: host.to_owned(),
                port,
                certificates,
            })
        }
        "ssh" => ssh(rest).ok_or_else(invalid),
        _ => Err(invalid()),
    }
}

/// Reads `[user@]host[:port][/path/of/the/socket]`.
fn ssh(rest: &str) -> Option<Transport> {
    let (authority, socket) = match rest.find('/') {
        Some(slash) => (&rest[..slash], Some(&rest[slash..])),
        None => (rest, None),
    };
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (host, port.strip_prefix(':'))
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    // What begins with a dash would be an option to ssh.
    let word = |text: &str| !text.is_empty() && !text.starts_with('-');
    if !word(host) || user.is_some_and(|user| !word(user) || user.contains(':')) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    Some(Transport::Ssh(SshHost {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
        socket: socket.filter(|path| *path != "/").map(str::to_owned),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &str) -> Transport {
        Transport::Unix(path.into())
    }

    fn tcp(host: &str, port: u16) -> Transport {
        Transport::Tcp {
            host: host.into(),
            port,
            certificates: None,
        }
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    fn add_context(folder: &Path, name: &str, host: &str) {
        let id = Digest::of(name.as_bytes()).hex();
        write(
            &folder.join("contexts/meta").join(id).join("meta.json"),
            &format!(
                r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":false}}}}}}"#
            ),
        );
    }

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("unix:///run/x.sock", unix("/run/x.sock")),
            ("/run/x.sock", unix("/run/x.sock")),
            ("tcp://box:99", tcp("box", 99)),
            ("tcp://box", tcp("box", 2375)),
            ("box:99", tcp("box", 99)),
            ("tcp://[::1]:99", tcp("::1", 99)),
            ("http://127.0.0.1:2375/", tcp("127.0.0.1", 2375)),
        ] {
            assert_eq!(parse_host(text, None).expect(text), expected);
        }
        for text in [
            "",
            "unix://x",
            "tcp://",
            "tcp://a:b",
            "fd://3",
            "tcp://[::1",
        ] {
            assert!(
                matches!(parse_host(text, None), Err(Error::InvalidHost { .. })),
                "{text}"
            );
        }
        for text in [
            "ssh://box",
            "ssh://me@box:22",
            "ssh://me@box/run/docker.sock",
        ] {
            let transport = parse_host(text, None).expect(text);
            let endpoint = Endpoint {
                transport,
                context: None,
            };
            assert_eq!(endpoint.to_string(), text);
            assert!(!endpoint.is_local());
        }
        for text in [
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me:secret@box",
            "ssh://box:x",
        ] {
            assert!(
                matches!(parse_host(text, None), Err(Error::InvalidHost { .. })),
                "{text}"
            );
        }
        let tls = parse_host("tcp://box", Some("/certificates".into())).expect("a host");
        assert!(matches!(
            tls,
            Transport::Tcp {
                port: 2376,
                certificates: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn the_nearest_word_on_the_engine_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        add_context(folder.path(), "colima", "unix:///colima.sock");
        add_context(folder.path(), "far", "tcp://far:1");
        write(
            &folder.path().join("config.json"),
            r#"{"auths":{},"currentContext":"colima"}"#,
        );
        let mut environment = Environment {
            docker_config: Some(folder.path().to_owned()),
            ..Environment::default()
        };
        let find = |host, environment: &Environment| {
            Endpoint::find(host, environment).expect("an endpoint")
        };

        assert_eq!(
            find(None, &environment),
            Endpoint {
                transport: unix("/colima.sock"),
                context: Some("colima".into())
            }
        );
        environment.docker_context = Some("far".into());
        assert_eq!(find(None, &environment).transport, tcp("far", 1));
        environment.docker_context = Some("default".into());
        assert_eq!(find(None, &environment).context, None);
        environment.docker_host = Some("unix:///host.sock".into());
        assert_eq!(find(None, &environment).transport, unix("/host.sock"));
        assert_eq!(
            find(Some("unix:///flag.sock"), &environment).transport,
            unix("/flag.sock")
        );

        environment.docker_host = None;
        environment.docker_context = Some("near".into());
        let error = Endpoint::find(None, &environment).expect_err("no such context");
        assert_eq!(
            error.to_string(),
            "there is no Docker context `near` (there are: colima, far); `docker context ls` lists them"
        );
    }

    #[test]
    fn a_rootless_socket_is_found_where_the_system_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        write(&socket, "");
        let environment = Environment {
            xdg_runtime_dir: Some(folder.path().to_owned()),
            ..Environment::default()
        };
        let expected = if Path::new(DEFAULT_SOCKET).exists() {
            PathBuf::from(DEFAULT_SOCKET)
        } else {
            socket
        };
        assert_eq!(environment.socket(), expected);
    }
}
