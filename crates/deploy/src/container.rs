//! Questions to and small orders for containers.

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerUpdateBody,
    NetworkConnectRequest, PortSummary, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder,
    DownloadFromContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use std::time::Duration;

use crate::Error;
use crate::archive::header_size;
use crate::endpoint::Transport;
use crate::engine::{Engine, Product, status};
use crate::settings::Creation;

/// How long a container may take to stop beyond what it was created with.
const STOP: Duration = Duration::from_secs(600);
/// A health log is read to at most this many bytes.
const LOG_BYTES: usize = 1 << 20;

/// A port of the host that is published or to be.
pub(crate) struct HostPort<'a> {
    /// The address it is bound to; empty for all.
    pub(crate) address: &'a str,
    pub(crate) port: u16,
    pub(crate) protocol: &'a str,
}

/// Where a port of a container can be reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether it is published, and so of use to people.
    pub(crate) published: bool,
}

impl Engine {
    /// The last lines of what a container wrote, standard output and error together.
    ///
    /// # Errors
    /// If there is no such container or its log cannot be read.
    pub fn logs(&self, container: &str, lines: usize) -> Result<Vec<String>, Error> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let text = self.wait(async {
            let mut stream = Box::pin(self.docker.logs(container, Some(options)));
            let mut text = Vec::new();
            while let Some(output) = stream.next().await {
                match output {
                    Ok(output) => text.extend_from_slice(&output.into_bytes()),
                    Err(error) if status(&error) == Some(404) => {
                        return Err(Error::NoContainer {
                            container: container.to_owned(),
                        });
                    }
                    Err(error) => return Err(self.failed("read the log of", container, error)),
                }
            }
            Ok(text)
        })?;
        Ok(last_lines(&text, lines))
    }

    pub(crate) fn container(&self, name: &str) -> Result<Option<ContainerInspectResponse>, Error> {
        let options = None::<InspectContainerOptions>;
        self.find(
            "look at the container",
            name,
            self.docker.inspect_container(name, options),
        )
    }

    pub(crate) fn containers(&self) -> Result<Vec<ContainerSummary>, Error> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        self.ask(
            "list",
            "containers",
            self.docker.list_containers(Some(options)),
        )
    }

    /// Creates a container without starting it. Answers its id.
    pub(crate) fn create(&self, name: &str, creation: Creation) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let create = self.docker.create_container(Some(options), creation.body);
        let id = self.ask("create the container", name, create)?.id;
        for (network, endpoint) in creation.networks {
            let request = NetworkConnectRequest {
                container: id.clone(),
                endpoint_config: Some(endpoint),
            };
            if let Err(error) = self.ask(
                "connect to the network",
                &network,
                self.docker.connect_network(&network, request),
            ) {
                self.remove(&id)?;
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Starts a container, by its id; a host port somebody else has is told as such.
    pub(crate) fn start(&self, name: &str) -> Result<(), Error> {
        let start = self
            .docker
            .start_container(name, None::<StartContainerOptions>);
        match self.wait(start) {
            Ok(()) => Ok(()),
            Err(error) => Err(match taken_port(&error.to_string()) {
                Some(port) => {
                    let host = HostPort {
                        address: "",
                        port,
                        protocol: "tcp",
                    };
                    Error::PortTaken {
                        port,
                        by: self.publisher(&host, name)?,
                    }
                }
                None => self.failed("start the container", name, error),
            }),
        }
    }

    /// Stops a container, as gently as it was created to be; `seconds` hurries.
    pub(crate) fn stop(&self, name: &str, seconds: Option<i32>) -> Result<(), Error> {
        let mut options = StopContainerOptionsBuilder::default();
        if let Some(seconds) = seconds {
            options = options.t(seconds);
        }
        let docker = self.docker.clone().with_timeout(STOP);
        self.ask(
            "stop the container",
            name,
            docker.stop_container(name, Some(options.build())),
        )
    }

    pub(crate) fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        self.ask(
            "rename the container",
            name,
            self.docker.rename_container(name, options),
        )
    }

    /// Removes a container, running or not, if it exists. Its volumes stay: they may be shared.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(false)
            .build();
        let remove = self.docker.remove_container(name, Some(options));
        self.find("remove the container", name, remove).map(|_| ())
    }

    /// Removes a container nobody else knows, with the volumes made for it.
    pub(crate) fn remove_with_volumes(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let remove = self.docker.remove_container(name, Some(options));
        self.find("remove the container", name, remove).map(|_| ())
    }

    pub(crate) fn set_policy(&self, name: &str, policy: RestartPolicy) -> Result<(), Error> {
        let body = ContainerUpdateBody {
            restart_policy: Some(policy),
            ..ContainerUpdateBody::default()
        };
        let update = self.docker.update_container(name, body);
        if self.about().product == Product::Podman {
            // Its older services cannot, and need not: nothing is restarted there by itself.
            return self
                .find("set the restart policy of", name, update)
                .map(drop);
        }
        self.ask("set the restart policy of", name, update)
    }

    /// The last lines of a file in a container, running or not; none if there is no such file.
    pub(crate) fn last_lines_of(&self, container: &str, path: &str, lines: usize) -> Vec<String> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let tar = self.wait(async {
            let mut stream = Box::pin(
                self.docker
                    .download_from_container(container, Some(options)),
            );
            let mut tar = Vec::new();
            while let Some(Ok(part)) = stream.next().await {
                tar.extend_from_slice(&part);
                if tar.len() > LOG_BYTES {
                    break;
                }
            }
            tar
        });
        let size = header_size(&tar)
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(0);
        let content = tar.get(512..).unwrap_or_default();
        last_lines(&content[..size.min(content.len())], lines)
    }

    /// Whether a path of a container, running or not, is a folder.
    pub(crate) fn is_folder(&self, container: &str, path: &str) -> Result<bool, Error> {
        /// Go's `fs.ModeDir`, in which engines tell modes.
        const FOLDER: u32 = 1 << 31;
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(path)
            .build();
        let head = self
            .docker
            .get_container_archive_info(container, Some(options));
        let stat = self.find("look into", path, head)?;
        Ok(stat.is_some_and(|stat| stat.file_mode & FOLDER != 0))
    }

    /// The name of a running container, other than the given, that publishes this port of the
    /// host on this address or one that overlaps it.
    pub(crate) fn publisher(
        &self,
        host: &HostPort<'_>,
        except: &str,
    ) -> Result<Option<String>, Error> {
        let any = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
        let overlaps = |published: &PortSummary| {
            let address = published.ip.as_deref().unwrap_or_default();
            published.public_port == Some(host.port)
                && published
                    .typ
                    .is_none_or(|protocol| protocol.to_string() == host.protocol)
                && (any(address) || any(host.address) || address == host.address)
        };
        let found = self.containers()?.into_iter().find(|summary| {
            summary.id.as_deref() != Some(except) && summary.ports.iter().flatten().any(overlaps)
        });
        Ok(found.as_ref().and_then(summary_name))
    }

    /// Where a port of a container can be reached from here.
    pub(crate) fn reach(&self, container: &ContainerInspectResponse, port: u16) -> Option<Reach> {
        let engine = match &self.endpoint.transport {
            Transport::Unix(_) => "127.0.0.1",
            Transport::Tcp { host, .. } => host.as_str(),
            Transport::Ssh(ssh) => ssh.host.as_str(),
        };
        let mode = container
            .host_config
            .as_ref()
            .and_then(|host| host.network_mode.as_deref());
        if mode == Some("host") {
            return Some(Reach {
                host: engine.to_owned(),
                port,
                published: true,
            });
        }
        let network = container.network_settings.as_ref()?;
        let bindings = network
            .ports
            .as_ref()
            .and_then(|ports| ports.get(&format!("{port}/tcp")));
        let published = bindings
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|binding| {
                let port = binding.host_port.as_ref()?.parse().ok()?;
                let host = match binding.host_ip.as_deref().unwrap_or_default() {
                    "" | "0.0.0.0" | "::" => engine,
                    loopback if !self.endpoint.is_local() && is_loopback(loopback) => return None,
                    address => address,
                };
                Some(Reach {
                    host: host.to_owned(),
                    port,
                    published: true,
                })
            });
        // IPv4 first: not every engine's IPv6 publishing works.
        let found = published.min_by_key(|reach| reach.host.contains(':'));
        found.or_else(|| {
            let addresses = network
                .networks
                .iter()
                .flat_map(|networks| networks.values());
            let mut addresses = addresses.filter_map(|endpoint| endpoint.ip_address.clone());
            let host = addresses.find(|address| self.bridged && !address.is_empty())?;
            Some(Reach {
                host,
                port,
                published: false,
            })
        })
    }
}

