//! Which files a workspace is made of: its parents, and the modules each of them uses.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Report, listed, quoted};
use crate::fragment::{self, Fragment};
use crate::merge;
use crate::model::{Files, Located, Location, Workspace};
use crate::near::nearest;
use crate::sources::{Sources, WORKSPACES};

/// One stage's files, in the order they are laid over each other: modules, then the file itself.
#[derive(Debug)]
pub(crate) struct Link {
    /// The stage's name.
    pub(crate) name: String,
    /// Its files. The last is the workspace's own; there is always that one.
    pub(crate) fragments: Vec<Rc<Fragment>>,
}

/// Reads the definition of a workspace, with its parents and modules, and merges it into one value.
///
/// # Errors
/// Everything that is wrong with any of its files, and between them. Mistakes that follow from
/// others (a service that waits for one whose entry is broken) are told once those are mended.
pub fn load(sources: &dyn Sources, name: &str) -> Result<Workspace, Report> {
    let mut reader = Reader {
        sources,
        names: Vec::new(),
        files: Files::default(),
        read: BTreeMap::new(),
        diagnostics: Vec::new(),
    };
    let chain = reader.chain(name);
    let Reader {
        files,
        mut diagnostics,
        ..
    } = reader;
    let workspace = merge::workspace(&chain, &files, &mut diagnostics);
    match workspace {
        Some(workspace) if diagnostics.is_empty() => Ok(workspace),
        _ => Err(Report::new(files, diagnostics)),
    }
}

