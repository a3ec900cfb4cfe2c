//! Why there is no solution, word by word.

use insta::assert_snapshot;
use kasmforge_resolve::{Stage, Universe, Unsatisfiable, resolve};

mod common;

use common::{solve, universe};

/// What a person is told: each problem, its reasons, its help, and the requests at fault.
fn told(universe: &Universe, requests: &[&str]) -> String {
    shown(&solve(universe, requests).expect_err("no solution"))
}

fn shown(unsatisfiable: &Unsatisfiable) -> String {
    let mut text = String::new();
    for problem in &unsatisfiable.problems {
        text += &format!("{:?} {problem}\n", problem.requests());
        for because in problem.because() {
            text += &format!("    {because}\n");
        }
        if let Some(help) = problem.help() {
            text += &format!("    help: {help}\n");
        }
    }
    text
}

#[test]
fn each_request_that_cannot_be_met_is_told() {
    let universe = universe(
        "firefox-esr\nvim 9.0\nvim 9.1\nwine:i386\nexim; Provides: mta\npostfix; Provides: mta\nvalgrind; Provides: tool",
    );
    let text = told(
        &universe,
        &[
            "firefox",
            "vim",
            "mta",
            "vim (>= 10)",
            "wine",
            "vmi",
            "nothing",
            "tool (>= 2)",
        ],
    );
    assert_snapshot!(text, @r"
    [0] no archive has a package `firefox`
        help: did you mean `firefox-esr`?
    [2] `mta` is a virtual package: name one that provides it (`postfix`, `exim`)
    [3] no archive has `vim (>= 10)`; there is 9.1 (debian), 9.0 (debian)
    [4] no archive has `wine` for amd64, only for i386
    [5] no archive has a package `vmi`
        help: did you mean `vim`?
    [6] no archive has a package `nothing`
    [7] no archive has `tool (>= 2)`; packages that provide it do so without that version
    ");
}

#[test]
fn a_chain_that_ends_nowhere() {
    let universe = universe(
        "app 2.0; Depends: middle, fine
         app 1.0; Depends: middle
         middle 5; Depends: fine, library (>= 3) | other-library
         library 2.0\nlibrary 2.1\nfine; Depends: finer\nfiner",
    );
    assert_snapshot!(told(&universe, &["fine", "app"]), @r"
    [1] `app` cannot be installed
        app 2.0 or 1.0 depends on middle
        middle 5 depends on library (>= 3) | other-library, but of library there is only 2.1 or 2.0, and no archive has other-library
    ");
}

#[test]
fn two_requests_that_exclude_each_other() {
    let universe = universe(
        "desktop; Depends: mail-reader, fine
         mail-reader 3; Depends: exim (>= 4)
         exim 4; Conflicts: mta; Provides: mta
         server; Depends: postfix
         postfix 3; Conflicts: mta; Provides: mta
         fine",
    );
    assert_snapshot!(told(&universe, &["fine", "desktop", "server"]), @r"
    [1, 2] `desktop` and `server` cannot be installed together
        desktop 1 depends on mail-reader
        mail-reader 3 depends on exim (>= 4)
        server 1 depends on postfix
        postfix 3 conflicts with mta, which exim 4 provides
    ");
}

#[test]
fn a_conflict_in_both_directions_is_told_once() {
    let universe = universe("a; Conflicts: b\nb; Breaks: a (<< 2)");
    assert_snapshot!(told(&universe, &["a", "b"]), @r"
    [0, 1] `a` and `b` cannot be installed together
        a 1 conflicts with b
    ");
}

#[test]
fn two_versions_of_one_library() {
    let universe = universe(
        "old; Depends: library (<< 2)
         new; Depends: library (>= 2)
         library 1.9\nlibrary 2.0",
    );
    assert_snapshot!(told(&universe, &["old", "new"]), @r"
    [0, 1] `old` and `new` cannot be installed together
        old 1 depends on library (<< 2)
        new 1 depends on library (>= 2)
        only one version of library can be installed
    ");
}

#[test]
fn an_essential_package_in_the_way() {
    let universe = universe("init; Conflicts: systemd\nsystemd 252 +");
    assert_snapshot!(told(&universe, &["init"]), @r"
    [0] `init` cannot be installed
        every system must have systemd
        init 1 conflicts with systemd
    ");
}

#[test]
fn relations_that_cannot_be_read() {
    let universe = universe("app; Depends: library\nlibrary; Depends: ((\n");
    assert_snapshot!(told(&universe, &["app"]), @r"
    [0] `app` cannot be installed
        app 1 depends on library
        library 1 cannot be used: library: the field Depends cannot be read: byte 0 of the relations, near `((`: a package name is missing
    ");
}

#[test]
fn a_long_chain_is_shortened() {
    let mut lines = String::new();
    for at in 0..200 {
        lines += &format!("p{at}; Depends: p{}\n", at + 1);
    }
    assert_snapshot!(told(&universe(&lines), &["p0"]), @r"
    [0] `p0` cannot be installed
        p0 1 depends on p1
        p1 1 depends on p2
        p2 1 depends on p3
        p3 1 depends on p4
        p4 1 depends on p5
        p5 1 depends on p6
        p6 1 depends on p7
        p7 1 depends on p8
        p8 1 depends on p9
        p9 1 depends on p10
        p10 1 depends on p11
        p11 1 depends on p12
        … and 177 more reasons between these
        p189 1 depends on p190
        p190 1 depends on p191
        p191 1 depends on p192
        p192 1 depends on p193
        p193 1 depends on p194
        p194 1 depends on p195
        p195 1 depends on p196
        p196 1 depends on p197
        p197 1 depends on p198
        p198 1 depends on p199
        p199 1 depends on p200, but no archive has p200
    ");
}

#[test]
fn a_child_that_cannot_keep_its_parents_versions() {
    let universe = universe(
        "xfce; Depends: panel, lib (>= 1)
         panel; Depends: lib
         editor; Depends: viewer
         viewer; Depends: lib (>= 2)
         lib 1\nlib 2",
    );
    let requests = common::requests(&["xfce", "editor"]);
    let kept = [kasmforge_resolve::Identity {
        name: "lib".into(),
        architecture: "amd64".into(),
        version: "1".parse().expect("a version"),
        stage: "core".into(),
    }];
    let stage = Stage {
        requests: &requests,
        kept: &kept,
        ..Stage::default()
    };
    let unsatisfiable = resolve(&universe, &stage).expect_err("lib stays");
    assert_snapshot!(shown(&unsatisfiable), @"
    [1] `editor` cannot be installed
        the stage `core` has lib 1, which stays as it is
        editor 1 depends on viewer
        viewer 1 depends on lib (>= 2)
        only one version of lib can be installed
        help: what `core` has, every workspace on top of it has: ask there for a version that serves both, or take newer ones with `kasmforge update lib`
    ");
}

#[test]
fn what_a_pin_keeps_out() {
    let universe = universe("app; Depends: tool | other\ntool\nother");
    let requests = common::requests(&["app", "tool"]);
    let pins = [kasmforge_resolve::Pin {
        packages: vec!["tool".into(), "oth*".into()],
        to: kasmforge_resolve::PinTo::Any,
        priority: kasmforge_resolve::Pin::NEVER,
    }];
    let mut stage = Stage {
        requests: &requests,
        pins: &pins,
        ..Stage::default()
    };
    let unsatisfiable = resolve(&universe, &stage).expect_err("asked for and kept out");
    assert_snapshot!(shown(&unsatisfiable), @"[1] `tool` is asked for, and kept out by a pin");
    stage.requests = &requests[..1];
    let unsatisfiable = resolve(&universe, &stage).expect_err("needed and kept out");
    assert_snapshot!(shown(&unsatisfiable), @"
    [0] `app` cannot be installed
        app 1 depends on tool | other, but tool is kept out by a pin, and other is kept out by a pin
    ");
}
