//! What an upgrade keeps, shows, waits for and goes back to.

use super::*;

/// Asks the engine's API; the status must be one of success.
fn order(method: &str, path: &str, body: &Value) -> String {
    let text = body.to_string();
    let bytes: &[u8] = if body.is_null() { &[] } else { text.as_bytes() };
    // The engine wants to know what it is given.
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let mut stream =
        std::os::unix::net::UnixStream::connect(&server().socket).expect("the engine's socket");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(bytes).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
    answer
}

fn run(engine: &Engine, container: &str, script: &str) {
    let check = Check {
        name: script.into(),
        probe: Probe::Command(["sh", "-c", script].map(str::to_owned).to_vec()),
        within: Duration::ZERO,
    };
    let outcome = engine.check(container, &[check]).expect("an answer");
    assert_eq!(outcome[0].problem, None);
}

#[test]
fn everything_a_person_set_is_carried_over() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let first = load(&engine, &named("carried", "one").write(folder.path()));
    order(
        "POST",
        "/networks/create",
        &json!({ "Name": "carried-net", "IPAM": { "Config": [{ "Subnet": "10.214.7.0/24" }] } }),
    );
    // As `docker run` with these options would ask for it.
    order(
        "POST",
        "/containers/create?name=carried",
        &json!({
            "Image": "kasmforge/carried:latest",
            "Hostname": "desk", "Domainname": "example.org", "User": "0",
            "Env": ["MINE=1", "PAGE=mine"], "Labels": { "mine": "yes" },
            "ExposedPorts": { "8080/tcp": {} }, "Volumes": { "/anonymous": {} },
            "StopTimeout": 3,
            "HostConfig": {
                "PortBindings": { "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] },
                "Binds": ["carried-data:/data"],
                "Tmpfs": { "/scratch": "rw,size=1m" },
                "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 4 },
                "Memory": 67_108_864, "NanoCpus": 500_000_000, "PidsLimit": 64, "ShmSize": 33_554_432,
                "CapAdd": ["SYS_PTRACE"], "CapDrop": ["MKNOD"],
                "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r" }],
                "Ulimits": [{ "Name": "nofile", "Soft": 512, "Hard": 1024 }],
                "SecurityOpt": ["no-new-privileges"],
                "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
                "ExtraHosts": ["box:10.0.0.1"], "Dns": ["10.0.0.2"], "Init": false,
                "OomScoreAdj": 100, "Sysctls": { "net.ipv4.ip_unprivileged_port_start": "0" },
                "NetworkMode": "carried-net",
            },
            "NetworkingConfig": { "EndpointsConfig": { "carried-net": {
                "Aliases": ["desk-alias"], "IPAMConfig": { "IPv4Address": "10.214.7.77" },
            } } },
        }),
    );
    order(
        "POST",
        "/networks/bridge/connect",
        &json!({ "Container": "carried" }),
    );
    order("POST", "/containers/carried/start", &Value::Null);
    let before = inspect("/containers/carried/json");
    let volume = |info: &Value| {
        let mounts = info["Mounts"].as_array().expect("mounts").clone();
        let found = mounts
            .iter()
            .find(|mount| mount["Destination"] == "/anonymous")
            .expect("the anonymous volume");
        found["Name"].as_str().unwrap_or_default().to_owned()
    };

    let second = load(&engine, &named("carried", "two").write(folder.path()));
    let wanted = Desktop {
        own: false,
        ..desktop("carried", &second, port)
    };
    assert_eq!(wanted.reference, first.reference);
    engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
    let after = inspect("/containers/carried/json");

    let mut expected = before["HostConfig"].clone();
    let mut found = after["HostConfig"].clone();
    // What was anonymous now has its name.
    expected["Mounts"] = Value::Null;
    found["Mounts"] = Value::Null;
    assert_eq!(found, expected);
    assert_eq!(volume(&after), volume(&before));
    for key in ["Hostname", "Domainname", "User", "StopTimeout"] {
        assert_eq!(after["Config"][key], before["Config"][key], "{key}");
    }
    let variables = after["Config"]["Env"].to_string();
    assert!(
        variables.contains("MINE=1") && variables.contains("PAGE=mine"),
        "{variables}"
    );
    assert_eq!(after["Config"]["Labels"]["mine"], "yes");
    assert_eq!(after["Config"]["Labels"]["page"], "carried-two");
    let network = |info: &Value| info["NetworkSettings"]["Networks"]["carried-net"].clone();
    assert_eq!(network(&after)["IPAddress"], "10.214.7.77");
    assert!(
        network(&after)["Aliases"]
            .to_string()
            .contains("desk-alias")
    );
    assert!(after["NetworkSettings"]["Networks"]["bridge"].is_object());
    assert_eq!(page(port).as_deref(), Some("carried-two"));
    engine.take_down("carried").expect("removed");
    order("DELETE", "/networks/carried-net", &Value::Null);
}

