//! What is refused before anything is touched.

use bollard::models::ContainerInspectResponse;

use super::exchange::Outgoing;
use crate::container::{HostPort, summary_name};
use crate::desktop::Desktop;
use crate::engine::Engine;
use crate::error::Danger;
use crate::settings::{Creation, Record};
use crate::{Error, Reference};

impl Engine {
    pub(super) fn check_image(&self, wanted: &Desktop) -> Result<(), Error> {
        let found = self
            .image(&wanted.reference.to_string())?
            .and_then(|image| image.id);
        if found.as_ref() == Some(&wanted.image_id.to_string()) {
            return Ok(());
        }
        Err(Error::ImageMissing {
            reference: wanted.reference.clone(),
            id: wanted.image_id,
            found,
        })
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
        let shared = format!("container:{}", old.id.as_deref().unwrap_or_default());
        for other in self.containers()? {
            let mode = other
                .host_config
                .as_ref()
                .and_then(|host| host.network_mode.as_ref());
            if mode == Some(&shared) {
                return danger(Danger::SharedWith(summary_name(&other).unwrap_or_default()));
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
