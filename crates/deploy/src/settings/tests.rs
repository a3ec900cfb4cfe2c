use std::time::Duration;

use serde_json::json;

use super::*;
use crate::Reference;
use crate::desktop::Health;

fn desktop(settings: Settings) -> Desktop {
    Desktop {
        reference: Reference::parse("kasmforge/desktop").expect("a reference"),
        image_id: Digest::of(b"image"),
        container: "desktop".into(),
        settings,
        health: Health {
            timeout: Duration::from_secs(1),
            desktop_port: None,
            picture: false,
            checks: Vec::new(),
        },
        force: false,
        own: true,
        keep: 1,
        manifest: None,
        contents: None,
        adopt: Vec::new(),
        when_idle: false,
        remains: None,
    }
}

fn settings() -> Settings {
    Settings {
        ports: vec!["6901:6901".into(), "127.0.0.1:80:80".into()],
        volumes: vec!["home:/home".into()],
        shm_size: Some(512 << 20),
        memory: Some(1 << 30),
        restart: Some("unless-stopped".into()),
        environment: BTreeMap::from([("A".into(), "1".into()), ("B".into(), "2".into())]),
    }
}

/// What an engine would answer for a container made from this body, as far as it matters here.
fn running(creation: &Creation) -> ContainerInspectResponse {
    let body = serde_json::to_value(&creation.body).expect("JSON");
    let mut config = body.clone();
    config["Hostname"] = json!("0123456789ab");
    let env = config["Env"].as_array_mut().expect("variables");
    env.insert(0, json!("PATH=/old"));
    serde_json::from_value(json!({
        "Id": "0123456789abcdef",
        "Config": config,
        "HostConfig": body["HostConfig"],
        "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.2", "MacAddress": "02:42" } } },
    }))
    .expect("an inspected container")
}

fn old_image() -> ImageConfig {
    serde_json::from_value(json!({ "Env": ["PATH=/old"] })).expect("an image's configuration")
}

#[test]
fn a_fresh_container_has_what_is_wanted() {
    let body = fresh(&desktop(settings()), 1).expect("settings").body;
    assert_eq!(
        body.image.as_deref(),
        Some("docker.io/kasmforge/desktop:latest")
    );
    assert_eq!(body.env, Some(vec!["A=1".into(), "B=2".into()]));
    assert_eq!(
        body.exposed_ports,
        Some(vec!["6901/tcp".into(), "80/tcp".into()])
    );
    let host = body.host_config.expect("a host configuration");
    assert_eq!(host.binds, Some(vec!["home:/home".into()]));
    assert_eq!(
        (host.shm_size, host.memory),
        (Some(512 << 20), Some(1 << 30))
    );
    assert_eq!(
        host.restart_policy.and_then(|policy| policy.name),
        Some(RestartPolicyNameEnum::UNLESS_STOPPED)
    );
    let ports = host.port_bindings.expect("ports");
    let web = ports["80/tcp"].as_ref().expect("a binding");
    assert_eq!(web[0].host_ip.as_deref(), Some("127.0.0.1"));
    let label = &body.labels.expect("labels")[SETTINGS_LABEL];
    assert!(
        !label.contains("\"1\""),
        "values of variables stay out of labels: {label}"
    );
}

#[test]
fn an_unchanged_definition_keeps_the_container_as_the_user_made_it() {
    let wanted = desktop(settings());
    let mut old = running(&fresh(&wanted, 1).expect("settings"));
    // The user has changed the container behind our back.
    let host = old.host_config.as_mut().expect("a host configuration");
    host.memory = Some(7 << 30);
    host.binds
        .as_mut()
        .expect("binds")
        .push("/data:/data".into());
    old.config
        .as_mut()
        .expect("a configuration")
        .env
        .as_mut()
        .expect("variables")
        .push("USER_SET=1".into());

    let Creation { body, .. } = carried(&old, &old_image(), &wanted, 2, true).expect("settings");
    let host = body.host_config.clone().expect("a host configuration");
    assert_eq!(host.memory, Some(7 << 30));
    assert_eq!(
        host.binds,
        Some(vec!["home:/home".into(), "/data:/data".into()])
    );
    assert_eq!(
        body.env,
        Some(vec!["A=1".into(), "B=2".into(), "USER_SET=1".into()])
    );
    assert_eq!(body.hostname, None);
    assert_eq!(
        policy_of(&body).and_then(|policy| policy.name),
        Some(RestartPolicyNameEnum::UNLESS_STOPPED)
    );
    let endpoints = body
        .networking_config
        .and_then(|config| config.endpoints_config)
        .expect("networks");
    assert_eq!(
        endpoints["bridge"],
        EndpointSettings::default(),
        "the engine chooses addresses again"
    );
}

fn policy_of(body: &ContainerCreateBody) -> Option<RestartPolicy> {
    serde_json::from_str(body.labels.as_ref()?.get(RESTART_LABEL)?).ok()
}

