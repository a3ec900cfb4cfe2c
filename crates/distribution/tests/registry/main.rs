//! Against a real registry: Debian's `docker-registry`, behind a front door that breaks when it is
//! told to, and pulled back with `skopeo`.

#[path = "../../../../tests/support/registry.rs"]
mod support;

mod logins;
mod strange;

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Mutex;

use kasmforge_digest::Digest;
use kasmforge_distribution::{
    Blob, Error, Event, Fate, Image, Memory, Observer, Order, Pushed, Registry, Settings, push,
};
use support::{Fault, Front, pulled};

/// An image of layers that are nothing but bytes.
struct Sample {
    layers: Vec<Vec<u8>>,
    config: Vec<u8>,
}

impl Sample {
    fn of(layers: &[Vec<u8>]) -> Self {
        let ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        Self {
            layers: layers.to_vec(),
            config: config.to_string().into_bytes(),
        }
    }

    fn digests(&self) -> Vec<String> {
        let blobs = self.layers.iter().chain([&self.config]);
        let mut digests: Vec<_> = blobs.map(|blob| Digest::of(blob).to_string()).collect();
        digests.sort();
        digests
    }
}

impl Image for Sample {
    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn known(&self, layer: usize) -> Option<Blob> {
        let bytes = &self.layers[layer];
        Some(Blob {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        })
    }

    fn layer(&self, layer: usize) -> Result<Blob, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.known(layer).expect("they are all known"))
    }

    fn open(&self, layer: usize, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let from = usize::try_from(from).expect("a small layer");
        Ok(Box::new(Cursor::new(self.layers[layer][from..].to_vec())))
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn manifest(
        &self,
        layers: &[Blob],
    ) -> Result<(&'static str, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let layers: Vec<_> = layers
            .iter()
            .map(|blob| {
                serde_json::json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": blob.digest.to_string(),
                    "size": blob.size,
                })
            })
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&self.config).to_string(),
                "size": self.config.len(),
            },
            "layers": layers,
        });
        Ok((kind, manifest.to_string().into_bytes()))
    }
}

/// What a test remembers, and what it heard.
#[derive(Default)]
struct Notes {
    places: Mutex<BTreeMap<String, Vec<String>>>,
    events: Mutex<Vec<Event>>,
}

impl Memory for Notes {
    fn places(&self, registry: &str, digest: &Digest) -> Vec<String> {
        let places = self.places.lock().expect("no thread panics");
        let found = places.get(&format!("{registry} {digest}"));
        found.cloned().unwrap_or_default()
    }

    fn note(&self, registry: &str, repository: &str, digest: &Digest) {
        let mut places = self.places.lock().expect("no thread panics");
        let places = places.entry(format!("{registry} {digest}")).or_default();
        places.push(repository.to_owned());
    }
}

impl Observer for Notes {
    fn event(&self, event: Event) {
        self.events.lock().expect("no thread panics").push(event);
    }
}

impl Notes {
    /// Where uploads went on.
    fn resumed(&self) -> Vec<u64> {
        let events = self.events.lock().expect("no thread panics");
        let resumed = events.iter().filter_map(|event| match event {
            Event::Resumed { at, .. } => Some(*at),
            _ => None,
        });
        resumed.collect()
    }
}

fn settings() -> Settings {
    Settings {
        at_once: 4,
        ..Settings::default()
    }
}

fn pushed_with(
    settings: &Settings,
    registry: &str,
    repository: &str,
    image: &Sample,
    tags: &[&str],
    notes: &Notes,
) -> Result<Pushed, Error> {
    let registry = Registry::connect(registry, settings)?;
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let order = Order {
        tags: &tags,
        at_once: settings.at_once,
        dry: false,
    };
    push(
        &registry.repository(repository),
        image,
        &order,
        notes,
        notes,
    )
}

fn pushed(registry: &str, repository: &str, image: &Sample, notes: &Notes) -> Pushed {
    pushed_with(&settings(), registry, repository, image, &["latest"], notes).expect("pushed")
}

