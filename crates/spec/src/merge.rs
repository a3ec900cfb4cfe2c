//! Files laid over each other: modules, then the file that uses them; parents, then children.

use std::collections::BTreeMap;

use crate::chain::Link;
use crate::decode::Map;
use crate::diagnostic::{Diagnostic, listed, quoted};
use crate::finish;
use crate::fragment::{FileEntry, Fragment, UserEntry};
use crate::model::{
    Check, DebByUrl, Debconf, Files, Located, Packages, Pin, Service, Stage, Workspace,
};
use crate::near::nearest;
use crate::raw::{RawDeploy, RawImage, RawKasm, RawLayers, RawSlim};
use crate::services;
use crate::words::packages::Request;

/// How a nearer value is laid over a farther one.
pub(crate) trait Lay {
    /// Lays a nearer value over this one.
    fn lay(&mut self, nearer: &Self);
}

/// What is not said leaves what was said.
impl<T: Lay + Clone> Lay for Option<T> {
    fn lay(&mut self, nearer: &Option<T>) {
        match (self.as_mut(), nearer) {
            (_, None) => {}
            (Some(farther), Some(nearer)) => farther.lay(nearer),
            (None, Some(nearer)) => *self = Some(nearer.clone()),
        }
    }
}

/// A single value is replaced.
impl<T: Clone> Lay for Located<T> {
    fn lay(&mut self, nearer: &Located<T>) {
        *self = nearer.clone();
    }
}

/// A list is appended to; what it has already stays where it is.
impl<T: Clone + PartialEq> Lay for Vec<Located<T>> {
    fn lay(&mut self, nearer: &Vec<Located<T>>) {
        for entry in nearer {
            if !self.iter().any(|other| other.value == entry.value) {
                self.push(entry.clone());
            }
        }
    }
}

