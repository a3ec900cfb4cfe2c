//! What stays behind in a container that is replaced.

use bollard::models::{ChangeType, ContainerInspectResponse};

use crate::desktop::Adoption;
use crate::engine::Engine;

/// How many of the files that are left behind are named.
const NAMED_FILES: usize = 20;
/// What changes in any running container and is of no worth to anybody.
const PASSING: [&str; 7] = [
    "/tmp",
    "/run",
    "/var/run",
    "/var/log",
    "/var/cache",
    "/dev",
    "/proc",
];

impl Engine {
    /// The first changed files that stay in the old container, and how many there are in all.
    /// Knowing is not worth a failure.
    pub(super) fn left_behind(
        &self,
        old: &ContainerInspectResponse,
        adopted: &[Adoption],
    ) -> (Vec<String>, usize) {
        let id = old.id.as_deref().unwrap_or_default();
        let mounts: Vec<_> = old
            .mounts
            .iter()
            .flatten()
            .filter_map(|mount| mount.destination.clone())
            .collect();
        let changes = match self.wait(self.docker.container_changes(id)) {
            Ok(changes) => changes.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "the old container's changed files are not known");
                return (Vec::new(), 0);
            }
        };
        let taken = |path: &str| adopted.iter().any(|one| is_in(path, &one.path));
        let changes: Vec<_> = changes
            .into_iter()
            .filter(|change| change.kind != ChangeType::_2 && !mounts.contains(&change.path))
            .map(|change| change.path)
            .filter(|path| !taken(path))
            .collect();
        let files = left_behind(changes);
        let total = files.len();
        (files.into_iter().take(NAMED_FILES).collect(), total)
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

/// The changed files that somebody may miss: not what passes anyway, and not folders whose
/// content is told.
fn left_behind(mut changes: Vec<String>) -> Vec<String> {
    changes.retain(|path| !PASSING.iter().any(|folder| is_in(path, folder)));
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
            ["/etc/x", "/home/a-b", "/home/a/file", "/var"]
        );
    }
}
