//! The lock's text: one form, and words for what is not one.

use std::collections::BTreeMap;

use kasmforge_digest::Digest;
use kasmforge_lock::{ArchiveState, Asked, Ids, Lock, Package, Workspace};
use proptest::prelude::*;

fn package(name: &str, architecture: &str, version: &str) -> Package {
    Package {
        name: name.into(),
        version: version.into(),
        architecture: architecture.into(),
        source: name.into(),
        archive: "debian trixie".into(),
        path: format!("pool/main/{name}.deb"),
        size: 10,
        sha256: Digest::of(format!("{name}{architecture}{version}").as_bytes()),
        installed_size: 4,
        essential: name == "dash",
        depends: vec!["libc6".into()],
        recommends: Vec::new(),
    }
}

fn workspace(name: &str, extends: Option<&str>, sources: &[&[&str]]) -> Workspace {
    let source = |source: &&str| (*source).to_owned();
    Workspace {
        name: name.into(),
        architecture: "amd64".into(),
        extends: extends.map(Into::into),
        request: Digest::of(name.as_bytes()),
        asked: Vec::new(),
        packages: Vec::new(),
        layers: sources
            .iter()
            .map(|group| group.iter().map(source).collect())
            .collect(),
        image: None,
    }
}

fn sample() -> Lock {
    let mut lock = Lock {
        archives: vec![ArchiveState {
            name: "debian trixie".into(),
            release: Digest::of(b"release"),
            date: 1_790_000_000,
            signer: "ABCD".into(),
        }],
        ids: Ids {
            users: BTreeMap::from([("messagebus".into(), 100)]),
            ..Ids::default()
        },
        ..Lock::default()
    };
    let core = [
        package("libc6", "amd64", "2.41-1"),
        package("dash", "amd64", "0.5-1"),
    ];
    let layers: &[&[&str]] = &[&["libc6"], &["dash"]];
    lock.put(workspace("core", None, layers), core.to_vec());
    let more = [
        package("libc6", "i386", "2.41-1"),
        package("zsh", "all", "1:2~3"),
    ];
    let mut desktop = workspace("desktop", Some("core"), &[&["libc6", "zsh"]]);
    let asked = |text: &str, package: &str| Asked {
        text: text.into(),
        package: package.into(),
    };
    desktop.asked = vec![
        asked("libc6:i386", "libc6:i386"),
        asked("shell", "zsh"),
        asked("zsh (>= 1:2)", "zsh"),
    ];
    lock.put(desktop, more.to_vec());
    lock
}

#[test]
fn parse_then_render_is_the_identity() {
    let lock = sample();
    let text = lock.render();
    let read = Lock::parse(&text).expect("our own text");
    assert_eq!(read, lock);
    assert_eq!(read.render(), text);
}

#[test]
fn names_are_as_short_as_they_can_be() {
    let text = sample().render();
    assert!(
        text.contains("    \"libc6:amd64\",\n    \"dash\",\n"),
        "{text}"
    );
}

#[test]
fn the_order_of_configuration_is_kept() {
    let lock = Lock::parse(&sample().render()).expect("our own text");
    let core = lock.workspace("core", "amd64").expect("there");
    let names: Vec<_> = core
        .packages
        .iter()
        .map(|&at| lock.packages[at].name.as_str())
        .collect();
    assert_eq!(names, ["libc6", "dash"]);
}

#[test]
fn what_nobody_needs_is_dropped() {
    let mut lock = sample();
    lock.put(
        workspace("core", None, &[&["dash"]]),
        vec![package("dash", "amd64", "0.6-1")],
    );
    let versions: Vec<_> = lock
        .packages
        .iter()
        .map(|p| (&*p.name, &*p.version))
        .collect();
    assert_eq!(
        versions,
        [("dash", "0.6-1"), ("libc6", "2.41-1"), ("zsh", "1:2~3")]
    );
}

/// A package of the sample's `libc6` for amd64, in a text.
fn spoilt(from: &str, to: &str) -> String {
    let text = sample().render();
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text, "`{from}` is in the sample");
    Lock::parse(&changed).expect_err("not a lock").to_string()
}

