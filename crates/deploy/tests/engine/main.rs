//! Load, upgrade and rollback against a real engine. These tests fail where none can be started:
//! they need root, `dockerd` (Debian: `docker.io`), `iproute2` and `busybox-static`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use kasmforge_deploy::{
    Check, Desktop, Engine, Environment, Error, Health, ImageArchive, LoadEvent, Loaded, Old,
    Probe, Reason, Reference, Settings, Store, UpgradeEvent, connect,
};
use kasmforge_digest::Digest;
use serde_json::{Value, json};

use image::{Recipe, httpd};
use support::free_port;

mod faults;
mod image;
#[path = "../../../../tests/support/engine.rs"]
mod support;
mod upgrades;

/// An engine's socket to use instead of starting one: of another version, or another product.
const SOCKET: &str = "KASMFORGE_TEST_ENGINE_SOCKET";
/// The address that engine is spoken to at, if not by its socket: `ssh://…`, `tcp://…`.
const HOST: &str = "KASMFORGE_TEST_ENGINE_HOST";

/// One engine for all tests of this process; its supervisor ends it with the process.
fn server() -> &'static support::Engine {
    static SERVER: OnceLock<support::Engine> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var_os(SOCKET) {
        Some(socket) => support::Engine::existing(socket.into()),
        None => support::Engine::start(),
    })
}

fn host() -> String {
    std::env::var(HOST).unwrap_or_else(|_| server().host())
}

fn engine() -> Engine {
    connected(&host())
}

fn connected(host: &str) -> Engine {
    connect(Some(host), &environment(host)).expect("the engine answers")
}