#[test]
fn a_plan_touches_nothing_and_tells_all() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("planned", "one").write(folder.path()));
    let mut wanted = desktop("planned", &image, port);
    let plan = engine.plan(&wanted).expect("a plan");
    assert!(plan.from.is_none() && !plan.running && plan.generation == 1);
    assert_eq!(container_names("planned"), [""; 0]);
    engine.upgrade(&wanted, &mut |_| ()).expect("created");
    assert!(engine.plan(&wanted).expect("a plan").unchanged);

    run(
        &engine,
        "planned",
        "mkdir /keep && echo x > /keep/a && echo y > /lost",
    );
    wanted.settings.memory = Some(64 << 20);
    wanted
        .settings
        .environment
        .insert("VNC_PW".into(), "secret".into());
    wanted.settings.volumes.clear();
    wanted.adopt = vec![kasmforge_deploy::Adoption {
        path: "/keep".into(),
        volume: "planned-keep".into(),
    }];
    let plan = engine.plan(&wanted).expect("a plan");
    assert!(plan.running && !plan.unchanged && plan.generation == 2);
    assert_eq!(plan.left_behind, ["/lost"]);
    let changes: Vec<_> = plan
        .changes
        .iter()
        .map(|one| (one.setting, one.from.as_deref(), one.to.as_deref()))
        .collect();
    assert_eq!(
        changes,
        [
            ("volumes", Some("planned-data:/data"), None),
            ("memory", None, Some("64m")),
            ("environment", None, Some("VNC_PW=…")),
        ]
    );
    assert_eq!(container_names("planned"), ["planned"]);

    engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
    run(
        &engine,
        "planned",
        "test \"$(cat /keep/a)\" = x && ! test -e /lost",
    );
    // It is a volume now, and goes along by itself.
    wanted.adopt.clear();
    wanted.force = true;
    run(&engine, "planned", "echo z > /keep/b");
    engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
    run(&engine, "planned", "test -e /keep/a && test -e /keep/b");
    let again = Desktop {
        adopt: vec![kasmforge_deploy::Adoption {
            path: "/keep".into(),
            volume: "other".into(),
        }],
        ..wanted
    };
    let refused = engine.plan(&again).expect_err("it is on a volume");
    assert!(matches!(refused, Error::NotAdopted { .. }), "{refused:?}");
}

#[test]
fn nobody_is_thrown_out_of_a_desktop_in_use() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("busy", "one").write(folder.path()));
    engine
        .upgrade(&desktop("busy", &image, port), &mut |_| ())
        .expect("created");
    let image = load(&engine, &named("busy", "two").write(folder.path()));
    let mut person = TcpStream::connect(("127.0.0.1", port)).ok();
    assert!(person.is_some());
    let wanted = Desktop {
        when_idle: true,
        ..desktop("busy", &image, port)
    };
    let mut seen = 0;
    engine
        .upgrade(&wanted, &mut |event| match event {
            UpgradeEvent::Busy { clients } => {
                seen = clients;
                assert_eq!(inspect("/containers/busy/json")["State"]["Running"], true);
                drop(person.take());
            }
            UpgradeEvent::Stopping { .. } => assert!(person.is_none()),
            _ => {}
        })
        .expect("replaced");
    assert_eq!(seen, 1);
    assert_eq!(page(port).as_deref(), Some("busy-two"));
}

