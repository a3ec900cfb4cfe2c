//! What a definition may say of packages, through the command to the lock and the image: pins,
//! priorities, suites by name, packages outside archives, other architectures, stages.
//!
//! The packages are made here. What apt would install of them is asked of apt itself.

mod support {
    pub(crate) mod apt;
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use support::apt::Apt;
use support::archive::{Archive, Deb};
use support::oracle::architecture;
use support::project::{Image, Project, Ran, debian};
use support::server::Server;

/// The tables that name archives made here, each with what is said of it besides.
fn archives(archives: &[(&Archive, &str)]) -> String {
    let table = |(archive, more): &(&Archive, &str)| {
        let name = archive.suite_name();
        let table = archive.table();
        let table = table.replace("name = \"local\"", &format!("name = \"{name}\""));
        format!("{table}{more}\n")
    };
    archives.iter().map(table).collect()
}

/// What a workspace is locked to of the packages made here, as apt would say it.
fn locked(project: &Project, workspace: &str, more: &[&str]) -> BTreeSet<String> {
    let ran = project.run(&[&["tree", workspace, "--json"], more].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.output).expect("JSON");
    let native = match more {
        [_, named] => (*named).to_owned(),
        _ => architecture(),
    };
    let packages = json["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let text = |key: &str| package[key].as_str().expect("a text");
            let (name, version) = (text("package"), text("version"));
            match text("architecture") {
                own if own == native || own == "all" => format!("{name} {version}"),
                other => format!("{name}:{other} {version}"),
            }
        })
        .filter(|package| package.starts_with("probe"))
        .collect()
}

