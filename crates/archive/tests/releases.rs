//! Release files and indexes: what is believed, and what is refused with which words.

mod support;

use std::fs;
use std::time::Duration;

use kasmforge_archive::{
    Client, Error, Keyring, Settings, SignatureError, Silent, Suite, Trust, ValidUntil,
    VerifiedRelease,
};
use kasmforge_digest::Digest;
use sequoia_openpgp::types::HashAlgorithm;
use support::archive::{Archive, DAY, Signing, ago, date, key, keyring, pack, revoked, suite};
use support::{Fault, Log, Mirror, chain, files, settings, store};

const IN_RELEASE: &str = "/dists/trixie/InRelease";
const INDEX: &str = "/dists/trixie/main/binary-amd64/Packages";

fn ask(settings: &Settings, suite: &Suite) -> Result<VerifiedRelease, Error> {
    let (_folder, store) = store();
    Client::new(&store, settings.clone(), &Silent).release(suite)
}

fn offline() -> Settings {
    Settings {
        offline: true,
        ..settings()
    }
}

#[test]
fn a_signed_archive_is_read_and_remembered() {
    let owner = key("owner", None);
    let (mirror, archive) = (Mirror::new(), Archive::new());
    archive.publish(&mirror, &Signing::by(&[&owner]));
    let suite = suite(&[&mirror], keyring(&[&owner]));
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let release = client.release(&suite).expect("signed");
    assert_eq!(release.signer, Some(owner.fingerprint().to_hex()));
    assert_eq!(release.date.as_second(), release.release.date);
    assert_eq!(release.release.codename.as_deref(), Some("trixie"));
    assert!(store.has_blob(&release.digest, None));

    let index = client
        .packages_index(&release, "main", "amd64")
        .expect("listed");
    assert_eq!(
        fs::read_to_string(&index.path).expect("text"),
        archive.packages
    );
    let paths: Vec<_> = mirror
        .served()
        .into_iter()
        .map(|served| served.path)
        .collect();
    let packed = Digest::of(&pack(&archive.packages, ".xz")).hex();
    let by_hash = format!("/dists/trixie/main/binary-amd64/by-hash/SHA256/{packed}");
    assert_eq!(paths, [IN_RELEASE.to_owned(), by_hash]);
    assert_eq!(files(&store.root().join("partial")), 0);

    // Asked once more: not changed, and the index is there.
    assert_eq!(
        client.release(&suite).expect("the same").digest,
        release.digest
    );
    assert_eq!(
        client
            .packages_index(&release, "main", "amd64")
            .expect("kept"),
        index
    );
    let served = mirror.served();
    assert_eq!(
        (served.len(), served[0].status, served[0].bytes),
        (1, 304, 0)
    );

    // And without network, whatever mirror is set by then.
    let mut elsewhere = suite.clone();
    elsewhere.mirrors = vec!["http://mirror.invalid/".into()];
    let client = Client::new(&store, offline(), &Silent);
    let again = client.release(&elsewhere).expect("remembered");
    assert_eq!(
        (again.digest, &again.signer),
        (release.digest, &release.signer)
    );
    assert_eq!(
        client
            .packages_index(&again, "main", "amd64")
            .expect("kept"),
        index
    );
    let error = client
        .packages_index(&again, "main", "arm64")
        .expect_err("never listed");
    assert!(
        error
            .to_string()
            .contains("no packages of component main for arm64; it has components main"),
        "{error}"
    );
    store.remove_blob(&index.digest).expect("ours");
    let error = client
        .packages_index(&again, "main", "amd64")
        .expect_err("removed");
    assert!(
        matches!(&error, Error::Offline { what } if what.contains("main/binary-amd64")),
        "{error:?}"
    );
    assert_eq!(mirror.served(), []);

    // What is remembered is verified again: it is no way around the signature.
    let blob = store.blob_path(&release.digest);
    let mut bytes = fs::read(&blob).expect("there");
    bytes[200] ^= 1;
    fs::remove_file(&blob).expect("ours");
    fs::write(&blob, bytes).expect("ours");
    assert!(matches!(client.release(&suite), Err(Error::Offline { .. })));
}

