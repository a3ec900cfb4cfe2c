//! Locking: from a definition and the archives' indexes to a lock.
//!
//! A stage is resolved only when the lock has no answer for what its definition asks, on top of the
//! very packages the stage below has. What the lock had is preferred, so that a changed request
//! changes little else.

pub(crate) mod check;
mod chosen;
mod elsewhere;
mod grouping;
mod indexes;
mod moved;
mod of_project;
mod pinned;
mod told;
mod unavailable;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::rc::Rc;

use anyhow::Context as _;
use kasmforge_archive::{Client, Download, Progress};
use kasmforge_deb::archive::{DebError, DebReader};
use kasmforge_digest::{Digest, KeyHasher};
use kasmforge_lock::{ArchiveState, Lock, Workspace as LockedWorkspace};
use kasmforge_resolve::{Archive, Request, Stage as Asked, Universe, resolve};
use kasmforge_spec::{DebByUrl, FileContent, Files, Located, Stage, Workspace};
use kasmforge_store::Store;

use self::chosen::{asked, identities, packages, preferred};
pub(crate) use self::elsewhere::Listed;
pub(crate) use self::grouping::regroup;
use self::indexes::Made;
pub(crate) use self::indexes::Universes;
pub(crate) use self::moved::Moved;
use self::pinned::pins;
use self::told::{diagnostic, explained, other_bytes, suite_missing};
pub(crate) use self::unavailable::Unavailable;
use crate::exit::{Mistakes, NOTHING_WRITTEN};
use crate::fetching;
use crate::project::Project;
use crate::settings::Settings;

/// What may change in a lock.
#[derive(Debug, Clone, Default)]
pub(crate) enum Change {
    /// Only what the definitions changed.
    #[default]
    Needed,
    /// Every package may become newer.
    All,
    /// These packages may become newer.
    Packages(BTreeSet<String>),
    /// Packages of which a security archive has a newer version may become newer.
    Security,
}

/// The lock says something else than the definitions, and must not change.
#[derive(Debug, thiserror::Error)]
#[error(
    "kasmforge.lock does not say what `{workspace}` asks for ({why}), and --locked forbids to \
     change it; run `kasmforge lock`, look at the difference, and commit it"
)]
pub(crate) struct Outdated {
    workspace: String,
    why: String,
}

/// Locked packages of a lower stage that the archives have dropped.
#[derive(Debug, thiserror::Error)]
#[error(
    "no archive has {} any more as locked; take newer ones with `kasmforge update`",
    packages.iter().cloned().collect::<Vec<_>>().join(", ")
)]
struct Superseded {
    packages: BTreeSet<String>,
}

/// Everything locking needs.
pub(crate) struct Locking<'a> {
    pub(crate) project: &'a Project,
    pub(crate) settings: &'a Settings,
    pub(crate) store: &'a Store,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) architecture: &'a str,
    pub(crate) locked: bool,
    pub(crate) offline: bool,
    /// Whether archives may be older than the lock knows them.
    pub(crate) older: bool,
    /// The suites that were read so far, to say where a package is that is not found.
    pub(crate) listed: RefCell<Vec<Listed>>,
    /// The universes of this run, for all workspaces.
    pub(crate) universes: Universes,
}

