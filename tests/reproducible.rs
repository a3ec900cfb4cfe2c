//! The same definition and the same lock give the same bytes: wherever, whenever, as whoever.
//!
//! The shipped workspace `core` is built three times: as root, as root in other surroundings, and
//! as an ordinary user without any ids but one. Needs root (to become others), `unshare`, `setpriv`
//! (util-linux), GNU `tar`, and the mirror the host's apt uses.

mod support {
    pub(crate) mod project;
}

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::project::{Image, Project, Ran, debian};
use tempfile::TempDir;

/// The ordinary user: one that no file of the host belongs to.
const USER: u32 = 65534;

#[test]
fn anybody_anywhere_builds_the_same_bytes() {
    let folder = TempDir::new().expect("a temporary folder");
    // The ordinary user must get through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");

    let first = Project::with_store(&folder.path().join("first"));
    shipped(&first);
    let wanted = first.build("core");
    let lock = first.lock().expect("a build writes a lock");

    // Deeper, elsewhere, and with everything else that programs pick up by chance.
    let second = Project::with_store(&folder.path().join("a much/longer path/to the/second"));
    let mut command = second.command_below(&[
        "unshare",
        "--uts",
        "sh",
        "-c",
        "hostname somewhere-else && umask 077 && exec \"$@\"",
        "sh",
    ]);
    command
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati")
        .env("HOME", "/nonexistent")
        .env("USER", "somebody")
        .env("PERL_HASH_SEED", "7")
        .env("PYTHONHASHSEED", "7")
        .env("RAYON_NUM_THREADS", "1");
    seed(&second, &first, &lock);
    gives(command, &wanted);

    // An ordinary user, who has neither ids to spare nor a home.
    let third = Project::with_store(&folder.path().join("third/store"));
    let user = USER.to_string();
    let mut command = third.command_below(&[
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
    ]);
    command.env_remove("HOME").env_remove("USER");
    let taken = ["/etc/subuid", "/etc/subgid"].map(|path| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with("nobody:"))
    });
    assert_eq!(taken, [false, false], "this user must have no further ids");
    seed(&third, &first, &lock);
    give(third.path());
    give(third.store().parent().expect("the store has a folder"));
    gives(command, &wanted);
}

#[test]
fn a_difference_is_named() {
    let images = ["one", "two"].map(|text| {
        let project = Project::new();
        let file = format!("[[files]]\ntarget = \"/etc/probe\"\ntext = \"{text}\"\n");
        // What spares all of Perl.
        let packages = "[packages]\ninstall = [\"usr-is-merged\"]\n";
        project.define("desktop", &(debian() + packages + &file));
        project.build("desktop")
    });
    let told = difference(&images[0], &images[1]);
    assert!(told.contains("in the content of etc/probe"), "{told}");
}

/// Prepares a project to build `core` from another's lock and downloads.
fn seed(project: &Project, first: &Project, lock: &str) {
    shipped(project);
    project.file("kasmforge.lock", lock.as_bytes());
    fs::create_dir_all(project.store()).expect("a folder");
    // Downloads are named by their digests: fetching them again would prove nothing more.
    let [from, to] = [first, project].map(|project| project.store().join("blobs"));
    copy(&from, &to);
}

/// That a command builds this very image.
fn gives(mut command: Command, wanted: &Image) {
    let ran = Ran::of(command.args(["build", "core", "--offline", "--locked", "--json"]));
    assert_eq!(ran.status, 0, "{ran:?}");
    let found = Image::of(&ran);
    assert!(
        !ran.errors.contains("as another user"),
        "a script of core became another user: {}",
        ran.errors
    );
    if found.digest != wanted.digest {
        panic!("{}", difference(wanted, &found));
    }
    let [found, wanted] =
        [&found, wanted].map(|image| fs::read(&image.archive).expect("the archive"));
    assert!(found == wanted, "equal digests, and other bytes");
}

/// Copies the workspaces that are shipped into a project.
fn shipped(project: &Project) {
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("workspaces"),
        &project.path().join("workspaces"),
    );
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["--recursive", "--no-dereference", "--no-target-directory"])
        .args(["--preserve=mode,links"])
        .args([from, to])
        .status()
        .expect("`cp` runs (coreutils)");
    assert!(copied.success(), "{} cannot be copied", from.display());
}

/// Gives a folder and all in it to the ordinary user.
fn give(folder: &Path) {
    chown(folder, Some(USER), Some(USER)).expect("only root can give");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            give(&path);
        } else {
            std::os::unix::fs::lchown(&path, Some(USER), Some(USER)).expect("only root can give");
        }
    }
}

/// Names the first entry that differs, as GNU tar shows it.
fn difference(wanted: &Image, found: &Image) -> String {
    let pairs = wanted.layers.iter().zip(&found.layers);
    let Some((index, (one, other))) = pairs.enumerate().find(|(_, (one, other))| one != other)
    else {
        return format!(
            "{} layers and {} layers, the common ones equal: the configuration differs",
            wanted.layers.len(),
            found.layers.len()
        );
    };
    let [one, other] = [(wanted, one), (found, other)].map(|(image, layer)| {
        let folder = TempDir::new().expect("a temporary folder");
        let layer = extracted(&image.archive, layer, folder.path());
        let lines = listing(&layer);
        (folder, layer, lines)
    });
    for (left, right) in one.2.iter().zip(&other.2) {
        if left != right {
            return format!("layer {index} differs:\n- {left}\n+ {right}");
        }
        // Equal lines may hide other contents.
        let name = left.split_whitespace().last().unwrap_or_default();
        if left.starts_with('-') && content(&one.1, name) != content(&other.1, name) {
            return format!("layer {index} differs in the content of {name}\n  {left}");
        }
    }
    format!(
        "layer {index} has {} entries here and {} there",
        one.2.len(),
        other.2.len()
    )
}

/// A layer of an archive as a file of its own.
fn extracted(archive: &Path, layer: &str, folder: &Path) -> PathBuf {
    let digest = layer.strip_prefix("sha256:").expect("a digest");
    let name = format!("blobs/sha256/{digest}");
    tar(
        &["-C", &folder.display().to_string(), "-xf"],
        archive,
        &[&name],
    );
    folder.join(name)
}

fn listing(layer: &Path) -> Vec<String> {
    let text = tar(
        &["--numeric-owner", "--full-time", "-tvf"],
        layer,
        &["--utc"],
    );
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn content(layer: &Path, name: &str) -> Vec<u8> {
    tar(&["-xOf"], layer, &[name])
}

fn tar(before: &[&str], archive: &Path, after: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(before)
        .arg(archive)
        .args(after)
        .output()
        .expect("`tar` runs: apt-get install tar");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}
