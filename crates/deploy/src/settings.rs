//! From what is wanted and what there is to the body of a create request.
//!
//! A container that replaces another keeps the other's settings, not the other image's: what the
//! old image gave (variables, labels, command, …) is taken away first, so that the new image's
//! takes effect. Upon that, what the definition changed since the last time is laid; the last
//! time's settings are kept in a label for that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    ImageConfig, Mount, MountType, MountVolumeOptions, NetworkingConfig, PortBinding, PortMap,
    RestartPolicy, RestartPolicyNameEnum,
};
use kasmforge_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::desktop::{Desktop, Port, Settings, restart_policy};

/// The label that keeps the definition's settings as they were applied.
pub(crate) const SETTINGS_LABEL: &str = "io.kasmforge.deploy.settings";
/// The label that keeps the restart policy of the container that was replaced: while the new one
/// is not healthy yet the old one has none, and an upgrade may be interrupted just then.
pub(crate) const RESTART_LABEL: &str = "io.kasmforge.deploy.restart";

/// The label that numbers a desktop's containers, from 1.
pub(crate) const GENERATION_LABEL: &str = "io.kasmforge.deploy.generation";

/// The label in which Docker Compose keeps the image's id.
const COMPOSE_IMAGE_LABEL: &str = "com.docker.compose.image";

/// What a container is created from.
pub(crate) struct Creation {
    pub(crate) body: ContainerCreateBody,
    /// Networks an older engine must be asked to connect one by one, after the creation.
    pub(crate) networks: Vec<(String, EndpointSettings)>,
}

/// Settings as a label keeps them. Variables' values are kept by digest: they may be passwords,
/// and only whether they changed is ever asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    shm_size: Option<u64>,
    #[serde(default)]
    memory: Option<u64>,
    #[serde(default)]
    restart: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, Digest>,
}

impl From<&Settings> for Record {
    fn from(settings: &Settings) -> Self {
        let digest =
            |(name, value): (&String, &String)| (name.clone(), Digest::of(value.as_bytes()));
        Self {
            ports: settings.ports.clone(),
            volumes: settings.volumes.clone(),
            shm_size: settings.shm_size,
            memory: settings.memory,
            restart: settings.restart.clone(),
            environment: settings.environment.iter().map(digest).collect(),
        }
    }
}

impl Record {
    /// What the label of a container says; `None` if it is not one of ours.
    pub(crate) fn of(container: &ContainerInspectResponse) -> Option<Self> {
        let labels = container.config.as_ref()?.labels.as_ref()?;
        serde_json::from_str(labels.get(SETTINGS_LABEL)?).ok()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }
}

/// A restart policy as a label keeps it.
pub(crate) fn policy_text(policy: Option<&RestartPolicy>) -> String {
    policy.map_or_else(String::new, |policy| {
        serde_json::to_string(policy).expect("a restart policy is JSON")
    })
}

/// The restart policy of the container that this one replaces or replaced.
pub(crate) fn policy_kept(container: &ContainerInspectResponse) -> Option<RestartPolicy> {
    let labels = container.config.as_ref()?.labels.as_ref()?;
    serde_json::from_str(labels.get(RESTART_LABEL)?).ok()
}

/// A setting of the definition that changed since it was last applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Its name in the definition: `ports`, `shm-size`, `environment`.
    pub setting: &'static str,
    /// What goes; a variable without its value.
    pub from: Option<String>,
    /// What comes.
    pub to: Option<String>,
}

/// What the definition changed since it was last applied to a container.
pub(crate) fn changes(old: &ContainerInspectResponse, wanted: &Desktop) -> Vec<SettingChange> {
    let Some(last) = Record::of(old).filter(|_| wanted.own) else {
        return Vec::new();
    };
    let now = Record::from(&wanted.settings);
    let mut found = Vec::new();
    let mut change = |setting, from: Option<String>, to: Option<String>| {
        if from != to {
            found.push(SettingChange { setting, from, to });
        }
    };
    for (setting, last, now) in [
        ("ports", &last.ports, &now.ports),
        ("volumes", &last.volumes, &now.volumes),
    ] {
        for gone in last.iter().filter(|one| !now.contains(one)) {
            change(setting, Some(gone.clone()), None);
        }
        for new in now.iter().filter(|one| !last.contains(one)) {
            change(setting, None, Some(new.clone()));
        }
    }
    let size = |size: Option<u64>| size.map(bytes);
    change("shm-size", size(last.shm_size), size(now.shm_size));
    change("memory", size(last.memory), size(now.memory));
    change("restart", last.restart.clone(), now.restart.clone());
    let names: BTreeSet<_> = last
        .environment
        .keys()
        .chain(now.environment.keys())
        .collect();
    for name in names {
        let (before, after) = (last.environment.get(name), now.environment.get(name));
        if before != after {
            // Values may be passwords.
            let word = |one: Option<&Digest>, text: &str| one.map(|_| format!("{name}{text}"));
            change("environment", word(before, ""), word(after, "=…"));
        }
    }
    found
}

