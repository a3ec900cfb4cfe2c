//! `kasmforge kasm …` against a server that answers as Kasm's API does, and sometimes does not.
//!
//! The server is a fake; the public Python client of the API holds it to the real one by running
//! its whole use against it. cloud-init itself judges the file for new hosts. Needs `python3` with
//! `venv`, `openssl`, and what `pip` and `apt-get download` fetch; for one test root, `docker.io`,
//! `iproute2` and `busybox-static`.

mod support {
    pub(crate) mod engine;
    pub(crate) mod kasm;
    pub(crate) mod project;
    pub(crate) mod python;
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::{Value, json};
use support::engine::Engine;
use support::kasm::{Fake, Fault, KEY, SECRET, USER};
use support::project::{Project, Ran, debian};
use support::python;

/// A value of a variable that must not be shown either.
const PASSWORD: &str = "postgres://me:hunter22@db";

/// The definition all tests register.
fn definition() -> String {
    format!(
        "description = \"A desktop for tests\"\n{}\n[image]\nrepository = \"kasmforge/desktop\"\n\
         [kasm]\nfriendly-name = \"Desktop\"\ncategories = [\"Desktop\", \"Office\"]\ncores = 2\n\
         memory = \"3072m\"\n[kasm.run-config]\nhostname = \"kasm\"\nshm_size = \"512m\"\n\
         [[checks]]\nname = \"files\"\nfile = \"/etc/passwd\"\nwithin = 1\n\
         [[checks]]\nname = \"words\"\ncommand = [\"test\", \"it's\", \"=\", \"it's\"]\nwithin = 1\n",
        debian()
    )
}

fn project() -> Project {
    let project = Project::new();
    project.define("desktop", &definition());
    project
}

/// The command with the fake's key in the environment, and nothing of the machine's.
fn command(project: &Project, fake: &Fake, arguments: &[&str]) -> Command {
    let mut command = bare(project, arguments);
    command
        .env("KASM_API_URL", fake.address())
        .env("KASM_API_KEY", KEY)
        .env("KASM_API_KEY_SECRET", SECRET)
        .env("KASM_USER_ID", USER)
        .env("DATABASE_URL", PASSWORD);
    command
}

fn bare(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command();
    for (name, _) in std::env::vars() {
        let name_ = name.to_lowercase();
        if name.starts_with("KASM_") || name_.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.arg("kasm").args(arguments);
    command
}

/// Runs a command, and looks that it lets nothing slip; with `-vv` the same again where asked.
fn run(project: &Project, fake: &Fake, arguments: &[&str]) -> Ran {
    let ran = Ran::of(&mut command(project, fake, arguments));
    keeps_its_secrets(&ran);
    ran
}

fn keeps_its_secrets(ran: &Ran) {
    for text in [&ran.output, &ran.errors] {
        for secret in [KEY, SECRET, PASSWORD, "login-0000"] {
            assert!(!text.contains(secret), "`{secret}` is told:\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// What a run said, with the fake's address left out.
fn said(ran: &Ran, fake: &Fake) -> String {
    let text = format!("{}{}", ran.output, ran.errors);
    text.replace(&fake.address(), "[server]")
        .trim_end()
        .to_owned()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.output).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A fake with the workspace registered.
fn registered(project: &Project) -> Fake {
    let fake = Fake::new();
    let ran = run(project, &fake, &["register", "desktop"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    fake
}

// ---- check ------------------------------------------------------------------------------------

#[test]
fn a_server_that_is_as_it_must_be() {
    let project = project();
    let fake = registered(&project);
    let ran = run(&project, &fake, &["check", "desktop"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_snapshot!(said(&ran, &fake));
    let json = json_of(&run(
        &project,
        &fake,
        &["check", "desktop", "--json", "-vv"],
    ));
    assert_eq!(json["version"], "1.18.1");
    assert_eq!(json["agents"][0]["pruning"], "Off");
    assert_eq!(json["image"]["registered"], true);
    assert_eq!(json["problems"], json!([]));
}

#[test]
fn what_is_missing_is_told_by_name_and_number() {
    let project = project();
    for softly in [false, true] {
        let fake = Fake::new();
        fake.state().softly = softly;
        fake.state().permissions = vec!["Images View"];
        fake.state().version = None;
        let ran = run(&project, &fake, &["check", "desktop"]);
        assert_eq!(ran.status, 1);
        assert_snapshot!("missing_permissions", said(&ran, &fake));
        let json = json_of(&run(&project, &fake, &["check", "desktop", "--json"]));
        assert_eq!(
            json["permissions"][2]["permissions"],
            json!([
                {"name": "User", "id": 100}, {"name": "Users Auth Session", "id": 352},
            ])
        );
        assert_eq!(json["permissions"][2]["held"], false);
    }
}

#[test]
fn a_wrong_key_and_an_agent_that_prunes_are_told() {
    let project = project();
    let fake = registered(&project);
    fake.state().agents[0]["auto_prune_images"] = json!("Aggressive");
    fake.state().images[0]["available"] = json!(false);
    let ran = run(&project, &fake, &["check", "desktop"]);
    assert_eq!(ran.status, 1);
    let problems: Vec<_> = ran.output.lines().rev().take(2).collect();
    assert_snapshot!(problems.join("\n"), @"
    image        kasmforge/desktop:latest: registered as 0000000000005eed0000000000000001, but no agent has it: load it there
    agent        kasm-agent-1, running, 4 cores, 16.0 GB, pruning Aggressive: it removes images that no workspace names; set its pruning to Off
    ");
    let mut other = command(&project, &fake, &["check"]);
    let ran = Ran::of(other.env("KASM_API_KEY_SECRET", "another"));
    assert_eq!(ran.status, 1);
    assert!(ran.output.contains("every question was refused"), "{ran:?}");
}

// ---- register ---------------------------------------------------------------------------------

#[test]
fn registering_is_done_once() {
    let project = project();
    let fake = Fake::new();
    let rehearsed = run(&project, &fake, &["register", "desktop", "--dry-run"]);
    assert_eq!(rehearsed.status, 0, "{rehearsed:?}");
    assert_snapshot!(said(&rehearsed, &fake));
    assert!(fake.sent("create_image").is_empty());

    let ran = run(&project, &fake, &["register", "desktop", "--json", "-vv"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(json_of(&ran)["did"], "created");
    let sent = &fake.sent("create_image")[0]["target_image"];
    assert_eq!(
        sent["run_config"],
        "{\"hostname\":\"kasm\",\"shm_size\":\"512m\"}"
    );
    assert_eq!(sent["memory"], 3072_u64 * 1024 * 1024);
    assert_eq!(sent["name"], "kasmforge/desktop:latest");

    let again = run(&project, &fake, &["register", "desktop", "--json"]);
    assert_eq!(json_of(&again)["did"], "unchanged");
    assert_eq!(
        (
            fake.sent("create_image").len(),
            fake.sent("update_image").len()
        ),
        (1, 0)
    );

    // What an administrator set besides stays; what the definition says changes.
    fake.state().images[0].insert("persistent_profile_path".into(), json!("/mnt/{username}"));
    project.define("desktop", &definition().replace("cores = 2", "cores = 4"));
    let changed = run(&project, &fake, &["register", "desktop"]);
    assert_snapshot!(said(&changed, &fake), @"
    kasmforge/desktop:latest updated  0000000000005eed0000000000000001
      cores: 2.0 -> 4.0
    ");
    let sent = fake.sent("update_image");
    let sent = sent[0]["target_image"].as_object().expect("an object");
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["cores", "image_id"]);

    let removed = run(&project, &fake, &["unregister", "desktop"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    assert!(fake.state().images.is_empty());
    let removed = run(&project, &fake, &["unregister", "desktop"]);
    assert!(removed.output.contains("nothing to do"), "{removed:?}");
}

#[test]
fn a_server_that_keeps_something_else_is_found_out() {
    let project = project();
    let answer = json!({"images": [{
        "image_id": "1".repeat(32), "name": "kasmforge/desktop", "friendly_name": "Desktop",
    }]});
    let fake = Fake::with(move |endpoint, _| match endpoint {
        "get_images" => Some(Fault::Answer(200, answer.to_string())),
        "update_image" => Some(Fault::Answer(200, "{}".into())),
        _ => None,
    });
    let ran = run(&project, &fake, &["register", "desktop"]);
    ran.failed_with(&["says afterwards", "`name` is \"kasmforge/desktop\""]);
}

#[test]
fn two_workspaces_that_could_be_meant_are_not_guessed_between() {
    let project = project();
    let fake = registered(&project);
    let mut twin = fake.state().images[0].clone();
    twin.insert("image_id".into(), json!("2".repeat(32)));
    fake.state().images.push(twin);
    for arguments in [
        ["register", "desktop"].as_slice(),
        &["session", "start", "desktop"],
    ] {
        let ran = run(&project, &fake, arguments);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert_snapshot!("two_that_could_be_meant", said(&ran, &fake));
    }
    let named = ["register", "desktop", "--image-id", &"2".repeat(32)];
    assert_eq!(run(&project, &fake, &named).status, 0);
}

#[test]
fn an_orchestrator_gets_what_it_needs_and_no_secret() {
    let project = project();
    let fake = Fake::new();
    let env = run(
        &project,
        &fake,
        &[
            "register",
            "desktop",
            "--output",
            "env",
            "--host-name",
            "kasm-staging-01",
        ],
    );
    assert_eq!(env.status, 0, "{env:?}");
    let text = env.output.replace(&fake.address(), "[server]");
    assert_snapshot!(text, @"
    KASM_API_URL=[server]/api/public
    KASM_DEFAULT_IMAGE_ID=0000000000005eed0000000000000001
    KASM_DEFAULT_USER_ID=8a12bb7c0d1e4f5a9b6c7d8e9f001122
    # KASM_API_KEY and KASM_API_KEY_SECRET are to be set apart from this
    KASM_HOST_NAME=kasm-staging-01
    KASM_HOST_ADDRESS=127.0.0.1
    KASM_HOST_CAPACITY=1
    ");
    let json = run(
        &project,
        &fake,
        &["register", "desktop", "--output", "json"],
    );
    let json = json_of(&json);
    assert_eq!(
        json["key_variables"],
        json!(["KASM_API_KEY", "KASM_API_KEY_SECRET"])
    );
    assert_eq!(json["host"]["machine_type"], "kasm");
    let asked = ["register", "desktop", "--output", "env", "--with-secret"];
    let ran = Ran::of(&mut command(&project, &fake, &asked));
    assert!(
        ran.output
            .contains(&format!("KASM_API_KEY_SECRET={SECRET}\n")),
        "{ran:?}"
    );
    assert!(
        ran.errors.contains("warning") && !ran.errors.contains(SECRET),
        "{ran:?}"
    );
}

// ---- sessions ---------------------------------------------------------------------------------

#[test]
fn a_session_from_its_start_to_its_end() {
    let project = project();
    let fake = registered(&project);
    let start = [
        "session",
        "start",
        "desktop",
        "-e",
        "DATABASE_URL",
        "-e",
        "MODE=test",
        "--wait",
    ];
    let ran = run(&project, &fake, &start);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_snapshot!(said(&ran, &fake));
    assert_eq!(
        fake.sent("request_kasm")[0]["environment"],
        json!({"DATABASE_URL": PASSWORD, "MODE": "test"})
    );
    let json = json_of(&run(&project, &fake, &["session", "list", "--json"]));
    let id = json["sessions"][0]["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    // With dashes it is the same.
    let dashed = format!("{}-{}", &id[..8], &id[8..]);
    let status = json_of(&run(
        &project,
        &fake,
        &["session", "status", &dashed, "--json", "--link"],
    ));
    assert_eq!(status["state"], "running");
    let link = status["link"].as_str().expect("a link");
    assert!(
        link.starts_with(&format!("{}/#/connect/kasm/", fake.address())),
        "{link}"
    );
    let plain = json_of(&run(&project, &fake, &["session", "wait", &id, "--json"]));
    assert!(plain.get("link").is_none(), "a link logs in: {plain}");
    let exec = run(
        &project,
        &fake,
        &["session", "exec", &id, "--root", "--", "echo", "a b"],
    );
    assert_eq!(exec.status, 0, "{exec:?}");
    let sent = &fake.sent("exec_command_kasm")[0]["exec_config"];
    assert_eq!(
        (&sent["cmd"], &sent["user"]),
        (&json!("echo 'a b'"), &json!("root"))
    );
    assert_eq!(run(&project, &fake, &["session", "stop", &id]).status, 0);
    let again = run(&project, &fake, &["session", "stop", &id]);
    assert!(again.output.contains("nothing to do"), "{again:?}");
    let gone = run(&project, &fake, &["session", "status", &id]);
    assert_eq!(gone.status, 1);
    assert_snapshot!(said(&gone, &fake), @"
    error: the server refuses get_kasm_status: Invalid kasm_id (0000000000005eed0000000000000002)
    there is no such session: it was stopped or has expired; `kasmforge kasm session list` shows those there are
    ");
}

#[test]
fn a_session_without_a_named_user_is_found_in_the_list() {
    let project = project();
    let fake = registered(&project);
    run(&project, &fake, &["session", "start", "desktop"]);
    let id = json_of(&run(&project, &fake, &["session", "list", "--json"]));
    let id = id["sessions"][0]["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    let mut stop = command(&project, &fake, &["session", "stop", &id]);
    assert_eq!(Ran::of(stop.env_remove("KASM_USER_ID")).status, 0);
    assert_eq!(fake.sessions(), 0);
    let mut named = command(&project, &fake, &["session", "start", "desktop"]);
    assert_eq!(
        Ran::of(named.env("KASM_USER_ID", "user@kasm.local")).status,
        0
    );
    let mut nobody = command(&project, &fake, &["session", "start", "desktop"]);
    Ran::of(nobody.env("KASM_USER_ID", "nobody")).failed_with(&["the server has no user `nobody`"]);
}

#[test]
fn a_workspace_is_verified_and_its_session_stopped() {
    let project = project();
    let fake = registered(&project);
    let ran = run(&project, &fake, &["verify", "desktop"]);
    assert_eq!((ran.status, fake.sessions()), (0, 0), "{ran:?}");
    assert!(
        ran.output
            .starts_with("ok      files\nok      words\ndesktop runs, and 2 of 2"),
        "{ran:?}"
    );

    project.define(
        "desktop",
        &definition().replace("/etc/passwd", "/not/there"),
    );
    let ran = run(&project, &fake, &["verify", "desktop", "--json"]);
    assert_eq!((ran.status, fake.sessions()), (1, 0), "{ran:?}");
    let json = json_of(&ran);
    assert_eq!(
        json["checks"][0],
        json!({"name": "files", "passed": false, "seen": "it does not exist"})
    );
    assert_eq!(
        (&json["passed"], &json["stopped"]),
        (&json!(false), &json!(true))
    );

    fake.state().fails = Some("Container 5f is restarting, wait until the container is running");
    let ran = run(&project, &fake, &["verify", "desktop"]);
    assert_eq!((ran.status, fake.sessions()), (1, 0), "{ran:?}");
    assert_snapshot!(ran.errors.lines().rev().take(2).collect::<Vec<_>>().join("\n"), @"
    the container's first process ends and is started again: look at `docker logs` of the container; it must not end because a service of the desktop did
    error: session 0000000000005eed0000000000000004 will not run: it is error: Container 5f is restarting, wait until the container is running
    ");
}

/// A workspace with one check that holds at once.
fn checked_once() -> Project {
    let project = Project::new();
    let text = definition();
    let (begin, _) = text.split_once("[[checks]]").expect("it has checks");
    let check = "[[checks]]\nname = \"files\"\nfile = \"/etc/passwd\"\nwithin = 1\n";
    project.define("desktop", &format!("{begin}{check}"));
    project
}

/// What `verify` says of a server that answers so when it is asked for the downloads of a session.
fn verified_with(downloads: Option<Fault>) -> String {
    let project = checked_once();
    let fake = Fake::with(move |endpoint, _| {
        let asked = endpoint.starts_with("kasmforge-verify-");
        downloads.clone().filter(|_| asked)
    });
    fake.state().downloads = false;
    let ran = run(&project, &fake, &["register", "desktop"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let ran = run(
        &project,
        &fake,
        &["verify", "desktop", "--json", "--result-timeout", "1"],
    );
    assert_eq!((ran.status, fake.sessions()), (1, 0), "{ran:?}");
    let json = json_of(&ran);
    assert_eq!(
        (&json["passed"], &json["checks"], &json["stopped"]),
        (&json!(false), &json!([]), &json!(true))
    );
    let said = ran.errors.lines();
    let said = said.skip_while(|line| !line.starts_with("error"));
    let said = said.collect::<Vec<_>>().join("\n");
    said.replace(&fake.address(), "[server]")
}

#[test]
fn results_that_cannot_be_read_are_no_success() {
    let page = || Fault::Answer(200, "<html>Log in</html>".into());
    assert_snapshot!(verified_with(None), @"
    error: the session runs, but what its checks saw cannot be read within 2 s: there is no such file
    they are read from the session's downloads, which the image's web server must offer as Kasm's own images do; where the agent's Docker engine can be reached, --engine HOST asks the container itself
    ");
    assert_snapshot!(verified_with(Some(page())).lines().next().unwrap_or_default(), @"error: the session runs, but what its checks saw cannot be read within 2 s: what stands there is something else");
    assert_snapshot!(verified_with(Some(Fault::Answer(401, String::new()))).lines().next().unwrap_or_default(), @"error: the session runs, but what its checks saw cannot be read within 2 s: the server answers the session's downloads with status 401");
    assert_snapshot!(verified_with(Some(Fault::Redirect("/login".into()))).lines().next().unwrap_or_default(), @"error: the session runs, but what its checks saw cannot be read within 2 s: [server] answers the session's downloads with status 302 and sends to another path of its own; that is not followed, because the API key would go along: give the address it is really at");
}

#[test]
fn the_engine_that_runs_a_session_can_be_asked_itself() {
    let engine = Engine::start();
    let fake = Fake::new();
    // Nothing of this container is offered for download.
    fake.state().downloads = false;
    fake.state().container = container(&engine);
    let project = checked_once();
    let with_checks = |more: &str| {
        let text = definition();
        let (begin, _) = text.split_once("[[checks]]").expect("it has checks");
        project.define("desktop", &format!("{begin}{more}"));
    };
    with_checks(
        "[[checks]]\nname = \"busy\"\nfile = \"/bin/busybox\"\nwithin = 1\n\
         [[checks]]\nname = \"runs\"\nprocess = \"sleep\"\nwithin = 1\n",
    );
    assert_eq!(run(&project, &fake, &["register", "desktop"]).status, 0);
    let host = engine.host();
    let verify = ["verify", "desktop", "--engine", &host];
    let ran = run(&project, &fake, &verify);
    assert_eq!((ran.status, fake.sessions()), (0, 0), "{ran:?}");
    assert!(
        ran.output
            .starts_with("ok      busy\nok      runs\ndesktop runs, and 2 of 2"),
        "{ran:?}"
    );
    with_checks("[[checks]]\nname = \"listens\"\nport = 6901\nwithin = 1\n");
    let ran = run(&project, &fake, &verify);
    assert_eq!((ran.status, fake.sessions()), (1, 0), "{ran:?}");
    assert!(
        ran.output
            .starts_with("failed  listens: nothing listens on port 6901\n"),
        "{ran:?}"
    );
    // Another host's engine than the one that runs it.
    fake.state().container = "5f".repeat(32);
    let ran = run(&project, &fake, &verify);
    assert_eq!((ran.status, fake.sessions()), (1, 0), "{ran:?}");
    let said = ran.errors.replace(&host, "[engine]");
    let said = said.lines().skip_while(|line| !line.starts_with("error"));
    assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @"
    error: the engine at [engine] cannot be asked; the session runs on kasm-agent-1
      because there is no container `5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f`
    ");
}

/// A container of nothing but busybox, which sleeps.
fn container(engine: &Engine) -> String {
    let folder = tempfile::TempDir::new().expect("a folder");
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter();
    let busybox = busybox.map(std::path::Path::new).find(|path| path.exists());
    let busybox = busybox.expect("`busybox` is there: apt-get install busybox-static");
    fs::copy(busybox, bin.join("busybox")).expect("busybox");
    for name in ["cat", "sleep", "test"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
    }
    let tar = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--directory"])
        .arg(folder.path())
        .arg("bin")
        .output()
        .expect("`tar` runs");
    let post = |path: &str, body: &[u8]| {
        let answer = engine.request("POST", path, body).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
        answer
    };
    post("/images/create?fromSrc=-&repo=busy&tag=1", &tar.stdout);
    let config = json!({
        "Image": "busy:1", "Cmd": ["/bin/sleep", "100000"], "HostConfig": {"NetworkMode": "none"},
    });
    let made = post("/containers/create", config.to_string().as_bytes());
    let id = made.split("\"Id\":\"").nth(1).expect("an id");
    let id = id.split('"').next().expect("an id").to_owned();
    post(&format!("/containers/{id}/start"), b"");
    id
}

#[test]
fn an_interrupted_verification_stops_its_session() {
    let project = project();
    let fake = registered(&project);
    fake.state().looks = 1_000_000;
    for signal in ["INT", "TERM"] {
        let mut child = command(&project, &fake, &["verify", "desktop"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        while fake.sessions() == 0 && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(20));
        }
        let signalled = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(signalled.expect("`kill` runs").success());
        let status = child.wait().expect("it ends");
        let output = child.wait_with_output().expect("its words");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((status.code(), fake.sessions()), (Some(1), 0), "{errors}");
        assert!(
            errors.contains("is stopped") && errors.contains("error: interrupted"),
            "{errors}"
        );
    }
}

// ---- what servers do wrong --------------------------------------------------------------------

/// What `images` says to a server with one fault.
fn images_with(fault: Fault) -> String {
    let project = project();
    let fake = Fake::with(move |endpoint, _| (endpoint == "get_images").then(|| fault.clone()));
    let ran = run(
        &project,
        &fake,
        &["images", "--request-timeout", "20", "-vv"],
    );
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    let errors = ran
        .errors
        .lines()
        .skip_while(|line| !line.starts_with("error"));
    let errors = errors.collect::<Vec<_>>().join("\n");
    errors.replace(&fake.address(), "[server]")
}

#[test]
fn wrong_answers_are_told_with_their_place() {
    let answer = |status, text: &str| images_with(Fault::Answer(status, text.into()));
    assert_snapshot!(answer(200, "{\"images\": {}}"), @"error: the answer to get_images is not as expected: `images` is an object, not a list; the server may be of a version this program does not know");
    assert_snapshot!(answer(200, "{\"images\": [{\"image_id\": 5}]}"), @"error: the answer to get_images is not as expected: `images[0].image_id` is a number, not a text; the server may be of a version this program does not know");
    assert_snapshot!(answer(200, "{\"images\": [{\"image_id\": \"11111111111111111111111111111111\", \"memory\": \"much\"}]}"), @"error: the answer to get_images is not as expected: `images[0].memory` is a text, not a number; the server may be of a version this program does not know");
    assert_snapshot!(answer(200, "[]"), @"error: the answer to get_images is not as expected: it is no JSON object; the server may be of a version this program does not know");
    assert_snapshot!(answer(200, "<html><title>Router\u{1b}[31m</title>"), @"error: [server] answers get_images with status 200 and no JSON (`<html><title>Router [31m</title>`); is a Kasm server there?");
    assert_snapshot!(answer(200, &"[".repeat(100_000)), @"error: [server] answers get_images with status 200 and no JSON (`[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…`); is a Kasm server there?");
    assert_snapshot!(answer(404, "<html>"), @"error: the server answers get_images with status 404: it does not know it; is it a Kasm server, and not too old?");
    assert_snapshot!(answer(500, ""), @"error: the server answers get_images with status 500: its own log says more (`docker logs kasm_api` on the server)");
    assert_snapshot!(answer(503, ""), @"error: the server answers get_images with status 503: its API is not up; it may be starting");
    assert_snapshot!(answer(401, ""), @"
    error: the server refuses get_images: status 401
    it takes Images View, or Global Admin (200); the key lacks it, or is wrong: give it what is missing in the web interface (Settings > Developers > API Keys > Permissions), or look with `kasmforge kasm check`
    ");
}

#[test]
fn refusals_count_in_both_manners_and_repeat_no_secret() {
    assert_snapshot!(images_with(Fault::Refuse("Invalid Request")), @"error: the server refuses get_images: Invalid Request");
    let echo = json!({"error_message": format!("bad secret {SECRET} of key {KEY}\n\u{7}")});
    assert_snapshot!(images_with(Fault::Answer(400, echo.to_string())), @"error: the server refuses get_images: bad secret [masked] of key [masked]");
    assert_snapshot!(images_with(Fault::Answer(200, format!("<p>{SECRET}"))), @"error: [server] answers get_images with status 200 and no JSON (`<p>[masked]`); is a Kasm server there?");
}

#[test]
fn the_key_does_not_follow_a_redirection() {
    let other = Fake::new();
    let elsewhere = format!("{}/api/public/get_images?key=1", other.address());
    let text = images_with(Fault::Redirect(elsewhere));
    assert_snapshot!(text.replace(&other.address(), "[elsewhere]"), @"error: [server] answers get_images with status 302 and sends to [elsewhere]; that is not followed, because the API key would go along: give the address it is really at");
    assert!(other.state().requests.is_empty());
}

#[test]
fn an_answer_that_does_not_end_is_not_read_for_ever() {
    assert_snapshot!(images_with(Fault::Endless), @"error: the answer to get_images is larger than 32 MB");
}

#[test]
fn what_may_be_repeated_is_and_nothing_else() {
    let project = project();
    // The server restarts: the first question is cut, the second finds its proxy alone.
    let fake = Fake::with(|endpoint, asked| match (endpoint, asked) {
        ("get_images", 0) => Some(Fault::Cut { done: false }),
        ("get_images", 1) => Some(Fault::Answer(502, "<html>".into())),
        ("request_kasm", _) => Some(Fault::Cut { done: true }),
        _ => None,
    });
    let ran = run(&project, &fake, &["register", "desktop"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let ran = run(&project, &fake, &["session", "start", "desktop"]);
    assert_eq!(
        fake.sent("request_kasm").len(),
        1,
        "each request makes a session"
    );
    let errors = ran.errors.replace(&fake.address(), "[server]");
    assert!(errors.contains(
        "error: the connection to [server] was lost during request_kasm; whether it was carried out \
         is not known, so it is not repeated: look with `kasmforge kasm session list`"
    ), "{errors}");
    assert_eq!(ran.status, 1);
}

#[test]
fn waiting_ends() {
    let project = project();
    let fake = registered(&project);
    fake.state().looks = 1_000_000;
    let ran = run(
        &project,
        &fake,
        &["session", "start", "desktop", "--wait", "--timeout", "1"],
    );
    assert_eq!(ran.status, 1);
    assert_snapshot!(said(&ran, &fake), @"
    starting, 0 %: Creating the container
    error: session 0000000000005eed0000000000000002 is left as it is; `kasmforge kasm session stop 0000000000005eed0000000000000002` stops it
      because session 0000000000005eed0000000000000002 does not run after 1 s: it is starting, 0 %: Creating the container
    ");
    let slow = Fake::with(|endpoint, _| {
        (endpoint == "request_kasm").then_some(Fault::Slow(Duration::from_secs(4)))
    });
    run(&project, &slow, &["register", "desktop"]);
    let ran = run(
        &project,
        &slow,
        &["session", "start", "desktop", "--request-timeout", "1"],
    );
    ran.failed_with(&["lost during request_kasm", "timeout"]);
    assert_eq!(slow.sent("request_kasm").len(), 1);
}

#[test]
fn an_image_no_agent_has_is_explained() {
    let project = project();
    let fake = registered(&project);
    fake.state().images[0]["available"] = json!(false);
    let ran = run(&project, &fake, &["session", "start", "desktop"]);
    assert_eq!(ran.status, 1);
    assert_snapshot!(said(&ran, &fake), @"
    error: the server refuses request_kasm: No resources are available to create the requested Kasm. Please try again later or contact an Administrator : Agent does not have the requested image
    no agent has an image of exactly this name and tag: load it on the agent's host (`kasmforge load --host …`), compare with `docker images` there, and set the agent's pruning to Off, else it is removed again
    ");
}

// ---- trust and keys ---------------------------------------------------------------------------

#[test]
fn a_certificate_nobody_signed_must_be_pinned() {
    let project = project();
    let folder = tempfile::TempDir::new().expect("a folder");
    let fake = Fake::with_tls(folder.path());
    let pem = folder.path().join("server.pem").display().to_string();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &pem])
        .output()
        .expect("`openssl` runs");
    let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let fingerprint = told.split('=').nth(1).expect("a fingerprint").to_owned();

    let ran = run(&project, &fake, &["images"]);
    ran.failed_with(&["is not trusted here", &fingerprint, "--fingerprint"]);
    assert!(
        fake.state().requests.is_empty(),
        "the key was sent to a stranger"
    );
    for trusted in [
        ["--fingerprint", told.as_str()],
        ["--ca-file", pem.as_str()],
    ] {
        let mut arguments = vec!["images"];
        arguments.extend(trusted);
        let ran = run(&project, &fake, &arguments);
        assert_eq!((ran.status, ran.errors.as_str()), (0, ""), "{ran:?}");
    }
    let sent = fake.state().requests.len();
    let wrong = "AB:".repeat(31) + "AB";
    let ran = run(&project, &fake, &["images", "--fingerprint", &wrong]);
    ran.failed_with(&[
        "another certificate than the one that is pinned",
        &fingerprint,
        &wrong,
    ]);
    assert_eq!(fake.state().requests.len(), sent);
    let ran = run(&project, &fake, &["images", "--insecure"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.errors.contains("warning: --insecure"), "{ran:?}");
    let ran = run(&project, &fake, &["images", "--fingerprint", "abcd"]);
    ran.failed_with(&["--fingerprint is no SHA-256 fingerprint"]);
}

#[test]
fn a_proxy_and_a_list_of_authorities_are_checked_before_anybody_is_asked() {
    let project = project();
    let fake = Fake::new();
    let mut wrong = command(&project, &fake, &["images"]);
    let wrong = Ran::of(wrong.env("https_proxy", "nonsense://me:hunter22@proxy.test:3128"));
    assert!(!wrong.errors.contains("hunter22"), "{wrong:?}");
    assert_eq!(wrong.status, 1);
    assert_snapshot!(wrong.errors.trim_end(), @"
    error: `nonsense://proxy.test:3128` is no address of a proxy; write http://HOST:PORT
      because invalid proxy url
    ");
    let empty = project.path().join("authorities.pem");
    fs::write(&empty, "nothing\n").expect("a file");
    let mut none = command(&project, &fake, &["images"]);
    let none = Ran::of(none.env("SSL_CERT_FILE", &empty));
    assert_eq!(none.status, 1);
    let here = project.path().display().to_string();
    assert_snapshot!(none.errors.replace(&here, "[project]").trim_end(), @"
    error: cannot read the certificates in [project]/authorities.pem
      because it holds no certificate in PEM form
    ");
    let nobody = Ran::of(&mut without_authorities(&command(
        &project,
        &fake,
        &["images"],
    )));
    assert_eq!(nobody.status, 1);
    assert_snapshot!(nobody.errors.trim_end(), @"error: this machine has no list of certificate authorities; name the server's authority with --ca-file, or pin its certificate with --fingerprint");
    assert!(fake.state().requests.is_empty());
}

/// The same command on a machine that has no list of certificate authorities. Needs root.
fn without_authorities(command: &Command) -> Command {
    const HIDDEN: &str = "for list in /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do \
        [ ! -e $list ] || mount --bind /dev/null $list || exit 9; done; exec \"$@\"";
    let mut hidden = Command::new("unshare");
    hidden
        .args(["--mount", "sh", "-c", HIDDEN, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("SSL_CERT_FILE");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => hidden.env(name, value),
            None => hidden.env_remove(name),
        };
    }
    hidden
}

#[test]
fn a_server_that_is_not_well_is_told_as_it_says() {
    let project = project();
    let said_by = |fault: Fault| {
        let fake =
            Fake::with(move |endpoint, _| (endpoint == "__healthcheck").then(|| fault.clone()));
        let ran = run(&project, &fake, &["check"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        said(&ran, &fake)
    };
    assert_snapshot!(said_by(Fault::Answer(200, "{\"ok\": false}".into())), @r#"error: [server] is not healthy: its health check says `{"ok": false}`"#);
    assert_snapshot!(said_by(Fault::Answer(500, "<html>".into())), @"error: [server] is not healthy: its health check answers with status 500");
}

#[test]
fn keys_come_from_where_others_cannot_read_them() {
    let project = project();
    let fake = Fake::new();
    let key = project.path().join("key");
    let text = format!("KASM_API_KEY={KEY}\nKASM_API_KEY_SECRET={SECRET}\n");
    fs::write(&key, text).expect("a file");
    let with_file = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("a mode");
        let mut command = bare(
            &project,
            &["images", "--server", &fake.address(), "--key-file"],
        );
        let ran = Ran::of(command.arg(&key));
        keeps_its_secrets(&ran);
        ran
    };
    assert_eq!(with_file(0o600).status, 0);
    with_file(0o644).failed_with(&["can be read by others (its mode is 0644)", "chmod 600"]);

    let settings = |table: &str| {
        let folder = project.path().join("settings/kasmforge");
        fs::create_dir_all(&folder).expect("a folder");
        let text = format!("[kasm]\nserver = \"{}\"\n{table}", fake.address());
        fs::write(folder.join("settings.toml"), text).expect("settings");
        let mut command = bare(&project, &["images"]);
        let ran = Ran::of(command.env("XDG_CONFIG_HOME", project.path().join("settings")));
        keeps_its_secrets(&ran);
        ran
    };
    let path = key.display();
    assert_eq!(
        settings(&format!("api-key-command = [\"cat\", \"{path}\"]\n")).status,
        0
    );
    settings("api-key-command = [\"echo\", \"nothing\"]\n")
        .failed_with(&["what `echo` prints holds no API key"]);
    settings("api-key-command = [\"false\"]\n")
        .failed_with(&["`false`", "ended with exit status: 1"]);
    settings("").failed_with(&["there is no API key", "KASM_API_KEY"]);
    settings("api-key = \"x\"\n").failed_with(&["settings.toml are not understood"]);
    let none = Ran::of(&mut bare(&project, &["images"]));
    none.failed_with(&["no Kasm server is named"]);
    let mut plain = bare(&project, &["images", "--server", "http://kasm.example.org"]);
    let plain = Ran::of(
        plain
            .env("KASM_API_KEY", KEY)
            .env("KASM_API_KEY_SECRET", SECRET),
    );
    plain.failed_with(&["http://kasm.example.org is not encrypted"]);
    keeps_its_secrets(&plain);
}

// ---- hosts ------------------------------------------------------------------------------------

/// The arguments of a host with everything.
fn host_arguments() -> Vec<String> {
    let sha256 = "ab".repeat(32);
    [
        "host",
        "--release",
        "1.18.1",
        "--sha256",
        &sha256,
        "--accept-eula",
        "--port",
        "3100",
        "--sessions",
        "8",
        "--image-url",
        "https://example.org/desktop.tar",
        "--image-sha256",
        &sha256,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn a_new_host_is_what_cloud_init_understands() {
    let project = project();
    let arguments = host_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = Ran::of(&mut bare(&project, &arguments));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_snapshot!(ran.output);
    let file = project.path().join("user-data");
    fs::write(&file, &ran.output).expect("a file");
    python::cloud_init_accepts(&file);
    // It does not accept everything.
    fs::write(&file, ran.output.replace("runcmd:", "runcmd: 5\nruncmd_:")).expect("a file");
    python::cloud_init_refuses(&file);
}

#[test]
fn a_licence_is_not_accepted_by_the_way() {
    let project = project();
    let arguments = host_arguments();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| *one != "--accept-eula")
        .collect();
    Ran::of(&mut bare(&project, &arguments)).failed_with(&["licence agreement", "--accept-eula"]);
}

// ---- the public client ------------------------------------------------------------------------

/// The whole use of the public Python client, against the fake and what `register` made there.
#[test]
fn the_public_python_client_works_with_the_fake() {
    let project = project();
    let fake = registered(&project);
    python::client_runs(&fake.address(), KEY, SECRET, USER);
    assert_eq!(fake.sessions(), 0);
    // And the command finds what the client leaves.
    assert_eq!(
        run(&project, &fake, &["session", "list"]).output,
        "no sessions\n"
    );
}
