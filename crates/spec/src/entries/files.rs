//! Files of the image, and the users who own them.

use super::{choice, distinct, exactly_one, located};
use crate::diagnostic::{Diagnostic, quoted};
use crate::fragment::{FileEntry, UserEntry};
use crate::model::{FileContent, Located, Location, User};
use crate::raw::{RawFile, RawUser};
use crate::words::numbers::Whole;

pub(crate) fn files<'a>(
    raw: impl Iterator<Item = &'a Located<RawFile>> + Clone,
    found: &mut Vec<Diagnostic>,
) -> Vec<FileEntry> {
    let targets = raw.clone().filter_map(|file| file.value.target.as_ref());
    distinct(
        "the target",
        targets.map(|target| (target.value.0.as_str(), &target.at)),
        found,
    );
    raw.filter_map(|raw| file(raw, found)).collect()
}

fn file(raw: &Located<RawFile>, found: &mut Vec<Diagnostic>) -> Option<FileEntry> {
    let RawFile {
        target,
        source,
        text,
        url,
        sha256,
        extract,
        symlink,
        directory,
        owner,
        group,
        mode,
        flawed,
    } = &raw.value;
    let target = target.as_ref()?;
    let what = format!("the file {}", quoted(&target.value.0));
    if let Some(directory) = directory.as_ref().filter(|directory| !directory.value) {
        let message = "`directory` can only be true";
        found.push(Diagnostic::new(
            directory.at.clone(),
            message,
            "leave it out",
        ));
    }
    if url.is_none() {
        let only = |key: &str, at: &Location| {
            let message = format!("`{key}` says nothing without `url`");
            Diagnostic::new(at.clone(), message, "only a download has it")
        };
        found.extend(sha256.as_ref().map(|sha256| only("sha256", &sha256.at)));
        found.extend(extract.as_ref().map(|extract| only("extract", &extract.at)));
    }
    if let (Some(mode), Some(_)) = (mode, symlink) {
        let message = "a symbolic link has no mode";
        found.push(Diagnostic::new(mode.at.clone(), message, "leave it out"));
    }
    if let Some(empty) = symlink
        .as_ref()
        .filter(|symlink| symlink.value.0.is_empty())
    {
        let message = "a symbolic link must lead somewhere";
        found.push(Diagnostic::new(
            empty.at.clone(),
            message,
            "a path is wanted",
        ));
    }
    let content = exactly_one(
        vec![
            (
                "source",
                source.as_ref().map(|path| {
                    let place = path.at.clone();
                    (
                        FileContent::Source(located(path, |path| path.0.clone())),
                        place,
                    )
                }),
            ),
            (
                "text",
                choice(text.as_ref(), |text| FileContent::Text(text.clone())),
            ),
            (
                "url",
                url.as_ref().map(|url| {
                    let content = FileContent::Url {
                        url: located(url, |url| url.0.clone()),
                        sha256: sha256
                            .as_ref()
                            .map(|digest| located(digest, |digest| digest.0.clone())),
                        extract: extract.as_ref().is_some_and(|extract| extract.value),
                    };
                    (content, url.at.clone())
                }),
            ),
            (
                "symlink",
                choice(symlink.as_ref(), |to| FileContent::Symlink(to.0.clone())),
            ),
            (
                "directory",
                choice(directory.as_ref(), |_| FileContent::Directory),
            ),
        ],
        &what,
        (!flawed).then_some(&raw.at),
        found,
    )?;
    Some(FileEntry {
        target: located(target, |target| target.0.clone()),
        content,
        owner: owner
            .as_ref()
            .map(|owner| located(owner, |owner| owner.0.clone())),
        group: group
            .as_ref()
            .map(|group| located(group, |group| group.0.clone())),
        mode: mode.as_ref().map(|mode| mode.value.0),
    })
}

pub(crate) fn users<'a>(
    raw: impl Iterator<Item = &'a Located<RawUser>> + Clone,
    found: &mut Vec<Diagnostic>,
) -> Vec<UserEntry> {
    let names = raw.clone().filter_map(|user| user.value.name.as_ref());
    distinct(
        "the user",
        names.map(|name| (name.value.0.as_str(), &name.at)),
        found,
    );
    let user = |raw: &Located<RawUser>| {
        let (name, id) = (raw.value.name.as_ref()?, raw.value.uid.as_ref()?);
        let Whole(uid) = id.value;
        let user = User {
            name: located(name, |name| name.0.clone()),
            uid,
            gid: raw.value.gid.as_ref().map_or(uid, |gid| gid.value.0),
            home: match &raw.value.home {
                Some(home) => home.value.0.clone(),
                None => format!("/home/{}", name.value.0),
            },
            shell: match &raw.value.shell {
                Some(shell) => shell.value.0.clone(),
                None => "/bin/bash".to_owned(),
            },
            groups: raw
                .value
                .groups
                .iter()
                .flatten()
                .map(|group| group.value.0.clone())
                .collect(),
        };
        Some(UserEntry {
            user,
            uid_at: id.at.clone(),
        })
    };
    raw.filter_map(user).collect()
}
