//! The lock as a graph: which package is there because of which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kasmforge_lock::{Asked, Lock, Package};
use kasmforge_spec::Workspace;

use crate::locking::check::place;

/// Why a package must be there whatever the others say. What a person wrote goes before what is
/// there anyway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    /// A definition asks for it.
    Asked {
        /// How far down the stage is: 0 for the workspace itself.
        depth: usize,
        /// The stage that asks.
        stage: String,
        /// The request.
        text: String,
        /// The file and line of the request, where the definition still has it.
        place: Option<String>,
    },
    /// A definition names its address.
    Address {
        /// The address.
        url: String,
        /// The file and line.
        place: Option<String>,
    },
    /// Every system must have it.
    Essential,
}

impl Root {
    /// The root as the end of a sentence about a package.
    pub(crate) fn words(&self) -> String {
        let at = |place: &Option<String>| {
            place
                .as_ref()
                .map_or(String::new(), |place| format!(" in {place}"))
        };
        match self {
            Self::Asked {
                stage, text, place, ..
            } => format!("`{text}` is asked for{} (stage `{stage}`)", at(place)),
            Self::Address { url, place } => format!("{url} is named{}", at(place)),
            Self::Essential => "every system must have it".into(),
        }
    }
}

/// How one package leads to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    /// It depends on it.
    Depends,
    /// It recommends it.
    Recommends,
}

impl Relation {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Depends => "depends on",
            Self::Recommends => "recommends",
        }
    }
}

/// A chain from a root to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Why the first package is there.
    pub(crate) root: Root,
    /// The first package: an index into [`Reasons::packages`].
    pub(crate) first: usize,
    /// How each package leads to the next.
    pub(crate) links: Vec<(Relation, usize)>,
}

/// The packages of a workspace and of the stages below it, and what leads to each.
pub(crate) struct Reasons<'a> {
    /// The packages, those of the root stage first, each stage's in the order of configuration.
    pub(crate) packages: Vec<&'a Package>,
    /// What each package leads to: needs first, each sorted by name.
    pub(crate) links: Vec<Vec<(Relation, usize)>>,
    /// Why packages are there whatever the others say, with what they are about.
    pub(crate) roots: Vec<(Root, usize)>,
    /// The packages by how others name them.
    by_name: BTreeMap<String, usize>,
}

impl<'a> Reasons<'a> {
    /// The graph of a workspace; `None` where the lock has not got it.
    pub(crate) fn of(lock: &'a Lock, workspace: &Workspace, native: &str) -> Option<Self> {
        lock.workspace(&workspace.name, native)?;
        let mut chain = lock.chain(&workspace.name, native);
        chain.reverse();
        let packages: Vec<&Package> = chain
            .iter()
            .flat_map(|stage| stage.packages.iter().map(|&index| &lock.packages[index]))
            .collect();
        let by_name: BTreeMap<String, usize> = packages
            .iter()
            .enumerate()
            .map(|(at, package)| (package.reference(native), at))
            .collect();
        let links = packages
            .iter()
            .map(|package| {
                let of = |names: &[String], relation| {
                    let found = names.iter().filter_map(|name| by_name.get(name));
                    found.map(|&at| (relation, at)).collect::<Vec<_>>()
                };
                let mut links = of(&package.depends, Relation::Depends);
                links.extend(of(&package.recommends, Relation::Recommends));
                links
            })
            .collect();
        let mut roots = BTreeSet::new();
        for (at, stage) in chain.iter().enumerate() {
            let defined = workspace.stages.iter().find(|one| one.name == stage.name);
            let written = defined.map_or(&[][..], |stage| stage.packages.install.as_slice());
            let mut asked = stage.asked.clone();
            if asked.is_empty() {
                // A lock of the first format: the definition's own words are the best there is.
                asked.extend(written.iter().map(|one| Asked {
                    text: one.value.clone(),
                    package: Asked::named(&one.value).to_owned(),
                }));
            }
            for one in asked {
                let Some(&package) = by_name.get(&one.package) else {
                    continue;
                };
                let at_line = written.iter().find(|other| other.value == one.text);
                let root = Root::Asked {
                    depth: chain.len() - at,
                    stage: stage.name.clone(),
                    text: one.text,
                    place: at_line.map(|other| place(workspace, &other.at)),
                };
                roots.insert((root, package));
            }
        }
        let debs = workspace
            .stages
            .iter()
            .flat_map(|stage| &stage.packages.debs);
        let debs: BTreeMap<&str, String> = debs
            .map(|deb| (deb.url.value.as_str(), place(workspace, &deb.url.at)))
            .collect();
        for (at, package) in packages.iter().enumerate() {
            if package.archive.is_empty() {
                let root = Root::Address {
                    url: package.path.clone(),
                    place: debs.get(package.path.as_str()).cloned(),
                };
                roots.insert((root, at));
            }
            if package.essential {
                roots.insert((Root::Essential, at));
            }
        }
        Some(Self {
            packages,
            links,
            roots: roots.into_iter().collect(),
            by_name,
        })
    }

