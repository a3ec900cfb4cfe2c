//! What people write wrong, and what they are told: each mistake through the command, from the file
//! to the words.
//!
//! The packages in conflict are made here, in an archive without a signature that stands beside a
//! real mirror's.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use insta::assert_snapshot;
use support::archive::{Archive, Deb};
use support::project::{Project, debian};
use support::server::Server;

/// What the command says about the workspace `desktop`, once it is certain that it refused it and
/// wrote nothing.
fn told(project: &Project) -> String {
    told_by(project, &["build", "desktop"])
}

fn told_by(project: &Project, arguments: &[&str]) -> String {
    let ran = project.run(arguments);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.output, "", "mistakes are talk, not data");
    assert!(project.is_untouched(), "something was written");
    let here = project.path().display().to_string();
    // Progress is told too; what is asked first depends on the store.
    let progress = ["checking ", "fetching "];
    let lines = ran.errors.lines();
    let lines = lines.filter(|line| !progress.iter().any(|word| line.starts_with(word)));
    let text: Vec<_> = lines.collect();
    text.join("\n").replace(&here, "[project]")
}

/// A project whose only workspace says this after its `[debian]`.
fn desktop(text: &str) -> Project {
    let project = Project::new();
    project.define("desktop", &format!("{}\n{text}", debian()));
    project
}

/// The same with packages from an archive made here; it must outlive the run.
fn desktop_with(debs: &[Deb], text: &str) -> (Project, Archive) {
    let archive = Archive::of(debs);
    let project = desktop(&format!("{}\n{text}", archive.table()));
    (project, archive)
}

/// The text without an archive's address, which is another in each run.
fn without_address(text: &str, archive: &Archive) -> String {
    text.replace(&archive.address(), "[archive]")
}

// ---- The text ---------------------------------------------------------------------------------

