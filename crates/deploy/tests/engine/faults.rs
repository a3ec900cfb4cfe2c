//! Whatever breaks: either the old desktop or the new one serves, somebody is told which, and the
//! next command goes on.

use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use kasmforge_deploy::{Resumed, Step};

use super::*;

/// What the process that is killed is told: engine, container, port, image and step.
const ORDERS: &str = "KASMFORGE_TEST_KILLED";

fn health() -> Health {
    Health {
        timeout: Duration::from_secs(3),
        desktop_port: Some(8080),
        picture: true,
        checks: Vec::new(),
    }
}

/// Not a test of its own: the process that [`a_killed_upgrade_is_finished_or_undone`] kills.
#[test]
#[ignore = "it is run, and killed, by another test"]
fn the_process_that_is_killed() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let orders: Value = serde_json::from_str(&orders).expect("orders");
    let word = |name: &str| orders[name].as_str().expect("a word").to_owned();
    let environment = Environment {
        state: Some(word("state").into()),
        ..Environment::default()
    };
    let engine = connect(Some(&word("host")), &environment).expect("the engine answers");
    let image = Loaded {
        reference: Reference::parse(&word("reference")).expect("a reference"),
        image_id: word("image").parse().expect("a digest"),
        store: Store::Classic,
        layers_total: 0,
        layers_sent: 0,
        bytes_sent: 0,
        already_there: true,
        seconds: 0.0,
    };
    let port = orders["port"].as_u64().expect("a port");
    let mut wanted = desktop(&word("container"), &image, port.try_into().expect("a port"));
    wanted.health = health();
    let last = word("step");
    let _ = engine.upgrade(&wanted, &mut |event| {
        if matches!(event, UpgradeEvent::Step(step) if step.name() == last) {
            let own = std::process::id().to_string();
            let _ = Command::new("kill").args(["-KILL", &own]).status();
        }
    });
    panic!("the step {last} never came");
}

/// Runs an upgrade in a process that is killed when it begins a step.
fn killed_at(step: Step, container: &str, image: &Loaded, port: u16) {
    let orders = json!({
        "host": host(),
        "state": environment(&host()).state,
        "reference": image.reference.to_string(),
        "image": image.image_id.to_string(),
        "container": container,
        "port": port,
        "step": step.name(),
    });
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "faults::the_process_that_is_killed", "--ignored"])
        .env(ORDERS, orders.to_string())
        .output()
        .expect("this test runs");
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_killed_upgrade_is_finished_or_undone() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let old = load(&engine, &named("killed", "old").write(folder.path()));
    let new = load(&engine, &named("killed", "new").write(folder.path()));
    let sick = Recipe {
        command: "exec sleep 1000".into(),
        ..named("killed", "sick")
    };
    let sick = load(&engine, &sick.write(folder.path()));
    // The name moves with each load, and an image without a name goes with its last container.
    for (image, name) in [(&old, "old"), (&new, "new"), (&sick, "sick")] {
        name_it(image, "kasmforge/killed-spare", name);
    }
    let begin = |image: &Loaded| {
        let _ = engine.take_down("killed");
        name_again(image);
        engine
            .upgrade(&desktop("killed", image, port), &mut |_| ())
            .expect("created");
    };
    let steps = [
        (Step::Creating, &new),
        (Step::Stopping, &new),
        (Step::Starting, &new),
        (Step::Waiting, &new),
        (Step::Undoing, &sick),
        (Step::Naming, &new),
        (Step::Tidying, &new),
    ];
    for (step, image) in steps {
        for next in ["upgrade", "rollback", "resume"] {
            begin(&old);
            name_again(image);
            killed_at(step, "killed", image, port);
            let what = format!("killed when {}, then {next}", step.name());
            assert_eq!(engine.interruption("killed").expect("a record"), Some(step));
            let healthy = Desktop {
                health: health(),
                ..desktop("killed", &new, port)
            };
            match next {
                "upgrade" => {
                    name_again(&new);
                    engine.upgrade(&healthy, &mut |_| ()).expect(&what);
                    assert_eq!(page_soon(port), "killed-new", "{what}");
                }
                "rollback" => {
                    engine
                        .rollback("killed", None, &healthy.health, &mut |_| ())
                        .expect(&what);
                    assert_eq!(page_soon(port), "killed-old", "{what}");
                }
                _ => {
                    let resumed = engine
                        .resume("killed", &healthy.health, &mut |_| ())
                        .expect(&what);
                    let (word, page) = match resumed {
                        Resumed::Finished(_) => ("finished", "killed-new"),
                        Resumed::Undone => ("undone", "killed-old"),
                        Resumed::Nothing => ("nothing", "killed-old"),
                    };
                    let expected = match step {
                        Step::Creating => "nothing",
                        Step::Undoing => "undone",
                        _ => "finished",
                    };
                    assert_eq!(word, expected, "{what}");
                    assert_eq!(page_soon(port), page, "{what}");
                }
            }
            assert_eq!(
                engine.interruption("killed").expect("no record"),
                None,
                "{what}"
            );
            let info = inspect("/containers/killed/json");
            assert_eq!(
                info["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped",
                "{what}"
            );
            let names = container_names("killed");
            assert!(names.len() <= 2, "{what}: {names:?}");
            assert!(!names.contains(&"killed-kf-new".to_owned()), "{what}");
        }
    }
}

