//! GNU tar as the oracle: it must read back from our tar exactly the tree we wrote.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use kasmforge_digest::Digest;
use kasmforge_tree::tar::{self, Contents};
use kasmforge_tree::{Entry, Node, Tree, TreePath};

/// Files whose content is their own path.
struct Names;

impl Contents for Names {
    fn open(&self, path: &TreePath, _: &Entry) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(io::Cursor::new(path.as_bytes().to_vec())))
    }
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).expect("clean")
}

fn file(at: &TreePath) -> Entry {
    Entry::file(
        0o640,
        1_700_000_000,
        Digest::of(at.as_bytes()),
        at.as_bytes().len() as u64,
    )
}

fn sample() -> Tree {
    let mut tree = Tree::new();
    let long = "d/".repeat(90) + "long-name";
    for name in [
        "usr/bin/tool",
        long.as_str(),
        "name with spaces",
        "ünïcode",
        "100-bytes",
    ] {
        let at = path(name.as_bytes());
        tree.insert(at.clone(), file(&at));
    }
    let exactly_100 = path(&[b'x'; 100]);
    tree.insert(exactly_100.clone(), file(&exactly_100));
    let over_100 = path(&[b'y'; 101]);
    tree.insert(over_100.clone(), file(&over_100));
    let binary = path(b"not-\xff-utf8");
    tree.insert(binary.clone(), file(&binary));
    let linked = path(b"usr/bin/zz-second-name");
    let mut link = file(&path(b"usr/bin/tool"));
    if let Node::File { link, .. } = &mut link.node {
        *link = Some(path(b"usr/bin/tool"));
    }
    tree.insert(linked, link);
    tree.insert(path(b"a-link"), Entry::symlink(&[b't'; 150], 1_600_000_000));
    tree.insert(path(b"pipe"), Entry::new(0o600, 5, Node::Fifo));
    let mut owned = file(&path(b"owned")).owned(3_000_000, 42);
    owned.mode = 0o4755;
    tree.insert(path(b"owned"), owned);
    tree.complete_parents();
    tree
}

#[test]
fn gnu_tar_reads_back_what_was_written() {
    let tree = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("layer.tar");
    let mut out = Vec::new();
    tar::write(&tree, &Names, &mut out).expect("memory does not fail");
    assert_eq!(out.len() as u64, tar::length(&tree));
    File::create(&archive)
        .and_then(|mut file| file.write_all(&out))
        .expect("written");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("made");
    let status = Command::new("tar")
        .args(["--extract", "--same-permissions", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&root)
        .status()
        .expect("GNU tar runs");
    assert!(status.success());
    let as_root = root.metadata().expect("there").uid() == 0;
    for (at, entry) in tree.iter() {
        check(&root, at, entry, as_root);
    }
}

fn check(root: &Path, at: &TreePath, entry: &Entry, as_root: bool) {
    let on_disk = root.join(at.as_path());
    let found = on_disk
        .symlink_metadata()
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(found.mtime(), entry.mtime, "{at}");
    if as_root {
        assert_eq!((found.uid(), found.gid()), (entry.uid, entry.gid), "{at}");
    }
    match &entry.node {
        Node::Symlink(target) => {
            let read = fs::read_link(&on_disk).expect("a link");
            assert_eq!(read.as_os_str().as_bytes(), &target[..]);
        }
        node => {
            assert_eq!(found.permissions().mode() & 0o7777, entry.mode, "{at}");
            if let Node::File { link, .. } = node {
                let original = link.as_ref().unwrap_or(at);
                assert_eq!(fs::read(&on_disk).expect("readable"), original.as_bytes());
                assert_eq!(
                    found.nlink() > 1,
                    at.to_string().starts_with("usr/bin/"),
                    "{at}"
                );
            }
        }
    }
}

#[test]
fn a_content_of_another_size_is_noticed() {
    let at = path(b"file");
    let entry = Entry::file(0o644, 0, Digest::of(b""), 3);
    let tree: Tree = [(at, entry)].into_iter().collect();
    let error = tar::write(&tree, &Names, &mut Vec::new()).expect_err("4 bytes are not 3");
    assert!(
        error.to_string().contains("longer than recorded"),
        "{error}"
    );
}
