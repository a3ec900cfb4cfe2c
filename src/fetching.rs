//! Bringing what a lock names into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use kasmforge_archive::{
    Authority, Choice, Client, Credentials, Event, Host, Keyring, Mirrors, Progress, Retry,
    Settings as ClientSettings, Suite, Trust, ValidUntil, Wanted,
};
use kasmforge_build::Supply;
use kasmforge_digest::Digest;
use kasmforge_lock::{Lock, Package};
use kasmforge_spec::{Debian, FileContent, Located, Workspace};
use kasmforge_store::Store;

use crate::project::Project;
use crate::settings::{BUILT_IN_MIRROR, Settings};

/// The distribution whose mirrors are looked for among the host's apt sources.
const DISTRIBUTION: &str = "debian";

/// A suite of an archive, and the components wanted of it.
pub(crate) struct WantedSuite {
    /// Its name in the lock: `debian trixie-security`.
    pub(crate) name: String,
    pub(crate) suite: Suite,
    pub(crate) components: Vec<String>,
    /// How much its versions count, where the definition says so.
    pub(crate) priority: Option<u32>,
}

/// A client for a store, with the logins and certificates of the archives a workspace names.
pub(crate) fn client<'a>(
    store: &'a Store,
    project: &Project,
    settings: &Settings,
    debian: &Debian,
    offline: bool,
    progress: &'a dyn Progress,
) -> Client<'a> {
    let mut chosen = ClientSettings::at(jiff::Timestamp::now());
    chosen.offline = offline;
    chosen.retry = Retry::default();
    if !settings.check_valid_until {
        chosen.valid_until = ValidUntil::Warn;
    }
    chosen.route.clone_from(&settings.route);
    for archive in &debian.archives {
        let address = &archive.uri.value;
        let variables = &settings.archive_variables;
        variables.add_to(&mut chosen.credentials, &archive.name, address);
        chosen
            .authorities
            .extend(archive.certificates.iter().map(|file| Authority {
                address: address.clone(),
                certificates: project.root.join(&file.value),
            }));
    }
    // What is written for one archive goes before what is found for its host.
    if let Ok(mirrors) = mirrors(settings) {
        for address in mirrors.main.iter().chain(&mirrors.security) {
            let _ = chosen.credentials.take_from(address);
        }
    }
    chosen.credentials.append(&settings.credentials);
    Client::new(store, chosen, progress)
}

/// All suites a definition takes packages from, the distribution's own first.
pub(crate) fn suites(
    project: &Project,
    settings: &Settings,
    debian: &Debian,
    offline: bool,
) -> anyhow::Result<Vec<WantedSuite>> {
    let mirrors = match mirrors(settings) {
        Ok(mirrors) => Some(mirrors),
        Err(_) if offline => None,
        Err(error) => return Err(error),
    };
    let mut names = vec![debian.suite.value.clone()];
    if debian.updates {
        names.push(format!("{}-updates", debian.suite.value));
    }
    if debian.security {
        names.push(format!("{}-security", debian.suite.value));
    }
    if debian.backports {
        names.push(format!("{}-backports", debian.suite.value));
    }
    let mut suites: Vec<WantedSuite> = names
        .into_iter()
        .map(|suite| WantedSuite {
            name: format!("{DISTRIBUTION} {suite}"),
            suite: Suite {
                archive: DISTRIBUTION.into(),
                mirrors: mirrors
                    .as_ref()
                    .map_or(Vec::new(), |all| bare(all.for_suite(&suite))),
                suite,
                trust: Trust::Keyring(Keyring::debian()),
                not_before: None,
            },
            components: debian.components.clone(),
            priority: None,
        })
        .collect();
    for archive in &debian.archives {
        let trust = match &archive.keyring {
            Some(keyring) => Trust::Keyring(signers(project, archive, keyring)?),
            None => Trust::Anyone,
        };
        suites.push(WantedSuite {
            name: format!("{} {}", archive.name, archive.suite),
            suite: Suite {
                archive: archive.name.clone(),
                mirrors: vec![archive.uri.value.clone()],
                suite: archive.suite.clone(),
                trust,
                not_before: None,
            },
            components: archive.components.clone(),
            priority: archive.priority,
        });
    }
    Ok(suites)
}

