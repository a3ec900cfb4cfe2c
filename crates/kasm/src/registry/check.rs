//! Judges any registry: what a server refuses, what people get wrong, each at its place.

mod config;
mod entry;
mod fields;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::json::{self, Node};
use super::source::is_file_name;
use super::{Schema, Source, SourceError, icon, sha};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A server refuses it, or a workspace cannot be installed.
    Error,
    /// It works, but not as was meant.
    Warning,
}

/// Something that is wrong with a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// A word for it that does not change, for programs: `image-without-tag`.
    pub code: &'static str,
    /// The text it is in: an index into [`Checked::texts`].
    pub text: usize,
    /// The way to it: `workspaces[3].name`; empty for the whole file.
    pub path: String,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What is said at the place itself.
    pub label: String,
    /// What mends it.
    pub help: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its path or address.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The files the findings are in.
    pub texts: Vec<Text>,
    /// The findings, by file and place.
    pub findings: Vec<Finding>,
    /// The schemas found, with how many workspaces each has.
    pub lists: Vec<(Schema, usize)>,
}

/// A registry that could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is nothing that is a registry.
    #[error(
        "there is no registry: neither {} is there; name the folder or address that has \
         1.0/ or 1.1/ in it", tried.join(" nor ")
    )]
    Nothing {
        /// What was looked for.
        tried: Vec<String>,
    },
    /// A file that should be text is none.
    #[error("{name} is not UTF-8 text")]
    NotText {
        /// The file.
        name: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Reads and judges a registry.
///
/// `previous` is an earlier state of the same one: what changed since must have another `sha`.
///
/// # Errors
/// There is no registry, or it cannot be read.
pub fn check(source: &dyn Source, previous: Option<&dyn Source>) -> Result<Checked, CheckError> {
    let mut lists = found(source)?;
    let mut ledger = Ledger::default();
    versions(source, &lists, &mut ledger)?;
    let before = previous.map(found).transpose()?.unwrap_or_default();
    for list in &mut lists {
        list.text = ledger.texts.len();
        ledger.texts.push(Text {
            name: source.name(&list.path),
            text: std::mem::take(&mut list.content),
        });
        let content = ledger.texts[list.text].text.clone();
        let document = match json::parse(&content) {
            Ok(document) => document,
            Err(error) => {
                let end = content.len().min(error.at + 1);
                let at = At::new(list.text, "", error.at.min(end)..end);
                ledger.error("not-json", &at, "this is not JSON", error.message);
                continue;
            }
        };
        let at = At::new(list.text, "", document.span.clone());
        list::judge(&document, &at, list.schema, &mut ledger);
        list.workspaces = document
            .get("workspaces")
            .map_or(0, |member| member.value.elements().len());
        icons(source, list, &document, &mut ledger)?;
        if source.is_near() {
            shas(source, list, &document, &mut ledger)?;
        }
        let old = before.iter().find(|old| old.schema == list.schema);
        if let (Some(old), Some(previous)) = (old, previous) {
            let judged = Since {
                source,
                previous,
                list,
                old,
            };
            judged.unchanged_shas(&document, &mut ledger)?;
        }
    }
    let Ledger {
        texts,
        mut findings,
    } = ledger;
    findings.sort_by_key(|finding| (finding.text, finding.span.start, finding.span.end));
    Ok(Checked {
        texts,
        findings,
        lists: lists
            .iter()
            .map(|list| (list.schema, list.workspaces))
            .collect(),
    })
}

/// A `list.json` that was found.
struct List {
    schema: Schema,
    /// Its path below the source's root.
    path: String,
    /// Its folder there: empty, or ends in `/`.
    folder: String,
    content: String,
    text: usize,
    workspaces: usize,
}

/// The lists a registry has: one for each schema, or a single one where the source is already the
/// folder of one schema.
fn found(source: &dyn Source) -> Result<Vec<List>, CheckError> {
    let mut lists = Vec::new();
    let mut tried = Vec::new();
    let folders = Schema::ALL.map(|schema| (Some(schema), format!("{}/", schema.name())));
    for (schema, folder) in folders.into_iter().chain([(None, String::new())]) {
        if schema.is_none() && !lists.is_empty() {
            break;
        }
        let path = format!("{folder}list.json");
        let Some(bytes) = source.read(&path)? else {
            tried.push(source.name(&path));
            continue;
        };
        let content = String::from_utf8(bytes).map_err(|_| CheckError::NotText {
            name: source.name(&path),
        })?;
        lists.push(List {
            schema: schema.unwrap_or_else(|| told(&content)),
            path,
            folder,
            content,
            text: 0,
            workspaces: 0,
        });
    }
    if lists.is_empty() {
        return Err(CheckError::Nothing { tried });
    }
    Ok(lists)
}

/// The schema a list is written in, where nothing but the list says so.
fn told(content: &str) -> Schema {
    let document = json::parse(content).ok();
    let newer = document.is_some_and(|document| {
        let workspaces = document.get("workspaces").map(|member| &member.value);
        let first = workspaces.and_then(|list| list.elements().first());
        document.get("channels").is_some() || first.is_some_and(|one| one.get("name").is_none())
    });
    if newer { Schema::V11 } else { Schema::V10 }
}

/// Judges `versions.txt`: each line must be a schema that is there.
fn versions(source: &dyn Source, lists: &[List], ledger: &mut Ledger) -> Result<(), CheckError> {
    if lists.iter().any(|list| list.folder.is_empty()) {
        return Ok(());
    }
    let path = "versions.txt";
    let Some(bytes) = source.read(path)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let index = ledger.texts.len();
    let mut start = 0;
    let mut listed = BTreeSet::new();
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        let at = At::new(index, "", start..start + line.trim_end().len());
        start += line.len();
        if word.is_empty() {
            continue;
        }
        listed.insert(word.to_owned());
        if !Schema::ALL.iter().any(|schema| schema.name() == word) {
            let message = format!("`{word}` is not a version of the registry's schema");
            let label = "no server asks for this; `1.0` and `1.1` are known";
            ledger.warning("unknown-schema-version", &at, message, label);
        } else if !lists.iter().any(|list| list.schema.name() == word) {
            let message = format!("{} is not there", source.name(&format!("{word}/list.json")));
            ledger.error("schema-version-missing", &at, message, "promised here");
        }
    }
    let end = At::new(index, "", text.len()..text.len());
    for list in lists {
        if !listed.contains(list.schema.name()) {
            let message = format!("{path} does not name {}", list.schema.name());
            ledger.warning("schema-version-unlisted", &end, message, "it belongs here");
        }
    }
    ledger.texts.push(Text {
        name: source.name(path),
        text,
    });
    Ok(())
}

