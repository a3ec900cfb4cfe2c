//! OCI config, manifest, index and the archive every engine reads.
//!
//! [`Image::describe`] turns layers and a configuration into the documents of the OCI image
//! specification 1.1, in one canonical form: [`canonical`] JSON, sorted and without blanks, so that
//! equal images have equal digests. The documents go into one tar that is an OCI layout and a
//! docker-archive at once; [`entry`] gives its entries' headers.

mod archive;
mod reference;

use std::collections::BTreeMap;

use kasmforge_digest::Digest;
use oci_spec::image as oci;
use serde_json::{Map, Value, json};

pub use archive::{BLOCK, header, padded};
pub use reference::{InvalidReference, Reference};

/// The media type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layer as an image names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// The digest of its uncompressed tar; as layers are stored uncompressed, its blob's too.
    pub diff_id: Digest,
    /// The length of the tar in bytes.
    pub size: u64,
    /// What made it, for `docker history`.
    pub created_by: String,
}

/// How a layer's tar is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is: the blob is what the diff ID names.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878). Engines before Docker 23 cannot read it.
    Zstd,
}

/// A layer as it is stored: what a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// How they are compressed.
    pub compression: Compression,
}

impl From<&Layer> for Blob {
    fn from(layer: &Layer) -> Self {
        Self {
            digest: layer.diff_id,
            size: layer.size,
            compression: Compression::None,
        }
    }
}

/// How containers of the image run.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Configuration {
    /// The user: a name or number.
    pub user: Option<String>,
    /// The folder the entry point starts in.
    pub working_directory: Option<String>,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Ports, as `6901/tcp`.
    pub ports: Vec<String>,
    /// Folders that are volumes.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How an engine finds out whether a container is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// The signal that asks PID 1 to end.
    pub stop_signal: Option<String>,
}

/// An engine's health check (an extension of Docker's to the OCI configuration); in seconds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Healthcheck {
    /// The command.
    pub command: Vec<String>,
    /// Seconds between two runs.
    pub interval: u64,
    /// Seconds after which a run counts as failed.
    pub timeout: u64,
    /// Seconds at the start in which failures do not count.
    pub start_period: u64,
    /// Failures in a row that make a container unhealthy.
    pub retries: u64,
}

/// A document of an image: its bytes, and their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The digest.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// All documents of one image for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The configuration. Its digest is the image's id in engines with the classic store.
    pub config: Document,
    /// The manifest. Its digest is what registries call the image.
    pub manifest: Document,
    /// `index.json` of the OCI layout.
    pub index: Vec<u8>,
    /// `manifest.json`, which engines with the classic store read.
    pub docker_manifest: Vec<u8>,
    /// `oci-layout`.
    pub layout: Vec<u8>,
}

/// A document that OCI's own types refuse.
#[derive(Debug, thiserror::Error)]
#[error("the image cannot be described")]
pub struct DescribeError(#[from] oci_spec::OciSpecError);

impl Image {
    /// Describes an image.
    ///
    /// `architecture` is Debian's name; `created` is in seconds since 1970.
    ///
    /// # Errors
    /// When OCI's types refuse a value; this would be a mistake of kasmforge.
    pub fn describe(
        configuration: &Configuration,
        layers: &[Layer],
        references: &[Reference],
        architecture: &str,
        created: i64,
    ) -> Result<Self, DescribeError> {
        let config = config_document(configuration, layers, architecture, created)?;
        let blobs: Vec<Blob> = layers.iter().map(Blob::from).collect();
        let annotations = annotations(configuration, created);
        Self::assemble(config, &blobs, references, architecture, &annotations)
    }

    /// Puts the documents together for layers stored in any way; the configuration stays the same,
    /// since it names them by their uncompressed tars.
    ///
    /// # Errors
    /// As [`Image::describe`].
    pub fn assemble(
        config: Document,
        blobs: &[Blob],
        references: &[Reference],
        architecture: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, DescribeError> {
        let manifest = manifest_document(&config, blobs, annotations)?;
        let platform = json!({ "architecture": go_architecture(architecture), "os": "linux" });
        let manifests: Vec<Value> = references
            .iter()
            .map(|reference| {
                json!({
                    "mediaType": MANIFEST_TYPE,
                    "digest": manifest.digest.to_string(),
                    "size": manifest.bytes.len(),
                    "platform": platform,
                    "annotations": {
                        // The containerd store reads the first, podman and skopeo the second.
                        "io.containerd.image.name": reference.canonical(),
                        "org.opencontainers.image.ref.name": reference.tag(),
                    },
                })
            })
            .collect();
        let index = canonical(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        }));
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let docker_manifest = canonical(&json!([{
            "Config": blob(&config.digest),
            "RepoTags": references.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Layers": blobs.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
        }]));
        let layout = canonical(&json!({ "imageLayoutVersion": "1.0.0" }));
        Ok(Self {
            config,
            manifest,
            index,
            docker_manifest,
            layout,
        })
    }
}