#[test]
fn offline_knows_nothing_of_a_new_suite() {
    let owner = key("owner", None);
    let suite = suite(&[], keyring(&[&owner]));
    let error = ask(&offline(), &suite).expect_err("never seen");
    assert_eq!(
        error.to_string(),
        "the Release file of test trixie is not in the store, and the network is not asked (--offline)"
    );
}

#[test]
fn signatures_that_do_not_count_are_refused_by_name() {
    let owner = key("owner", None);
    let stranger = key("stranger", None);
    // Good for two years from three years ago; its signature claims to be older than that.
    let expired = key("expired", Some(2 * 365));
    let stolen = revoked(&key("stolen", None));
    let archive = Archive::new();
    let base = Signing::by(&[&owner]);
    let mirror = Mirror::new();
    let text = archive.put(&mirror, "dists/trixie/", "main/binary-amd64/Packages");
    let trusted = keyring(&[&owner, &expired, &stolen]);
    let name = |certificate: &sequoia_openpgp::Cert| certificate.fingerprint().to_hex();

    type Check = fn(&SignatureError) -> bool;
    let altered = String::from_utf8(base.sign(&text)).expect("text");
    let cases: Vec<(&str, Vec<u8>, Check, String)> = vec![
        (
            "unknown key",
            Signing::by(&[&stranger]).sign(&text),
            |error| matches!(error, SignatureError::UnknownKeys { keyring, .. } if keyring == "test.pgp"),
            "no key of the keyring test.pgp signed it".into(),
        ),
        (
            "altered",
            altered.replace("Origin: Test", "Origin: Evil").into_bytes(),
            |error| matches!(error, SignatureError::Altered { .. }),
            name(&owner),
        ),
        (
            "expired key",
            Signing {
                made: ago(2 * 365),
                ..Signing::by(&[&expired])
            }
            .sign(&text),
            |error| matches!(error, SignatureError::KeyExpired { .. }),
            format!(
                "the key {} that signed it expired on 2025-11-",
                name(&expired)
            ),
        ),
        (
            "expired signature",
            Signing {
                good_for: Some(DAY * 7),
                made: ago(10),
                ..base.clone()
            }
            .sign(&text),
            |error| matches!(error, SignatureError::SignatureExpired { .. }),
            "expired on 2026-11-18 12:00 UTC".into(),
        ),
        (
            "revoked key",
            Signing {
                made: ago(3),
                ..Signing::by(&[&stolen])
            }
            .sign(&text),
            |error| matches!(error, SignatureError::KeyRevoked { .. }),
            name(&stolen),
        ),
        (
            "weak hash",
            Signing {
                hash: HashAlgorithm::SHA1,
                ..base.clone()
            }
            .sign(&text),
            |error| matches!(error, SignatureError::Weak { .. }),
            "too weak".into(),
        ),
        (
            "future",
            Signing {
                made: ago(-3),
                ..base.clone()
            }
            .sign(&text),
            |error| matches!(error, SignatureError::Future { .. }),
            "is of 2026-11-24 12:00 UTC: is this machine's clock right?".into(),
        ),
        (
            "login page",
            b"<html><body>Please log in".to_vec(),
            |error| matches!(error, SignatureError::NotSigned { .. }),
            "it begins with `<html><body>Please log in`".into(),
        ),
        (
            "no signature",
            text.clone().into_bytes(),
            |error| matches!(error, SignatureError::NotSigned { .. }),
            "not an OpenPGP signed message".into(),
        ),
        (
            "cut off",
            altered.as_bytes()[..altered.len() - 120].to_vec(),
            |error| {
                matches!(
                    error,
                    SignatureError::Malformed { .. } | SignatureError::Altered { .. }
                )
            },
            "".into(),
        ),
    ];
    for (case, served, check, words) in cases {
        mirror.put(IN_RELEASE, served);
        let error = ask(&settings(), &suite(&[&mirror], trusted.clone())).expect_err(case);
        let Error::Signature { address, source } = &error else {
            panic!("{case}: {error:?}");
        };
        assert!(address.starts_with(&mirror.address), "{case}");
        assert!(check(source), "{case}: {source:?}");
        assert!(chain(&error).contains(&words), "{case}: {}", chain(&error));
    }
}