/// A size as a definition writes it: `512m`, `2g`, or in bytes.
fn bytes(size: u64) -> String {
    for (unit, letter) in [(1 << 30, 'g'), (1 << 20, 'm'), (1 << 10, 'k')] {
        if size >= unit && size.is_multiple_of(unit) {
            return format!("{}{letter}", size / unit);
        }
    }
    size.to_string()
}

/// A container made anew from what is wanted.
pub(crate) fn fresh(wanted: &Desktop, generation: u64) -> Result<Creation, Error> {
    let mut body = ContainerCreateBody {
        image: Some(wanted.reference.to_string()),
        host_config: Some(HostConfig::default()),
        ..ContainerCreateBody::default()
    };
    apply(&mut body, &Record::default(), &wanted.settings)?;
    label(&mut body, Some(&wanted.settings), generation, None);
    Ok(Creation {
        body,
        networks: Vec::new(),
    })
}

/// A container like the old one, with the new image and what changed in the definition.
///
/// `many_networks`: whether the engine takes several networks in one request (API 1.44).
pub(crate) fn carried(
    old: &ContainerInspectResponse,
    old_image: &ImageConfig,
    wanted: &Desktop,
    generation: u64,
    many_networks: bool,
) -> Result<Creation, Error> {
    let mut creation = again(
        old,
        old_image,
        &wanted.reference.to_string(),
        generation,
        many_networks,
    );
    let body = &mut creation.body;
    if wanted.own {
        if let Some(record) = Record::of(old) {
            apply(body, &record, &wanted.settings)?;
        }
        label(body, Some(&wanted.settings), generation, policy_before(old));
    }
    // Compose compares this with the image it knows, and would replace the container once more.
    let labels = body.labels.get_or_insert_default();
    if let Some(image) = labels.get_mut(COMPOSE_IMAGE_LABEL) {
        *image = wanted.image_id.to_string();
    }
    let host = body.host_config.get_or_insert_default();
    for adoption in &wanted.adopt {
        host.mounts.get_or_insert_default().push(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(adoption.volume.clone()),
            target: Some(adoption.path.clone()),
            // What the image has there would come back although somebody deleted it.
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        });
    }
    Ok(creation)
}

/// A container like the old one in all that its own image did not give it.
pub(crate) fn again(
    old: &ContainerInspectResponse,
    old_image: &ImageConfig,
    reference: &str,
    generation: u64,
    many_networks: bool,
) -> Creation {
    let config = old.config.clone().unwrap_or_default();
    let mut host = old.host_config.clone().unwrap_or_default();
    for ulimit in host.ulimits.iter_mut().flatten() {
        // Podman tells `RLIMIT_NOFILE` and wants to be told `nofile`.
        ulimit.name = ulimit
            .name
            .as_ref()
            .map(|name| name.trim_start_matches("RLIMIT_").to_ascii_lowercase());
    }
    keep_anonymous_volumes(&mut host, old);
    let (own, networks) = networks(old, &host, many_networks);
    let mut body = without_image(
        config,
        old_image,
        old.id.as_deref().unwrap_or_default(),
        &host,
    );
    body.image = Some(reference.to_owned());
    body.host_config = Some(host);
    body.networking_config = own;
    label(&mut body, None, generation, policy_before(old));
    Creation { body, networks }
}

fn policy_before(old: &ContainerInspectResponse) -> Option<String> {
    let host = old.host_config.as_ref();
    Some(policy_text(
        host.and_then(|host| host.restart_policy.as_ref()),
    ))
}

