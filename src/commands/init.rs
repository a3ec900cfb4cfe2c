//! `kasmforge init`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kasmforge_spec::{FileContent, Workspace};
use serde_json::json;

use crate::cli::Global;
use crate::printer::Printer;
use crate::shipped::{self, File, Shipped, is_at_or_below};

/// What is typed after `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The project's folder; made if it is not there [default: this folder].
    directory: Option<PathBuf>,
    /// The shipped workspace to begin with.
    #[arg(long, value_name = "WORKSPACE", default_value = "desktop")]
    from: String,
    /// Also begins a workspace of your own, which extends it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only lists the workspaces that come with kasmforge.
    #[arg(long, conflicts_with_all = ["directory", "name"])]
    list: bool,
}

/// Writes a first project, and nothing over what is there.
pub(crate) fn run(wanted: &Init, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    if wanted.list {
        return list(printer);
    }
    let workspace = load(&wanted.from)?;
    let folder = match (&wanted.directory, &global.directory) {
        (Some(below), Some(named)) => named.join(below),
        (Some(folder), None) | (None, Some(folder)) => folder.clone(),
        (None, None) => PathBuf::from("."),
    };
    let mut written: Vec<(PathBuf, bool, Vec<u8>)> = needed(&workspace)
        .into_iter()
        .map(|file| (file.path.into(), file.executable, file.content.to_vec()))
        .collect();
    if let Some(name) = &wanted.name {
        let path = format!("workspaces/{name}.toml");
        let text = own(name, &workspace);
        // The same rules as everywhere say whether this can be a name.
        let mut sources: kasmforge_spec::Memory = shipped_texts();
        sources.0.insert(path.clone(), text.clone());
        kasmforge_spec::load(&sources, name)?;
        if written
            .iter()
            .any(|(shipped, ..)| *shipped == Path::new(&path))
        {
            bail!("`{name}` is the name of a workspace that is written, too; choose another");
        }
        written.push((path.into(), false, text.into_bytes()));
    }
    if !folder.join(".gitignore").exists() {
        written.push((".gitignore".into(), false, b"/result\n".to_vec()));
    }
    refuse_what_is_there(&folder, &written)?;
    for (path, executable, content) in &written {
        write(&folder.join(path), *executable, content)?;
    }
    report(wanted, &folder, &written, printer)
}

fn load(name: &str) -> anyhow::Result<Workspace> {
    use kasmforge_spec::Sources as _;
    let names = Shipped.workspaces()?;
    if !names.iter().any(|one| one == name) {
        bail!(
            "no workspace `{name}` comes with kasmforge; these do: {}",
            names.join(", ")
        );
    }
    Ok(kasmforge_spec::load(&Shipped, name)?)
}

/// The shipped files a workspace is made from: the definitions that were read, the folder beside
/// each, and whatever else they name.
fn needed(workspace: &Workspace) -> Vec<&'static File> {
    let mut roots: BTreeSet<&str> = workspace.files.paths().collect();
    roots.extend(
        workspace
            .files
            .paths()
            .filter_map(|path| path.strip_suffix(".toml")),
    );
    let files = workspace.stages.iter().flat_map(|stage| &stage.image_files);
    roots.extend(files.filter_map(|file| match &file.content {
        FileContent::Source(source) => Some(source.value.as_str()),
        _ => None,
    }));
    let wanted = |file: &&File| roots.iter().any(|root| is_at_or_below(file.path, root));
    shipped::FILES.iter().filter(wanted).collect()
}

/// The shipped files as texts: of pictures, only that they are there is asked.
fn shipped_texts() -> kasmforge_spec::Memory {
    let texts = shipped::FILES.iter();
    texts
        .map(|file| (file.path, String::from_utf8_lossy(file.content)))
        .collect()
}

/// A definition to go on from.
fn own(name: &str, parent: &Workspace) -> String {
    format!(
        "name = \"{name}\"\n\
         description = \"What this desktop is for, in one sentence\"\n\
         extends = \"{}\"\n\
         \n\
         [packages]\n\
         install = [\n    \
             # \"gimp\",\n\
         ]\n\
         \n\
         [deploy]\n\
         container = \"{name}\"\n\
         ports = [\"6901:6901\"]\n\
         volumes = [\"{name}-home:/home/kasm-user\"]\n",
        parent.name
    )
}

fn refuse_what_is_there(folder: &Path, files: &[(PathBuf, bool, Vec<u8>)]) -> anyhow::Result<()> {
    let there = files.iter().map(|(path, ..)| path);
    let there = there.filter(|path| folder.join(path).symlink_metadata().is_ok());
    let names: Vec<_> = there.map(|path| path.display().to_string()).collect();
    let Some(first) = names.first() else {
        return Ok(());
    };
    let more = match names.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    bail!(
        "{} has {first}{more} already; nothing was written: name another folder",
        folder.display()
    )
}

fn write(path: &Path, executable: bool, content: &[u8]) -> anyhow::Result<()> {
    let made = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mode = if executable { 0o777 } else { 0o666 };
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)
    };
    made().with_context(|| format!("cannot write {}", path.display()))
}

fn report(
    wanted: &Init,
    folder: &Path,
    files: &[(PathBuf, bool, Vec<u8>)],
    printer: &Printer,
) -> anyhow::Result<()> {
    let name = wanted.name.as_ref().unwrap_or(&wanted.from);
    let there = if folder == Path::new(".") {
        String::new()
    } else {
        format!(" -C {}", folder.display())
    };
    let text = format!(
        "{} files in {}\nyours to change: workspaces/{name}.toml\nnext: kasmforge{there} build {name}",
        files.len(),
        folder.join("workspaces").display(),
    );
    let paths: Vec<_> = files
        .iter()
        .map(|(path, ..)| path.display().to_string())
        .collect();
    Ok(printer.result(
        &text,
        &json!({"workspace": name, "folder": folder, "files": paths}),
    )?)
}

fn list(printer: &Printer) -> anyhow::Result<()> {
    use kasmforge_spec::Sources as _;
    let mut lines = Vec::new();
    let mut json = Vec::new();
    for name in Shipped.workspaces()? {
        let workspace = load(&name)?;
        let description = workspace.description.unwrap_or_default();
        lines.push(format!("{name:16} {description}"));
        json.push(json!({"name": name, "description": description}));
    }
    Ok(printer.result(&lines.join("\n"), &json.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_spec::Sources as _;

    /// What `init` writes of each shipped workspace is a project that loads by itself.
    #[test]
    fn each_shipped_workspace_is_whole() {
        for name in Shipped.workspaces().expect("they are listed") {
            let folder = tempfile::tempdir().expect("a folder");
            let workspace = load(&name).expect("it loads");
            for file in needed(&workspace) {
                write(
                    &folder.path().join(file.path),
                    file.executable,
                    file.content,
                )
                .expect(file.path);
            }
            let sources = kasmforge_spec::Folder(folder.path().to_owned());
            let written = kasmforge_spec::load(&sources, &name);
            assert!(written.is_ok(), "{name}: {written:?}");
        }
    }
}
