//! What packages say of each other, as far as configuring them goes by it.

use kasmforge_deb::stanza::Stanzas;

use crate::unpack::Package;

/// A package and what its fields say, which are read once for a stage.
pub(crate) struct Related<'a> {
    pub(crate) package: &'a Package,
    /// Whether others need it without naming it.
    pub(crate) essential: bool,
    /// Whether every ordinary system has it (policy 2.5: `required`, `important`), so that a script may
    /// well take it for granted.
    pub(crate) ordinary: bool,
    pub(crate) provides: Vec<String>,
    pub(crate) pre_depends: Vec<String>,
    pub(crate) depends: Vec<String>,
    /// What it makes use of where it is there: `Recommends` and `Suggests`.
    pub(crate) likes: Vec<String>,
}

impl<'a> Related<'a> {
    pub(crate) fn of(package: &'a Package) -> Self {
        let stanza = Stanzas::new(&package.control).flatten().next();
        let field = |field| stanza.as_ref().and_then(|stanza| stanza.get(field));
        let names = |of| field(of).map(|value| names(&value)).unwrap_or_default();
        Self {
            package,
            essential: field("Essential").is_some_and(|value| value == "yes"),
            ordinary: field("Priority")
                .is_some_and(|value| ["required", "important"].contains(&&*value)),
            provides: names("Provides"),
            pre_depends: names("Pre-Depends"),
            depends: names("Depends"),
            likes: [names("Recommends"), names("Suggests")].concat(),
        }
    }

    fn stands_for(&self, name: &str) -> bool {
        self.package.name == name || self.provides.iter().any(|provided| provided == name)
    }

    /// The stems of what the package pre-depends on and whatever that depends on, among all of the
    /// stage and in their order.
    pub(crate) fn pre_dependencies(&self, all: &[Related<'a>]) -> Vec<&'a str> {
        if self.pre_depends.is_empty() {
            return Vec::new();
        }
        let mut todo: Vec<&str> = self.pre_depends.iter().map(String::as_str).collect();
        // What is essential is needed by all and named by none.
        let essential = all.iter().filter(|one| one.essential);
        todo.extend(essential.map(|one| one.package.name.as_str()));
        let mut found = vec![false; all.len()];
        while let Some(name) = todo.pop() {
            for (one, found) in all.iter().zip(&mut found) {
                if !*found && one.package.stem != self.package.stem && one.stands_for(name) {
                    *found = true;
                    let needed = one.pre_depends.iter().chain(&one.depends);
                    todo.extend(needed.map(String::as_str));
                }
            }
        }
        all.iter()
            .zip(found)
            .filter_map(|(one, found)| found.then_some(one.package.stem.as_str()))
            .collect()
    }
}

/// The names in a field of relations, alternatives and all.
fn names(relations: &str) -> Vec<String> {
    relations
        .split([',', '|'])
        .map(|one| {
            let end = one.find(['(', '[', '<', ':']).unwrap_or(one.len());
            one[..end].trim().to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}
