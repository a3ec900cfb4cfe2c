//! Files from mirrors that misbehave.

mod support;

use std::fs;
use std::sync::Arc;

use kasmforge_archive::{Cause, Client, Error, Fetched, Retry, Settings, Silent, Wanted};
use kasmforge_digest::Digest;
use kasmforge_store::Store;
use support::{Fault, Log, Mirror, Served, bytes, chain, files, settings, store};

const SIZE: usize = 1_000_000;

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

fn wanted(path: &str, content: &[u8], mirrors: &[&str]) -> Wanted {
    Wanted {
        digest: Digest::of(content),
        size: content.len() as u64,
        path: path.into(),
        mirrors: mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
    }
}

/// A mirror with one file, `pool/a.deb`.
fn one() -> (Mirror, Vec<u8>) {
    let mirror = Mirror::new();
    let content = bytes(SIZE, 1);
    mirror.put("/pool/a.deb", content.clone());
    (mirror, content)
}

fn fetch(store: &Store, settings: &Settings, wanted: &[Wanted]) -> Result<Fetched, Error> {
    Client::new(store, settings.clone(), &Silent).fetch(wanted)
}

/// The single failure of a fetch of one file.
fn failure(result: Result<Fetched, Error>) -> Error {
    match result {
        Err(Error::Fetch { mut failures, .. }) if failures.len() == 1 => failures.remove(0).error,
        other => panic!("one failure expected, not {other:?}"),
    }
}

fn impatient() -> Settings {
    Settings {
        retry: Retry {
            attempts: 1,
            ..settings().retry
        },
        ..settings()
    }
}

fn check(store: &Store, content: &[u8]) {
    let path = store.blob_path(&Digest::of(content));
    assert!(fs::read(path).expect("the blob") == content);
    assert_eq!(files(&store.root().join("partial")), 0);
}

#[test]
fn files_come_once_and_stay() {
    let (mirror, content) = one();
    mirror.put("/pool/g++_1%3a2.deb", bytes(10, 2));
    let (_folder, store) = store();
    let log = Log::default();
    let client = Client::new(&store, settings(), &log);
    let list = [
        wanted("pool/g++_1%3a2.deb", &bytes(10, 2), &[&mirror.address]),
        wanted("pool/a.deb", &content, &[&mirror.address]),
        wanted("pool/a.deb", &content, &[&mirror.address]),
    ];
    let fetched = client.fetch(&list).expect("all");
    assert_eq!((fetched.files, fetched.bytes), (2, SIZE as u64 + 10));
    check(&store, &content);
    let log = log.take();
    assert_eq!(log[0], format!("started 2 {}", SIZE + 10));
    let advanced = |line: &String| line.strip_prefix("advanced ")?.parse::<usize>().ok();
    assert_eq!(log.iter().filter_map(advanced).sum::<usize>(), SIZE + 10);
    mirror.served();
    assert_eq!(client.fetch(&list).expect("all"), Fetched::default());
    assert_eq!(mirror.served(), []);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let (mirror, content) = one();
    mirror.fault("/pool/a.deb", Fault::Status(503));
    mirror.fault("/pool/a.deb", Fault::Status(429));
    let (_folder, store) = store();
    let log = Log::default();
    let client = Client::new(&store, settings(), &log);
    client
        .fetch(&[wanted("pool/a.deb", &content, &[&mirror.address])])
        .expect("the third try");
    check(&store, &content);
    let retries = log
        .take()
        .into_iter()
        .filter(|line| line.starts_with("retrying"));
    assert_eq!(retries.count(), 2);
}

#[test]
fn a_cut_connection_is_continued_where_it_was() {
    let (mirror, content) = one();
    // More cuts than tries: each brings the file further, which starts the count anew.
    mirror.faults("/pool/a.deb", &Fault::Cut(150_000), 6);
    let (_folder, store) = store();
    let fetched = fetch(
        &store,
        &settings(),
        &[wanted("pool/a.deb", &content, &[&mirror.address])],
    );
    assert_eq!(fetched.expect("in parts").bytes, SIZE as u64);
    check(&store, &content);
    let served = mirror.served();
    assert_eq!(served.len(), 7);
    assert_eq!(
        served[6],
        Served {
            path: "/pool/a.deb".into(),
            from: 900_000,
            status: 206,
            bytes: 100_000
        }
    );
}