/// A map is merged key by key.
impl<K: Ord + Clone, V: Clone> Lay for Map<K, V> {
    fn lay(&mut self, nearer: &Map<K, V>) {
        let nearer = nearer.0.iter();
        self.0
            .extend(nearer.map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// Lays entries over others: one of the same name replaces the whole other, in its place.
fn lay_named<T: Clone>(farther: &mut Vec<T>, nearer: &[T], name: impl Fn(&T) -> &str) {
    for entry in nearer {
        match farther.iter_mut().find(|other| name(other) == name(entry)) {
            Some(other) => *other = entry.clone(),
            None => farther.push(entry.clone()),
        }
    }
}

/// What the files read so far say together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) files: Vec<FileEntry>,
    pub(crate) users: Vec<UserEntry>,
    pub(crate) services: Vec<Service>,
    pub(crate) checks: Vec<Check>,
    pub(crate) recommends: Option<Located<bool>>,
    pub(crate) slim: RawSlim,
    pub(crate) image: RawImage,
    pub(crate) layers: RawLayers,
    pub(crate) deploy: RawDeploy,
    pub(crate) kasm: RawKasm,
}

impl Sum {
    /// Forgets what names or describes one workspace: a child does not inherit that.
    fn nameless(&mut self) {
        self.image.repository = None;
        self.image.tags = None;
        self.deploy.container = None;
        self.kasm.friendly_name = None;
        self.kasm.notes = None;
        self.kasm.screenshot = None;
        self.kasm.available_tags = None;
    }

    fn lay(&mut self, nearer: &Fragment) {
        lay_named(&mut self.files, &nearer.files, |file| &file.target.value);
        lay_named(&mut self.users, &nearer.users, |user| &user.user.name.value);
        lay_named(&mut self.services, &nearer.services, |service| {
            &service.name.value
        });
        lay_named(&mut self.checks, &nearer.checks, |check| &check.name);
        let raw = &nearer.raw;
        if let Some(packages) = &raw.packages {
            self.recommends.lay(&packages.recommends);
        }
        if let Some(slim) = &raw.slim {
            self.slim.lay(slim);
        }
        if let Some(image) = &raw.image {
            self.image.lay(image);
        }
        if let Some(layers) = &raw.layers {
            self.layers.lay(layers);
        }
        if let Some(deploy) = &raw.deploy {
            displace(&mut self.deploy.ports, &deploy.ports, |port| {
                &port.container
            });
            displace(&mut self.deploy.volumes, &deploy.volumes, |volume| {
                &volume.target
            });
            self.deploy.lay(deploy);
        }
        if let Some(kasm) = &raw.kasm {
            self.kasm.lay(kasm);
        }
    }
}

/// Takes away published ports or volumes whose place in the container a nearer file fills anew:
/// else a child could not publish its parent's port elsewhere.
fn displace<T: PartialEq>(
    farther: &mut Option<Vec<Located<T>>>,
    nearer: &Option<Vec<Located<T>>>,
    place: impl Fn(&T) -> &str,
) {
    if let (Some(farther), Some(nearer)) = (farther, nearer) {
        farther.retain(|old| {
            let mut same = nearer
                .iter()
                .filter(|new| place(&new.value) == place(&old.value));
            same.clone().next().is_none() || same.any(|new| new.value == old.value)
        });
    }
}

/// A package some stage asks for.
struct Asked {
    request: Located<Request>,
    stage: String,
}

/// Merges a chain into one value. `None` if it has no stage, or no distribution.
pub(crate) fn workspace(
    chain: &[Link],
    files: &Files,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Workspace> {
    // What is absent may only be so because it was broken.
    let complete = diagnostics.is_empty();
    let mut sum = Sum::default();
    let mut asked: Vec<Asked> = Vec::new();
    let mut stages = Vec::new();
    for link in chain {
        sum.nameless();
        let (mut install, mut debs, mut debconf) = (Vec::new(), Vec::new(), Vec::new());
        let mut pins: Vec<Pin> = Vec::new();
        for fragment in &link.fragments {
            if complete {
                unremovable(fragment, link, &install, &asked, diagnostics);
            }
            install_over(&mut install, fragment);
            lay_named::<DebByUrl>(&mut debs, &fragment.debs, |deb| &deb.url.value);
            lay_named::<Debconf>(&mut debconf, &fragment.debconf, |answer| &answer.question);
            // Of two pins that mean the same package the first counts: the nearer file's.
            pins.splice(0..0, fragment.pins.iter().cloned());
            sum.lay(fragment);
        }
        install.retain(|request| {
            let same = |asked: &Asked| asked.request.value.text == request.value.text;
            !asked.iter().any(same)
        });
        let below = stages.iter().flat_map(|stage: &Stage| &stage.packages.debs);
        let below: Vec<String> = below.map(|deb| deb.url.value.clone()).collect();
        debs.retain(|deb| !below.contains(&deb.url.value));
        same_ids(&sum.users, diagnostics);
        let requests = install.iter().map(|request| Located {
            value: request.value.text.clone(),
            at: request.at.clone(),
        });
        let packages = Packages {
            install: requests.collect(),
            recommends: sum
                .recommends
                .as_ref()
                .is_some_and(|recommends| recommends.value),
            pins,
            debs,
            debconf,
        };
        let services = services::ordered(&sum.services, complete, diagnostics);
        stages.push(finish::stage(&link.name, packages, services, &sum));
        asked.extend(install.into_iter().map(|request| Asked {
            request,
            stage: link.name.clone(),
        }));
    }
    let debian = chain.first()?.fragments.last()?.debian.clone()?;
    finish::workspace(chain.last()?, debian, stages, sum, files, diagnostics)
}

/// Takes away what a file takes away, then adds what it asks for.
fn install_over(install: &mut Vec<Located<Request>>, nearer: &Fragment) {
    let Some(packages) = &nearer.raw.packages else {
        return;
    };
    let removed = |request: &Located<Request>| {
        let mut removed = packages.remove.iter().flatten();
        removed.any(|name| name.value.0 == request.value.name)
    };
    install.retain(|request| !removed(request));
    for request in packages.install.iter().flatten() {
        if !install
            .iter()
            .any(|other| other.value.text == request.value.text)
        {
            install.push(request.clone());
        }
    }
}

/// Says which entries of a file's `remove` take nothing away.
fn unremovable(
    fragment: &Fragment,
    link: &Link,
    install: &[Located<Request>],
    asked: &[Asked],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let packages = fragment.raw.packages.iter();
    for removed in packages.flat_map(|packages| packages.remove.iter().flatten()) {
        let name = removed.value.0.as_str();
        let below = asked.iter().find(|asked| asked.request.value.name == name);
        if below.is_none() && install.iter().any(|request| request.value.name == name) {
            continue;
        }
        let message = format!("`remove` takes nothing away: {}", quoted(name));
        let mut diagnostic = Diagnostic::new(removed.at.clone(), message, "nothing to take away");
        if let Some(below) = below {
            let label = format!("the stage {} asks for it", quoted(&below.stage));
            diagnostic = diagnostic
                .related(below.request.at.clone(), label)
                .help("a parent's layers are reused as they are: a child cannot take from them");
        } else {
            let names = install.iter().map(|request| request.value.name.as_str());
            if let Some(near) = nearest(name, names.clone()) {
                diagnostic = diagnostic.help(format!("did you mean {}?", quoted(near)));
            }
            diagnostic = diagnostic.help(if install.is_empty() {
                format!(
                    "no module of {} asks for a package before this",
                    quoted(&link.name)
                )
            } else {
                format!(
                    "the modules of {} ask for: {}",
                    quoted(&link.name),
                    listed(names)
                )
            });
        }
        diagnostics.push(diagnostic);
    }
}

/// Says which users have the same numeric id.
fn same_ids(users: &[UserEntry], diagnostics: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<u32, &UserEntry> = BTreeMap::new();
    for entry in users {
        let id = entry.user.uid;
        match seen.get(&id) {
            Some(first) => {
                let first_name = quoted(&first.user.name.value);
                let name = quoted(&entry.user.name.value);
                let message = format!("the users {first_name} and {name} have the same uid {id}");
                let diagnostic = Diagnostic::new(entry.uid_at.clone(), message, "taken already");
                let label = format!("{first_name} has it");
                diagnostics.push(diagnostic.related(first.uid_at.clone(), label));
            }
            None => {
                seen.insert(id, entry);
            }
        }
    }
}
