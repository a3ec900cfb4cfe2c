//! Configuring: running the scripts of a stage's packages, and keeping what they did.
//!
//! The lower of the sandbox is the merged tree of everything unpacked, with a dpkg database that
//! says so. What the scripts did is read back from the upper, normalised, and kept as the
//! difference to the unpacked tree. Its key is a function of the packages alone, and of those only
//! that scripts may notice: the others are laid beside ([`settling`]).

mod bytecode;
mod failure;
mod generate;
mod outdated;
mod settled;
mod settling;
mod themes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kasmforge_digest::StepKey;
use kasmforge_sandbox::{Outcome, Owner, Root, Trial};
use kasmforge_spec::{Debconf, Slim};
use kasmforge_store::Store;
use kasmforge_tree::tar::Contents as _;
use kasmforge_tree::{Entry, FOLDER_TIME, Node, Tree, TreePath};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use self::bytecode::Bytecode;
pub use self::failure::ConfigureError;
use self::failure::refuse_private_keys;
pub(crate) use self::settled::{Scripted, add_contents, find, find_whole, is_kept, scripts_of};
pub(crate) use self::settling::{Member, Settling};
use self::themes::Circles;
use crate::content::{Pool, Writer};
use crate::farm::{self, Farm};
use crate::merge;
use crate::normalise::{self, Applied};
use crate::script::{self, Follower};
use crate::unpack::{ALIASES, Package};
use crate::upper::Reading;
use crate::{Event, Observer};

/// The file of a step's folder that holds its record.
const RECORD: &str = "configured.json";

/// The file of a step's folder that holds who wrote what, if the build was a trial: names of
/// scripts by path.
pub const WRITERS: &str = "writers.json";

/// dpkg's list of packages and the states they are in.
const STATUS: &str = "var/lib/dpkg/status";

/// Says that no service may be started while scripts run (policy 9.3.3.2).
const POLICY_RC_D: &str = "usr/sbin/policy-rc.d";

/// A stage whose packages are all unpacked, and what its scripts made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Configured {
    /// Everything in the stage after its scripts ran.
    pub(crate) tree: Tree,
    /// The newest time of anything in it.
    pub(crate) epoch: i64,
    /// Which normalisers did something.
    pub(crate) normalised: Vec<Applied>,
    /// Programs that went on as another user, for people who look into a store.
    pub(crate) identities: Vec<String>,
}

/// What the scripts of a stage stand on: the stage below.
#[derive(Debug, Default)]
struct Base {
    tree: Tree,
    /// dpkg's list of its packages.
    status: String,
}

/// For each package, by its stem, the paths it lost to one that replaces it.
type Lost = BTreeMap<String, Vec<TreePath>>;

/// Packages merged over what is below them.
struct Merged {
    tree: Tree,
    lost: Lost,
}

impl Merged {
    fn with(mut self, generated: &Tree) -> Tree {
        for (path, entry) in generated.iter() {
            self.tree.insert(path.clone(), entry.clone());
        }
        self.tree.complete_parents();
        self.tree
    }
}

/// What scripts find.
struct Laid {
    farm: Farm,
    bytecode: Bytecode,
    circles: Circles,
}

/// What is configured, and on what.
struct Stage<'a> {
    name: &'a str,
    key: StepKey,
    below: Option<&'a Base>,
    /// The newest time of any file the packages ship that scripts may notice: what scripts make gets it.
    epoch: i64,
    /// All packages of the stages below, for their triggers.
    before: &'a [&'a Package],
    /// The stage's own packages, in canonical order.
    packages: &'a [&'a Package],
    slim: &'a Slim,
    debconf: &'a [Debconf],
    architecture: &'a str,
    trial: Trial,
    /// Takes folders that are no longer needed: to remove them takes a while.
    dispose: &'a Sender<TempDir>,
}

