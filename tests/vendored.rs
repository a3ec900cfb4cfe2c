//! A lock built from a folder alone: an empty store, no network, the same image.
//!
//! Needs `unshare` (util-linux), to take the network away, and `skopeo`, to judge the layout.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::fs;
use std::path::Path;
use std::process::Command;

use support::archive::{Archive, Deb};
use support::project::{Image, Project, Ran, damage, debian};

/// The same project with a store of its own, and the lock.
fn twin(project: &Project, store: &Path) -> Project {
    let twin = Project::with_store(store);
    let text = fs::read_to_string(project.path().join("workspaces/desktop.toml"));
    twin.define("desktop", &text.expect("the definition"));
    twin.file("kasmforge.lock", project.lock().expect("a lock").as_bytes());
    twin
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let below = path.strip_prefix(folder).expect("it is below");
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_workspace_is_built_from_its_folder_alone() {
    let archive = Archive::of(&[Deb::new("probe", "1:1").file("usr/share/probe", b"here")]);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let project = Project::new();
    let text = format!(
        "{}\n{}\n[packages]\ninstall = [\"probe\"]\n[[files]]\ntarget = \"/etc/probe\"\nurl = \
         \"{}/dists/local/Release\"\n",
        debian(),
        archive.table(),
        archive.address()
    );
    project.define("desktop", &text);
    let built = project.build("desktop");
    let (plain, layout) = (at("plain"), at("layout"));
    let oci = format!("oci:{}", layout.display());
    let plainly = plain.display().to_string();
    for name in [&plainly, &oci] {
        let ran = project.run(&["lock", "--vendor", name]);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    drop(archive);
    assert!(plain.join("packages/probe_1%3a1_all.deb").is_file());
    assert!(plain.join("kasmforge.lock").is_file());
    // Both hold every input; the layout a manifest besides.
    let inputs = files(&plain).len() - 1;
    assert_eq!(files(&layout.join("blobs")).len(), inputs + 2);
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", &format!("{oci}:inputs")])
        .arg(format!("oci:{}:inputs", at("copied").display()))
        .output()
        .expect("`skopeo` runs");
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(
        files(&at("copied").join("blobs")),
        files(&layout.join("blobs"))
    );

    // Once more: nothing to do. And what a later lock does not name goes, but nothing else.
    let again = project.run(&["lock", "--vendor", &plainly]);
    assert!(
        again.errors.contains("(0 new, 0 removed)"),
        "{}",
        again.errors
    );
    fs::write(plain.join("packages/mine"), "kept").expect("a file");

    // Elsewhere, years later: nobody can be asked.
    let elsewhere = twin(&project, &at("store"));
    let image = |folder: &str| {
        let mut command = elsewhere.command_below(&["unshare", "--net"]);
        command.args(["build", "desktop", "--json", "--vendored", folder]);
        Ran::of(&mut command)
    };
    let ran = image(&oci);
    assert_eq!(ran.status, 0, "{}", ran.errors);
    assert_eq!(Image::of(&ran).digest, built.digest, "{}", ran.errors);
    fs::remove_dir_all(at("store")).expect("the store");

    // A folder is not believed.
    damage(&plain.join("packages/probe_1%3a1_all.deb"));
    image(&plainly).failed_with(&["is not what kasmforge.lock promises"]);
    fs::remove_file(plain.join("packages/probe_1%3a1_all.deb")).expect("it was there");
    image(&plainly).failed_with(&["lacks probe 1:1", "kasmforge lock --vendor"]);
    let stranger = project.run(&["lock", "--vendor", &folder.path().display().to_string()]);
    stranger.failed_with(&["holds other things"]);
    assert!(plain.join("packages/mine").is_file());
}