fn lock(project: &Project) {
    let ran = project.run(&["lock"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let check = project.run(&["lock", "--check"]);
    assert_eq!(check.status, 0, "{check:?}");
}

/// What a run that failed said, without progress and the archives' addresses.
fn told(ran: &Ran) -> String {
    assert_eq!(ran.status, 1, "{ran:?}");
    let noise = ["checking ", "fetching ", "warning: local"];
    let lines = ran.errors.lines();
    let lines = lines.filter(|line| !noise.iter().any(|noise| line.starts_with(noise)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn pins_priorities_and_suites_are_apts() {
    let depends = |what: &'static str| ("Depends", what);
    let with = |deb: Deb, (name, value): (&str, &str)| deb.field(name, value);
    let stable = Archive::of(&[
        with(Deb::new("probe-app", "1"), depends("probe-lib, probe-tool")),
        Deb::new("probe-lib", "1"),
        Deb::new("probe-tool", "1"),
        with(Deb::new("probe-extra", "1"), ("Recommends", "probe-tool")),
        Deb::new("probe-vendored", "2"),
        with(Deb::new("probe-needed", "1"), ("Priority", "required")),
    ]);
    let security = Archive::of_suite(
        "local-security",
        &[Deb::new("probe-lib", "1.1"), Deb::new("probe-tool", "1.2")],
    );
    let backports = Archive::saying(
        "local-backports",
        "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
        &[
            with(
                Deb::new("probe-app", "2"),
                depends("probe-lib (>= 1), probe-tool"),
            ),
            Deb::new("probe-lib", "2"),
            Deb::new("probe-tool", "2"),
            Deb::new("probe-new", "2"),
        ],
    );
    let vendor = Archive::of_suite("vendor", &[Deb::new("probe-vendored", "1")]);
    let root = format!(
        "{}\n{}",
        debian(),
        archives(&[
            (&stable, ""),
            (&security, ""),
            (&backports, ""),
            (&vendor, "priority = 900"),
        ])
    );
    let apt = Apt::of(
        &[&stable, &security, &backports, &vendor],
        &[&architecture()],
    );
    let preference = |packages: &str, pin: &str, priority: i32| {
        format!("Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n\n")
    };
    let always = preference("*", "release n=vendor", 900);
    let project = Project::new();
    project.define(
        "modules/asks",
        "[packages]\ninstall = [\"probe-extra\", \"probe-app\"]\n",
    );
    // The definition's words; apt's; and what apt is asked for.
    let cases: [(&str, &str, String, &[&str]); 11] = [
        (
            "by-priority",
            "install = [\"?priority(required)\", \"probe-lib\"]",
            String::new(),
            &["?priority(required)", "probe-lib"],
        ),
        (
            "plain",
            "install = [\"probe-app\", \"probe-vendored\"]",
            String::new(),
            &["probe-app", "probe-vendored"],
        ),
        (
            "by-suite",
            "install = [\"probe-app/local-backports\"]",
            String::new(),
            &["probe-app/local-backports"],
        ),
        (
            "only-there",
            "install = [\"probe-new\"]",
            String::new(),
            &["probe-new"],
        ),
        (
            "by-version",
            "install = [\"probe-lib=1\", \"probe-tool=2\"]",
            String::new(),
            &["probe-lib=1", "probe-tool=2"],
        ),
        (
            "held",
            "install = [\"probe-app\"]\n[[packages.pin]]\npackages = [\"probe-lib\"]\nversion = \"1\"",
            preference("probe-lib", "version 1", 990),
            &["probe-app"],
        ),
        (
            "pinned-suite",
            "install = [\"probe-app\"]\n[[packages.pin]]\npackages = [\"probe-a*\", \"probe-tool\"]\n\
             suite = \"local-backports\"",
            preference("probe-a* probe-tool", "release n=local-backports", 990),
            &["probe-app"],
        ),
        (
            "less",
            "install = [\"probe-app\"]\n[[packages.pin]]\npackages = [\"*\"]\nsuite = \
             \"local-security\"\npriority = 100",
            preference("*", "release n=local-security", 100),
            &["probe-app"],
        ),
        (
            "never",
            "recommends = true\ninstall = [\"probe-extra\"]\n[[packages.pin]]\npackages = \
             [\"probe-tool\"]\nnever = true",
            preference("probe-tool", "version *", -1),
            &["probe-extra"],
        ),
        (
            "never-of-a-suite",
            "install = [\"probe-app\"]\n[[packages.pin]]\npackages = [\"probe-*\"]\nsuite = \
             \"local-security\"\nnever = true",
            preference("probe-*", "release n=local-security", -1),
            &["probe-app"],
        ),
        (
            "removed",
            "remove = [\"probe-extra\"]",
            String::new(),
            &["probe-app"],
        ),
    ];
    for (name, packages, ..) in &cases {
        let uses = match *name {
            "removed" => "use = [\"modules/asks\"]\n",
            _ => "",
        };
        project.define(name, &format!("{uses}{root}\n[packages]\n{packages}\n"));
    }
    lock(&project);
    for (name, _, preferences, requests) in &cases {
        apt.prefer(&format!("{preferences}{always}"));
        let apts = apt.install(*name == "never", requests);
        assert_eq!(Some(locked(&project, name, &[])), apts, "{name}");
    }
    // Pins hold for the stages above, where a nearer one goes first.
    let child = "extends = \"held\"\n[packages]\ninstall = [\"probe-tool\"]\n[[packages.pin]]\n\
                 packages = [\"probe-tool\"]\nversion = \"2\"\n";
    project.define("child", child);
    let wanted = ["probe-app 1", "probe-lib 1", "probe-tool 1.2"];
    lock(&project);
    assert_eq!(
        locked(&project, "child", &[]),
        wanted.map(str::to_owned).into()
    );

    // What cannot be had because of all that is told with what keeps it away.
    let refused = |packages: &str| {
        project.define("wrong", &format!("{root}\n[packages]\n{packages}\n"));
        told(&project.run(&["lock", "wrong"]))
    };
    let never = "[[packages.pin]]\npackages = [\"probe-tool\"]\nnever = true";
    apt.prefer(&preference("probe-tool", "version *", -1));
    assert_eq!(apt.install(false, &["probe-app"]), None);
    assert_snapshot!(refused(&format!("install = [\"probe-app\"]\n{never}")), @r#"
    warning: vendor vendor is taken without a signature, as `trusted = true` asks
    error: `probe-app` cannot be installed
      --> workspaces/wrong.toml:31:12
       |
    31 | install = ["probe-app"]
       |            ^^^^^^^^^^^ asked for here
       |
       = help: probe-app 1 depends on probe-tool, but probe-tool is kept out by a pin

    1 mistake; nothing was written
    "#);
    assert_snapshot!(refused(&format!("install = [\"probe-tool\"]\n{never}")), @r#"
    warning: vendor vendor is taken without a signature, as `trusted = true` asks
    error: `probe-tool` is asked for, and kept out by a pin
      --> workspaces/wrong.toml:31:12
       |
    31 | install = ["probe-tool"]
       |            ^^^^^^^^^^^^ asked for here

    1 mistake; nothing was written
    "#);
    assert_snapshot!(refused("install = [\"probe-new/local\"]"), @r#"
    warning: vendor vendor is taken without a signature, as `trusted = true` asks
    error: no archive has `probe-new/local`; there is 2 (local-backports local-backports)
      --> workspaces/wrong.toml:31:12
       |
    31 | install = ["probe-new/local"]
       |            ^^^^^^^^^^^^^^^^^ asked for here

    1 mistake; nothing was written
    "#);
    assert_snapshot!(
        refused("install = [\"probe-app/local-backports\", \"probe-lib (<< 1)\"]"),
        @r#"
    warning: vendor vendor is taken without a signature, as `trusted = true` asks
    error: no archive has `probe-lib (<< 1)`; there is 1.1 (local-security local-security), 1 (local local), 2 (local-backports local-backports)
      --> workspaces/wrong.toml:31:41
       |
    31 | install = ["probe-app/local-backports", "probe-lib (<< 1)"]
       |                                         ^^^^^^^^^^^^^^^^^^ asked for here

    1 mistake; nothing was written
    "#
    );
    assert_snapshot!(
        refused("install = [\"probe-app\"]\n[[packages.pin]]\npackages = [\"*\"]\nsuite = \
                 \"bookworm-backports\""),
        @r#"
    warning: vendor vendor is taken without a signature, as `trusted = true` asks
    error: no archive of `[debian]` has the suite `bookworm-backports`
      --> workspaces/wrong.toml:34:9
       |
    34 | suite = "bookworm-backports"
       |         ^^^^^^^^^^^^^^^^^^^^ pinned to here
       |
       = help: its suites are `bookworm`, `local`, `local-security`, `local-backports`, `vendor`
       = help: write `backports = true` in `[debian]` to have it

    1 mistake; nothing was written
    "#
    );
}

#[test]
fn packages_outside_archives_take_part() {
    let archive = Archive::of(&[
        Deb::new("probe-user", "1").field("Depends", "probe-virtual, probe-remote (>= 5)"),
        Deb::new("probe-other", "1").field("Provides", "probe-virtual"),
        Deb::new("probe-remote", "4"),
        Deb::new("probe-lib", "1"),
        Deb::new("probe-more", "2"),
    ]);
    let project = Project::new();
    let debs = project.path().join("debs");
    fs::create_dir(&debs).expect("a folder");
    let own = |depends: &str| {
        let deb = Deb::new("probe-own", "3")
            .field("Provides", "probe-virtual")
            .field("Depends", depends);
        deb.make(&debs)
    };
    let path = own("probe-lib (>= 1)");
    let served = tempfile::TempDir::new().expect("a temporary folder");
    let remote = Deb::new("probe-remote", "5").make(served.path());
    let address = Server::of(served.path()).address();
    let text = format!(
        "{}\n{}\n[packages]\ninstall = [\"probe-user\"]\n[[packages.deb]]\npath = \
         \"../debs/probe-own_3_all.deb\"\n[[packages.deb]]\nurl = \
         \"{address}/probe-remote_5_all.deb\"\n",
        debian(),
        archive.table()
    );
    project.define("desktop", &text);
    project.define(
        "above",
        "extends = \"desktop\"\n[packages]\ninstall = [\"probe-lib\"]\n",
    );
    let apt = Apt::of(&[&archive], &[&architecture()]);
    let (path, remote) = (path.display().to_string(), remote.display().to_string());
    let apts = |more: &[&str]| {
        let requests = [&["probe-user", &path, &remote], more].concat();
        apt.install(false, &requests)
    };
    lock(&project);
    assert_eq!(Some(locked(&project, "desktop", &[])), apts(&[]));
    assert_eq!(Some(locked(&project, "above", &[])), apts(&["probe-lib"]));
    let why = project.run(&["why", "desktop", "probe-own"]).output;
    assert_snapshot!(why, @"
    probe-own 3 is in `desktop` because
      debs/probe-own_3_all.deb is named in workspaces/desktop.toml:14
    ");

    // The same path, and another file.
    own("probe-more");
    let ran = project.run(&["lock", "--check"]);
    assert_snapshot!(told(&ran), @"
    error: kasmforge.lock does not fit the definitions; run `kasmforge lock` and commit it
      desktop: the file debs/probe-own_3_all.deb has changed (workspaces/desktop.toml:14)
    ");
    project
        .run(&["lock", "--locked", "--offline"])
        .failed_with(&["the file debs/probe-own_3_all.deb has changed"]);
    lock(&project);
    assert_eq!(Some(locked(&project, "desktop", &[])), apts(&[]));
    assert_eq!(Some(locked(&project, "above", &[])), apts(&["probe-lib"]));

    // What is for another kind of machine, what is no package, and what is not there.
    let refused = |file: &str| {
        let text = text.replace("probe-own_3_all.deb", file);
        project.define("desktop", &text);
        told(&project.run(&["lock", "desktop"]))
    };
    Deb::new("probe-strange", "1")
        .only_for("riscv64")
        .make(&debs);
    fs::write(debs.join("none.deb"), "no package").expect("a file");
    let machine = architecture();
    let strange = refused("probe-strange_1_riscv64.deb");
    assert_snapshot!(strange.replace(&machine, "MACHINE"), @r#"
    error: debs/probe-strange_1_riscv64.deb is a package for riscv64, and this is locked for MACHINE
      --> workspaces/desktop.toml:14:8
       |
    14 | path = "../debs/probe-strange_1_riscv64.deb"
       |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ named here
       |
       = help: name the package for MACHINE; or write `foreign-architectures = ["riscv64"]` in `[debian]` to have packages of both

    1 mistake; nothing was written
    "#);
    assert_snapshot!(refused("none.deb"), @r#"
    error: debs/none.deb is no package: this is not a .deb: it does not begin with `!<arch>`
      --> workspaces/desktop.toml:14:8
       |
    14 | path = "../debs/none.deb"
       |        ^^^^^^^^^^^^^^^^^^ named here

    1 mistake; nothing was written
    "#);
    assert_snapshot!(refused("absent.deb"), @r#"
    error: `debs/absent.deb` does not exist
      --> workspaces/desktop.toml:14:8
       |
    14 | path = "../debs/absent.deb"
       |        ^^^^^^^^^^^^^^^^^^^^ no such file or folder
       |
       = help: the path is relative to the folder of `workspaces/desktop.toml`

    1 mistake; nothing was written
    "#);
}

/// An architecture that is not this machine's.
fn other() -> &'static str {
    match architecture().as_str() {
        "arm64" => "amd64",
        _ => "arm64",
    }
}

#[test]
fn other_architectures_are_locked_beside_or_instead() {
    let (own, other) = (architecture(), other());
    let both = |name: &str, version: &str, fields: &[(&str, &str)]| {
        [own.as_str(), other].map(|architecture| {
            let deb = Deb::new(name, version).only_for(architecture);
            fields
                .iter()
                .fold(deb, |deb, (field, value)| deb.field(field, value))
        })
    };
    let wine = format!("probe-lib, probe-tool, probe-perl:any, probe-exact:{own}");
    let debs = [
        both("probe-lib", "1", &[("Multi-Arch", "same")]).as_slice(),
        &both("probe-tool", "1", &[("Multi-Arch", "foreign")]),
        &both("probe-perl", "1", &[("Multi-Arch", "allowed")]),
        &both("probe-exact", "1", &[]),
        &[Deb::new("probe-wine", "1")
            .only_for(other)
            .field("Depends", &wine)],
        &[Deb::new("probe-app", "1").field("Depends", "probe-lib, probe-data | probe-tool")],
        &[Deb::new("probe-data", "1").only_for(other)],
    ]
    .concat();
    let archive = Archive::of(&debs);
    let project = Project::new();
    let root = format!(
        "{}foreign-architectures = [\"{other}\"]\n{}",
        debian(),
        archive.table()
    );
    let wine = format!("probe-wine:{other}");
    let text = format!("{root}[packages]\ninstall = [\"{wine}\", \"probe-lib\"]\n");
    project.define("beside", &text);
    let plain = format!(
        "{}\n{}[packages]\ninstall = [\"probe-app\"]\n",
        debian(),
        archive.table()
    );
    project.define("instead", &plain);
    let beside = Apt::of(&[&archive], &[&own, other]);
    let instead = Apt::of(&[&archive], &[other]);
    lock(&project);
    assert_eq!(
        Some(locked(&project, "beside", &[])),
        beside.install(false, &[&wine, "probe-lib"])
    );
    assert_eq!(
        Some(locked(&project, "instead", &[])),
        Apt::of(&[&archive], &[&own]).install(false, &["probe-app"])
    );

    // For the other kind of machine, resolved on this one.
    let first = project.lock();
    let ran = project.run(&["lock", "instead", "--architecture", other]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_ne!(project.lock(), first);
    let named = ["--architecture", other];
    let apts = instead.install(false, &["probe-app"]);
    assert_eq!(Some(locked(&project, "instead", &named)), apts);
    // From then on both are kept up to date.
    project.define(
        "instead",
        &plain.replace("\"probe-app\"", "\"probe-app\", \"probe-exact\""),
    );
    let check = project.run(&["lock", "--check"]);
    assert_eq!(check.status, 1, "{check:?}");
    lock(&project);
    let apts = instead.install(false, &["probe-app", "probe-exact"]);
    assert_eq!(Some(locked(&project, "instead", &named)), apts);
    assert_eq!(project.run(&["lock", "--locked", "--offline"]).status, 0);

    let ran = project.run(&[&["build", "instead"], &named[..]].concat());
    ran.failed_with(&[
        &format!("images for {other} cannot be built on this host, which is {own}"),
        &format!("`kasmforge lock --architecture {other}` locks for it anywhere"),
    ]);
    let unknown = project.run(&["lock", "instead", "--architecture", "z80"]);
    unknown.failed_with(&["has no packages of component main for z80"]);
    let wrong = project.run(&["lock", "--architecture", "x86_64"]);
    assert_eq!(wrong.status, 2);
    assert!(
        wrong.errors.contains("Debian calls it `amd64`"),
        "{}",
        wrong.errors
    );
}

#[test]
fn a_child_that_cannot_keep_what_its_parent_has_says_why() {
    let archive = Archive::of(&[
        Deb::new("probe-shell", "1").field("Depends", "probe-lib (<< 2)"),
        Deb::new("probe-lib", "1"),
        Deb::new("probe-lib", "2"),
        Deb::new("probe-app", "1").field("Depends", "probe-plugin"),
        Deb::new("probe-plugin", "1").field("Depends", "probe-lib (>= 2)"),
        Deb::new("probe-rival", "1").field("Conflicts", "probe-shell"),
    ]);
    let project = Project::new();
    let parent = format!(
        "{}\n{}\n[packages]\ninstall = [\"probe-shell\"]\n",
        debian(),
        archive.table()
    );
    project.define("parent", &parent);
    project.define("between", "extends = \"parent\"\n");
    let refused = |install: &str| {
        let text = format!("extends = \"between\"\n[packages]\ninstall = [{install}]\n");
        project.define("child", &text);
        told(&project.run(&["lock"]))
    };
    assert_snapshot!(refused("\"probe-app\""), @r#"
    error: `probe-app` cannot be installed
     --> workspaces/child.toml:3:12
      |
    3 | install = ["probe-app"]
      |            ^^^^^^^^^^^ asked for here
      |
      = help: the stage `parent` has probe-lib 1, which stays as it is
      = help: in the stage `parent` probe-shell 1 depends on probe-lib (<< 2)
      = help: probe-app 1 depends on probe-plugin
      = help: probe-plugin 1 depends on probe-lib (>= 2)
      = help: only one version of probe-lib can be installed
      = help: what `parent` has, every workspace on top of it has: ask there for a version that serves both, or leave out there what holds it

    1 mistake; nothing was written
    "#);
    assert_snapshot!(refused("\"probe-rival\""), @r#"
    error: `probe-rival` cannot be installed
     --> workspaces/child.toml:3:12
      |
    3 | install = ["probe-rival"]
      |            ^^^^^^^^^^^^^ asked for here
      |
      = help: the stage `parent` has probe-shell 1, which stays as it is
      = help: probe-rival 1 conflicts with probe-shell
      = help: what `parent` has, every workspace on top of it has: ask there for a version that serves both, or take newer ones with `kasmforge update probe-shell`

    1 mistake; nothing was written
    "#);
    assert!(project.lock().is_none(), "nothing was written");
}

#[test]
fn all_of_it_can_be_built() {
    let other = other();
    let archive = Archive::of(&[
        Deb::new("probe-app", "1").field("Depends", "probe-lib"),
        Deb::new("probe-lib", "1").file("usr/share/probe/lib", b"one"),
        Deb::new("probe-lib", "2").file("usr/share/probe/lib", b"two"),
        Deb::new("probe-data", "1")
            .only_for(other)
            .file("usr/share/probe/data", b"for others"),
    ]);
    let project = Project::new();
    let debs = project.path().join("debs");
    fs::create_dir(&debs).expect("a folder");
    Deb::new("probe-own", "3")
        .field("Depends", "probe-lib (= 1)")
        .script(
            "postinst",
            "dpkg --print-foreign-architectures > /usr/share/probe/foreign",
        )
        .make(&debs);
    let served = tempfile::TempDir::new().expect("a temporary folder");
    Deb::new("probe-remote", "5").make(served.path());
    let address = Server::of(served.path()).address();
    let text = format!(
        "{}foreign-architectures = [\"{other}\"]\n{}\n[packages]\ninstall = [\"probe-app\", \
         \"probe-data:{other}\"]\n[[packages.pin]]\npackages = [\"probe-lib\"]\nversion = \
         \"1\"\n[[packages.deb]]\npath = \"../debs/probe-own_3_all.deb\"\n[[packages.deb]]\nurl = \
         \"{address}/probe-remote_5_all.deb\"\n",
        debian(),
        archive.table()
    );
    project.define("desktop", &text);
    let image = project.build("desktop");
    let root = unpacked(&image, &["var/lib/dpkg", "usr/share/probe"]);
    let read = |path: &str| fs::read_to_string(root.path().join(path)).expect("a file");
    assert_eq!(read("usr/share/probe/lib"), "one");
    assert_eq!(read("usr/share/probe/data"), "for others");
    assert_eq!(read("usr/share/probe/foreign").trim(), other);
    let admin = format!("--admindir={}/var/lib/dpkg", root.path().display());
    let format = "--showformat=${Package}:${Architecture} ${Version} ${Status}\\n";
    let ran = Ran::of(Command::new("dpkg-query").args([&admin, "--show", format]));
    let ours = ran.output.lines().filter(|line| line.starts_with("probe"));
    let wanted = [
        "probe-app:all 1".to_owned(),
        format!("probe-data:{other} 1"),
        "probe-lib:all 1".to_owned(),
        "probe-own:all 3".to_owned(),
        "probe-remote:all 5".to_owned(),
    ];
    let wanted = wanted.map(|package| format!("{package} install ok installed"));
    assert_eq!(ours.collect::<Vec<_>>(), wanted);
}

/// A part of an image's files, unpacked by `tar`.
fn unpacked(image: &Image, paths: &[&str]) -> tempfile::TempDir {
    let root = tempfile::TempDir::new().expect("a temporary folder");
    let tar = |arguments: &[&str], at: &Path| {
        let ran = Command::new("tar").args(arguments).current_dir(at).output();
        ran.expect("`tar` runs")
    };
    let archive = image.archive.display().to_string();
    let oci = tempfile::TempDir::new().expect("a temporary folder");
    assert!(tar(&["-xf", &archive], oci.path()).status.success());
    for layer in &image.layers {
        let digest = layer.trim_start_matches("sha256:");
        let layer = oci.path().join("blobs/sha256").join(digest);
        let layer = layer.display().to_string();
        // A layer without any of the paths is no failure, and `tar` thinks so.
        tar(&[&["-xf", &layer], paths].concat(), root.path());
    }
    root
}
