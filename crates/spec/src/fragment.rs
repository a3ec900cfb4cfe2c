//! One file by itself: its entries checked and made whole, its settings left as typed.

use toml::de::DeTable;

use crate::decode::Decoder;
use crate::diagnostic::{Diagnostic, quoted};
use crate::entries;
use crate::model::{
    Check, DebByUrl, Debconf, Debian, FileContent, FileId, Files, Located, Location, Pin, Service,
    User,
};
use crate::raw::RawDefinition;
use crate::sources::Sources;
use crate::table::Table;

/// One file of a chain.
#[derive(Debug)]
pub(crate) struct Fragment {
    /// The file's path.
    pub(crate) path: String,
    /// Whether something in it could not be understood.
    pub(crate) flawed: bool,
    /// What was typed: the settings are taken from here once all files are merged.
    pub(crate) raw: RawDefinition,
    /// The distribution.
    pub(crate) debian: Option<Debian>,
    /// The files it puts into the image.
    pub(crate) files: Vec<FileEntry>,
    /// The users it makes.
    pub(crate) users: Vec<UserEntry>,
    /// The services it runs.
    pub(crate) services: Vec<Service>,
    /// The checks it makes.
    pub(crate) checks: Vec<Check>,
    /// The packages it names by address.
    pub(crate) debs: Vec<DebByUrl>,
    pub(crate) pins: Vec<Pin>,
    /// The questions it answers.
    pub(crate) debconf: Vec<Debconf>,
}

/// A file of the image, before it is known which users there are.
#[derive(Debug, Clone)]
pub(crate) struct FileEntry {
    pub(crate) target: Located<String>,
    pub(crate) content: FileContent,
    pub(crate) owner: Option<Located<String>>,
    pub(crate) group: Option<Located<String>>,
    pub(crate) mode: Option<u32>,
}

/// A user, and where the numeric id stands.
#[derive(Debug, Clone)]
pub(crate) struct UserEntry {
    pub(crate) user: User,
    pub(crate) uid_at: Location,
}

/// Reads one file's text. What it says is kept as far as it can be understood, so that the files it
/// names can be looked at too.
pub(crate) fn read(
    files: &Files,
    file: FileId,
    sources: &dyn Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Fragment {
    let (path, text) = (files.path(file), files.text(file));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut decoder = Decoder::new(file, folder, text);
    let raw = RawDefinition::fields(document.get_ref(), 0..0, &mut decoder);
    let flawed = !errors.is_empty() || !decoder.diagnostics.is_empty();
    if errors.is_empty() {
        diagnostics.append(&mut decoder.diagnostics);
    }
    let mut in_list = false;
    for error in &errors {
        // Where a list or a string in it is not closed, each following line is wrong anew.
        let again = in_list && error.message().contains("array");
        in_list |= error.message().contains("array");
        if !again {
            diagnostics.push(syntax_error(file, text, error));
        }
    }

    let mut found = Vec::new();
    let fragment = Fragment {
        path: path.to_owned(),
        flawed,
        debian: raw
            .debian
            .as_ref()
            .and_then(|debian| entries::debian(debian, &mut found)),
        files: entries::files(raw.files.iter().flatten(), &mut found),
        users: entries::users(raw.users.iter().flatten(), &mut found),
        services: entries::services(raw.services.iter().flatten(), &mut found),
        checks: entries::checks(raw.checks.iter().flatten(), &mut found),
        debs: entries::debs(&raw, &mut found),
        pins: entries::pins(&raw, &mut found),
        debconf: entries::debconf(&raw, &mut found),
        raw,
    };
    entries::settings(&fragment.raw, &mut found);
    missing_files(&fragment, sources, &mut found);
    name_and_stem(&fragment, &mut found);
    if errors.is_empty() {
        diagnostics.append(&mut found);
    }
    fragment
}

/// What the parser says, in a reader's words where the parser's own say little.
pub(crate) fn syntax_error(file: FileId, text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let rest = text.get(span.start..).unwrap_or_default();
    let ends = span.is_empty()
        && rest
            .trim_start_matches([' ', '\t'])
            .starts_with(['\n', '\r', '#']);
    let message = error.message();
    let twice = text
        .get(span.clone())
        .filter(|_| message == "duplicate key");
    let at = Location { file, span };
    if let Some(key) = twice {
        let message = format!("the key {} is given twice", quoted(key));
        return Diagnostic::new(at, message, "given again here");
    }
    if message.starts_with("string values must be quoted") && (ends || rest.is_empty()) {
        return Diagnostic::new(at, "a value is missing after `=`", "a value is wanted here");
    }
    Diagnostic::new(at, format!("this is not TOML: {message}"), "not understood")
}

/// Says which files of the project are named but not there.
fn missing_files(fragment: &Fragment, sources: &dyn Sources, found: &mut Vec<Diagnostic>) {
    let mut look = |path: &str, at: &Location| {
        if !sources.exists(path) {
            let message = format!("{} does not exist", quoted(path));
            let help = format!(
                "the path is relative to the folder of {}",
                quoted(&fragment.path)
            );
            found.push(Diagnostic::new(at.clone(), message, "no such file or folder").help(help));
        }
    };
    for file in &fragment.files {
        if let FileContent::Source(source) = &file.content {
            look(&source.value, &source.at);
        }
    }
    for deb in fragment.debs.iter().filter(|deb| deb.local) {
        look(&deb.url.value, &deb.url.at);
    }
    for archive in fragment.debian.iter().flat_map(|debian| &debian.archives) {
        for file in archive.keyring.iter().chain(&archive.certificates) {
            look(&file.value.to_string_lossy(), &file.at);
        }
    }
    if let Some(kasm) = &fragment.raw.kasm {
        for picture in kasm.icon.iter().chain(&kasm.screenshot) {
            look(&picture.value.0, &picture.at);
        }
    }
}

fn name_and_stem(fragment: &Fragment, found: &mut Vec<Diagnostic>) {
    let file = fragment.path.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".toml").unwrap_or(file);
    if let Some(name) = &fragment.raw.name
        && name.value.0 != stem
    {
        let message = format!("{} is not the name of its file", quoted(&name.value.0));
        let label = format!("the file's name is {}", quoted(stem));
        let help = format!(
            "write `name = \"{stem}\"`, or rename the file to `{}.toml`",
            name.value.0
        );
        found.push(Diagnostic::new(name.at.clone(), message, label).help(help));
    }
}