/// Addresses without logins: those are the client's.
fn bare(addresses: &[String]) -> Vec<String> {
    let mut unused = Credentials::none();
    let bare = addresses.iter().map(|address| unused.take_from(address));
    bare.collect()
}

/// The certificates that may sign an archive.
fn signers(
    project: &Project,
    archive: &kasmforge_spec::Archive,
    keyring: &Located<PathBuf>,
) -> anyhow::Result<Keyring> {
    let keyring = Keyring::read(&project.root.join(&keyring.value))?;
    if archive.signed_by.is_empty() {
        return Ok(keyring);
    }
    keyring
        .only(&archive.signed_by)
        .with_context(|| format!("`signed-by` of the archive `{}`", archive.name))
}

pub(crate) fn mirrors(settings: &Settings) -> anyhow::Result<Mirrors> {
    let host = Host::read(std::path::Path::new("/"));
    let choice = Choice {
        command_line: &settings.mirrors,
        environment: settings.mirror_variable.as_deref(),
        settings: settings.mirror_setting.as_deref(),
        built_in: BUILT_IN_MIRROR,
        host: Some(&host),
    };
    Ok(Mirrors::find(DISTRIBUTION, choice)?)
}

/// What could not be fetched because no mirror has it any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "no mirror has these locked packages any more: {}; take newer ones with `kasmforge update \
     {}`, or name a mirror that keeps old ones with --mirror",
    packages.join(", "),
    packages.join(" ")
)]
pub(crate) struct Gone {
    /// Names of packages.
    pub(crate) packages: Vec<String>,
}

/// Fetches every package and download of a workspace that the store lacks.
pub(crate) fn fetch(
    project: &Project,
    settings: &Settings,
    client: &Client<'_>,
    store: &Store,
    workspace: &Workspace,
    architecture: &str,
    lock: &Lock,
) -> anyhow::Result<()> {
    let indexes: Vec<usize> = workspace
        .stages
        .iter()
        .filter_map(|stage| lock.workspace(&stage.name, architecture))
        .flat_map(|stage| stage.packages.iter().copied())
        .filter(|&index| {
            let package = &lock.packages[index];
            !store.has_blob(&package.sha256, Some(package.size))
        })
        .collect();
    let indexes = take_local(project, store, lock, indexes)?;
    packages(project, settings, client, workspace, lock, &indexes)?;
    fetch_downloads(client, store, workspace, lock)
}

/// Fetches every download of a workspace that the store lacks.
pub(crate) fn fetch_downloads(
    client: &Client<'_>,
    store: &Store,
    workspace: &Workspace,
    lock: &Lock,
) -> anyhow::Result<()> {
    for (url, digest) in downloads(workspace, lock) {
        if !store.has_blob(&digest, None) {
            client
                .download(&url, Some(digest))
                .with_context(|| format!("cannot fetch {url}"))?;
        }
    }
    Ok(())
}

/// Fetches packages while others are unpacked.
pub(crate) struct Fetching<'a> {
    pub(crate) project: &'a Project,
    pub(crate) settings: &'a Settings,
    pub(crate) store: &'a Store,
    pub(crate) workspace: &'a Workspace,
    pub(crate) architecture: &'a str,
    pub(crate) offline: bool,
    /// The lock as it was when the build began: a build adds ids to its own.
    pub(crate) lock: &'a Lock,
    pub(crate) progress: &'a dyn Progress,
    /// Why fetching failed, in full.
    pub(crate) failure: Mutex<Option<anyhow::Error>>,
}

/// Stands for the error that [`Fetching`] keeps.
#[derive(Debug, thiserror::Error)]
#[error("fetching failed")]
struct Failed;

impl Supply for Fetching<'_> {
    fn bring(
        &self,
        wanted: &[Digest],
        arrived: &(dyn Fn(&Digest) + Sync),
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.fetch(wanted, arrived).map_err(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Failed.into()
        })
    }
}

impl Fetching<'_> {
    fn fetch(&self, wanted: &[Digest], arrived: &(dyn Fn(&Digest) + Sync)) -> anyhow::Result<()> {
        let Self {
            project,
            settings,
            store,
            workspace,
            lock,
            offline,
            ..
        } = *self;
        let mut left: BTreeSet<Digest> = wanted.iter().copied().collect();
        let mut gone = Vec::new();
        // The lowest stage's packages first: its scripts can run while the others come.
        for stage in &workspace.stages {
            let locked = lock.workspace(&stage.name, self.architecture);
            let indexes: Vec<usize> = locked
                .into_iter()
                .flat_map(|locked| locked.packages.iter().copied())
                .filter(|&index| left.remove(&lock.packages[index].sha256))
                .collect();
            let files = indexes.iter().map(|&index| &lock.packages[index]);
            let arrivals = Arrivals {
                inner: self.progress,
                digests: files
                    .clone()
                    .map(|package| (package.path.as_str(), package.sha256))
                    .collect(),
                arrived,
            };
            let client = client(
                store,
                project,
                settings,
                &workspace.debian,
                offline,
                &arrivals,
            );
            let distant = take_local(project, store, lock, indexes.clone())?;
            match packages(project, settings, &client, workspace, lock, &distant) {
                // Some may have come by another path, or by another build.
                Ok(()) => files.for_each(|package| arrived(&package.sha256)),
                Err(error) => match error.downcast::<Gone>() {
                    Ok(some) => gone.extend(some.packages),
                    Err(error) => return Err(error),
                },
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        Err(Gone { packages: gone }.into())
    }
}

/// Tells of each file that is whole, besides what a progress is told.
struct Arrivals<'a> {
    inner: &'a dyn Progress,
    digests: BTreeMap<&'a str, Digest>,
    arrived: &'a (dyn Fn(&Digest) + Sync),
}

impl Progress for Arrivals<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::FileFinished { name } = &event
            && let Some(digest) = self.digests.get(name)
        {
            (self.arrived)(digest);
        }
        self.inner.event(event);
    }
}

/// Takes packages that are files of the project into the store; gives the others.
fn take_local(
    project: &Project,
    store: &Store,
    lock: &Lock,
    indexes: Vec<usize>,
) -> anyhow::Result<Vec<usize>> {
    let mut others = Vec::new();
    for index in indexes {
        let package = &lock.packages[index];
        if !package.archive.is_empty() || package.path.contains("://") {
            others.push(index);
            continue;
        }
        let path = project.root.join(&package.path);
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = store.keep_bytes(&bytes)?;
        if digest != package.sha256 {
            anyhow::bail!(
                "{} is not the file that was locked (sha256 {}, locked {}); run `kasmforge lock`",
                package.path,
                digest.hex(),
                package.sha256.hex()
            );
        }
    }
    Ok(others)
}

/// Fetches packages of a lock, by their places in it, from where a workspace takes its own.
pub(crate) fn packages(
    project: &Project,
    settings: &Settings,
    client: &Client<'_>,
    workspace: &Workspace,
    lock: &Lock,
    indexes: &[usize],
) -> anyhow::Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }
    let offline = client.settings().offline;
    let suites = suites(project, settings, &workspace.debian, offline)?;
    let by_name: BTreeMap<&str, Arc<[String]>> = suites
        .iter()
        .map(|wanted| {
            (
                wanted.name.as_str(),
                Arc::from(wanted.suite.mirrors.as_slice()),
            )
        })
        .collect();
    let none: Arc<[String]> = Arc::from([]);
    let wanted: Vec<Wanted> = indexes
        .iter()
        .map(|&index| {
            let package = &lock.packages[index];
            Wanted {
                digest: package.sha256,
                size: package.size,
                path: package.path.clone(),
                mirrors: by_name
                    .get(package.archive.as_str())
                    .unwrap_or(&none)
                    .clone(),
            }
        })
        .collect();
    fetch_packages(client, settings, &wanted, lock, indexes)
}

/// Fetches packages: from every mirror by path, then by hash, then from a snapshot service.
fn fetch_packages(
    client: &Client<'_>,
    settings: &Settings,
    wanted: &[Wanted],
    lock: &Lock,
    indexes: &[usize],
) -> anyhow::Result<()> {
    let mut gone: Vec<usize> = gone(client, wanted)?;
    let elsewhere: [&dyn Fn(usize) -> Option<Wanted>; 2] = [
        &|at| by_hash(&wanted[at], &lock.packages[indexes[at]]),
        &|at| snapshot(settings, lock, &wanted[at], indexes[at]),
    ];
    for find in elsewhere {
        let (places, again): (Vec<usize>, Vec<Wanted>) =
            gone.iter().filter_map(|&at| Some((at, find(at)?))).unzip();
        let still = self::gone(client, &again)?;
        let found = |at: &usize| {
            let place = places.iter().position(|place| place == at);
            place.is_some_and(|place| !still.contains(&place))
        };
        gone.retain(|at| !found(at));
    }
    if gone.is_empty() {
        return Ok(());
    }
    let packages = gone
        .iter()
        .map(|&at| lock.packages[indexes[at]].name.clone());
    Err(Gone {
        packages: packages.collect(),
    }
    .into())
}

/// Fetches files; gives the places of those that no mirror has.
fn gone(client: &Client<'_>, wanted: &[Wanted]) -> anyhow::Result<Vec<usize>> {
    match client.fetch(wanted) {
        Ok(_) => Ok(Vec::new()),
        Err(kasmforge_archive::Error::Fetch { failures, .. })
            if failures.iter().all(|failure| failure.error.is_gone()) =>
        {
            Ok(failures.iter().map(|failure| failure.index).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// The same file by its digest, in the layout that indexes have (`by-hash/SHA256/…` beside them):
/// mirrors of one's own may keep old packages so. `None` for a package of no archive.
fn by_hash(wanted: &Wanted, package: &Package) -> Option<Wanted> {
    if package.archive.is_empty() {
        return None;
    }
    let (folder, _) = wanted.path.rsplit_once('/')?;
    Some(Wanted {
        path: format!("{folder}/by-hash/SHA256/{}", wanted.digest.hex()),
        ..wanted.clone()
    })
}

/// The same file from a snapshot service, as of when the lock's indexes were made; `None` where
/// none is set, or the package is of no archive.
///
/// A service knows an archive somewhat later than the archive knows itself, so a day later is asked
/// first: nothing leaves an archive within a day of being replaced.
fn snapshot(settings: &Settings, lock: &Lock, wanted: &Wanted, index: usize) -> Option<Wanted> {
    /// How a service is asked if the setting does not say it.
    const USUAL: &str = "archive/{archive}/{time}";
    const DAY: i64 = 24 * 60 * 60;
    let service = settings.snapshot.as_deref()?.trim_end_matches('/');
    let state = lock.archive(&lock.packages[index].archive)?;
    let (archive, suite) = state.name.split_once(' ')?;
    let archive = if suite.ends_with("-security") {
        format!("{archive}-security")
    } else {
        archive.to_owned()
    };
    let template = if service.contains('{') {
        service.to_owned()
    } else {
        format!("{service}/{USUAL}")
    };
    let mirrors: Vec<String> = [state.date.saturating_add(DAY), state.date]
        .into_iter()
        .filter_map(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|time| {
            let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
            template
                .replace("{archive}", &archive)
                .replace("{time}", &time)
        })
        .collect();
    Some(Wanted {
        mirrors: mirrors.into(),
        ..wanted.clone()
    })
}

/// The digests of everything a workspace is made of.
pub(crate) fn inputs(workspace: &Workspace, architecture: &str, lock: &Lock) -> BTreeSet<Digest> {
    let stages = workspace.stages.iter();
    let packages = stages
        .filter_map(|stage| lock.workspace(&stage.name, architecture))
        .flat_map(|stage| {
            stage
                .packages
                .iter()
                .map(|&index| lock.packages[index].sha256)
        });
    packages
        .chain(downloads(workspace, lock).into_values())
        .collect()
}

/// The downloads a workspace's files name, as the lock has them.
fn downloads(workspace: &Workspace, lock: &Lock) -> BTreeMap<String, Digest> {
    let files = workspace.stages.iter().flat_map(|stage| &stage.image_files);
    files
        .filter_map(|file| match &file.content {
            FileContent::Url { url, .. } => Some((url.value.clone(), *lock.urls.get(&url.value)?)),
            _ => None,
        })
        .collect()
}
