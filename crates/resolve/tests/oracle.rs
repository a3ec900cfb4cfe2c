//! The resolver against apt itself: on an empty system, apt and the resolver must choose the same
//! packages in the same versions.
//!
//! apt runs in a folder of its own, with the archives that this machine's own apt uses for its
//! distribution; the resolver reads the very indexes that apt downloaded. So these tests need a
//! Debian with a mirror in reach, and fail without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kasmforge_deb::Version;
use kasmforge_resolve::{Archive, Request, Stage, Universe, resolve};

mod apt;

use apt::Apt;

/// apt and its indexes, downloaded once for all tests.
static APT: LazyLock<Apt> = LazyLock::new(Apt::new);

/// The indexes apt downloaded, decompressed once.
static INDEXES: LazyLock<Vec<String>> = LazyLock::new(|| APT.indexes());

static UNIVERSE: LazyLock<Universe> = LazyLock::new(|| {
    let mut universe = Universe::new(&APT.architecture);
    for (at, text) in INDEXES.iter().enumerate() {
        let name = format!("index {at}");
        let archive = universe.add_archive(Archive {
            name,
            suite: String::new(),
            priority: Archive::AUTOMATIC,
        });
        universe
            .add_index(archive, text.as_str())
            .expect("apt could read it");
    }
    universe
});

fn ours(requests: &[&str]) -> BTreeMap<String, Version> {
    let requests: Vec<Request> = requests
        .iter()
        .map(|request| request.parse().expect("written by hand"))
        .collect();
    let stage = Stage {
        requests: &requests,
        ..Stage::default()
    };
    let solution = match resolve(&UNIVERSE, &stage) {
        Ok(solution) => solution,
        Err(unsatisfiable) => panic!("{unsatisfiable}"),
    };
    let key = |name: &str| name.to_owned();
    solution
        .packages
        .into_iter()
        .map(|chosen| (key(&chosen.stanza.name), chosen.stanza.version))
        .collect()
}

fn same_as_apt(requests: &[&str], at_least: usize) {
    let essential: Vec<&str> = UNIVERSE.essential().collect();
    let apts = APT.install(&[requests, &essential].concat());
    let ours = ours(requests);
    let told = |packages: &BTreeMap<String, Version>| -> BTreeSet<String> {
        packages
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect()
    };
    let (apts, ours) = (told(&apts), told(&ours));
    let only_apt: Vec<_> = apts.difference(&ours).collect();
    let only_ours: Vec<_> = ours.difference(&apts).collect();
    assert_eq!((only_apt, only_ours), (vec![], vec![]), "{requests:?}");
    assert!(
        ours.len() >= at_least,
        "only {} packages for {requests:?}",
        ours.len()
    );
}

#[test]
fn a_browser_desktop() {
    same_as_apt(
        &[
            "xfce4",
            "xfce4-terminal",
            "firefox-esr",
            "tigervnc-standalone-server",
            "novnc",
            "pulseaudio",
            "ffmpeg",
            "nginx",
            "dbus-x11",
            "s6",
            "sudo",
            "fonts-dejavu",
        ],
        350,
    );
}

#[test]
fn kde() {
    same_as_apt(&["kde-plasma-desktop", "chromium", "libreoffice"], 800);
}

#[test]
fn gnome() {
    same_as_apt(&["gnome-core"], 700);
}

#[test]
fn a_workshop() {
    same_as_apt(
        &["default-jdk", "build-essential", "git", "vim", "docker.io"],
        200,
    );
}

#[test]
fn lxqt_and_big_programs() {
    same_as_apt(&["lxqt", "vlc", "gimp", "inkscape", "blender"], 600);
}

#[test]
fn a_task() {
    same_as_apt(&["task-xfce-desktop"], 300);
}

#[test]
fn everything_of_tex() {
    same_as_apt(&["texlive-full"], 450);
}
