//! Packages made by hand: every compression, and every way of being wrong.

use std::io::{Read, Write};

use kasmforge_deb::archive::{ControlFiles, DebError, DebReader, EntryError, EntryKind};

/// An `ar` archive of some members.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(
            bytes,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            "100644",
            content.len()
        )
        .expect("memory does not fail");
        bytes.extend_from_slice(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn header(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(0);
    header.set_gid(42);
    header.set_groupname("shadow").expect("a short name");
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    header
}

/// A tar of some entries: header and content of each.
fn tar(entries: &[(tar::Header, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (header, content) in entries {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn file(path: &str, content: &'static [u8]) -> (tar::Header, &'static [u8]) {
    (
        header(path, tar::EntryType::Regular, content.len() as u64),
        content,
    )
}

fn link(path: &str, kind: tar::EntryType, target: &str) -> (tar::Header, &'static [u8]) {
    let mut header = header(path, kind, 0);
    header.set_link_name_literal(target).expect("a short name");
    header.set_cksum();
    (header, b"")
}

fn control() -> Vec<u8> {
    tar(&[
        (header("./", tar::EntryType::Directory, 0), b""),
        file("./control", b"Package: a\nVersion: 1\nArchitecture: all\n"),
        file("./postinst", b"#!/bin/sh\n"),
    ])
}

fn deb(data: &[u8]) -> Vec<u8> {
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control()),
        ("data.tar", data),
    ])
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).expect("memory does not fail")
}

/// What an entry is, and its content.
type Shown = (String, EntryKind, String);

/// Reads a package to its end.
fn entries(bytes: &[u8]) -> Result<(ControlFiles, Vec<Shown>), DebError> {
    let mut entries = Vec::new();
    let control = DebReader::open(bytes)?.data(|entry| {
        let mut content = String::new();
        entry
            .read_to_string(&mut content)
            .map_err(|error| entry.damaged(error))?;
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        entries.push((path, entry.kind.clone(), content));
        Ok::<_, DebError>(())
    })?;
    Ok((control, entries))
}

fn refused(data: &[(tar::Header, &[u8])]) -> EntryError {
    match entries(&deb(&tar(data))) {
        Err(DebError::Entry { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

fn sample() -> Vec<u8> {
    tar(&[
        (header("./", tar::EntryType::Directory, 0), b""),
        (header("./usr/", tar::EntryType::Directory, 0), b""),
        file("./usr/a", b"content"),
        link("./usr/hard", tar::EntryType::Link, "./usr/a"),
        link("./usr/soft", tar::EntryType::Symlink, "../a/./b"),
    ])
}

#[test]
fn reads_every_compression() {
    let (control, sample) = (control(), sample());
    let debs = [
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            ("data.tar", &sample),
        ]),
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("_skipped", b"odd"),
            ("control.tar.gz/", &gz(&control)),
            ("_more", b"odd"),
            ("data.tar.xz/", &xz(&sample)),
            ("_signature", b"also read over"),
        ]),
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", &xz(&control)),
            ("data.tar.zst", &zst(&sample)),
        ]),
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.zst", &zst(&control)),
            ("data.tar.gz", &gz(&sample)),
        ]),
    ];
    for deb in debs {
        let (control, entries) = entries(&deb).expect("a good package");
        assert_eq!(control.keys().collect::<Vec<_>>(), ["control", "postinst"]);
        assert_eq!(control["postinst"].mode, 0o755);
        assert_eq!(control["postinst"].bytes, b"#!/bin/sh\n");
        let entry = |path: &str, kind, content: &str| (path.into(), kind, content.into());
        assert_eq!(
            entries,
            [
                entry("", EntryKind::Directory, ""),
                entry("usr", EntryKind::Directory, ""),
                entry("usr/a", EntryKind::File, "content"),
                entry("usr/hard", EntryKind::HardLink(b"usr/a".to_vec()), ""),
                entry("usr/soft", EntryKind::Symlink(b"../a/./b".to_vec()), ""),
            ]
        );
    }
}

#[test]
fn tells_owners_modes_and_times() {
    let bytes = deb(&sample());
    let deb = DebReader::open(&*bytes).expect("a good package");
    deb.data(|entry| {
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o4755, 0, 42));
        assert_eq!(
            (entry.user.as_deref(), entry.group.as_deref()),
            (None, Some("shadow"))
        );
        assert_eq!(entry.mtime, 1_700_000_000);
        Ok::<_, DebError>(())
    })
    .expect("a good package");
}

