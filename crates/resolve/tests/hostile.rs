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
fn an_endless_circle_is_given_up() {
    let unsatisfiable = solve(&circle(MANY), &["p0"]).expect_err("too long");
    assert!(matches!(unsatisfiable.problems[..], [Problem::TooHard]));
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
