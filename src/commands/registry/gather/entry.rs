//! One workspace's entry: from its definition, its part of the lock and its image.

use std::collections::BTreeSet;

use anyhow::Context as _;
use kasmforge_build::Built;
use kasmforge_kasm::registry::{Entry, Package, Run};
use kasmforge_spec::{Located, Workspace};

use super::{Gathering, VERSIONS};

impl Gathering<'_> {
    /// A workspace's entry; `None` if it lacks something, which is told.
    pub(super) fn entry(
        &mut self,
        workspace: &Workspace,
        built: &Built,
    ) -> anyhow::Result<Option<Entry>> {
        let kasm = &workspace.kasm;
        let Some(friendly) = &kasm.friendly_name else {
            return Ok(None);
        };
        let files = &workspace.files;
        if workspace.description.is_none() {
            self.lacks(
                files,
                friendly,
                "`description`",
                "a line at the top of its file",
            );
        }
        let icon = match &kasm.icon {
            Some(icon) => self.icon(icon, files)?,
            None => {
                let what = "`icon` in `[kasm]`";
                self.lacks(files, friendly, what, "a square PNG or SVG");
                None
            }
        };
        let screenshot = match &kasm.screenshot {
            Some(picture) => self.screenshot(picture, files)?,
            None => None,
        };
        self.categories(workspace);
        self.stale(workspace, built);
        let (Some(icon), Some(description)) = (icon, workspace.description.clone()) else {
            return Ok(None);
        };
        let (contents, origin) = self.contents(workspace, &built.architecture)?;
        let tag = workspace
            .image
            .tags
            .first()
            .map_or("latest", String::as_str);
        let compatibility = [&kasm.compatibility, &self.about.compatibility]
            .into_iter()
            .find(|versions| !versions.is_empty())
            .cloned()
            .unwrap_or_else(|| VERSIONS.map(str::to_owned).to_vec());
        let texts = |values: &[Located<String>]| {
            values
                .iter()
                .map(|value| value.value.clone())
                .collect::<Vec<_>>()
        };
        Ok(Some(Entry {
            name: workspace.name.clone(),
            friendly_name: friendly.value.clone(),
            description,
            icon,
            screenshot,
            architecture: self.architectures(workspace, built),
            compatibility,
            image: format!("{}:{tag}", workspace.image.repository),
            docker_registry: kasm
                .docker_registry
                .clone()
                .unwrap_or_else(|| docker_registry(&workspace.image.repository)),
            available_tags: texts(&kasm.available_tags),
            size: built.layers.iter().map(|layer| layer.size).sum(),
            categories: texts(&kasm.categories),
            run_config: config(kasm.run_config.as_deref())?,
            exec_config: config(kasm.exec_config.as_deref())?,
            notes: kasm.notes.clone(),
            cores: kasm.cores,
            memory: kasm.memory.map(|bytes| bytes >> 20),
            gpu_count: kasm.gpu_count,
            require_gpu: kasm.require_gpu,
            cpu_allocation_method: kasm.cpu_allocation_method.clone(),
            contents,
            origin,
            digest: built.manifest.to_string(),
            run: run(workspace),
        }))
    }

    /// The architectures the definition names, else those there are images of.
    fn architectures(&self, workspace: &Workspace, built: &Built) -> Vec<String> {
        if !workspace.kasm.architecture.is_empty() {
            return workspace.kasm.architecture.clone();
        }
        let locked = self.lock.workspaces.iter();
        let mut all: BTreeSet<String> = locked
            .filter(|one| one.name == workspace.name && one.image.is_some())
            .map(|one| one.architecture.clone())
            .collect();
        all.insert(built.architecture.clone());
        all.into_iter().collect()
    }

    /// The packages in an image, sorted, and where they are from.
    fn contents(
        &self,
        workspace: &Workspace,
        architecture: &str,
    ) -> anyhow::Result<(Vec<Package>, String)> {
        let asked: BTreeSet<&str> = workspace
            .stages
            .last()
            .into_iter()
            .flat_map(|stage| &stage.packages.install)
            .map(|request| name_of(&request.value))
            .collect();
        let mut packages = Vec::new();
        let mut archives = BTreeSet::new();
        for stage in &workspace.stages {
            let locked = self.lock.workspace(&stage.name, architecture);
            let locked = locked.with_context(|| {
                format!(
                    "kasmforge.lock does not name `{}`; run `kasmforge build {}`",
                    stage.name, workspace.name
                )
            })?;
            for package in locked
                .packages
                .iter()
                .map(|&index| &self.lock.packages[index])
            {
                if !package.archive.is_empty() {
                    archives.insert(package.archive.as_str());
                }
                packages.push(Package {
                    name: package.name.clone(),
                    version: package.version.clone(),
                    asked_for: asked.contains(package.name.as_str()),
                });
            }
        }
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let date = jiff::Timestamp::from_second(self.lock.date()).unwrap_or_default();
        let archives: Vec<&str> = archives.into_iter().collect();
        let origin = format!("{}, as of {}", archives.join(", "), date.strftime("%F"));
        Ok((packages, origin))
    }
}

/// The name in a request for a package: `vim` of `vim (>= 9)`, `vim:amd64`, `vim/trixie`.
fn name_of(request: &str) -> &str {
    request
        .split(['=', ':', '/', ' ', '('])
        .next()
        .unwrap_or(request)
}

/// The address of an image's registry, as Docker's configuration writes it.
fn docker_registry(repository: &str) -> String {
    let first = repository.split('/').next().unwrap_or_default();
    let host = repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match first {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        host_name if host => format!("https://{host_name}/"),
        _ => "https://index.docker.io/v1/".to_owned(),
    }
}

/// A table of the definition, as JSON; an empty one if there is none.
fn config(text: Option<&str>) -> anyhow::Result<serde_json::Value> {
    match text {
        Some(text) => Ok(serde_json::from_str(text)?),
        None => Ok(serde_json::json!({})),
    }
}

fn run(workspace: &Workspace) -> Run {
    let deploy = &workspace.deploy;
    let desktop = deploy.desktop_port.to_string();
    let mut ports: Vec<String> = deploy.ports.iter().map(|port| port.value.clone()).collect();
    // The port of the host that leads to the desktop.
    let host = ports.iter().find_map(|port| {
        let (host, container) = port.rsplit_once(':')?;
        let container = container.split('/').next()?;
        let host = host.rsplit(':').next()?;
        (container == desktop).then(|| host.to_owned())
    });
    let desktop_port = host.unwrap_or_else(|| {
        ports.push(format!("{desktop}:{desktop}"));
        desktop
    });
    Run {
        container: deploy.container.clone(),
        ports,
        shm_size: deploy.shm_size,
        desktop_port,
    }
}