    /// A package by its name, or by its name and architecture.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let native = || {
            let (plain, architecture) = name.split_once(':')?;
            let at = *self.by_name.get(plain)?;
            (self.packages[at].architecture == architecture).then_some(at)
        };
        self.by_name.get(name).copied().or_else(native)
    }

    /// Names like one that is not there.
    pub(crate) fn near(&self, name: &str) -> Vec<&str> {
        /// How many are worth showing.
        const SHOWN: usize = 5;
        let plain = name.split(':').next().unwrap_or(name);
        let mut near: Vec<&str> = self
            .by_name
            .keys()
            .filter(|known| known.contains(plain) || (known.len() > 3 && plain.contains(*known)))
            .map(String::as_str)
            .collect();
        near.sort_by_key(|known| known.len().abs_diff(plain.len()));
        near.truncate(SHOWN);
        near
    }

    /// The packages that lead to one, and how.
    pub(crate) fn leading_to(&self, package: usize) -> Vec<(Relation, usize)> {
        let mut found = Vec::new();
        for (by, links) in self.links.iter().enumerate() {
            let links = links.iter().filter(|(_, to)| *to == package);
            found.extend(links.map(|(relation, _)| (*relation, by)));
        }
        found
    }

    /// The shortest chain to a package: needs go before recommendations, requests before what is
    /// there anyway.
    pub(crate) fn shortest(&self, package: usize) -> Option<Chain> {
        let roots: Vec<&(Root, usize)> = self.roots.iter().collect();
        self.walk(&roots, package)
    }

    /// The shortest chain from every root that leads to a package.
    pub(crate) fn all(&self, package: usize) -> Vec<Chain> {
        let chains = self
            .roots
            .iter()
            .filter_map(|root| self.walk(&[root], package));
        let mut chains: Vec<Chain> = chains.collect();
        chains.sort_by_key(|chain| {
            let recommended = chain
                .links
                .iter()
                .any(|(by, _)| *by == Relation::Recommends);
            (recommended, chain.links.len())
        });
        chains
    }

    fn walk(&self, roots: &[&(Root, usize)], package: usize) -> Option<Chain> {
        self.walk_by(roots, package, false)
            .or_else(|| self.walk_by(roots, package, true))
    }

    fn walk_by(&self, roots: &[&(Root, usize)], package: usize, loose: bool) -> Option<Chain> {
        type Step = Option<(usize, Relation)>;
        let mut reached: BTreeMap<usize, Step> = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for (_, at) in roots {
            if reached.insert(*at, None).is_none() {
                waiting.push_back(*at);
            }
        }
        while let Some(at) = waiting.pop_front() {
            if at == package {
                break;
            }
            for &(relation, to) in &self.links[at] {
                if (loose || relation == Relation::Depends) && !reached.contains_key(&to) {
                    reached.insert(to, Some((at, relation)));
                    waiting.push_back(to);
                }
            }
        }
        let (mut first, mut links) = (package, Vec::new());
        while let Some((by, relation)) = *reached.get(&first)? {
            links.push((relation, first));
            first = by;
        }
        links.reverse();
        let (root, _) = roots.iter().find(|(_, at)| *at == first)?;
        Some(Chain {
            root: root.clone(),
            first,
            links,
        })
    }
}
