//! Files that do not fit together, or are not there.

use crate::report;

#[test]
fn an_unknown_workspace() {
    let files = [
        ("workspaces/core.toml", ""),
        ("workspaces/desktops.toml", ""),
    ];
    insta::assert_snapshot!(report(&files), @"
    error: there is no workspace `desktop`
      help: did you mean `desktops`?
      help: the workspaces are: `core`, `desktops`
    ");
}

#[test]
fn no_workspace_at_all() {
    let files = [];
    insta::assert_snapshot!(report(&files), @"
    error: there is no workspace `desktop`
      help: there are none: a workspace is a file `workspaces/NAME.toml`
    ");
}

#[test]
fn an_unknown_parent() {
    let files = [
        ("workspaces/core.toml", ""),
        (
            "workspaces/desktop.toml",
            r#"extends = "croe"
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:1:11: there is no workspace `croe` (no such workspace)
      help: did you mean `core`?
      help: the workspaces are: `core`, `desktop`
    ");
}

#[test]
fn workspaces_that_extend_each_other() {
    let files = [
        (
            "workspaces/a.toml",
            r#"extends = "b"
"#,
        ),
        (
            "workspaces/b.toml",
            r#"extends = "a"
"#,
        ),
        (
            "workspaces/desktop.toml",
            r#"extends = "a"
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/b.toml:1:11: workspaces extend each other in a circle (this leads back to `a`)
      workspaces/a.toml:1:11: leads to `b`
      help: the circle is `a` → `b` → `a`
    ");
}

#[test]
fn a_workspace_that_extends_itself() {
    let files = [(
        "workspaces/desktop.toml",
        r#"extends = "desktop"
"#,
    )];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:1:11: workspaces extend each other in a circle (this leads back to `desktop`)
      help: the circle is `desktop` → `desktop`
    ");
}

#[test]
fn modules_that_are_missing_or_misnamed() {
    let files = [(
        "workspaces/desktop.toml",
        r#"use = ["modules/xcfe", "xfce.toml", "../xfce"]
[debian]
suite = "trixie"
"#,
    )];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:1:8: there is no module `modules/xcfe` (no such module)
      help: its file would be `workspaces/modules/xcfe.toml`
    workspaces/desktop.toml:1:24: `xfce.toml` is not a module (a path below `workspaces/` is wanted, without `.toml`)
      help: write `xfce`
    workspaces/desktop.toml:1:37: `../xfce` is not a module (a path below `workspaces/` is wanted, without `.toml`)
      help: write it as in `modules/xfce`, which is `workspaces/modules/xfce.toml`
    ");
}

#[test]
fn modules_that_use_each_other() {
    let files = [
        (
            "workspaces/desktop.toml",
            r#"use = ["modules/a"]
[debian]
suite = "trixie"
"#,
        ),
        (
            "workspaces/modules/a.toml",
            r#"use = ["modules/b"]
"#,
        ),
        (
            "workspaces/modules/b.toml",
            r#"use = ["modules/a"]
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/modules/b.toml:1:8: modules use each other in a circle (this leads back to `workspaces/modules/a.toml`)
      workspaces/modules/a.toml:1:8: leads to `workspaces/modules/b.toml`
      help: the circle is `workspaces/modules/a.toml` → `workspaces/modules/b.toml` → `workspaces/modules/a.toml`
    ");
}

#[test]
fn a_module_that_would_be_a_workspace() {
    let files = [
        (
            "workspaces/desktop.toml",
            r#"use = ["core"]
[debian]
suite = "trixie"
"#,
        ),
        (
            "workspaces/core.toml",
            r#"[debian]
suite = "trixie"
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/core.toml:1:1: a module cannot have `debian` (only a workspace has it)
      workspaces/desktop.toml:1:8: the file is used as a module here
    ");
}

#[test]
fn no_distribution() {
    let files = [(
        "workspaces/desktop.toml",
        r#"name = "desktop"
"#,
    )];
    insta::assert_snapshot!(report(&files), @r#"
    workspaces/desktop.toml:1:8: `desktop` says nothing of its distribution (neither `extends` nor `[debian]`)
      help: add `[debian]` with `suite = "…"`, or `extends` with a parent's name
    "#);
}

#[test]
fn a_distribution_beside_a_parent() {
    let files = [
        (
            "workspaces/core.toml",
            r#"[debian]
suite = "trixie"
"#,
        ),
        (
            "workspaces/desktop.toml",
            r#"extends = "core"
[debian]
suite = "trixie"
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:2:1: `desktop` has both `extends` and `[debian]` (the parent says which distribution it is)
      workspaces/desktop.toml:1:11: the parent is named here
      help: leave out one of the two
    ");
}

#[test]
fn a_name_that_is_not_the_files() {
    let files = [
        (
            "workspaces/desktop.toml",
            r#"name = "desk"
use = ["modules/x"]
[debian]
suite = "trixie"
"#,
        ),
        (
            "workspaces/modules/x.toml",
            r#"name = "modules/x"
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @r#"
    workspaces/desktop.toml:1:8: `desk` is not the name of its file (the file's name is `desktop`)
      help: write `name = "desktop"`, or rename the file to `desk.toml`
    workspaces/modules/x.toml:1:8: `modules/x` is not a workspace's name (small letters and digits are wanted, with single `.`, `_` or `-` between them)
      help: the name becomes part of the image's reference, where nothing else is allowed
    "#);
}

#[test]
fn files_of_the_project_that_are_not_there() {
    let files = [(
        "workspaces/desktop.toml",
        r#"[[files]]
target = "/a"
source = "files/a"
[[files]]
target = "/b"
source = "/etc/passwd"
[[files]]
target = "/c"
source = "../../c"
[kasm]
icon = "icon.png"
[debian]
suite = "trixie"
[[debian.archives]]
name = "x"
uri = "https://example.org/"
suite = "x"
keyring = "x.gpg"
"#,
    )];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:3:10: `workspaces/files/a` does not exist (no such file or folder)
      help: the path is relative to the folder of `workspaces/desktop.toml`
    workspaces/desktop.toml:6:10: `/etc/passwd` is not a file of the project (absolute paths are not allowed: another machine has other files)
      help: paths are relative to the file that names them, here to `workspaces/`
    workspaces/desktop.toml:9:10: `../../c` is not a file of the project (this leads out of the project's folder)
      help: paths are relative to the file that names them, here to `workspaces/`
    workspaces/desktop.toml:11:8: `workspaces/icon.png` does not exist (no such file or folder)
      help: the path is relative to the folder of `workspaces/desktop.toml`
    workspaces/desktop.toml:18:11: `workspaces/x.gpg` does not exist (no such file or folder)
      help: the path is relative to the folder of `workspaces/desktop.toml`
    ");
}

#[test]
fn removing_what_nobody_asked_for() {
    let files = [
        (
            "workspaces/core.toml",
            r#"[debian]
suite = "trixie"
[packages]
install = ["bash"]
"#,
        ),
        (
            "workspaces/modules/xfce.toml",
            r#"[packages]
install = ["xfce4", "thunar"]
"#,
        ),
        (
            "workspaces/desktop.toml",
            r#"extends = "core"
use = ["modules/xfce"]
[packages]
remove = ["thunra", "bash"]
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:4:11: `remove` takes nothing away: `thunra` (nothing to take away)
      help: did you mean `thunar`?
      help: the modules of `desktop` ask for: `xfce4`, `thunar`
    workspaces/desktop.toml:4:21: `remove` takes nothing away: `bash` (nothing to take away)
      workspaces/core.toml:4:12: the stage `core` asks for it
      help: a parent's layers are reused as they are: a child cannot take from them
    ");
}

#[test]
fn mistakes_of_all_files_of_a_chain() {
    let files = [
        (
            "workspaces/core.toml",
            r#"[debian]
suit = "trixie"
"#,
        ),
        (
            "workspaces/modules/xfce.toml",
            r#"[packages]
install = ["Xfce"]
[slim
"#,
        ),
        (
            "workspaces/desktop.toml",
            r#"extends = "core"
use = ["modules/xfce", "modules/none"]
[layers]
budget = 0
"#,
        ),
    ];
    insta::assert_snapshot!(report(&files), @"
    workspaces/desktop.toml:2:24: there is no module `modules/none` (no such module)
      help: its file would be `workspaces/modules/none.toml`
    workspaces/desktop.toml:4:10: `layers.budget` cannot be 0 (1 to 120 is wanted)
    workspaces/modules/xfce.toml:3:6: this is not TOML: unclosed table, expected `]` (not understood)
    workspaces/core.toml:2:1: unknown key `suit` in `[debian]` (nothing reads this key)
      help: did you mean `suite`?
      help: the keys of `[debian]` are: `suite`, `components`, `security`, `updates`, `backports`, `foreign-architectures`, `sources-in-image`, `archives`
    ");
}