/// Gives the image its name back, which a later load had moved.
fn name_again(image: &Loaded) {
    name_it(image, &image.reference.repository, &image.reference.tag);
}

fn name_it(image: &Loaded, repository: &str, tag: &str) {
    let path = format!("/images/{}/tag?repo={repository}&tag={tag}", image.image_id);
    let answer = server().request("POST", &path, &[]).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn an_engine_that_loses_power_is_waited_for() {
    let (mut server, folder, port) = (support::Engine::start(), folder(), free_port());
    let engine = connected(&server.host());
    let first = load(&engine, &named("power", "one").write(folder.path()));
    engine
        .upgrade(&desktop("power", &first, port), &mut |_| ())
        .expect("created");
    let second = load(&engine, &named("power", "two").write(folder.path()));
    let mut wanted = desktop("power", &second, port);
    wanted.health.checks.push(Check {
        name: "slow".into(),
        probe: Probe::Command(["sleep", "1"].map(str::to_owned).to_vec()),
        within: Duration::from_secs(20),
    });
    let mut events = Vec::new();
    let mut cut = false;
    let upgraded = engine.upgrade(&wanted, &mut |event| {
        if event == UpgradeEvent::Step(Step::Waiting) && !cut {
            cut = true;
            server.cut_power();
        }
        if event == UpgradeEvent::EngineGone {
            server.start_again();
        }
        events.push(event);
    });
    upgraded.expect("the engine came back and started the new one");
    assert!(events.contains(&UpgradeEvent::EngineBack));
    assert_eq!(page_soon(port), "power-two");

    // In the middle of a load nothing is named before all is there.
    let third = named("power", &"three".repeat(1_000_000)).write(folder.path());
    let mut cut = false;
    let broken = engine.load(&third, &mut |event| {
        if matches!(event, LoadEvent::Sending { .. }) && !cut {
            cut = true;
            server.cut_power();
        }
    });
    let broken = broken.expect_err("the engine is gone");
    assert!(broken.is_gone(), "{broken:?}");
    server.start_again();
    assert_eq!(
        image_id(&server, "kasmforge/power:latest"),
        second.image_id.to_string()
    );
    assert_eq!(page_soon(port), "power-two");
    load(&engine, &third);
}

/// A socket that forwards to the engine, and breaks off after so many bytes towards it.
fn cutting_after(folder: &Path, bytes: usize) -> String {
    let path = folder.join(format!("cut-{bytes}.sock"));
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let engine = UnixStream::connect(&server().socket).expect("the engine");
                let (mut from, mut to) = (
                    stream.try_clone().expect("a stream"),
                    engine.try_clone().expect("a stream"),
                );
                let back = std::thread::spawn({
                    let (mut from, mut to) = (
                        engine.try_clone().expect("a stream"),
                        stream.try_clone().expect("a stream"),
                    );
                    move || std::io::copy(&mut from, &mut to)
                });
                let _ = std::io::copy(&mut (&mut from).take(bytes as u64), &mut to);
                let _ = stream.shutdown(std::net::Shutdown::Both);
                let _ = engine.shutdown(std::net::Shutdown::Both);
                let _ = back.join();
            });
        }
    });
    format!("unix://{}", path.display())
}

