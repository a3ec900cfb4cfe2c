//! A lock as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Asked, Lock, Package};

impl Lock {
    /// The lock's one text.
    ///
    /// Each package is a block of lines, so that a changed version is a change of few lines, and
    /// lists that grow have a line for each member.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        text.push_str("# Written by kasmforge and followed by every later build.\n");
        text.push_str("# Change the definitions, or run `kasmforge update`; do not edit this.\n");
        line(&mut text, "format", &crate::FORMAT.to_string());
        if !self.left_out.is_empty() {
            let names = self.left_out.iter().map(|name| quoted(name));
            list(&mut text, "left-out", names);
        }
        for archive in &self.archives {
            text.push_str("\n[[archive]]\n");
            line(&mut text, "name", &quoted(&archive.name));
            line(&mut text, "release", &quoted(&archive.release.to_string()));
            line(&mut text, "date", &quoted(&date(archive.date)));
            if !archive.signer.is_empty() {
                line(&mut text, "signer", &quoted(&archive.signer));
            }
        }
        let names = References::of(&self.packages);
        for workspace in &self.workspaces {
            text.push_str("\n[[workspace]]\n");
            line(&mut text, "name", &quoted(&workspace.name));
            line(&mut text, "architecture", &quoted(&workspace.architecture));
            if let Some(parent) = &workspace.extends {
                line(&mut text, "extends", &quoted(parent));
            }
            line(
                &mut text,
                "request",
                &quoted(&workspace.request.to_string()),
            );
            if let Some(image) = &workspace.image {
                line(&mut text, "image", &quoted(&image.to_string()));
            }
            if !workspace.asked.is_empty() {
                let asked = workspace
                    .asked
                    .iter()
                    .map(|asked| quoted(&asked_text(asked)));
                list(&mut text, "asked", asked);
            }
            let packages = workspace
                .packages
                .iter()
                .map(|&index| quoted(&names.name(index)));
            list(&mut text, "packages", packages);
            let layers = workspace.layers.iter().map(|sources| {
                let sources: Vec<_> = sources.iter().map(|source| quoted(source)).collect();
                format!("[{}]", sources.join(", "))
            });
            list(&mut text, "layers", layers);
        }
        for (title, ids) in [
            ("ids.users", &self.ids.users),
            ("ids.groups", &self.ids.groups),
        ] {
            if !ids.is_empty() {
                let _ = write!(text, "\n[{title}]\n");
                for (name, id) in ids {
                    line(&mut text, &quoted(name), &id.to_string());
                }
            }
        }
        if !self.urls.is_empty() {
            text.push_str("\n[urls]\n");
            for (url, digest) in &self.urls {
                line(&mut text, &quoted(url), &quoted(&digest.to_string()));
            }
        }
        for package in &self.packages {
            package_block(&mut text, package);
        }
        text
    }
}

fn package_block(text: &mut String, package: &Package) {
    text.push_str("\n[[package]]\n");
    line(text, "name", &quoted(&package.name));
    line(text, "version", &quoted(&package.version));
    line(text, "architecture", &quoted(&package.architecture));
    if package.source != package.name {
        line(text, "source", &quoted(&package.source));
    }
    if !package.archive.is_empty() {
        line(text, "archive", &quoted(&package.archive));
    }
    line(text, "path", &quoted(&package.path));
    line(text, "size", &package.size.to_string());
    line(text, "sha256", &quoted(&package.sha256.hex()));
    line(text, "installed-size", &package.installed_size.to_string());
    if package.essential {
        line(text, "essential", "true");
    }
    for (key, names) in [
        ("depends", &package.depends),
        ("recommends", &package.recommends),
    ] {
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
            line(text, key, &format!("[{}]", names.join(", ")));
        }
    }
}

/// What stands between a request and the package of another name that met it.
pub(crate) const MET_BY: &str = " -> ";

fn asked_text(asked: &Asked) -> String {
    if Asked::named(&asked.text) == asked.package {
        asked.text.clone()
    } else {
        format!("{}{MET_BY}{}", asked.text, asked.package)
    }
}

/// The shortest names that tell the packages of a lock apart: `name`, `name:arch` where several
/// architectures have it, and `name:arch version` where that is not enough either.
pub(crate) struct References(Vec<String>);

impl References {
    pub(crate) fn of(packages: &[Package]) -> Self {
        let forms: Vec<[String; 4]> = packages
            .iter()
            .map(|package| {
                let long = format!("{}:{}", package.name, package.architecture);
                [
                    package.name.clone(),
                    long.clone(),
                    format!("{long} {}", package.version),
                    format!("{long} {} {}", package.version, package.sha256.hex()),
                ]
            })
            .collect();
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for form in forms.iter().flatten() {
            *uses.entry(form).or_default() += 1;
        }
        let shortest = forms.iter().map(|forms| {
            let unique = forms.iter().find(|form| uses[form.as_str()] == 1);
            unique.unwrap_or(&forms[3]).clone()
        });
        Self(shortest.collect())
    }

    fn name(&self, index: usize) -> String {
        self.0[index].clone()
    }

    /// All names with what they stand for.
    pub(crate) fn by_name(&self) -> BTreeMap<&str, usize> {
        self.0
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_str(), index))
            .collect()
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

fn list(text: &mut String, key: &str, values: impl Iterator<Item = String>) {
    let _ = writeln!(text, "{key} = [");
    for value in values {
        let _ = writeln!(text, "    {value},");
    }
    text.push_str("]\n");
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}
