//! What is chosen, from small universes.

use std::collections::BTreeMap;
use std::process::Command;

use kasmforge_resolve::{Identity, Origin, Request, RequestError, Root, Stage, Universe, resolve};

mod common;

use common::{add, chosen, index, requests, shown, solve, universe};

#[test]
fn takes_the_highest_version_of_all_archives() {
    let mut universe = universe("app 1.0\nlib 2.0");
    add(
        &mut universe,
        "security",
        true,
        "app 1.0+deb13u1; Depends: lib",
    );
    add(&mut universe, "updates", true, "app 1.0+deb13u1");
    assert_eq!(chosen(&universe, &["app"]), ["lib 2.0", "app 1.0+deb13u1"]);
    assert_eq!(chosen(&universe, &["app=1.0"]), ["app 1.0"]);
    assert_eq!(chosen(&universe, &["app (<< 1.0+deb13u1)"]), ["app 1.0"]);
    let solution = solve(&universe, &["app"]).expect("a solution");
    let Origin::Archive(archive) = solution.packages[1].origin else {
        panic!("no archive");
    };
    assert_eq!(universe.archive(archive).name, "security");
}

#[test]
fn takes_backports_only_where_they_are_asked_for() {
    let mut universe = universe("app 1; Depends: lib\nlib 1");
    add(
        &mut universe,
        "backports",
        false,
        "app 2; Depends: lib (>= 2)\nlib 2",
    );
    assert_eq!(chosen(&universe, &["app"]), ["lib 1", "app 1"]);
    assert_eq!(chosen(&universe, &["app=2"]), ["lib 2", "app 2"]);
}

#[test]
fn tries_alternatives_in_order() {
    let universe = universe(
        "app; Depends: first | second
         late; Depends: missing | second
         other; Depends: first | second; Conflicts: first
         first\nsecond",
    );
    assert_eq!(chosen(&universe, &["app"]), ["first 1", "app 1"]);
    assert_eq!(chosen(&universe, &["late"]), ["second 1", "late 1"]);
    assert_eq!(
        chosen(&universe, &["app", "other"]),
        ["second 1", "app 1", "other 1"]
    );
}

#[test]
fn virtual_names_mean_their_providers() {
    let universe = universe(
        "app; Depends: mta
         picky; Depends: mta (>= 2)
         exim; Provides: mta; Conflicts: mta; Priority: optional
         postfix; Provides: mta (= 2); Conflicts: mta; Priority: extra
         only; Provides: alone",
    );
    // The more important provider; but one with a version where a version is asked for.
    assert_eq!(chosen(&universe, &["app"]), ["exim 1", "app 1"]);
    assert_eq!(
        chosen(&universe, &["app", "picky"]),
        ["postfix 1", "app 1", "picky 1"]
    );
    // A package that conflicts with what it provides does not conflict with itself.
    assert_eq!(chosen(&universe, &["postfix"]), ["postfix 1"]);
    assert_eq!(chosen(&universe, &["alone"]), ["only 1"]);
}

#[test]
fn essential_packages_are_there_and_first() {
    let universe = universe(
        "app; Pre-Depends: pre
         zlib; Depends: libc
         pre\nlibc
         dash 1 +; Pre-Depends: libc",
    );
    assert_eq!(
        chosen(&universe, &["app", "zlib"]),
        ["libc 1", "dash 1", "pre 1", "app 1", "zlib 1"]
    );
}

#[test]
fn circles_stand_together() {
    let universe = universe("z; Depends: a\na; Depends: b\nb; Depends: a | x\nc; Depends: b");
    assert_eq!(chosen(&universe, &["z", "c"]), ["a 1", "b 1", "c 1", "z 1"]);
}

#[test]
fn foreign_packages_come_beside_native_ones() {
    let universe = universe(
        "libc 2; Multi-Arch: same
         libc:i386 2; Multi-Arch: same
         libc:i386 3; Multi-Arch: same
         tool; Multi-Arch: foreign
         plain\nplain:i386
         perl; Multi-Arch: allowed
         data:all
         wine:i386; Depends: libc, tool, perl:any
         bad:i386; Depends: plain, data",
    );
    // The foreign libc must have the native one's version, which here is lower than its best.
    assert_eq!(
        chosen(&universe, &["wine:i386", "libc"]),
        ["libc 2", "libc:i386 2", "perl 1", "tool 1", "wine:i386 1"]
    );
    let told = solve(&universe, &["bad:i386"]).expect_err("data is for the native architecture");
    assert!(
        told.to_string().contains("bad:i386 1 depends on data"),
        "{told}"
    );
    let told = solve(&universe, &["plain", "plain:i386"]).expect_err("they are not `same`");
    assert!(
        told.to_string().contains("cannot be installed beside"),
        "{told}"
    );
}

