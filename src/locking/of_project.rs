//! Packages that are files of the project, and what any package outside archives must be.

use std::fs;

use kasmforge_deb::PackageStanza;
use kasmforge_digest::Digest;
use kasmforge_lock::Lock;
use kasmforge_spec::{DebByUrl, Files, Stage, Workspace};

use super::{FetchedDeb, Locking, control};
use crate::exit::{Mistakes, NOTHING_WRITTEN, chain};
use crate::project::Project;

/// The first package of a stage that is a file of the project, and another one than the lock has.
pub(super) fn changed<'a>(
    project: &Project,
    lock: &Lock,
    files: &Files,
    stage: &'a Stage,
) -> Result<Option<&'a DebByUrl>, Mistakes> {
    for deb in stage.packages.debs.iter().filter(|deb| deb.local) {
        let digest = Digest::of(&read(project, files, deb)?);
        if lock.urls.get(&deb.url.value) != Some(&digest) {
            return Ok(Some(deb));
        }
    }
    Ok(None)
}

fn read(project: &Project, files: &Files, deb: &DebByUrl) -> Result<Vec<u8>, Mistakes> {
    let path = project.root.join(&deb.url.value);
    fs::read(&path).map_err(|error| {
        let message = format!("cannot read {}: {error}", deb.url.value);
        at_fault(files, deb, message, Vec::new())
    })
}

impl Locking<'_> {
    /// Takes a package that is a file of the project into the store.
    pub(super) fn deb_of_project(
        &self,
        lock: &mut Lock,
        files: &Files,
        deb: &DebByUrl,
    ) -> anyhow::Result<FetchedDeb> {
        let bytes = read(self.project, files, deb)?;
        let digest = Digest::of(&bytes);
        if let Some(named) = &deb.sha256
            && Digest::from_hex(&named.value)? != digest
        {
            let message = format!(
                "{} has another digest than the definition says",
                deb.url.value
            );
            let help = vec![format!(
                "the file has sha256 = \"{}\"; write that only if you know why it changed",
                digest.hex()
            )];
            let at = named.at.clone();
            return Err(Mistakes::at(files, at, message, "not this", help, NOTHING_WRITTEN).into());
        }
        let control = control(&*bytes).map_err(|error| {
            let message = format!("{} is no package: {}", deb.url.value, chain(&error));
            at_fault(files, deb, message, Vec::new())
        })?;
        let size = bytes.len() as u64;
        self.store.keep_bytes(&bytes)?;
        lock.urls.insert(deb.url.value.clone(), digest);
        Ok(FetchedDeb {
            url: deb.url.value.clone(),
            digest,
            size,
            control,
        })
    }

    /// Refuses a package of an architecture that the workspace has no packages of.
    pub(super) fn is_for_us(
        &self,
        workspace: &Workspace,
        deb: &DebByUrl,
        fetched: &FetchedDeb,
    ) -> anyhow::Result<()> {
        // What cannot be read is for the resolver to tell.
        let Ok(PackageStanza { architecture, .. }) = fetched.control.parse() else {
            return Ok(());
        };
        let foreign = &workspace.debian.foreign_architectures;
        if ["all", self.architecture].contains(&architecture.as_str())
            || foreign.contains(&architecture)
        {
            return Ok(());
        }
        let message = format!(
            "{} is a package for {architecture}, and this is locked for {}",
            deb.url.value, self.architecture
        );
        let help = vec![format!(
            "name the package for {}; or write `foreign-architectures = [\"{architecture}\"]` in \
             `[debian]` to have packages of both",
            self.architecture
        )];
        Err(at_fault(&workspace.files, deb, message, help).into())
    }
}

/// What is wrong with a package, shown where it is named.
fn at_fault(files: &Files, deb: &DebByUrl, message: String, help: Vec<String>) -> Mistakes {
    let at = deb.url.at.clone();
    Mistakes::at(files, at, message, "named here", help, NOTHING_WRITTEN)
}