impl Document {
    /// A document of these bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes,
        }
    }
}

/// Debian's name of an architecture in Go's words, which OCI uses.
fn go_architecture(debian: &str) -> &str {
    match debian {
        "i386" => "386",
        "armhf" | "armel" => "arm",
        "ppc64el" => "ppc64le",
        other => other,
    }
}

fn config_document(
    configuration: &Configuration,
    layers: &[Layer],
    architecture: &str,
    created: i64,
) -> Result<Document, DescribeError> {
    let created = rfc3339(created);
    let mut config = oci::ConfigBuilder::default();
    if let Some(user) = &configuration.user {
        config = config.user(user.clone());
    }
    if let Some(folder) = &configuration.working_directory {
        config = config.working_dir(folder.clone());
    }
    if let Some(signal) = &configuration.stop_signal {
        config = config.stop_signal(signal.clone());
    }
    if !configuration.entrypoint.is_empty() {
        config = config.entrypoint(configuration.entrypoint.clone());
    }
    if !configuration.command.is_empty() {
        config = config.cmd(configuration.command.clone());
    }
    if !configuration.ports.is_empty() {
        config = config.exposed_ports(configuration.ports.clone());
    }
    if !configuration.volumes.is_empty() {
        config = config.volumes(configuration.volumes.clone());
    }
    let environment: Vec<String> = configuration
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let labels: std::collections::HashMap<String, String> =
        configuration.labels.clone().into_iter().collect();
    let config = config.env(environment).labels(labels).build()?;
    let history: Vec<oci::History> = layers
        .iter()
        .map(|layer| {
            oci::HistoryBuilder::default()
                .created(created.clone())
                .created_by(layer.created_by.clone())
                .build()
        })
        .collect::<Result<_, _>>()?;
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    let document_value = oci::ImageConfigurationBuilder::default()
        .created(created)
        .architecture(go_architecture(architecture))
        .os(oci::Os::Linux)
        .config(config)
        .rootfs(
            oci::RootFsBuilder::default()
                .typ("layers")
                .diff_ids(diff_ids)
                .build()?,
        )
        .history(history)
        .build()?;
    let mut value = serde_json::to_value(&document_value).map_err(oci_spec::OciSpecError::SerDe)?;
    if let Some(check) = &configuration.healthcheck {
        value["config"]["Healthcheck"] = healthcheck(check);
    }
    Ok(Document::of(canonical(&value)))
}

/// Docker's health check; times are in nanoseconds there.
fn healthcheck(check: &Healthcheck) -> Value {
    const NANOSECONDS: u64 = 1_000_000_000;
    let test: Vec<&str> = std::iter::once("CMD")
        .chain(check.command.iter().map(String::as_str))
        .collect();
    json!({
        "Test": test,
        "Interval": check.interval * NANOSECONDS,
        "Timeout": check.timeout * NANOSECONDS,
        "StartPeriod": check.start_period * NANOSECONDS,
        "Retries": check.retries,
    })
}

/// What a manifest says of the image besides its parts: the labels that OCI names, and its time.
fn annotations(configuration: &Configuration, created: i64) -> BTreeMap<String, String> {
    const OCI: &str = "org.opencontainers.image.";
    let mut annotations: BTreeMap<String, String> = configuration
        .labels
        .iter()
        .filter(|(name, _)| name.starts_with(OCI))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    annotations
        .entry(format!("{OCI}created"))
        .or_insert_with(|| rfc3339(created));
    annotations
}

