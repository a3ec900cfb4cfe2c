//! The formats against dpkg itself: these tests need a Debian, and fail without.

use std::cmp::Ordering;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use kasmforge_deb::archive::{DebError, DebReader, EntryKind};
use kasmforge_deb::stanza::Stanzas;
use kasmforge_deb::{PackageStanza, Version};

fn run(command: &mut Command) -> String {
    let output = command.output().expect("dpkg is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("dpkg writes UTF-8")
}

/// Versions of the packages installed here, and small changes to them, compared pair by pair.
#[test]
fn versions_order_as_dpkg_orders_them() {
    let installed = run(Command::new("dpkg-query").args(["-W", "-f", "${Version}\\n"]));
    let mut texts: Vec<String> = installed
        .lines()
        .filter(|line| !line.is_empty())
        .map(Into::into)
        .collect();
    texts.sort();
    texts.dedup();
    let mut pairs = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let other = &texts[(at * 7 + 3) % texts.len()];
        pairs.push((text.clone(), other.clone()));
        pairs.push((text.clone(), texts[(at + 1) % texts.len()].clone()));
        let changes = ["~rc1", "+deb12u1", "-0", ".0", "a", "0"];
        pairs.push((
            format!("{text}{}", changes[at % changes.len()]),
            text.clone(),
        ));
    }
    for (left, right) in [
        ("1.0", "1.00"),
        ("1.0-0", "1.0"),
        ("0:1", "1"),
        ("1a", "1a0"),
        ("1~", "1"),
        ("1+", "1a"),
    ] {
        pairs.push((left.into(), right.into()));
    }
    pairs.truncate(2500);
    let script = "while read -r left operator right; do \
                  dpkg --compare-versions \"$left\" \"$operator\" \"$right\" || \
                  echo \"not $left $operator $right\"; done";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("every system has a shell");
    let mut input = shell.stdin.take().expect("asked for above");
    let questions: String = pairs
        .iter()
        .map(|(left, right)| {
            let version = |text: &str| text.parse::<Version>().expect("dpkg has it");
            let operator = match version(left).cmp(&version(right)) {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            format!("{left} {operator} {right}\n")
        })
        .collect();
    input
        .write_all(questions.as_bytes())
        .expect("the shell reads");
    drop(input);
    let output = shell.wait_with_output().expect("the shell ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "of {} pairs",
        pairs.len()
    );
}

/// dpkg's own database holds every field there is.
#[test]
fn reads_the_status_of_this_machine() {
    let text = fs::read_to_string("/var/lib/dpkg/status").expect("every Debian has it");
    let packages: Vec<PackageStanza> = Stanzas::new(&text)
        .map(|stanza| PackageStanza::read(&stanza.expect("dpkg wrote it")).expect("dpkg wrote it"))
        .collect();
    let count = run(Command::new("dpkg-query").args(["-W", "-f", "x"])).len();
    assert_eq!(packages.len(), count);
}

fn write(root: &Path, path: &str, text: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn reads_what_dpkg_deb_packs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    let long = "long-".repeat(50);
    write(
        &root,
        "DEBIAN/control",
        "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n",
        0o644,
    );
    write(&root, "DEBIAN/postinst", "#!/bin/sh\n", 0o755);
    write(&root, "usr/share/ä", "content", 0o640);
    write(
        &root,
        &format!("usr/share/{long}"),
        &"x".repeat(100_000),
        0o644,
    );
    symlink(format!("/usr/share/{long}"), root.join("usr/link")).expect("a link");
    fs::hard_link(root.join("usr/share/ä"), root.join("usr/share/zz")).expect("a link");
    for directory in ["", "usr", "usr/share", "DEBIAN"] {
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755))
            .expect("a mode");
    }
    for compression in ["none", "gzip", "xz", "zstd"] {
        let deb = folder.path().join(format!("{compression}.deb"));
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Z", compression, "--build"])
            .args([&root, &deb]));
        let reader =
            DebReader::open(fs::File::open(&deb).expect("just made")).expect("a good package");
        assert_eq!(reader.control()["postinst"].mode, 0o755);
        let mut seen = Vec::new();
        let control = reader
            .data(|entry| {
                let mut bytes = Vec::new();
                entry
                    .read_to_end(&mut bytes)
                    .map_err(|error| entry.damaged(error))?;
                assert_eq!((entry.uid, entry.user.as_deref()), (0, Some("root")));
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                seen.push((path, entry.kind.clone(), entry.mode, bytes.len()));
                Ok::<_, DebError>(())
            })
            .expect("a good package");
        assert_eq!(control.len(), 2, "{compression}");
        seen.sort_by(|left, right| left.0.cmp(&right.0));
        let long_path = format!("usr/share/{long}");
        let expected = [
            (String::new(), EntryKind::Directory, 0o755, 0),
            ("usr".into(), EntryKind::Directory, 0o755, 0),
            (
                "usr/link".into(),
                EntryKind::Symlink(format!("/{long_path}").into()),
                0o777,
                0,
            ),
            ("usr/share".into(), EntryKind::Directory, 0o755, 0),
            (long_path, EntryKind::File, 0o644, 100_000),
            ("usr/share/zz".into(), seen[5].1.clone(), 0o640, seen[5].3),
            ("usr/share/ä".into(), seen[6].1.clone(), 0o640, seen[6].3),
        ];
        assert_eq!(seen, expected, "{compression}");
        // Which of the two names comes first in the tar is dpkg-deb's choice.
        let kinds = [&seen[5].1, &seen[6].1];
        assert!(kinds.contains(&&EntryKind::File), "{compression}");
        assert!(
            kinds
                .iter()
                .any(|kind| matches!(kind, EntryKind::HardLink(_))),
            "{compression}"
        );
    }
}