#[test]
fn any_kept_generation_can_be_gone_back_to() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let mut ids = Vec::new();
    for (number, version) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let image = load(&engine, &named("past", version).write(folder.path()));
        ids.push(image.image_id.to_string());
        let wanted = Desktop {
            keep: 2,
            contents: Some([("bash".to_owned(), number.to_string())].into()),
            ..desktop("past", &image, port)
        };
        engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
    }
    let health = Health {
        timeout: Duration::from_secs(30),
        desktop_port: Some(8080),
        picture: true,
        checks: Vec::new(),
    };
    let states = |engine: &Engine| -> Vec<_> {
        let history = engine.history("past").expect("a history");
        history
            .into_iter()
            .map(|one| (one.number, one.state.name()))
            .collect()
    };
    assert_eq!(
        states(&engine),
        [(1, "gone"), (2, "kept"), (3, "kept"), (4, "running")]
    );
    let history = engine.history("past").expect("a history");
    assert_eq!(history[3].image, ids[3]);
    assert_eq!(history[3].healthy, Some(true));
    assert!(history[3].created.is_some());
    let changes = history[3].changes.as_ref().expect("known packages");
    assert_eq!(
        (changes[0].from.as_deref(), changes[0].to.as_deref()),
        (Some("2"), Some("3"))
    );

    let refused = engine.rollback("past", Some(1), &health, &mut |_| ());
    assert_eq!(
        refused.expect_err("it is gone").to_string(),
        "generation 1 of `past` is not kept; there are 2, 3"
    );
    let back = engine
        .rollback("past", Some(2), &health, &mut |_| ())
        .expect("back");
    assert_eq!((back.generation, back.to.as_str()), (2, ids[1].as_str()));
    assert_eq!(page(port).as_deref(), Some("past-two"));
    assert_eq!(back.previous.as_deref(), Some("past-kf-4"));

    // Others clean up: the container of generation 3 goes, and all images nobody uses.
    order("DELETE", "/containers/past-kf-3?force=1", &Value::Null);
    order("DELETE", "/images/kasmforge/past:latest", &Value::Null);
    assert_eq!(states(&engine)[2], (3, "image-only"));
    let forth = engine
        .rollback("past", Some(3), &health, &mut |_| ())
        .expect("its image is kept");
    assert_eq!((forth.generation, forth.to.as_str()), (3, ids[2].as_str()));
    assert_eq!(page(port).as_deref(), Some("past-three"));
    let info = inspect("/containers/past/json");
    assert_eq!(
        info["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert_eq!(info["HostConfig"]["ShmSize"], 96 << 20);

    engine.take_down("past").expect("removed");
    assert_eq!(container_names("past"), [""; 0]);
    assert_eq!(states(&engine), []);
}

#[test]
fn what_could_not_come_back_is_refused_with_its_reason() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("bound", "one").write(folder.path()));
    engine
        .upgrade(&desktop("bound", &image, port), &mut |_| ())
        .expect("created");
    let image = load(&engine, &named("bound", "two").write(folder.path()));
    let wanted = desktop("bound", &image, port);
    let other = "kasmforge/bound:latest";
    for (body, how) in [
        (
            json!({ "NetworkMode": "container:bound" }),
            "shares its network",
        ),
        (
            json!({ "PidMode": "container:bound" }),
            "shares its processes",
        ),
        (json!({ "IpcMode": "container:bound" }), "shares its memory"),
        (json!({ "VolumesFrom": ["bound:ro"] }), "--volumes-from"),
        (json!({ "Links": ["bound:desk"] }), "--link"),
    ] {
        order(
            "POST",
            "/containers/create?name=bound-sidecar",
            &json!({ "Image": other, "HostConfig": body }),
        );
        let refused = engine.upgrade(&wanted, &mut |_| ());
        let words = refused.expect_err("it would be lost").to_string();
        assert!(
            words.contains("`bound-sidecar`") && words.contains(how),
            "{words}"
        );
        order("DELETE", "/containers/bound-sidecar?force=1", &Value::Null);
    }
    order(
        "POST",
        "/containers/create?name=passing",
        &json!({ "Image": other, "HostConfig": { "AutoRemove": true } }),
    );
    let passing = Desktop {
        container: "passing".into(),
        settings: Settings::default(),
        ..wanted
    };
    let words = engine
        .upgrade(&passing, &mut |_| ())
        .expect_err("it would vanish")
        .to_string();
    assert!(words.contains("--rm"), "{words}");
}

#[test]
fn the_images_own_check_is_asked_before_the_engine_asks_it() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let check = "test -e /ready || { echo it is not ready; exit 1; }";
    let recipe = Recipe {
        // The engine would ask for the first time in an hour.
        config: json!({ "Healthcheck": {
            "Test": ["CMD-SHELL", check], "Interval": 3_600_000_000_000_u64, "Timeout": 20_000_000_000_u64,
        } }),
        ..named("asked", "one")
    };
    let image = load(&engine, &recipe.write(folder.path()));
    let (mut waited, mut passed) = (false, false);
    engine
        .upgrade(&desktop("asked", &image, port), &mut |event| match event {
            UpgradeEvent::Waiting { waiting }
                if !waited && waiting.iter().any(|one| one.ends_with("it is not ready")) =>
            {
                waited = true;
                run(&engine, "asked-kf-new", "touch /ready");
            }
            UpgradeEvent::Passed { check } => passed |= check == "the image's health check",
            _ => {}
        })
        .expect("it is healthy");
    assert!(waited && passed, "waited: {waited}, passed: {passed}");
}
