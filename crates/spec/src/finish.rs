//! From the merged settings to the model: every default of a setting is here.

use crate::chain::Link;
use crate::decode::Map;
use crate::diagnostic::Diagnostic;
use crate::entries::located;
use crate::fragment::{FileEntry, UserEntry};
use crate::merge::Sum;
use crate::model::{
    Debian, Deploy, Files, Healthcheck, Image, ImageFile, Kasm, Layers, Located, Packages, Service,
    Slim, Stage, User, Workspace,
};
use crate::raw::{RawDeploy, RawHealthcheck, RawImage, RawKasm, RawSlim};
use crate::words::names::Text;

/// At most this many layers: half of what engines take, so that others can build upon the image.
const BUDGET: u32 = 64;
/// Seconds between two runs of a health check, and after which one counts as failed; as engines
/// have it.
const HEALTH_SECONDS: u64 = 30;
/// Failures in a row that make a container unhealthy; as engines have it.
const HEALTH_RETRIES: u64 = 3;
/// Seconds an upgrade waits for health.
const HEALTH_TIMEOUT: u64 = 120;
/// The port Kasm expects a desktop at.
const DESKTOP_PORT: u16 = 6901;
/// So many earlier generations are kept: the last one, and the one before if that was bad, too.
const KEPT_GENERATIONS: u32 = 2;
/// Kasm's registry shows no more categories.
const CATEGORIES: usize = 3;

/// One stage, as the sum stands when its files have been laid.
pub(crate) fn stage(name: &str, packages: Packages, services: Vec<Service>, sum: &Sum) -> Stage {
    Stage {
        name: name.to_owned(),
        packages,
        image_files: sum
            .files
            .iter()
            .map(|file| image_file(file, &sum.users))
            .collect(),
        users: sum.users.iter().map(|entry| entry.user.clone()).collect(),
        services,
        slim: slim(&sum.slim),
        layers: Layers {
            budget: (sum.layers.budget.as_ref()).map_or(BUDGET, |budget| budget.value.0),
        },
        repository: repository(name, &sum.image),
    }
}

