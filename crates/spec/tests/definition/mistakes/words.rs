//! Strings and numbers that are not what their key wants.

use crate::wrong;

#[test]
fn bad_names() {
    let text = r#"name = "Desktop"
[[users]]
name = "Kasm User"
uid = 1000
groups = ["audio video"]
[[services]]
name = "x/y"
command = ["x"]
[image]
repository = "KasmForge/desktop:latest"
tags = ["a b"]
[deploy]
container = "-x"
[image.environment]
"A B" = "c"
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:1:8: `Desktop` is not a workspace's name (small letters and digits are wanted, with single `.`, `_` or `-` between them)
      help: the name becomes part of the image's reference, where nothing else is allowed
    workspaces/desktop.toml:3:8: `Kasm User` is not a user's or group's name (small letters, digits, `_` and `-` are wanted, at most 32, a letter or `_` first)
    workspaces/desktop.toml:5:11: `audio video` is not a user's or group's name (small letters, digits, `_` and `-` are wanted, at most 32, a letter or `_` first)
    workspaces/desktop.toml:7:8: `x/y` is not a service's name (letters, digits, `-` and `_` are wanted)
    workspaces/desktop.toml:10:14: `KasmForge/desktop:latest` is not a repository (`name`, `group/name` or `registry.example/group/name` is wanted, in small letters)
      help: a tag does not belong to it: `image.tags` has those
    workspaces/desktop.toml:11:9: `a b` is not a tag (at most 128 letters, digits, `_`, `.` and `-` are wanted)
    workspaces/desktop.toml:13:13: `-x` is not a container's name (two or more letters, digits, `_`, `.` and `-` are wanted, a letter or digit first)
    workspaces/desktop.toml:15:1: `A B` is not a variable's name (letters, digits and `_` are wanted, no digit first)
    ");
}

