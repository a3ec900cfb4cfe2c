//! Entries that lack something, say too much, or exclude each other.

use crate::wrong;

#[test]
fn names_given_twice_show_both_lines() {
    let text = r#"[[files]]
target = "/etc/motd"
text = "a"
[[users]]
name = "kasm-user"
uid = 1000
[[services]]
name = "x"
command = ["x"]
[image]
ports = ["6901", "6901/tcp"]
[deploy]
ports = ["6901:6901", "6901:6902"]
[[services]]
name = "x"
command = ["y"]
[[files]]
target = "/etc/motd"
text = "b"
[[users]]
name = "kasm-user"
uid = 1000
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:11:18: the port `6901` is given twice (given again here)
      workspaces/desktop.toml:11:10: first given here
    workspaces/desktop.toml:13:23: the host's port `6901` is given twice (given again here)
      workspaces/desktop.toml:13:10: first given here
    workspaces/desktop.toml:15:8: the service `x` is given twice (given again here)
      workspaces/desktop.toml:8:8: first given here
    workspaces/desktop.toml:18:10: the target `/etc/motd` is given twice (given again here)
      workspaces/desktop.toml:2:10: first given here
    workspaces/desktop.toml:21:8: the user `kasm-user` is given twice (given again here)
      workspaces/desktop.toml:5:8: first given here
    ");
}

#[test]
fn a_uid_taken_twice() {
    let text = r#"[[users]]
name = "a"
uid = 1000
[[users]]
name = "b"
uid = 1000
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:6:7: the users `a` and `b` have the same uid 1000 (taken already)
      workspaces/desktop.toml:3:7: `a` has it
    ");
}

#[test]
fn a_file_with_no_content_or_with_several() {
    let text = r#"[[files]]
target = "/a"
[[files]]
target = "/b"
text = "b"
symlink = "/a"
directory = true
[[files]]
target = "/c"
directory = false
[[files]]
target = "/d"
text = ""
extract = true
sha256 = "8bc0f6218eea849bfbb4e5bb7ae3c7038709a0f69181c1f554082c6ae715c5c0"
[[files]]
target = "/e"
symlink = "/d"
mode = "0777"
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:1: the file `/a` has none of `source`, `text`, `url`, `symlink`, `directory` (exactly one is wanted)
    workspaces/desktop.toml:6:11: the file `/b` has both `text` and `symlink` (beside `text`)
      workspaces/desktop.toml:5:8: `text` is given here
      help: keep one of `source`, `text`, `url`, `symlink`, `directory`
    workspaces/desktop.toml:7:13: the file `/b` has both `text` and `directory` (beside `text`)
      workspaces/desktop.toml:5:8: `text` is given here
      help: keep one of `source`, `text`, `url`, `symlink`, `directory`
    workspaces/desktop.toml:10:13: `directory` can only be true (leave it out)
    workspaces/desktop.toml:14:11: `extract` says nothing without `url` (only a download has it)
    workspaces/desktop.toml:15:10: `sha256` says nothing without `url` (only a download has it)
    workspaces/desktop.toml:19:8: a symbolic link has no mode (leave it out)
    ");
}

#[test]
fn checks_and_readiness_that_ask_nothing_or_too_much() {
    let text = r#"[[checks]]
name = "nothing"
[[checks]]
name = "both"
port = 6901
file = "/tmp/a"
[[services]]
name = "x"
command = ["x"]
ready = {}
[[services]]
name = "y"
command = ["y"]
ready = { port = 1, socket = "/tmp/y" }
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:1: the check `nothing` has none of `port`, `http`, `command`, `file`, `process` (exactly one is wanted)
    workspaces/desktop.toml:6:8: the check `both` has both `port` and `file` (beside `port`)
      workspaces/desktop.toml:5:8: `port` is given here
      help: keep one of `port`, `http`, `command`, `file`, `process`
    workspaces/desktop.toml:10:9: the readiness of `x` has none of `port`, `socket`, `file`, `command` (exactly one is wanted)
    workspaces/desktop.toml:14:30: the readiness of `y` has both `port` and `socket` (beside `port`)
      workspaces/desktop.toml:14:18: `port` is given here
      help: keep one of `port`, `socket`, `file`, `command`
    ");
}

#[test]
fn a_health_check_without_a_command() {
    let text = r#"[image.healthcheck]
interval = 10
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:12: the health check has no command (this says how often nothing is run)
      help: give `command` in `[image.healthcheck]`
    ");
}

