//! `kasmforge why`

use kasmforge_lock::Asked;
use serde_json::json;

use super::architecture;
use crate::cli::Global;
use crate::printer::Printer;
use crate::project::Project;
use crate::reasons::{Chain, Reasons, Relation, Root};

/// What can be typed after `why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workspace.
    pub(crate) workspace: String,
    /// The package: its name, or `name:arch`.
    pub(crate) package: String,
    /// One chain for every request that leads there, not only the shortest.
    #[arg(long)]
    pub(crate) all: bool,
    /// The architecture [default: this host's].
    #[arg(long, value_name = "ARCH", value_parser = super::architecture_named)]
    pub(crate) architecture: Option<String>,
}

/// Tells why a package is in a workspace. Needs the lock and the definitions, nothing else.
pub(crate) fn run(wanted: &Arguments, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let project = Project::find(global.directory.as_deref())?;
    let workspace = project.load(&wanted.workspace)?;
    let lock = project.lock()?;
    let reasons = reasons(&lock, &workspace, wanted.architecture.as_deref())?;
    let package = find(&reasons, &wanted.package, &wanted.workspace)?;
    let chains: Vec<Chain> = if wanted.all {
        reasons.all(package)
    } else {
        reasons.shortest(package).into_iter().collect()
    };
    let found = reasons.packages[package];
    let mut text = format!(
        "{} {} is in `{}`",
        found.name, found.version, workspace.name
    );
    if chains.is_empty() {
        // Only a lock that was edited, or one of the first format, has such.
        text.push_str(", and the lock does not say why; `kasmforge update` writes it anew");
    }
    for (at, chain) in chains.iter().enumerate() {
        text.push_str(if at == 0 { " because" } else { "\nand because" });
        for line in lines(&reasons, chain) {
            text.push_str(&format!("\n  {line}"));
        }
    }
    let json = json!({
        "workspace": workspace.name,
        "package": found.name,
        "version": found.version,
        "architecture": found.architecture,
        "chains": chains.iter().map(|chain| to_json(&reasons, chain)).collect::<Vec<_>>(),
    });
    Ok(printer.result(&text, &json)?)
}

/// The graph of a workspace, or words on how to get one.
pub(super) fn reasons<'a>(
    lock: &'a kasmforge_lock::Lock,
    workspace: &kasmforge_spec::Workspace,
    named: Option<&str>,
) -> anyhow::Result<Reasons<'a>> {
    let native = match named {
        Some(named) => named,
        None => architecture()?,
    };
    Reasons::of(lock, workspace, native).ok_or_else(|| {
        let name = &workspace.name;
        match named {
            Some(named) => anyhow::anyhow!(
                "kasmforge.lock has no workspace `{name}` for {named}; run `kasmforge lock {name} \
                 --architecture {named}`"
            ),
            None => {
                anyhow::anyhow!("kasmforge.lock has no workspace `{name}`; run `kasmforge lock`")
            }
        }
    })
}

/// A package of a workspace, or words on what there is instead.
pub(super) fn find(reasons: &Reasons<'_>, name: &str, workspace: &str) -> anyhow::Result<usize> {
    if let Some(package) = reasons.find(name) {
        return Ok(package);
    }
    let near = reasons.near(name);
    let near = match near.is_empty() {
        true => String::new(),
        false => format!("; there is {}", near.join(", ")),
    };
    anyhow::bail!("`{workspace}` has no package `{name}`{near}")
}

fn lines(reasons: &Reasons<'_>, chain: &Chain) -> Vec<String> {
    let full = |at: usize| {
        let package = reasons.packages[at];
        format!("{} {}", package.name, package.version)
    };
    let mut lines = vec![match &chain.root {
        // A request by another name than the package's.
        Root::Asked { text, .. }
            if Asked::named(text).split(':').next()
                != Some(&reasons.packages[chain.first].name) =>
        {
            let verb = match text.starts_with('?') {
                true => "is of",
                false => "provides",
            };
            format!("{}, which {} {verb}", chain.root.words(), full(chain.first))
        }
        Root::Essential if !chain.links.is_empty() => {
            format!("every system must have {}", full(chain.first))
        }
        root => root.words(),
    }];
    let mut by = chain.first;
    for &(relation, to) in &chain.links {
        let name = &reasons.packages[to].name;
        lines.push(format!("{} {} {name}", full(by), relation.words()));
        by = to;
    }
    lines
}

fn to_json(reasons: &Reasons<'_>, chain: &Chain) -> serde_json::Value {
    let root = match &chain.root {
        Root::Asked {
            stage, text, place, ..
        } => json!({ "kind": "request", "stage": stage, "request": text, "place": place }),
        Root::Address { url, place } => json!({ "kind": "address", "url": url, "place": place }),
        Root::Essential => json!({ "kind": "essential" }),
    };
    let package = |at: usize| reasons.packages[at];
    let mut links = vec![json!({
        "package": package(chain.first).name,
        "version": package(chain.first).version,
    })];
    links.extend(chain.links.iter().map(|&(relation, to)| {
        let relation = match relation {
            Relation::Depends => "depends",
            Relation::Recommends => "recommends",
        };
        json!({
            "package": package(to).name,
            "version": package(to).version,
            "relation": relation,
        })
    }));
    json!({ "root": root, "chain": links })
}