#[test]
fn one_good_signature_is_enough() {
    let owner = key("owner", None);
    let stranger = key("stranger", None);
    let expired = key("expired", Some(2 * 365));
    let archive = Archive::new();
    let mirror = Mirror::new();
    let signing = Signing::by(&[&stranger, &expired, &owner]);
    archive.publish(
        &mirror,
        &Signing {
            made: ago(2 * 365),
            ..signing
        },
    );
    let suite = suite(&[&mirror], keyring(&[&owner, &expired]));
    let release = ask(&settings(), &suite).expect("the owner's counts");
    assert_eq!(release.signer, Some(owner.fingerprint().to_hex()));
}

#[test]
fn a_signature_slightly_ahead_of_our_clock_counts() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let made = ago(0) + Duration::from_secs(3600);
    Archive::new().publish(
        &mirror,
        &Signing {
            made,
            ..Signing::by(&[&owner])
        },
    );
    ask(&settings(), &suite(&[&mirror], keyring(&[&owner]))).expect("within a day");
}

#[test]
fn only_the_signed_text_is_used() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let archive = Archive::new();
    let text = archive.put(&mirror, "dists/trixie/", "main/binary-amd64/Packages");
    let signed = String::from_utf8(Signing::by(&[&owner]).sign(&text)).expect("text");
    let evil = "Origin: Evil\nCodename: trixie\nDate: Sat, 21 Nov 2026 00:00:00 UTC\nSHA256:\n";
    for served in [format!("\n\n{signed}\n{evil}"), format!("{signed}{signed}")] {
        mirror.put(IN_RELEASE, served);
        // Taken without the rest, or refused: never with it.
        if let Ok(release) = ask(&settings(), &suite(&[&mirror], keyring(&[&owner]))) {
            assert_eq!(release.release.origin.as_deref(), Some("Test"));
        }
    }
    mirror.put(IN_RELEASE, format!("{evil}\n{signed}"));
    let error =
        ask(&settings(), &suite(&[&mirror], keyring(&[&owner]))).expect_err("not a message");
    assert!(matches!(
        error,
        Error::Signature {
            source: SignatureError::NotSigned { .. },
            ..
        }
    ));
}

#[test]
fn the_next_mirror_may_be_sound() {
    let owner = key("owner", None);
    let archive = Archive::new();
    let [absent, forged, stale, good] = [(); 4].map(|()| Mirror::new());
    archive.publish(&forged, &Signing::by(&[&key("forger", None)]));
    Archive::new()
        .field("Valid-Until", &date(30))
        .publish(&stale, &Signing::by(&[&owner]));
    archive.publish(&good, &Signing::by(&[&owner]));
    let suite = suite(&[&absent, &forged, &stale, &good], keyring(&[&owner]));
    ask(&settings(), &suite).expect("the fourth is sound");
    let mut without = suite.clone();
    without.mirrors.pop();
    let error = ask(&settings(), &without).expect_err("none is");
    assert!(
        matches!(&error, Error::Signature { address, .. } if address.starts_with(&forged.address)),
        "{error:?}"
    );
    without.mirrors.truncate(1);
    let error = ask(&settings(), &without).expect_err("not there");
    assert!(
        error.is_gone()
            && error
                .to_string()
                .contains("the Release file of test trixie"),
        "{error}"
    );
}