#[test]
fn a_connection_that_breaks_anywhere_moves_no_name() {
    let (engine, folder) = (engine(), folder());
    let good = load(&engine, &named("broken", "good").write(folder.path()));
    // Podman takes no configuration of more than 4 MiB, and the page is in it twice.
    let image = named("broken", &"bad".repeat(600_000)).write(folder.path());
    let length = std::fs::metadata(&image.path).expect("the archive").len() as usize;
    let steps: Vec<usize> = (1..)
        .map(|step| step * 500_000)
        .take_while(|at| *at < length / 2)
        .collect();
    assert!(steps.len() >= 3, "{length}");
    for at in steps {
        let cut = connected(&cutting_after(folder.path(), at));
        let error = cut.load(&image, &mut |_| ()).expect_err("it breaks");
        assert!(error.is_gone(), "after {at} bytes: {error:?}");
        assert_eq!(
            image_id(server(), "kasmforge/broken:latest"),
            good.image_id.to_string()
        );
    }
    assert!(!load(&engine, &image).already_there);
    assert_eq!(staged(server(), "broken"), [""; 0]);
}

#[test]
fn a_full_disk_of_the_engine_is_told_and_changes_nothing() {
    let (server, folder, port) = (support::Engine::start_on_disk_of(64), folder(), free_port());
    let engine = connected(&server.host());
    let good = load(&engine, &named("full", "good").write(folder.path()));
    engine
        .upgrade(&desktop("full", &good, port), &mut |_| ())
        .expect("created");
    let image = named("full", &"bad".repeat(30_000_000)).write(folder.path());
    let error = engine
        .load(&image, &mut |_| ())
        .expect_err("it is too much");
    assert!(matches!(error, Error::EngineFull { .. }), "{error:?}");
    assert_eq!(
        image_id(&server, "kasmforge/full:latest"),
        good.image_id.to_string()
    );
    assert_eq!(page(port).as_deref(), Some("full-good"));
    let image = load(&engine, &named("full", "small").write(folder.path()));
    engine
        .upgrade(&desktop("full", &image, port), &mut |_| ())
        .expect("what fits goes on");
}