/// Bytes that no compressor and no test before has seen: each seed has its own.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Digest::of(&[seed]);
    while bytes.len() < length {
        bytes.extend_from_slice(block.as_bytes());
        block = Digest::of(block.as_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sent(pushed: &Pushed) -> u64 {
    let blobs = pushed.layers.iter().chain([&pushed.config]);
    blobs
        .map(|one| match one.fate {
            Fate::Sent { bytes } => bytes,
            _ => 0,
        })
        .sum()
}

#[test]
fn what_is_there_is_not_sent_again() {
    let registry = support::Registry::start();
    let (front, notes) = (Front::to(&registry, Fault::None), Notes::default());
    let mut layers: Vec<Vec<u8>> = (0..6).map(|n| noise(n, 10_000 + usize::from(n))).collect();
    // Two layers of the same bytes are one blob.
    layers.push(layers[0].clone());
    let image = Sample::of(&layers);
    let first = pushed(&front.name(), "team/desktop", &image, &notes);
    let unique: usize = layers[..6].iter().map(Vec::len).sum();
    let whole = (unique + image.config.len()) as u64;
    assert_eq!((sent(&first), front.uploaded()), (whole, whole));
    assert!(!first.already_there && first.tagged == ["latest"]);

    let folder = tempfile::tempdir().expect("a folder");
    let reference = format!("{}/team/desktop:latest", registry.name());
    let plain = ["--src-tls-verify=false"];
    let (manifest, mut blobs) = pulled(&reference, &folder.path().join("one"), &plain);
    blobs.sort();
    assert_eq!(manifest, first.digest.to_string());
    assert_eq!(blobs, image.digests());

    let again = pushed(&front.name(), "team/desktop", &image, &notes);
    assert!(again.already_there && again.tagged.is_empty());
    assert_eq!(front.uploaded(), whole, "nothing more was sent");

    // Another tag is one small document.
    let tagged = pushed_with(
        &settings(),
        &front.name(),
        "team/desktop",
        &image,
        &["latest", "1.0"],
        &notes,
    );
    assert_eq!(tagged.expect("tagged").tagged, ["1.0"]);
    assert_eq!(front.uploaded(), whole);

    layers[3] = noise(77, 20_000);
    let changed = Sample::of(&layers);
    let third = pushed(&front.name(), "team/desktop", &changed, &notes);
    let new = (20_000 + changed.config.len()) as u64;
    assert_eq!((sent(&third), front.uploaded()), (new, whole + new));

    // Another repository takes them over.
    let other = pushed(&front.name(), "team/office", &changed, &notes);
    assert_eq!(sent(&other), 0);
    assert_eq!(front.uploaded(), whole + new);
    let from = Fate::Mounted {
        from: "team/desktop".into(),
    };
    assert!(other.layers[..6].iter().all(|layer| layer.fate == from));
    let reference = format!("{}/team/office@{}", registry.name(), other.digest);
    let (manifest, _) = pulled(&reference, &folder.path().join("two"), &plain);
    assert_eq!(manifest, changed_digest(&third));

    // Without memory they are sent, and nothing is the worse for it.
    let unknown = pushed(&front.name(), "other/place", &changed, &Notes::default());
    assert!(sent(&unknown) > 100);
    assert_eq!(unknown.digest, other.digest);
}

fn changed_digest(pushed: &Pushed) -> String {
    pushed.digest.to_string()
}

#[test]
fn a_wrong_memory_does_no_harm() {
    let registry = support::Registry::start();
    let notes = Notes::default();
    let image = Sample::of(&[noise(1, 5000), noise(2, 6000)]);
    for layer in &image.layers {
        notes.note(&registry.name(), "never/was", &Digest::of(layer));
    }
    let done = pushed(&registry.name(), "team/desktop", &image, &notes);
    assert_eq!(sent(&done), (11_000 + image.config.len()) as u64);
}

#[test]
fn nothing_is_done_when_only_asked() {
    let registry = support::Registry::start();
    let (front, notes) = (Front::to(&registry, Fault::None), Notes::default());
    let image = Sample::of(&[noise(1, 5000), noise(2, 6000)]);
    let connected = Registry::connect(&front.name(), &settings()).expect("a registry");
    let order = Order {
        tags: &["latest".into()],
        at_once: 2,
        dry: true,
    };
    let repository = connected.repository("team/desktop");
    let told = push(&repository, &image, &order, &notes, &notes).expect("told");
    assert!(told.layers.iter().all(|one| one.fate == Fate::Missing));
    let changing = |request: &String| !request.starts_with("GET") && !request.starts_with("HEAD");
    assert!(!front.requests().iter().any(changing));
}

/// 12 MiB: more than two of the smallest pieces.
fn large() -> Sample {
    Sample::of(&[noise(9, 12 << 20)])
}

#[test]
fn an_upload_that_the_registry_forgets_begins_again() {
    let registry = support::Registry::start();
    let fault = Fault::Broken {
        after: 3 << 20,
        times: 2,
    };
    let (front, notes, image) = (Front::to(&registry, fault), Notes::default(), large());
    let done = pushed(&front.name(), "team/desktop", &image, &notes);
    assert_eq!(front.faults(), 2);
    let path = registry.blob(&done.layers[0].blob.digest.to_string());
    let there = std::fs::read(path.expect("the blob")).expect("readable");
    assert!(there == image.layers[0]);
}

#[test]
fn behind_a_proxy_that_hands_on_whole_requests_it_goes_in_pieces() {
    let registry = support::Registry::start();
    let fault = Fault::Whole { most: 6 << 20 };
    let (front, notes, image) = (Front::to(&registry, fault), Notes::default(), large());
    let done = pushed(&front.name(), "team/desktop", &image, &notes);
    // The first broke, and of that nothing arrived; nothing else was sent twice.
    assert_eq!(front.faults(), 1);
    let whole = (12 << 20) + image.config.len() as u64;
    assert_eq!(front.uploaded(), whole + (6 << 20));
    let patches = front.requests();
    let patches = patches.iter().filter(|line| line.starts_with("PATCH"));
    assert_eq!(patches.count(), 1 + 3 + 1);
    let (manifest, _) = pulled(
        &format!("{}/team/desktop", registry.name()),
        &tempfile::tempdir().expect("a folder").path().join("it"),
        &["--src-tls-verify=false"],
    );
    assert_eq!(manifest, done.digest.to_string());
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let registry = support::Registry::start();
    let fault = Fault::Kept { most: 3 << 20 };
    let (front, notes, image) = (Front::to(&registry, fault), Notes::default(), large());
    let done = pushed(&front.name(), "team/desktop", &image, &notes);
    // Every request breaks after 3 MiB; each goes on where the one before it ended.
    assert_eq!(notes.resumed(), [3 << 20, 6 << 20, 9 << 20]);
    let whole = (12 << 20) + image.config.len() as u64;
    assert_eq!(front.uploaded(), whole, "no byte arrived twice");
    let path = registry.blob(&done.layers[0].blob.digest.to_string());
    assert!(path.is_some());
}

#[test]
fn an_end_whose_answer_was_lost_is_one() {
    let registry = support::Registry::start();
    let front = Front::to(&registry, Fault::Unanswered { times: 2 });
    let image = Sample::of(&[noise(1, 5000)]);
    let done = pushed(&front.name(), "team/desktop", &image, &Notes::default());
    assert_eq!(front.faults(), 2);
    assert_eq!(front.uploaded(), sent(&done), "nothing was sent twice");
}

#[test]
fn what_breaks_always_ends_with_words() {
    let registry = support::Registry::start();
    let fault = Fault::Broken {
        after: 100,
        times: usize::MAX,
    };
    let front = Front::to(&registry, fault);
    let image = Sample::of(&[noise(1, 5000)]);
    let notes = Notes::default();
    let failed = pushed_with(
        &settings(),
        &front.name(),
        "team/desktop",
        &image,
        &["latest"],
        &notes,
    );
    let error = failed.expect_err("it always breaks").to_string();
    assert!(error.contains("broke off 5 times"), "{error}");
    assert!(
        !front
            .requests()
            .iter()
            .any(|line| line.contains("/manifests/latest")),
        "no tag means half an image"
    );
}