/// A container's configuration without what its image gave it.
fn without_image(
    config: ContainerConfig,
    image: &ImageConfig,
    id: &str,
    host: &HostConfig,
) -> ContainerCreateBody {
    fn other<T: PartialEq>(own: Option<T>, image: &Option<T>) -> Option<T> {
        own.filter(|own| image.as_ref() != Some(own))
    }
    fn less(own: Option<Vec<String>>, image: &Option<Vec<String>>) -> Option<Vec<String>> {
        let given: BTreeSet<_> = image.iter().flatten().collect();
        own.map(|own| own.into_iter().filter(|one| !given.contains(one)).collect())
    }
    let labels = config.labels.map(|labels| {
        let given = |(key, value): &(String, String)| {
            image.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
        };
        labels.into_iter().filter(|label| !given(label)).collect()
    });
    // An entry point of the user's own goes with the command it was given.
    let entrypoint = other(config.entrypoint, &image.entrypoint);
    let cmd = if entrypoint.is_some() {
        config.cmd
    } else {
        other(config.cmd, &image.cmd)
    };
    // The engine names hosts after their containers; where another namespace is shared, it refuses.
    let shared = host
        .network_mode
        .as_deref()
        .is_some_and(|mode| mode == "host" || mode.starts_with("container:"));
    let hostname = config
        .hostname
        .filter(|name| !shared && !name.is_empty() && !is_short_id(name, id));
    ContainerCreateBody {
        hostname,
        domainname: config.domainname.filter(|_| !shared),
        user: other(config.user, &image.user),
        exposed_ports: less(config.exposed_ports, &image.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: less(config.env, &image.env),
        cmd,
        healthcheck: other(config.healthcheck, &image.healthcheck),
        volumes: less(config.volumes, &image.volumes),
        working_dir: other(config.working_dir, &image.working_dir),
        entrypoint,
        network_disabled: config.network_disabled,
        labels,
        stop_signal: other(config.stop_signal, &image.stop_signal),
        stop_timeout: config.stop_timeout,
        shell: other(config.shell, &image.shell),
        ..ContainerCreateBody::default()
    }
}

/// Whether a name is the one an engine makes of a container's id.
fn is_short_id(name: &str, id: &str) -> bool {
    name.len() == 12 && id.starts_with(name)
}

/// Names the volumes that were made for the old container without a name, so that the new one
/// gets the same ones.
fn keep_anonymous_volumes(host: &mut HostConfig, old: &ContainerInspectResponse) {
    let named: BTreeSet<String> = host
        .binds
        .iter()
        .flatten()
        .filter_map(|bind| bind.split(':').nth(1).map(str::to_owned))
        .chain(
            host.mounts
                .iter()
                .flatten()
                .filter_map(|mount| mount.target.clone()),
        )
        .collect();
    let anonymous: Vec<Mount> = old
        .mounts
        .iter()
        .flatten()
        .filter(|mount| mount.typ.as_deref() == Some("volume"))
        .filter(|mount| {
            mount
                .destination
                .as_ref()
                .is_some_and(|target| !named.contains(target))
        })
        .filter(|mount| mount.name.is_some())
        .map(|mount| Mount {
            typ: Some(MountType::VOLUME),
            source: mount.name.clone(),
            target: mount.destination.clone(),
            ..Mount::default()
        })
        .collect();
    if !anonymous.is_empty() {
        host.mounts.get_or_insert_default().extend(anonymous);
    }
}

/// The networks of a container: those to create it with, and those to connect afterwards. Only
/// what somebody asked for is kept; addresses the engine chose are chosen again.
fn networks(
    old: &ContainerInspectResponse,
    host: &HostConfig,
    many: bool,
) -> (Option<NetworkingConfig>, Vec<(String, EndpointSettings)>) {
    let mode = host.network_mode.as_deref().unwrap_or("default");
    if mode == "host" || mode == "none" || mode.starts_with("container:") {
        return (None, Vec::new());
    }
    let first = if mode == "default" { "bridge" } else { mode };
    let id = old.id.as_deref().unwrap_or_default();
    let all = old
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let mut endpoints: BTreeMap<String, EndpointSettings> = BTreeMap::new();
    for (name, endpoint) in all.into_iter().flatten() {
        // Podman's default network is asked for as `bridge` and has a name of its own.
        if name == "podman" && first == "bridge" {
            continue;
        }
        let aliases = endpoint.aliases.clone().map(|aliases| {
            aliases
                .into_iter()
                .filter(|alias| !is_short_id(alias, id))
                .collect()
        });
        let kept = EndpointSettings {
            // The default bridge has no names and refuses them.
            aliases: aliases
                .filter(|aliases: &Vec<String>| !aliases.is_empty() && name != "bridge"),
            ipam_config: endpoint.ipam_config.clone(),
            links: endpoint.links.clone(),
            driver_opts: endpoint.driver_opts.clone(),
            gw_priority: endpoint.gw_priority,
            ..EndpointSettings::default()
        };
        endpoints.insert(name.clone(), kept);
    }
    let later = if many {
        Vec::new()
    } else {
        let later = endpoints
            .keys()
            .filter(|name| *name != first)
            .cloned()
            .collect::<Vec<_>>();
        later
            .into_iter()
            .filter_map(|name| endpoints.remove_entry(&name))
            .collect()
    };
    let own: HashMap<_, _> = endpoints.into_iter().collect();
    let own = (!own.is_empty()).then_some(NetworkingConfig {
        endpoints_config: Some(own),
    });
    (own, later)
}

/// Lays what changed from the last settings to the wanted ones upon a container.
fn apply(body: &mut ContainerCreateBody, last: &Record, wanted: &Settings) -> Result<(), Error> {
    let now = Record::from(wanted);
    let host = body.host_config.get_or_insert_default();
    if last.shm_size != now.shm_size {
        host.shm_size = now.shm_size.map(|bytes| bytes.cast_signed());
    }
    if last.memory != now.memory {
        host.memory = now.memory.map(|bytes| bytes.cast_signed());
        // The engine derives it from the limit.
        host.memory_swap = None;
    }
    if last.restart != now.restart {
        let (name, tries) = restart_policy(now.restart.as_deref().unwrap_or("no"))?;
        host.restart_policy = Some(RestartPolicy {
            name: name.parse::<RestartPolicyNameEnum>().ok(),
            maximum_retry_count: tries,
        });
    }
    if last.volumes != now.volumes {
        let binds = host.binds.get_or_insert_default();
        binds.retain(|bind| !last.volumes.contains(bind) || now.volumes.contains(bind));
        binds.extend(
            now.volumes
                .iter()
                .filter(|volume| !last.volumes.contains(volume))
                .cloned(),
        );
    }
    if last.ports != now.ports {
        let bindings = host.port_bindings.get_or_insert_default();
        let exposed = body.exposed_ports.get_or_insert_default();
        for text in last.ports.iter().filter(|port| !now.ports.contains(port)) {
            let port = Port::parse(text)?;
            unpublish(bindings, &port);
            if !bindings.contains_key(&port.container) {
                exposed.retain(|exposed| *exposed != port.container);
            }
        }
        for text in now.ports.iter().filter(|port| !last.ports.contains(port)) {
            let port = Port::parse(text)?;
            if !exposed.contains(&port.container) {
                exposed.push(port.container.clone());
            }
            bindings
                .entry(port.container.clone())
                .or_default()
                .get_or_insert_default()
                .push(binding(&port));
        }
    }
    if last.environment != now.environment {
        let variables = body.env.get_or_insert_default();
        let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
        let changed = |name: &String| last.environment.get(name) != now.environment.get(name);
        variables.retain(|variable| !changed(&name(variable)));
        let new = wanted.environment.iter().filter(|(name, _)| changed(name));
        variables.extend(new.map(|(name, value)| format!("{name}={value}")));
    }
    Ok(())
}

fn binding(port: &Port) -> PortBinding {
    PortBinding {
        host_ip: Some(port.address.clone()),
        host_port: Some(port.host.clone()),
    }
}

fn unpublish(bindings: &mut PortMap, port: &Port) {
    if let Some(Some(published)) = bindings.get_mut(&port.container) {
        let gone = binding(port);
        let same = |one: &PortBinding| {
            one.host_ip.as_deref().unwrap_or_default()
                == gone.host_ip.as_deref().unwrap_or_default()
                && one.host_port == gone.host_port
        };
        published.retain(|one| !same(one));
        if published.is_empty() {
            bindings.remove(&port.container);
        }
    }
}

/// Labels a container; without settings, those that were applied last stay noted.
fn label(
    body: &mut ContainerCreateBody,
    settings: Option<&Settings>,
    generation: u64,
    policy: Option<String>,
) {
    let labels = body.labels.get_or_insert_default();
    if let Some(settings) = settings {
        labels.insert(SETTINGS_LABEL.to_owned(), Record::from(settings).text());
    }
    labels.insert(GENERATION_LABEL.to_owned(), generation.to_string());
    match policy {
        Some(policy) => labels.insert(RESTART_LABEL.to_owned(), policy),
        None => labels.remove(RESTART_LABEL),
    };
}

#[cfg(test)]
mod tests;
