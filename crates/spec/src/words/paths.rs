//! Paths: in the image, and in the project.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Complaint, Word, word};
use crate::decode::{Decode, Decoder};
use crate::diagnostic::quoted;
use crate::words::names::is_component;

/// An absolute path in the image: no empty, `.` or `..` part, no `/` at the end; `/` itself is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Absolute(pub(crate) String);

/// Why a text is no absolute path in its one plain form.
fn unplain(text: &str) -> Option<Complaint> {
    if text.contains('\0') {
        return Some(Complaint::new("a NUL cannot stand in a path"));
    }
    let Some(rest) = text.strip_prefix('/') else {
        let complaint = Complaint::new("an absolute path is wanted");
        return Some(match text.chars().next() {
            Some(first) if first.is_alphanumeric() || first == '.' && !text.contains("..") => {
                let plain = text.trim_start_matches("./").trim_end_matches('/');
                complaint.help(format!("did you mean `/{plain}`?"))
            }
            Some('~') => complaint.help("write the home out: `/home/…`"),
            _ => complaint,
        });
    };
    if rest.is_empty() {
        return None;
    }
    if rest.split('/').any(|part| part == "..") {
        return Some(Complaint::new("`..` is not allowed here"));
    }
    if rest.split('/').any(|part| part.is_empty() || part == ".") {
        let parts: Vec<&str> = rest
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        let label = "empty parts, `.` and a `/` at the end are not allowed";
        return Some(Complaint::new(label).help(format!("write `/{}`", parts.join("/"))));
    }
    None
}

impl Word for Absolute {
    const KIND: &'static str = "a path in the image";
    const PATTERN: &'static str = "^/";

    fn read(text: &str) -> Result<Absolute, Complaint> {
        match unplain(text) {
            Some(complaint) => Err(complaint),
            None => Ok(Absolute(text.to_owned())),
        }
    }
}

word!(Absolute);

/// An absolute path in the image that is not `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target(pub(crate) String);

impl Word for Target {
    const KIND: &'static str = "a path in the image";
    const PATTERN: &'static str = "^/.*[^/]$";

    fn read(text: &str) -> Result<Target, Complaint> {
        if text == "/" {
            return Err(Complaint::new("a path below `/` is wanted"));
        }
        Absolute::read(text).map(|path| Target(path.0))
    }
}

word!(Target);

/// A module: the path of its file below `workspaces/`, without `.toml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleName(pub(crate) String);

impl Word for ModuleName {
    const KIND: &'static str = "a module";
    const PATTERN: &'static str = "^[a-z0-9]+([._/-][a-z0-9]+)*$";

    fn read(text: &str) -> Result<ModuleName, Complaint> {
        let complaint = Complaint::new("a path below `workspaces/` is wanted, without `.toml`");
        if let Some(stem) = text.strip_suffix(".toml") {
            return Err(complaint.help(format!("write {}", quoted(stem))));
        }
        if text.split('/').all(is_component) {
            return Ok(ModuleName(text.to_owned()));
        }
        Err(complaint
            .help("write it as in `modules/xfce`, which is `workspaces/modules/xfce.toml`"))
    }
}

word!(ModuleName);

/// A file or a folder of the project, relative to the project's folder. It is written relative to
/// the folder of the definition that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectPath(pub(crate) String);

impl Decode for ProjectPath {
    fn noun() -> Cow<'static, str> {
        "a string".into()
    }

    fn nouns() -> Cow<'static, str> {
        "strings".into()
    }

    fn decode(value: &Spanned<DeValue<'_>>, decoder: &mut Decoder<'_>) -> Option<ProjectPath> {
        let DeValue::String(text) = value.get_ref() else {
            return decoder.misshapen(value);
        };
        match below(decoder.folder, text) {
            Ok(path) => Some(ProjectPath(path)),
            Err(label) => {
                let message = format!("{} is not a file of the project", quoted(text));
                let folder = decoder.folder.to_owned();
                let diagnostic = decoder.wrong(value.span(), message, label);
                let help =
                    format!("paths are relative to the file that names them, here to `{folder}/`");
                diagnostic.help.push(help);
                None
            }
        }
    }
}

/// A path as seen from the project's folder, or why there is none.
fn below(folder: &str, text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("the path is empty");
    }
    if text.contains('\0') {
        return Err("a NUL cannot stand in a path");
    }
    if text.starts_with('/') {
        return Err("absolute paths are not allowed: another machine has other files");
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts
                    .pop()
                    .ok_or("this leads out of the project's folder")?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err("this is the project's own folder");
    }
    Ok(parts.join("/"))
}

impl JsonSchema for ProjectPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ProjectPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^/]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute_and_plain() {
        for (text, good) in [
            ("/etc/motd", true),
            ("/a b", true),
            ("/..a/...", true),
            ("/", false),
            ("", false),
            ("etc/motd", false),
            ("~/x", false),
            ("/etc/", false),
            ("//etc", false),
            ("/etc/../motd", false),
            ("/etc/./motd", false),
            ("/etc\0", false),
        ] {
            assert_eq!(Target::read(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn project_paths_start_at_their_file() {
        for (text, path) in [
            ("files/a", Some("workspaces/modules/files/a")),
            ("./files//a/", Some("workspaces/modules/files/a")),
            ("../files/a", Some("workspaces/files/a")),
            ("../../keys/a.gpg", Some("keys/a.gpg")),
            ("../..", None),
            ("../../../a", None),
            ("/a", None),
            ("", None),
            ("a\0", None),
        ] {
            assert_eq!(
                below("workspaces/modules", text).ok().as_deref(),
                path,
                "{text}"
            );
        }
    }
}
