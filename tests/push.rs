//! `kasmforge push`, from a build to what other programs pull.
//!
//! Needs `docker-registry`, `skopeo`, `openssl` and, for the last of them, root and `docker.io`.

mod support {
    pub(crate) mod archive;
    pub(crate) mod certificates;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod registry;
    pub(crate) mod server;
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;
use support::archive::{Archive, Deb};
use support::certificates;
use support::project::{Project, Ran, debian};
use support::registry::{Fault, Front, Registry, pulled};
use tempfile::TempDir;

/// A project whose image is two small layers and more: a package, and a file.
fn project(archive: &Archive, file: &str) -> Project {
    let project = Project::new();
    define(&project, archive, file);
    project.build("desktop");
    project
}

fn define(project: &Project, archive: &Archive, file: &str) {
    let text = format!(
        "{}\n{}\n[packages]\ninstall = [\"probe\"]\n[image]\nrepository = \"team/desktop\"\ntags = \
         [\"latest\", \"1.0\"]\n[[files]]\ntarget = \"/etc/probe\"\ntext = \"{file}\"\n",
        debian(),
        archive.table()
    );
    project.define("desktop", &text);
}

fn archive() -> Archive {
    let content = "what a package ships, ".repeat(5000);
    Archive::of(&[Deb::new("probe", "1").file("usr/share/probe", content.as_bytes())])
}

/// Runs `push` where no login of whoever runs the tests is known.
fn push(project: &Project, arguments: &[&str]) -> Ran {
    Ran::of(&mut command(project, arguments))
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command();
    command
        .arg("push")
        .args(arguments)
        .env("HOME", project.path().join("nobody"))
        .env_remove("DOCKER_CONFIG")
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("XDG_RUNTIME_DIR");
    for proxy in [
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        command.env_remove(proxy);
    }
    command
}

/// A text without what the system says of a name that does not resolve: it depends on its resolver.
fn without_words(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("failed to lookup") {
            Some(_) => "  because [the resolver's words]",
            None => line,
        });
    lines.collect::<Vec<_>>().join("\n")
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{ran:?}");
    serde_json::from_str(&ran.output).expect("JSON")
}

fn done(ran: &Ran) -> String {
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.output.trim().to_owned()
}

#[test]
fn what_was_built_is_pushed_and_only_what_is_new() {
    let (archive, registry) = (archive(), Registry::start());
    let front = Front::to(&registry, Fault::None);
    let project = project(&archive, "one");
    let reference = format!("{}/team/desktop", front.name());

    let told = json(&push(
        &project,
        &["desktop", &reference, "--dry-run", "--json"],
    ));
    let missing = told["pushed"][0]["bytes_missing"].as_u64().expect("bytes");
    assert!(missing > 0 && front.uploaded() == 0);

    let first = done(&push(&project, &["desktop", &reference]));
    assert_eq!(front.uploaded(), missing, "as was told before");
    let (name, digest) = first.split_once('@').expect("a name and a digest");
    assert_eq!(name, reference);
    // Both tags of the definition mean it, in gzip, and another program agrees to every digest.
    let folder = TempDir::new().expect("a folder");
    let plain = ["--src-tls-verify=false"];
    let tags = [":latest", ":1.0", &format!("@{digest}")];
    for (number, tag) in tags.into_iter().enumerate() {
        let from = format!("{}/team/desktop{tag}", registry.name());
        let to = folder.path().join(number.to_string());
        let (manifest, layers) = pulled(&from, &to, &plain);
        assert_eq!(manifest, digest);
        assert!(layers.len() >= 3);
    }

    // Again: nothing at all.
    let again = push(&project, &["desktop", &reference]);
    assert_eq!((done(&again), front.uploaded()), (first.clone(), missing));
    let words = format!("{reference}:latest,1.0  is there already  0 B sent");
    assert!(again.errors.contains(&words), "{}", again.errors);

    // A store without what was compressed and noted comes to the same digests.
    let twin = Project::with_own_store();
    define(&twin, &archive, "one");
    twin.file("kasmforge.lock", project.lock().expect("a lock").as_bytes());
    twin.build("desktop");
    assert_eq!(done(&push(&twin, &["desktop", &reference])), first);
    assert_eq!(front.uploaded(), missing);

    // One file changed: its layer and the configuration go, not the package's.
    define(&project, &archive, "two");
    project.build("desktop");
    let changed = json(&push(&project, &[&reference, "--json"]));
    let layers = changed["pushed"][0]["layers"].as_array().expect("layers");
    let sent = layers
        .iter()
        .filter(|layer| layer["fate"] == "sent")
        .count();
    assert_eq!(sent, 1, "{changed:#}");
    let bytes = changed["pushed"][0]["bytes_sent"].as_u64().expect("bytes");
    assert_eq!(front.uploaded(), missing + bytes);

    // Another repository takes the layers over.
    let other = format!("{}/team/office:3", front.name());
    let mounted = json(&push(&project, &["desktop", &other, "--json"]));
    assert_eq!(mounted["pushed"][0]["layers_sent"], 0, "{mounted:#}");
    assert_eq!(mounted["pushed"][0]["layers_mounted"], layers.len());
    assert_eq!(front.uploaded(), missing + bytes);
}

