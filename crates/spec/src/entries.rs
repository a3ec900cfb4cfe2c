//! The entries of one file's lists: from what was typed to what it means, defaults filled in.
//!
//! An entry that lacks what it must have was complained of by the decoder, and is left out here.

mod files;
mod packages;
mod running;

use std::collections::BTreeMap;

pub(crate) use files::{files, users};
pub(crate) use packages::{debconf, debian, debs, pins};
pub(crate) use running::{checks, services};

use crate::diagnostic::{Diagnostic, listed, quoted};
use crate::model::{Located, Location};
use crate::raw::RawDefinition;

/// The value in another form, at the same place.
pub(crate) fn located<T, U>(word: &Located<T>, map: impl FnOnce(&T) -> U) -> Located<U> {
    Located {
        value: map(&word.value),
        at: word.at.clone(),
    }
}

/// Says which names of one file's list are taken twice; the lines of both are shown.
fn distinct<'a>(
    what: &str,
    names: impl Iterator<Item = (&'a str, &'a Location)>,
    found: &mut Vec<Diagnostic>,
) {
    let mut seen: BTreeMap<&str, &Location> = BTreeMap::new();
    for (name, at) in names {
        match seen.get(name) {
            Some(first) => {
                let message = format!("{what} {} is given twice", quoted(name));
                let diagnostic = Diagnostic::new(at.clone(), message, "given again here");
                found.push(diagnostic.related((*first).clone(), "first given here"));
            }
            None => {
                seen.insert(name, at);
            }
        }
    }
}

/// A choice of [`exactly_one`]: the value and its place, if the key is there.
fn choice<T, U>(given: Option<&Located<T>>, map: impl FnOnce(&T) -> U) -> Option<(U, Location)> {
    given.map(|given| (map(&given.value), given.at.clone()))
}

/// Says which of the keys that exclude each other a table has, unless it has exactly one.
/// `nothing` is where a table with none is,
/// unless the one it has is a broken one.
fn exactly_one<T>(
    choices: Vec<(&str, Option<(T, Location)>)>,
    what: &str,
    nothing: Option<&Location>,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    let names = listed(choices.iter().map(|(name, _)| *name));
    let mut given: Vec<(&str, T, Location)> = choices
        .into_iter()
        .filter_map(|(name, choice)| choice.map(|(value, at)| (name, value, at)))
        .collect();
    given.sort_by_key(|(_, _, at)| at.span.start);
    if given.len() > 1 {
        let mut rest = given.into_iter();
        let first = rest.next();
        for (name, _, at) in rest {
            if let Some((first, _, first_at)) = &first {
                let message = format!("{what} has both `{first}` and `{name}`");
                let diagnostic = Diagnostic::new(at, message, format!("beside `{first}`"))
                    .related(first_at.clone(), format!("`{first}` is given here"));
                found.push(diagnostic.help(format!("keep one of {names}")));
            }
        }
        return None;
    }
    if given.is_empty()
        && let Some(nothing) = nothing
    {
        let message = format!("{what} has none of {names}");
        found.push(Diagnostic::new(
            nothing.clone(),
            message,
            "exactly one is wanted",
        ));
    }
    given.pop().map(|(_, value, _)| value)
}

/// Checks what one file's settings say, as far as it can be seen without the others.
pub(crate) fn settings(raw: &RawDefinition, found: &mut Vec<Diagnostic>) {
    let packages = raw.packages.iter();
    let removed = packages
        .clone()
        .flat_map(|packages| packages.remove.iter().flatten());
    distinct(
        "the package",
        removed
            .clone()
            .map(|name| (name.value.0.as_str(), &name.at)),
        found,
    );
    for removed in removed {
        let asked = packages
            .clone()
            .flat_map(|packages| packages.install.iter().flatten());
        let same = asked.filter(|request| request.value.name == removed.value.0);
        found.extend(same.map(|request| {
            let message = format!(
                "{} is both asked for and taken away",
                quoted(&removed.value.0)
            );
            Diagnostic::new(removed.at.clone(), message, "taken away here")
                .related(request.at.clone(), "asked for here")
                .help("keep one of the two: `remove` is for what modules ask for")
        }));
    }

    let image = raw.image.iter();
    let ports = image.clone().flat_map(|image| image.ports.iter().flatten());
    distinct(
        "the port",
        ports.map(|port| (port.value.0.as_str(), &port.at)),
        found,
    );
    let volumes = image
        .clone()
        .flat_map(|image| image.volumes.iter().flatten());
    distinct(
        "the volume",
        volumes.map(|volume| (volume.value.0.as_str(), &volume.at)),
        found,
    );
    let tags = image.clone().flat_map(|image| image.tags.iter().flatten());
    distinct(
        "the tag",
        tags.map(|tag| (tag.value.0.as_str(), &tag.at)),
        found,
    );

    let deploy = raw.deploy.iter();
    let ports = deploy
        .clone()
        .flat_map(|deploy| deploy.ports.iter().flatten());
    distinct(
        "the host's port",
        ports.map(|port| (port.value.host.as_str(), &port.at)),
        found,
    );
    let volumes = deploy.flat_map(|deploy| deploy.volumes.iter().flatten());
    distinct(
        "the volume at",
        volumes.map(|volume| (volume.value.target.as_str(), &volume.at)),
        found,
    );

    let check = image.filter_map(|image| image.healthcheck.as_ref()?.command.as_ref());
    for command in check {
        let first = command.value.0.first().map_or("", String::as_str);
        if matches!(first, "CMD" | "CMD-SHELL" | "NONE") {
            let message = format!("{} is not a program", quoted(first));
            let diagnostic = Diagnostic::new(command.at.clone(), message, "an engine's own word");
            found.push(diagnostic.help(match first {
                "CMD-SHELL" => "write the shell out: `[\"/bin/sh\", \"-c\", \"…\"]`",
                "NONE" => "leave out `[image.healthcheck]`",
                _ => "begin with the program itself",
            }));
        }
    }
}
