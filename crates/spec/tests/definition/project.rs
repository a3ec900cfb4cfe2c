//! A whole project in a folder, as it would be shipped.

use std::fs;

use kasmforge_spec::{FileContent, Folder, Ready, Sources, load};

const FILES: &[(&str, &str)] = &[
    (
        "workspaces/core.toml",
        r#"
name = "core"
description = "Debian with an unprivileged user"

[debian]
suite = "trixie"
components = ["main", "contrib"]
updates = true
sources-in-image = ["deb https://mirror.example/debian trixie main"]

[[debian.archives]]
name = "vendor"
uri = "https://apt.example/debian"
suite = "stable"
keyring = "../keys/vendor.gpg"

[packages]
install = ["bash", "ca-certificates", "s6 (>= 2.12)"]

[[packages.debconf]]
package = "tzdata"
question = "tzdata/Areas"
type = "select"
value = "Etc"

[[users]]
name = "kasm-user"
uid = 1000
groups = ["audio", "video"]

[[files]]
target = "/etc/kasm/profile"
source = "core/profile"
mode = "0755"

[[files]]
target = "/home/kasm-user/Uploads"
directory = true
owner = "kasm-user"

[slim]
documentation = false
locales = ["en"]

[image]
user = "1000"
working-directory = "/home/kasm-user"
entrypoint = ["/init"]
ports = ["6901/tcp"]
stop-signal = "SIGTERM"
environment = { HOME = "/home/kasm-user", LANG = "C.UTF-8" }
labels = { "com.kasmweb.image" = "true" }

[image.healthcheck]
command = ["/usr/bin/healthy"]
start-period = 20
"#,
    ),
    (
        "workspaces/modules/tigervnc.toml",
        r#"
[packages]
install = ["tigervnc-standalone-server", "novnc"]

[[services]]
name = "xserver"
command = ["/usr/bin/Xtigervnc", ":1"]
user = "kasm-user"
ready = { socket = "/tmp/.X11-unix/X1" }

[[checks]]
name = "the desktop answers"
http = { port = 6901, tls = true, status = 401 }
"#,
    ),
    (
        "workspaces/desktop.toml",
        r#"
name = "desktop"
description = "XFCE in the browser"
extends = "core"
use = ["modules/tigervnc"]

[packages]
install = ["xfce4", "bash"]
remove = ["novnc"]

[[packages.deb]]
url = "https://vendor.example/kasmvncserver_1.3.3_amd64.deb"
sha256 = "8BC0f6218eea849bfbb4e5bb7ae3c7038709a0f69181c1f554082c6ae715c5c0"

[[services]]
name = "session"
command = ["startxfce4"]
after = ["xserver"]
restart = "on-failure"

[[files]]
target = "/usr/share/backgrounds/default.png"
symlink = "kasm.png"

[deploy]
ports = ["127.0.0.1:6901:6901"]
volumes = ["kasm-home:/home/kasm-user"]
shm-size = "512m"
memory = "2g"
restart = "unless-stopped"

[kasm]
friendly-name = "Desktop"
categories = ["Desktop"]
icon = "desktop/icon.svg"
cores = 2
memory = "2768m"
run-config = { hostname = "kasm", shm_size = "512m", cap_add = ["NET_ADMIN"] }
exec-config = { go = { cmd = "bash -c true" } }
"#,
    ),
    ("workspaces/core/profile", "#!/bin/sh\n"),
    ("workspaces/desktop/icon.svg", "<svg/>"),
    ("keys/vendor.gpg", ""),
    ("workspaces/README.md", "Not a workspace."),
];

fn project() -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in FILES {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let sources = Folder(folder.path().to_owned());
    (folder, sources)
}

#[test]
fn a_desktop_upon_a_core() {
    let (_folder, sources) = project();
    assert_eq!(sources.workspaces().expect("a folder"), ["core", "desktop"]);
    let workspace = match load(&sources, "desktop") {
        Ok(workspace) => workspace,
        Err(report) => panic!("{report}"),
    };
    let debian = &workspace.debian;
    assert_eq!(
        (debian.suite.value.as_str(), debian.security, debian.updates),
        ("trixie", true, true)
    );
    assert_eq!(debian.components, ["main", "contrib"]);
    assert_eq!(debian.archives[0].components, ["main"]);

    let [core, desktop] = &workspace.stages[..] else {
        panic!("two stages");
    };
    let requests: Vec<&str> = desktop
        .packages
        .install
        .iter()
        .map(|request| &*request.value)
        .collect();
    assert_eq!(requests, ["tigervnc-standalone-server", "xfce4"]);
    let digest = desktop.packages.debs[0]
        .sha256
        .as_ref()
        .expect("it is given");
    assert!(digest.value.starts_with("8bc0f6"), "{}", digest.value);
    assert_eq!(core.packages.debconf[0].question, "tzdata/Areas");
    assert!(desktop.packages.debconf.is_empty());
    assert_eq!((core.image_files.len(), desktop.image_files.len()), (2, 3));
    assert_eq!(core.image_files[0].mode, Some(0o755));
    assert_eq!(core.image_files[1].group.value, "kasm-user");
    assert_eq!(
        desktop.image_files[2].content,
        FileContent::Symlink("kasm.png".to_owned())
    );
    assert_eq!(core.users[0].home, "/home/kasm-user");
    assert!(core.services.is_empty());
    let socket = Ready::Socket("/tmp/.X11-unix/X1".to_owned());
    assert_eq!(desktop.services[0].ready, Some(socket));
    assert_eq!(core.repository, "kasmforge/core");

    assert_eq!(workspace.image.repository, "kasmforge/desktop");
    assert_eq!(workspace.image.ports, ["6901"]);
    assert_eq!(workspace.deploy.shm_size, Some(512 << 20));
    assert_eq!(
        (
            workspace.deploy.health_timeout,
            workspace.deploy.desktop_port
        ),
        (120, 6901)
    );
    let run_config = r#"{"cap_add":["NET_ADMIN"],"hostname":"kasm","shm_size":"512m"}"#;
    assert_eq!(workspace.kasm.run_config.as_deref(), Some(run_config));
    assert_eq!(workspace.kasm.memory, Some(2768 << 20));

    // Places speak of the file they were read from.
    let at = &desktop.packages.install[0].at;
    assert_eq!(
        workspace.files.path(at.file),
        "workspaces/modules/tigervnc.toml"
    );
    let written = &workspace.files.text(at.file)[at.span.clone()];
    assert_eq!(written, "\"tigervnc-standalone-server\"");
    assert_eq!(workspace.files.position(at), (3, 12));
}

#[test]
fn a_parent_is_a_workspace_of_its_own() {
    let (_folder, sources) = project();
    let core = match load(&sources, "core") {
        Ok(workspace) => workspace,
        Err(report) => panic!("{report}"),
    };
    assert_eq!(core.stages.len(), 1);
    assert_eq!(
        core.description.as_deref(),
        Some("Debian with an unprivileged user")
    );
}

#[test]
fn a_folder_without_workspaces_has_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Folder(folder.path().to_owned());
    assert!(sources.workspaces().expect("that is no error").is_empty());
    assert!(
        sources
            .read("workspaces/a.toml")
            .expect("nor this")
            .is_none()
    );
}