#[test]
fn a_mirror_that_fails_for_a_while_is_waited_for() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    Archive::new().publish(&mirror, &Signing::by(&[&owner]));
    mirror.fault(IN_RELEASE, Fault::Status(502));
    mirror.fault(IN_RELEASE, Fault::Cut(100));
    ask(&settings(), &suite(&[&mirror], keyring(&[&owner]))).expect("the third try");
}

#[test]
fn old_release_files_are_told_and_very_old_ones_refused() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let suite = suite(&[&mirror], keyring(&[&owner]));
    let with = |days| {
        let archive = Archive::new()
            .field("Date", &date(days + 7))
            .field("Valid-Until", &date(days));
        archive.publish(&mirror, &Signing::by(&[&owner]));
        let log = Log::default();
        let (_folder, store) = store();
        let settings = settings();
        let result = Client::new(&store, settings, &log).release(&suite);
        (result.map(|_| ()), log.warnings())
    };
    assert!(matches!(with(-1), (Ok(()), warnings) if warnings.is_empty()));
    let (result, warnings) = with(13);
    result.expect("tolerated");
    assert_eq!(
        warnings,
        [
            "the Release file of test trixie was good until 2026-11-08 12:00 UTC: the mirror lags, or \
          keeps newer packages from you"
        ]
    );
    let (result, _) = with(15);
    let error = result.expect_err("too old");
    assert!(matches!(error, Error::Stale { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("was good until 2026-11-06 12:00 UTC")
            && error.to_string().contains("check-valid-until = false"),
        "{error}"
    );
    let lenient = Settings {
        valid_until: ValidUntil::Warn,
        ..settings()
    };
    ask(&lenient, &suite).expect("only told");
    let strict = Settings {
        valid_until: ValidUntil::Tolerate { days: 0 },
        ..settings()
    };
    with(1).0.expect("tolerated");
    assert!(matches!(ask(&strict, &suite), Err(Error::Stale { .. })));

    Archive::new()
        .field("Date", &date(-3))
        .publish(&mirror, &Signing::by(&[&owner]));
    assert!(matches!(
        ask(&settings(), &suite),
        Err(Error::Future { .. })
    ));
}

#[test]
fn going_back_in_time_is_told() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let suite = suite(&[&mirror], keyring(&[&owner]));
    let (_folder, store) = store();
    let log = Log::default();
    let client = Client::new(&store, settings(), &log);
    Archive::new().publish(&mirror, &Signing::by(&[&owner]));
    client.release(&suite).expect("new");
    assert_eq!(log.warnings(), [""; 0]);
    Archive::new()
        .field("Date", &date(5))
        .publish(&mirror, &Signing::by(&[&owner]));
    client
        .release(&suite)
        .expect("older, as a snapshot would be");
    assert_eq!(
        log.warnings(),
        [
            "the mirror's Release file of test trixie is of 2026-11-16 12:00 UTC, older than the one \
          seen before, of 2026-11-20 12:00 UTC"
        ]
    );
}

#[test]
fn another_suite_signed_by_the_same_key_is_refused() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let older = Archive::new()
        .field("Codename", "bookworm")
        .field("Suite", "oldstable");
    older.publish(&mirror, &Signing::by(&[&owner]));
    let error = ask(&settings(), &suite(&[&mirror], keyring(&[&owner]))).expect_err("bookworm");
    assert!(
        error
            .to_string()
            .contains("is the Release file of bookworm alias oldstable, not of trixie"),
        "{error}"
    );
}

