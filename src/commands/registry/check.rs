//! `kasmforge registry check`

use kasmforge_kasm::registry::{self, Checked, Finding, Level};
use kasmforge_spec::{Diagnostic, FileId, Files, Location};
use serde_json::{Value, json};

use super::{Check, place};
use crate::cli::Global;
use crate::printer::Printer;
use crate::settings::Settings;

/// Checks a registry, and shows what is wrong with it.
pub(super) fn run(wanted: &Check, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let settings = Settings::resolve(global)?;
    let source = place::source(&wanted.registry, &settings)?;
    let previous = wanted
        .previous
        .as_deref()
        .map(|text| place::source(text, &settings))
        .transpose()?;
    let checked = registry::check(source.as_ref(), previous.as_deref())?;
    if !printer.json() {
        show(&checked, printer);
    }
    let count = |level| {
        let findings = checked.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    };
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let lists: Vec<String> = checked
        .lists
        .iter()
        .map(|(schema, workspaces)| {
            format!(
                "schema {} with {}",
                schema.name(),
                many(*workspaces, "workspace")
            )
        })
        .collect();
    let text = format!(
        "{}: {}; {}, {}",
        wanted.registry,
        lists.join(", "),
        many(errors, "error"),
        many(warnings, "warning")
    );
    let json = json!({
        "registry": wanted.registry,
        "lists": checked.lists.iter().map(|(schema, workspaces)| json!({
            "schema": schema.name(),
            "workspaces": workspaces,
        })).collect::<Vec<_>>(),
        "errors": errors,
        "warnings": warnings,
        "findings": findings(&checked),
    });
    printer.result(&text, &json)?;
    if errors > 0 {
        anyhow::bail!("servers refuse this registry, or workspaces of it");
    }
    if wanted.strict && warnings > 0 {
        anyhow::bail!("there are warnings, and --strict forbids them");
    }
    Ok(())
}

fn many(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The texts as the renderer wants them.
fn files(checked: &Checked) -> (Files, Vec<FileId>) {
    let mut files = Files::default();
    let ids = checked
        .texts
        .iter()
        .map(|text| files.add(text.name.as_str(), text.text.as_str()))
        .collect();
    (files, ids)
}

fn location(finding: &Finding, ids: &[FileId]) -> Location {
    Location {
        file: ids[finding.text],
        span: finding.span.clone(),
    }
}

/// Shows the findings at their places.
pub(super) fn show(checked: &Checked, printer: &Printer) {
    let (files, ids) = files(checked);
    for finding in &checked.findings {
        let mut help = finding.help.clone();
        if !finding.path.is_empty() {
            help.push(format!("this is `{}`", finding.path));
        }
        let diagnostic = Diagnostic {
            message: finding.message.clone(),
            at: Some(location(finding, &ids)),
            label: finding.label.clone(),
            related: Vec::new(),
            help,
        };
        match finding.level {
            Level::Error => printer.mistake(&files, &diagnostic),
            Level::Warning => printer.doubt(&files, &diagnostic),
        }
    }
}

fn findings(checked: &Checked) -> Vec<Value> {
    let (files, ids) = files(checked);
    let finding = |finding: &Finding| {
        let (line, column) = files.position(&location(finding, &ids));
        json!({
            "level": match finding.level {
                Level::Error => "error",
                Level::Warning => "warning",
            },
            "code": finding.code,
            "file": checked.texts[finding.text].name,
            "path": finding.path,
            "line": line,
            "column": column,
            "message": finding.message,
            "label": finding.label,
            "help": finding.help,
        })
    };
    checked.findings.iter().map(finding).collect()
}