/// The entries' icons: that they are there, and are icons.
fn icons(
    source: &dyn Source,
    list: &List,
    document: &Node,
    ledger: &mut Ledger,
) -> Result<(), CheckError> {
    let mut wanted: BTreeMap<&str, Vec<At>> = BTreeMap::new();
    for (index, entry) in entries(document).iter().enumerate() {
        if let Some(name) = entry.get("image_src").and_then(|name| {
            let text = name.value.text()?;
            Some((text, &name.value)).filter(|(text, _)| is_file_name(text))
        }) {
            let path = format!("workspaces[{index}].image_src");
            let at = At::new(list.text, &path, name.1.span.clone());
            wanted.entry(name.0).or_default().push(at);
        }
    }
    let paths: Vec<String> = wanted
        .keys()
        .map(|name| format!("{}icons/{name}", list.folder))
        .collect();
    for ((name, places), bytes) in wanted.iter().zip(read_all(source, &paths)) {
        let at = &places[0];
        let Some(bytes) = bytes? else {
            let message = format!("the icon `{name}` is not there");
            let file = source.name(&format!("{}icons/{name}", list.folder));
            ledger
                .error("icon-missing", at, message, "named here")
                .help(format!(
                    "{file} is what a server fetches; names are case-sensitive"
                ));
            continue;
        };
        let judged = icon::judge(&bytes);
        if let Err(problem) = judged {
            let message = format!("the icon `{name}` is no good icon: {problem}");
            let code = "icon-unsuitable";
            ledger.warning(code, at, message, "named here");
        }
    }
    Ok(())
}

/// Reads several files at once; the answers are in the order asked.
fn read_all(source: &dyn Source, paths: &[String]) -> Vec<Result<Option<Vec<u8>>, SourceError>> {
    /// Servers of static files take so many connections from anyone.
    const READERS: usize = 8;
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..READERS.min(paths.len()) {
            scope.spawn(|| {
                while let Some((index, path)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    paths.get(index).map(|path| (index, path))
                } {
                    let answer = source.read(path);
                    answers
                        .lock()
                        .expect("no reader panics")
                        .insert(index, answer);
                }
            });
        }
    });
    let answers = answers.into_inner().expect("no reader panics");
    answers.into_values().collect()
}

/// Computes each `sha` again, where the folder it is of is published beside the list.
fn shas(
    source: &dyn Source,
    list: &List,
    document: &Node,
    ledger: &mut Ledger,
) -> Result<(), CheckError> {
    for (index, entry) in entries(document).iter().enumerate() {
        let text = |key: &str| entry.get(key).and_then(|member| member.value.text());
        let (Some(icon), Some(written)) = (text("image_src"), entry.get("sha")) else {
            continue;
        };
        let Some((name, _)) = icon.rsplit_once('.').filter(|_| is_file_name(icon)) else {
            continue;
        };
        let folder = format!("{}workspaces/{name}", list.folder);
        let json = source.read(&format!("{folder}/workspace.json"))?;
        let picture = source.read(&format!("{folder}/{icon}"))?;
        let (Some(json), Some(picture)) = (json, picture) else {
            continue;
        };
        let children = [
            ("workspace.json", sha::file_hash("workspace.json", &json)),
            (icon, sha::file_hash(icon, &picture)),
        ];
        let right = sha::folder_hash(name, &children);
        if written.value.text() != Some(&right) {
            let path = format!("workspaces[{index}].sha");
            let at = At::new(list.text, &path, written.value.span.clone());
            let message = format!("`sha` is not that of {}", source.name(&folder));
            ledger
                .error("sha-wrong", &at, message, "another folder has this")
                .help(format!("it is `{right}`"));
        }
    }
    Ok(())
}

