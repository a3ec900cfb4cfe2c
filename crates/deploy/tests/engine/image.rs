//! Tiny images for a real engine: busybox, and a page to serve.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use kasmforge_deploy::{ArchivePart, ImageArchive};
use kasmforge_digest::Digest;
use serde_json::{Value, json};

/// What an image serves on port 8080, for as long as it runs.
pub(crate) fn httpd(page: &str) -> Recipe {
    Recipe {
        name: "desktop".into(),
        page: page.into(),
        command: "echo serving; exec httpd -f -p 8080 -h /www".into(),
        config: json!({}),
        architecture: None,
    }
}

/// What an image is made from.
pub(crate) struct Recipe {
    pub(crate) name: String,
    /// The content of `/www/index.html`.
    pub(crate) page: String,
    /// What its shell runs.
    pub(crate) command: String,
    /// Laid over the image's configuration.
    pub(crate) config: Value,
    /// An architecture other than this machine's, as Go names it.
    pub(crate) architecture: Option<&'static str>,
}

impl Recipe {
    /// Writes the image's archive into a folder, as it is built: with uncompressed layers.
    pub(crate) fn write(&self, folder: &Path) -> ImageArchive {
        let (archive, image) = self.archive(|layer| layer.to_vec());
        let path = folder.join(format!("{}.tar", image.manifest.short()));
        std::fs::write(&path, archive).expect("an archive");
        ImageArchive { path, ..image }
    }

    /// The image's archive as a registry or another tool would have made it: with gzipped layers,
    /// and named.
    pub(crate) fn gzipped(&self) -> Vec<u8> {
        let (archive, _) = self.archive(|layer| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(layer).expect("memory");
            encoder.finish().expect("memory")
        });
        archive
    }

    fn archive(&self, compress: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, ImageArchive) {
        let layers = [
            base_layer(),
            layer(&[("www/index.html", self.page.as_bytes(), 0o644)]),
        ];
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let blobs = layers.map(|layer| compress(&layer));
        let config = self.config(&diff_ids);
        let descriptor = |kind: &str, content: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": Digest::of(content).to_string(),
                "size": content.len(),
            })
        };
        let kind = |blob: &[u8]| match blob.starts_with(&[0x1f, 0x8b]) {
            true => "layer.v1.tar+gzip",
            false => "layer.v1.tar",
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", config.as_bytes()),
            "layers": blobs.iter().map(|blob| descriptor(kind(blob), blob)).collect::<Vec<_>>(),
        })
        .to_string();
        let reference = format!("docker.io/kasmforge/{}:latest", self.name);
        let mut named = descriptor("manifest.v1+json", manifest.as_bytes());
        named["annotations"] = json!({ "io.containerd.image.name": reference });
        let index = json!({ "schemaVersion": 2, "manifests": [named] }).to_string();
        let path = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
        let docker = json!([{
            "Config": path(config.as_bytes()),
            "RepoTags": [reference],
            "Layers": blobs.iter().map(|blob| path(blob)).collect::<Vec<_>>(),
        }])
        .to_string();

        let mut archive = Archive {
            bytes: Vec::new(),
            parts: Vec::new(),
        };
        for blob in &blobs {
            archive.blob(blob);
        }
        archive.blob(config.as_bytes());
        archive.blob(manifest.as_bytes());
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, None);
        archive.file("index.json", index.as_bytes(), None);
        archive.file("manifest.json", docker.as_bytes(), None);
        archive.bytes.resize(archive.bytes.len() + 1024, 0);
        let image = ImageArchive {
            path: PathBuf::new(),
            manifest: Digest::of(manifest.as_bytes()),
            config: Digest::of(config.as_bytes()),
            diff_ids,
            reference,
            parts: archive.parts,
        };
        (archive.bytes, image)
    }

    fn config(&self, diff_ids: &[Digest]) -> String {
        let mut settings = json!({
            "Cmd": ["/bin/sh", "-c", self.command],
            "Env": ["PATH=/bin", format!("PAGE={}", self.page)],
            "Labels": { "page": self.page },
            "ExposedPorts": { "8080/tcp": {} },
            "StopSignal": "SIGKILL",
        });
        for (key, value) in self.config.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": self.architecture.unwrap_or(architecture),
            "os": "linux",
            "config": settings,
            "rootfs": {
                "type": "layers",
                "diff_ids": diff_ids.iter().map(Digest::to_string).collect::<Vec<_>>(),
            },
        })
        .to_string()
    }
}

struct Archive {
    bytes: Vec<u8>,
    parts: Vec<ArchivePart>,
}

impl Archive {
    fn blob(&mut self, content: &[u8]) {
        let digest = Digest::of(content);
        self.file(
            &format!("blobs/sha256/{}", digest.hex()),
            content,
            Some(digest),
        );
    }

    fn file(&mut self, name: &str, content: &[u8], digest: Option<Digest>) {
        let offset = self.bytes.len() as u64;
        let entry = tar(&[(name, content, 0o644)]);
        self.bytes.extend_from_slice(&entry);
        let length = entry.len() as u64;
        self.parts.push(ArchivePart {
            name: name.into(),
            offset,
            length,
            digest,
        });
    }
}

/// Files as tar entries, without the blocks that end a tar.
fn tar(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = tar::Builder::new(&mut bytes);
    for (name, content, mode) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        builder
            .append_data(&mut header, name, *content)
            .expect("an entry");
    }
    builder.finish().expect("entries");
    drop(builder);
    let end = bytes.len() - 1024;
    bytes.truncate(end);
    bytes
}

fn layer(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut bytes = tar(files);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A static busybox under the names that are needed.
fn base_layer() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("these tests run a static busybox: apt-get install busybox-static");
    let mut bytes = Vec::new();
    let mut builder = tar::Builder::new(&mut bytes);
    let mut header = tar::Header::new_ustar();
    header.set_size(busybox.len() as u64);
    header.set_mode(0o755);
    builder
        .append_data(&mut header, "bin/busybox", &*busybox)
        .expect("an entry");
    for name in [
        "sh", "httpd", "cat", "test", "sleep", "touch", "echo", "mkdir", "rm",
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        builder
            .append_link(&mut header, format!("bin/{name}"), "busybox")
            .expect("a link");
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o1777);
    builder
        .append_data(&mut header, "tmp/", std::io::empty())
        .expect("a folder");
    builder.finish().expect("a layer");
    drop(builder);
    bytes
}
