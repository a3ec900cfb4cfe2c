//! In what order services start.

use crate::diagnostic::{Diagnostic, listed, quoted};
use crate::model::{Located, Ready, Service};
use crate::near::nearest;

/// The services, each after those it waits for, and otherwise as they were given.
///
/// Those that wait for services nobody declared are complained of only if the definition is
/// `complete`: else the missing one may be one that is broken.
pub(crate) fn ordered(
    services: &[Service],
    complete: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Service> {
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.value.as_str())
        .collect();
    let position = |name: &str| names.iter().position(|other| *other == name);
    for after in services.iter().flat_map(|service| &service.after) {
        if complete && position(&after.value).is_none() {
            diagnostics.push(unknown(after, &names));
        }
    }

    diagnostics.extend(same_port(services));

    let mut order: Vec<usize> = Vec::with_capacity(services.len());
    loop {
        let next = (0..services.len()).find(|index| {
            let mut waits = services[*index]
                .after
                .iter()
                .filter_map(|after| position(&after.value));
            !order.contains(index) && waits.all(|other| order.contains(&other))
        });
        match next {
            Some(index) => order.push(index),
            None => break,
        }
    }
    if let Some(stuck) = (0..services.len()).find(|index| !order.contains(index)) {
        diagnostics.push(circle(services, stuck, &order, position));
    }
    order
        .into_iter()
        .map(|index| services[index].clone())
        .collect()
}

/// Complains of services that would be ready at one port: only one of them can have it.
fn same_port(services: &[Service]) -> Vec<Diagnostic> {
    let port = |service: &Service| match service.ready {
        Some(Ready::Port(port)) => Some(port),
        _ => None,
    };
    let again = services.iter().enumerate().filter_map(|(index, service)| {
        let wanted = port(service)?;
        let first = services[..index]
            .iter()
            .find(|other| port(other) == Some(wanted))?;
        let message = format!(
            "the services {} and {} are both ready at port {wanted}",
            quoted(&first.name.value),
            quoted(&service.name.value)
        );
        let diagnostic = Diagnostic::new(service.name.at.clone(), message, "only one can have it")
            .related(first.name.at.clone(), format!("has port {wanted}"));
        Some(diagnostic.help("give one of them another port"))
    });
    again.collect()
}

fn unknown(after: &Located<String>, names: &[&str]) -> Diagnostic {
    let message = format!("there is no service {}", quoted(&after.value));
    let mut diagnostic = Diagnostic::new(after.at.clone(), message, "no such service");
    if let Some(near) = nearest(&after.value, names.iter().copied()) {
        diagnostic = diagnostic.help(format!("did you mean {}?", quoted(near)));
    }
    diagnostic.help(format!(
        "the services are: {}",
        listed(names.iter().copied())
    ))
}

/// Follows a service that cannot start to the circle it waits for, and shows that.
fn circle(
    services: &[Service],
    stuck: usize,
    order: &[usize],
    position: impl Fn(&str) -> Option<usize>,
) -> Diagnostic {
    let mut way: Vec<(usize, &Located<String>)> = Vec::new();
    let mut index = stuck;
    let round = loop {
        if let Some(first) = way.iter().position(|(other, _)| *other == index) {
            break &way[first..];
        }
        // A stuck service waits for another stuck one: else it would have been put in order.
        let next = services[index].after.iter().find_map(|after| {
            let other = position(&after.value)?;
            (!order.contains(&other)).then_some((other, after))
        });
        let Some((other, after)) = next else {
            break &way[..];
        };
        way.push((index, after));
        index = other;
    };
    let names: Vec<String> = round
        .iter()
        .map(|(index, _)| quoted(&services[*index].name.value))
        .collect();
    let mut diagnostic = Diagnostic::nowhere("services wait for each other in a circle");
    if let Some(((_, last), others)) = round.split_last() {
        diagnostic.at = Some(last.at.clone());
        diagnostic.label = format!("this waits for {} again", quoted(&last.value));
        let others = others.iter();
        diagnostic.related = others
            .map(|(_, after)| {
                (
                    after.at.clone(),
                    format!("waits for {}", quoted(&after.value)),
                )
            })
            .collect();
    }
    let first = names.first().cloned().unwrap_or_default();
    diagnostic.help(format!("the circle is {} → {first}", names.join(" → ")))
}