impl Locking<'_> {
    /// Brings a lock up to date with a workspace and the stages below it.
    ///
    /// When the archives have dropped a package that a lower stage is locked to, that package is
    /// locked anew: nothing could be resolved on top of it otherwise. Tells why each package is not
    /// what the lock had.
    pub(crate) fn bring(
        &self,
        lock: &mut Lock,
        workspace: &Workspace,
        change: &Change,
    ) -> anyhow::Result<Moved> {
        let error = match self.attempt(lock, workspace, change) {
            Ok(moved) => return Ok(moved),
            Err(error) => error,
        };
        let Some(Superseded { packages }) = error.downcast_ref() else {
            return Err(error);
        };
        self.progress.event(kasmforge_archive::Event::Checking {
            archive: "newer versions of",
            suite: &packages.iter().cloned().collect::<Vec<_>>().join(", "),
        });
        self.attempt(lock, workspace, &Change::Packages(packages.clone()))
    }

    fn attempt(
        &self,
        lock: &mut Lock,
        workspace: &Workspace,
        change: &Change,
    ) -> anyhow::Result<Moved> {
        let mut moved = Moved::new();
        let mut security = None;
        let client = fetching::client(
            self.store,
            self.project,
            self.settings,
            &workspace.debian,
            self.offline,
            self.progress,
        );
        let mut universe = None;
        let mut below: Option<Digest> = None;
        for (index, stage) in workspace.stages.iter().enumerate() {
            let request = request(workspace, stage, below);
            let known = lock.workspace(&stage.name, self.architecture);
            let file = of_project::changed(self.project, lock, &workspace.files, stage)?;
            let fits = known.is_some_and(|known| known.request == request) && file.is_none();
            // A lock of the first format does not keep what was asked for: it is completed by the
            // first run that may.
            let incomplete = known
                .is_some_and(|known| known.asked.is_empty() && !stage.packages.install.is_empty())
                && !self.locked
                && !self.offline;
            if !fits || incomplete || !matches!(change, Change::Needed) {
                if self.locked {
                    let why = match (known, file) {
                        (Some(known), _) if known.request != request => {
                            check::changed(known, workspace, stage)
                        }
                        (Some(_), Some(deb)) => check::file_changed(workspace, deb),
                        (Some(_), None) => "newer packages are wanted".into(),
                        (None, _) => "it is new".into(),
                    };
                    return Err(Outdated {
                        workspace: stage.name.clone(),
                        why,
                    }
                    .into());
                }
                if universe.is_none() {
                    universe = Some(self.universe(&client, workspace, lock)?);
                }
                let universe = universe.as_ref().expect("it was made above");
                let change = match change {
                    Change::Security => &*security.get_or_insert_with(|| {
                        let newer = moved::with_security(universe, lock, &workspace.name);
                        Change::Packages(newer)
                    }),
                    other => other,
                };
                moved.extend(
                    self.stage(&client, universe, lock, workspace, index, request, change)?,
                );
            }
            let locked = lock.workspace(&stage.name, self.architecture);
            below = locked.map(|locked| packages_digest(lock, locked));
        }
        self.downloads(&client, lock, workspace)?;
        Ok(moved)
    }

    /// Everything the definition's archives have; read once for all workspaces with the same.
    fn universe(
        &self,
        client: &Client<'_>,
        workspace: &Workspace,
        lock: &mut Lock,
    ) -> anyhow::Result<Rc<Universe>> {
        let key = indexes::key_of(&workspace.debian, self.architecture);
        if let Some(Made { universe, states }) = self.universes.get(&key) {
            let known = |state: &ArchiveState| states.iter().any(|other| other.name == state.name);
            lock.archives.retain(|state| !known(state));
            lock.archives.extend(states);
            return Ok(universe);
        }
        self.universes.absences.check(&key)?;
        let universe = Rc::new(self.read_universe(client, workspace, lock, &key)?);
        let mut states = lock.archives.clone();
        states.retain(|state| {
            universe
                .archives()
                .any(|archive| archive.name == state.name)
        });
        let made = Made {
            universe: Rc::clone(&universe),
            states,
        };
        self.universes.put(key, made);
        Ok(universe)
    }

    /// Reads every index the definition's suites have, verified, and notes their states.
    fn read_universe(
        &self,
        client: &Client<'_>,
        workspace: &Workspace,
        lock: &mut Lock,
        key: &str,
    ) -> anyhow::Result<Universe> {
        let absent = |error| self.universes.absences.archive(key, error);
        let mut universe = Universe::new(self.architecture);
        let debian = &workspace.debian;
        for mut wanted in fetching::suites(self.project, self.settings, debian, self.offline)? {
            wanted.suite.not_before = lock
                .archive(&wanted.name)
                .filter(|_| !self.older)
                .and_then(|known| jiff::Timestamp::from_second(known.date).ok());
            let release = client.release(&wanted.suite).map_err(|error| {
                match suite_missing(&error, workspace, &wanted.suite.suite) {
                    Some(mistake) => mistake.into(),
                    None => absent(error),
                }
            })?;
            let id = universe.add_archive(Archive {
                name: wanted.name.clone(),
                suite: wanted.suite.suite.clone(),
                priority: indexes::priority(&wanted, &release),
            });
            let foreign = debian.foreign_architectures.iter().map(String::as_str);
            for architecture in std::iter::once(self.architecture).chain(foreign) {
                for component in &wanted.components {
                    let index = match client.packages_index(&release, component, architecture) {
                        // Not every archive has every foreign architecture.
                        Err(kasmforge_archive::Error::NoIndex { .. })
                            if architecture != self.architecture =>
                        {
                            continue;
                        }
                        other => other.map_err(absent)?,
                    };
                    let index = indexes::index(self.store, &index, &wanted.name)?;
                    universe.add_read_index(id, index)?;
                }
            }
            let state = ArchiveState {
                name: wanted.name,
                release: release.digest,
                date: release.date.as_second(),
                signer: release.signer.clone().unwrap_or_default(),
            };
            self.listed.borrow_mut().push(Listed {
                name: state.name.clone(),
                release,
                components: wanted.components,
            });
            lock.archives.retain(|known| known.name != state.name);
            lock.archives.push(state);
        }
        Ok(universe)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one stage is the meeting of all of them"
    )]
    fn stage(
        &self,
        client: &Client<'_>,
        universe: &Universe,
        lock: &mut Lock,
        workspace: &Workspace,
        index: usize,
        request: Digest,
        change: &Change,
    ) -> anyhow::Result<Moved> {
        let stage = &workspace.stages[index];
        let requests = requests(workspace, stage)?;
        let mut kept = Vec::new();
        let mut controls = Vec::new();
        let mut debs = Vec::new();
        for (lower, at) in workspace.stages[..=index].iter().zip(0..) {
            for deb in &lower.packages.debs {
                let fetched = self.deb(client, lock, &workspace.files, deb)?;
                self.is_for_us(workspace, deb, &fetched)?;
                controls.push(fetched.control.clone());
                debs.push(fetched);
            }
            if at < index {
                kept.extend(identities(lock, &lower.name, self.architecture)?);
            }
        }
        let controls: Vec<&str> = controls.iter().map(String::as_str).collect();
        let prefer = preferred(lock, &stage.name, self.architecture, change)?;
        let pins = pins(universe, workspace, index)?;
        let wanted = Asked {
            requests: &requests,
            recommends: stage.packages.recommends,
            kept: &kept,
            debs: &controls,
            prefer: &prefer,
            pins: &pins,
        };
        let solution = resolve(universe, &wanted).map_err(|error| {
            let listed = self.listed.borrow();
            explained(error, workspace, stage, &|package| {
                elsewhere::hint(client, &listed, self.architecture, package)
            })
        })?;
        let moved = moved::moved(lock, &stage.name, universe, &solution, change);
        let packages = packages(universe, &solution, &debs, self.architecture)?;
        let known = lock.workspace(&stage.name, self.architecture);
        let earlier = known.map(|known| known.layers.clone());
        let layers = grouping::group(
            lock,
            workspace,
            index,
            self.architecture,
            &packages,
            earlier.as_deref(),
        );
        let locked = LockedWorkspace {
            name: stage.name.clone(),
            architecture: self.architecture.into(),
            extends: index
                .checked_sub(1)
                .map(|below| workspace.stages[below].name.clone()),
            request,
            asked: asked(&solution, stage, self.architecture),
            packages: Vec::new(),
            layers,
            image: known.and_then(|known| known.image),
        };
        lock.put(locked, packages);
        Ok(moved)
    }

    /// Fetches a package by its address; its digest is the definition's, the lock's, or what comes.
    fn deb(
        &self,
        client: &Client<'_>,
        lock: &mut Lock,
        files: &Files,
        deb: &DebByUrl,
    ) -> anyhow::Result<FetchedDeb> {
        let url = &deb.url.value;
        if deb.local {
            return self.deb_of_project(lock, files, deb);
        }
        let named = deb
            .sha256
            .as_ref()
            .map(|text| Digest::from_hex(&text.value))
            .transpose()?;
        let known = named.or_else(|| lock.urls.get(url).copied());
        let download = self.download(client, files, &deb.url, known, deb.sha256.as_ref())?;
        lock.urls.insert(url.clone(), download.digest);
        let path = self.store.blob_path(&download.digest);
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let control = control(file).with_context(|| format!("{url} is no package"))?;
        Ok(FetchedDeb {
            url: url.clone(),
            digest: download.digest,
            size: download.size,
            control,
        })
    }

    /// Fetches the file at an address.
    fn download(
        &self,
        client: &Client<'_>,
        files: &Files,
        url: &Located<String>,
        digest: Option<Digest>,
        named: Option<&Located<String>>,
    ) -> anyhow::Result<Download> {
        let url = &url.value;
        let absences = &self.universes.absences;
        absences.check(url)?;
        client
            .download(url, digest)
            .map_err(|error| match other_bytes(&error, files, url, named) {
                Some(mistake) => mistake.into(),
                None => absences.download(url, error),
            })
    }

    /// Fetches the downloads of `[[files]]` whose digests nobody knows yet.
    fn downloads(
        &self,
        client: &Client<'_>,
        lock: &mut Lock,
        workspace: &Workspace,
    ) -> anyhow::Result<()> {
        for file in workspace.stages.iter().flat_map(|stage| &stage.image_files) {
            let FileContent::Url { url, sha256, .. } = &file.content else {
                continue;
            };
            let named = sha256
                .as_ref()
                .map(|text| Digest::from_hex(&text.value))
                .transpose()?;
            let known = lock.urls.get(&url.value).copied();
            if known.is_some() && (named.is_none() || named == known) {
                continue;
            }
            if self.locked {
                let workspace = workspace.name.clone();
                let why = format!("the download {} is new", url.value);
                return Err(Outdated { workspace, why }.into());
            }
            let download = self.download(client, &workspace.files, url, named, sha256.as_ref())?;
            lock.urls.insert(url.value.clone(), download.digest);
        }
        Ok(())
    }
}