#[test]
fn layers_may_be_stored_in_any_way() {
    let (archive, registry) = (archive(), Registry::start());
    let project = project(&archive, "one");
    let folder = TempDir::new().expect("a folder");
    let mut seen = Vec::new();
    for how in ["none", "zstd", "gzip"] {
        let reference = format!("{}/{how}/desktop:it", registry.name());
        let ran = push(
            &project,
            &["desktop", &reference, "--compression", how, "--json"],
        );
        let told = json(&ran);
        let from = registry.name();
        let to = folder.path().join(how);
        let plain = ["--src-tls-verify=false"];
        let (manifest, _) = pulled(&format!("{from}/{how}/desktop:it"), &to, &plain);
        assert_eq!(told["pushed"][0]["digest"], manifest.as_str());
        // `build --output` makes the same of it.
        let beside = folder.path().join(format!("{how}-built"));
        let built = project.run(&[
            "build",
            "desktop",
            "--json",
            "--compression",
            how,
            "--format=oci-dir",
            "--output",
            &beside.display().to_string(),
        ]);
        assert_eq!(json(&built)["output"]["digest"], manifest.as_str(), "{how}");
        seen.push(told["pushed"][0]["layers"][0]["diff_id"].clone());
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
}

/// A registry that lets in `me` with the password `correct`, reached by TLS if so wished.
fn private(folder: &Path, tls: bool) -> Registry {
    // `htpasswd -B` makes these.
    let line = "me:$2y$04$yEivpyHEAXZZEEkSyswkWOHXHYRHUGav6zA20I8ehTNwxQrsUMpMO\n";
    let users = folder.join("users");
    fs::write(&users, line).expect("a file");
    let rest = format!(
        "auth:\n  htpasswd:\n    realm: it\n    path: {}\n",
        users.display()
    );
    if !tls {
        return Registry::start_with("", &rest);
    }
    certificates::make(folder, "IP:127.0.0.1");
    let at = |name: &str| folder.join(name).display().to_string();
    let http = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        at("server.pem"),
        at("server.key")
    );
    Registry::start_with(&http, &rest)
}

