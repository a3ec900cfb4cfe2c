//! The laws of merging, each on a small chain.

use kasmforge_spec::{FileContent, Probe, Restart, Stage, Workspace};

use super::right;

const CORE: &str = "workspaces/core.toml";
const DESKTOP: &str = "workspaces/desktop.toml";
const FIRST: &str = "workspaces/modules/first.toml";
const SECOND: &str = "workspaces/modules/second.toml";

/// A chain of two stages; the upper one uses two modules.
fn merged(core: &str, first: &str, second: &str, desktop: &str) -> Workspace {
    let core = format!("{core}\n[debian]\nsuite = \"trixie\"\n");
    let head = "extends = \"core\"\nuse = [\"modules/first\", \"modules/second\"]\n";
    let desktop = format!("{head}{desktop}");
    right(&[
        (CORE, &core),
        (FIRST, first),
        (SECOND, second),
        (DESKTOP, &desktop),
    ])
}

fn requests(stage: &Stage) -> Vec<&str> {
    stage
        .packages
        .install
        .iter()
        .map(|request| request.value.as_str())
        .collect()
}

fn budgets(workspace: &Workspace) -> Vec<u32> {
    let stages = workspace.stages.iter();
    stages.map(|stage| stage.layers.budget).collect()
}

#[test]
fn single_values_are_the_nearest() {
    let budget = |number: u32| format!("[layers]\nbudget = {number}\n");
    let [one, two, three, four] = [1, 2, 3, 4].map(budget);
    for (files, expected) in [
        ([&*one, "", "", ""], 1),
        ([&*one, &*two, "", ""], 2),
        ([&*one, &*two, &*three, ""], 3),
        ([&*one, &*two, &*three, &*four], 4),
        ([&*one, "", &*three, ""], 3),
        (["", "", "", ""], 64),
    ] {
        let [core, first, second, desktop] = files;
        let workspace = merged(core, first, second, desktop);
        assert_eq!(budgets(&workspace).last(), Some(&expected), "{files:?}");
    }
    // A stage's layers are what the workspace makes of it, whoever extends that.
    let workspace = merged(&one, &two, &three, &four);
    assert_eq!(budgets(&workspace), [1, 4]);
}

#[test]
fn named_entries_are_replaced_whole_and_in_place() {
    let workspace = merged(
        "[[services]]\nname = \"a\"\ncommand = [\"a\"]\nrestart = \"never\"\n\
         [[services]]\nname = \"b\"\ncommand = [\"b\"]\n\
         [[users]]\nname = \"u\"\nuid = 1000\nshell = \"/bin/sh\"\n",
        "[[checks]]\nname = \"up\"\nport = 1\nwithin = 5\n",
        "[[checks]]\nname = \"up\"\nhttp = { port = 2 }\n",
        "[[services]]\nname = \"a\"\ncommand = [\"c\"]\n\
         [[users]]\nname = \"u\"\nuid = 1001\n",
    );
    let [core, desktop] = &workspace.stages[..] else {
        panic!("two stages");
    };
    assert_eq!(core.services[0].restart, Restart::Never);
    let names: Vec<&str> = desktop
        .services
        .iter()
        .map(|service| &*service.name.value)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(desktop.services[0].command.value, ["c"]);
    assert_eq!(desktop.services[0].restart, Restart::Always);
    assert_eq!(
        (core.users[0].uid, core.users[0].shell.as_str()),
        (1000, "/bin/sh")
    );
    assert_eq!(
        (desktop.users[0].uid, desktop.users[0].shell.as_str()),
        (1001, "/bin/bash")
    );
    let [check] = &workspace.checks[..] else {
        panic!("one check");
    };
    let probe = Probe::Http {
        port: 2,
        tls: false,
        path: "/".to_owned(),
        status: 200,
    };
    assert_eq!((&check.probe, check.within), (&probe, 60));
}

#[test]
fn lists_are_appended_each_element_once() {
    let ports = |list: &str| format!("[image]\nports = [{list}]\n");
    let workspace = merged(
        &ports("\"1\", \"2/udp\""),
        &ports("\"3\""),
        &ports("\"2/udp\", \"2\""),
        &ports("\"1/tcp\", \"4\""),
    );
    assert_eq!(workspace.image.ports, ["1", "2/udp", "3", "2", "4"]);
}

