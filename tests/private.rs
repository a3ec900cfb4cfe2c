//! Private archives: a server that speaks https only, by a certificate nobody knows, and wants a login.
//!
//! Needs `openssl` to make the certificates.

mod support {
    pub(crate) mod archive;
    pub(crate) mod certificates;
    pub(crate) mod oracle;
    pub(crate) mod private;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::fs;
use std::path::Path;
use std::process::Command;

use support::archive::{Archive, Deb};
use support::private::Private;
use support::project::{Image, Project, Ran, debian};

/// Words that may stand nowhere but where they were put by hand.
const PASSWORD: &str = "wordOnlyTheServerMayHear";
const TOKEN: &str = "tokenOnlyTheServerMayHear";

/// A project that takes a package from a private server, with a store of its own.
fn project(server: &Private) -> Project {
    that_takes_from(server, Project::with_own_store())
}

fn that_takes_from(server: &Private, project: Project) -> Project {
    let project = project.variable("HOME", "/nonexistent");
    project.file(
        "keys/ca.pem",
        &fs::read(server.authority()).expect("the authority"),
    );
    let text = format!(
        "{}\n[[debian.archives]]\nname = \"my-own\"\nuri = \"{}\"\nsuite = \"local\"\ntrusted = \
         true\ncertificates = \"../keys/ca.pem\"\n[packages]\ninstall = [\"probe\"]\n[[files]]\n\
         target = \"/x\"\nurl = \"{}/pool/probe_1_all.deb\"\n",
        debian(),
        server.address(),
        server.address(),
    );
    project.define("desktop", &text);
    project
}

/// Whether a folder holds a text anywhere: in names or in bytes.
fn holds(folder: &Path, text: &str) -> Option<String> {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.display().to_string().contains(text) {
            return Some(path.display().to_string());
        }
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if let Some(found) = holds(&path, text) {
                return Some(found);
            }
        } else if fs::read(&path).is_ok_and(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        }) {
            return Some(path.display().to_string());
        }
    }
    None
}

