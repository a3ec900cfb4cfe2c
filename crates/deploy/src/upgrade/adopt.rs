//! Files of an old container's own layer are taken over into a volume.
//!
//! Whatever a person changed outside the volumes goes when the container is replaced. A path that
//! is adopted becomes a volume of the new container, filled with what the old one has there; from
//! then on it outlives every upgrade.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use std::time::Duration;

use super::UpgradeEvent;
use crate::Error;
use crate::desktop::{Adoption, Desktop};
use crate::engine::Engine;

/// How long copying may take: a home of many gigabytes takes its time.
const COPY: Duration = Duration::from_secs(6 * 3600);

impl Engine {
    /// Refuses paths that cannot be adopted.
    pub(super) fn check_adoptions(
        &self,
        wanted: &Desktop,
        old: Option<&ContainerInspectResponse>,
    ) -> Result<(), Error> {
        for adoption in &wanted.adopt {
            let refused = |why: &'static str| Error::NotAdopted {
                path: adoption.path.clone(),
                why,
            };
            let Some(old) = old else {
                return Err(refused("there is no container to take it from"));
            };
            let mounted = old
                .mounts
                .iter()
                .flatten()
                .filter_map(|mount| mount.destination.as_deref())
                .any(|target| target.trim_end_matches('/') == adoption.path);
            if mounted {
                return Err(refused("it is on a volume already"));
            }
            let id = old.id.as_deref().unwrap_or_default();
            if !self.is_folder(id, &adoption.path)? {
                return Err(refused("there is no such folder in the container"));
            }
        }
        Ok(())
    }

    /// Copies what is to be adopted from the old container, which is stopped, into the new one,
    /// which is not started yet.
    pub(super) fn adopt(
        &self,
        adoptions: &[Adoption],
        old: &str,
        new: &str,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<(), Error> {
        for adoption in adoptions {
            progress(UpgradeEvent::Adopting {
                path: adoption.path.clone(),
                volume: adoption.volume.clone(),
            });
            // The archive of `/a/b` has `b/` in it, and is laid out in `/a`.
            let parent = match adoption.path.rsplit_once('/') {
                Some(("", _)) | None => "/",
                Some((parent, _)) => parent,
            };
            let from = DownloadFromContainerOptionsBuilder::default()
                .path(&adoption.path)
                .build();
            let to = UploadToContainerOptionsBuilder::default()
                .path(parent)
                .build();
            let docker = self.docker.clone().with_timeout(COPY);
            let archive = docker
                .download_from_container(old, Some(from))
                .map(|part| part.map_err(std::io::Error::other));
            self.ask(
                "copy the files of",
                &adoption.path,
                docker.upload_to_container(new, Some(to), bollard::body_try_stream(archive)),
            )?;
        }
        Ok(())
    }
}