#[test]
fn simple_archives_are_understood() {
    let owner = key("owner", None);
    let mirror = Mirror::new();
    let mut archive = Archive::new();
    archive.packings = vec![".gz"];
    archive.plain_listed = false;
    archive
        .fields
        .retain(|(name, _)| *name != "Acquire-By-Hash" && *name != "Codename" && *name != "Suite");
    // Without `dists`, and with the signature apart.
    let text = archive.put(&mirror, "flat/", "Packages");
    mirror.put("/flat/Release", text.clone());
    let signing = Signing {
        detached: true,
        ..Signing::by(&[&owner])
    };
    mirror.put("/flat/Release.gpg", signing.sign(&text));
    let mut flat = suite(&[&mirror], keyring(&[&owner]));
    flat.suite = "./flat/".into();
    let (_folder, store) = store();
    let log = Log::default();
    let client = Client::new(&store, settings(), &log);
    let release = client.release(&flat).expect("signed apart");
    assert_eq!(release.signer, Some(owner.fingerprint().to_hex()));
    let index = client
        .packages_index(&release, "", "amd64")
        .expect("listed");
    assert_eq!(
        fs::read_to_string(&index.path).expect("text"),
        archive.packages
    );
    // The text's digest stands nowhere but in the store's memory.
    let offline = Client::new(&store, offline(), &log);
    let again = offline.release(&flat).expect("remembered");
    assert_eq!(
        offline
            .packages_index(&again, "", "amd64")
            .expect("remembered"),
        index
    );
    assert_eq!(log.warnings(), [""; 0]);

    mirror.put("/flat/Release", text.replace("Test", "Evil"));
    let error = client.release(&flat).expect_err("altered");
    assert!(
        matches!(
            error,
            Error::Signature {
                source: SignatureError::Altered { .. },
                ..
            }
        ),
        "{error:?}"
    );

    // Nobody's word is asked for, and that is told.
    mirror.remove("/flat/Release.gpg");
    assert!(client.release(&flat).expect_err("unsigned").is_gone());
    flat.trust = Trust::Anyone;
    let release = client.release(&flat).expect("as the definition says");
    assert_eq!(
        (release.signer, release.release.origin.as_deref()),
        (None, Some("Evil"))
    );
    assert_eq!(
        log.warnings(),
        ["test ./flat/ is taken without a signature, as `trusted = true` asks"]
    );
}

#[test]
fn damaged_indexes_are_refused_and_mended_by_the_next_run() {
    let owner = key("owner", None);
    let (mirror, archive) = (Mirror::new(), Archive::new());
    archive.publish(&mirror, &Signing::by(&[&owner]));
    let suite = suite(&[&mirror], keyring(&[&owner]));
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let release = client.release(&suite).expect("signed");
    let packed = pack(&archive.packages, ".xz");
    let digest = Digest::of(&packed);
    let by_hash = format!(
        "/dists/trixie/main/binary-amd64/by-hash/SHA256/{}",
        digest.hex()
    );
    let index = || client.packages_index(&release, "main", "amd64");

    // Damaged at its digest, and the mirror in the midst of an update at its name.
    let plain = format!("{INDEX}.xz");
    mirror.faults(&by_hash, &Fault::Flip(70), 2);
    mirror.faults(&plain, &Fault::Truncate(50), 2);
    let error = index().expect_err("damaged");
    assert!(matches!(error, Error::OtherBytes { .. }), "{error:?}");
    assert!(
        error.to_string().contains("damaged or half updated"),
        "{error}"
    );
    assert_eq!(files(&store.root().join("partial")), 0);
    // Cut off: continued.
    mirror.served();
    mirror.fault(&by_hash, Fault::Cut(100));
    index().expect("whole");
    assert_eq!(mirror.bytes(), packed.len());
    // A mirror without by-hash folders.
    let text = index().expect("kept");
    store.remove_blob(&text.digest).expect("ours");
    mirror.remove(&by_hash);
    assert_eq!(index().expect("by name"), text);
}

