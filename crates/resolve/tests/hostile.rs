//! Indexes that nobody would write in good faith: they must end, and soon.

use std::fmt::Write;

mod common;

use common::{solve, universe};
use kasmforge_resolve::{Problem, Universe};

const MANY: usize = 100_000;

fn circle(length: usize) -> Universe {
    let mut lines = String::new();
    for at in 0..length {
        writeln!(lines, "p{at}; Depends: p{}", (at + 1) % length).expect("memory does not fail");
    }
    universe(&lines)
}

#[test]
fn a_long_circle_is_gone_round() {
    let length = MANY / 50;
    let solution = solve(&circle(length), &["p0"]).expect("a solution");
    assert_eq!(solution.packages.len(), length);
    let why = solution.why(solution.find(&format!("p{}", length - 1)).expect("chosen"));
    assert_eq!(why.expect("a reason").links.len(), length - 1);
}

#[test]
fn an_endless_circle_has_an_end() {
    // Gone round, or given up in words: either is an answer.
    match solve(&circle(MANY), &["p0"]) {
        Ok(solution) => assert_eq!(solution.packages.len(), MANY),
        Err(refused) => assert!(
            matches!(refused.problems[..], [Problem::TooHard]),
            "another problem than its length"
        ),
    }
}

#[test]
fn a_chain_of_many_that_ends_nowhere() {
    let many = MANY / 20;
    let mut lines = String::new();
    for at in 0..many {
        writeln!(lines, "p{at}; Depends: p{}", at + 1).expect("memory does not fail");
    }
    let told = solve(&universe(&lines), &["p0"])
        .expect_err("no solution")
        .to_string();
    assert!(told.contains(&format!("no archive has p{many}")), "{told}");
    assert!(told.lines().count() < 30, "{told}");
}

#[test]
fn a_name_that_thousands_provide() {
    let many = MANY / 5;
    let mut lines = "app; Depends: v\n".to_owned();
    for at in 0..many {
        writeln!(lines, "p{at}; Provides: v").expect("memory does not fail");
    }
    let universe = universe(&lines);
    assert_eq!(
        solve(&universe, &["app"])
            .expect("a solution")
            .packages
            .len(),
        2
    );
    let told = solve(&universe, &["v"]).expect_err("virtual").to_string();
    assert!(told.len() < 300, "{told}");
}

/// What an index is refused with.
fn refused(text: String) -> String {
    let mut universe = Universe::new("amd64");
    let archive = universe.add_archive(kasmforge_resolve::Archive {
        name: "debian".into(),
        suite: "trixie".into(),
        priority: kasmforge_resolve::Archive::AUTOMATIC,
    });
    let error = universe.add_index(archive, text).expect_err("too much");
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[test]
fn a_field_of_ten_megabytes() {
    let provides = "virtual (= 1), ".repeat(700_000);
    let told = refused(format!(
        "Package: a\nVersion: 1\nArchitecture: all\nProvides: {provides}\n"
    ));
    insta::assert_snapshot!(told, @"an index of the archive debian cannot be read: line 4 (byte 40): the stanza is longer than 1048576 bytes");
}

#[test]
fn versions_that_never_end() {
    let long = "9".repeat(10_000);
    let told = refused(format!("Package: a\nVersion: {long}\nArchitecture: all\n"));
    assert!(told.len() < 400, "{told}");
    assert!(
        told.contains("a has no proper version") && told.contains("longer than 1024"),
        "{told}"
    );
}

#[test]
fn versions_and_architectures_without_number() {
    let stanza = |version: usize, architecture: &str| {
        format!("Package: a\nVersion: {version}\nArchitecture: {architecture}\n\n")
    };
    let versions = (0..MANY).map(|at| stanza(at, "all")).collect();
    insta::assert_snapshot!(refused(versions), @"an index of the archive debian, line 4097: there are more than 1024 versions of a");
    let architectures = (0..MANY).map(|at| stanza(1, &format!("a{at}"))).collect();
    insta::assert_snapshot!(refused(architectures), @"an index of the archive debian, line 509: there are more than 128 architectures");
}
