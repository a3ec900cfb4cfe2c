//! What is no TOML, and what has another shape than the format.

use crate::wrong;

#[test]
fn several_syntax_errors_are_told_at_once() {
    let text = r#"name = "desktop"
description =
[packages
install = ["a]
[slim]
manuals = no
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:14: a value is missing after `=` (a value is wanted here)
    workspaces/desktop.toml:3:10: this is not TOML: unclosed table, expected `]` (not understood)
    workspaces/desktop.toml:5:1: this is not TOML: missing comma between array elements, expected `,` (not understood)
    ");
}

#[test]
fn a_key_given_twice() {
    let text = r#"name = "desktop"
name = "desktop"
"#;
    insta::assert_snapshot!(wrong(text), @"workspaces/desktop.toml:2:1: the key `name` is given twice (given again here)");
}

#[test]
fn unknown_keys_with_the_near_name() {
    let text = r#"nmae = "desktop"
[packages]
instal = ["vim"]
[[files]]
target = "/etc/motd"
text = "hello"
perm = "0644"
[image.healthcheck]
comand = ["/bin/true"]
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:1: unknown key `nmae` in the definition (nothing reads this key)
      help: did you mean `name`?
      help: the keys of the definition are: `name`, `description`, `extends`, `use`, `debian`, `packages`, `files`, `users`, `services`, `slim`, `image`, `layers`, `deploy`, `kasm`, `checks`
    workspaces/desktop.toml:3:1: unknown key `instal` in `[packages]` (nothing reads this key)
      help: did you mean `install`?
      help: the keys of `[packages]` are: `install`, `remove`, `recommends`, `pin`, `deb`, `debconf`
    workspaces/desktop.toml:7:1: unknown key `perm` in `[[files]]` (nothing reads this key)
      help: the keys of `[[files]]` are: `target`, `source`, `text`, `url`, `sha256`, `extract`, `symlink`, `directory`, `owner`, `group`, `mode`
    workspaces/desktop.toml:9:1: unknown key `comand` in `[image.healthcheck]` (nothing reads this key)
      help: did you mean `command`?
      help: the keys of `[image.healthcheck]` are: `command`, `interval`, `timeout`, `start-period`, `retries`
    ");
}

#[test]
fn values_of_another_shape() {
    let text = r#"name = 7
files = [{ target = "/a", text = "" }, 3]
[packages]
install = "vim"
recommends = "yes"
[layers]
budget = "64"
[[image]]
user = 1000
[users]
name = "kasm-user"
[image2]
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:1:8: `name` must be a string (this is a whole number)
      help: write it in quotation marks: `"7"`
    workspaces/desktop.toml:2:40: an entry of `files` must be a table (this is a whole number)
    workspaces/desktop.toml:4:11: `packages.install` must be a list of strings (this is a string)
      help: write `install = ["vim"]`
    workspaces/desktop.toml:5:14: `packages.recommends` must be true or false (this is a string)
    workspaces/desktop.toml:7:10: `layers.budget` must be a whole number (this is a string)
      help: write `64` without quotation marks
    workspaces/desktop.toml:8:1: `image` must be a table (this is a list)
      help: write `[image]`, with single brackets, once
    workspaces/desktop.toml:10:1: `users` must be a list of tables (this is a table)
      help: write `[[users]]`, with double brackets, once for each entry
    workspaces/desktop.toml:12:2: unknown key `image2` in the definition (nothing reads this key)
      help: did you mean `image`?
      help: the keys of the definition are: `name`, `description`, `extends`, `use`, `debian`, `packages`, `files`, `users`, `services`, `slim`, `image`, `layers`, `deploy`, `kasm`, `checks`
    "#);
}

#[test]
fn a_command_in_one_string() {
    let text = r#"[image]
entrypoint = "/init --verbose"
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:2:14: `image.entrypoint` must be a list of strings (this is a string)
      help: write `entrypoint = ["/init", "--verbose"]`
    "#);
}

#[test]
fn mode_and_owner_as_numbers() {
    let text = r#"[[files]]
target = "/a"
text = ""
owner = 1000
mode = 755
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:4:9: `files.owner` must be a string (this is a whole number)
      help: write it in quotation marks: `"1000"`
    workspaces/desktop.toml:5:8: `files.mode` must be a string (this is a whole number)
      help: write it in quotation marks: `"755"`
    "#);
}

#[test]
fn keys_that_must_be_there() {
    let text = r#"[[files]]
text = "hello"
[[users]]
name = "kasm-user"
[[services]]
[[checks]]
port = 6901
[[packages.deb]]
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:1: `[[files]]` lacks the key `target` (it belongs here)
    workspaces/desktop.toml:3:1: `[[users]]` lacks the key `uid` (it belongs here)
    workspaces/desktop.toml:5:1: `[[services]]` lacks the key `name` (it belongs here)
    workspaces/desktop.toml:5:1: `[[services]]` lacks the key `command` (it belongs here)
    workspaces/desktop.toml:6:1: `[[checks]]` lacks the key `name` (it belongs here)
    workspaces/desktop.toml:8:1: a package has none of `url`, `path` (exactly one is wanted)
    ");
}
