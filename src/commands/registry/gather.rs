//! From definitions, the lock and built images to a registry: a translation, and what it needs that
//! is not there.

mod entry;

use anyhow::{Context as _, bail};
use kasmforge_build::{Built, latest};
use kasmforge_kasm::registry::{CATEGORIES, IconFormat, Picture, Registry, judge_icon};
use kasmforge_lock::Lock;
use kasmforge_spec::{self as spec, Diagnostic, Files, Located, Location, Workspace};

use crate::commands::Context;

/// The versions of Kasm that images of this kind work with, where neither a definition nor
/// `registry.toml` names any: those that read schema 1.1 and were out when this was written.
const VERSIONS: [&str; 4] = ["1.16.x", "1.17.x", "1.18.x", "1.19.x"];

/// Larger screenshots make a page slow for everybody who opens it.
const LARGEST_SCREENSHOT: usize = 4 << 20;

/// A registry, and what was noticed while gathering it.
pub(super) struct Gathered {
    pub(super) registry: Registry,
    /// Workspaces that are not listed, and why.
    pub(super) left_out: Vec<(String, &'static str)>,
    /// What must be mended, each with the texts its places are in.
    pub(super) mistakes: Vec<(Files, Diagnostic)>,
    /// What may be a mistake.
    pub(super) doubts: Vec<(Files, Diagnostic)>,
}

/// Gathers a registry from a project.
pub(super) fn gather(
    about: &spec::Registry,
    context: &Context,
    skip_unbuilt: bool,
) -> anyhow::Result<Gathered> {
    let lock = context.project.lock()?;
    let mut gathering = Gathering {
        about,
        context,
        lock: &lock,
        mistakes: Vec::new(),
        doubts: Vec::new(),
    };
    let mut left_out = Vec::new();
    let mut unbuilt = Vec::new();
    let mut listed = Vec::new();
    for name in context.project.workspaces()? {
        let workspace = context.project.load(&name)?;
        if workspace.kasm.friendly_name.is_none() {
            left_out.push((name, "it has no `friendly-name` in `[kasm]`"));
            continue;
        }
        match latest(&context.store, &context.project.root, &name) {
            Some(built) => listed.push((workspace, built)),
            None if skip_unbuilt => left_out.push((name, "it has not been built")),
            None => unbuilt.push(name),
        }
    }
    if !unbuilt.is_empty() {
        bail!(
            "{} not been built, and {} size is taken from the built image; run {}, or leave {} out \
             with --skip-unbuilt",
            told(&unbuilt),
            if unbuilt.len() == 1 { "its" } else { "their" },
            unbuilt
                .iter()
                .map(|name| format!("`kasmforge build {name}`"))
                .collect::<Vec<_>>()
                .join(" and "),
            if unbuilt.len() == 1 { "it" } else { "them" },
        );
    }
    gathering.channels(&listed);
    let mut entries = Vec::new();
    for (workspace, built) in &listed {
        entries.extend(gathering.entry(workspace, built)?);
    }
    let icon = gathering.icon(&about.icon, &about.files)?;
    let placeholder = Picture {
        format: IconFormat::Svg,
        bytes: Vec::new(),
    };
    let registry = Registry {
        name: about.name.clone(),
        description: about.description.clone(),
        url: about.url.clone(),
        contact: about.contact.clone(),
        // Without an icon there is a mistake, and nothing is made of this.
        icon: icon.unwrap_or(placeholder),
        modified: context
            .settings
            .source_date_epoch
            .unwrap_or_else(|| lock.date()),
        default_channel: about
            .default_channel
            .as_ref()
            .map(|channel| channel.value.clone()),
        entries,
    };
    Ok(Gathered {
        registry,
        left_out,
        mistakes: gathering.mistakes,
        doubts: gathering.doubts,
    })
}

fn told(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        1 => format!("{} has", names[0]),
        _ => format!("{} have", names.join(", ")),
    }
}

struct Gathering<'a> {
    about: &'a spec::Registry,
    context: &'a Context,
    lock: &'a Lock,
    mistakes: Vec<(Files, Diagnostic)>,
    doubts: Vec<(Files, Diagnostic)>,
}

