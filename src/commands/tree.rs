//! `kasmforge tree`

use std::collections::BTreeSet;

use serde_json::json;

use super::why;
use crate::cli::Global;
use crate::printer::Printer;
use crate::project::Project;
use crate::reasons::{Reasons, Relation, Root};

/// What can be typed after `tree`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workspace.
    pub(crate) workspace: String,
    /// Only what this package leads to [default: what the definitions ask for].
    pub(crate) package: Option<String>,
    /// How deep to go.
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<usize>,
    /// Shows what leads to the package, and not what it leads to.
    #[arg(long, requires = "package")]
    pub(crate) reverse: bool,
    /// The architecture [default: this host's].
    #[arg(long, value_name = "ARCH", value_parser = super::architecture_named)]
    pub(crate) architecture: Option<String>,
}

/// Shows packages and what they lead to. Needs the lock and the definitions, nothing else.
pub(crate) fn run(wanted: &Arguments, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let project = Project::find(global.directory.as_deref())?;
    let workspace = project.load(&wanted.workspace)?;
    let lock = project.lock()?;
    let reasons = why::reasons(&lock, &workspace, wanted.architecture.as_deref())?;
    let mut tree = Tree {
        reasons: &reasons,
        reverse: wanted.reverse,
        deepest: wanted.depth.unwrap_or(usize::MAX),
        shown: BTreeSet::new(),
        lines: Vec::new(),
    };
    match &wanted.package {
        Some(name) => tree.top(why::find(&reasons, name, &workspace.name)?),
        None => {
            // Each package once, although several stages may ask for it.
            let mut tops = Vec::new();
            for (root, at) in &reasons.roots {
                if *root != Root::Essential && !tops.contains(at) {
                    tops.push(*at);
                }
            }
            tops.sort_by_key(|&at| &reasons.packages[at].name);
            for at in tops {
                tree.top(at);
            }
            for (root, at) in &reasons.roots {
                if *root == Root::Essential && !tree.shown.contains(at) {
                    tree.top(*at);
                }
            }
        }
    }
    let lines = tree.lines;
    let text: Vec<_> = lines.iter().map(|line| line.text(&reasons)).collect();
    let json = json!({
        "workspace": workspace.name,
        "packages": lines.iter().map(|line| line.json(&reasons)).collect::<Vec<_>>(),
    });
    Ok(printer.result(&text.join("\n"), &json)?)
}

/// One line of a tree.
struct Line {
    /// For each level above, whether more of it follows; the last is this line's own.
    more: Vec<bool>,
    relation: Option<Relation>,
    package: usize,
    /// Whether what follows it was shown before.
    again: bool,
}

impl Line {
    fn text(&self, reasons: &Reasons<'_>) -> String {
        let mut text = String::new();
        if let Some((own, above)) = self.more.split_last() {
            for &more in above {
                text.push_str(if more { "│   " } else { "    " });
            }
            text.push_str(if *own { "├── " } else { "└── " });
        }
        let package = reasons.packages[self.package];
        text.push_str(&format!("{} {}", package.name, package.version));
        if self.relation == Some(Relation::Recommends) {
            text.push_str(" (recommended)");
        }
        if self.again {
            text.push_str(" (*)");
        }
        text
    }

    fn json(&self, reasons: &Reasons<'_>) -> serde_json::Value {
        let package = reasons.packages[self.package];
        json!({
            "depth": self.more.len(),
            "package": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "relation": self.relation.map(|relation| match relation {
                Relation::Depends => "depends",
                Relation::Recommends => "recommends",
            }),
            "shown_before": self.again,
        })
    }
}

struct Tree<'a> {
    reasons: &'a Reasons<'a>,
    reverse: bool,
    deepest: usize,
    shown: BTreeSet<usize>,
    lines: Vec<Line>,
}

impl Tree<'_> {
    fn links(&self, package: usize) -> Vec<(Relation, usize)> {
        if self.reverse {
            self.reasons.leading_to(package)
        } else {
            self.reasons.links[package].clone()
        }
    }

    /// Shows a package and all below it, each subtree once. Goes its own stack, because a chain of
    /// packages may be longer than a thread's.
    fn top(&mut self, package: usize) {
        let mut waiting = vec![(Vec::new(), None, package)];
        while let Some((more, relation, package)) = waiting.pop() {
            let links = self.links(package);
            let deep = more.len() < self.deepest;
            // Leaves are not worth a mark.
            let again = deep && !links.is_empty() && self.shown.contains(&package);
            if deep && !again {
                self.shown.insert(package);
                for (at, &(relation, to)) in links.iter().enumerate().rev() {
                    let mut more: Vec<bool> = more.clone();
                    more.push(at + 1 < links.len());
                    waiting.push((more, Some(relation), to));
                }
            }
            self.lines.push(Line {
                more,
                relation,
                package,
                again,
            });
        }
    }
}