fn manifest_document(
    config: &Document,
    blobs: &[Blob],
    annotations: &BTreeMap<String, String>,
) -> Result<Document, DescribeError> {
    let digest = |digest: &Digest| oci::Digest::try_from(digest.to_string());
    let described = oci::Descriptor::new(
        oci::MediaType::ImageConfig,
        config.bytes.len() as u64,
        digest(&config.digest)?,
    );
    let layers: Vec<oci::Descriptor> = blobs
        .iter()
        .map(|blob| {
            let kind = match blob.compression {
                Compression::None => oci::MediaType::ImageLayer,
                Compression::Gzip => oci::MediaType::ImageLayerGzip,
                Compression::Zstd => oci::MediaType::ImageLayerZstd,
            };
            Ok(oci::Descriptor::new(kind, blob.size, digest(&blob.digest)?))
        })
        .collect::<Result<_, oci_spec::OciSpecError>>()?;
    let manifest = oci::ImageManifestBuilder::default()
        .schema_version(oci::SCHEMA_VERSION)
        .media_type(oci::MediaType::ImageManifest)
        .config(described)
        .layers(layers)
        .annotations(
            annotations
                .clone()
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        )
        .build()?;
    let value = serde_json::to_value(&manifest).map_err(oci_spec::OciSpecError::SerDe)?;
    Ok(Document::of(canonical(&value)))
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The one form of a JSON value: object members sorted by name, no blanks.
///
/// Sorted here and not left to the map type: another crate of a build may make serde_json keep the
/// order of insertion, and OCI's own types keep some maps in no order at all.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut names: Vec<&String> = members.keys().collect();
                names.sort();
                let mut object = Map::new();
                for name in names {
                    object.insert(name.clone(), sorted(&members[name]));
                }
                Value::Object(object)
            }
            Value::Array(values) => values.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Image {
        let configuration = Configuration {
            user: Some("1000".into()),
            entrypoint: vec!["/init".into()],
            environment: BTreeMap::from([("B".into(), "2".into()), ("A".into(), "1".into())]),
            ports: vec!["6901/tcp".into(), "4901/tcp".into()],
            labels: (0..20)
                .map(|n| (format!("label-{n}"), "x".into()))
                .collect(),
            healthcheck: Some(Healthcheck {
                command: vec!["/health".into()],
                interval: 5,
                timeout: 3,
                start_period: 20,
                retries: 3,
            }),
            ..Configuration::default()
        };
        let layers = [Layer {
            diff_id: Digest::of(b"layer"),
            size: 5,
            created_by: "kasmforge: bash".into(),
        }];
        let reference = "kasmforge/desktop:latest".parse().expect("a reference");
        Image::describe(
            &configuration,
            &layers,
            &[reference],
            "amd64",
            1_790_000_000,
        )
        .expect("described")
    }

    #[test]
    fn equal_images_have_equal_documents() {
        // OCI's types hold labels in a map whose order changes from one value to the next.
        assert_eq!(sample(), sample());
        let text = String::from_utf8(sample().config.bytes).expect("JSON");
        assert!(
            text.contains(r#""Env":["A=1","B=2"],"ExposedPorts":{"4901/tcp":{},"6901/tcp":{}}"#)
        );
        assert!(
            text.contains(r#""Healthcheck":{"Interval":5000000000,"Retries":3"#),
            "{text}"
        );
        assert!(text.contains(r#""created":"2026-09-21T"#), "{text}");
    }

    #[test]
    fn ocis_own_types_read_the_documents_back() {
        let image = sample();
        let manifest = oci::ImageManifest::from_reader(&image.manifest.bytes[..]).expect("read");
        assert_eq!(
            manifest.config().digest().to_string(),
            image.config.digest.to_string()
        );
        let config = oci::ImageConfiguration::from_reader(&image.config.bytes[..]).expect("read");
        assert_eq!(config.rootfs().diff_ids().len(), 1);
        let index = oci::ImageIndex::from_reader(&image.index[..]).expect("read");
        assert_eq!(index.manifests().len(), 1);
    }
}