/// Upgrades are written down in the engine's own folder, and go with it.
fn environment(host: &str) -> Environment {
    let folder = host.strip_prefix("unix://").map(Path::new);
    let folder = match folder.and_then(Path::parent) {
        Some(folder) if std::env::var_os(SOCKET).is_none() => folder.to_owned(),
        _ => Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string()),
    };
    Environment {
        state: Some(folder.join("state")),
        docker_tls_verify: std::env::var("DOCKER_TLS_VERIFY").ok(),
        docker_cert_path: std::env::var_os("DOCKER_CERT_PATH").map(Into::into),
        ..Environment::default()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn load(engine: &Engine, image: &ImageArchive) -> Loaded {
    engine
        .load(image, &mut |_| ())
        .expect("the image is loaded")
}

fn inspect(path: &str) -> Value {
    inspect_at(server(), path)
}

fn inspect_at(server: &support::Engine, path: &str) -> Value {
    let answer = server.get(path).expect("the engine answers");
    let body = answer.split_once("\r\n\r\n").expect("a head and a body").1;
    // The body may come in chunks, whose sizes stand on lines of their own.
    let body: String = match answer.to_lowercase().contains("transfer-encoding: chunked") {
        true => body.split("\r\n").skip(1).step_by(2).collect(),
        false => body.to_owned(),
    };
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn image_id(server: &support::Engine, name: &str) -> String {
    let image = inspect_at(server, &format!("/images/{name}/json"));
    image["Id"].as_str().unwrap_or_default().to_owned()
}

/// The names of ours under which an image still stands.
fn staged(server: &support::Engine, name: &str) -> Vec<String> {
    let images = inspect_at(server, "/images/json?all=1");
    let images = images.as_array().expect("a list").iter();
    images
        .flat_map(|image| image["RepoTags"].as_array().into_iter().flatten())
        .filter_map(|tag| tag.as_str())
        .filter(|tag| tag.starts_with(&format!("kasmforge-staging/{name}:")))
        .map(str::to_owned)
        .collect()
}

/// The page a desktop serves, if it does.
fn page(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn desktop(name: &str, loaded: &Loaded, port: u16) -> Desktop {
    Desktop {
        reference: loaded.reference.clone(),
        image_id: loaded.image_id,
        container: name.into(),
        settings: Settings {
            ports: vec![format!("127.0.0.1:{port}:8080")],
            volumes: vec![format!("{name}-data:/data")],
            shm_size: Some(96 << 20),
            restart: Some("unless-stopped".into()),
            ..Settings::default()
        },
        health: Health {
            timeout: Duration::from_secs(30),
            desktop_port: Some(8080),
            picture: true,
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

fn named(name: &str, page: &str) -> Recipe {
    // Images with the same content are the same image, and tests run side by side.
    Recipe {
        name: name.into(),
        ..httpd(&format!("{name}-{page}"))
    }
}

#[test]
fn a_load_sends_what_the_engine_lacks_and_moves_the_name_at_last() {
    // An engine of its own, for what others loaded need not be sent.
    let (server, folder) = (support::Engine::start(), folder());
    let engine = connected(&server.host());
    let first = named("load", "one").write(folder.path());
    let mut events = Vec::new();
    let loaded = engine
        .load(&first, &mut |event| events.push(event))
        .expect("the image is loaded");
    let id = |image: &ImageArchive| match loaded.store {
        Store::Classic => image.config,
        Store::Containerd => image.manifest,
    };
    let image_id = || image_id(&server, "kasmforge/load:latest");
    assert!(!loaded.already_there);
    assert_eq!((loaded.layers_total, loaded.layers_sent), (2, 2));
    assert_eq!(loaded.image_id, id(&first));
    assert_eq!(image_id(), id(&first).to_string());
    assert_eq!(staged(&server, "load"), [""; 0]);
    let Some(LoadEvent::Sending { sent, length }) = events
        .iter()
        .rfind(|event| matches!(event, LoadEvent::Sending { .. }))
    else {
        panic!("no progress: {events:?}")
    };
    assert_eq!((*sent, *length), (loaded.bytes_sent, loaded.bytes_sent));
    assert_eq!(events.last(), Some(&LoadEvent::Verifying));

    let again = load(&engine, &first);
    assert!(again.already_there);
    assert_eq!((again.layers_sent, again.bytes_sent), (0, 0));

    // Only the page differs: busybox below it stays at home.
    let second = named("load", "two").write(folder.path());
    let increment = load(&engine, &second);
    assert_eq!((increment.layers_total, increment.layers_sent), (2, 1));
    let bytes = increment.bytes_sent;
    assert!(
        bytes < 20_000 && bytes < loaded.bytes_sent / 50,
        "{bytes} bytes"
    );
    assert_eq!(image_id(), id(&second).to_string());

    // Going back is a matter of the name alone.
    assert!(load(&engine, &first).already_there);
    assert_eq!(image_id(), id(&first).to_string());
}

#[test]
fn a_layer_the_engine_only_seemed_to_have_is_sent_after_all() {
    let (server, folder) = (support::Engine::start(), folder());
    let engine = connected(&server.host());
    // The engine has the very same layers, but it got them compressed: a containerd store keeps
    // those blobs under other names, and would take an image that lacks ours for a good one.
    let elsewhere = named("elsewhere", "page").gzipped();
    let answer = server
        .request("POST", "/images/load", &elsewhere)
        .expect("the engine answers");
    assert!(answer.contains("Loaded image"), "{answer}");
    let image = Recipe {
        config: json!({ "User": "7" }),
        ..named("elsewhere", "page")
    };
    let image = Recipe {
        name: "here".into(),
        ..image
    }
    .write(folder.path());
    let mut resent = false;
    let loaded = engine
        .load(&image, &mut |event| {
            resent |= matches!(event, LoadEvent::SendingAll { .. })
        })
        .expect("the image is loaded");
    assert_eq!(resent, loaded.store == Store::Containerd);
    assert_eq!(loaded.layers_sent, if resent { 2 } else { 0 });
    assert_eq!(
        image_id(&server, "kasmforge/here:latest"),
        loaded.image_id.to_string()
    );
    assert!(load(&engine, &image).already_there);
}

#[test]
fn a_damaged_image_leaves_the_name_where_it_was() {
    let (engine, folder) = (engine(), folder());
    let good = load(&engine, &named("damaged", "good").write(folder.path()));

    let image = named("damaged", "bad").write(folder.path());
    let mut bytes = std::fs::read(&image.path).expect("the archive");
    let page = bytes
        .windows(11)
        .position(|window| window == b"damaged-bad")
        .expect("the page");
    bytes[page] = b'D';
    std::fs::write(&image.path, &bytes).expect("the archive");
    let error = engine
        .load(&image, &mut |_| ())
        .expect_err("a layer is not what it was");
    assert!(matches!(error, Error::ImageRefused { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("docker.io/kasmforge/damaged:latest"),
        "{error}"
    );
    assert_eq!(
        image_id(server(), "kasmforge/damaged:latest"),
        good.image_id.to_string()
    );

    std::fs::write(&image.path, &bytes[..page]).expect("the archive");
    let error = engine
        .load(&image, &mut |_| ())
        .expect_err("the archive is cut");
    assert!(matches!(error, Error::DamagedArchive { .. }), "{error:?}");
    assert_eq!(staged(server(), "damaged"), [""; 0]);
}

#[test]
fn an_engine_that_is_not_there_is_told_in_words() {
    let folder = folder();
    let path = folder.path().join("docker.sock");
    let host = format!("unix://{}", path.display());
    let connect = |host: &str| connect(Some(host), &Environment::default());
    let words = |error: Option<Error>| error.expect("there is no engine").to_string();

    let missing = words(connect(&host).err());
    assert!(
        missing.contains("no Docker engine runs here")
            && missing.contains("systemctl start docker"),
        "{missing}"
    );

    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let silent = connect(&host).err();
    assert!(
        matches!(silent, Some(Error::NotRunning { .. })),
        "{silent:?}"
    );
    assert!(words(silent).contains("is not running"));

    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let other = format!("tcp://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"220 mail.example.org ESMTP\r\n");
        }
    });
    let stranger = connect(&other).err();
    assert!(
        matches!(stranger, Some(Error::NotAnEngine { .. })),
        "{stranger:?}"
    );

    let server = support::Engine::start();
    let engine = connect(&server.host()).expect("the engine answers");
    let image = httpd("x").write(folder.path());
    server.stop();
    let gone = engine
        .load(&image, &mut |_| ())
        .expect_err("the engine has gone");
    assert!(
        matches!(gone, Error::NoSocket { .. } | Error::NotRunning { .. }),
        "{gone:?}"
    );
}

#[test]
fn a_desktop_is_created_replaced_and_rolled_back() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let first = load(&engine, &named("life", "one").write(folder.path()));
    let mut wanted = desktop("life", &first, port);
    wanted
        .settings
        .environment
        .insert("VNC_PW".into(), "secret".into());

    let created = engine
        .upgrade(&wanted, &mut |_| ())
        .expect("the desktop is created");
    assert!(created.created && created.from.is_none() && created.previous.is_none());
    // The loopback of another machine cannot be reached from here.
    let here = host()
        .starts_with("unix:")
        .then(|| format!("http://127.0.0.1:{port}"));
    assert_eq!(created.address.as_ref().map(ToString::to_string), here);
    assert_eq!(page(port).as_deref(), Some("life-one"));
    assert_eq!(engine.logs("life", 5).expect("a log"), ["serving"]);
    let info = inspect("/containers/life/json");
    assert_eq!(info["HostConfig"]["ShmSize"], 96 << 20);
    assert_eq!(
        info["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert!(!info["Config"]["Labels"].to_string().contains("secret"));

    let same = engine
        .upgrade(&wanted, &mut |_| ())
        .expect("nothing is to be done");
    assert!(same.unchanged);
    assert_eq!(same.container_id, created.container_id);

    let second = load(&engine, &named("life", "two").write(folder.path()));
    wanted.image_id = second.image_id;
    wanted
        .settings
        .environment
        .insert("MORE".into(), "1".into());
    // Somebody used the desktop meanwhile: one file in its volume, one outside.
    let used = Check {
        name: "use".into(),
        probe: Probe::Command(
            ["sh", "-c", "echo kept > /data/file; echo lost > /note"]
                .map(str::to_owned)
                .to_vec(),
        ),
        within: Duration::ZERO,
    };
    assert_eq!(
        engine.check("life", &[used]).expect("a command")[0].problem,
        None
    );
    let mut left = Vec::new();
    let replaced = engine
        .upgrade(&wanted, &mut |event| {
            if let UpgradeEvent::Planned(plan) = event {
                left = plan.left_behind;
            }
        })
        .expect("the desktop is replaced");
    assert_eq!(left, ["/note"]);
    assert_eq!(replaced.from, Some(first.image_id.to_string()));
    assert_eq!(replaced.to, second.image_id.to_string());
    assert_eq!(replaced.previous.as_deref(), Some("life-kf-1"));
    assert_ne!(replaced.container_id, created.container_id);
    assert_eq!(page(port).as_deref(), Some("life-two"));
    let info = inspect("/containers/life/json");
    let variables = info["Config"]["Env"].to_string();
    for expected in ["VNC_PW=secret", "MORE=1", "PAGE=life-two"] {
        assert!(variables.contains(expected), "{variables}");
    }
    assert!(
        !variables.contains("PAGE=life-one"),
        "the old image's variable stayed: {variables}"
    );
    assert_eq!(info["Config"]["Labels"]["page"], "life-two");
    assert_eq!(info["HostConfig"]["ShmSize"], 96 << 20);
    let old = inspect("/containers/life-kf-1/json");
    assert_eq!(old["HostConfig"]["RestartPolicy"]["Name"], "no");
    let kept = Check {
        name: "kept".into(),
        probe: Probe::Command(["test", "-e", "/data/file"].map(str::to_owned).to_vec()),
        within: Duration::ZERO,
    };
    assert_eq!(
        engine.check("life", &[kept]).expect("a command")[0].problem,
        None
    );

    let back = engine
        .rollback("life", None, &wanted.health, &mut |_| ())
        .expect("back to the first");
    assert_eq!(back.to, first.image_id.to_string());
    assert_eq!(page(port).as_deref(), Some("life-one"));
    let info = inspect("/containers/life/json");
    assert_eq!(
        info["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    let forth = engine
        .rollback("life", None, &wanted.health, &mut |_| ())
        .expect("to the second again");
    assert_eq!(forth.to, second.image_id.to_string());
    assert_eq!(page(port).as_deref(), Some("life-two"));

    // One generation is kept, and the image of the one before goes with its container.
    let third = load(&engine, &named("life", "three").write(folder.path()));
    wanted.image_id = third.image_id;
    engine
        .upgrade(&wanted, &mut |_| ())
        .expect("the desktop is replaced again");
    let names = container_names("life");
    assert_eq!(names, ["life", "life-kf-2"]);
    let images = inspect("/images/json?all=1").to_string();
    assert!(
        images.contains(&second.image_id.to_string())
            && !images.contains(&first.image_id.to_string())
    );
}

/// The names of the containers of a desktop, sorted.
fn container_names(desktop: &str) -> Vec<String> {
    let mut names: Vec<_> = inspect("/containers/json?all=1")
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|container| container["Names"][0].as_str())
        .map(|name| name.trim_start_matches('/').to_owned())
        .filter(|name| name == desktop || name.starts_with(&format!("{desktop}-kf-")))
        .collect();
    names.sort();
    names
}

fn failure(result: Result<kasmforge_deploy::Upgraded, Error>) -> kasmforge_deploy::Failure {
    match result {
        Err(Error::Failed(failure)) => *failure,
        other => panic!("expected a failed upgrade: {other:?}"),
    }
}

#[test]
fn a_desktop_that_does_not_become_healthy_gives_way_to_the_old_one() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let good = load(&engine, &named("sick", "good").write(folder.path()));
    let first = engine
        .upgrade(&desktop("sick", &good, port), &mut |_| ())
        .expect("the desktop is created");
    let try_image = |recipe: Recipe, change: &dyn Fn(&mut Desktop)| {
        let bad = load(&engine, &recipe.write(folder.path()));
        let mut wanted = desktop("sick", &bad, port);
        change(&mut wanted);
        let failure = failure(engine.upgrade(&wanted, &mut |_| ()));
        assert!(matches!(failure.old, Old::Restored), "{failure:?}");
        assert_eq!(failure.kept.as_deref(), Some("sick-kf-failed"));
        // The very container that ran before runs again, with its restart policy.
        assert_eq!(page_soon(port), "sick-good");
        let info = inspect("/containers/sick/json");
        assert_eq!(info["Id"], first.container_id.as_str());
        assert_eq!(
            info["HostConfig"]["RestartPolicy"]["Name"],
            "unless-stopped"
        );
        assert_eq!(
            inspect("/containers/sick-kf-failed/json")["State"]["Running"],
            false
        );
        assert_eq!(container_names("sick"), ["sick", "sick-kf-failed"]);
        failure
    };

    let command = "echo sick > /tmp/container-health.log; echo about to fail; exit 3";
    let exited = try_image(
        Recipe {
            command: command.into(),
            ..named("sick", "exits")
        },
        &|_| (),
    );
    // Depending on the moment, it is seen dead or already started again.
    assert!(
        matches!(
            exited.reason,
            Reason::Exited { status: 3, .. } | Reason::Restarted { status: 3 | 0 }
        ),
        "{exited:?}"
    );
    assert!(
        exited.logs.iter().any(|line| line == "about to fail"),
        "{exited:?}"
    );
    assert_eq!(exited.health_log, ["sick"]);

    let healthcheck = json!({ "Healthcheck": {
        "Test": ["CMD-SHELL", "echo no display; exit 1"],
        "Interval": 1_000_000_000, "Timeout": 1_000_000_000, "Retries": 1,
    } });
    let unhealthy = try_image(
        Recipe {
            config: healthcheck,
            ..named("sick", "unhealthy")
        },
        &|_| (),
    );
    assert!(
        matches!(&unhealthy.reason, Reason::Unhealthy { said } if said == "no display"),
        "{unhealthy:?}"
    );

    let check = |wanted: &mut Desktop| {
        wanted.health.checks.push(Check {
            name: "page".into(),
            probe: Probe::Http {
                port: 8080,
                tls: false,
                path: "/none".into(),
                status: 200,
            },
            within: Duration::from_millis(200),
        });
    };
    let wrong = try_image(named("sick", "wrong"), &check);
    assert_eq!(
        wrong.reason.to_string(),
        "the check `page` does not hold: /none answers 404, not 200"
    );

    let silent = Recipe {
        command: "exec sleep 1000".into(),
        ..named("sick", "silent")
    };
    let silent = try_image(silent, &|wanted| {
        wanted.health.timeout = Duration::from_millis(500)
    });
    let Reason::Timeout { waiting, .. } = &silent.reason else {
        panic!("{silent:?}")
    };
    assert_eq!(waiting, &[format!("nothing answers at 127.0.0.1:{port}")]);
}

/// The page of a desktop that was started a moment ago.
fn page_soon(port: u16) -> String {
    (0..100)
        .find_map(|_| {
            page(port).filter(|page| !page.is_empty()).or_else(|| {
                std::thread::sleep(Duration::from_millis(100));
                None
            })
        })
        .expect("the desktop answers")
}

#[test]
fn a_taken_port_is_named() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("ports", "page").write(folder.path()));
    engine
        .upgrade(&desktop("holder", &image, port), &mut |_| ())
        .expect("the desktop is created");
    let error = engine
        .upgrade(&desktop("ports", &image, port), &mut |_| ())
        .expect_err("the port is taken");
    assert_eq!(
        error.to_string(),
        format!(
            "port {port} of the host is in use by the container `holder`; free it, or publish another port"
        )
    );

    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let error = engine
        .upgrade(&desktop("ports", &image, port), &mut |_| ())
        .expect_err("the port is taken");
    assert!(
        matches!(error, Error::PortTaken { port: found, by: None } if found == port),
        "{error:?}"
    );
    assert_eq!(container_names("ports"), [""; 0], "nothing is left of it");
    drop(listener);
    engine
        .upgrade(&desktop("ports", &image, port), &mut |_| ())
        .expect("the port is free");
}

#[test]
fn an_interrupted_upgrade_is_made_good_by_the_next_one() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let first = load(&engine, &named("cut", "one").write(folder.path()));
    engine
        .upgrade(&desktop("cut", &first, port), &mut |_| ())
        .expect("the desktop is created");
    let second = load(&engine, &named("cut", "two").write(folder.path()));
    let wanted = desktop("cut", &second, port);
    let cut = || {
        let upgrade = AssertUnwindSafe(|| {
            engine.upgrade(&wanted, &mut |event| {
                assert!(!matches!(event, UpgradeEvent::Starting { .. }), "cut off");
            })
        });
        catch_unwind(upgrade).expect_err("the program ends here");
        assert_eq!(inspect("/containers/cut/json")["State"]["Running"], false);
    };

    cut();
    let back = engine
        .rollback("cut", None, &wanted.health, &mut |_| ())
        .expect("the old one comes back");
    assert_eq!(back.to, first.image_id.to_string());
    assert_eq!(page(port).as_deref(), Some("cut-one"));
    assert_eq!(
        inspect("/containers/cut/json")["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert_eq!(container_names("cut"), ["cut"]);

    cut();
    let done = engine
        .upgrade(&wanted, &mut |_| ())
        .expect("the upgrade is finished");
    assert_eq!(done.from, Some(first.image_id.to_string()));
    assert_eq!(page(port).as_deref(), Some("cut-two"));
    assert_eq!(
        inspect("/containers/cut/json")["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert_eq!(container_names("cut"), ["cut", "cut-kf-1"]);
}

#[test]
fn questions_to_a_container_are_answered() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("asked", "page").write(folder.path()));
    engine
        .upgrade(&desktop("asked", &image, port), &mut |_| ())
        .expect("the desktop is created");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    let probes = [
        (Probe::Port(8080), None),
        (Probe::Port(8081), Some("nothing listens on port 8081")),
        (
            Probe::Http {
                port: 8080,
                tls: false,
                path: "/".into(),
                status: 200,
            },
            None,
        ),
        (
            Probe::Http {
                port: 9,
                tls: false,
                path: "/".into(),
                status: 200,
            },
            Some("/ does not answer"),
        ),
        (Probe::File("/www/index.html".into()), None),
        (Probe::File("/none".into()), Some("/none does not exist")),
        (Probe::Process("httpd".into()), None),
        (
            Probe::Process("Xvnc".into()),
            Some("no process `Xvnc` runs"),
        ),
        (Probe::Command(words("test -e /www")), None),
        (
            Probe::Command(words("cat /none")),
            Some("`cat /none` ended with status 1: cat: can't open"),
        ),
    ];
    let checks: Vec<_> = probes
        .iter()
        .map(|(probe, _)| Check {
            name: format!("{probe:?}"),
            probe: probe.clone(),
            within: Duration::ZERO,
        })
        .collect();
    let outcomes = engine.check("asked", &checks).expect("answers");
    for (outcome, (_, expected)) in outcomes.iter().zip(&probes) {
        match (&outcome.problem, expected) {
            (None, None) => {}
            (Some(problem), Some(expected)) => {
                assert!(problem.starts_with(expected), "{outcome:?}")
            }
            _ => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn what_is_not_ours_or_not_there_is_refused() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let image = load(&engine, &named("mine", "page").write(folder.path()));
    let missing = Desktop {
        image_id: Digest::of(b"another"),
        ..desktop("none", &image, port)
    };
    assert!(matches!(
        engine.upgrade(&missing, &mut |_| ()),
        Err(Error::ImageMissing { .. })
    ));
    let none = engine.rollback("none", None, &missing.health, &mut |_| ());
    assert!(matches!(none, Err(Error::NoPrevious { .. })), "{none:?}");
    assert!(matches!(
        engine.logs("none", 1),
        Err(Error::NoContainer { .. })
    ));
    let unknown = Reference::parse("kasmforge/unknown").expect("a reference");
    let unknown = Desktop {
        reference: unknown,
        ..missing
    };
    assert!(matches!(
        engine.upgrade(&unknown, &mut |_| ()),
        Err(Error::ImageMissing { found: None, .. })
    ));
    assert!(Path::new(&server().socket).exists());
}