#[test]
fn logins_come_from_where_docker_keeps_them() {
    let (archive, folder) = (archive(), TempDir::new().expect("a folder"));
    let registry = private(folder.path(), true);
    let project = project(&archive, "one");
    let reference = format!("{}/team/desktop", registry.name());
    let authority = folder.path().join("ca.pem").display().to_string();
    let trusting = ["desktop", &reference, "--ca-file", &authority];
    let told = |ran: &Ran| {
        assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
        assert!(!format!("{ran:?}").contains("correct"), "{ran:?}");
        let text = ran.errors.replace(&registry.name(), "[registry]");
        let text = text.replace(&folder.path().display().to_string(), "[folder]");
        text.lines()
            .filter(|line| !line.starts_with("compressing "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(told(&push(&project, &["desktop", &reference])), @"
    error: the certificate of [registry] is not trusted; if an authority of your own made it, name that with --ca-file, or put it into /etc/docker/certs.d/[registry]/ca.crt
      because io: invalid peer certificate: UnknownIssuer
    ");
    assert_snapshot!(told(&push(&project, &trusting)), @"error: [registry] wants a login, and none is known: `docker login [registry]` or `podman login [registry]` keeps one, or say --username NAME --password-stdin");

    // TLS is meant, and not spoken.
    let open = Registry::start();
    let bare = format!("{}/team/desktop", open.name());
    let ran = push(&project, &["desktop", &bare, "--ca-file", &authority]);
    assert_snapshot!(told(&ran).replace(&open.name(), "[open]"), @"error: [open] does not speak TLS; if the registry is meant to be reached without, say --plain-http");

    let config = folder.path().join("docker");
    fs::create_dir(&config).expect("a folder");
    let write = |text: String| fs::write(config.join("config.json"), text).expect("a file");
    let run = |more: &[(&str, &Path)]| {
        let mut command = command(&project, &trusting);
        command.env("DOCKER_CONFIG", &config);
        for (name, value) in more {
            command.env(name, value);
        }
        Ran::of(&mut command)
    };
    let name = registry.name();
    // The base64 of `me:wrong`, and of `me:correct`.
    write(format!(
        r#"{{"auths": {{"{name}": {{"auth": "bWU6d3Jvbmc="}}}}}}"#
    ));
    assert_snapshot!(told(&run(&[])), @"error: [registry] refuses the login from [folder]/docker/config.json; log in again (`docker login [registry]`), or say --username NAME --password-stdin");
    write(format!(
        r#"{{"auths": {{"{name}": {{"auth": "bWU6Y29ycmVjdA=="}}}}}}"#
    ));
    let first = done(&run(&[]));

    // A program that keeps it.
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).expect("a folder");
    let helper = |text: &str| {
        let path = programs.join("docker-credential-kept");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    };
    write(format!(r#"{{"credHelpers": {{"{name}": "kept"}}}}"#));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(programs.clone()).chain(std::env::split_paths(&path)))
            .expect("a path");
    let path = Path::new(&path);
    helper(&format!(
        "read registry; [ \"$1 $registry\" = \"get {name}\" ] && echo \
         '{{\"Username\": \"me\", \"Secret\": \"correct\"}}'"
    ));
    assert_eq!(done(&run(&[("PATH", path)])), first);
    helper("echo 'the keyring is locked'; exit 1");
    assert_snapshot!(told(&run(&[("PATH", path)])), @"
    error: `docker-credential-kept` gives no login for [registry]; Docker's configuration names it for that registry: mend it, or remove it from `credHelpers` or `credsStore` there
      because the keyring is locked
    ");

    // And from the command line, by the standard input.
    let mut command = command(&project, &trusting);
    let password = folder.path().join("password");
    fs::write(&password, "correct\n").expect("a file");
    command
        .args(["--username", "me", "--password-stdin"])
        .stdin(fs::File::open(&password).expect("the file"));
    assert_eq!(done(&Ran::of(&mut command)), first);
    write("{\"auths\": [\"correct\"]}".into());
    assert_snapshot!(told(&run(&[])), @"
    error: cannot take logins from [folder]/docker/config.json
      because line 1, column 10 is not understood
    ");
}

#[test]
fn what_cannot_be_pushed_is_told_why() {
    let archive = archive();
    let project = project(&archive, "one");
    let told = |arguments: &[&str]| {
        let ran = push(&project, arguments);
        assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
        let lines = ran.errors.lines();
        let lines = lines.filter(|line| !line.starts_with("compressing "));
        lines.collect::<Vec<_>>().join("\n")
    };
    // Nobody has this port: it is one of those the system never gives to anybody.
    assert_snapshot!(told(&["desktop", "127.0.0.1:1/team/desktop"]), @"
    error: 127.0.0.1:1 does not answer; does the registry run there, and may it be reached from here?
      because io: Connection refused (os error 111)
    ");
    assert_snapshot!(without_words(&told(&["desktop", "registry.invalid/team/desktop"])), @"
    error: there is no host registry.invalid; is the registry's name right?
      because [the resolver's words]
    ");
    assert_snapshot!(told(&["desktop", "localhost:5000/Team/desktop"]), @"error: `localhost:5000/Team/desktop` is not the name of an image like kasmforge/desktop:latest: a repository has lower-case letters, digits, `.`, `_`, `-` and `/`");
    assert_snapshot!(told(&["desktop", "localhost:5000/team/desktop@sha256:00"]), @"error: `localhost:5000/team/desktop@sha256:00` is not the name of an image like kasmforge/desktop:latest: an image gets its digest from what it is; name a tag");
    assert_snapshot!(told(&["desktp"]), @"
    error: there is no workspace `desktp`
     |
     = help: did you mean `desktop`?
     = help: the workspaces are: `desktop`

    1 mistake; nothing was written
    ");
    let registry = Registry::start();
    let name = registry.name();
    let certificate = project.path().join("none.pem").display().to_string();
    let reference = format!("{name}/team/desktop");
    let ran = told(&["desktop", &reference, "--ca-file", &certificate]);
    assert_snapshot!(ran.replace(&certificate, "[file]"), @"
    error: cannot read the certificates in [file]
      because No such file or directory (os error 2)
    ");
}