#[test]
fn a_changed_definition_takes_effect_and_nothing_else_does() {
    let mut old = running(&fresh(&desktop(settings()), 1).expect("settings"));
    let config = old.config.as_mut().expect("a configuration");
    config
        .env
        .as_mut()
        .expect("variables")
        .push("USER_SET=1".into());
    let wanted = desktop(Settings {
        ports: vec!["6901:6901".into(), "8443:6901".into()],
        volumes: vec!["other:/home".into()],
        shm_size: None,
        restart: None,
        environment: BTreeMap::from([("A".into(), "3".into()), ("C".into(), "4".into())]),
        ..settings()
    });
    let Creation { body, .. } = carried(&old, &old_image(), &wanted, 2, true).expect("settings");
    let host = body.host_config.expect("a host configuration");
    assert_eq!((host.shm_size, host.memory), (None, Some(1 << 30)));
    assert_eq!(host.binds, Some(vec!["other:/home".into()]));
    assert_eq!(
        host.restart_policy.and_then(|policy| policy.name),
        Some(RestartPolicyNameEnum::NO)
    );
    assert_eq!(
        body.env,
        Some(vec!["USER_SET=1".into(), "A=3".into(), "C=4".into()])
    );
    assert_eq!(body.exposed_ports, Some(vec!["6901/tcp".into()]));
    let ports = host.port_bindings.expect("ports");
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["6901/tcp"]);
    let published: Vec<_> = ports["6901/tcp"]
        .iter()
        .flatten()
        .filter_map(|binding| binding.host_port.as_deref())
        .collect();
    assert_eq!(published, ["6901", "8443"]);
}

#[test]
fn what_the_old_image_gave_is_given_by_the_new_one() {
    let image: ImageConfig = serde_json::from_value(json!({
        "Env": ["PATH=/bin", "DEFAULT=old"],
        "Labels": { "from": "image", "changed": "image" },
        "Cmd": ["serve"], "Entrypoint": ["/init"], "User": "1000", "WorkingDir": "/home",
        "ExposedPorts": { "6901/tcp": {} }, "Volumes": { "/data": {} },
        "Healthcheck": { "Test": ["CMD", "true"] }, "StopSignal": "SIGTERM",
    }))
    .expect("an image's configuration");
    let container = |change: serde_json::Value| -> ContainerInspectResponse {
        let mut config = json!({
            "Hostname": "box",
            "Env": ["PATH=/bin", "DEFAULT=old", "MINE=1"],
            "Labels": { "from": "image", "changed": "user", "mine": "1", "com.docker.compose.image": "sha256:0" },
            "Cmd": ["serve"], "Entrypoint": ["/init"], "User": "1000", "WorkingDir": "/home",
            "ExposedPorts": { "6901/tcp": {}, "80/tcp": {} }, "Volumes": { "/data": {} },
            "Healthcheck": { "Test": ["CMD", "true"] }, "StopSignal": "SIGTERM",
        });
        for (key, value) in change.as_object().expect("an object") {
            config[key] = value.clone();
        }
        serde_json::from_value(json!({
            "Id": "0123456789abcdef",
            "Config": config,
            "HostConfig": { "Binds": ["home:/home"], "NetworkMode": "desk" },
            "Mounts": [
                { "Type": "volume", "Name": "home", "Destination": "/home" },
                { "Type": "volume", "Name": "0f0f", "Destination": "/data" },
            ],
            "NetworkSettings": { "Networks": {
                "desk": { "Aliases": ["web", "0123456789ab"], "IPAddress": "10.0.0.2", "MacAddress": "02:42",
                          "IPAMConfig": { "IPv4Address": "10.0.0.9" } },
                "other": {},
            } },
        }))
        .expect("an inspected container")
    };
    let wanted = desktop(Settings::default());
    let Creation { body, networks } =
        carried(&container(json!({})), &image, &wanted, 2, false).expect("settings");
    assert_eq!(body.env, Some(vec!["MINE=1".into()]));
    let labels = body.labels.clone().expect("labels");
    assert_eq!(labels.get("from"), None);
    assert_eq!(labels[COMPOSE_IMAGE_LABEL], wanted.image_id.to_string());
    assert_eq!(
        (labels["changed"].as_str(), labels["mine"].as_str()),
        ("user", "1")
    );
    assert_eq!(
        (body.cmd, body.entrypoint, body.user, body.working_dir),
        (None, None, None, None)
    );
    assert_eq!((body.healthcheck, body.stop_signal), (None, None));
    assert_eq!(body.exposed_ports, Some(vec!["80/tcp".into()]));
    assert_eq!(body.hostname.as_deref(), Some("box"));
    // The volume without a name stays with the desktop.
    let mounts = body
        .host_config
        .and_then(|host| host.mounts)
        .expect("mounts");
    assert_eq!(mounts.len(), 1);
    assert_eq!(
        (mounts[0].source.as_deref(), mounts[0].target.as_deref()),
        (Some("0f0f"), Some("/data"))
    );
    // An older engine takes one network in the request.
    let endpoints = body
        .networking_config
        .and_then(|config| config.endpoints_config)
        .expect("networks");
    assert_eq!(endpoints.keys().collect::<Vec<_>>(), ["desk"]);
    assert_eq!(endpoints["desk"].aliases, Some(vec!["web".into()]));
    assert_eq!(endpoints["desk"].mac_address, None);
    let address = endpoints["desk"]
        .ipam_config
        .as_ref()
        .and_then(|config| config.ipv4_address.as_deref());
    assert_eq!(address, Some("10.0.0.9"));
    assert_eq!(
        networks
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["other"]
    );

    let Creation { body, .. } = carried(
        &container(json!({ "Entrypoint": ["/mine"] })),
        &image,
        &wanted,
        2,
        true,
    )
    .expect("settings");
    assert_eq!(body.entrypoint, Some(vec!["/mine".into()]));
    assert_eq!(
        body.cmd,
        Some(vec!["serve".into()]),
        "a user's entry point keeps its command"
    );
    assert_eq!(
        body.networking_config
            .and_then(|config| config.endpoints_config)
            .expect("networks")
            .len(),
        2
    );
}