#[test]
fn the_next_run_continues_where_this_one_stopped() {
    let (mirror, content) = one();
    let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
    mirror.fault("/pool/a.deb", Fault::Cut(600_000));
    // Nothing further comes after the cut.
    mirror.faults("/pool/a.deb", &Fault::Status(500), 1);
    let (_folder, store) = store();
    let error = failure(fetch(&store, &impatient(), &list));
    assert!(
        matches!(
            &error,
            Error::Unreachable {
                source: Cause::Status { status: 500, .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!store.has_blob(&list[0].digest, None));
    assert_eq!(mirror.bytes(), 600_000 + "in trouble".len());
    // Read-only, as a kill just before the rename leaves it.
    let partial = store.partial_path(&list[0].digest);
    let mut permissions = fs::metadata(&partial).expect("the part").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&partial, permissions).expect("ours");
    assert_eq!(
        fetch(&store, &impatient(), &list).expect("the rest").bytes,
        400_000
    );
    assert_eq!(mirror.bytes(), 400_000);
    check(&store, &content);
}

#[test]
fn a_whole_part_needs_no_mirror() {
    let (mirror, content) = one();
    let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
    let (_folder, store) = store();
    fs::write(store.partial_path(&list[0].digest), &content).expect("writable");
    assert_eq!(fetch(&store, &settings(), &list).expect("there").bytes, 0);
    assert_eq!(mirror.served(), []);
    check(&store, &content);
}

#[test]
fn a_damaged_part_is_fetched_again() {
    for part in [bytes(400_000, 9), bytes(SIZE, 9), bytes(SIZE + 5, 9)] {
        let (mirror, content) = one();
        let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
        let (_folder, store) = store();
        fs::write(store.partial_path(&list[0].digest), &part).expect("writable");
        fetch(&store, &impatient(), &list).expect("whole");
        check(&store, &content);
    }
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let (mirror, content) = one();
    mirror.knows_no_ranges();
    mirror.fault("/pool/a.deb", Fault::Cut(600_000));
    let (_folder, store) = store();
    fetch(
        &store,
        &settings(),
        &[wanted("pool/a.deb", &content, &[&mirror.address])],
    )
    .expect("whole");
    assert_eq!(mirror.bytes(), 600_000 + SIZE);
    check(&store, &content);

    // And where it cuts each time at the same place, the tries end.
    let (_folder, store) = support::store();
    mirror.faults("/pool/a.deb", &Fault::Cut(600_000), 20);
    let error = failure(fetch(
        &store,
        &settings(),
        &[wanted("pool/a.deb", &content, &[&mirror.address])],
    ));
    assert!(
        chain(&error).contains("cut after 600000 of 1000000 bytes"),
        "{}",
        chain(&error)
    );
    assert_eq!(mirror.served().len(), 4);
}

#[test]
fn wrong_bytes_are_never_kept() {
    let (mirror, content) = one();
    let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
    let (_folder, store) = store();
    mirror.fault("/pool/a.deb", Fault::Flip(500_000));
    fetch(&store, &settings(), &list).expect("right at the second try");
    check(&store, &content);

    let (_folder, store) = support::store();
    mirror.faults("/pool/a.deb", &Fault::Flip(500_000), 2);
    let error = failure(fetch(&store, &settings(), &list));
    assert!(matches!(error, Error::OtherBytes { .. }), "{error:?}");
    assert!(error.to_string().contains(&mirror.address), "{error}");
    mirror.faults("/pool/a.deb", &Fault::Truncate(500_000), 2);
    let error = failure(fetch(&store, &settings(), &list));
    assert!(
        matches!(error, Error::OtherLength { found: 500_000, .. }),
        "{error:?}"
    );
    assert!(!store.has_blob(&list[0].digest, None));
    fetch(&store, &settings(), &list).expect("the mirror is mended");
    check(&store, &content);
}

#[test]
fn another_mirror_helps_out() {
    let (good, content) = one();
    let (damaged, _) = one();
    damaged.faults("/pool/a.deb", &Fault::Flip(1), 9);
    let empty = Mirror::new();
    let gone = NOBODY.to_owned();
    for mirrors in [
        [empty.address.as_str(), &good.address],
        [&damaged.address, &good.address],
        [&gone, &good.address],
    ] {
        let (_folder, store) = store();
        fetch(
            &store,
            &settings(),
            &[wanted("pool/a.deb", &content, &mirrors)],
        )
        .expect("from the good one");
        check(&store, &content);
    }
}

#[test]
fn a_dead_mirror_costs_one_try_only() {
    let mirror = Mirror::new();
    let dead = Mirror::new();
    let mut list = Vec::new();
    for number in 0..20 {
        let content = bytes(100, number);
        mirror.put(&format!("/{number}"), content.clone());
        dead.faults(&format!("/{number}"), &Fault::Status(502), 9);
        list.push(wanted(
            &number.to_string(),
            &content,
            &[&dead.address, &mirror.address],
        ));
    }
    let (_folder, store) = store();
    let settings = Settings {
        parallel: 1,
        ..settings()
    };
    fetch(&store, &settings, &list).expect("all");
    assert_eq!((dead.served().len(), mirror.served().len()), (1, 20));
}

#[test]
fn all_missing_files_are_told_together_and_the_others_kept() {
    let (mirror, content) = one();
    let other = Mirror::new();
    let mirrors: [&str; 2] = [&mirror.address, &other.address];
    let list = [
        wanted("pool/x.deb", &bytes(5, 5), &mirrors),
        wanted("pool/a.deb", &content, &mirrors),
        wanted("pool/y.deb", &bytes(6, 6), &mirrors),
    ];
    let (_folder, store) = store();
    let error = fetch(&store, &settings(), &list).expect_err("two are missing");
    let Error::Fetch {
        failures,
        wanted: 3,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(failures.iter().all(|failure| failure.error.is_gone()));
    assert_eq!(
        failures
            .iter()
            .map(|failure| failure.index)
            .collect::<Vec<_>>(),
        [0, 2]
    );
    let text = error.to_string();
    assert!(
        text.starts_with(
            "2 of 3 files could not be fetched\n  no mirror has pool/x.deb (asked: http://"
        ),
        "{text}"
    );
    assert!(store.has_blob(&list[1].digest, Some(list[1].size)));
}

#[test]
fn one_file_out_of_order_does_not_stop_the_others() {
    let (mirror, content) = one();
    mirror.put("/pool/large.deb", bytes(2 * SIZE, 2));
    mirror.faults("/pool/large.deb", &Fault::Status(500), 3);
    let list = [
        wanted("pool/large.deb", &bytes(2 * SIZE, 2), &[&mirror.address]),
        wanted("pool/a.deb", &content, &[&mirror.address]),
    ];
    let (_folder, store) = store();
    let settings = Settings {
        parallel: 2,
        ..settings()
    };
    let error = failure(fetch(&store, &settings, &list));
    assert!(
        chain(&error).contains("answered with status 500"),
        "{}",
        chain(&error)
    );
    check(&store, &content);
}

#[test]
fn when_the_network_is_gone_the_work_ends() {
    let dead = NOBODY;
    let list: Vec<_> = (0..50)
        .map(|number| wanted(&number.to_string(), &bytes(9, number), &[dead]))
        .collect();
    let (_folder, store) = store();
    let settings = Settings {
        parallel: 2,
        ..impatient()
    };
    let error = fetch(&store, &settings, &list).expect_err("nobody is there");
    let Error::Fetch { failures, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(failures.len(), 50);
    let tried = failures
        .iter()
        .filter(|failure| !matches!(failure.error, Error::GivenUp { .. }));
    assert!((1..=2).contains(&tried.count()), "{error}");
    assert!(
        error
            .to_string()
            .contains("of them were not tried any more"),
        "{error}"
    );
}

#[test]
fn a_name_that_does_not_resolve_is_called_that() {
    // RFC 2606: `.invalid` never resolves.
    let list = [wanted("a.deb", b"a", &["http://mirror.invalid/debian"])];
    let (_folder, store) = store();
    let log = Log::default();
    let error = failure(Client::new(&store, settings(), &log).fetch(&list));
    let text = chain(&error);
    assert!(
        text.contains("(3 tries)") && text.contains("the name mirror.invalid cannot be resolved"),
        "{text}"
    );
    assert_eq!(
        log.take()
            .iter()
            .filter(|line| line.starts_with("retrying"))
            .count(),
        2
    );
}

#[test]
fn several_connections_work_at_once() {
    let mirror = Mirror::new();
    let list: Vec<_> = (0..24)
        .map(|number| {
            let content = bytes(1000, number);
            mirror.put(&format!("/{number}"), content.clone());
            wanted(&number.to_string(), &content, &[&mirror.address])
        })
        .collect();
    mirror.hold_until(8);
    let (_folder, store) = store();
    assert_eq!(fetch(&store, &settings(), &list).expect("all").files, 24);
    assert_eq!(mirror.most_at_once(), 8);
}

#[test]
fn two_builds_share_one_download() {
    let (mirror, content) = one();
    let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
    let (folder, store) = store();
    let other = Store::open(&folder.path().join("store")).expect("the same store");
    std::thread::scope(|scope| {
        for store in [&store, &other, &store, &other] {
            scope.spawn(|| fetch(store, &settings(), &list).expect("shared"));
        }
    });
    assert_eq!(mirror.bytes(), SIZE);
    check(&store, &content);
}

#[test]
fn offline_names_what_is_missing() {
    let (mirror, content) = one();
    let (_folder, store) = store();
    let settings = Settings {
        offline: true,
        ..settings()
    };
    let list = [wanted("pool/a.deb", &content, &[&mirror.address])];
    let error = fetch(&store, &settings, &list).expect_err("not there");
    assert!(
        error.to_string().contains("pool/a.deb is not in the store"),
        "{error}"
    );
    let client = Client::new(&store, settings, &Silent);
    assert!(matches!(
        client.download("http://a.test/x", None),
        Err(Error::Offline { .. })
    ));
    assert_eq!(mirror.served(), []);
}

#[test]
fn a_folder_is_a_mirror_too() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    fs::create_dir(folder.path().join("pool")).expect("writable");
    fs::write(folder.path().join("pool/a b.deb"), b"hello").expect("writable");
    let base = format!("file:{}", folder.path().display());
    let mirrors: Arc<[String]> = [base].into();
    let (_folder, store) = store();
    let mut file = wanted("pool/a b.deb", b"hello", &[]);
    file.mirrors = mirrors;
    // Continued, as over a network.
    fs::write(store.partial_path(&file.digest), b"hel").expect("writable");
    assert_eq!(fetch(&store, &settings(), &[file]).expect("read").bytes, 2);
    let missing = failure(fetch(
        &store,
        &settings(),
        &[wanted("pool/b.deb", b"x", &["file:/nowhere"])],
    ));
    assert!(missing.is_gone(), "{missing:?}");
}

#[test]
fn downloads_are_found_again_by_digest() {
    let (mirror, content) = one();
    let digest = Digest::of(&content);
    let url = format!("{}/pool/a.deb", mirror.address);
    let moved = format!("{}/moved", mirror.address);
    mirror.put("/moved", "");
    mirror.fault("/moved", Fault::Redirect("/pool/a.deb".into()));
    mirror.fault("/pool/a.deb", Fault::Cut(10));
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let download = client.download(&moved, None).map(|_| ());
    // The redirect was used up by the cut try: the second one got the empty file.
    download.expect("the empty file");
    let download = client.download(&url, None).expect("whole");
    assert_eq!((download.digest, download.size), (digest, SIZE as u64));
    mirror.served();
    assert_eq!(
        client.download(&url, Some(digest)).expect("there"),
        download
    );
    assert_eq!(mirror.served(), []);

    store.remove_blob(&digest).expect("ours");
    mirror.fault("/pool/a.deb", Fault::Cut(700_000));
    assert_eq!(
        client.download(&url, Some(digest)).expect("in parts"),
        download
    );
    assert_eq!(mirror.bytes(), SIZE);
    check(&store, &content);

    let error = client
        .download(&url, Some(Digest::of(b"else")))
        .expect_err("other bytes");
    assert!(matches!(error, Error::OtherBytes { .. }), "{error:?}");
}

#[test]
fn redirects_end() {
    let mirror = Mirror::new();
    mirror.put("/a", "a");
    mirror.faults("/a", &Fault::Redirect("/a".into()), 20);
    let (_folder, store) = store();
    let client = Client::new(&store, settings(), &Silent);
    let error = client
        .download(&format!("{}/a", mirror.address), None)
        .expect_err("a circle");
    assert!(
        matches!(error, Error::Unreachable { tries: 1, .. }),
        "{error:?}"
    );
    assert_eq!(mirror.served().len(), 6);
}
