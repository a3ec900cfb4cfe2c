//! Definitions as people write them: right ones, wrong ones, and noise.

mod merging;
mod mistakes;
mod noise;
mod project;
mod registry;
mod schema;

use kasmforge_spec::{Memory, Workspace, load};

/// What is said of the workspace `desktop` of a project that is wrong.
fn report(files: &[(&str, &str)]) -> String {
    let sources: Memory = files.iter().copied().collect();
    let report = load(&sources, "desktop").expect_err("the definition is wrong");
    report.to_string()
}

/// What is said of one file that is wrong. The distribution is added below it.
fn wrong(text: &str) -> String {
    report(&[("workspaces/desktop.toml", &rooted(text))])
}

/// The workspace `desktop` of a project that is right.
fn right(files: &[(&str, &str)]) -> Workspace {
    let sources: Memory = files.iter().copied().collect();
    match load(&sources, "desktop") {
        Ok(workspace) => workspace,
        Err(report) => panic!("{report}"),
    }
}

fn rooted(text: &str) -> String {
    format!("{text}\n[debian]\nsuite = \"trixie\"\n")
}