/// Whether a container is running (or being restarted, which is running badly).
pub(crate) fn is_running(container: &ContainerInspectResponse) -> bool {
    let state = container.state.as_ref().and_then(|state| state.status);
    matches!(
        state,
        Some(
            ContainerStateStatusEnum::RUNNING
                | ContainerStateStatusEnum::PAUSED
                | ContainerStateStatusEnum::RESTARTING
        )
    )
}

/// No restarting at all.
pub(crate) fn never() -> RestartPolicy {
    RestartPolicy {
        name: Some(RestartPolicyNameEnum::NO),
        maximum_retry_count: None,
    }
}

/// The name of a listed container, without the slash engines put before it.
pub(crate) fn summary_name(summary: &ContainerSummary) -> Option<String> {
    let names = summary.names.as_ref()?;
    // Links of other containers are names too, but longer paths.
    let own = names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        .find(|name| !name.contains('/'));
    own.map(str::to_owned)
}

fn is_loopback(address: &str) -> bool {
    address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

fn last_lines(text: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// The port that an engine's refusal to start a container says is taken: `Bind for 0.0.0.0:80
/// failed: port is already allocated` (by a container), `listen tcp4 0.0.0.0:80: bind: address
/// already in use` (by a program), `failed to bind host port for 0.0.0.0:80:…: address already in
/// use`, `failed to bind host port 0.0.0.0:80/tcp: address already in use`.
fn taken_port(refusal: &str) -> Option<u16> {
    if !refusal.contains("port is already allocated") && !refusal.contains("address already in use")
    {
        return None;
    }
    refusal.split([' ', '/']).find_map(|word| {
        let mut parts = word
            .trim_end_matches(':')
            .trim_start_matches('[')
            .splitn(2, ':');
        let (address, rest) = match word.strip_prefix('[') {
            Some(v6) => v6.split_once("]:")?,
            None => (parts.next()?, parts.next()?),
        };
        address.parse::<std::net::IpAddr>().ok()?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_port() {
        for (said, port) in [
            (
                "driver failed programming external connectivity on endpoint a (0f): Bind for 0.0.0.0:6901 failed: port is already allocated",
                Some(6901),
            ),
            (
                "Error starting userland proxy: listen tcp4 127.0.0.1:6901: bind: address already in use",
                Some(6901),
            ),
            (
                "Error starting userland proxy: listen tcp6 [::]:6901: bind: address already in use",
                Some(6901),
            ),
            (
                "failed to set up container networking: failed to bind host port for 0.0.0.0:6901:172.17.0.2:80/tcp: address already in use",
                Some(6901),
            ),
            (
                "failed to bind host port 0.0.0.0:6901/tcp: address already in use",
                Some(6901),
            ),
            ("Address already in use", None),
            ("no such image: 1.2.3.4:80", None),
        ] {
            assert_eq!(taken_port(said), port, "{said}");
        }
    }

    #[test]
    fn last_lines_are_the_last() {
        assert_eq!(last_lines(b"a\nb\r\nc\n", 2), ["b", "c"]);
        assert_eq!(last_lines(b"", 2), [""; 0]);
    }
}
