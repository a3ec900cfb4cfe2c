//! Where packages come from, and what their scripts are told.

use std::path::PathBuf;

use super::{distinct, exactly_one, located};
use crate::diagnostic::{Diagnostic, quoted};
use crate::model::{Archive, DebByUrl, Debconf, Debian, Located, Pin, PinTo};
use crate::raw::{RawArchive, RawDebian, RawDefinition, RawPin};

/// How much the versions of a pin count if it does not say: more than those of any archive, as apt's
/// own default for a target release.
const PINNED: u32 = 990;

pub(crate) fn debian(raw: &Located<RawDebian>, found: &mut Vec<Diagnostic>) -> Option<Debian> {
    let RawDebian {
        suite,
        components,
        security,
        updates,
        backports,
        foreign_architectures,
        sources_in_image,
        archives,
        ..
    } = &raw.value;
    let archives: Vec<&Located<RawArchive>> = archives.iter().flatten().collect();
    let names = archives
        .iter()
        .filter_map(|archive| archive.value.name.as_ref());
    distinct(
        "the archive",
        names.map(|name| (name.value.0.as_str(), &name.at)),
        found,
    );
    let suite = suite.as_ref()?;
    if suite.value.0.contains('/') {
        let message = format!(
            "{} is not a suite of a distribution",
            quoted(&suite.value.0)
        );
        let diagnostic = Diagnostic::new(suite.at.clone(), message, "`/` cannot stand here");
        found.push(diagnostic.help("name an archive of another form in `[[debian.archives]]`"));
    }
    Some(Debian {
        suite: located(suite, |suite| suite.0.clone()),
        components: match components {
            Some(components) => components
                .iter()
                .map(|component| component.value.0.clone())
                .collect(),
            None => vec!["main".to_owned()],
        },
        security: security.as_ref().is_none_or(|security| security.value),
        updates: updates.as_ref().is_some_and(|updates| updates.value),
        backports: backports.as_ref().is_some_and(|backports| backports.value),
        foreign_architectures: foreign_architectures
            .iter()
            .flatten()
            .map(|architecture| architecture.value.0.clone())
            .collect(),
        sources_in_image: sources_in_image
            .iter()
            .flatten()
            .map(|line| line.value.0.clone())
            .collect(),
        archives: archives
            .iter()
            .filter_map(|raw| archive(raw, found))
            .collect(),
    })
}

fn archive(raw: &Located<RawArchive>, found: &mut Vec<Diagnostic>) -> Option<Archive> {
    let RawArchive {
        name,
        uri,
        suite,
        components,
        keyring,
        signed_by,
        certificates,
        trusted,
        priority,
        flawed,
    } = &raw.value;
    let (name, uri, suite) = (name.as_ref()?, uri.as_ref()?, suite.as_ref()?);
    let flat = suite.value.0.ends_with('/');
    let trusted = trusted.as_ref().filter(|trusted| trusted.value);
    match (keyring, trusted) {
        (None, None) if !flawed => {
            let message = format!(
                "nothing says who signs the archive {}",
                quoted(&name.value.0)
            );
            let diagnostic = Diagnostic::new(raw.at.clone(), message, "`keyring` is missing");
            found.push(diagnostic.help(
                "name its keyring, or write `trusted = true` to take whatever comes unverified",
            ));
        }
        (Some(keyring), Some(trusted)) => {
            let message = "a trusted archive's signature is not looked at";
            let diagnostic = Diagnostic::new(trusted.at.clone(), message, "beside `keyring`");
            found.push(
                diagnostic
                    .related(keyring.at.clone(), "the keyring is given here")
                    .help("leave out `trusted`, and the signature is verified with the keyring"),
            );
        }
        _ => {}
    }
    if keyring.is_none()
        && let Some(first) = signed_by.iter().flatten().next()
    {
        let message = "fingerprints choose among the certificates of a keyring";
        let diagnostic = Diagnostic::new(first.at.clone(), message, "`keyring` is missing");
        found.push(diagnostic);
    }
    if flat && let Some(first) = components.iter().flatten().next() {
        let message = "a suite that ends in `/` has no components";
        found.push(Diagnostic::new(
            first.at.clone(),
            message,
            "leave out `components`",
        ));
    }
    Some(Archive {
        name: name.value.0.clone(),
        uri: located(uri, |uri| uri.0.clone()),
        suite: suite.value.0.clone(),
        components: match components {
            Some(components) => components
                .iter()
                .map(|component| component.value.0.clone())
                .collect(),
            None if flat => Vec::new(),
            None => vec!["main".to_owned()],
        },
        keyring: keyring
            .as_ref()
            .map(|keyring| located(keyring, |path| PathBuf::from(&path.0))),
        signed_by: signed_by
            .iter()
            .flatten()
            .map(|fingerprint| fingerprint.value.0.clone())
            .collect(),
        certificates: certificates
            .as_ref()
            .map(|path| located(path, |path| PathBuf::from(&path.0))),
        trusted: trusted.is_some(),
        priority: priority.as_ref().map(|priority| priority.value.0),
    })
}