#[test]
fn maps_are_merged_key_by_key() {
    let environment = |pairs: &str| format!("[image.environment]\n{pairs}\n");
    let workspace = merged(
        &environment("A = \"core\"\nB = \"core\""),
        &environment("B = \"first\"\nC = \"first\""),
        "",
        &environment("C = \"desktop\""),
    );
    let pairs: Vec<String> = workspace
        .image
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(pairs, ["A=core", "B=first", "C=desktop"]);
}

#[test]
fn commands_are_single_values() {
    let workspace = merged(
        "[image]\nentrypoint = [\"/init\", \"--core\"]\ncommand = [\"run\"]\n\
         [image.healthcheck]\ncommand = [\"/healthy\"]\ninterval = 5\n",
        "",
        "",
        "[image]\nentrypoint = [\"/start\"]\ncommand = []\n[image.healthcheck]\ntimeout = 3\n",
    );
    let entrypoint = workspace.image.entrypoint.as_ref();
    assert_eq!(entrypoint.expect("it has one").value, ["/start"]);
    assert!(workspace.image.command.is_empty());
    let check = workspace.image.healthcheck.expect("the parent gave one");
    assert_eq!(check.command.value, ["/healthy"]);
    assert_eq!(
        (
            check.interval,
            check.timeout,
            check.start_period,
            check.retries
        ),
        (5, 3, 0, 3)
    );
}

#[test]
fn a_published_port_displaces_that_of_the_same_container_port() {
    let ports = |list: &str| format!("[deploy]\nports = [{list}]\n");
    let workspace = merged(
        &ports("\"6901:6901\", \"53:53/udp\""),
        "",
        "",
        &ports("\"127.0.0.1:7000:6901\", \"53:53\""),
    );
    let ports: Vec<&str> = workspace
        .deploy
        .ports
        .iter()
        .map(|port| &*port.value)
        .collect();
    assert_eq!(ports, ["53:53/udp", "127.0.0.1:7000:6901", "53:53"]);
}

#[test]
fn requests_belong_to_the_stage_that_asks_first() {
    let install = |list: &str| format!("[packages]\ninstall = [{list}]\n");
    let workspace = merged(
        &install("\"bash\", \"vim\""),
        &install("\"xfce4\", \"vim\""),
        &install("\"vim (>= 9)\", \"xfce4\""),
        &install("\"bash\", \"firefox-esr\", \"xfce4(>=4)\""),
    );
    assert_eq!(requests(&workspace.stages[0]), ["bash", "vim"]);
    let upper = ["xfce4", "vim (>= 9)", "firefox-esr", "xfce4 (>= 4)"];
    assert_eq!(requests(&workspace.stages[1]), upper);
}

#[test]
fn remove_takes_away_what_modules_before_it_asked_for() {
    let workspace = merged(
        "",
        "[packages]\ninstall = [\"a1\", \"b1\", \"b1 (>= 2)\", \"c1\"]\n",
        "[packages]\nremove = [\"c1\"]\ninstall = [\"d1\"]\n",
        "[packages]\nremove = [\"b1\"]\ninstall = [\"c1\"]\n",
    );
    assert_eq!(requests(&workspace.stages[1]), ["a1", "d1", "c1"]);
}

#[test]
fn modules_of_modules_come_before_their_users_and_once() {
    let files = [
        (
            DESKTOP,
            "use = [\"modules/second\", \"modules/first\"]\n[debian]\nsuite = \"sid\"\n[packages]\ninstall = [\"dd\"]\n",
        ),
        (
            SECOND,
            "use = [\"modules/first\"]\n[packages]\ninstall = [\"ss\"]\n[layers]\nbudget = 7\n",
        ),
        (
            FIRST,
            "[packages]\ninstall = [\"ff\"]\n[layers]\nbudget = 9\n",
        ),
    ];
    let workspace = right(&files);
    assert_eq!(requests(&workspace.stages[0]), ["ff", "ss", "dd"]);
    assert_eq!(budgets(&workspace), [7]);
}

#[test]
fn what_names_a_workspace_is_not_inherited() {
    let workspace = merged(
        "description = \"The root\"\n[image]\nrepository = \"acme/core\"\ntags = [\"1\"]\nuser = \"u\"\n\
         [deploy]\ncontainer = \"root\"\n[kasm]\nfriendly-name = \"Core\"\nnotes = \"n\"\ncores = 2\n",
        "",
        "",
        "",
    );
    assert_eq!(workspace.description, None);
    assert_eq!(workspace.stages[0].repository, "acme/core");
    assert_eq!(workspace.image.repository, "kasmforge/desktop");
    assert_eq!(workspace.image.tags, ["latest"]);
    assert_eq!(workspace.deploy.container, "kasm-desktop");
    assert_eq!(workspace.kasm.friendly_name, None);
    assert_eq!(workspace.kasm.notes, None);
    assert_eq!(workspace.kasm.cores, Some(2));
    assert_eq!(
        workspace.image.user.map(|user| user.value).as_deref(),
        Some("u")
    );
}