#[test]
fn debconf_that_does_not_answer() {
    let text = r#"[[packages.debconf]]
package = "tzdata"
question = "tzdata/Areas"
type = "boolean"
value = "Europe"
[[packages.debconf]]
package = "tzdata"
question = "tzdata"
type = "list"
value = "a"
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:5:9: `Europe` does not answer `tzdata/Areas` (`"true"` or `"false"` is wanted)
    workspaces/desktop.toml:8:12: `tzdata` is not a question of debconf (a name such as `tzdata/Areas` is wanted)
    workspaces/desktop.toml:9:8: `list` is not a type of debconf's questions (one of `string`, `boolean`, `select`, `multiselect`, `password`, `text`, `note`, `title`, `error` is wanted)
    "#);
}

#[test]
fn services_that_wait_for_nobody_or_for_each_other() {
    let text = r#"[[services]]
name = "dbus"
command = ["dbus-daemon"]
after = ["xserver"]
[[services]]
name = "xserver"
command = ["Xvnc"]
after = ["session"]
[[services]]
name = "session"
command = ["xfce4-session"]
after = ["dbus"]
[[services]]
name = "panel"
command = ["xfce4-panel"]
after = ["xsever", "panel"]
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:12:10: services wait for each other in a circle (this waits for `dbus` again)
      workspaces/desktop.toml:4:10: waits for `xserver`
      workspaces/desktop.toml:8:10: waits for `session`
      help: the circle is `dbus` → `xserver` → `session` → `dbus`
    workspaces/desktop.toml:16:10: there is no service `xsever` (no such service)
      help: did you mean `xserver`?
      help: the services are: `dbus`, `xserver`, `session`, `panel`
    ");
}

#[test]
fn one_port_for_two_services() {
    let text = r#"[[services]]
name = "api"
command = ["api"]
ready = { port = 3100 }
[[services]]
name = "web"
command = ["web"]
ready = { port = 6901 }
[[services]]
name = "worker"
command = ["worker"]
ready = { port = 3100 }
"#;
    insta::assert_snapshot!(wrong(text), @r"
    workspaces/desktop.toml:10:8: the services `api` and `worker` are both ready at port 3100 (only one can have it)
      workspaces/desktop.toml:2:8: has port 3100
      help: give one of them another port
    ");
}

#[test]
fn archives_nobody_signs() {
    let text = r#"[[debian.archives]]
name = "a"
uri = "https://example.org/a"
suite = "stable"
[[debian.archives]]
name = "b"
uri = "https://example.org/b"
suite = "./"
components = ["main"]
trusted = true
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:1: nothing says who signs the archive `a` (`keyring` is missing)
      help: name its keyring, or write `trusted = true` to take whatever comes unverified
    workspaces/desktop.toml:9:15: a suite that ends in `/` has no components (leave out `components`)
    ");
}

#[test]
fn pins_that_say_nothing_or_too_much() {
    let text = r#"[[packages.pin]]
packages = ["firefox-esr"]
[[packages.pin]]
packages = ["Firefox", "lib*"]
version = "1.*"
[[packages.pin]]
packages = ["vim"]
suite = "trixie-backports"
version = "9.*"
[[packages.pin]]
packages = ["vim"]
never = true
priority = 100
[[packages.pin]]
packages = ["vim"]
version = "9.*"
priority = 1001
[[packages.deb]]
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:1:1: this pin does not say which versions it means (nothing is pinned)
      help: write `suite = "…"`, `version = "…"`, or `never = true` to take none
    workspaces/desktop.toml:4:13: `Firefox` is not a pattern of packages' names (a name, or a pattern such as `lib*`, is wanted)
    workspaces/desktop.toml:9:11: a pin means the versions of a suite, or those of a pattern (and this as well)
      workspaces/desktop.toml:8:9: the suite is given here
    workspaces/desktop.toml:13:12: what is never taken has no priority (leave out `priority`)
      workspaces/desktop.toml:12:9: never taken, says this
    workspaces/desktop.toml:17:12: `packages.pin.priority` cannot be 1001 (1 to 1000 is wanted)
    workspaces/desktop.toml:18:1: a package has none of `url`, `path` (exactly one is wanted)
    "#);
}

#[test]
fn more_categories_than_kasm_takes() {
    let text = r#"[kasm]
categories = ["Desktop", "Browser", "Office", "Games"]
"#;
    insta::assert_snapshot!(wrong(text), @"workspaces/desktop.toml:2:47: Kasm takes at most 3 categories (one more, with those of modules and parents)");
}

#[test]
fn asked_for_and_taken_away() {
    let text = r#"[packages]
install = ["vim", "nano"]
remove = ["vim", "emacs", "emacs"]
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:3:11: `vim` is both asked for and taken away (taken away here)
      workspaces/desktop.toml:2:12: asked for here
      help: keep one of the two: `remove` is for what modules ask for
    workspaces/desktop.toml:3:27: the package `emacs` is given twice (given again here)
      workspaces/desktop.toml:3:18: first given here
    ");
}