pub(crate) fn debs(raw: &RawDefinition, found: &mut Vec<Diagnostic>) -> Vec<DebByUrl> {
    let debs = raw
        .packages
        .iter()
        .flat_map(|packages| packages.deb.iter().flatten());
    let urls = debs.clone().filter_map(|deb| deb.value.url.as_ref());
    distinct(
        "the address",
        urls.map(|url| (url.value.0.as_str(), &url.at)),
        found,
    );
    let paths = debs.clone().filter_map(|deb| deb.value.path.as_ref());
    distinct(
        "the path",
        paths.map(|path| (path.value.0.as_str(), &path.at)),
        found,
    );
    debs.filter_map(|deb| {
        let url = deb.value.url.as_ref();
        let url = url.map(|url| ((located(url, |url| url.0.clone()), false), url.at.clone()));
        let path = deb.value.path.as_ref();
        let path = path.map(|path| {
            (
                (located(path, |path| path.0.clone()), true),
                path.at.clone(),
            )
        });
        let nothing = (!deb.value.flawed).then_some(&deb.at);
        let choices = vec![("url", url), ("path", path)];
        let (url, local) = exactly_one(choices, "a package", nothing, found)?;
        Some(DebByUrl {
            url,
            local,
            sha256: deb
                .value
                .sha256
                .as_ref()
                .map(|digest| located(digest, |digest| digest.0.clone())),
        })
    })
    .collect()
}

pub(crate) fn pins(raw: &RawDefinition, found: &mut Vec<Diagnostic>) -> Vec<Pin> {
    let pins = raw
        .packages
        .iter()
        .flat_map(|packages| packages.pin.iter().flatten());
    pins.filter_map(|raw| pin(raw, found)).collect()
}

fn pin(raw: &Located<RawPin>, found: &mut Vec<Diagnostic>) -> Option<Pin> {
    let RawPin {
        packages,
        suite,
        version,
        never,
        priority,
        flawed,
    } = &raw.value;
    let packages = packages.as_ref()?;
    let never = never.as_ref().filter(|never| never.value);
    let to = match (suite, version) {
        (Some(suite), None) => PinTo::Suite(located(suite, |suite| suite.0.clone())),
        (None, Some(version)) => PinTo::Version(version.value.0.clone()),
        (Some(suite), Some(version)) => {
            let message = "a pin means the versions of a suite, or those of a pattern";
            let diagnostic = Diagnostic::new(version.at.clone(), message, "and this as well");
            found.push(diagnostic.related(suite.at.clone(), "the suite is given here"));
            return None;
        }
        (None, None) if never.is_some() => PinTo::Any,
        (None, None) => {
            if !flawed {
                let message = "this pin does not say which versions it means";
                let diagnostic = Diagnostic::new(raw.at.clone(), message, "nothing is pinned");
                found.push(diagnostic.help(
                    "write `suite = \"…\"`, `version = \"…\"`, or `never = true` to take none",
                ));
            }
            return None;
        }
    };
    if let (Some(never), Some(priority)) = (never, priority) {
        let message = "what is never taken has no priority";
        let diagnostic = Diagnostic::new(priority.at.clone(), message, "leave out `priority`");
        found.push(diagnostic.related(never.at.clone(), "never taken, says this"));
    }
    Some(Pin {
        packages: packages
            .iter()
            .map(|pattern| pattern.value.0.clone())
            .collect(),
        to,
        priority: match never {
            Some(_) => None,
            None => Some(
                priority
                    .as_ref()
                    .map_or(PINNED, |priority| priority.value.0),
            ),
        },
    })
}

pub(crate) fn debconf(raw: &RawDefinition, found: &mut Vec<Diagnostic>) -> Vec<Debconf> {
    let answers = raw
        .packages
        .iter()
        .flat_map(|packages| packages.debconf.iter().flatten());
    let questions = answers
        .clone()
        .filter_map(|answer| answer.value.question.as_ref());
    distinct(
        "the question",
        questions.map(|question| (question.value.0.as_str(), &question.at)),
        found,
    );
    answers
        .filter_map(|raw| {
            let (kind, value) = (raw.value.r#type.as_ref()?, raw.value.value.as_ref()?);
            let answer = Debconf {
                package: raw.value.package.as_ref()?.value.0.clone(),
                question: raw.value.question.as_ref()?.value.0.clone(),
                kind: kind.value.0.to_owned(),
                value: value.value.0.clone(),
            };
            let wrong = match kind.value.0 {
                "boolean" if answer.value != "true" && answer.value != "false" => {
                    Some("`\"true\"` or `\"false\"` is wanted")
                }
                _ if answer.value.contains('\n') => Some("one line is wanted"),
                _ => None,
            };
            if let Some(label) = wrong {
                let question = quoted(&answer.question);
                let message = format!("{} does not answer {question}", quoted(&answer.value));
                found.push(Diagnostic::new(value.at.clone(), message, label));
            }
            Some(answer)
        })
        .collect()
}
