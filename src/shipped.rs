//! The workspaces that come with the program.

use std::io;

use kasmforge_spec::Sources;

/// A file of `workspaces/`, as it was when the program was made.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path relative to a project's folder: `workspaces/core.toml`.
    pub(crate) path: &'static str,
    /// Whether its owner may execute it; that is all of a mode that a definition looks at.
    pub(crate) executable: bool,
    pub(crate) content: &'static [u8],
}

/// All files, by path.
pub(crate) static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The shipped workspaces, to be read like a project's.
#[derive(Debug)]
pub(crate) struct Shipped;

impl Sources for Shipped {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        let file = FILES.iter().find(|file| file.path == path);
        file.map(|file| {
            String::from_utf8(file.content.to_vec())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        })
        .transpose()
    }

    fn exists(&self, path: &str) -> bool {
        FILES.iter().any(|file| is_at_or_below(file.path, path))
    }

    fn workspaces(&self) -> io::Result<Vec<String>> {
        let stem = |file: &File| {
            let name = file.path.strip_prefix("workspaces/")?;
            let stem = name.strip_suffix(".toml")?;
            (!stem.contains('/')).then(|| stem.to_owned())
        };
        Ok(FILES.iter().filter_map(stem).collect())
    }
}

/// Whether a path is another one, or below it.
pub(crate) fn is_at_or_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
