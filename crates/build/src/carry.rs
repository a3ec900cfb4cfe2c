//! Carrying a plan out, the short way or the long way.
//!
//! *The short way*: where every layer but those of definitions was made before and an earlier
//! archive has it, no package is looked at: what the definition lays on top is computed from the
//! configured stage, and the archive gets a new end.
//!
//! *The long way*: packages are unpacked as they arrive; each stage's scripts run as soon as its own
//! packages are there, while those of the next stage are still coming; package layers are packed
//! while scripts run. Both ways give the same archive, byte for byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use kasmforge_digest::Digest;
use kasmforge_image::{BLOCK, Configuration, Image, Layer, Reference, padded};
use kasmforge_lock::{Ids, Lock};
use kasmforge_plan::{Inputs, Plan, Step};
use kasmforge_spec::{Slim, Workspace};
use kasmforge_store::Store;
use kasmforge_tree::Tree;
use tempfile::TempDir;

use crate::configure::{Configured, Stage};
use crate::content::{Pool, Writer};
use crate::definition::Definition;
use crate::finish::FinishError;
use crate::former::{self, Former, Hold};
use crate::layering::{self, Layering};
use crate::pack::{Archive, PackError, Packing};
use crate::record::{self, Built, BuiltLayer, LayerRecord};
use crate::unpack::Package;
use crate::unpacking::{Stopped, Unpacking};
use crate::{BuildError, Event, Observer, Request, Supply, parallel};

/// Everything an image is made from, but for the lock.
pub(crate) struct Carrying<'a> {
    pub(crate) store: &'a Store,
    pub(crate) request: &'a Request<'a>,
    pub(crate) definitions: &'a [Definition],
    pub(crate) configuration: &'a Configuration,
    pub(crate) references: &'a [Reference],
    pub(crate) inputs: &'a Inputs,
    pub(crate) supply: &'a dyn Supply,
    pub(crate) observer: &'a dyn Observer,
}

/// What a layer is made of. The order is that of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Packages,
    State,
    Files,
}

/// A layer of the plan, and what is known of it.
struct Slot<'p> {
    kind: Kind,
    stage: usize,
    /// Which package layer of the stage.
    layer: usize,
    step: &'p Step,
    created_by: String,
    known: Option<LayerRecord>,
}

impl Slot<'_> {
    /// Whether nothing needs to be made for it.
    fn is_there(&self, former: &Former) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.empty || former.has(&known.diff_id, known.size))
    }

    fn expected(&self) -> Option<Digest> {
        self.known.as_ref().map(|known| known.diff_id)
    }
}