/// What a build writes with a login at hand: its image, and whatever is new in the store.
#[test]
fn no_login_is_in_an_image() {
    let archive = Archive::of(&[Deb::new("probe", "1").script("postinst", "env >/probe-saw")]);
    let server = Private::of(archive.path(), &[("me", PASSWORD)], &[TOKEN]);
    let project = that_takes_from(&server, Project::new());
    let began = tempfile::NamedTempFile::new().expect("a temporary file");
    let ran = Ran::of(
        project
            .command()
            .args(["build", "desktop", "-vv", "--json"])
            .env("KASMFORGE_ARCHIVE_MY_OWN_USER", "me")
            .env("KASMFORGE_ARCHIVE_MY_OWN_PASSWORD", PASSWORD),
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(server.logins() > 0, "the server was told no login");
    let image = Image::of(&ran);
    let secrets = [
        PASSWORD.to_owned(),
        support::oracle::base64(&format!("me:{PASSWORD}")),
    ];
    for secret in &secrets {
        assert!(!format!("{ran:?}").contains(secret), "{ran:?}");
        assert_eq!(holds(project.path(), secret), None);
    }
    // What the script saw of the environment is in the image: this search would find it.
    let holding = |words: &[&str], path: &Path, more: &[&std::ffi::OsStr]| {
        let mut find = Command::new("find");
        find.arg(path).args(["-type", "f"]).args(more);
        find.args(["-exec", "grep", "-alF"]);
        for word in words {
            find.arg("-e").arg(word);
        }
        Ran::of(find.args(["{}", "+"])).output
    };
    let image = fs::canonicalize(&image.archive).expect("the image");
    assert_ne!(holding(&["probe-saw"], &image, &[]), "");
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert_eq!(holding(&secrets, &image, &[]), "");
    let new = [std::ffi::OsStr::new("-newer"), began.path().as_os_str()];
    assert_eq!(holding(&secrets, project.store(), &new), "");
}

/// A login that a server is given is for that server: whoever it sends us on to does not hear it.
#[test]
fn a_login_does_not_follow_to_another_host() {
    let archive = Archive::of(&[Deb::new("probe", "1")]);
    let elsewhere = Private::open_elsewhere(archive.path());
    let server = elsewhere.sending_on(archive.path(), &[("me", PASSWORD)]);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let netrc = folder.path().join("netrc");
    fs::write(
        &netrc,
        format!("machine 127.0.0.1 login me password {PASSWORD}\n"),
    )
    .expect("a file");
    let vendor = folder.path().join("vendor");
    let project = project(&server);
    let ran = Ran::of(
        project
            .command()
            .args(["lock", "-vv", "--json", "--vendor"])
            .arg(&vendor)
            .env("NETRC", &netrc)
            .env("SSL_CERT_FILE", server.authority()),
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(vendor.join("packages/probe_1_all.deb").is_file());
    assert!(server.logins() > 0, "the server was told no login");
    assert!(elsewhere.requests() > 0, "nobody was sent on");
    assert_eq!(elsewhere.logins(), 0, "a login went to another host");
    nothing_leaked(&project, &ran, &vendor);
}

/// That no secret, in no form, is in what a run said or wrote.
fn nothing_leaked(project: &Project, ran: &Ran, vendor: &Path) {
    // `me:` and the password, and the token, as base64 has them.
    let coded = support::oracle::base64(&format!("me:{PASSWORD}"));
    for secret in [PASSWORD, TOKEN, &coded] {
        assert!(!ran.output.contains(secret), "{}", ran.output);
        assert!(!ran.errors.contains(secret), "{}", ran.errors);
        for folder in [project.path(), project.store(), vendor] {
            assert_eq!(holds(folder, secret), None, "{secret}");
        }
    }
}

#[test]
fn a_login_reaches_its_server_and_nothing_else() {
    let archive = Archive::of(&[Deb::new("probe", "1")]);
    let server = Private::of(archive.path(), &[("me", PASSWORD)], &[TOKEN]);
    let elsewhere = tempfile::TempDir::new().expect("a temporary folder");
    let netrc = elsewhere.path().join("netrc").display().to_string();
    let vendor = elsewhere.path().join("vendor");
    let run = |project: &Project, more: &[(&str, &str)]| {
        let mut command = project.command();
        command
            .args(["lock", "-vv", "--json", "--vendor"])
            .arg(&vendor);
        for (name, value) in more {
            command.env(name, value);
        }
        Ran::of(&mut command)
    };

    let unknown = project(&server);
    let ran = run(&unknown, &[]);
    let host = server.address().trim_start_matches("https://").to_owned();
    ran.failed_with(&[
        &format!("{host} wants a login, and none is known"),
        "machine ",
        "KASMFORGE_ARCHIVE_NAME_TOKEN",
    ]);

    fs::write(
        &netrc,
        format!("machine 127.0.0.1 login me password {PASSWORD}wrong\n"),
    )
    .expect("a file");
    let ran = run(&project(&server), &[("NETRC", &netrc)]);
    ran.failed_with(&["refuses the login found in ", &netrc]);
    assert!(!ran.errors.contains(PASSWORD), "{}", ran.errors);

    fs::write(
        &netrc,
        format!("machine 127.0.0.1 login me password {PASSWORD}\n"),
    )
    .expect("a file");
    let mut locks = Vec::new();
    for variables in [
        vec![("NETRC", netrc.as_str())],
        vec![("KASMFORGE_ARCHIVE_MY_OWN_TOKEN", TOKEN)],
        vec![
            ("KASMFORGE_ARCHIVE_MY_OWN_USER", "me"),
            ("KASMFORGE_ARCHIVE_MY_OWN_PASSWORD", PASSWORD),
        ],
    ] {
        let project = project(&server);
        let _ = fs::create_dir_all(&vendor);
        let ran = run(&project, &variables);
        assert_eq!(ran.status, 0, "{variables:?}: {}", ran.errors);
        assert!(
            ran.errors
                .contains("my-own local is taken without a signature"),
            "{}",
            ran.errors
        );
        nothing_leaked(&project, &ran, &vendor);
        assert!(vendor.join("packages/probe_1_all.deb").is_file());
        locks.push(project.lock().expect("a lock"));
    }
    assert!(
        locks.windows(2).all(|two| two[0] == two[1]),
        "the login is no part of the lock"
    );

    // Without the certificate nobody is believed, whatever the login.
    let stranger = project(&server);
    let path = stranger.path().join("workspaces/desktop.toml");
    let text = fs::read_to_string(&path).expect("the definition");
    let bare = text.replace("certificates = \"../keys/ca.pem\"\n", "");
    stranger.define("desktop", &bare);
    let heard = server.logins();
    run(&stranger, &[("NETRC", &netrc)]).failed_with(&["cannot be reached"]);
    assert_eq!(
        server.logins(),
        heard,
        "a login went to a server nobody vouched for"
    );
}
