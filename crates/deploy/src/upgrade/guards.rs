//! What is refused before anything is touched.

use bollard::models::ContainerInspectResponse;

use crate::container::{HostPort, summary_name};
use crate::desktop::Desktop;
use crate::engine::{Engine, Product};
use crate::error::Danger;
use crate::ledger::Outgoing;
use crate::settings::{Creation, Record};
use crate::{Error, Reference};

impl Engine {
    pub(super) fn check_image(&self, wanted: &Desktop) -> Result<(), Error> {
        let image = self.image(&wanted.reference.to_string())?;
        let found = image.as_ref().and_then(|image| image.id.clone());
        if found.as_ref() != Some(&wanted.image_id.to_string()) {
            return Err(Error::ImageMissing {
                reference: wanted.reference.clone(),
                id: wanted.image_id,
                found,
            });
        }
        // An engine may run others by emulation; whoever knows that of theirs forces it.
        let made_for = image
            .and_then(|image| image.architecture)
            .unwrap_or_default();
        let runs = &self.about().architecture;
        if !wanted.force && !made_for.is_empty() && !runs.is_empty() && made_for != *runs {
            return Err(Error::OtherArchitecture {
                reference: wanted.reference.clone(),
                image: made_for,
                engine: runs.clone(),
            });
        }
        Ok(())
    }

    /// Refuses what could not be brought back.
    pub(super) fn check_safety(
        &self,
        old: &ContainerInspectResponse,
        name: &str,
    ) -> Result<(), Error> {
        let danger = |danger| {
            Err(Error::Unsafe {
                container: name.to_owned(),
                danger,
            })
        };
        if old.host_config.as_ref().and_then(|host| host.auto_remove) == Some(true) {
            return danger(Danger::RemovedWhenStopped);
        }
        let policy = old
            .host_config
            .as_ref()
            .and_then(|host| host.restart_policy.as_ref()?.name);
        let restarted = policy.is_some_and(|name| !matches!(name.as_ref(), "" | "no"));
        if self.about().product == Product::Podman && restarted {
            return danger(Danger::RestartedByPodman);
        }
        let id = old.id.as_deref().unwrap_or_default();
        for summary in self.containers()? {
            let Some(other) = summary.id.as_deref().filter(|other| *other != id) else {
                continue;
            };
            let Some(other) = self.container(other)? else {
                continue;
            };
            let by = summary_name(&summary).unwrap_or_default();
            // Generations of this very desktop are stopped, and start only in its place.
            if by
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with("-kf-"))
            {
                continue;
            }
            if let Some(how) = depends(&other, id, name) {
                return danger(Danger::SharedWith { by, how });
            }
        }
        Ok(())
    }

    /// Refuses ports that another container publishes, while nothing has been touched yet.
    pub(super) fn check_ports(
        &self,
        creation: &Creation,
        outgoing: Option<&Outgoing>,
    ) -> Result<(), Error> {
        let except = outgoing.map_or("", |outgoing| outgoing.id.as_str());
        let bindings = creation
            .body
            .host_config
            .as_ref()
            .and_then(|host| host.port_bindings.as_ref());
        for (port, published) in bindings.into_iter().flatten() {
            for binding in published.iter().flatten() {
                let Some(number) = binding
                    .host_port
                    .as_ref()
                    .and_then(|port| port.parse().ok())
                else {
                    continue;
                };
                let protocol = port.rsplit('/').next().unwrap_or("tcp");
                let address = binding.host_ip.as_deref().unwrap_or_default();
                let host = HostPort {
                    address,
                    port: number,
                    protocol,
                };
                if let Some(by) = self.publisher(&host, except)? {
                    return Err(Error::PortTaken {
                        port: number,
                        by: Some(by),
                    });
                }
            }
        }
        Ok(())
    }
}

/// How a container depends on another, named by id or name, in a way that ends with that one: it
/// is bound to that very container, not to whatever bears its name later.
fn depends(other: &ContainerInspectResponse, id: &str, name: &str) -> Option<&'static str> {
    let host = other.host_config.as_ref()?;
    let is = |text: &str| {
        let text = text.trim_start_matches('/');
        !text.is_empty() && (text == name || (text.len() >= 12 && id.starts_with(text)))
    };
    let joins = |mode: &Option<String>| {
        mode.as_deref()
            .and_then(|mode| mode.strip_prefix("container:"))
            .is_some_and(is)
    };
    // `name:alias`, or `/name:/other/alias` as an engine tells it.
    let first = |text: &String| is(text.split(':').next().unwrap_or_default());
    if joins(&host.network_mode) {
        Some("shares its network")
    } else if joins(&host.pid_mode) {
        Some("shares its processes")
    } else if joins(&host.ipc_mode) {
        Some("shares its memory segments")
    } else if host.volumes_from.iter().flatten().any(first) {
        Some("has its volumes by --volumes-from")
    } else if host.links.iter().flatten().any(first) {
        Some("is linked to it by --link")
    } else {
        None
    }
}

/// Refuses a container that only happens to have the desktop's name.
pub(super) fn belongs(old: &ContainerInspectResponse, wanted: &Desktop) -> Result<(), Error> {
    let image = old
        .config
        .as_ref()
        .and_then(|config| config.image.clone())
        .unwrap_or_default();
    let same =
        Reference::parse(&image).is_ok_and(|one| one.repository == wanted.reference.repository);
    if same || Record::of(old).is_some() {
        return Ok(());
    }
    Err(Error::AnotherContainer {
        container: wanted.container.clone(),
        image,
    })
}
