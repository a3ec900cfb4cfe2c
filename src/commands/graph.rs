//! `kasmforge graph`

use clap::{Args, ValueEnum};
use kasmforge_build::NORMALISERS;
use kasmforge_lock::Lock;
use kasmforge_plan::{Inputs, Plan};
use serde_json::json;

use super::architecture;
use crate::printer::Printer;
use crate::project::Project;

#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// In which form.
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Format,
    /// Shows each package's own step too, not only layers.
    #[arg(long)]
    packages: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An indented list.
    Text,
    /// For Graphviz: `kasmforge graph --format dot | dot -Tsvg`.
    Dot,
}

/// A step: its name, what it is, and the steps it needs.
struct Node {
    id: String,
    kind: &'static str,
    label: String,
    needs: Vec<String>,
}

/// Shows the steps that make an image, and which needs which.
pub(crate) fn run(wanted: &Graph, project: &Project, printer: &Printer) -> anyhow::Result<()> {
    let name = match &wanted.workspace {
        Some(name) => name.clone(),
        None => project.only()?,
    };
    let workspace = project.load(&name)?;
    let lock = project.lock()?;
    // What files and services a stage has is not needed to tell which steps there are.
    let rules = NORMALISERS.iter().map(|rule| rule.name.to_owned());
    let inputs = Inputs {
        finish: vec![Vec::new(); workspace.stages.len()],
        rules: rules.collect(),
        image: Vec::new(),
        created: 0,
    };
    let plan = Plan::make(&lock, &workspace, architecture()?, &inputs)
        .map_err(|error| anyhow::anyhow!("{error}; `kasmforge lock {name}` makes it"))?;
    let nodes = nodes(&plan, &lock, &name, wanted.packages);
    let json = json!({
        "workspace": name,
        "steps": nodes.iter().map(|node| json!({
            "id": node.id, "kind": node.kind, "what": node.label, "needs": node.needs,
        })).collect::<Vec<_>>(),
    });
    let text = match wanted.format {
        Format::Text => text(&nodes),
        Format::Dot => dot(&name, &nodes),
    };
    Ok(printer.result(&text, &json)?)
}

fn nodes(plan: &Plan, lock: &Lock, name: &str, packages: bool) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut layers = Vec::new();
    let mut below: Option<String> = None;
    for stage in &plan.stages {
        let unpack_id = |at: usize| {
            let package = &lock.packages[stage.packages[at].package];
            format!("unpack {}:{}", package.name, package.architecture)
        };
        if packages {
            for at in 0..stage.packages.len() {
                let package = &lock.packages[stage.packages[at].package];
                nodes.push(Node {
                    id: unpack_id(at),
                    kind: "unpack",
                    label: format!("{} {}", package.name, package.version),
                    needs: Vec::new(),
                });
            }
        }
        for (number, layer) in stage.layers.iter().enumerate() {
            let id = format!("layer {} {number}", stage.name);
            nodes.push(Node {
                id: id.clone(),
                kind: "layer",
                label: layer.sources.join(" "),
                needs: match packages {
                    true => layer.packages.iter().map(|at| unpack_id(*at)).collect(),
                    false => Vec::new(),
                },
            });
            layers.push(id);
        }
        let configure = format!("configure {}", stage.name);
        let mut needs: Vec<String> = below.iter().cloned().collect();
        if packages {
            needs.extend((0..stage.packages.len()).map(unpack_id));
        }
        nodes.push(Node {
            id: configure.clone(),
            kind: "configure",
            label: format!("the scripts of {} packages", stage.packages.len()),
            needs,
        });
        let finish = format!("finish {}", stage.name);
        nodes.push(Node {
            id: finish.clone(),
            kind: "finish",
            label: "ids, files, users and services".into(),
            needs: vec![configure.clone()],
        });
        layers.extend([configure.clone(), finish]);
        below = Some(configure);
    }
    nodes.push(Node {
        id: format!("image {name}"),
        kind: "image",
        label: format!("{} layers in one archive", layers.len()),
        needs: layers,
    });
    nodes
}

fn text(nodes: &[Node]) -> String {
    let mut lines = Vec::new();
    for node in nodes {
        lines.push(format!("{}: {}", node.id, node.label));
        if node.kind != "image" && !node.needs.is_empty() {
            lines.push(format!("  needs {}", node.needs.join(", ")));
        }
    }
    lines.join("\n")
}

fn dot(name: &str, nodes: &[Node]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut lines = vec![
        format!("digraph {} {{", quoted(name)),
        "  rankdir=LR;".into(),
    ];
    for node in nodes {
        let label = format!("{}\\n{}", node.id, short(&node.label));
        let label = label.replace('"', "\\\"");
        lines.push(format!(
            "  {} [shape=box, label=\"{label}\"];",
            quoted(&node.id)
        ));
    }
    for node in nodes {
        for need in &node.needs {
            lines.push(format!("  {} -> {};", quoted(need), quoted(&node.id)));
        }
    }
    lines.push("}".into());
    lines.join("\n")
}

/// As much of a label as a box holds.
fn short(label: &str) -> String {
    const LONGEST: usize = 40;
    if label.chars().count() <= LONGEST {
        return label.to_owned();
    }
    label.chars().take(LONGEST - 1).chain(['…']).collect()
}