#[test]
fn recommendations_are_taken_as_far_as_they_can_be_had() {
    let universe = universe(
        "desktop; Depends: app; Recommends: nice, missing, rival
         app; Conflicts: rival
         nice; Recommends: nicer | other
         rival\nnicer\nother",
    );
    let requests = requests(&["desktop"]);
    let mut stage = Stage {
        requests: &requests,
        recommends: true,
        ..Stage::default()
    };
    let solution = resolve(&universe, &stage).expect("a solution");
    assert_eq!(
        shown(&solution),
        ["app 1", "desktop 1", "nice 1", "nicer 1"]
    );
    stage.recommends = false;
    assert_eq!(
        shown(&resolve(&universe, &stage).expect("a solution")),
        ["app 1", "desktop 1"]
    );
}

/// KDE on Debian 12: one recommendation takes `fuse`, and so shuts out all that needs `fuse3`,
/// which would have served the first as well.
#[test]
fn one_recommendation_does_not_shut_out_many() {
    let universe = universe(
        "desktop; Recommends: cryfs, portal, powerdevil
         cryfs; Depends: fuse
         portal; Depends: fuse3
         powerdevil; Depends: fuse3
         fuse\nfuse3; Provides: fuse; Breaks: fuse",
    );
    let requests = requests(&["desktop"]);
    let stage = Stage {
        requests: &requests,
        recommends: true,
        ..Stage::default()
    };
    let solution = resolve(&universe, &stage).expect("a solution");
    assert_eq!(
        shown(&solution),
        [
            "desktop 1",
            "fuse3 1",
            "cryfs 1",
            "portal 1",
            "powerdevil 1"
        ]
    );
}

#[test]
fn a_stage_keeps_what_the_one_below_has() {
    let mut universe =
        universe("base 1\nlib 1\nlib 2\napp; Depends: lib (>= 2)\nold; Depends: base, lib");
    let identity = |name: &str, version: &str| Identity {
        name: name.into(),
        architecture: "amd64".into(),
        version: version.parse().expect("a version"),
        stage: "core".into(),
    };
    let kept = [identity("lib", "1"), identity("base", "1")];
    let old = requests(&["old"]);
    let stage = Stage {
        requests: &old,
        kept: &kept,
        ..Stage::default()
    };
    let solution = resolve(&universe, &stage).expect("a solution");
    assert_eq!(shown(&solution), ["base 1", "lib 1", "old 1"]);
    assert_eq!(solution.packages[1].roots, [Root::Kept(0)]);
    assert!(solution.packages[1].is_kept() && !solution.packages[2].is_kept());

    let app = requests(&["app"]);
    let told = resolve(
        &universe,
        &Stage {
            requests: &app,
            ..stage
        },
    )
    .expect_err("lib stays");
    assert!(
        told.to_string().contains("the stage `core` has lib 1"),
        "{told}"
    );

    let gone = [identity("lib", "0.9")];
    let told = resolve(
        &universe,
        &Stage {
            kept: &gone,
            ..stage
        },
    )
    .expect_err("no such version");
    assert!(
        told.to_string()
            .starts_with("lib 0.9 (amd64) of the stage `core`"),
        "{told}"
    );

    // A .deb of the lower stage is given again, and is known then.
    let kept = [identity("own", "5")];
    let debs = ["Package: own\nVersion: 5\nArchitecture: amd64\nDepends: base\n"];
    let stage = Stage {
        requests: &old,
        kept: &kept,
        debs: &debs,
        ..Stage::default()
    };
    let solution = resolve(&universe, &stage).expect("a solution");
    assert_eq!(shown(&solution), ["base 1", "own 5", "lib 2", "old 1"]);
    assert_eq!(solution.packages[1].origin, Origin::Deb(0));
    add(&mut universe, "again", true, "own 6");
    let solution = resolve(&universe, &stage).expect("a solution");
    assert_eq!(shown(&solution)[1], "own 5");
}

#[test]
fn locked_versions_are_preferred_while_there_are_any() {
    let universe = universe(
        "app 1; Depends: lib\napp 2; Depends: lib\nlib 1\nlib 3\nnew; Depends: lib (>= 2), app",
    );
    let prefer = BTreeMap::from([
        ("app:amd64".to_owned(), "1".parse().expect("a version")),
        ("lib:amd64".to_owned(), "1".parse().expect("a version")),
        ("gone:amd64".to_owned(), "1".parse().expect("a version")),
    ]);
    let resolved = |texts: &[&str]| {
        let requests = requests(texts);
        let stage = Stage {
            requests: &requests,
            prefer: &prefer,
            ..Stage::default()
        };
        shown(&resolve(&universe, &stage).expect("a solution"))
    };
    assert_eq!(resolved(&["app"]), ["lib 1", "app 1"]);
    // lib must go up; app need not.
    assert_eq!(resolved(&["new"]), ["lib 3", "app 1", "new 1"]);
}

