//! The lock's text: one form, and words for what is not one.

use std::collections::BTreeMap;

use kasmforge_digest::Digest;
use kasmforge_lock::{ArchiveState, Ids, Lock, Package, Workspace};

fn package(name: &str, architecture: &str, version: &str) -> Package {
    Package {
        name: name.into(),
        version: version.into(),
        architecture: architecture.into(),
        source: "source".into(),
        archive: "debian trixie".into(),
        path: format!("pool/main/{name}.deb"),
        size: 10,
        sha256: Digest::of(format!("{name}{architecture}{version}").as_bytes()),
        installed_size: 4,
        depends: vec!["libc6".into()],
    }
}

fn workspace(name: &str, extends: Option<&str>) -> Workspace {
    Workspace {
        name: name.into(),
        architecture: "amd64".into(),
        extends: extends.map(Into::into),
        request: Digest::of(name.as_bytes()),
        packages: Vec::new(),
        layers: vec![vec!["glibc".into()], vec!["a".into(), "b".into()]],
        image: None,
    }
}

fn sample() -> Lock {
    let mut lock = Lock {
        archives: vec![ArchiveState {
            name: "debian trixie".into(),
            release: Digest::of(b"release"),
            date: 1_790_000_000,
            signer: "ABCD".into(),
        }],
        ids: Ids {
            users: BTreeMap::from([("messagebus".into(), 100)]),
            ..Ids::default()
        },
        ..Lock::default()
    };
    let core = [
        package("libc6", "amd64", "2.41-1"),
        package("dash", "amd64", "0.5-1"),
    ];
    lock.put(workspace("core", None), core.to_vec());
    let more = [
        package("libc6", "i386", "2.41-1"),
        package("zsh \"odd\"", "all", "1:2~3"),
    ];
    lock.put(workspace("desktop", Some("core")), more.to_vec());
    lock
}

#[test]
fn parse_then_render_is_the_identity() {
    let lock = sample();
    let text = lock.render();
    let read = Lock::parse(&text).expect("our own text");
    assert_eq!(read, lock);
    assert_eq!(read.render(), text);
}

#[test]
fn names_are_as_short_as_they_can_be() {
    let text = sample().render();
    assert!(
        text.contains("    \"libc6:amd64\",\n    \"dash\",\n"),
        "{text}"
    );
}

#[test]
fn the_order_of_configuration_is_kept() {
    let lock = Lock::parse(&sample().render()).expect("our own text");
    let core = lock.workspace("core", "amd64").expect("there");
    let names: Vec<_> = core
        .packages
        .iter()
        .map(|&at| lock.packages[at].name.as_str())
        .collect();
    assert_eq!(names, ["libc6", "dash"]);
}

#[test]
fn what_nobody_needs_is_dropped() {
    let mut lock = sample();
    lock.put(
        workspace("core", None),
        vec![package("dash", "amd64", "0.6-1")],
    );
    let versions: Vec<_> = lock
        .packages
        .iter()
        .map(|p| (&*p.name, &*p.version))
        .collect();
    assert_eq!(
        versions,
        [
            ("dash", "0.6-1"),
            ("libc6", "2.41-1"),
            ("zsh \"odd\"", "1:2~3")
        ]
    );
}

#[test]
fn mistakes_are_told_with_their_line() {
    let text = sample().render();
    let told = |text: &str| Lock::parse(text).expect_err("not a lock").to_string();
    insta::assert_snapshot!(told(&text.replace("\"dash\",", "\"dush\",")), @"kasmforge.lock:17: there is no [[package]] `dush`");
    insta::assert_snapshot!(told(&text.replace("format = 1", "format = 2\nnew-key = 1")), @"kasmforge.lock:1: this lock has format 2, this kasmforge reads format 1; use the kasmforge that wrote it, or remove it and run `kasmforge lock`");
    insta::assert_snapshot!(told(&format!("{text}\n<<<<<<< HEAD\n")), @"kasmforge.lock:89: this is an unresolved merge; take either side whole (`git checkout --ours kasmforge.lock`), then run `kasmforge lock` to bring it up to date");
    insta::assert_snapshot!(told(&text.replace("\nsize = 10", "\nsize = \"10\"")), @r#"kasmforge.lock:48: invalid type: string "10", expected u64"#);
    insta::assert_snapshot!(told(&text.replace("archive = \"debian trixie\"", "archive = \"x\"")), @"kasmforge.lock:46: there is no [[archive]] named `x`");
    insta::assert_snapshot!(told("format = "), @"kasmforge.lock:1: string values must be quoted, expected literal string");
}