#[test]
fn slim_and_recommends_hold_until_a_nearer_file_says_otherwise() {
    let workspace = merged(
        "[slim]\ndocumentation = false\nlocales = [\"en\"]\n[packages]\nrecommends = true\n",
        "",
        "[slim]\nlocales = [\"*\"]\n",
        "",
    );
    let [core, desktop] = &workspace.stages[..] else {
        panic!("two stages");
    };
    assert_eq!(core.slim.locales.as_deref(), Some(&["en".to_owned()][..]));
    assert_eq!(desktop.slim.locales, None);
    assert!(!desktop.slim.documentation && desktop.slim.manuals && desktop.slim.python_bytecode);
    assert!(desktop.packages.recommends);
}

#[test]
fn owners_bring_their_primary_group() {
    let file =
        |path: &str, rest: &str| format!("[[files]]\ntarget = \"{path}\"\ntext = \"\"\n{rest}\n");
    let desktop = [
        file("/0", ""),
        file("/1", "owner = \"u\""),
        file("/2", "owner = \"1001\""),
        file("/3", "owner = \"www-data\""),
        file("/4", "owner = \"u\"\ngroup = \"audio\""),
        file("/5", "owner = \"v\""),
        file("/6", "group = \"audio\""),
    ];
    let users =
        "[[users]]\nname = \"u\"\nuid = 1001\n[[users]]\nname = \"v\"\nuid = 1002\ngid = 100\n";
    let workspace = merged(users, "", "", &desktop.concat());
    let owners: Vec<String> = workspace.stages[1]
        .image_files
        .iter()
        .map(|file| format!("{}:{}", file.owner.value, file.group.value))
        .collect();
    let expected = [
        "root:root",
        "u:u",
        "1001:1001",
        "www-data:root",
        "u:audio",
        "v:100",
        "root:audio",
    ];
    assert_eq!(owners, expected);
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let workspace = right(&[
        (
            DESKTOP,
            "use = [\"modules/first\"]\n[debian]\nsuite = \"sid\"\n[kasm]\nicon = \"desktop/icon.svg\"\n\
             [[debian.archives]]\nname = \"x\"\nuri = \"https://example.org/\"\nsuite = \"x\"\nkeyring = \"../keys/x.gpg\"\n",
        ),
        (
            FIRST,
            "[[files]]\ntarget = \"/a\"\nsource = \"first/\"\n[[files]]\ntarget = \"/b\"\nsource = \"../desktop/b\"\n",
        ),
        ("workspaces/modules/first/x", ""),
        ("workspaces/desktop/b", ""),
        ("workspaces/desktop/icon.svg", ""),
        ("keys/x.gpg", ""),
    ]);
    let sources: Vec<&str> = workspace.stages[0]
        .image_files
        .iter()
        .filter_map(|file| match &file.content {
            FileContent::Source(source) => Some(source.value.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        sources,
        ["workspaces/modules/first", "workspaces/desktop/b"]
    );
    let icon = workspace.kasm.icon.as_ref().map(|icon| icon.value.as_str());
    assert_eq!(icon, Some("workspaces/desktop/icon.svg"));
    let keyring = workspace.debian.archives[0]
        .keyring
        .as_ref()
        .expect("it is named");
    assert_eq!(keyring.value.as_path(), "keys/x.gpg");
}

#[test]
fn services_start_after_those_they_wait_for() {
    let service = |name: &str, after: &str| {
        format!("[[services]]\nname = \"{name}\"\ncommand = [\"x\"]\nafter = [{after}]\n")
    };
    let workspace = merged(
        &service("session", ""),
        "",
        "",
        &[
            service("panel", "\"session\""),
            service("session", "\"server\", \"bus\""),
            service("bus", ""),
            service("server", ""),
        ]
        .concat(),
    );
    let names = |stage: &Stage| {
        let names = stage
            .services
            .iter()
            .map(|service| service.name.value.clone());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&workspace.stages[0]), "session");
    assert_eq!(names(&workspace.stages[1]), "bus server session panel");
}