/// Layers of one kind, in the order of the image.
fn of_kind(slots: &[Slot<'_>], kind: Kind) -> Vec<usize> {
    let all = 0..slots.len();
    all.filter(|&index| slots[index].kind == kind).collect()
}

impl Carrying<'_> {
    fn workspace(&self) -> &Workspace {
        self.request.workspace
    }

    fn slims(&self) -> Vec<&Slim> {
        let stages = &self.workspace().stages;
        stages.iter().map(|stage| &stage.slim).collect()
    }

    /// The layers of a plan, in the order of the image.
    fn slots<'p>(&self, plan: &'p Plan) -> Result<Vec<Slot<'p>>, BuildError> {
        let mut slots = Vec::new();
        for (index, stage) in plan.stages.iter().enumerate() {
            let name = &stage.name;
            let packages = stage.layers.iter().enumerate().map(|(at, layer)| {
                let what = layer.sources.join(" ");
                (Kind::Packages, at, &layer.step, what)
            });
            let rest = [
                (Kind::State, &stage.state, "what maintainer scripts made"),
                (Kind::Files, &stage.files, "users, services and files"),
            ]
            .map(|(kind, step, what)| (kind, 0, step, what.to_owned()));
            for (kind, layer, step, what) in packages.chain(rest) {
                slots.push(Slot {
                    kind,
                    stage: index,
                    layer,
                    step,
                    created_by: format!("kasmforge {name}: {what}"),
                    known: self.store.outcome(&step.key)?,
                });
            }
        }
        Ok(slots)
    }

    fn layering<'s>(
        &'s self,
        configured: &'s [Option<Configured>],
        ids: &'s Ids,
        pool: &'s Pool,
        scratch: &'s Path,
    ) -> Layering<'s> {
        Layering {
            workspace: self.request.workspace,
            configured,
            definitions: self.definitions,
            ids,
            pool,
            scratch,
        }
    }

    /// The short way; `None` where it does not lead there.
    pub(crate) fn shortly(&self, plan: &Plan, ids: &Ids) -> Result<Option<Built>, BuildError> {
        let former = Former::find(self.store);
        let slots = self.slots(plan)?;
        let missing: Vec<usize> = (0..slots.len())
            .filter(|&index| !slots[index].is_there(&former))
            .collect();
        if missing
            .iter()
            .any(|&index| slots[index].kind != Kind::Files)
        {
            return Ok(None);
        }
        let pool = Pool::default();
        let top = plan.stages.len().saturating_sub(1);
        let mut configured = Vec::new();
        for (index, stage) in plan.stages.iter().enumerate() {
            let wanted = index == top || missing.iter().any(|&slot| slots[slot].stage == index);
            let found = if wanted {
                Configured::find(self.store, &stage.configure.key, &pool)
            } else {
                let folder = self.store.tree_path(&stage.configure.key);
                if pool.add_folder(&folder, false).is_err() {
                    return Ok(None);
                }
                None
            };
            if wanted && found.is_none() {
                return Ok(None);
            }
            configured.push(found);
        }
        let scratch = self.store.temporary_folder()?;
        let layering = self.layering(&configured, ids, &pool, scratch.path());
        let mut writer = Writer::new(scratch.path()).map_err(layering::keep)?;
        let mut trees = BTreeMap::new();
        let mut finished = None;
        for stage in 0..plan.stages.len() {
            let slot = missing.iter().find(|&&slot| slots[slot].stage == stage);
            if slot.is_none() && stage != top {
                continue;
            }
            if !layering.has_accounts(stage) {
                return Ok(None);
            }
            let (files, whole) = layering.files(stage, &mut writer)?;
            if let Some(slot) = slot {
                trees.insert(*slot, files);
            }
            finished = Some(whole);
        }
        if !trees.values().all(|tree| pool.has_all(tree)) {
            return Ok(None);
        }
        if let Some(finished) = &finished {
            layering.check(finished)?;
        }
        drop(layering);
        let mut packed = Packed::of(&slots);
        self.extend(former, &slots, &trees, &pool, &mut packed)
            .and_then(|ground| self.conclude(plan, &slots, packed, ground))
            .map(Some)
    }

    /// Writes an archive of layers that are all there or given as trees.
    fn extend(
        &self,
        former: Former,
        slots: &[Slot<'_>],
        trees: &BTreeMap<usize, Tree>,
        pool: &Pool,
        packed: &mut Packed,
    ) -> Result<Ground, BuildError> {
        let order: Vec<usize> = [Kind::Packages, Kind::State, Kind::Files]
            .into_iter()
            .flat_map(|kind| of_kind(slots, kind))
            .collect();
        // What of the workspace's last archive stays as it is.
        let last = record::last(self.store, &self.workspace().name);
        let mut kept = 0;
        let mut end = 0;
        if let Some(last) = &last {
            let mut parts = last.parts.iter();
            for (at, index) in order.iter().enumerate() {
                let known = slots[*index].known.as_ref();
                let Some(known) = known.filter(|_| !trees.contains_key(index)) else {
                    break;
                };
                if !known.empty {
                    let same = parts.next().is_some_and(|part| {
                        part.digest == Some(known.diff_id)
                            && part.offset == end
                            && part.length == BLOCK + padded(known.size)
                    });
                    if !same {
                        break;
                    }
                    end += BLOCK + padded(known.size);
                }
                kept = at + 1;
            }
        }
        let rest: u64 = order[kept..]
            .iter()
            .filter_map(|index| slots[*index].known.as_ref())
            .map(|known| known.size)
            .sum();
        let mut former = former;
        // To move the rest about within one file is not worth it unless there is little of it.
        let taken = last
            .filter(|_| kept > 0 && rest <= end / 8)
            .and_then(|last| {
                former.let_go(&last.archive);
                let moved = order[kept..].iter().filter_map(|index| {
                    let known = slots[*index].known.as_ref()?;
                    let wanted = !known.empty && !trees.contains_key(index);
                    wanted.then_some((known.diff_id, known.size))
                });
                former.set_aside(self.store, &last, moved)?;
                former::take(self.store, &last, self.request.link)
            });
        let ground = match taken {
            Some(taken) => {
                taken.file.set_len(end).map_err(|source| PackError::Write {
                    path: taken.path(),
                    source,
                })?;
                Ground::Taken(taken)
            }
            None => {
                kept = 0;
                former = Former::find(self.store);
                Ground::new(self.store)?
            }
        };
        let stop = AtomicBool::new(false);
        let path = ground.path();
        let mut archive = Archive::begin(ground.file(), &path, &stop, self.observer);
        let mut packings = Vec::new();
        let mut indexes = Vec::new();
        for (at, index) in order.iter().enumerate() {
            let slot = &slots[*index];
            let packing = match (trees.get(index), &slot.known) {
                (Some(tree), _) if tree.is_empty() => continue,
                (Some(tree), _) => Packing::Made {
                    tree,
                    what: &slot.created_by,
                    expected: slot.expected(),
                },
                (None, Some(known)) if known.empty => continue,
                (None, Some(known)) if at < kept => Packing::Kept {
                    digest: known.diff_id,
                    size: known.size,
                },
                (None, Some(known)) => Packing::Copied {
                    digest: known.diff_id,
                    size: known.size,
                    source: former
                        .source(&known.diff_id, known.size)
                        .ok_or(PackError::Vanished)?,
                },
                (None, None) => return Err(PackError::Vanished.into()),
            };
            packings.push(packing);
            indexes.push(*index);
        }
        let threads = parallel::processors();
        self.add(&mut archive, &indexes, &packings, pool, threads, packed)?;
        let image = self.describe(slots, packed)?;
        let (length, parts) = archive.close(&image)?;
        packed.closed = Some((image, length, parts));
        Ok(ground)
    }

    /// The long way.
    pub(crate) fn wholly(&self, plan: Plan, lock: &mut Lock) -> Result<Built, BuildError> {
        let former = Former::find(self.store);
        let pool = Pool::default();
        let ground = Ground::new(self.store)?;
        let stop = AtomicBool::new(false);
        let path = ground.path();
        let archive = Archive::begin(ground.file(), &path, &stop, self.observer);
        let slots = self.slots(&plan)?;
        let mut packed = Packed::of(&slots);
        let unpacking = Unpacking::new(self.store, &plan, lock, &pool, self.observer);
        let last = plan.stages.len().saturating_sub(1);
        let workers = parallel::processors();
        let (configured, background) = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| unpacking.work());
            }
            let absent = unpacking.absent();
            if !absent.is_empty() {
                scope.spawn(|| {
                    let absent = absent;
                    let brought = self
                        .supply
                        .bring(&absent, &|digest| unpacking.arrived(digest));
                    if let Err(error) = brought {
                        unpacking.stop(Some(BuildError::Supply(error)));
                    }
                });
            }
            let background = scope.spawn(|| -> Result<_, Halt> {
                unpacking.wait(last)?;
                let trees = self.package_trees(&plan, &unpacking)?;
                let mut archive = archive;
                // One processor is left to the scripts.
                let threads = workers.saturating_sub(1).max(1);
                let indexes = of_kind(&slots, Kind::Packages);
                let packings: Vec<Packing<'_>> = indexes
                    .iter()
                    .zip(trees.iter().flatten())
                    .map(|(&index, tree)| packing(&slots[index], tree, &former))
                    .collect();
                self.add(
                    &mut archive,
                    &indexes,
                    &packings,
                    &pool,
                    threads,
                    &mut packed,
                )?;
                drop(packings);
                Ok((archive, trees))
            });
            let (dispose, rooms) = mpsc::channel::<TempDir>();
            // Removing a stage's farm takes a while, and nobody has to wait for it.
            scope.spawn(move || rooms.into_iter().for_each(drop));
            let configured = self.configure(&plan, &unpacking, &pool, &dispose);
            drop(dispose);
            if configured.is_err() {
                stop.store(true, Ordering::Relaxed);
                unpacking.stop(None);
            }
            let background = background.join().expect("packing does not panic");
            (configured, background)
        });
        let (configured, (mut archive, trees)) = match (configured, background) {
            (Ok(configured), Ok(background)) => (configured, background),
            (Err(Halt::Failed(error)), _) => return Err(error),
            (_, Err(Halt::Failed(error))) => return Err(error),
            (..) => {
                return Err(unpacking
                    .failure()
                    .expect("whoever stops the work says why"));
            }
        };
        let stems: Vec<Vec<String>> = (0..plan.stages.len())
            .map(|stage| {
                let packages = unpacking.packages(stage);
                packages.iter().map(|one| one.stem.clone()).collect()
            })
            .collect();
        drop(unpacking);
        drop(slots);
        remember_ids(configured.last(), &pool, &mut lock.ids)?;
        let plan = Plan::make(
            lock,
            self.workspace(),
            self.request.architecture,
            self.inputs,
        )?;
        if let Some(built) = record::find(self.store, &self.workspace().name, &plan.image.key)? {
            return Ok(built);
        }
        let slots = self.slots(&plan)?;
        for index in of_kind(&slots, Kind::Packages) {
            let Slot { stage, layer, .. } = slots[index];
            let members = &plan.stages[stage].layers[layer].packages;
            packed.packages[index] = members.iter().map(|&at| stems[stage][at].clone()).collect();
        }
        let configured: Vec<Option<Configured>> = configured.into_iter().map(Some).collect();
        let scratch = self.store.temporary_folder()?;
        let layering = self.layering(&configured, &lock.ids, &pool, scratch.path());
        let mut writer = Writer::new(scratch.path()).map_err(layering::keep)?;
        let (states, files, finished) = layering.all(&trees, &mut writer)?;
        layering.check(&finished)?;
        for (kind, trees) in [(Kind::State, &states), (Kind::Files, &files)] {
            let indexes = of_kind(&slots, kind);
            let packings: Vec<Packing<'_>> = indexes
                .iter()
                .zip(trees)
                .map(|(&index, tree)| packing(&slots[index], tree, &former))
                .collect();
            let threads = parallel::processors();
            self.add(
                &mut archive,
                &indexes,
                &packings,
                &pool,
                threads,
                &mut packed,
            )?;
        }
        for index in of_kind(&slots, Kind::State) {
            if let Some(configured) = &configured[slots[index].stage] {
                packed.normalised[index].clone_from(&configured.normalised);
            }
        }
        let image = self.describe(&slots, &packed)?;
        let (length, parts) = archive.close(&image)?;
        packed.closed = Some((image, length, parts));
        self.conclude(&plan, &slots, packed, ground)
    }

    /// Adds layers to an archive and notes what they came out as. Empty ones are left out.
    fn add(
        &self,
        archive: &mut Archive<'_>,
        indexes: &[usize],
        packings: &[Packing<'_>],
        pool: &Pool,
        threads: usize,
        packed: &mut Packed,
    ) -> Result<(), PackError> {
        let empty = |packing: &Packing<'_>| matches!(packing, Packing::Made { tree, .. } if tree.is_empty());
        let (indexes, packings): (Vec<usize>, Vec<&Packing<'_>>) = indexes
            .iter()
            .zip(packings)
            .filter(|(_, packing)| !empty(packing))
            .unzip();
        let bytes = packings
            .iter()
            .filter(|packing| !matches!(packing, Packing::Kept { .. }))
            .map(|packing| packing.size())
            .sum();
        self.observer.event(Event::Packing {
            layers: packings.len(),
            bytes,
        });
        let layers = archive.add(&packings, pool, threads)?;
        for (index, layer) in indexes.into_iter().zip(layers) {
            packed.layers[index] = Some(layer);
        }
        Ok(())
    }

    fn describe(&self, slots: &[Slot<'_>], packed: &Packed) -> Result<Image, PackError> {
        let layers: Vec<Layer> = slots
            .iter()
            .zip(&packed.layers)
            .filter_map(|(slot, layer)| {
                let (diff_id, size) = (*layer)?;
                Some(Layer {
                    diff_id,
                    size,
                    created_by: slot.created_by.clone(),
                })
            })
            .collect();
        Ok(Image::describe(
            self.configuration,
            &layers,
            self.references,
            self.request.architecture,
            self.inputs.created,
        )?)
    }

    /// The tree of each package layer, by stage.
    fn package_trees(
        &self,
        plan: &Plan,
        unpacking: &Unpacking<'_>,
    ) -> Result<Vec<Vec<Tree>>, BuildError> {
        let slims = self.slims();
        let mut stages = Vec::new();
        for (index, stage) in plan.stages.iter().enumerate() {
            let packages = unpacking.packages(index);
            let trees = parallel::try_map(parallel::processors(), &stage.layers, |layer| {
                layering::packages(&packages, &layer.packages, slims[index])
            });
            stages.push(trees.map_err(|collision| BuildError::Configure {
                stage: stage.name.clone(),
                source: collision.into(),
            })?);
        }
        Ok(stages)
    }

    fn configure(
        &self,
        plan: &Plan,
        unpacking: &Unpacking<'_>,
        pool: &Pool,
        dispose: &mpsc::Sender<TempDir>,
    ) -> Result<Vec<Configured>, Halt> {
        let mut configured: Vec<Configured> = Vec::new();
        let mut before: Vec<&Package> = Vec::new();
        for (index, planned) in plan.stages.iter().enumerate() {
            let spec = &self.workspace().stages[index];
            let found = Configured::find(self.store, &planned.configure.key, pool);
            unpacking.wait(index)?;
            let packages = unpacking.packages(index);
            let done = if let Some(found) = found {
                self.observer.event(Event::Reused {
                    what: "configured stage",
                });
                found
            } else {
                self.observer.event(Event::Configuring {
                    stage: &planned.name,
                    packages: packages.len(),
                });
                let stage = Stage {
                    name: &planned.name,
                    key: planned.configure.key,
                    below: configured.last(),
                    before: &before,
                    packages: &packages,
                    slim: &spec.slim,
                    debconf: &spec.packages.debconf,
                    architecture: self.request.architecture,
                    trial: self.request.trial,
                    dispose,
                };
                let done = stage.configure(self.store, pool, self.observer);
                done.map_err(|source| BuildError::Configure {
                    stage: planned.name.clone(),
                    source,
                })?
            };
            before.extend(packages);
            configured.push(done);
        }
        Ok(configured)
    }

    /// Records layers and image, and gives the archive its name.
    fn conclude(
        &self,
        plan: &Plan,
        slots: &[Slot<'_>],
        packed: Packed,
        ground: Ground,
    ) -> Result<Built, BuildError> {
        let (image, length, parts) = packed.closed.expect("the archive was closed");
        let mut layers = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            let record = match (&slot.known, packed.layers[index]) {
                (Some(known), _) => known.clone(),
                (None, layer) => {
                    let (diff_id, size) = layer.unwrap_or((Digest::of(b""), 0));
                    let record = LayerRecord {
                        diff_id,
                        size,
                        empty: layer.is_none(),
                        packages: packed.packages[index].clone(),
                        normalised: packed.normalised[index].clone(),
                    };
                    self.store.record(&slot.step.key, &record)?;
                    record
                }
            };
            layers.push(record);
        }
        let normalised = slots
            .iter()
            .zip(&layers)
            .filter(|(slot, _)| slot.kind == Kind::State)
            .map(|(slot, layer)| {
                let stage = plan.stages[slot.stage].name.clone();
                (stage, layer.normalised.clone())
            })
            .collect();
        let folder = self.store.image_folder(&self.workspace().name)?;
        let path = folder.join(format!("{}.tar", image.manifest.digest.hex()));
        let hold = ground.keep(&path)?;
        let built = Built {
            workspace: self.workspace().name.clone(),
            architecture: self.request.architecture.into(),
            references: self.references.iter().map(Reference::canonical).collect(),
            manifest: image.manifest.digest,
            config: image.config.digest,
            created: self.inputs.created,
            layers: slots
                .iter()
                .zip(layers)
                .filter(|(_, layer)| !layer.empty)
                .map(|(slot, layer)| BuiltLayer {
                    diff_id: layer.diff_id,
                    size: layer.size,
                    created_by: slot.created_by.clone(),
                    stage: plan.stages[slot.stage].name.clone(),
                    packages: layer.packages,
                    reused: slot.known.is_some(),
                })
                .collect(),
            archive: path,
            length,
            parts,
            normalised,
            reused: false,
            differences: None,
            hold,
        };
        record::keep(self.store, &plan.image.key, &built)?;
        Ok(built)
    }
}

/// How a layer whose tree is known gets into the archive.
fn packing<'s>(slot: &'s Slot<'_>, tree: &'s Tree, former: &'s Former) -> Packing<'s> {
    let known = slot.known.as_ref().filter(|known| !known.empty);
    let source = known.and_then(|known| former.source(&known.diff_id, known.size));
    match (known, source) {
        (Some(known), Some(source)) => Packing::Copied {
            digest: known.diff_id,
            size: known.size,
            source,
        },
        _ => Packing::Made {
            tree,
            what: &slot.created_by,
            expected: known.map(|known| known.diff_id),
        },
    }
}

/// Adds the ids the scripts gave out to those the lock has, so that they stay.
fn remember_ids(top: Option<&Configured>, pool: &Pool, ids: &mut Ids) -> Result<(), BuildError> {
    let Some(top) = top else {
        return Ok(());
    };
    let mut accounts = layering::accounts(&top.tree, pool).map_err(|source| FinishError::Keep {
        target: "/etc/passwd".into(),
        source,
    })?;
    accounts.renumber(ids);
    let given = accounts.dynamic_ids();
    for (known, given) in [
        (&mut ids.users, given.users),
        (&mut ids.groups, given.groups),
    ] {
        for (name, id) in given {
            known.entry(name).or_insert(id);
        }
    }
    Ok(())
}

/// Why a part of the work ended early.
enum Halt {
    /// Another part failed, and says why.
    Stopped,
    /// This one did.
    Failed(BuildError),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl<E: Into<BuildError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What the layers of a plan came out as.
struct Packed {
    /// Digest and size; `None` for those that are empty.
    layers: Vec<Option<(Digest, u64)>>,
    packages: Vec<Vec<String>>,
    normalised: Vec<Vec<crate::Applied>>,
    /// The image, its archive's length and entries.
    closed: Option<(Image, u64, Vec<crate::Part>)>,
}

impl Packed {
    fn of(slots: &[Slot<'_>]) -> Self {
        Self {
            layers: vec![None; slots.len()],
            packages: vec![Vec::new(); slots.len()],
            normalised: vec![Vec::new(); slots.len()],
            closed: None,
        }
    }
}

/// The file an archive is written to.
enum Ground {
    New(tempfile::NamedTempFile),
    Taken(former::Taken),
}

impl Ground {
    fn new(store: &Store) -> Result<Self, BuildError> {
        Ok(Self::New(store.temporary_file()?))
    }

    fn file(&self) -> &File {
        match self {
            Self::New(file) => file.as_file(),
            Self::Taken(taken) => &taken.file,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        match self {
            Self::New(file) => file.path().to_owned(),
            Self::Taken(taken) => taken.path(),
        }
    }

    /// Gives the archive its name; it is held from before it has it.
    fn keep(self, path: &Path) -> Result<Hold, PackError> {
        let failed = |source| PackError::Write {
            path: path.into(),
            source,
        };
        let held = Hold::of(self.file().try_clone().map_err(failed)?);
        match self {
            Self::New(file) => {
                file.persist(path).map_err(|error| failed(error.error))?;
            }
            Self::Taken(taken) => std::fs::rename(taken.path(), path).map_err(failed)?,
        }
        Ok(held)
    }
}