#[test]
fn mistakes_are_told_with_their_line() {
    insta::assert_snapshot!(spoilt("\"dash\",", "\"dush\","), @"kasmforge.lock:17: there is no [[package]] `dush`");
    insta::assert_snapshot!(spoilt("format = 2", "format = 3\nnew-key = 1"), @"kasmforge.lock:1: this lock has format 3, this kasmforge reads formats 1 to 2; use the kasmforge that wrote it, or remove it and run `kasmforge lock`");
    insta::assert_snapshot!(spoilt("\nsize = 10", "\nsize = \"10\""), @r#"kasmforge.lock:51: invalid type: string "10", expected u64"#);
    insta::assert_snapshot!(spoilt("archive = \"debian trixie\"", "archive = \"x\""), @"kasmforge.lock:49: there is no [[archive]] named `x`");
    insta::assert_snapshot!(spoilt("version = \"2.41-1\"", "version = \"2.41-\""), @"kasmforge.lock:59: `2.41-` is not a Debian version: nothing follows its last hyphen");
    insta::assert_snapshot!(spoilt("path = \"pool", "path = \"../pool"), @"kasmforge.lock:50: `../pool/main/dash.deb` is not a path below a mirror's base");
    insta::assert_snapshot!(spoilt("path = \"pool", "path = \"https://a.test/pool"), @"kasmforge.lock:50: `https://a.test/pool/main/dash.deb` is not a path below a mirror's base");
    insta::assert_snapshot!(spoilt("name = \"dash\"", "name = \"../dash\""), @"kasmforge.lock:46: `../dash` cannot be the name of a package");
    insta::assert_snapshot!(spoilt("depends = [\"libc6\"]", "depends = [\"libc7\"]"), @"kasmforge.lock:55: there is no [[package]] `libc7`");
    insta::assert_snapshot!(spoilt("    \"dash\",\n", "    \"dash\",\n    \"dash\",\n"), @"kasmforge.lock:18: the package `dash` is there twice");
    insta::assert_snapshot!(spoilt("[\"dash\"],", "[\"dash\", \"libc6\"],"), @"kasmforge.lock:19: the source `libc6` is in two layers");
    insta::assert_snapshot!(spoilt("[\"dash\"],", "[\"dish\"],"), @"kasmforge.lock:19: no package of the workspace is of the source `dish`");
    insta::assert_snapshot!(spoilt("    [\"dash\"],\n", ""), @"kasmforge.lock:19: the source `dash` is in no layer");
    insta::assert_snapshot!(spoilt("extends = \"core\"", "extends = \"kore\""), @"kasmforge.lock:27: there is no [[workspace]] named `kore`");
    insta::assert_snapshot!(spoilt("extends = \"core\"", "extends = \"desktop\""), @"kasmforge.lock:27: workspaces extend each other in a circle: `desktop`");
    insta::assert_snapshot!(spoilt("sha256 = \"", "sha256 = \"0"), @"kasmforge.lock:52: `08592b39fa8793d4350540f040cae0c06abe40f7142056c679579ab5aca65548c` is not a SHA-256 digest (64 hexadecimal digits)");
    insta::assert_snapshot!(spoilt("date = \"2", "date = \"x"), @"kasmforge.lock:8: `x026-09-21T14:13:20Z` is not a date like 2026-01-31T00:00:00Z");
    insta::assert_snapshot!(Lock::parse("format = ").expect_err("not a lock"), @"kasmforge.lock:1: string values must be quoted, expected literal string");
}

#[test]
fn workspaces_that_are_left_out_are_kept_until_they_are_locked() {
    let mut lock = sample();
    lock.left_out = ["other", "vendor"].map(str::to_owned).into();
    let text = lock.render();
    assert_eq!(Lock::parse(&text).as_ref(), Ok(&lock));
    let spoilt = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        Lock::parse(&changed).expect_err("not a lock").to_string()
    };
    insta::assert_snapshot!(spoilt("\"other\"", "\"zebra\""), @"kasmforge.lock:6: the workspace `vendor` is not in its place, or there twice");
    insta::assert_snapshot!(spoilt("\"other\"", "\"core\""), @"kasmforge.lock:5: the workspace `core` is left out, and locked as well");
    lock.put(workspace("vendor", None, &[]), Vec::new());
    assert_eq!(lock.left_out, ["other".to_owned()].into());
}

/// A package that two workspaces share leads where each resolution led it, and nowhere else.
#[test]
fn what_a_shared_package_leads_to_is_joined_and_never_dangles() {
    let mut lock = sample();
    let leading = |to: &str, recommended: &str| {
        let mut shared = package("shared", "all", "1");
        shared.depends = vec![to.into()];
        shared.recommends = vec![recommended.into()];
        let to = [to, recommended].map(|name| package(name, "amd64", "1"));
        [vec![shared], to.to_vec()].concat()
    };
    let stage = |name| workspace(name, Some("core"), &[&["one", "shared", "two"]]);
    lock.put(stage("a"), leading("one", "two"));
    lock.put(stage("b"), leading("two", "one"));
    let shared = |lock: &Lock| {
        let found = lock.packages.iter().find(|one| one.name == "shared");
        let found = found.expect("it is there");
        (found.depends.clone(), found.recommends.clone())
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shared(&lock), (words(&["one", "two"]), words(&[])));
    lock.put(workspace("a", Some("core"), &[&["shared"]]), {
        let mut alone = package("shared", "all", "1");
        alone.depends = Vec::new();
        vec![alone]
    });
    lock.put(workspace("b", Some("core"), &[&["shared"]]), {
        vec![package("shared", "all", "1")]
    });
    assert_eq!(shared(&lock), (words(&["libc6"]), words(&[])));
    assert_eq!(Lock::parse(&lock.render()), Ok(lock));
}