#[test]
fn an_index_that_unpacks_to_something_else_is_refused() {
    let owner = key("owner", None);
    let (mirror, mut archive) = (Mirror::new(), Archive::new());
    archive.packings = vec![".xz"];
    let text = archive.put(&mirror, "dists/trixie/", "main/binary-amd64/Packages");
    let promised = Digest::of(archive.packages.as_bytes()).hex();
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let length = archive.packages.len();
    // Another digest; and fewer bytes than there are.
    let other = text.replace(&promised, &Digest::of(b"else").hex());
    let bomb = text.replace(&format!(" {length} "), " 1000 ");
    for (text, fits) in [
        (
            other,
            (|error| matches!(error, Error::OtherText { .. })) as fn(&Error) -> bool,
        ),
        (bomb, |error| matches!(error, Error::Decode { .. })),
    ] {
        mirror.put(IN_RELEASE, Signing::by(&[&owner]).sign(&text));
        let release = client
            .release(&suite(&[&mirror], keyring(&[&owner])))
            .expect("signed");
        let error = client
            .packages_index(&release, "main", "amd64")
            .expect_err("a lie");
        assert!(fits(&error), "{error:?}");
    }
    assert_eq!(files(&store.root().join("tmp")), 0);
}

#[test]
fn an_archive_older_than_it_must_be_is_refused() {
    let owner = key("owner", None);
    let (old, new) = (Mirror::new(), Mirror::new());
    let signing = Signing::by(&[&owner]);
    Archive::new()
        .field("Date", &date(9))
        .publish(&old, &signing);
    Archive::new()
        .field("Date", &date(2))
        .publish(&new, &signing);
    let lock: jiff::Timestamp = "2026-11-19T12:00:00Z".parse().expect("two days ago");
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let mut both = suite(&[&old, &new], keyring(&[&owner]));
    both.not_before = Some(lock);
    let release = client
        .release(&both)
        .expect("the second mirror is not behind");
    assert_eq!(release.date, lock);

    let mut behind = suite(&[&old], keyring(&[&owner]));
    behind.not_before = Some(lock);
    let error = client.release(&behind).expect_err("behind");
    assert!(matches!(error, Error::Older { .. }), "{error:?}");
    let told = error.to_string();
    for words in [
        "is of 2026-11-12 12:00 UTC",
        "one of 2026-11-19 12:00 UTC",
        "--allow-older",
    ] {
        assert!(told.contains(words), "{told}");
    }
    // What is remembered is no way around it.
    behind.not_before = None;
    let (_folder, other) = support::store();
    Client::new(&other, settings(), &Silent)
        .release(&behind)
        .expect("any date will do");
    behind.not_before = Some(lock);
    let remembered = Client::new(&other, offline(), &Silent).release(&behind);
    assert!(matches!(remembered, Err(Error::Older { .. })));
}

#[test]
fn only_certificates_that_are_named_may_sign() {
    let (owner, other) = (key("owner", None), key("other", None));
    let both = keyring(&[&owner, &other]);
    let mirror = Mirror::new();
    let names = both.fingerprints();
    let only = |names: &[String]| both.only(names);
    let asked = |keyring: Keyring| ask(&settings(), &suite(&[&mirror], keyring));
    Archive::new().publish(&mirror, &Signing::by(&[&other]));
    asked(both.clone()).expect("either may");
    let owners = only(&names[..1]).expect("it is in it");
    assert_ne!(owners.digest(), both.digest(), "remembered apart");
    let error = asked(owners.clone()).expect_err("the other may not");
    assert!(
        chain(&error).contains("no key of the keyring test.pgp signed it"),
        "{error}"
    );
    Archive::new().publish(&mirror, &Signing::by(&[&owner]));
    asked(owners).expect("the owner may");
    // A subkey's fingerprint stands for its certificate, small letters for great ones.
    let subkey = owner.keys().subkeys().next().expect("it signs with one");
    let subkey = subkey.key().fingerprint().to_hex().to_lowercase();
    asked(only(&[subkey]).expect("it is in it")).expect("the owner may");
    let unknown = only(&["00".repeat(20)]).expect_err("nobody's");
    assert!(
        unknown
            .to_string()
            .contains("no certificate with the fingerprint 0000"),
        "{unknown}"
    );
}