/// One list, and what it was before.
struct Since<'a> {
    source: &'a dyn Source,
    previous: &'a dyn Source,
    list: &'a List,
    old: &'a List,
}

impl Since<'_> {
    /// An entry that changed must have another `sha`: servers notice changes by nothing else.
    fn unchanged_shas(&self, document: &Node, ledger: &mut Ledger) -> Result<(), CheckError> {
        let Ok(old) = json::parse(&self.old.content) else {
            return Ok(());
        };
        let named: BTreeMap<&str, &Node> = entries(&old)
            .iter()
            .filter_map(|entry| Some((name_of(entry)?, entry)))
            .collect();
        for (index, entry) in entries(document).iter().enumerate() {
            let Some(before) = name_of(entry).and_then(|name| named.get(name)) else {
                continue;
            };
            let sha = |entry: &Node| entry.get("sha").map(|member| member.value.clone());
            let (Some(now), Some(then)) = (sha(entry), sha(before)) else {
                continue;
            };
            if now.text() != then.text() {
                continue;
            }
            let what = match changed(before, entry) {
                Some(key) => format!("`{key}`"),
                None if self.icon_changed(entry)? => "the icon".to_owned(),
                None => continue,
            };
            let path = format!("workspaces[{index}].sha");
            let at = At::new(self.list.text, &path, now.span);
            let message = format!("{what} changed, but `sha` did not");
            ledger
                .error("sha-unchanged", &at, message, "the same as before")
                .help("servers notice a change by `sha` alone: compute it again");
        }
        Ok(())
    }

    fn icon_changed(&self, entry: &Node) -> Result<bool, CheckError> {
        let Some(name) = entry.get("image_src").and_then(|name| name.value.text()) else {
            return Ok(false);
        };
        if !is_file_name(name) {
            return Ok(false);
        }
        let now = self
            .source
            .read(&format!("{}icons/{name}", self.list.folder))?;
        let then = self
            .previous
            .read(&format!("{}icons/{name}", self.old.folder))?;
        Ok(now.is_some() && then.is_some() && now != then)
    }
}

/// The first key whose value is another than before.
fn changed<'n>(before: &'n Node, now: &'n Node) -> Option<&'n str> {
    let keys = now.members().iter().chain(before.members());
    let mut keys = keys.map(|member| member.key.as_str());
    keys.find(|key| {
        let of = |node: &Node| node.get(key).map(|member| member.value.plain());
        *key != "sha" && of(before) != of(now)
    })
}

fn name_of(entry: &Node) -> Option<&str> {
    entry.get("friendly_name")?.value.text()
}

fn entries(document: &Node) -> &[Node] {
    document
        .get("workspaces")
        .map_or(&[], |member| member.value.elements())
}

/// A place: a text, the way to a value in it, and its bytes.
#[derive(Debug, Clone)]
struct At {
    text: usize,
    path: String,
    span: Range<usize>,
}

impl At {
    fn new(text: usize, path: &str, span: Range<usize>) -> Self {
        let path = path.to_owned();
        Self { text, path, span }
    }

    /// A value below this one.
    fn below(&self, step: &str, span: Range<usize>) -> Self {
        let dot = match (self.path.is_empty(), step.starts_with('[')) {
            (true, _) | (_, true) => "",
            _ => ".",
        };
        Self::new(self.text, &format!("{}{dot}{step}", self.path), span)
    }
}

/// The findings, as they are made.
#[derive(Debug, Default)]
struct Ledger {
    texts: Vec<Text>,
    findings: Vec<Finding>,
}

impl Ledger {
    fn error(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Finding {
        self.push(Level::Error, code, at, message.into(), label.into())
    }

    fn warning(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Finding {
        self.push(Level::Warning, code, at, message.into(), label.into())
    }

    fn push(
        &mut self,
        level: Level,
        code: &'static str,
        at: &At,
        message: String,
        label: String,
    ) -> &mut Finding {
        self.findings.push(Finding {
            level,
            code,
            text: at.text,
            path: at.path.clone(),
            span: at.span.clone(),
            message,
            label,
            help: Vec::new(),
        });
        self.findings.last_mut().expect("one was pushed just now")
    }
}

impl Finding {
    fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help.push(help.into());
        self
    }
}

/// A text as it is quoted in messages: on one line, and not longer than people read.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{}`", shown.replace(char::is_control, "\u{fffd}"))
}