#[test]
fn tells_why_by_the_shortest_chain() {
    let universe = universe(
        "desktop; Depends: shell, panel; Recommends: extra
         shell; Depends: panel
         panel; Pre-Depends: lib | other
         extra; Depends: lib
         lib",
    );
    let requests = requests(&["desktop"]);
    let stage = Stage {
        requests: &requests,
        recommends: true,
        ..Stage::default()
    };
    let solution = resolve(&universe, &stage).expect("a solution");
    let place = |name| solution.find(name).expect("chosen");
    let why = solution.why(place("lib")).expect("a reason");
    assert_eq!((why.root, why.first), (Root::Request(0), place("desktop")));
    let told: Vec<_> = why
        .links
        .iter()
        .map(|link| format!("{} {}", link.relation, link.clause))
        .collect();
    assert_eq!(told, ["depends on panel", "pre-depends on lib | other"]);
    let why = solution.why(place("extra")).expect("a reason");
    assert_eq!(why.links[0].relation.to_string(), "recommends");
    let by: Vec<_> = solution
        .required_by(place("panel"))
        .map(|(by, _)| by)
        .collect();
    assert_eq!(by, [place("shell"), place("desktop")]);
}

#[test]
fn reads_requests() {
    let request = |text: &str| text.parse::<Request>().map(|request| request.to_string());
    assert_eq!(request("a").as_deref(), Ok("a"));
    assert_eq!(
        request(" a:i386 = 1:2-3 ").as_deref(),
        Ok("a:i386 (= 1:2-3)")
    );
    assert_eq!(request("a (>= 2)").as_deref(), Ok("a (>= 2)"));
    assert!(matches!(request("a b"), Err(RequestError::Relation { .. })));
    assert!(matches!(request("a="), Err(RequestError::Version { .. })));
    assert!(matches!(request(""), Err(RequestError::NotOne { .. })));
    assert!(matches!(request("a, b"), Err(RequestError::NotOne { .. })));
    assert!(matches!(request("a | b"), Err(RequestError::NotOne { .. })));
    assert!(matches!(
        request("a:any"),
        Err(RequestError::Qualifier { .. })
    ));
}

/// A universe with every kind of choice, made by arithmetic.
fn varied() -> Universe {
    let mut lines = String::new();
    for at in 0_u32..400 {
        let other = |step: u32| (at * 7 + step * 13) % 400;
        let fields = match at % 5 {
            0 => format!("Depends: p{} | p{}, v{}", other(1), other(2), at % 9),
            1 => format!("Depends: p{}; Provides: v{}", other(3), at % 9),
            2 => format!(
                "Recommends: p{}, v{}; Provides: v{} (= 1)",
                other(4),
                at % 7,
                at % 4
            ),
            3 => format!(
                "Conflicts: p{}; Recommends: p{} | p{}",
                other(5),
                other(6),
                other(7)
            ),
            _ => format!("Pre-Depends: p{} (>= 2)", other(8)),
        };
        for version in 1..=3 {
            lines += &format!("p{at} {version}; {fields}\n");
        }
    }
    universe(&lines)
}

/// Not a test of its own: what [`every_process_chooses_the_same`] runs.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn writes_a_choice() {
    use std::io::Write;

    let requests = requests(&["p0", "p10", "p21", "p32", "p44"]);
    let stage = Stage {
        requests: &requests,
        recommends: true,
        ..Stage::default()
    };
    let solution = resolve(&varied(), &stage).expect("a solution");
    let text = format!("chosen: {}\n", shown(&solution).join(", "));
    std::io::stdout()
        .write_all(text.as_bytes())
        .expect("somebody reads");
}

/// The solver seeds its hash tables at random, once for each process.
#[test]
fn every_process_chooses_the_same() {
    let choice = || {
        let this = std::env::current_exe().expect("a test is a program");
        let output = Command::new(this)
            .args(["--ignored", "--exact", "writes_a_choice", "--nocapture"])
            .output()
            .expect("a program");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let line = text
            .lines()
            .find(|line| line.contains("chosen: "))
            .expect("written above");
        line.split_once("chosen: ")
            .expect("found above")
            .1
            .to_owned()
    };
    let first = choice();
    assert!(first.split(", ").count() > 30, "{first}");
    for _ in 0..7 {
        assert_eq!(choice(), first);
    }
}

#[test]
fn refuses_a_damaged_index() {
    let told = |text: &str| {
        let mut universe = Universe::new("amd64");
        let archive = kasmforge_resolve::Archive {
            name: "debian".into(),
            suite: "trixie".into(),
            priority: kasmforge_resolve::Archive::AUTOMATIC,
        };
        let archive = universe.add_archive(archive);
        universe
            .add_index(archive, text)
            .expect_err("damaged")
            .to_string()
    };
    let good = index("a 1");
    assert_eq!(
        told(&format!("{good}Package: b\n")),
        "an index of the archive debian, line 5: the field Version is missing"
    );
    assert_eq!(
        told(&good.replace("Version: 1", "Version: ?")),
        "an index of the archive debian, line 1: a has no proper version"
    );
    assert_eq!(
        told(&format!(
            "{}Provides: (\n",
            good.trim_end().to_owned() + "\n"
        )),
        "an index of the archive debian, line 1: a has bad Provides"
    );
    assert_eq!(
        told(&format!("{good}{}", "x".repeat(10 << 20))),
        "an index of the archive debian cannot be read"
    );
    assert_eq!(
        told(&format!("Package: a\nDepends: {}\n", "b, ".repeat(4 << 20))),
        "an index of the archive debian cannot be read"
    );
}
