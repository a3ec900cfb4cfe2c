//! What an image was made of, as a file to keep beside it: the build record.
//!
//! It says what a software bill of materials or a provenance statement is made from: every input by
//! its digest, what each stage did with it, which rules took differences away, and what compressed the
//! layers. Nothing in it depends on when or where it was written: equal inputs give equal records.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use kasmforge_build::{Built, Exported, NORMALISERS};
use kasmforge_digest::Digest;
use kasmforge_lock::Lock;
use kasmforge_spec::{FileContent, Workspace};
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::whole_file;

/// The shape of the record; another number for another shape.
const FORMAT: u32 = 1;

/// Everything about an image that another program may want to know.
pub(crate) struct Record<'a> {
    pub(crate) project: &'a Path,
    pub(crate) workspace: &'a Workspace,
    pub(crate) lock: &'a Lock,
    pub(crate) built: &'a Built,
    pub(crate) output: Option<&'a Exported>,
}

impl Record<'_> {
    /// Writes it, by one rename.
    ///
    /// # Errors
    /// If a file of the definition cannot be read, or the record not be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.json()?)?;
        text.push('\n');
        whole_file::write(path, text.as_bytes())
    }

    fn json(&self) -> anyhow::Result<Value> {
        let built = self.built;
        Ok(json!({
            "format": FORMAT,
            "made_by": { "name": "kasmforge", "version": env!("CARGO_PKG_VERSION") },
            "image": {
                "workspace": built.workspace,
                "architecture": built.architecture,
                "references": built.references,
                "digest": built.manifest,
                "image_id": built.config,
                "created": built.created,
            },
            "inputs": {
                "definition": self.definition(),
                "files": self.files()?,
                "downloads": self.downloads(),
                "archives": self.archives(),
                "packages": self.packages(),
            },
            "stages": self.stages(),
            "layers": built.layers.iter().map(|layer| json!({
                "diff_id": layer.diff_id,
                "size": layer.size,
                "stage": layer.stage,
                "made_by": layer.created_by,
                "packages": layer.packages,
            })).collect::<Vec<_>>(),
            "output": self.output.map(|output| json!({
                "digest": output.digest,
                "size": output.size,
                "compressor": output.compressor,
            })),
        }))
    }

    /// The definition's own texts, by their paths in the project.
    fn definition(&self) -> BTreeMap<&str, Digest> {
        let files = self.workspace.files.entries();
        files
            .map(|(path, text)| (path, Digest::of(text.as_bytes())))
            .collect()
    }

    /// The project's files that went into the image, by their paths in the project.
    fn files(&self) -> anyhow::Result<BTreeMap<String, Digest>> {
        let mut found = BTreeMap::new();
        let stages = self.workspace.stages.iter();
        for file in stages.flat_map(|stage| &stage.image_files) {
            let FileContent::Source(source) = &file.content else {
                continue;
            };
            for entry in WalkDir::new(self.project.join(&source.value)) {
                let entry = entry.context("cannot list a folder of the definition")?;
                if !entry.file_type().is_file() {
                    continue;
                }
                let path = entry.path();
                let (digest, _) = File::open(path)
                    .and_then(Digest::of_reader)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let below = path.strip_prefix(self.project).unwrap_or(path);
                found.insert(below.display().to_string(), digest);
            }
        }
        Ok(found)
    }

    /// What was fetched by address, with its digest.
    fn downloads(&self) -> BTreeMap<&str, Digest> {
        let stages = self.workspace.stages.iter();
        let files = stages.flat_map(|stage| &stage.image_files);
        files
            .filter_map(|file| match &file.content {
                FileContent::Url { url, .. } => {
                    let digest = self.lock.urls.get(&url.value)?;
                    Some((url.value.as_str(), *digest))
                }
                _ => None,
            })
            .collect()
    }

    /// The archives' states that packages were resolved against.
    fn archives(&self) -> Vec<Value> {
        let states = self.lock.archives.iter();
        states
            .map(|state| {
                json!({
                    "name": state.name,
                    "release": state.release,
                    "date": state.date,
                    "signer": state.signer,
                })
            })
            .collect()
    }

    /// Each stage's own packages, as the lock has them.
    fn packages(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for stage in &self.workspace.stages {
            let locked = self.lock.workspace(&stage.name, &self.built.architecture);
            let indexes = locked.iter().flat_map(|locked| &locked.packages);
            found.extend(indexes.map(|&index| {
                let package = &self.lock.packages[index];
                json!({
                    "stage": stage.name,
                    "name": package.name,
                    "version": package.version,
                    "architecture": package.architecture,
                    "source": package.source,
                    "archive": package.archive,
                    "path": package.path,
                    "size": package.size,
                    "sha256": package.sha256.hex(),
                })
            }));
        }
        found
    }

    /// What was done stage by stage: which rules there were, and what each of them changed.
    fn stages(&self) -> Vec<Value> {
        let stages = self.built.normalised.iter();
        stages
            .map(|(stage, applied)| {
                let rules = NORMALISERS.iter().map(|rule| {
                    let one = applied.iter().find(|one| one.name == rule.name);
                    json!({
                        "name": rule.name,
                        "version": rule.version,
                        "changed": one.map(|one| one.paths.as_slice()).unwrap_or_default(),
                    })
                });
                json!({ "stage": stage, "rules": rules.collect::<Vec<_>>() })
            })
            .collect()
    }
}