#[test]
fn a_merge_that_git_left_is_named_as_such() {
    for mark in ["<<<<<<< HEAD", "=======", ">>>>>>> topic", "||||||| base"] {
        let text = format!("format = 2\n{mark}\n");
        let error = Lock::parse(&text).expect_err("a merge");
        assert_eq!(error.line, 2);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"kasmforge.lock:2: this is an unresolved merge; take either side whole (`git checkout --ours kasmforge.lock`), then run `kasmforge lock` to bring it up to date");
        }
    }
}

#[test]
fn the_first_format_is_read() {
    let mut old = sample();
    for workspace in &mut old.workspaces {
        workspace.asked.clear();
    }
    for package in &mut old.packages {
        package.essential = false;
    }
    let text = old.render().replace("format = 2", "format = 1");
    assert_eq!(Lock::parse(&text).expect("the first format"), old);
}

/// Any lock that can be: packages of a few names, spread over a chain of workspaces.
fn any_lock() -> impl Strategy<Value = Lock> {
    let name = prop::sample::select(vec!["a", "b", "libc6", "x+y", "zsh"]);
    let machine = prop::sample::select(vec!["amd64", "i386", "all"]);
    let version = "[0-9][0-9a-z.+~]{0,6}(-[0-9a-z]{1,3})?";
    let one = (
        name,
        machine,
        version,
        any::<u64>(),
        any::<bool>(),
        "[a-z]{1,3}",
    );
    let packages = prop::collection::vec(one, 0..12);
    let words = prop::collection::btree_map("\\PC{0,9}", any::<u32>(), 0..4);
    let urls = prop::collection::btree_map("\\PC{1,20}", any::<u8>(), 0..3);
    (
        packages,
        words,
        urls,
        -9_000_000_000_i64..9_000_000_000,
        "\\PC{0,12}",
    )
        .prop_map(|(drawn, ids, urls, date, signer)| {
            let mut lock = sample();
            lock.archives[0].date = date;
            lock.archives[0].signer = signer;
            lock.ids.groups = ids;
            lock.urls = urls
                .into_iter()
                .map(|(url, byte)| (url, Digest::of(&[byte])))
                .collect();
            let mut made = BTreeMap::new();
            for (at, drawn) in drawn.chunks(4).enumerate() {
                let mut own: Vec<Package> = Vec::new();
                for (name, machine, version, size, flag, source) in drawn {
                    let known =
                        |other: &Package| (&*other.name, &*other.architecture) == (*name, *machine);
                    if own.iter().any(known) {
                        continue;
                    }
                    // One package says the same of itself wherever it is asked for.
                    let key = (*name, *machine, version.clone());
                    let one = made.entry(key).or_insert_with(|| {
                        let mut one = package(name, machine, version);
                        one.size = size % (1 << 62);
                        one.essential = *flag;
                        one.source.clone_from(source);
                        if *flag {
                            one.archive.clear();
                            one.path = format!("https://a.test/{name}?x=\"{version}\"");
                        } else {
                            one.recommends = one.depends.clone();
                        }
                        one
                    });
                    own.push(one.clone());
                }
                let mut stage = workspace(&format!("w{at}"), Some("desktop"), &[]);
                let mut sources: Vec<String> = own.iter().map(|one| one.source.clone()).collect();
                sources.sort();
                sources.dedup();
                stage.layers = sources.chunks(2).map(<[String]>::to_vec).collect();
                lock.put(stage, own);
            }
            lock
        })
}

proptest! {
    #[test]
    fn any_lock_is_read_as_it_was_written(lock in any_lock()) {
        let text = lock.render();
        let read = Lock::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&read, &lock);
        prop_assert_eq!(read.render(), text);
    }

    #[test]
    fn a_changed_text_is_refused_or_means_itself(at in 0_usize..4000, with in "\\PC{0,6}", cut in 0_usize..9) {
        let text = sample().render();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[end..]);
        if let Ok(lock) = Lock::parse(&changed) {
            let again = Lock::parse(&lock.render());
            prop_assert_eq!(again, Ok(lock));
        }
    }
}