impl Stage<'_> {
    /// Configures the stage. `pool` holds the contents of everything unpacked and below, and gains
    /// those made here. `farm` is that of the stage below, if it was made, and becomes this one's.
    fn configure(
        &self,
        store: &Store,
        pool: &Pool,
        farm: &mut Option<Farm>,
        observer: &dyn Observer,
    ) -> Result<Configured, ConfigureError> {
        let step = store.temporary_folder()?;
        let at = step.path().to_owned();
        let keep = |source| ConfigureError::Keep {
            path: at.clone(),
            source,
        };
        let merged = self.merged()?;
        let bytecode = Bytecode::of(
            &merged.tree,
            self.trial.attribute,
            self.slim.python_bytecode,
        );
        let generated = {
            let mut writer = Writer::new(step.path()).map_err(keep)?;
            self.generate(&merged.lost, &bytecode, &mut writer, pool)
                .map_err(keep)?
        };
        pool.add_fresh(step.path(), &generated);
        let mut merged = merged.with(&generated);
        self.forget_outdated(&mut merged);
        bytecode.set_aside(&mut merged);
        let circles = Circles::of(&merged, |at| pool.text(&merged, at)).map_err(keep)?;
        circles.set_aside(&mut merged);
        let clock = Instant::now();
        let below = match farm.take() {
            Some(farm) => farm,
            None => Farm::begin(store.temporary_folder()?),
        };
        let laid = Laid {
            farm: below.grow(merged, pool)?,
            bytecode,
            circles,
        };
        tracing::debug!(seconds = clock.elapsed().as_secs_f64(), "planted");
        let (configured, log) = self.run(store, &laid, pool, step.path(), observer)?;
        let text =
            serde_json::to_vec(&configured).map_err(|error| keep(io::Error::other(error)))?;
        fs::write(step.path().join("log"), log).map_err(keep)?;
        fs::write(step.path().join(RECORD), text).map_err(keep)?;
        // Damaged, unless another build has just made it.
        if load(&store.tree_path(&self.key)).is_none() {
            store.remove_tree(&self.key)?;
        }
        pool.rename(&at, || store.keep_tree(step, &self.key))?;
        *farm = Some(laid.farm);
        Ok(configured)
    }

    /// The tree scripts see at first, but for what kasmforge writes into it.
    fn merged(&self) -> Result<Merged, ConfigureError> {
        let empty = Tree::new();
        let below = self.below.map_or(&empty, |below| &below.tree);
        let packages: Vec<(&Package, Tree)> = self
            .packages
            .iter()
            .map(|package| (*package, merge::slimmed(package, self.slim)))
            .collect();
        let (mut tree, lost) = merge::merge(below, &packages)?;
        for alias in ALIASES {
            let real = path(&format!("usr/{alias}"));
            let link = path(alias);
            if tree.get(&real).is_some() && tree.get(&link).is_none() {
                let target = format!("usr/{alias}");
                tree.insert(link, Entry::symlink(target.as_bytes(), FOLDER_TIME));
            }
        }
        for mount in ["dev", "proc", "sys", "run", "tmp"] {
            if tree.get(&path(mount)).is_none() {
                let mode = if mount == "tmp" { 0o1777 } else { 0o755 };
                tree.insert(path(mount), Entry::new(mode, FOLDER_TIME, Node::Directory));
            }
        }
        tree.complete_parents();
        Ok(Merged { tree, lost })
    }

    fn run(
        &self,
        store: &Store,
        laid: &Laid,
        pool: &Pool,
        step: &Path,
        observer: &dyn Observer,
    ) -> Result<(Configured, Vec<u8>), ConfigureError> {
        let merged = laid.farm.tree();
        let room = store.temporary_folder()?;
        let [upper, work] = ["upper", "work"].map(|name| room.path().join(name));
        let keep = |source| ConfigureError::Keep {
            path: room.path().into(),
            source,
        };
        for folder in [&upper, &work] {
            fs::create_dir(folder).map_err(keep)?;
        }
        let started = now();
        let clock = Instant::now();
        let (outcome, follower) = self.sandbox(laid, [&upper, &work], observer)?;
        if self.trial.attribute {
            let told: BTreeMap<String, &str> = outcome
                .writers
                .iter()
                .map(|(path, writer)| (path.to_string_lossy().into_owned(), writer.as_str()))
                .collect();
            let text = serde_json::to_vec(&told).map_err(|error| keep(io::Error::other(error)))?;
            fs::write(step.join(WRITERS), text).map_err(keep)?;
        }
        tracing::debug!(seconds = clock.elapsed().as_secs_f64(), "scripts ran");
        let clock = Instant::now();
        farm::open_folders(&upper).map_err(keep)?;
        let mut writer = Writer::new(step).map_err(keep)?;
        let reading = Reading {
            root: &upper,
            epoch: self.epoch,
            started,
            writer: &mut writer,
        };
        let read = reading.read(&outcome).map_err(keep)?;
        pool.add_fresh(step, &read.layer);
        let mut tree = merged.clone();
        for folder in &read.opaque {
            let hidden: Vec<TreePath> = tree.below(folder).map(|(path, _)| path.clone()).collect();
            for path in hidden {
                tree.remove(&path);
            }
        }
        tree.overlay(&read.layer);
        self.judge(store, &tree, pool, &outcome, &follower, step)?;
        let normalised = self
            .normalise(&mut tree, &read.layer, pool, &mut writer)
            .map_err(keep)?;
        tree.remove(&path(POLICY_RC_D));
        laid.bytecode.restore(&mut tree);
        laid.circles.restore(&mut tree);
        let layer = tree.since(merged);
        pool.add_fresh(step, &layer);
        refuse_private_keys(&layer, pool)?;
        let identities = outcome
            .identity_changes
            .iter()
            .map(|change| {
                let arguments: Vec<_> = change
                    .arguments
                    .iter()
                    .map(|one| one.to_string_lossy())
                    .collect();
                format!("{} ({})", change.program.display(), arguments.join(" "))
            })
            .collect();
        // An overlay leaves a folder behind that nobody may open.
        farm::open_folders(&work).map_err(keep)?;
        // If nobody takes it, it is removed here.
        drop(self.dispose.send(room));
        tracing::debug!(seconds = clock.elapsed().as_secs_f64(), "read back");
        Ok((
            Configured {
                tree,
                epoch: self.epoch,
                normalised,
                identities,
            },
            follower.log,
        ))
    }

    fn sandbox(
        &self,
        laid: &Laid,
        [upper, work]: [&Path; 2],
        observer: &dyn Observer,
    ) -> Result<(Outcome, Follower), ConfigureError> {
        let owners: Vec<Owner> = laid
            .farm
            .tree()
            .iter()
            .filter(|(_, entry)| (entry.uid, entry.gid) != (0, 0))
            .map(|(path, entry)| Owner {
                path: path.as_path().to_owned(),
                uid: entry.uid,
                gid: entry.gid,
            })
            .collect();
        let wanted = script::Wanted {
            packages: self.packages,
            debconf: self.debconf,
            epoch: self.epoch,
            trial: self.trial,
            beside: laid.bytecode.driver(),
        };
        let program = script::program(&wanted);
        let mut follower = Follower::default();
        let mut done = 0;
        let mut began = Instant::now();
        let mut output = |bytes: &[u8]| {
            follower.take(bytes, &mut |progress| {
                if matches!(progress, script::Progress::Configure(_)) {
                    done += 1;
                }
                let (verb, package) = match &progress {
                    script::Progress::Preinst(package) => ("preparing", package),
                    script::Progress::Configure(package) => ("configuring", package),
                    script::Progress::Triggers(package) => ("triggers of", package),
                };
                tracing::debug!(ms = began.elapsed().as_millis(), "until {verb} {package}");
                began = Instant::now();
                observer.event(Event::Script {
                    stage: self.name,
                    verb,
                    package,
                    done,
                });
            });
        };
        let root = Root {
            lower: laid.farm.path(),
            upper,
            work,
        };
        let outcome = kasmforge_sandbox::run(&root, &owners, &program, &mut output)?;
        Ok((outcome, follower))
    }

    fn normalise(
        &self,
        tree: &mut Tree,
        changed: &Tree,
        pool: &Pool,
        writer: &mut Writer<'_>,
    ) -> io::Result<Vec<Applied>> {
        let mut applied = normalise::apply(tree, changed, &mut Kept { pool, writer })?;
        if !self.slim.python_bytecode {
            let compiled: Vec<TreePath> = changed
                .iter()
                .filter(|(path, _)| path.as_bytes().ends_with(b".pyc"))
                .map(|(path, _)| path.clone())
                .collect();
            let paths = compiled.iter().map(ToString::to_string).collect();
            for path in compiled {
                tree.remove(&path);
            }
            applied.push(Applied {
                name: "slim-python-bytecode".into(),
                paths,
            });
        }
        Ok(applied)
    }
}