struct Reader<'s> {
    sources: &'s dyn Sources,
    /// The workspaces there are.
    names: Vec<String>,
    files: Files,
    /// The files read so far, by path; a file that could not be read is kept as `None`, so that it
    /// is complained of once.
    read: BTreeMap<String, Option<Rc<Fragment>>>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// The stages, root first.
    fn chain(&mut self, name: &str) -> Vec<Link> {
        match self.sources.workspaces() {
            Ok(names) => self.names = names,
            Err(error) => {
                let message = format!("the folder `{WORKSPACES}` cannot be listed: {error}");
                self.diagnostics.push(Diagnostic::nowhere(message));
                return Vec::new();
            }
        }
        let mut chain: Vec<Link> = Vec::new();
        let mut extended: Vec<Located<String>> = Vec::new();
        let mut next = Some((name.to_owned(), None));
        while let Some((name, named)) = next.take() {
            if let Some(first) = chain.iter().position(|link| link.name == name) {
                self.diagnostics
                    .push(circle("workspaces extend", &extended[first..]));
                break;
            }
            let Some(own) = self.workspace(&name, named.as_ref()) else {
                break;
            };
            let mut fragments = Vec::new();
            self.modules(&own, &mut Vec::new(), &mut fragments);
            next = own.raw.extends.as_ref().map(|parent| {
                extended.push(Located {
                    value: parent.value.0.clone(),
                    at: parent.at.clone(),
                });
                (parent.value.0.clone(), Some(parent.at.clone()))
            });
            self.distribution(&own, &name);
            fragments.push(own);
            chain.push(Link { name, fragments });
        }
        chain.reverse();
        chain
    }

    /// The file of a workspace; says so if there is none.
    fn workspace(&mut self, name: &str, named: Option<&Location>) -> Option<Rc<Fragment>> {
        if self.names.iter().any(|known| known == name) {
            let path = format!("{WORKSPACES}/{name}.toml");
            if let Some(fragment) = self.file(&path, named) {
                return fragment;
            }
        }
        let mut diagnostic = Diagnostic::nowhere(format!("there is no workspace {}", quoted(name)));
        diagnostic.at = named.cloned();
        if named.is_some() {
            diagnostic.label = "no such workspace".to_owned();
        }
        let others = self.names.iter().map(String::as_str);
        if let Some(near) = nearest(name, others.clone()) {
            diagnostic = diagnostic.help(format!("did you mean {}?", quoted(near)));
        }
        diagnostic = diagnostic.help(if self.names.is_empty() {
            format!("there are none: a workspace is a file `{WORKSPACES}/NAME.toml`")
        } else {
            format!("the workspaces are: {}", listed(others))
        });
        self.diagnostics.push(diagnostic);
        None
    }

    /// A file, read only once. `None`: there is none; `Some(None)`: it cannot be read, which was
    /// said.
    fn file(&mut self, path: &str, named: Option<&Location>) -> Option<Option<Rc<Fragment>>> {
        if let Some(known) = self.read.get(path) {
            return Some(known.clone());
        }
        let fragment = match self.sources.read(path) {
            Ok(None) => return None,
            Ok(Some(text)) => {
                let file = self.files.add(path, text);
                let fragment =
                    fragment::read(&self.files, file, self.sources, &mut self.diagnostics);
                Some(Rc::new(fragment))
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
                    _ => error.to_string(),
                };
                let message = format!("{} cannot be read: {reason}", quoted(path));
                let mut diagnostic = Diagnostic::nowhere(message);
                diagnostic.at = named.cloned();
                self.diagnostics.push(diagnostic);
                None
            }
        };
        self.read.insert(path.to_owned(), fragment.clone());
        Some(fragment)
    }

    /// Gathers the modules a file uses, and those they use, each before its user and only once.
    fn modules(
        &mut self,
        user: &Fragment,
        open: &mut Vec<Located<String>>,
        gathered: &mut Vec<Rc<Fragment>>,
    ) {
        for module in user.raw.r#use.iter().flatten() {
            let path = format!("{WORKSPACES}/{}.toml", module.value.0);
            let named = Located {
                value: path.clone(),
                at: module.at.clone(),
            };
            if let Some(first) = open.iter().position(|other| other.value == path) {
                let mut round = open[first + 1..].to_vec();
                round.push(named);
                self.diagnostics.push(circle("modules use", &round));
                continue;
            }
            if gathered.iter().any(|other| other.path == path) {
                continue;
            }
            match self.file(&path, Some(&module.at)) {
                Some(Some(fragment)) => {
                    self.no_workspace(&fragment, &module.at);
                    open.push(named);
                    self.modules(&fragment, open, gathered);
                    open.pop();
                    gathered.push(fragment);
                }
                Some(None) => {}
                None => {
                    let message = format!("there is no module {}", quoted(&module.value.0));
                    let diagnostic = Diagnostic::new(module.at.clone(), message, "no such module");
                    let help = format!("its file would be {}", quoted(&path));
                    self.diagnostics.push(diagnostic.help(help));
                }
            }
        }
    }

    /// Says that a module has what only a workspace can have.
    fn no_workspace(&mut self, module: &Fragment, used: &Location) {
        let extends = module
            .raw
            .extends
            .as_ref()
            .map(|extends| ("extends", &extends.at));
        let debian = module
            .raw
            .debian
            .as_ref()
            .map(|debian| ("debian", &debian.at));
        for (key, at) in extends.into_iter().chain(debian) {
            let message = format!("a module cannot have `{key}`");
            let diagnostic = Diagnostic::new(at.clone(), message, "only a workspace has it");
            self.diagnostics
                .push(diagnostic.related(used.clone(), "the file is used as a module here"));
        }
    }

    /// Says that a stage has a distribution and should not, or the other way round.
    fn distribution(&mut self, own: &Fragment, name: &str) {
        match (&own.raw.extends, &own.raw.debian) {
            (Some(extends), Some(debian)) => {
                let message = format!("{} has both `extends` and `[debian]`", quoted(name));
                let label = "the parent says which distribution it is";
                self.diagnostics.push(
                    Diagnostic::new(debian.at.clone(), message, label)
                        .related(extends.at.clone(), "the parent is named here")
                        .help("leave out one of the two"),
                );
            }
            // In a flawed file it may be just this that could not be read.
            (None, None) if !own.flawed => {
                let at = own.raw.name.as_ref().map(|name| name.at.clone());
                let message = format!("{} says nothing of its distribution", quoted(name));
                let mut diagnostic = Diagnostic::nowhere(message);
                if at.is_some() {
                    diagnostic.label = "neither `extends` nor `[debian]`".to_owned();
                }
                diagnostic.at = at;
                self.diagnostics.push(diagnostic.help(
                    "add `[debian]` with `suite = \"…\"`, or `extends` with a parent's name",
                ));
            }
            _ => {}
        }
    }
}

/// What is said of names that lead back to where they began. The last is the one that closes the
/// circle.
fn circle(verb: &str, round: &[Located<String>]) -> Diagnostic {
    let names: Vec<&str> = round.iter().map(|named| named.value.as_str()).collect();
    let way: Vec<String> = names
        .last()
        .into_iter()
        .chain(&names)
        .map(|name| quoted(name))
        .collect();
    let mut diagnostic = Diagnostic::nowhere(format!("{verb} each other in a circle"));
    if let Some((last, others)) = round.split_last() {
        diagnostic.at = Some(last.at.clone());
        diagnostic.label = format!("this leads back to {}", quoted(&last.value));
        let others = others.iter();
        diagnostic.related = others
            .map(|other| {
                (
                    other.at.clone(),
                    format!("leads to {}", quoted(&other.value)),
                )
            })
            .collect();
    }
    diagnostic.help(format!("the circle is {}", way.join(" → ")))
}