#[test]
fn what_vanishes_or_is_taken_meanwhile_leaves_the_old_one_running() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let first = load(&engine, &named("race", "one").write(folder.path()));
    engine
        .upgrade(&desktop("race", &first, port), &mut |_| ())
        .expect("created");
    let second = named("race", "two").write(folder.path());
    let loaded = load(&engine, &second);
    let wanted = desktop("race", &loaded, port);

    // Somebody prunes images between the load and the creation.
    let pruned = engine.upgrade(&wanted, &mut |event| {
        if matches!(event, UpgradeEvent::Planned(_)) {
            let path = "/images/kasmforge/race:latest?force=1";
            server().request("DELETE", path, &[]).expect("an answer");
        }
    });
    assert!(
        matches!(pruned, Err(Error::ImageMissing { .. })),
        "{pruned:?}"
    );
    assert_eq!(page(port).as_deref(), Some("race-one"));
    assert_eq!(container_names("race"), ["race"]);
    assert_eq!(engine.interruption("race").expect("no record"), None);
    load(&engine, &second);

    // Somebody else upgrades the same desktop, on this machine.
    let mut other = None;
    engine
        .upgrade(&wanted, &mut |event| {
            if event == UpgradeEvent::Step(Step::Waiting) {
                other = Some(connected(&host()).upgrade(&wanted, &mut |_| ()));
            }
        })
        .expect("the first one is not disturbed");
    assert!(
        matches!(other, Some(Err(Error::UnderWay { waiting: None, .. }))),
        "{other:?}"
    );

    // And on another one, of which only its container is seen.
    let elsewhere = Environment {
        state: Some(folder.path().to_owned()),
        ..Environment::default()
    };
    let third = load(&engine, &named("race", "three").write(folder.path()));
    let wanted = desktop("race", &third, port);
    let mut other = None;
    engine
        .upgrade(&wanted, &mut |event| {
            if event == UpgradeEvent::Step(Step::Stopping) {
                let far = connect(Some(&host()), &elsewhere).expect("the engine");
                other = Some(far.upgrade(&wanted, &mut |_| ()));
            }
        })
        .expect("the first one is not disturbed");
    assert!(
        matches!(&other, Some(Err(Error::UnderWay { waiting: Some(new), .. })) if new == "race-kf-new"),
        "{other:?}"
    );
    assert_eq!(page(port).as_deref(), Some("race-three"));
}

#[test]
fn another_architecture_and_another_container_are_refused() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let foreign = Recipe {
        architecture: Some("s390x"),
        ..named("foreign", "page")
    };
    let image = load(&engine, &foreign.write(folder.path()));
    let refused = engine.upgrade(&desktop("foreign", &image, port), &mut |_| ());
    let words = refused.expect_err("it cannot run").to_string();
    assert!(words.contains("is for s390x"), "{words}");

    let mine = load(&engine, &named("owner", "page").write(folder.path()));
    engine
        .upgrade(&desktop("taken", &mine, port), &mut |_| ())
        .expect("created");
    let other = load(&engine, &named("other", "page").write(folder.path()));
    let mut wanted = desktop("taken", &other, port);
    // Ours by its label: only a container nobody of us made is somebody else's.
    engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
    let body = json!({ "Image": "kasmforge/owner:latest" }).to_string();
    let head = "POST /containers/create?name=strange HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut stream = UnixStream::connect(&server().socket).expect("the engine");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    wanted.container = "strange".into();
    wanted.settings.ports.clear();
    let refused = engine.upgrade(&wanted, &mut |_| ());
    assert!(
        matches!(refused, Err(Error::AnotherContainer { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_missing_folder_of_the_host_is_told_and_the_old_one_serves() {
    let (engine, folder, port) = (engine(), folder(), free_port());
    let first = load(&engine, &named("mount", "one").write(folder.path()));
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    let body = json!({
        "Image": "kasmforge/mount:latest",
        "HostConfig": {
            "Mounts": [{ "Type": "bind", "Source": shared, "Target": "/shared" }],
            "PortBindings": { "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] },
        },
    })
    .to_string();
    let head = "POST /containers/create?name=mount HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut stream = UnixStream::connect(&server().socket).expect("the engine");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server()
        .request("POST", "/containers/mount/start", &[])
        .expect("started");
    assert_eq!(page_soon(port), "mount-one");
    assert_eq!(first.layers_total, 2);
    std::fs::remove_dir(&shared).expect("removed");
    let second = load(&engine, &named("mount", "two").write(folder.path()));
    let wanted = Desktop {
        own: false,
        ..desktop("mount", &second, port)
    };
    let refused = engine
        .upgrade(&wanted, &mut |_| ())
        .expect_err("it is gone");
    let words = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(words.contains("shared"), "{words}");
    assert_eq!(page(port).as_deref(), Some("mount-one"));
    assert_eq!(container_names("mount"), ["mount"]);
    std::fs::create_dir(&shared).expect("a folder");
    engine.upgrade(&wanted, &mut |_| ()).expect("replaced");
}
