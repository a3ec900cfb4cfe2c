//! What differs between two plans of a workspace, in words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Input, Step};

/// A step that has another key than before, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepChange {
    /// The step's name.
    pub step: String,
    /// Its inputs that differ. Empty where the step is new.
    pub inputs: Vec<InputChange>,
}

/// An input that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// Its name.
    pub input: String,
    /// What it has now and had not before, in words.
    pub added: Vec<String>,
    /// What it had before and has not now.
    pub removed: Vec<String>,
}

/// What differs from `before` to `now`, step by step in the order of `now`.
///
/// An input whose words are the same and whose value is not is told with empty lists: its content
/// differs, or only its order.
#[must_use]
pub fn differences(before: &[Step], now: &[Step]) -> Vec<StepChange> {
    let old: BTreeMap<&str, &Step> = before
        .iter()
        .map(|step| (step.name.as_str(), step))
        .collect();
    now.iter()
        .filter_map(|step| {
            let Some(old) = old.get(step.name.as_str()) else {
                return Some(StepChange {
                    step: step.name.clone(),
                    inputs: Vec::new(),
                });
            };
            (old.key != step.key).then(|| StepChange {
                step: step.name.clone(),
                inputs: changed(old, step),
            })
        })
        .collect()
}

fn changed(before: &Step, now: &Step) -> Vec<InputChange> {
    let mut inputs = Vec::new();
    if before.kind != now.kind {
        inputs.push(InputChange {
            input: "code".into(),
            added: vec![now.kind.clone()],
            removed: vec![before.kind.clone()],
        });
    }
    for input in &now.inputs {
        let old = before.inputs.iter().find(|old| old.name == input.name);
        if old.is_some_and(|old| old.value == input.value) {
            continue;
        }
        let words = |input: Option<&Input>| -> BTreeSet<String> {
            input
                .map(|input| input.words.iter().cloned().collect())
                .unwrap_or_default()
        };
        let (old, new) = (words(old), words(Some(input)));
        inputs.push(InputChange {
            input: input.name.clone(),
            added: new.difference(&old).cloned().collect(),
            removed: old.difference(&new).cloned().collect(),
        });
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::StepMaker;

    fn step(packages: &[&str], slim: &str) -> Step {
        let packages = packages.iter().map(|one| (*one, (*one).to_owned()));
        StepMaker::new("configure 1", "configure desktop".into())
            .list("packages", packages)
            .text("slim", slim)
            .finish()
    }

    #[test]
    fn names_the_step_the_input_and_its_members() {
        let before = [step(&["bash 1", "dash 1"], "no")];
        assert_eq!(differences(&before, &before), []);
        let now = [step(&["bash 2", "dash 1"], "no")];
        let found = differences(&before, &now);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].step, "configure desktop");
        assert_eq!(
            found[0].inputs,
            [InputChange {
                input: "packages".into(),
                added: vec!["bash 2".into()],
                removed: vec!["bash 1".into()],
            }]
        );
    }

    #[test]
    fn an_order_and_a_new_step_are_differences_too() {
        let before = [step(&["a", "b"], "no")];
        let found = differences(&before, &[step(&["b", "a"], "no")]);
        assert_eq!(found[0].inputs[0].input, "packages");
        assert!(found[0].inputs[0].added.is_empty());
        assert_eq!(differences(&[], &before)[0].inputs, []);
    }

    #[test]
    fn keys_differ_whenever_an_input_does() {
        let keys = [
            step(&["a"], "no"),
            step(&["b"], "no"),
            step(&["a"], "yes"),
            step(&["a", "b"], "no"),
        ]
        .map(|step| step.key);
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
