//! What `build --output` writes, read by other programs: every form is the same image.
//!
//! Needs `skopeo` and `umoci`, the two that read images without an engine.

mod support {
    pub(crate) mod oracle;
    pub(crate) mod project;
}

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::oracle::sha256;
use support::project::{Project, debian};

const FORMATS: [&str; 4] = ["archive", "oci-archive", "docker-archive", "oci-dir"];
const COMPRESSIONS: [&str; 3] = ["none", "gzip", "zstd"];

fn project() -> Project {
    let project = Project::new();
    let text = "[packages]\ninstall = [\"usr-is-merged\"]\n[[files]]\ntarget = \"/etc/probe\"\n\
                text = \"of the test\"\nmode = \"0640\"\n";
    project.define("desktop", &format!("{}{text}", debian()));
    project
}

/// Builds and writes out; what was told of the output.
fn written(project: &Project, path: &Path, format: &str, compression: &str) -> Value {
    let path = path.display().to_string();
    let ran = project.run(&[
        "build",
        "desktop",
        "--json",
        "--output",
        &path,
        "--format",
        format,
        "--compression",
        compression,
    ]);
    assert_eq!(ran.status, 0, "{format} {compression}: {}", ran.errors);
    let told: Value = serde_json::from_str(&ran.output).expect("JSON on stdout");
    told["output"].clone()
}

/// Runs one of the two; its output.
fn told(command: &mut Command) -> String {
    let output = command.output().expect("skopeo and umoci are installed");
    let (words, errors) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(errors)
    );
    String::from_utf8_lossy(words).trim().to_owned()
}

/// What skopeo reads an output as.
fn readings(format: &str, path: &Path) -> Vec<String> {
    let forms: &[&str] = match format {
        "archive" => &["oci-archive", "docker-archive"],
        "oci-dir" => &["oci"],
        _ => &[format],
    };
    let one = |form: &&str| format!("{form}:{}", path.display());
    forms.iter().map(one).collect()
}

/// The SHA-256 of every file below a folder.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.display().to_string(), sha256(&path));
        }
    }
    found
}

#[test]
fn every_form_is_the_same_image() {
    let project = project();
    let built = project.build("desktop");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let configuration = |of: &str| -> Value {
        let text = told(Command::new("skopeo").args(["inspect", "--config", "--raw", of]));
        serde_json::from_str(&text).expect("a configuration")
    };
    let wanted = configuration(&format!("oci-archive:{}", built.archive.display()));
    let mut sizes = BTreeMap::new();
    for compression in COMPRESSIONS {
        for format in FORMATS {
            let path = folder.path().join(format!("{format}-{compression}"));
            let output = written(&project, &path, format, compression);
            for reading in readings(format, &path) {
                assert_eq!(configuration(&reading), wanted, "{reading}");
                // Whether each blob is what it is called: skopeo hashes what it copies.
                let copy = folder.path().join("copy");
                let to = format!("dir:{}", copy.display());
                told(Command::new("skopeo").args(["copy", "--quiet", &reading, &to]));
                fs::remove_dir_all(copy).expect("a copy");
                if reading.starts_with("oci") {
                    let manifest = ["inspect", "--format", "{{.Digest}}", &reading];
                    let digest = told(Command::new("skopeo").args(manifest));
                    assert_eq!(output["digest"], digest, "{reading}");
                }
            }
            sizes.insert((format, compression), output["size"].as_u64());
        }
    }
    // The plain one is the store's own.
    let plain = folder.path().join("archive-none");
    assert_eq!(sha256(&plain), sha256(&built.archive));
    for format in FORMATS {
        let size = |compression| sizes[&(format, compression)];
        assert!(
            size("zstd") < size("none") && size("gzip") < size("none"),
            "{sizes:?}"
        );
    }

    // umoci checks each layer against its diff ID, and what it unpacks is what was asked for.
    for compression in ["none", "gzip"] {
        let layout = folder.path().join(format!("oci-dir-{compression}"));
        let names = told(
            Command::new("umoci")
                .args(["list", "--layout"])
                .arg(&layout),
        );
        let name = names.lines().next().expect("a name");
        let (image, bundle) = (
            format!("{}:{name}", layout.display()),
            folder.path().join("bundle"),
        );
        told(
            Command::new("umoci")
                .args(["unpack", "--rootless", "--image", &image])
                .arg(&bundle),
        );
        let probe = bundle.join("rootfs/etc/probe");
        assert_eq!(
            fs::read_to_string(&probe).expect("the file"),
            "of the test",
            "{image}"
        );
        let mode = fs::metadata(&probe).expect("it").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        told(Command::new("chmod").args(["-R", "u+rwX"]).arg(&bundle));
        fs::remove_dir_all(bundle).expect("a bundle");
    }
}

#[test]
fn what_is_written_twice_is_equal_and_nothing_foreign_is_lost() {
    let project = project();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    for compression in ["gzip", "zstd"] {
        let [one, two] = ["one", "two"].map(|name| {
            written(&project, &at(name), "archive", compression);
            sha256(&at(name))
        });
        assert_eq!(one, two, "{compression}");
    }
    // What it was made of, by digest, and nothing of here and now.
    let [one, two] = ["one.json", "two.json"].map(|name| {
        let (image, record) = (at("recorded"), at(name));
        let words = [image.display().to_string(), record.display().to_string()];
        let zstd = [
            "--compression",
            "zstd",
            "--output",
            &words[0],
            "--record",
            &words[1],
        ];
        let ran = project.run(&[&["build", "desktop"], &zstd[..]].concat());
        assert_eq!(ran.status, 0, "{}", ran.errors);
        fs::read_to_string(record).expect("a record")
    });
    assert_eq!(one, two);
    let record: Value = serde_json::from_str(&one).expect("JSON");
    let built = project.build("desktop");
    assert_eq!(record["image"]["digest"], built.digest);
    assert_eq!(record["output"]["compressor"], "libzstd level 3");
    let definition = project.path().join("workspaces/desktop.toml");
    assert_eq!(
        record["inputs"]["definition"]["workspaces/desktop.toml"],
        format!("sha256:{}", sha256(&definition))
    );
    let lock = project.lock().expect("a lock");
    let packages = record["inputs"]["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), lock.matches("[[package]]").count());
    for package in packages {
        assert!(lock.contains(package["sha256"].as_str().expect("a digest")));
    }
    assert!(!one.contains(&project.path().display().to_string()));

    // A layout is replaced by another; a folder that is none is left as it is.
    written(&project, &at("layout"), "oci-dir", "none");
    let plain = contents(&at("layout"));
    written(&project, &at("layout"), "oci-dir", "gzip");
    assert_ne!(contents(&at("layout")), plain);
    written(&project, &at("layout"), "oci-dir", "none");
    assert_eq!(contents(&at("layout")), plain);

    fs::create_dir(at("mine")).expect("a folder");
    fs::write(at("mine/file"), "kept").expect("a file");
    for (format, path) in [("oci-dir", "mine"), ("archive", "mine")] {
        let path = at(path).display().to_string();
        let ran = project.run(&["build", "desktop", "--output", &path, "--format", format]);
        ran.failed_with(&["is there and is no OCI layout; name another place"]);
    }
    assert_eq!(
        fs::read_to_string(at("mine/file")).expect("it is there"),
        "kept"
    );
    let left = fs::read_dir(folder.path()).expect("the folder");
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.as_encoded_bytes().starts_with(b".")
    });
    assert_eq!(hidden.count(), 0, "something temporary is left");
}