impl Gathering<'_> {
    /// Channels are for all workspaces or for none, and one of them is shown first.
    fn channels(&mut self, listed: &[(Workspace, Built)]) {
        let tags = |workspace: &Workspace| workspace.kasm.available_tags.clone();
        let some = listed
            .iter()
            .find(|(workspace, _)| !tags(workspace).is_empty());
        let Some((with, _)) = some else {
            if let Some(channel) = &self.about.default_channel {
                let message = "there are no channels: no workspace has `available-tags`";
                self.wrong(
                    &self.about.files,
                    &channel.at,
                    message,
                    "nothing to show first",
                );
            }
            return;
        };
        for (workspace, _) in listed {
            if let Some(name) = &workspace.kasm.friendly_name
                && tags(workspace).is_empty()
            {
                let message = format!(
                    "`{}` has no `available-tags`, but `{}` has",
                    workspace.name, with.name
                );
                let label = "shown in no channel";
                let help = "give `available-tags` to all listed workspaces, or to none";
                self.wrong(&workspace.files, &name.at, message, label)
                    .help
                    .push(help.to_owned());
            }
        }
        if let Some(channel) = &self.about.default_channel {
            let mut all = listed.iter().flat_map(|(workspace, _)| tags(workspace));
            if !all.any(|tag| tag.value == channel.value) {
                let message = format!("no workspace has the channel `{}`", channel.value);
                let label = "nothing to show first";
                self.wrong(&self.about.files, &channel.at, message, label);
            }
        }
    }

    fn categories(&mut self, workspace: &Workspace) {
        for category in &workspace.kasm.categories {
            if CATEGORIES.contains(&category.value.as_str()) {
                continue;
            }
            let message = format!("`{}` is not one of Kasm's categories", category.value);
            let diagnostic = Diagnostic {
                message,
                at: Some(category.at.clone()),
                label: "servers show a filter of its own for it".to_owned(),
                related: Vec::new(),
                help: vec![format!("they are: {}", CATEGORIES.join(", "))],
            };
            self.doubts.push((workspace.files.clone(), diagnostic));
        }
    }

    /// Says when the image built last is another than the lock's.
    fn stale(&mut self, workspace: &Workspace, built: &Built) {
        let locked = self.lock.workspace(&workspace.name, &built.architecture);
        // A lock that names no image says nothing against this one.
        let Some(image) = locked.and_then(|one| one.image) else {
            return;
        };
        if image == built.manifest {
            return;
        }
        let name = &workspace.name;
        let help = format!("run `kasmforge build {name}`, so that size and digest are the lock's");
        let at = workspace
            .kasm
            .friendly_name
            .as_ref()
            .map(|name| name.at.clone());
        let diagnostic = Diagnostic {
            message: format!("the image of `{name}` that was built last is not the locked one"),
            at,
            label: "built from another state".to_owned(),
            related: Vec::new(),
            help: vec![help],
        };
        self.doubts.push((workspace.files.clone(), diagnostic));
    }

    fn icon(&mut self, icon: &Located<String>, files: &Files) -> anyhow::Result<Option<Picture>> {
        let bytes = self.read(&icon.value)?;
        match judge_icon(&bytes) {
            Ok(format) => Ok(Some(Picture { format, bytes })),
            Err(error) => {
                let message = format!("`{}` is no good icon", icon.value);
                let label = error.to_string();
                self.wrong(files, &icon.at, message, &label);
                Ok(None)
            }
        }
    }

    fn screenshot(
        &mut self,
        picture: &Located<String>,
        files: &Files,
    ) -> anyhow::Result<Option<Picture>> {
        let bytes = self.read(&picture.value)?;
        let label = match IconFormat::of(&bytes) {
            Some(IconFormat::Svg) | None => "it is neither PNG nor JPEG nor WebP",
            Some(_) if bytes.len() > LARGEST_SCREENSHOT => "its file is larger than 4 MB",
            Some(format) => return Ok(Some(Picture { format, bytes })),
        };
        let message = format!("`{}` is no good screenshot", picture.value);
        self.wrong(files, &picture.at, message, label);
        Ok(None)
    }

    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.context.project.root.join(path);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn lacks(&mut self, files: &Files, friendly: &Located<String>, what: &str, form: &str) {
        let message = format!("a workspace of the registry needs {what}");
        self.wrong(files, &friendly.at, message, "listed because of this")
            .help
            .push(format!("give {form}, or take `friendly-name` away"));
    }

    fn wrong(
        &mut self,
        files: &Files,
        at: &Location,
        message: impl Into<String>,
        label: &str,
    ) -> &mut Diagnostic {
        let diagnostic = Diagnostic {
            message: message.into(),
            at: Some(at.clone()),
            label: label.to_owned(),
            related: Vec::new(),
            help: Vec::new(),
        };
        self.mistakes.push((files.clone(), diagnostic));
        let (_, diagnostic) = self.mistakes.last_mut().expect("one was pushed just now");
        diagnostic
    }
}
