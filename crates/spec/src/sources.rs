//! Where a definition's files are: a folder, or memory.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// The folder, within the project's, that holds the definitions.
pub(crate) const WORKSPACES: &str = "workspaces";

/// The files of a project.
///
/// Paths are relative to the project's folder, with `/` between their parts, and never leave it.
pub trait Sources {
    /// The text of a file; `None` if there is none.
    ///
    /// # Errors
    /// The file is there but cannot be read, or is not UTF-8.
    fn read(&self, path: &str) -> io::Result<Option<String>>;

    /// Whether a file or a folder is there.
    fn exists(&self, path: &str) -> bool;

    /// The names of the workspaces, in order: the stems of `workspaces/*.toml`.
    ///
    /// # Errors
    /// The folder cannot be listed. That there is none is no error: then there are no names.
    fn workspaces(&self) -> io::Result<Vec<String>>;
}

/// A project in a folder of the file system.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Sources for Folder {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.0.join(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn exists(&self, path: &str) -> bool {
        // A dangling link exists too: what it means in the image is not known here.
        self.0.join(path).symlink_metadata().is_ok()
    }

    fn workspaces(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.join(WORKSPACES)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".toml"));
            if let Some(stem) = stem
                && entry.path().is_file()
            {
                names.push(stem.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A project in memory: paths and texts. For tests, and for editors that hold unsaved files.
#[derive(Debug, Clone, Default)]
pub struct Memory(pub BTreeMap<String, String>);

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for Memory {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Memory {
        let files = files.into_iter();
        Memory(
            files
                .map(|(path, text)| (path.into(), text.into()))
                .collect(),
        )
    }
}

impl Sources for Memory {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        Ok(self.0.get(path).cloned())
    }

    fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let inside = |other: &String| other == path || other.starts_with(&folder);
        self.0.keys().any(inside)
    }

    fn workspaces(&self) -> io::Result<Vec<String>> {
        let stem = |path: &String| {
            let name = path.strip_prefix(WORKSPACES)?.strip_prefix('/')?;
            let stem = name.strip_suffix(".toml")?;
            (!stem.contains('/')).then(|| stem.to_owned())
        };
        Ok(self.0.keys().filter_map(stem).collect())
    }
}