/// GNU tar, and so dpkg-deb, writes names over 100 bytes as an entry before the entry.
#[test]
fn applies_long_names_and_records() {
    let long = "d/".repeat(80) + "name";
    let mut owned = header("./short", tar::EntryType::Regular, 1);
    owned.set_cksum();
    let data = tar(&[
        (
            header("././@LongLink", tar::EntryType::GNULongName, 165),
            format!("{long}\0").as_bytes(),
        ),
        (
            header("././@LongLink", tar::EntryType::GNULongLink, 9),
            b"../other\0",
        ),
        link("./cut", tar::EntryType::Symlink, "cut"),
        (
            header("PaxHeaders/x", tar::EntryType::XHeader, 37),
            "18 path=./päth/x\n19 mtime=12345.678\n".as_bytes(),
        ),
        (owned, b"x"),
        file("./after", b""),
    ]);
    let (_, entries) = entries(&deb(&data)).expect("a good package");
    assert_eq!(entries[0].0, long);
    assert_eq!(entries[0].1, EntryKind::Symlink(b"../other".to_vec()));
    assert_eq!(entries[1].0, "päth/x");
    assert_eq!(entries[2].0, "after");
}

#[test]
fn refuses_entries_no_package_may_have() {
    assert_eq!(refused(&[file("./a/../../b", b"")]), EntryError::Path);
    assert_eq!(
        refused(&[link("./a", tar::EntryType::Link, "../b")]),
        EntryError::Path
    );
    assert_eq!(
        refused(&[link("./a", tar::EntryType::Symlink, "")]),
        EntryError::Target
    );
    let sparse = header("./a", tar::EntryType::GNUSparse, 0);
    assert_eq!(refused(&[(sparse, b"")]), EntryError::Type('S'));
    let name = header("././@LongLink", tar::EntryType::GNULongName, 2 << 20);
    assert_eq!(
        refused(&[(name, &[b'a'; 2 << 20])]),
        EntryError::NameTooLong
    );
}

/// A reader that believes the ustar header and one that believes the PAX record would see
/// different files (RUSTSEC-2025-0111): neither is believed.
#[test]
fn refuses_headers_that_disagree_about_a_length() {
    let record = header("PaxHeaders/a", tar::EntryType::XHeader, 11);
    let entry = file("./a", b"");
    assert_eq!(
        refused(&[(record, b"11 size=99\n"), entry]),
        EntryError::Size { ustar: 0, pax: 99 }
    );
}

#[test]
fn refuses_what_is_no_package() {
    let told =
        |members: &[(&str, &[u8])]| entries(&ar(members)).expect_err("no package").to_string();
    let control = control();
    assert!(matches!(
        entries(b"PK\x03\x04 and more"),
        Err(DebError::NotAr)
    ));
    assert!(matches!(entries(b""), Err(DebError::Truncated { .. })));
    assert_eq!(
        told(&[("control.tar", b"")]),
        "the package has `control.tar` where debian-binary must stand"
    );
    assert_eq!(
        told(&[("debian-binary", b"3.0\n")]),
        "the package's format is `3.0\n`; only 2.x can be read"
    );
    assert_eq!(
        told(&[("debian-binary", b"2.0\n"), ("data.tar", b"")]),
        "the package has `data.tar` where control.tar must stand"
    );
    assert_eq!(
        told(&[("debian-binary", b"2.0\n"), ("control.tar.lzma", b"")]),
        "control.tar.lzma is compressed in a way that cannot be read (known: none, gz, xz, zst)"
    );
    assert_eq!(
        told(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&[]))]),
        "the package has no control file"
    );
    assert_eq!(
        told(&[("debian-binary", b"2.0\n"), ("control.tar", &control)]),
        "the package is cut short in an ar header"
    );
    assert_eq!(
        told(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            ("data.tar.xz", b"\xfd7zXZ\0bad")
        ]),
        "data.tar.xz is damaged"
    );
}

#[test]
fn notices_every_cut() {
    let (control, sample) = (gz(&control()), sample());
    for (name, data) in [
        ("data.tar", sample.clone()),
        ("data.tar.gz", gz(&sample)),
        ("data.tar.xz", xz(&sample)),
        ("data.tar.zst", zst(&sample)),
    ] {
        let deb = ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &control),
            (name, &data),
        ]);
        // The byte of padding after the last member is no loss.
        let whole = deb.len() - data.len() % 2;
        assert!(entries(&deb[..whole]).is_ok());
        for length in 0..whole {
            let error = entries(&deb[..length]).expect_err("cut short");
            assert!(
                matches!(error, DebError::Truncated { .. }),
                "{name} at {length}: {error:?}"
            );
        }
    }
}

/// Each of the three formats ends in a checksum, which must be read even though the tar ends
/// before it.
#[test]
fn notices_damage_behind_the_last_entry() {
    for (name, mut data) in [
        ("data.tar.gz", gz(&sample())),
        ("data.tar.xz", xz(&sample())),
    ] {
        let at = if name.ends_with("gz") {
            data.len() - 6
        } else {
            data.len() - 30
        };
        data[at] ^= 1;
        let control = control();
        let deb = ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            (name, &data),
        ]);
        assert!(
            matches!(entries(&deb), Err(DebError::Damaged { .. })),
            "{name}"
        );
    }
}

#[test]
fn bounds_the_control_files() {
    let size = 65 << 20;
    let content = vec![0; size];
    let big = tar(&[(
        header("./md5sums", tar::EntryType::Regular, size as u64),
        &content,
    )]);
    let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &zst(&big))]);
    assert!(matches!(entries(&deb), Err(DebError::ControlTooLong)));
}