/// The workspace: the last stage's settings.
pub(crate) fn workspace(
    link: &Link,
    debian: Debian,
    stages: Vec<Stage>,
    sum: Sum,
    files: &Files,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Workspace> {
    let own = link.fragments.last()?;
    let healthcheck = match &sum.image.healthcheck {
        Some(raw) => healthcheck(raw, diagnostics),
        None => None,
    };
    if let Some(fourth) = sum.kasm.categories.iter().flatten().nth(CATEGORIES) {
        let message = format!("Kasm takes at most {CATEGORIES} categories");
        let label = "one more, with those of modules and parents";
        diagnostics.push(Diagnostic::new(fourth.at.clone(), message, label));
    }
    Some(Workspace {
        name: link.name.clone(),
        description: own
            .raw
            .description
            .as_ref()
            .map(|line| line.value.0.clone()),
        debian,
        stages,
        image: image(&link.name, sum.image, healthcheck),
        deploy: deploy(&link.name, sum.deploy),
        kasm: kasm(sum.kasm),
        checks: sum.checks,
        files: files.clone(),
    })
}

fn repository(name: &str, image: &RawImage) -> String {
    match &image.repository {
        Some(repository) => repository.value.0.clone(),
        None => format!("kasmforge/{name}"),
    }
}

/// A file with its owner and group. A user declared here owns with the primary group, as `install`
/// or `useradd` would have it.
fn image_file(file: &FileEntry, users: &[UserEntry]) -> ImageFile {
    let root = || Located {
        value: "root".to_owned(),
        at: file.target.at.clone(),
    };
    let owner = file.owner.clone().unwrap_or_else(root);
    let declared = users
        .iter()
        .map(|entry| &entry.user)
        .find(|user| user.name.value == owner.value || user.uid.to_string() == owner.value);
    let group = file.group.clone().unwrap_or_else(|| Located {
        value: declared.map_or("root".to_owned(), |user| primary_group(user, &owner.value)),
        at: owner.at.clone(),
    });
    ImageFile {
        target: file.target.clone(),
        content: file.content.clone(),
        owner,
        group,
        mode: file.mode,
    }
}

/// The primary group as the owner was named: by name only where the group surely has the user's.
fn primary_group(user: &User, named: &str) -> String {
    if user.gid == user.uid && user.name.value == named {
        user.name.value.clone()
    } else {
        user.gid.to_string()
    }
}

fn slim(raw: &RawSlim) -> Slim {
    let kept = |keep: &Option<Located<bool>>| keep.as_ref().is_none_or(|keep| keep.value);
    let locales = raw.locales.as_ref().map(|locales| locales.value.0.clone());
    Slim {
        documentation: kept(&raw.documentation),
        manuals: kept(&raw.manuals),
        locales: locales.filter(|locales| !locales.iter().any(|locale| locale == "*")),
        python_bytecode: kept(&raw.python_bytecode),
        tests: kept(&raw.tests),
        hardware_database: kept(&raw.hardware_database),
    }
}

fn image(name: &str, raw: RawImage, healthcheck: Option<Healthcheck>) -> Image {
    let repository = repository(name, &raw);
    let tags: Vec<String> = raw
        .tags
        .into_iter()
        .flatten()
        .map(|tag| tag.value.0)
        .collect();
    Image {
        repository,
        tags: if tags.is_empty() {
            vec!["latest".to_owned()]
        } else {
            tags
        },
        user: raw.user.map(|user| located(&user, |user| user.0.clone())),
        working_directory: raw
            .working_directory
            .map(|folder| located(&folder, |folder| folder.0.clone())),
        entrypoint: raw
            .entrypoint
            .map(|command| located(&command, |command| command.0.clone())),
        command: raw
            .command
            .map(|arguments| arguments.value.0)
            .unwrap_or_default(),
        environment: environment(raw.environment),
        ports: raw
            .ports
            .into_iter()
            .flatten()
            .map(|port| port.value.0)
            .collect(),
        volumes: raw
            .volumes
            .into_iter()
            .flatten()
            .map(|volume| volume.value.0)
            .collect(),
        labels: environment(raw.labels),
        healthcheck,
        stop_signal: raw.stop_signal.map(|signal| signal.value.0),
    }
}

/// The map as the model has it.
fn environment<K: Into<String> + Ord>(
    map: Option<Map<K, Text>>,
) -> std::collections::BTreeMap<String, String> {
    let pairs = map.into_iter().flat_map(|map| map.0);
    pairs.map(|(key, value)| (key.into(), value.0)).collect()
}

fn healthcheck(raw: &RawHealthcheck, diagnostics: &mut Vec<Diagnostic>) -> Option<Healthcheck> {
    let Some(command) = &raw.command else {
        let interval = raw.interval.as_ref().map(|given| &given.at);
        let timeout = raw.timeout.as_ref().map(|given| &given.at);
        let start = raw.start_period.as_ref().map(|given| &given.at);
        let retries = raw.retries.as_ref().map(|given| &given.at);
        // An empty table says nothing, and does nothing.
        let at = interval.or(timeout).or(start).or(retries)?;
        let message = "the health check has no command";
        let diagnostic = Diagnostic::new(at.clone(), message, "this says how often nothing is run");
        diagnostics.push(diagnostic.help("give `command` in `[image.healthcheck]`"));
        return None;
    };
    Some(Healthcheck {
        command: located(command, |command| command.0.clone()),
        interval: raw
            .interval
            .as_ref()
            .map_or(HEALTH_SECONDS, |given| given.value.0.into()),
        timeout: raw
            .timeout
            .as_ref()
            .map_or(HEALTH_SECONDS, |given| given.value.0.into()),
        start_period: raw
            .start_period
            .as_ref()
            .map_or(0, |given| given.value.0.into()),
        retries: raw
            .retries
            .as_ref()
            .map_or(HEALTH_RETRIES, |given| given.value.0.into()),
    })
}

fn deploy(name: &str, raw: RawDeploy) -> Deploy {
    let ports = raw.ports.into_iter().flatten();
    let volumes = raw.volumes.into_iter().flatten();
    Deploy {
        container: match raw.container {
            Some(container) => container.value.0,
            None => format!("kasm-{name}"),
        },
        ports: ports
            .map(|port| located(&port, |port| port.text.clone()))
            .collect(),
        volumes: volumes
            .map(|volume| located(&volume, |volume| volume.text.clone()))
            .collect(),
        shm_size: raw.shm_size.map(|size| size.value.0),
        memory: raw.memory.map(|size| size.value.0),
        restart: raw.restart.map(|policy| policy.value.0.to_owned()),
        environment: environment(raw.environment),
        health_timeout: raw
            .health_timeout
            .map_or(HEALTH_TIMEOUT, |given| given.value.0.into()),
        desktop_port: raw
            .desktop_port
            .map_or(DESKTOP_PORT, |port| port.value.port()),
        keep: raw.keep.map_or(KEPT_GENERATIONS, |keep| keep.value.0),
        home_volume: raw.home_volume.is_none_or(|given| given.value),
        picture: raw.picture.is_none_or(|given| given.value),
    }
}

fn kasm(raw: RawKasm) -> Kasm {
    Kasm {
        friendly_name: raw
            .friendly_name
            .map(|name| located(&name, |name| name.0.clone())),
        categories: each(raw.categories, |category| {
            located(&category, |one| one.0.clone())
        }),
        icon: raw.icon.map(|icon| located(&icon, |icon| icon.0.clone())),
        screenshot: raw
            .screenshot
            .map(|picture| located(&picture, |picture| picture.0.clone())),
        architecture: each(raw.architecture, |one| one.value.0.to_owned()),
        compatibility: each(raw.compatibility, |version| version.value.0),
        docker_registry: raw.docker_registry.map(|url| url.value.0),
        available_tags: each(raw.available_tags, |tag| located(&tag, |tag| tag.0.clone())),
        cores: raw.cores.map(|cores| cores.value.0),
        memory: raw.memory.map(|size| size.value.0),
        gpu_count: raw.gpu_count.map(|count| count.value.0),
        require_gpu: raw.require_gpu.map(|needed| needed.value),
        cpu_allocation_method: raw.cpu_allocation_method.map(|way| way.value.0.to_owned()),
        notes: raw.notes.map(|notes| notes.value.0),
        run_config: raw.run_config.map(|json| json.value.0),
        exec_config: raw.exec_config.map(|json| json.value.0),
        launch_config: raw.launch_config.map(|json| json.value.0),
        volume_mappings: raw.volume_mappings.map(|json| json.value.0),
        persistent_profile_path: raw.persistent_profile_path.map(|path| path.value.0),
        session_time_limit: raw.session_time_limit.map(|seconds| seconds.value.0),
        filter_policy_id: raw.filter_policy_id.map(|id| id.value.0),
        zone_id: raw.zone_id.map(|id| id.value.0),
        restrict_network_names: each(raw.restrict_network_names, |name| name.value.0),
        hidden: raw.hidden.map(|hidden| hidden.value),
        enabled: raw.enabled.map(|enabled| enabled.value),
    }
}

/// The elements of a list, as the model has them.
fn each<T, U>(list: Option<Vec<Located<T>>>, model: impl Fn(Located<T>) -> U) -> Vec<U> {
    list.into_iter().flatten().map(model).collect()
}