#[test]
fn bad_targets() {
    let text = r#"[[files]]
target = "etc/motd"
text = ""
[[files]]
target = "/etc/../motd"
text = ""
[[files]]
target = "/etc//motd/"
directory = true
[[files]]
target = "/"
directory = true
[[files]]
target = "/a\u0000b"
text = ""
"#;
    insta::assert_snapshot!(wrong(text), @r"
    workspaces/desktop.toml:2:10: `etc/motd` is not a path in the image (an absolute path is wanted)
      help: did you mean `/etc/motd`?
    workspaces/desktop.toml:5:10: `/etc/../motd` is not a path in the image (`..` is not allowed here)
    workspaces/desktop.toml:8:10: `/etc//motd/` is not a path in the image (empty parts, `.` and a `/` at the end are not allowed)
      help: write `/etc/motd`
    workspaces/desktop.toml:11:10: `/` is not a path in the image (a path below `/` is wanted)
    workspaces/desktop.toml:14:10: `/a\u{0}b` is not a path in the image (a NUL cannot stand in a path)
    ");
}

#[test]
fn bad_modes_and_owners() {
    let text = r#"[[files]]
target = "/a"
text = ""
mode = "0799"
[[files]]
target = "/b"
text = ""
mode = "17777"
owner = "2147483648"
group = "Wheel"
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:4:8: `0799` is not a file's mode (three or four octal digits are wanted, at most 7777)
      help: `"0755"` may be executed by everybody, `"0644"` only read
    workspaces/desktop.toml:8:8: `17777` is not a file's mode (three or four octal digits are wanted, at most 7777)
      help: `"0755"` may be executed by everybody, `"0644"` only read
    workspaces/desktop.toml:9:9: `2147483648` is not a user or group (a name or a number below 2147483648 is wanted)
      help: names are small letters, digits, `_` and `-`, at most 32
    workspaces/desktop.toml:10:9: `Wheel` is not a user or group (a name or a number below 2147483648 is wanted)
      help: names are small letters, digits, `_` and `-`, at most 32
    "#);
}

#[test]
fn bad_ports() {
    let text = r#"[image]
ports = ["0", "65536", "6901/sctp", "6901-6902"]
[deploy]
ports = ["6901", "localhost:1:2", "1:2:3:4", "70000:1"]
desktop-port = 0
[[checks]]
name = "web"
port = 65536
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:10: `0` is not a port (a number from 1 to 65535 is wanted, perhaps with `/udp`)
    workspaces/desktop.toml:2:15: `65536` is not a port (a number from 1 to 65535 is wanted, perhaps with `/udp`)
    workspaces/desktop.toml:2:24: `6901/sctp` is not a port (a number from 1 to 65535 is wanted, perhaps with `/udp`)
    workspaces/desktop.toml:2:37: `6901-6902` is not a port (a number from 1 to 65535 is wanted, perhaps with `/udp`)
    workspaces/desktop.toml:4:10: `6901` is not a published port (`[address:]host:container[/udp]` is wanted)
      help: write `6901:6901`
    workspaces/desktop.toml:4:18: `localhost:1:2` is not a published port (`[address:]host:container[/udp]` is wanted)
      help: as in `6901:6901` or `127.0.0.1:6901:6901`
    workspaces/desktop.toml:4:35: `1:2:3:4` is not a published port (`[address:]host:container[/udp]` is wanted)
      help: as in `6901:6901` or `127.0.0.1:6901:6901`
    workspaces/desktop.toml:4:46: `70000:1` is not a published port (`[address:]host:container[/udp]` is wanted)
      help: as in `6901:6901` or `127.0.0.1:6901:6901`
    workspaces/desktop.toml:5:16: `deploy.desktop-port` cannot be 0 (1 to 65535 is wanted)
    workspaces/desktop.toml:8:8: `checks.port` cannot be 65536 (1 to 65535 is wanted)
    ");
}

#[test]
fn bad_sizes() {
    let text = r#"[deploy]
shm-size = "512 MB"
memory = "0g"
[kasm]
memory = "2768mb"
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:2:12: `512 MB` is not a size (a number of bytes above 0 is wanted)
      help: write `"512m"` or `"2g"`; the letters b, k, m, g, t count in 1024s
    workspaces/desktop.toml:3:10: `0g` is not a size (a number of bytes above 0 is wanted)
      help: write `"512m"` or `"2g"`; the letters b, k, m, g, t count in 1024s
    workspaces/desktop.toml:5:10: `2768mb` is not a size (a number of bytes above 0 is wanted)
      help: write `"512m"` or `"2g"`; the letters b, k, m, g, t count in 1024s
    "#);
}

#[test]
fn bad_requests() {
    let text = r#"[packages]
install = ["vim nano", "Vim", "vim (> 9)", "vim=", "vim:", "vim |nano", "vim/"]
remove = ["vim=9"]
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:2:12: `vim nano` is not a request for a package (a package's name begins it: small letters, digits, `+`, `-`, `.`)
      help: name each package by itself: "vim", "nano"
    workspaces/desktop.toml:2:24: `Vim` is not a request for a package (a package's name begins it: small letters, digits, `+`, `-`, `.`)
    workspaces/desktop.toml:2:31: `vim (> 9)` is not a request for a package (a relation such as `(>= 1.2)` is wanted)
      help: the relations are `<<`, `<=`, `=`, `>=` and `>>`
    workspaces/desktop.toml:2:44: `vim=` is not a request for a package (a version is wanted after `=`)
    workspaces/desktop.toml:2:52: `vim:` is not a request for a package (an architecture such as `amd64` is wanted after `:`)
    workspaces/desktop.toml:2:60: `vim |nano` is not a request for a package (a package's name begins it: small letters, digits, `+`, `-`, `.`)
    workspaces/desktop.toml:2:73: `vim/` is not a request for a package (a suite is wanted after `/`)
    workspaces/desktop.toml:3:11: `vim=9` is not a package's name (two or more small letters, digits, `+`, `-` and `.` are wanted)
      help: only the name: without version and architecture
    "#);
}

#[test]
fn bad_addresses_and_digests() {
    let text = r#"[[packages.deb]]
url = "ftp://example.org/a.deb"
[[packages.deb]]
url = "https://example.org/a.deb"
sha256 = "sha256:8bc0f6218eea849bfbb4e5bb7ae3c7038709a0f69181c1f554082c6ae715c5c0"
[[packages.deb]]
url = "https://example.org/b.deb"
sha256 = "8bc0f6218eea849b"
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:7: `ftp://example.org/a.deb` is not a web address (an address that begins with `https://` or `http://` is wanted, without spaces or a password)
      help: a login for it belongs into ~/.netrc or a variable: see docs/archives.md
    workspaces/desktop.toml:5:10: `sha256:8bc0f6218eea849bfbb4e5bb7ae3c7038709a0f69181c1f554082…` is not a SHA-256 digest (64 hexadecimal digits are wanted)
      help: leave out `sha256:`
    workspaces/desktop.toml:8:10: `8bc0f6218eea849b` is not a SHA-256 digest (64 hexadecimal digits are wanted, these are 16)
      help: leave the key out, and the lock will take the digest of what is fetched first
    ");
}

#[test]
fn numbers_out_of_bounds() {
    let text = r#"[layers]
budget = 121
[[users]]
name = "a"
uid = 2147483648
[[users]]
name = "b"
uid = -1
[image.healthcheck]
command = ["/bin/true"]
interval = 0
retries = 0
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:10: `layers.budget` cannot be 121 (1 to 120 is wanted)
    workspaces/desktop.toml:5:7: `users.uid` cannot be 2147483648 (0 to 2147483647 is wanted)
    workspaces/desktop.toml:8:7: `users.uid` cannot be -1 (0 to 2147483647 is wanted)
    workspaces/desktop.toml:11:12: `image.healthcheck.interval` cannot be 0 (1 to 86400 is wanted)
    workspaces/desktop.toml:12:11: `image.healthcheck.retries` cannot be 0 (1 to 1000 is wanted)
    ");
}

#[test]
fn words_of_a_short_list() {
    let text = r#"[[services]]
name = "x"
command = ["x"]
restart = "alway"
[deploy]
restart = "unless-stoped"
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:4:11: `alway` is not a way to restart a service (one of `always`, `on-failure`, `never` is wanted)
      help: did you mean `always`?
    workspaces/desktop.toml:6:11: `unless-stoped` is not a restart policy (one of `no`, `always`, `unless-stopped`, `on-failure` is wanted)
      help: did you mean `unless-stopped`?
    ");
}

#[test]
fn commands_that_name_no_program() {
    let text = r#"[image]
entrypoint = []
[image.healthcheck]
command = ["CMD-SHELL", "true"]
[[services]]
name = "x"
command = ["", "y"]
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    workspaces/desktop.toml:2:14: `image.entrypoint` names no program (a program and its arguments are wanted)
    workspaces/desktop.toml:4:11: `CMD-SHELL` is not a program (an engine's own word)
      help: write the shell out: `["/bin/sh", "-c", "…"]`
    workspaces/desktop.toml:7:11: `services.command` names no program (a program and its arguments are wanted)
    "#);
}

#[test]
fn bad_volumes() {
    let text = r#"[image]
volumes = ["data"]
[deploy]
volumes = ["./data:/data", "data", "data:/data:rx", "data:/"]
"#;
    insta::assert_snapshot!(wrong(text), @"
    workspaces/desktop.toml:2:12: `data` is not a path in the image (an absolute path is wanted)
      help: did you mean `/data`?
    workspaces/desktop.toml:4:12: `./data:/data` is not a volume (`name:/path` or `/host/path:/path` is wanted)
      help: a folder of the host is named by its absolute path; add `:ro` to forbid writing
    workspaces/desktop.toml:4:28: `data` is not a volume (`name:/path` or `/host/path:/path` is wanted)
      help: a folder of the host is named by its absolute path; add `:ro` to forbid writing
    workspaces/desktop.toml:4:36: `data:/data:rx` is not a volume (this option of a volume is not known)
      help: the options are: ro, rw, z, Z, nocopy, private, rprivate, shared, rshared, slave, rslave, consistent
    workspaces/desktop.toml:4:53: `data:/` is not a volume (`name:/path` or `/host/path:/path` is wanted)
      help: a folder of the host is named by its absolute path; add `:ro` to forbid writing
    ");
}