/// Contents as normalisers want them: from wherever they are, and into the stage's own.
struct Kept<'a, 'b> {
    pool: &'a Pool,
    writer: &'a mut Writer<'b>,
}

impl normalise::Contents for Kept<'_, '_> {
    fn read(&self, path: &TreePath, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.pool.open(path, entry)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn keep(&mut self, content: &[u8], like: &Entry) -> io::Result<Entry> {
        let mut shape = like.clone();
        shape.node = Node::Directory;
        self.writer.keep(content, shape)
    }
}

/// The host's time, a little earlier: only to tell what scripts wrote from what they copied. It
/// never reaches an outcome.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with times the same host stamps"
)]
fn now() -> i64 {
    /// The kernel stamps files by a clock that is some milliseconds behind.
    const MARGIN: u64 = 2;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs().saturating_sub(MARGIN)).unwrap_or(i64::MAX)
}

/// The record of a configured stage, if it is there and whole.
fn load(folder: &Path) -> Option<Configured> {
    serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()
}

/// dpkg's list in a tree; nothing where there is none.
fn status(tree: &Tree, pool: &Pool) -> io::Result<String> {
    let bytes = pool.text(tree, &path(STATUS))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path this module spells out.
fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).expect("paths in the code, and names of packages, are clean")
}
