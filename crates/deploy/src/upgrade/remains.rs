//! What stays behind in a container that is replaced.

use bollard::models::{ChangeType, ContainerInspectResponse, ContainerStateStatusEnum};

use crate::desktop::Desktop;
use crate::engine::Engine;

/// How many of the files that are left behind are named.
const NAMED_FILES: usize = 20;
/// What changes in any running container and is of no worth to anybody.
const PASSING: [&str; 8] = [
    "/tmp",
    "/run",
    "/var/run",
    "/var/log",
    "/var/cache",
    "/dev",
    "/proc",
    // Born with each container.
    "/etc/machine-id",
];

/// What engines lay into a container when they create it, and mount there; not its own.
const LAID_BY_ENGINE: [&str; 9] = [
    "/.dockerenv",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/sys",
    "/dev",
    "/proc",
];

/// The paths of a container's own layer: what was changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    container: String,
    paths: Vec<String>,
}

impl Engine {
    /// What was changed in a container; `None` if there is no such container, or it cannot be known.
    ///
    /// An upgrade asks that itself. It takes a moment, which whoever builds and loads first can use.
    #[must_use]
    pub fn remains(&self, container: &str) -> Option<Remains> {
        let found = self.container(container).ok().flatten()?;
        self.remains_of(&found)
    }

    fn remains_of(&self, container: &ContainerInspectResponse) -> Option<Remains> {
        let id = container.id.clone().unwrap_or_default();
        let paths = self.written_since_created(container);
        let paths = paths.or_else(|| self.changes(&id))?;
        Some(Remains {
            container: id,
            paths,
        })
    }

    /// The first changed files that stay in the old container, and how many there are in all.
    /// Knowing is not worth a failure.
    pub(super) fn left_behind(
        &self,
        old: &ContainerInspectResponse,
        wanted: &Desktop,
    ) -> (Vec<String>, usize) {
        let adopted = &wanted.adopt;
        let known = wanted.remains.clone();
        let known = known.filter(|known| old.id.as_ref() == Some(&known.container));
        let mounts: Vec<_> = old
            .mounts
            .iter()
            .flatten()
            .filter_map(|mount| mount.destination.clone())
            .collect();
        let Some(remains) = known.or_else(|| self.remains_of(old)) else {
            return (Vec::new(), 0);
        };
        let taken = |path: &str| adopted.iter().any(|one| is_in(path, &one.path));
        let changes: Vec<_> = remains
            .paths
            .into_iter()
            .filter(|path| !mounts.contains(path) && !taken(path))
            .collect();
        let files = left_behind(changes);
        let total = files.len();
        (files.into_iter().take(NAMED_FILES).collect(), total)
    }

    /// The paths of a container's own layer, as a program inside tells them; `None`: none could.
    ///
    /// What the image brought was last changed before the container was created, and whatever is
    /// copied up into the container's layer is changed thereby. Asking for that takes a look at each
    /// file; the engine compares two trees of files, which for a desktop takes seconds.
    fn written_since_created(&self, container: &ContainerInspectResponse) -> Option<Vec<String>> {
        let state = container.state.as_ref()?.status?;
        if state != ContainerStateStatusEnum::RUNNING {
            return None;
        }
        let id = container.id.as_deref()?;
        let since = container.created.as_ref()?.to_string();
        let words = "find / -mindepth 1 -xdev -newerct".split(' ');
        let words: Vec<_> = words
            .chain([&*since, "-print0"])
            .map(str::to_owned)
            .collect();
        let (status, output) = self.output_for_root(id, &words).ok()?;
        // 1: a file went away while it was looked at, or this `find` knows less; then it has not even
        // found what the engine lays there.
        if !(0..=1).contains(&status) || output.is_empty() {
            return None;
        }
        let paths = output.split(|byte| *byte == 0);
        let paths = paths.filter(|path| !path.is_empty());
        let paths = paths.map(|path| String::from_utf8_lossy(path).into_owned());
        Some(
            paths
                .filter(|path| !LAID_BY_ENGINE.contains(&path.as_str()))
                .collect(),
        )
    }

    /// The changed paths of a container's own layer, as the engine tells them.
    fn changes(&self, id: &str) -> Option<Vec<String>> {
        match self.wait(self.docker.container_changes(id)) {
            Ok(changes) => Some(
                changes
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|change| change.kind != ChangeType::_2)
                    .map(|change| change.path)
                    .collect(),
            ),
            Err(error) => {
                tracing::debug!(%error, "the old container's changed files are not known");
                None
            }
        }
    }
}

/// Whether a path is a folder or below it.
fn is_in(path: &str, folder: &str) -> bool {
    path == folder || below(path, folder)
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The changed files that somebody may miss: not what passes anyway, and not folders that are changed
/// because of what is in them.
fn left_behind(mut changes: Vec<String>) -> Vec<String> {
    changes.sort();
    let folders: Vec<bool> = changes
        .iter()
        .enumerate()
        .map(|(index, path)| {
            // What follows a folder in order is below it, but for names like `a-b` after `a`.
            changes[index + 1..]
                .iter()
                .take_while(|next| next.starts_with(path.as_str()))
                .any(|next| below(next, path))
        })
        .collect();
    changes
        .into_iter()
        .zip(folders)
        .filter(|(_, folder)| !folder)
        .map(|(path, _)| path)
        .filter(|path| !PASSING.iter().any(|folder| is_in(path, folder)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_worth_telling_are_told() {
        let changes = [
            "/tmp/x",
            "/var",
            "/var/log",
            "/var/log/x",
            "/home",
            "/home/a",
            "/home/a-b",
            "/home/a/file",
            "/etc/x",
        ];
        assert_eq!(
            left_behind(changes.map(str::to_owned).to_vec()),
            ["/etc/x", "/home/a-b", "/home/a/file"]
        );
    }
}