/// A package that was fetched by its address.
struct FetchedDeb {
    url: String,
    digest: Digest,
    size: u64,
    control: String,
}

fn control(file: impl Read) -> Result<String, DebError> {
    let deb = DebReader::open(BufReader::with_capacity(64 << 10, file))?;
    let control = deb.control().get("control").map(|file| file.bytes.clone());
    Ok(String::from_utf8_lossy(&control.unwrap_or_default()).into_owned())
}

/// A digest of everything a stage's packages are a function of, besides the archives.
fn request(workspace: &Workspace, stage: &Stage, below: Option<Digest>) -> Digest {
    let debian = &workspace.debian;
    let archives = debian.archives.iter().map(|archive| {
        format!(
            "{} {} {}",
            archive.name,
            archive.suite,
            archive.components.join(" ")
        )
    });
    let debs = stage.packages.debs.iter().map(|deb| {
        let digest = deb
            .sha256
            .as_ref()
            .map_or("", |digest| digest.value.as_str());
        format!("{} {digest}", deb.url.value)
    });
    let pins = pinned::words(workspace, stage);
    let mut install: Vec<&str> = stage
        .packages
        .install
        .iter()
        .map(|request| request.value.as_str())
        .collect();
    install.sort_unstable();
    let mut request = KeyHasher::new("request 1");
    // What most definitions do not have leaves the locks of those as they are.
    for (field, words) in [
        ("backports", debian.backports.then(|| "true".to_owned())),
        (
            "foreign architectures",
            some(debian.foreign_architectures.join(" ")),
        ),
        ("pins", some(pins)),
    ] {
        if let Some(words) = words {
            request = request.field(field, words);
        }
    }
    request
        .field("suite", &debian.suite.value)
        .list("components", &debian.components)
        .field("security", debian.security.to_string())
        .field("updates", debian.updates.to_string())
        .list("archives", archives)
        .list("install", install)
        .field("recommends", stage.packages.recommends.to_string())
        .list("debs", debs)
        .field(
            "below",
            below.map_or(Vec::new(), |below| below.as_bytes().to_vec()),
        )
        .key()
        .digest()
}

fn some(words: String) -> Option<String> {
    (!words.is_empty()).then_some(words)
}

/// A digest of exactly which packages a locked stage has.
fn packages_digest(lock: &Lock, locked: &LockedWorkspace) -> Digest {
    let digests = locked
        .packages
        .iter()
        .map(|&index| *lock.packages[index].sha256.as_bytes());
    KeyHasher::new("packages 1")
        .list("packages", digests)
        .key()
        .digest()
}

fn requests(workspace: &Workspace, stage: &Stage) -> anyhow::Result<Vec<Request>> {
    let mut requests = Vec::new();
    let mut diagnostics = Vec::new();
    for wanted in &stage.packages.install {
        match wanted.value.parse::<Request>() {
            Ok(request) => requests.push(request),
            Err(error) => {
                diagnostics.push(diagnostic(
                    error.to_string(),
                    Some(wanted.at.clone()),
                    "here",
                ));
            }
        }
    }
    if diagnostics.is_empty() {
        return Ok(requests);
    }
    Err(Mistakes {
        files: workspace.files.clone(),
        diagnostics,
        closing: NOTHING_WRITTEN,
    }
    .into())
}
