//! Archives signed by keys made here.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use kasmforge_archive::{Keyring, Suite, Trust};
use kasmforge_digest::Digest;
use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::cert::CertBuilder;
use openpgp::crypto::KeyPair;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::serialize::stream::{Message, Signer};
use openpgp::types::{HashAlgorithm, ReasonForRevocation, SignatureType};

use super::{Mirror, now};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A time so long before (or, negative, after) the tests' present.
pub(crate) fn ago(days: i64) -> SystemTime {
    let seconds = now().as_second() - days * 24 * 60 * 60;
    Timestamp::from_second(seconds).expect("a time").into()
}

/// A key made three years ago, good for this many days from then.
pub(crate) fn key(name: &str, days: Option<u32>) -> Cert {
    let (certificate, _) = CertBuilder::new()
        .add_userid(name)
        .set_creation_time(ago(3 * 365))
        .set_validity_period(days.map(|days| DAY * days))
        .add_signing_subkey()
        .generate()
        .expect("a key");
    certificate
}

/// The same key, revoked by its owner a year ago.
pub(crate) fn revoked(certificate: &Cert) -> Cert {
    let revocation = openpgp::cert::CertRevocationBuilder::new()
        .set_signature_creation_time(ago(365))
        .expect("a time")
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"stolen")
        .expect("a reason")
        .build(&mut primary(certificate), certificate, None)
        .expect("a revocation");
    certificate
        .clone()
        .insert_packets(Some(revocation))
        .expect("a packet")
        .0
}

fn primary(certificate: &Cert) -> KeyPair {
    let key = certificate.primary_key().key().clone();
    key.parts_into_secret()
        .expect("a secret")
        .into_keypair()
        .expect("unlocked")
}

fn pair(certificate: &Cert) -> KeyPair {
    certificate
        .keys()
        .unencrypted_secret()
        .with_policy(&StandardPolicy::new(), ago(2 * 365))
        .for_signing()
        .next()
        .expect("a key that signs")
        .key()
        .clone()
        .into_keypair()
        .expect("unlocked")
}

pub(crate) fn keyring(certificates: &[&Cert]) -> Keyring {
    let mut bytes = Vec::new();
    for certificate in certificates {
        bytes.extend(certificate.to_vec().expect("memory"));
    }
    Keyring::parse("test.pgp", &bytes).expect("a keyring")
}

/// How a text is signed.
#[derive(Clone)]
pub(crate) struct Signing {
    pub(crate) keys: Vec<Cert>,
    pub(crate) hash: HashAlgorithm,
    pub(crate) made: SystemTime,
    pub(crate) good_for: Option<Duration>,
    pub(crate) detached: bool,
}

impl Signing {
    pub(crate) fn by(keys: &[&Cert]) -> Self {
        Self {
            keys: keys.iter().map(|key| (*key).clone()).collect(),
            hash: HashAlgorithm::SHA256,
            made: ago(1),
            good_for: None,
            detached: false,
        }
    }

    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut message = Message::new(&mut out);
        if self.detached {
            message = openpgp::serialize::stream::Armorer::new(message)
                .kind(openpgp::armor::Kind::Signature)
                .build()
                .expect("armor");
        }
        let kind = if self.detached {
            SignatureType::Binary
        } else {
            SignatureType::Text
        };
        let mut template = SignatureBuilder::new(kind);
        if let Some(good_for) = self.good_for {
            template = template
                .set_signature_validity_period(good_for)
                .expect("a period");
        }
        let mut signer =
            Signer::with_template(message, pair(&self.keys[0]), template).expect("a signer");
        for key in &self.keys[1..] {
            signer = signer.add_signer(pair(key)).expect("a signer");
        }
        signer = signer
            .hash_algo(self.hash)
            .expect("a hash")
            .creation_time(self.made);
        signer = if self.detached {
            signer.detached()
        } else {
            signer.cleartext()
        };
        let mut signer = signer.build().expect("a signer");
        signer.write_all(text.as_bytes()).expect("memory");
        signer.finalize().expect("memory");
        out
    }
}

/// A suite of packages on a mirror.
pub(crate) struct Archive {
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) packages: String,
    pub(crate) packings: Vec<&'static str>,
    pub(crate) plain_listed: bool,
}

impl Archive {
    /// A suite `trixie` of one component, as of a day ago.
    pub(crate) fn new() -> Self {
        Self {
            fields: vec![
                ("Origin", "Test".into()),
                ("Suite", "stable".into()),
                ("Codename", "trixie".into()),
                ("Date", date(1)),
                ("Acquire-By-Hash", "yes".into()),
                ("Architectures", "amd64 arm64".into()),
                ("Components", "main".into()),
            ],
            packages: "Package: hello\nVersion: 1.0\nArchitecture: amd64\n".repeat(2000),
            packings: vec![".xz", ".gz"],
            plain_listed: true,
        }
    }

    pub(crate) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|(other, _)| *other != name);
        self.fields.push((name, value.into()));
        self
    }

    /// Puts the indexes below `folder` (`dists/trixie/`), and gives the Release file's text.
    pub(crate) fn put(&self, mirror: &Mirror, folder: &str, index: &str) -> String {
        let mut release = String::new();
        for (name, value) in &self.fields {
            writeln!(release, "{name}: {value}").expect("memory");
        }
        release.push_str("SHA256:\n");
        let mut list = |path: &str, bytes: &[u8], serve: bool| {
            let digest = Digest::of(bytes);
            writeln!(release, " {} {} {path}", digest.hex(), bytes.len()).expect("memory");
            if serve {
                let parent = path
                    .rsplit_once('/')
                    .map_or(String::new(), |(p, _)| format!("{p}/"));
                mirror.put(&format!("/{folder}{path}"), bytes);
                let by_hash = format!("/{folder}{parent}by-hash/SHA256/{}", digest.hex());
                mirror.put(&by_hash, bytes);
            }
        };
        for packing in &self.packings {
            list(
                &format!("{index}{packing}"),
                &pack(&self.packages, packing),
                true,
            );
        }
        if self.plain_listed {
            list(index, self.packages.as_bytes(), self.packings.is_empty());
        }
        release
    }

    /// Puts all of it, signed.
    pub(crate) fn publish(&self, mirror: &Mirror, signing: &Signing) {
        let release = self.put(mirror, "dists/trixie/", "main/binary-amd64/Packages");
        mirror.put("/dists/trixie/InRelease", signing.sign(&release));
    }
}

/// A date so many days ago, as Release files write it.
pub(crate) fn date(days: i64) -> String {
    let time = Timestamp::try_from(ago(days)).expect("a time");
    let zoned = jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC));
    zoned.expect("a date").replace("+0000", "UTC")
}

pub(crate) fn pack(text: &str, packing: &str) -> Vec<u8> {
    match packing {
        ".xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(text.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        }
        ".gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        }
        _ => text.as_bytes().to_vec(),
    }
}

pub(crate) fn suite(mirrors: &[&Mirror], keyring: Keyring) -> Suite {
    Suite {
        archive: "test".into(),
        mirrors: mirrors
            .iter()
            .map(|mirror| mirror.address.clone())
            .collect(),
        suite: "trixie".into(),
        trust: Trust::Keyring(keyring),
        not_before: None,
    }
}
