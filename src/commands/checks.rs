//! `kasmforge checks`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use super::{Context, engine, load};
use crate::cli::EngineArguments;
use crate::printer::Printer;
use crate::suite::{self, Line, Subject, Verdict};

/// What is typed after `checks`.
#[derive(Debug, clap::Args)]
pub(crate) struct Checks {
    /// The workspace [default: the one built last].
    #[arg(conflicts_with = "image")]
    workspace: Option<String>,
    /// An image of the engine, of whatever origin, in place of a workspace.
    #[arg(long, value_name = "REFERENCE")]
    image: Option<String>,
    /// Where the screenshot is kept [default: NAME.png in the project's folder].
    #[arg(long, value_name = "PATH")]
    screenshot: Option<PathBuf>,
    /// Seconds the desktop may take to come up.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    within: u64,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Runs an image in a container of its own and asks it what it must do. Failed questions fail the
/// command.
pub(crate) fn run(wanted: &Checks, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let engine = engine::connected(&wanted.engine)?;
    let mut subject = match &wanted.image {
        Some(image) => Subject {
            image: image.clone(),
            ..Subject::default()
        },
        None => {
            let name = engine::workspace(wanted.workspace.as_ref(), context)?;
            let workspace = context.project.load(&name)?;
            let built = engine::built(&name, context)?;
            let loaded = load::give(&engine, &built, printer)?;
            Subject {
                image: loaded.reference.to_string(),
                checks: engine::health(&workspace).checks,
                environment: workspace.deploy.environment.clone(),
                shm_size: workspace.deploy.shm_size,
                ..Subject::default()
            }
        }
    };
    subject.within = Duration::from_secs(wanted.within);
    let shown = subject.image.trim_start_matches("docker.io/").to_owned();
    let stem = shown.rsplit('/').next().unwrap_or(&shown).replace(':', "-");
    let kept = wanted.screenshot.clone();
    let kept = kept.unwrap_or_else(|| context.project.root.join(format!("{stem}.png")));
    printer.say(&format!("checking {shown}"));
    let report = suite::examine(&engine, &subject, &mut |line| {
        let told = format!("{}  {}", line.verdict.word(), line.name);
        match line.verdict {
            Verdict::Fails if !line.seen.is_empty() => {
                printer.say(&format!("{told}: {}", line.seen));
            }
            _ => printer.say(&told),
        }
    })?;
    let screenshot = match &report.screenshot {
        Some(picture) => {
            // What the server sent decides what it is called.
            let kept = match picture.starts_with(b"\xff\xd8") {
                true => kept.with_extension("jpg"),
                false => kept,
            };
            std::fs::write(&kept, picture)
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", kept.display()))?;
            Some(kept)
        }
        None => None,
    };
    let failed = report
        .lines
        .iter()
        .filter(|line| line.verdict == Verdict::Fails)
        .count();
    let lines: Vec<_> = report
        .lines
        .iter()
        .map(|line| {
            json!({
                "group": line.group,
                "name": line.name,
                "verdict": line.verdict.word(),
                "seen": line.seen,
            })
        })
        .collect();
    let json = json!({
        "image": subject.image,
        "passed": failed == 0,
        "failed": failed,
        "desktop_seconds": report.desktop_seconds,
        "size": report.size,
        "layers": report.layers,
        "screenshot": screenshot,
        "lines": lines,
    });
    let mut text = table(&report.lines);
    if let Some(seconds) = report.desktop_seconds {
        text.push_str(&format!("\nthe desktop answered after {seconds:.1} s"));
    }
    if let Some(kept) = &screenshot {
        text.push_str(&format!("\nscreenshot: {}", kept.display()));
    }
    printer.result(&text, &json)?;
    if failed > 0 {
        bail!("{shown} fails {failed} of {} checks", report.lines.len());
    }
    Ok(())
}

/// The lines as a table: group, verdict, name, and what was seen where that says more.
fn table(lines: &[Line]) -> String {
    let width = |of: fn(&Line) -> &str| {
        let lengths = lines.iter().map(|line| of(line).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (groups, names) = (width(|line| line.group), width(|line| &line.name));
    let rows = lines.iter().map(|line| {
        let row = format!(
            "{:groups$}  {:7}  {:names$}  {}",
            line.group,
            line.verdict.word(),
            line.name,
            line.seen
        );
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}
