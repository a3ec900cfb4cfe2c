//! What runs in the container, and what must hold there.

use super::{choice, distinct, exactly_one, located};
use crate::diagnostic::{Diagnostic, quoted};
use crate::model::{Check, Located, Probe, Ready, Restart, Service};
use crate::raw::{RawCheck, RawHttp, RawReady, RawService};

/// Seconds a check may take to come true, where nothing is said: a desktop on a small machine needs
/// most of them.
const WITHIN: u64 = 60;

pub(crate) fn services<'a>(
    raw: impl Iterator<Item = &'a Located<RawService>> + Clone,
    found: &mut Vec<Diagnostic>,
) -> Vec<Service> {
    let names = raw
        .clone()
        .filter_map(|service| service.value.name.as_ref());
    distinct(
        "the service",
        names.map(|name| (name.value.0.as_str(), &name.at)),
        found,
    );
    let mut service = |raw: &Located<RawService>| {
        let (name, command) = (raw.value.name.as_ref()?, raw.value.command.as_ref()?);
        let ready = match &raw.value.ready {
            Some(ready) => Some(readiness(&name.value.0, ready, found)?),
            None => None,
        };
        Some(Service {
            name: located(name, |name| name.0.clone()),
            command: located(command, |command| command.0.clone()),
            user: raw
                .value
                .user
                .as_ref()
                .map(|user| located(user, |user| user.0.clone())),
            after: raw
                .value
                .after
                .iter()
                .flatten()
                .map(|name| located(name, |name| name.0.clone()))
                .collect(),
            restart: raw
                .value
                .restart
                .as_ref()
                .map_or(Restart::Always, |restart| restart.value.0),
            ready,
        })
    };
    raw.filter_map(&mut service).collect()
}

fn readiness(service: &str, raw: &Located<RawReady>, found: &mut Vec<Diagnostic>) -> Option<Ready> {
    let RawReady {
        port,
        socket,
        file,
        command,
        flawed,
    } = &raw.value;
    exactly_one(
        vec![
            (
                "port",
                choice(port.as_ref(), |port| Ready::Port(port.port())),
            ),
            (
                "socket",
                choice(socket.as_ref(), |socket| Ready::Socket(socket.0.clone())),
            ),
            (
                "file",
                choice(file.as_ref(), |file| Ready::File(file.0.clone())),
            ),
            (
                "command",
                command.as_ref().map(|command| {
                    let words = located(command, |command| command.0.clone());
                    (Ready::Command(words), command.at.clone())
                }),
            ),
        ],
        &format!("the readiness of {}", quoted(service)),
        (!flawed).then_some(&raw.at),
        found,
    )
}

pub(crate) fn checks<'a>(
    raw: impl Iterator<Item = &'a Located<RawCheck>> + Clone,
    found: &mut Vec<Diagnostic>,
) -> Vec<Check> {
    let names = raw.clone().filter_map(|check| check.value.name.as_ref());
    distinct(
        "the check",
        names.map(|name| (name.value.0.as_str(), &name.at)),
        found,
    );
    raw.filter_map(|raw| check(raw, found)).collect()
}

fn check(raw: &Located<RawCheck>, found: &mut Vec<Diagnostic>) -> Option<Check> {
    let RawCheck {
        name,
        port,
        http,
        command,
        file,
        process,
        within,
        flawed,
    } = &raw.value;
    let name = name.as_ref()?;
    let probe = exactly_one(
        vec![
            (
                "port",
                choice(port.as_ref(), |port| Some(Probe::Port(port.port()))),
            ),
            ("http", choice(http.as_ref(), request)),
            (
                "command",
                choice(command.as_ref(), |command| {
                    Some(Probe::Command(command.0.clone()))
                }),
            ),
            (
                "file",
                choice(file.as_ref(), |file| Some(Probe::File(file.0.clone()))),
            ),
            (
                "process",
                choice(process.as_ref(), |process| {
                    Some(Probe::Process(process.0.clone()))
                }),
            ),
        ],
        &format!("the check {}", quoted(&name.value.0)),
        (!flawed).then_some(&raw.at),
        found,
    )??;
    Some(Check {
        name: name.value.0.clone(),
        probe,
        within: within
            .as_ref()
            .map_or(WITHIN, |within| within.value.0.into()),
        at: command
            .as_ref()
            .map_or_else(|| raw.at.clone(), |command| command.at.clone()),
    })
}

fn request(raw: &RawHttp) -> Option<Probe> {
    Some(Probe::Http {
        port: raw.port.as_ref()?.value.port(),
        tls: raw.tls.as_ref().is_some_and(|tls| tls.value),
        path: raw
            .path
            .as_ref()
            .map_or("/".to_owned(), |path| path.value.0.clone()),
        status: raw
            .status
            .as_ref()
            .map_or(200, |status| status.value.port()),
    })
}