#[test]
fn all_that_is_no_toml_is_told_at_once() {
    let project = Project::new();
    project.define(
        "desktop",
        "[debian]\nsuite = \"bookworm\nsecurity = false\n\n[packages]\nrecommends = = true\n\
         recommends = false\n",
    );
    assert_snapshot!(told(&project), @r#"
    error: this is not TOML: invalid basic string, expected `"`
     --> workspaces/desktop.toml:2:18
      |
    2 | suite = "bookworm
      |                  ^ not understood

    error: this is not TOML: extra `=`, expected nothing
     --> workspaces/desktop.toml:6:14
      |
    6 | recommends = = true
      |              ^ not understood

    error: this is not TOML: unexpected key or value, expected newline, `#`
     --> workspaces/desktop.toml:6:16
      |
    6 | recommends = = true
      |                ^ not understood

    error: the key `recommends` is given twice
     --> workspaces/desktop.toml:7:1
      |
    7 | recommends = false
      | ^^^^^^^^^^ given again here

    4 mistakes; nothing was written
    "#);
}

#[test]
fn an_unknown_key_has_a_near_one() {
    let project = desktop("[packages]\ninstal = [\"vim\"]\n\n[imag]\nuser = \"1000\"\n");
    assert_snapshot!(told(&project), @r#"
    error: unknown key `instal` in `[packages]`
     --> workspaces/desktop.toml:6:1
      |
    6 | instal = ["vim"]
      | ^^^^^^ nothing reads this key
      |
      = help: did you mean `install`?
      = help: the keys of `[packages]` are: `install`, `remove`, `recommends`, `pin`, `deb`, `debconf`

    error: unknown key `imag` in the definition
     --> workspaces/desktop.toml:8:2
      |
    8 | [imag]
      |  ^^^^ nothing reads this key
      |
      = help: did you mean `image`?
      = help: the keys of the definition are: `name`, `description`, `extends`, `use`, `debian`, `packages`, `files`, `users`, `services`, `slim`, `image`, `layers`, `deploy`, `kasm`, `checks`

    2 mistakes; nothing was written
    "#);
}

#[test]
fn an_unknown_workspace_is_told_with_those_there_are() {
    let project = desktop("");
    project.define("office", &debian());
    assert_snapshot!(told_by(&project, &["build", "desktp"]), @"
    error: there is no workspace `desktp`
     |
     = help: did you mean `desktop`?
     = help: the workspaces are: `desktop`, `office`

    1 mistake; nothing was written
    ");
}

#[test]
fn one_of_several_workspaces_must_be_named() {
    let project = desktop("");
    project.define("office", &debian());
    assert_snapshot!(told_by(&project, &["build"]), @"error: say which workspace: desktop, office");
}

#[test]
fn workspaces_that_extend_each_other_are_shown_in_a_circle() {
    let project = Project::new();
    project
        .define("desktop", "extends = \"office\"\n")
        .define("office", "extends = \"desktop\"\n");
    assert_snapshot!(told(&project), @r#"
    error: workspaces extend each other in a circle
     --> workspaces/office.toml:1:11
      |
    1 | extends = "desktop"
      |           ^^^^^^^^^ this leads back to `desktop`
      |
     ::: workspaces/desktop.toml:1:11
      |
    1 | extends = "office"
      |           -------- leads to `office`
      |
      = help: the circle is `desktop` → `office` → `desktop`

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_missing_parent_is_told_where_it_is_named() {
    let project = Project::new();
    project
        .define("desktop", "extends = \"cor\"\n")
        .define("core", &debian());
    assert_snapshot!(told(&project), @r#"
    error: there is no workspace `cor`
     --> workspaces/desktop.toml:1:11
      |
    1 | extends = "cor"
      |           ^^^^^ no such workspace
      |
      = help: did you mean `core`?
      = help: the workspaces are: `core`, `desktop`

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_missing_module_is_told_where_it_is_named() {
    let project = Project::new();
    project.define(
        "desktop",
        &format!("use = [\"modules/xfce\"]\n{}", debian()),
    );
    assert_snapshot!(told(&project), @r#"
    error: there is no module `modules/xfce`
     --> workspaces/desktop.toml:1:8
      |
    1 | use = ["modules/xfce"]
      |        ^^^^^^^^^^^^^^ no such module
      |
      = help: its file would be `workspaces/modules/xfce.toml`

    1 mistake; nothing was written
    "#);
}

#[test]
fn values_that_cannot_be_are_told_together() {
    let project = desktop(
        r#"
[[files]]
target = "/etc/../../outside"
text = ""

[[files]]
target = "etc/relative"
text = ""

[[files]]
target = "/etc/mode"
text = ""
mode = "0999"

[[files]]
target = "/etc/source"
source = "absent.conf"

[image]
ports = ["99999"]

[[checks]]
name = "desktop"
port = 70000
"#,
    );
    assert_snapshot!(told(&project), @r#"
    error: `/etc/../../outside` is not a path in the image
     --> workspaces/desktop.toml:7:10
      |
    7 | target = "/etc/../../outside"
      |          ^^^^^^^^^^^^^^^^^^^^ `..` is not allowed here

    error: `etc/relative` is not a path in the image
      --> workspaces/desktop.toml:11:10
       |
    11 | target = "etc/relative"
       |          ^^^^^^^^^^^^^^ an absolute path is wanted
       |
       = help: did you mean `/etc/relative`?

    error: `0999` is not a file's mode
      --> workspaces/desktop.toml:17:8
       |
    17 | mode = "0999"
       |        ^^^^^^ three or four octal digits are wanted, at most 7777
       |
       = help: `"0755"` may be executed by everybody, `"0644"` only read

    error: `workspaces/absent.conf` does not exist
      --> workspaces/desktop.toml:21:10
       |
    21 | source = "absent.conf"
       |          ^^^^^^^^^^^^^ no such file or folder
       |
       = help: the path is relative to the folder of `workspaces/desktop.toml`

    error: `99999` is not a port
      --> workspaces/desktop.toml:24:10
       |
    24 | ports = ["99999"]
       |          ^^^^^^^ a number from 1 to 65535 is wanted, perhaps with `/udp`

    error: `checks.port` cannot be 70000
      --> workspaces/desktop.toml:28:8
       |
    28 | port = 70000
       |        ^^^^^ 1 to 65535 is wanted

    6 mistakes; nothing was written
    "#);
}

#[test]
fn a_folder_without_workspaces_is_no_project() {
    let project = Project::new();
    std::fs::remove_dir(project.path().join("workspaces")).expect("it is empty");
    assert_snapshot!(told(&project), @"error: [project] has no folder `workspaces`");
}

#[test]
fn settings_that_are_not_understood_are_refused() {
    let project = desktop("");
    let settings = tempfile::TempDir::new().expect("a temporary folder");
    let folder = settings.path().join("kasmforge");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("settings.toml"), "miror = \"http://a.test\"\n").expect("a file");
    let address = settings.path().display().to_string();
    let project = project.variable("XDG_CONFIG_HOME", &address);
    assert_snapshot!(told(&project).replace(&address, "[settings]"), @r#"
    error: the settings in [settings]/kasmforge/settings.toml are not understood
      because TOML parse error at line 1, column 1
        |
      1 | miror = "http://a.test"
        | ^^^^^
      unknown field `miror`, expected one of `mirror`, `store`, `check-valid-until`, `certificates`, `snapshot`, `kasm`
    "#);
}

// ---- Packages ---------------------------------------------------------------------------------

#[test]
fn a_package_that_does_not_exist_is_told_with_near_names() {
    let project = desktop(
        "[packages]\ninstall = [\n    \"nano\",\n    \"xfce4-termnal\",\n    \
         \"nothing-like-this-exists\",\n]\n",
    );
    assert_snapshot!(told(&project), @r#"
    error: no archive has a package `xfce4-termnal`
     --> workspaces/desktop.toml:8:5
      |
    8 |     "xfce4-termnal",
      |     ^^^^^^^^^^^^^^^ asked for here
      |
      = help: did you mean `xfce4-terminal`?

    error: no archive has a package `nothing-like-this-exists`
     --> workspaces/desktop.toml:9:5
      |
    9 |     "nothing-like-this-exists",
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^ asked for here

    2 mistakes; nothing was written
    "#);
}

#[test]
fn a_request_that_is_none_is_told() {
    let project = desktop("[packages]\ninstall = [\"nano (>> )\", \"Big Name\"]\n");
    assert_snapshot!(told(&project), @r#"
    error: `nano (>> )` is not a request for a package
     --> workspaces/desktop.toml:6:12
      |
    6 | install = ["nano (>> )", "Big Name"]
      |            ^^^^^^^^^^^^ a relation such as `(>= 1.2)` is wanted
      |
      = help: the relations are `<<`, `<=`, `=`, `>=` and `>>`

    error: `Big Name` is not a request for a package
     --> workspaces/desktop.toml:6:26
      |
    6 | install = ["nano (>> )", "Big Name"]
      |                          ^^^^^^^^^^ a package's name begins it: small letters, digits, `+`, `-`, `.`

    2 mistakes; nothing was written
    "#);
}

#[test]
fn a_version_nobody_has_is_told_with_those_there_are() {
    let (project, archive) = desktop_with(
        &[Deb::new("probe", "1.0-1"), Deb::new("probe", "1.1-1")],
        "[packages]\ninstall = [\"probe (>= 2)\"]\n",
    );
    assert_snapshot!(without_address(&told(&project), &archive), @r#"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: no archive has `probe (>= 2)`; there is 1.1-1 (local local), 1.0-1 (local local)
      --> workspaces/desktop.toml:12:12
       |
    12 | install = ["probe (>= 2)"]
       |            ^^^^^^^^^^^^^^ asked for here

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_purely_virtual_package_is_told_with_its_providers() {
    let (project, archive) = desktop_with(
        &[
            Deb::new("probe-one", "1").field("Provides", "probe-server"),
            Deb::new("probe-two", "2").field("Provides", "probe-server"),
        ],
        "[packages]\ninstall = [\"probe-server\"]\n",
    );
    assert_snapshot!(without_address(&told(&project), &archive), @r#"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: `probe-server` is a virtual package: name one that provides it (`probe-two`, `probe-one`)
      --> workspaces/desktop.toml:12:12
       |
    12 | install = ["probe-server"]
       |            ^^^^^^^^^^^^^^ asked for here

    1 mistake; nothing was written
    "#);
}

#[test]
fn packages_in_conflict_are_told_with_the_reason() {
    let (project, archive) = desktop_with(
        &[
            Deb::new("probe-panel", "1").field("Depends", "probe-menu (>= 2)"),
            Deb::new("probe-menu", "2").field("Conflicts", "probe-classic"),
            Deb::new("probe-classic", "1"),
        ],
        "[packages]\ninstall = [\"probe-panel\", \"probe-classic\"]\n",
    );
    assert_snapshot!(without_address(&told(&project), &archive), @r#"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: `probe-panel` and `probe-classic` cannot be installed together
      --> workspaces/desktop.toml:12:12
       |
    12 | install = ["probe-panel", "probe-classic"]
       |            ^^^^^^^^^^^^^  --------------- and here
       |            |
       |            asked for here
       |
       = help: probe-panel 1 depends on probe-menu (>= 2)
       = help: probe-menu 2 conflicts with probe-classic

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_package_that_breaks_another_is_told_with_the_versions() {
    let (project, archive) = desktop_with(
        &[
            Deb::new("probe-player", "5").field("Depends", "probe-codecs (>= 2)"),
            Deb::new("probe-codecs", "2").field("Breaks", "probe-recorder (<< 3)"),
            Deb::new("probe-recorder", "1"),
            Deb::new("probe-recorder", "2"),
        ],
        "[packages]\ninstall = [\"probe-player\", \"probe-recorder\"]\n",
    );
    assert_snapshot!(without_address(&told(&project), &archive), @r#"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: `probe-player` and `probe-recorder` cannot be installed together
      --> workspaces/desktop.toml:12:12
       |
    12 | install = ["probe-player", "probe-recorder"]
       |            ^^^^^^^^^^^^^^  ---------------- and here
       |            |
       |            asked for here
       |
       = help: probe-player 5 depends on probe-codecs (>= 2)
       = help: probe-codecs 2 breaks probe-recorder (<< 3)

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_package_of_another_component_is_told_with_it() {
    let project = desktop("[packages]\ninstall = [\"steam-installer\"]\n");
    assert_snapshot!(told(&project), @r#"
    error: no archive has a package `steam-installer`
     --> workspaces/desktop.toml:6:12
      |
    6 | install = ["steam-installer"]
      |            ^^^^^^^^^^^^^^^^^ asked for here
      |
      = help: did you mean `opam-installer`?
      = help: `steam-installer` is in the component `contrib` of debian bookworm: add it to `components`

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_dependency_that_nothing_meets_is_told() {
    let (project, archive) = desktop_with(
        &[Deb::new("probe", "1").field("Depends", "probe-library (= 3) | probe-shim")],
        "[packages]\ninstall = [\"probe\"]\n",
    );
    assert_snapshot!(without_address(&told(&project), &archive), @r#"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: `probe` cannot be installed
      --> workspaces/desktop.toml:12:12
       |
    12 | install = ["probe"]
       |            ^^^^^^^ asked for here
       |
       = help: probe 1 depends on probe-library (= 3) | probe-shim, but no archive has probe-library, and no archive has probe-shim

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_suite_that_does_not_exist_is_told() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mirror = Server::of(folder.path());
    let project = Project::new().mirror(&mirror.address());
    project.define("desktop", "[debian]\nsuite = \"trixy\"\nsecurity = false\n");
    let text = told(&project).replace(&mirror.address(), "[mirror]");
    assert_snapshot!(text, @r#"
    error: no mirror has the suite `trixy`
     --> workspaces/desktop.toml:2:9
      |
    2 | suite = "trixy"
      |         ^^^^^^^ named here
      |
      = help: what was asked: no mirror has the Release file of debian trixy (asked: [mirror]/dists/trixy/)
      = help: suites are named like `trixie` or `bookworm`; another mirror is named with --mirror

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_component_that_does_not_exist_is_told() {
    let archive = Archive::of(&[Deb::new("probe", "1")]);
    let project = desktop(&format!("{}components = [\"universe\"]\n", archive.table()));
    assert_snapshot!(without_address(&told(&project), &archive), @"
    warning: local local is taken without a signature, as `trusted = true` asks
    error: local local has no packages of component universe for amd64; it has components main; architectures amd64 all
    ");
}

// ---- Downloads --------------------------------------------------------------------------------

#[test]
fn a_download_with_another_digest_is_refused() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("wall.png"), "not what was promised").expect("a file");
    let server = Server::of(folder.path());
    let project = desktop(&format!(
        "[[files]]\ntarget = \"/usr/share/wall.png\"\nurl = \"{}/wall.png\"\nsha256 = \"{}\"\n",
        server.address(),
        "0".repeat(64),
    ));
    let text = told(&project).replace(&server.address(), "[server]");
    assert_snapshot!(text, @r#"
    error: [server]/wall.png has another digest than the definition says
     --> workspaces/desktop.toml:8:10
      |
    8 | sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ not this
      |
      = help: what came has sha256 = "bdf34eac08bcc3a38923935c88c8eb928810ba8366a69ae3cf6338fb9638e8f1"; write that only if you know why it changed

    1 mistake; nothing was written
    "#);
}

#[test]
fn a_package_by_address_that_is_none_is_refused() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(
        folder.path().join("probe.deb"),
        "<html>please log in</html>",
    )
    .expect("a file");
    let server = Server::of(folder.path());
    let project = desktop(&format!(
        "[[packages.deb]]\nurl = \"{}/probe.deb\"\n",
        server.address()
    ));
    let text = told(&project).replace(&server.address(), "[server]");
    assert_snapshot!(text, @"
    error: [server]/probe.deb is no package
      because this is not a .deb: it does not begin with `!<arch>`
    ");
}

#[test]
fn a_download_that_is_gone_is_told() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let server = Server::of(folder.path());
    let project = desktop(&format!(
        "[[files]]\ntarget = \"/usr/share/wall.png\"\nurl = \"{}/wall.png\"\n",
        server.address(),
    ));
    let text = told(&project).replace(&server.address(), "[server]");
    assert_snapshot!(text, @"
    error: cannot fetch [server]/wall.png
      because no mirror has [server]/wall.png (asked: [server]/wall.png)
    ");
}

// ---- What only the packages can tell -----------------------------------------------------------

/// What a build says about a definition that does not fit its packages: those are locked by then.
fn told_after_locking(project: &Project) -> String {
    let ran = project.run(&["build", "desktop"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(!project.path().join("result").exists(), "there is a result");
    let from = ran.errors.find("error").expect("an error is told");
    ran.errors[from..].to_owned()
}

#[test]
fn an_owner_that_is_nobody_is_told_where_it_is_named() {
    let project =
        desktop("[[files]]\ntarget = \"/etc/probe\"\ntext = \"\"\nowner = \"nobody-at-all\"\n");
    assert_snapshot!(told_after_locking(&project), @r#"
    error: `nobody-at-all` is no user of the image; declare it in [[users]], or install the package that makes it
     --> workspaces/desktop.toml:8:9
      |
    8 | owner = "nobody-at-all"
      |         ^^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
}

#[test]
fn a_group_that_is_not_there_is_told_at_its_user() {
    let project = desktop("[[users]]\nname = \"anna\"\nuid = 1000\ngroups = [\"wheel\"]\n");
    assert_snapshot!(told_after_locking(&project), @r#"
    error: the user `anna` is to join the group `wheel`, which the image does not have
     --> workspaces/desktop.toml:6:8
      |
    6 | name = "anna"
      |        ^^^^^^ named here

    1 mistake; no image was built
    "#);
}

#[test]
fn an_image_user_that_is_nobody_is_told() {
    let project = desktop("[image]\nuser = \"anna\"\n");
    assert_snapshot!(told_after_locking(&project), @r#"
    error: the image has no user `anna`; declare it in [[users]], or install the package that makes it
     --> workspaces/desktop.toml:6:8
      |
    6 | user = "anna"
      |        ^^^^^^ named here

    1 mistake; no image was built
    "#);
}

#[test]
fn an_entry_point_that_is_not_there_is_told() {
    let project = desktop("[image]\nentrypoint = [\"/usr/bin/absent\"]\n");
    assert_snapshot!(told_after_locking(&project), @r#"
    error: the image has no /usr/bin/absent, which [image] entrypoint names
     --> workspaces/desktop.toml:6:14
      |
    6 | entrypoint = ["/usr/bin/absent"]
      |              ^^^^^^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
}

/// At build, not at start: whatever a definition says will run.
#[test]
fn what_is_to_run_and_is_not_there_is_told() {
    let told = |text: &str| told_after_locking(&desktop(text));
    assert_snapshot!(told("[image]\nworking-directory = \"/home/nobody\"\n"), @r#"
    error: the image has no /home/nobody, which [image] working-directory names
     --> workspaces/desktop.toml:6:21
      |
    6 | working-directory = "/home/nobody"
      |                     ^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
    assert_snapshot!(told("[[checks]]\nname = \"a\"\ncommand = [\"absent\"]\n"), @r#"
    error: the image has no absent, which [[checks]] command names
     --> workspaces/desktop.toml:7:11
      |
    7 | command = ["absent"]
      |           ^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
    assert_snapshot!(told("[[services]]\nname = \"a\"\ncommand = [\"absent\", \"--now\"]\n"), @r#"
    error: the image has no absent, which [[services]] command names
     --> workspaces/desktop.toml:7:11
      |
    7 | command = ["absent", "--now"]
      |           ^^^^^^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
    assert_snapshot!(
        told("[[services]]\nname = \"a\"\ncommand = [\"sh\"]\nready = { command = [\"/bin/absent\"] }\n"),
        @r#"
    error: the image has no /bin/absent, which [[services]] ready names
     --> workspaces/desktop.toml:8:21
      |
    8 | ready = { command = ["/bin/absent"] }
      |                     ^^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#
    );
    assert_snapshot!(told("[image.healthcheck]\ncommand = [\"/bin/absent\"]\n"), @r#"
    error: the image has no /bin/absent, which [image.healthcheck] command names
     --> workspaces/desktop.toml:6:11
      |
    6 | command = ["/bin/absent"]
      |           ^^^^^^^^^^^^^^^ named here

    1 mistake; no image was built
    "#);
    assert_snapshot!(told("[[services]]\nname = \"a\"\ncommand = [\"sh\"]\nuser = \"anna\"\n"), @r#"
    error: the image has no user `anna`; declare it in [[users]], or install the package that makes it
     --> workspaces/desktop.toml:8:8
      |
    8 | user = "anna"
      |        ^^^^^^ named here

    1 mistake; no image was built
    "#);
}

/// At load of the definition, with both lines.
#[test]
fn services_that_cannot_run_together_are_told() {
    let service = |name: &str, more: &str| {
        format!("[[services]]\nname = \"{name}\"\ncommand = [\"sh\"]\n{more}")
    };
    let project = Project::new();
    let text = [
        service("a", "after = [\"b\"]\nready = { port = 6901 }\n"),
        service("b", "after = [\"a\"]\nready = { port = 6901 }\n"),
        service("c", "after = [\"bb\"]\n"),
    ];
    project.define("desktop", &format!("{}{}", debian(), text.concat()));
    assert_snapshot!(told(&project), @r#"
    error: the services `a` and `b` are both ready at port 6901
      --> workspaces/desktop.toml:10:8
       |
     5 | name = "a"
       |        --- has port 6901
    ...
    10 | name = "b"
       |        ^^^ only one can have it
       |
       = help: give one of them another port

    error: services wait for each other in a circle
      --> workspaces/desktop.toml:12:10
       |
     7 | after = ["b"]
       |          --- waits for `b`
    ...
    12 | after = ["a"]
       |          ^^^ this waits for `a` again
       |
       = help: the circle is `a` → `b` → `a`

    error: there is no service `bb`
      --> workspaces/desktop.toml:17:10
       |
    17 | after = ["bb"]
       |          ^^^^ no such service
       |
       = help: did you mean `b`?
       = help: the services are: `a`, `b`, `c`

    3 mistakes; nothing was written
    "#);
    project.define(
        "desktop",
        &format!(
            "{}[deploy]\nports = [\"6901:6901\", \"6901:8080\"]\n",
            debian()
        ),
    );
    assert_snapshot!(told(&project), @r#"
    error: the host's port `6901` is given twice
     --> workspaces/desktop.toml:5:23
      |
    5 | ports = ["6901:6901", "6901:8080"]
      |          -----------  ^^^^^^^^^^^ given again here
      |          |
      |          first given here

    1 mistake; nothing was written
    "#);
}

/// A desktop would pass over it: a launcher that does nothing, a hole for an icon, no wallpaper.
#[test]
fn launchers_and_links_of_nothing_are_told() {
    let project = desktop(
        "[[files]]\ntarget = \"/usr/share/applications/notes.desktop\"\ntext = \"\"\"\n[Desktop Entry]\n\
         Type=Application\nName=Notes\nExec=notse %F\nIcon=notes\n\"\"\"\n\n\
         [[files]]\ntarget = \"/usr/share/backgrounds/default.png\"\nsymlink = \"dusk.svg\"\n",
    );
    assert_snapshot!(told_after_locking(&project), @"
    error: /usr/share/applications/notes.desktop: Exec=notse %F names no program of the image
     |
     = help: install the package that has it, or mend the line

    error: /usr/share/applications/notes.desktop: there is no icon notes
     |
     = help: install the package that has it, or mend the line

    error: /usr/share/backgrounds/default.png: there is no dusk.svg, which it links to
     |
     = help: install the package that has it, or mend the line

    3 mistakes; no image was built
    ");
}

/// All at once: a build for each would be too much.
#[test]
fn whatever_the_image_lacks_is_told_at_once() {
    let project = desktop(
        "[image]\nuser = \"anna\"\nworking-directory = \"/home/anna\"\nentrypoint = [\"/start\"]\n\n\
         [[files]]\ntarget = \"/usr/share/default.png\"\nsymlink = \"dusk.svg\"\n\n\
         [[services]]\nname = \"notes\"\ncommand = [\"notse\"]\nuser = \"berta\"\n\n\
         [[checks]]\nname = \"notes\"\ncommand = [\"notes-check\"]\n",
    );
    assert_snapshot!(told_after_locking(&project), @r#"
    error: the image has no /start, which [image] entrypoint names
     --> workspaces/desktop.toml:8:14
      |
    8 | entrypoint = ["/start"]
      |              ^^^^^^^^^^ named here

    error: the image has no notse, which [[services]] command names
      --> workspaces/desktop.toml:16:11
       |
    16 | command = ["notse"]
       |           ^^^^^^^^^ named here

    error: the image has no notes-check, which [[checks]] command names
      --> workspaces/desktop.toml:21:11
       |
    21 | command = ["notes-check"]
       |           ^^^^^^^^^^^^^^^ named here

    error: the image has no /home/anna, which [image] working-directory names
     --> workspaces/desktop.toml:7:21
      |
    7 | working-directory = "/home/anna"
      |                     ^^^^^^^^^^^^ named here

    error: the image has no user `anna`; declare it in [[users]], or install the package that makes it
     --> workspaces/desktop.toml:6:8
      |
    6 | user = "anna"
      |        ^^^^^^ named here

    error: the image has no user `berta`; declare it in [[users]], or install the package that makes it
      --> workspaces/desktop.toml:17:8
       |
    17 | user = "berta"
       |        ^^^^^^^ named here

    error: /usr/share/default.png: there is no dusk.svg, which it links to
     |
     = help: install the package that has it, or mend the line

    7 mistakes; no image was built
    "#);
}

#[test]
fn a_target_below_a_file_is_told() {
    let project = desktop("[[files]]\ntarget = \"/etc/passwd/below\"\ntext = \"\"\n");
    assert_snapshot!(told_after_locking(&project), @"error: /etc/passwd/below cannot be made: /etc/passwd is no folder in the image");
}
