//! Whether a lock says what the definitions ask for: told without an index, a network or a solver.

use kasmforge_lock::{Asked, Lock, Workspace as Locked};
use kasmforge_spec::{DebByUrl, FileContent, Stage, Workspace};

use super::{of_project, packages_digest, request};
use crate::project::Project;

/// One thing a lock does not say as a definition does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The workspace, or the stage below it, that the lock does not fit.
    pub(crate) workspace: String,
    /// What is different, in words.
    pub(crate) what: String,
}

/// Everything in which a lock does not fit a workspace and the stages below it.
pub(crate) fn misfits(
    lock: &Lock,
    workspace: &Workspace,
    architecture: &str,
    project: &Project,
) -> Vec<Misfit> {
    let mut found = Vec::new();
    let mut below = None;
    for stage in &workspace.stages {
        let known = lock.workspace(&stage.name, architecture);
        let misfit = match known {
            None => Some(format!("it is not locked for {architecture}")),
            Some(known) if known.request != request(workspace, stage, below) => {
                Some(changed(known, workspace, stage))
            }
            Some(_) => other_file(lock, workspace, stage, project),
        };
        found.extend(misfit.map(|what| Misfit {
            workspace: stage.name.clone(),
            what,
        }));
        below = known.map(|known| packages_digest(lock, known));
    }
    for file in workspace.stages.iter().flat_map(|stage| &stage.image_files) {
        let FileContent::Url { url, sha256, .. } = &file.content else {
            continue;
        };
        let what = match (lock.urls.get(&url.value), sha256) {
            (None, _) => format!("the download {} is new", url.value),
            (Some(known), Some(named)) if known.hex() != named.value => {
                format!("the download {} has another digest", url.value)
            }
            _ => continue,
        };
        let misfit = Misfit {
            workspace: workspace.name.clone(),
            what: format!("{what} ({})", place(workspace, &url.at)),
        };
        if !found.contains(&misfit) {
            found.push(misfit);
        }
    }
    found
}

/// A package of a stage that is a file of the project, and not the file that was locked.
fn other_file(
    lock: &Lock,
    workspace: &Workspace,
    stage: &Stage,
    project: &Project,
) -> Option<String> {
    match of_project::changed(project, lock, &workspace.files, stage) {
        Ok(deb) => deb.map(|deb| file_changed(workspace, deb)),
        Err(unreadable) => Some(unreadable.to_string()),
    }
}

/// That a package which is a file of the project has changed since it was locked.
pub(super) fn file_changed(workspace: &Workspace, deb: &DebByUrl) -> String {
    let (path, place) = (&deb.url.value, place(workspace, &deb.url.at));
    format!("the file {path} has changed ({place})")
}

/// How a stage asks for something else than it did when it was locked.
pub(super) fn changed(known: &Locked, workspace: &Workspace, stage: &Stage) -> String {
    /// How many requests are named.
    const NAMED: usize = 5;
    let asks = |text: &str| stage.packages.install.iter().any(|one| one.value == text);
    let knew = |text: &str| known.asked.iter().any(|one: &Asked| one.text == text);
    let mut words = Vec::new();
    // Locks of the first format do not keep what was asked for.
    if !known.asked.is_empty() {
        for one in stage
            .packages
            .install
            .iter()
            .filter(|one| !knew(&one.value))
        {
            let word = format!(
                "`{}` is asked for ({})",
                one.value,
                place(workspace, &one.at)
            );
            if !words.contains(&word) {
                words.push(word);
            }
        }
        let gone = known.asked.iter().filter(|one| !asks(&one.text));
        words.extend(gone.map(|one| format!("`{}` is not asked for any more", one.text)));
    }
    if words.is_empty() {
        return "its archives, its other settings of packages, or the packages of the stage below \
                have changed since it was locked"
            .into();
    }
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

/// A place in a definition, for a line of text: `workspaces/desktop.toml:7`.
pub(crate) fn place(workspace: &Workspace, at: &kasmforge_spec::Location) -> String {
    let (line, _) = workspace.files.position(at);
    format!("{}:{line}", workspace.files.path(at.file))
}

/// The first line at which a lock's text is not the canonical one, from 1; `None` where it is.
pub(crate) fn uncanonical(lock: &Lock, text: &str) -> Option<usize> {
    let mut canonical = lock.clone();
    canonical.normalise();
    let canonical = canonical.render();
    if canonical == text {
        return None;
    }
    let same = canonical.lines().zip(text.split('\n'));
    Some(same.take_while(|(ours, theirs)| ours == theirs).count() + 1)
}
