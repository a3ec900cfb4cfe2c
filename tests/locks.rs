//! The lock in people's hands: whether it fits, why a package is in it, what changed and why.
//!
//! The packages are made here, in an archive without a signature beside a real mirror's.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::process::Command;

use insta::assert_snapshot;
use support::archive::{Archive, Deb};
use support::project::{Project, Ran, debian};

/// A month after the archives made here.
const LATER: &str = "Mon, 10 Jul 2023 08:00:00 UTC";

/// What a run printed and said, without progress and the archives' addresses.
fn told(ran: &Ran) -> String {
    let talk = ran.errors.lines().filter(|line| {
        !["checking ", "fetching ", "warning: local "]
            .iter()
            .any(|word| line.starts_with(word))
    });
    let mut text: Vec<&str> = talk.collect();
    text.extend(ran.output.lines());
    text.join("\n")
}

/// Runs a command that must succeed, and gives what it said.
fn run(project: &Project, arguments: &[&str]) -> String {
    let ran = project.run(arguments);
    assert_eq!(ran.status, 0, "{ran:?}");
    told(&ran)
}

/// The lines of a text that speak of packages made here, and those that begin otherwise.
fn ours(text: &str) -> String {
    text.lines()
        .filter(|line| line.contains("probe") || line.contains("because"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn panel(version: &str) -> Vec<Deb> {
    vec![
        Deb::new("probe-panel", version).field("Depends", "probe-menu, probe-library"),
        Deb::new("probe-menu", "1").field("Recommends", "probe-icons"),
        Deb::new("probe-library", "1"),
        Deb::new("probe-icons", "1"),
        Deb::new("probe-viewer", "1").field("Provides", "probe-look"),
    ]
}

/// A project whose workspace takes packages from an archive made here.
fn project(archive: &Archive, more: &str) -> Project {
    let project = Project::new();
    project.define("modules/panel", "[packages]\ninstall = [\"probe-panel\"]\n");
    let text = format!(
        "use = [\"modules/panel\"]\n{}\n{}\n[packages]\nrecommends = true\ninstall = \
         [\"probe-look\"{more}]\n",
        debian(),
        archive.table()
    );
    project.define("desktop", &text);
    project
}

#[test]
fn a_lock_is_checked_without_a_network() {
    let archive = Archive::of(&panel("1"));
    let project = project(&archive, "");
    let check = ["lock", "--check"];
    let absent = project.run(&check);
    assert_eq!(absent.status, 1);
    assert!(
        absent.errors.contains("desktop: it is not locked for "),
        "{}",
        absent.errors
    );
    run(&project, &["lock"]);
    // Nobody is there to be asked any more.
    let archive = (archive.table(), drop(archive)).0;
    assert!(run(&project, &check).starts_with("kasmforge.lock fits the definitions ("));

    let define = |install: &str| {
        let text = format!(
            "use = [\"modules/panel\"]\n{}\n{archive}\n[packages]\nrecommends = true\ninstall = \
             [{install}]\n[[files]]\ntarget = \"/x\"\nurl = \"https://a.test/x\"\n",
            debian()
        );
        project.define("desktop", &text);
    };
    define("\"nano\", \"vim (>= 9)\"");
    let ran = project.run(&check);
    assert_eq!(ran.status, 1);
    assert_snapshot!(told(&ran), @"
    error: kasmforge.lock does not fit the definitions; run `kasmforge lock` and commit it
      desktop: `nano` is asked for (workspaces/desktop.toml:14), `vim (>= 9)` is asked for (workspaces/desktop.toml:14), `probe-look` is not asked for any more
      desktop: the download https://a.test/x is new (workspaces/desktop.toml:17)
    ");
    let locked = project.run(&["lock", "--locked", "--offline"]);
    assert_eq!(locked.status, 1);
    assert_snapshot!(told(&locked), @"error: kasmforge.lock does not say what `desktop` asks for (`nano` is asked for (workspaces/desktop.toml:14), `vim (>= 9)` is asked for (workspaces/desktop.toml:14), `probe-look` is not asked for any more), and --locked forbids to change it; run `kasmforge lock`, look at the difference, and commit it");

    let text = project.lock().expect("a lock");
    project.file(
        "kasmforge.lock",
        text.replacen("format = 2", "format = 2 # mine", 1)
            .as_bytes(),
    );
    let ran = project.run(&check);
    assert!(
        ran.errors.contains("kasmforge.lock: line 3 is not as"),
        "{}",
        ran.errors
    );
    project.file("kasmforge.lock", format!("{text}<<<<<<< HEAD\n").as_bytes());
    project
        .run(&check)
        .failed_with(&["unresolved merge", "run `kasmforge lock`"]);
}

#[test]
fn what_cannot_be_locked_here_spoils_nothing_else() {
    let archive = Archive::of(&panel("1"));
    let project = project(&archive, "");
    let vendor = tempfile::TempDir::new().expect("a temporary folder");
    let address = support::server::Server::of(vendor.path()).address();
    let text = format!(
        "{}\n{}\n[[packages.deb]]\nurl = \"{address}/probe-vendor_1_all.deb\"\n",
        debian(),
        archive.table()
    );
    project.define("vendor", &text);
    project.define("above", "extends = \"vendor\"\n");
    let plain = |ran: &Ran| told(ran).replace(&address, "[vendor]");
    let first = project.run(&["lock"]);
    assert_eq!(first.status, 1);
    assert_snapshot!(plain(&first), @"
    error: cannot lock above, vendor: cannot fetch [vendor]/probe-vendor_1_all.deb: no mirror has [vendor]/probe-vendor_1_all.deb (asked: [vendor]/probe-vendor_1_all.deb)
      they are left out of kasmforge.lock; run `kasmforge lock` again where that can be fetched. All others are locked
    kasmforge.lock is written (110 packages)
    ");
    let lock = project.lock().expect("a lock of the others");
    assert!(
        lock.contains("left-out = [\n    \"above\",\n    \"vendor\",\n]\n"),
        "{lock}"
    );
    run(&project, &["why", "desktop", "probe-panel"]);

    // From then on it is known.
    let again = project.run(&["lock"]);
    assert_eq!((again.status, project.lock()), (0, Some(lock)));
    assert_snapshot!(plain(&again), @"
    warning: cannot lock above, vendor: cannot fetch [vendor]/probe-vendor_1_all.deb: no mirror has [vendor]/probe-vendor_1_all.deb (asked: [vendor]/probe-vendor_1_all.deb)
    kasmforge.lock is up to date (110 packages)
    ");
    assert_snapshot!(run(&project, &["lock", "--check"]), @"kasmforge.lock fits the definitions (110 packages); left out, because something could not be fetched where it was written: above, vendor (`kasmforge lock` takes them up where it can be)");
    run(&project, &["lock", "--locked", "--offline"]);
    let named = project.run(&["lock", "--check", "vendor"]);
    assert_eq!(named.status, 1, "{named:?}");
    project
        .run(&["lock", "vendor"])
        .failed_with(&["cannot fetch", "no mirror has"]);

    // Where it can be fetched it is taken up.
    Deb::new("probe-vendor", "1").make(vendor.path());
    run(&project, &["lock"]);
    let lock = project.lock().expect("a lock");
    assert!(!lock.contains("left-out"), "{lock}");
    run(&project, &["why", "above", "probe-vendor"]);
    assert!(!run(&project, &["lock", "--check"]).contains("leaves out"));
}

#[test]
fn every_package_has_its_reasons() {
    let archive = Archive::of(&panel("1"));
    let project = project(&archive, ", \"probe-icons\"");
    run(&project, &["lock"]);
    drop(archive);
    assert_snapshot!(run(&project, &["why", "desktop", "probe-library"]), @"
    probe-library 1 is in `desktop` because
      `probe-panel` is asked for in workspaces/modules/panel.toml:2 (stage `desktop`)
      probe-panel 1 depends on probe-library
    ");
    assert_snapshot!(run(&project, &["why", "desktop", "probe-icons", "--all"]), @"
    probe-icons 1 is in `desktop` because
      `probe-icons` is asked for in workspaces/desktop.toml:14 (stage `desktop`)
    and because
      `probe-panel` is asked for in workspaces/modules/panel.toml:2 (stage `desktop`)
      probe-panel 1 depends on probe-menu
      probe-menu 1 recommends probe-icons
    ");
    assert_snapshot!(run(&project, &["why", "desktop", "probe-viewer"]), @"
    probe-viewer 1 is in `desktop` because
      `probe-look` is asked for in workspaces/desktop.toml:14 (stage `desktop`), which probe-viewer 1 provides
    ");
    assert_snapshot!(
        run(&project, &["why", "desktop", "dpkg"]).lines().skip(1).collect::<String>(),
        @"  every system must have it"
    );
    assert_snapshot!(told(&project.run(&["why", "desktop", "probe-libary"])), @"error: `desktop` has no package `probe-libary`");
    assert_snapshot!(told(&project.run(&["why", "desktop", "probe"])), @"error: `desktop` has no package `probe`; there is probe-menu, probe-icons, probe-panel, probe-viewer, probe-library");
    assert_snapshot!(run(&project, &["tree", "desktop", "probe-panel"]), @"
    probe-panel 1
    ├── probe-library 1
    └── probe-menu 1
        └── probe-icons 1 (recommended)
    ");
    assert_snapshot!(run(&project, &["tree", "desktop", "probe-icons", "--reverse"]), @"
    probe-icons 1
    └── probe-menu 1 (recommended)
        └── probe-panel 1
    ");
    assert_snapshot!(ours(&run(&project, &["tree", "desktop", "--depth", "0"])), @"
    probe-icons 1
    probe-panel 1
    probe-viewer 1
    ");
    let json: serde_json::Value = serde_json::from_str(
        &project
            .run(&["why", "desktop", "probe-menu", "--json"])
            .output,
    )
    .expect("JSON");
    assert_eq!(
        json["chains"][0]["root"]["place"],
        "workspaces/modules/panel.toml:2"
    );
    assert_eq!(json["chains"][0]["chain"][1]["relation"], "depends");
}

#[test]
fn an_update_touches_what_it_must_and_says_why() {
    let archive = Archive::of(&panel("1"));
    let project = project(&archive, "");
    run(&project, &["lock"]);
    let before = project.lock().expect("a lock");
    // Newer of everything; and the panel asks for a newer library and for something new.
    archive.publish(
        LATER,
        &[
            Deb::new("probe-panel", "2")
                .field("Depends", "probe-menu, probe-library (>= 2), probe-new"),
            Deb::new("probe-panel", "1").field("Depends", "probe-menu, probe-library"),
            Deb::new("probe-menu", "2"),
            Deb::new("probe-menu", "1").field("Recommends", "probe-icons"),
            Deb::new("probe-library", "2"),
            Deb::new("probe-library", "1"),
            Deb::new("probe-icons", "1"),
            Deb::new("probe-new", "1"),
            Deb::new("probe-viewer", "3").field("Provides", "probe-look"),
        ],
    );
    assert_snapshot!(ours(&run(&project, &["lock"])), @"");
    assert_eq!(
        project.lock().expect("a lock"),
        before,
        "nothing asked for it"
    );
    assert_snapshot!(ours(&run(&project, &["update", "probe-icons"])), @"
    ~ probe-viewer 1 -> 3
        because no archive has 1 any more
    ");
    assert_snapshot!(ours(&run(&project, &["update", "probe-panel"])), @"
    ~ probe-library 1 -> 2
        because probe-panel 2 depends on probe-library (>= 2)
    + probe-new 1
        because probe-panel 2 depends on probe-new
    ~ probe-panel 1 -> 2
    ");
    assert_snapshot!(ours(&run(&project, &["update"])), @"
    - probe-icons 1
        because nothing needs it any more
    ~ probe-menu 1 -> 2
    ");
    project
        .run(&["update", "nothing-like-it"])
        .failed_with(&["no package `nothing-like-it`"]);

    // An archive that goes back in time.
    archive.publish("Sat, 10 Jun 2023 08:00:00 UTC", &panel("1"));
    let ran = project.run(&["update"]);
    ran.failed_with(&[
        "is of 2023-06-10 08:00 UTC",
        "one of 2023-07-10",
        "--allow-older",
    ]);
    let text = run(&project, &["update", "--allow-older"]);
    assert!(text.contains("~ probe-panel 2 -> 1 (older)"), "{text}");
}

#[test]
fn security_updates_bring_only_what_they_force() {
    let archive = Archive::of(&panel("1"));
    let security = Archive::of_suite("local-security", &[]);
    let project = Project::new();
    let text = format!(
        "{}\n{}\n{}\n[packages]\ninstall = [\"probe-panel\", \"probe-viewer\"]\n",
        debian(),
        archive.table(),
        security
            .table()
            .replace("name = \"local\"", "name = \"guard\""),
    );
    project.define("desktop", &text);
    run(&project, &["lock"]);
    archive.publish(
        LATER,
        &[
            panel("1"),
            vec![
                Deb::new("probe-viewer", "2"),
                Deb::new("probe-library", "1.5"),
            ],
        ]
        .concat(),
    );
    let nothing = run(&project, &["update", "--security"]);
    assert!(nothing.contains("is up to date"), "{nothing}");
    security.publish(
        LATER,
        &[Deb::new("probe-menu", "1+fixed").field("Depends", "probe-library (>= 1.5)")],
    );
    assert_snapshot!(ours(&run(&project, &["update", "--security"])), @"
    ~ probe-library 1 -> 1.5
        because probe-menu 1+fixed depends on probe-library (>= 1.5)
    ~ probe-menu 1 -> 1+fixed  [security]
    ");
}

/// The groups of a workspace's layers in a lock's text.
fn groups<'a>(lock: &'a str, workspace: &str) -> &'a str {
    let (_, own) = lock
        .split_once(&format!("[[workspace]]\nname = \"{workspace}\"\n"))
        .expect("the workspace is locked");
    let (_, groups) = own.split_once("layers = [\n").expect("it has layers");
    groups.split_once("\n]").expect("the list ends").0
}

#[test]
fn packages_stay_in_their_layers_until_they_are_to_be_grouped_anew() {
    let archive = Archive::of(&panel("1"));
    let project = project(&archive, "");
    run(&project, &["lock"]);
    let first = project.lock().expect("a lock");
    let grouped = groups(&first, "desktop").to_owned();
    // What extends it, and may have fewer layers than it has.
    let child =
        "extends = \"desktop\"\n[packages]\ninstall = [\"probe-icons\"]\n[layers]\nbudget = 9\n";
    project.define("child", child);
    run(&project, &["lock"]);
    run(&project, &["update"]);
    let with_child = project.lock().expect("a lock");
    assert_eq!(groups(&with_child, "desktop"), grouped);

    // As if grouped otherwise at an earlier time.
    let otherwise = grouped.replacen("],\n    [", ", ", 1);
    assert_ne!(otherwise, grouped);
    project.file(
        "kasmforge.lock",
        with_child.replacen(&grouped, &otherwise, 1).as_bytes(),
    );
    run(&project, &["lock"]);
    run(&project, &["update"]);
    let kept = project.lock().expect("a lock");
    assert_eq!(groups(&kept, "desktop"), otherwise);

    // No index is read for it.
    drop(archive);
    let ran = project.run(&["lock", "--regroup", "--offline"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(project.lock().expect("a lock"), with_child);
    assert!(run(&project, &["lock", "--regroup", "desktop"]).contains("up to date"));
}

#[test]
fn locks_are_compared() {
    let log = |version: &str| {
        let entry = |version: &str, what: &str| {
            format!(
                "probe ({version}) local; urgency=low\n\n  * {what}\n\n -- A <a@example.org>  Sat, \
                 10 Jun 2023 08:00:00 +0000\n\n"
            )
        };
        let mut text = entry("1", "Begins.");
        if version != "1" {
            text = format!(
                "{}{}{text}",
                entry("3", "Mends a hole."),
                entry("2", "Grows.")
            );
        }
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let path = folder.path().join("changelog");
        std::fs::write(&path, text).expect("a file");
        let packed = Command::new("gzip")
            .arg("-n")
            .arg(&path)
            .status()
            .expect("gzip runs");
        assert!(packed.success());
        let bytes = std::fs::read(path.with_extension("gz")).expect("packed");
        Deb::new("probe", version).file("usr/share/doc/probe/changelog.Debian.gz", &bytes)
    };
    let archive = Archive::of(&[log("1"), Deb::new("probe-old", "1")]);
    let project = Project::new();
    let define = |second: &str| {
        let text = format!(
            "{}\n{}\n[packages]\ninstall = [\"probe\", \"{second}\"]\n",
            debian(),
            archive.table()
        );
        project.define("desktop", &text);
    };
    define("probe-old");
    run(&project, &["lock"]);
    let git = |arguments: &[&str]| {
        let ran = Command::new("git")
            .arg("-C")
            .arg(project.path())
            .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
            .args(arguments)
            .output()
            .expect("git runs");
        assert!(ran.status.success(), "{ran:?}");
    };
    project
        .run(&["diff"])
        .failed_with(&["`HEAD` is neither a file nor a revision"]);
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=one"]);
    assert_eq!(run(&project, &["diff"]), "no package changed");
    let first = project.path().join("first.lock");
    std::fs::copy(project.path().join("kasmforge.lock"), &first).expect("a copy");
    archive.publish(
        LATER,
        &[
            log("3"),
            Deb::new("probe-new", "1").field("Installed-Size", "3"),
        ],
    );
    define("probe-new");
    run(&project, &["update"]);
    assert_snapshot!(run(&project, &["diff", "--changelog"]), @"
    ~ probe 1 -> 3
        probe (3) local; urgency=low

          * Mends a hole.

         -- A <a@example.org>  Sat, 10 Jun 2023 08:00:00 +0000

        probe (2) local; urgency=low

          * Grows.

         -- A <a@example.org>  Sat, 10 Jun 2023 08:00:00 +0000
    + probe-new 1  +3.1 kB
    - probe-old 1
    1 upgraded, 1 added, 1 removed; installed +3.1 kB, packages to fetch 1.3 kB
    ");
    let first = first.display().to_string();
    let lock = project.path().join("kasmforge.lock").display().to_string();
    assert_snapshot!(run(&project, &["diff", &lock, &first]), @"
    ~ probe 3 -> 1 (older)
    - probe-new 1  -3.1 kB
    + probe-old 1
    1 downgraded, 1 added, 1 removed; installed -3.1 kB, packages to fetch 1.3 kB
    ");
    let json: serde_json::Value =
        serde_json::from_str(&project.run(&["diff", "HEAD", "--json"]).output).expect("JSON");
    assert_eq!(json["changes"][0]["change"], "upgraded");
    project
        .run(&["diff", "--", "--output=x"])
        .failed_with(&["neither a file nor a revision"]);
}

#[test]
fn packages_that_mirrors_dropped_are_looked_for_elsewhere() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    // Other bytes in each run: the store that tests share must not have it.
    let unique = folder.path().display().to_string();
    let mut debs = panel("1");
    debs[2] = Deb::new("probe-library", "1").file("usr/share/probe", unique.as_bytes());
    let archive = Archive::of(&debs);
    let project = project(&archive, "");
    let vendor = folder.path().join("vendor").display().to_string();
    run(&project, &["lock"]);
    let pool = archive.path().join("pool");
    let gone = pool.join("probe-library_1_all.deb");
    let library = std::fs::read(&gone).expect("the package");
    std::fs::remove_file(&gone).expect("it was there");
    let lock = ["lock", "--vendor", &vendor];
    project
        .run(&lock)
        .failed_with(&["no mirror has these locked packages any more: probe-library"]);
    // A mirror that keeps old packages by digest.
    let digest = support::oracle::sha256_of(&library);
    let by_hash = pool.join("by-hash/SHA256");
    std::fs::create_dir_all(&by_hash).expect("a folder");
    std::fs::write(by_hash.join(&digest), &library).expect("a file");
    run(&project, &lock);
    // A snapshot service, asked as of the lock's own day.
    let other = Project::with_own_store();
    for name in ["desktop", "modules/panel"] {
        let path = project.path().join(format!("workspaces/{name}.toml"));
        other.define(name, &std::fs::read_to_string(path).expect("a definition"));
    }
    other.file("kasmforge.lock", project.lock().expect("a lock").as_bytes());
    std::fs::remove_dir_all(&by_hash).expect("it was there");
    let kept = folder
        .path()
        .join("snapshot/archive/local/20230610T080000Z/pool");
    std::fs::create_dir_all(&kept).expect("a folder");
    std::fs::write(kept.join("probe-library_1_all.deb"), &library).expect("a file");
    let snapshot = support::server::Server::of(&folder.path().join("snapshot"));
    let other = other.variable("KASMFORGE_SNAPSHOT", &snapshot.address());
    run(&other, &lock);
    let asked = snapshot.asked();
    assert!(
        asked
            .iter()
            .any(|path| path.starts_with("archive/local/20230611T080000Z/pool/")),
        "{asked:?}"
    );
}
