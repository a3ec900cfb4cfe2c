//! Inputs as an artifact of the OCI image layout (image-spec 1.1).
//!
//! The manifest's `artifactType` says what it is; its config is the lock, so that nothing can be
//! pushed without the text that gives the blobs their meaning; its layers are the inputs, each with
//! its file's name as a title. 500 packages make a manifest of 200 kB; registries take 4 MB.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kasmforge_digest::Digest;
use kasmforge_image::canonical;
use serde_json::{Value, json};

use super::{Input, put};
use crate::whole_file;

/// What the artifact is.
const ARTIFACT: &str = "application/vnd.kasmforge.inputs.v1";

/// What its config is.
const LOCK: &str = "application/vnd.kasmforge.lock.v2+toml";

/// What a package is, by IANA's list.
const PACKAGE: &str = "application/vnd.debian.binary-package";

/// What a download is: whatever it may be.
const DOWNLOAD: &str = "application/octet-stream";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Where a blob is.
pub(super) fn blob(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// Writes the lock, the manifest and the index of inputs that are there; gives the files written
/// below `blobs`.
pub(super) fn write(
    folder: &Path,
    lock: &str,
    inputs: &[Input],
    sizes: &BTreeMap<Digest, u64>,
) -> anyhow::Result<Vec<PathBuf>> {
    let layers: Vec<Value> = inputs
        .iter()
        .map(|input| {
            let package = input.path.starts_with("packages/");
            let title = match package {
                true => input.path.trim_start_matches("packages/"),
                false => input.name.rsplit('/').next().unwrap_or(&input.name),
            };
            json!({
                "mediaType": if package { PACKAGE } else { DOWNLOAD },
                "digest": input.digest,
                "size": sizes[&input.digest],
                "annotations": { "org.opencontainers.image.title": title },
            })
        })
        .collect();
    let config = keep(folder, lock.as_bytes())?;
    let manifest = canonical(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": { "mediaType": LOCK, "digest": config, "size": lock.len() },
        "layers": layers,
    }));
    let digest = keep(folder, &manifest)?;
    let index = canonical(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "digest": digest,
            "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": "inputs" },
        }],
    }));
    whole_file::write(
        &folder.join("oci-layout"),
        b"{\"imageLayoutVersion\":\"1.0.0\"}",
    )?;
    whole_file::write(&folder.join("index.json"), &index)?;
    Ok(vec![blob(folder, &config), blob(folder, &digest)])
}

fn keep(folder: &Path, bytes: &[u8]) -> anyhow::Result<Digest> {
    let digest = Digest::of(bytes);
    let path = blob(folder, &digest);
    put(&path, &digest, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(digest)
}

/// The blobs of the artifact that is there; none where there is none.
pub(super) fn earlier(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let read = |path: &Path| -> anyhow::Result<Option<Value>> {
        match fs::read(path) {
            Ok(bytes) => {
                Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is no JSON", path.display())
                })?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    };
    let mut found = BTreeSet::new();
    let Some(index) = read(&folder.join("index.json"))? else {
        return Ok(found);
    };
    for manifest in index["manifests"].as_array().into_iter().flatten() {
        if manifest["artifactType"] != ARTIFACT {
            bail!(
                "{} is a layout of other things; name a folder of its own",
                folder.display()
            );
        }
        let of = |value: &Value| -> Option<PathBuf> {
            let digest: Digest = value["digest"].as_str()?.parse().ok()?;
            Some(blob(folder, &digest))
        };
        let Some(path) = of(manifest) else { continue };
        if let Some(manifest) = read(&path)? {
            found.extend(of(&manifest["config"]));
            found.extend(
                manifest["layers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(of),
            );
        }
        found.insert(path);
    }
    Ok(found)
}
