//! Against a real mirror of Debian: the one KASMFORGE_MIRROR names, or the host's own.
//!
//! Without network these tests fail; they never pass unseen.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use kasmforge_archive::{
    Choice, Client, Host, Keyring, Mirrors, Settings, Suite, Trust, ValidUntil, Wanted,
};
use kasmforge_deb::archive::DebReader;
use kasmforge_deb::stanza::Stanzas;
use kasmforge_deb::{PackageStanza, Version};
use support::{Log, store};

fn mirrors() -> Mirrors {
    let host = Host::read(Path::new("/"));
    let environment = std::env::var("KASMFORGE_MIRROR").ok();
    let choice = Choice {
        environment: environment.as_deref(),
        host: Some(&host),
        ..Choice::default()
    };
    Mirrors::find("debian", choice).expect("a mirror of Debian; set KASMFORGE_MIRROR")
}

/// The newest stanza of a package.
fn newest(text: &str, name: &str) -> PackageStanza {
    Stanzas::new(text)
        .map(|stanza| stanza.expect("a stanza"))
        .filter(|stanza| stanza.get("Package").as_deref() == Some(name))
        .map(|stanza| PackageStanza::read(&stanza).expect("a package"))
        .max_by_key(|package| package.version.clone())
        .expect("Debian has it")
}

/// Takes a release as a build does: Release files, indexes, a few packages; then once more
/// without network.
fn release(codename: &str, base_files: &str) {
    let mirrors = mirrors();
    let (_folder, store) = store();
    let log = Log::default();
    let settings = Settings {
        // How far a mirror lags is not ours to test.
        valid_until: ValidUntil::Warn,
        ..Settings::at(Timestamp::now())
    };
    let client = Client::new(&store, settings.clone(), &log);
    let offline = Settings {
        offline: true,
        ..settings
    };
    let offline = Client::new(&store, offline, &log);
    let keyring = Keyring::debian();
    for (name, least) in [
        (codename.to_owned(), 50_000),
        (format!("{codename}-security"), 100),
    ] {
        let suite = Suite {
            archive: "debian".into(),
            mirrors: mirrors.for_suite(&name).to_vec(),
            suite: name.clone(),
            trust: Trust::Keyring(keyring.clone()),
            not_before: None,
        };
        let verified = client.release(&suite).expect("signed by Debian");
        let signer = verified.signer.clone().expect("signed");
        assert!(keyring.fingerprints().contains(&signer), "{signer}");
        assert_eq!(verified.release.codename.as_ref(), Some(&name));
        let index = client
            .packages_index(&verified, "main", "amd64")
            .expect("listed");
        let text = fs::read_to_string(&index.path).expect("text");
        assert!(Stanzas::new(&text).count() >= least, "{name}");

        let again = offline.release(&suite).expect("remembered");
        assert_eq!(again.digest, verified.digest);
        assert_eq!(
            offline
                .packages_index(&again, "main", "amd64")
                .expect("kept"),
            index
        );
        if name != codename {
            continue;
        }
        // Small ones; the name of one needs care in an address.
        let packages = ["hello", "g++", "base-files"].map(|name| newest(&text, name));
        let least: Version = base_files.parse().expect("a version");
        assert!(packages[2].version >= least);
        let mirrors: Arc<[String]> = suite.mirrors.clone().into();
        let wanted = packages.clone().map(|package| Wanted {
            digest: package.sha256.expect("a digest"),
            size: package.size.expect("a size"),
            path: package.filename.expect("a path"),
            mirrors: Arc::clone(&mirrors),
        });
        assert_eq!(client.fetch(&wanted).expect("there").files, 3);
        for (package, wanted) in packages.iter().zip(&wanted) {
            let file = fs::File::open(store.blob_path(&wanted.digest)).expect("kept");
            let deb = DebReader::open(file).expect("a package");
            let control = String::from_utf8_lossy(&deb.control()["control"].bytes).into_owned();
            let inside: PackageStanza = control.parse().expect("a stanza");
            assert_eq!(
                (&inside.name, &inside.version),
                (&package.name, &package.version)
            );
        }
        assert_eq!(offline.fetch(&wanted).expect("kept").files, 0);
    }
}

#[test]
fn trixie_is_verified_and_fetched() {
    release("trixie", "13.8");
}

#[test]
fn bookworm_is_verified_and_fetched() {
    release("bookworm", "12.4");
}
