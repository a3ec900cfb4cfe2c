//! The long way: from packages that may not even be there yet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use kasmforge_lock::{Ids, Lock};
use kasmforge_plan::Plan;
use kasmforge_tree::Tree;
use tempfile::TempDir;

use super::{Carrying, Ground, Kind, Packed, Slot, of_kind};
use crate::configure::{self, Configured, Member, Scripted, Settling};
use crate::content::{Pool, Writer};
use crate::farm::Farm;
use crate::finish::FinishError;
use crate::former::Former;
use crate::pack::{Archive, Packing};
use crate::parallel::{self, Threads};
use crate::record::{self, Built};
use crate::unpacking::{Stopped, Unpacking};
use crate::{BuildError, Event, layering};

impl Carrying<'_> {
    /// The long way.
    pub(crate) fn wholly(&self, plan: Plan, lock: &mut Lock) -> Result<Built, BuildError> {
        thread::scope(|scope| {
            let (dispose, rooms) = mpsc::channel::<TempDir>();
            // Removing what stood for the scripts takes a while, and nothing has to wait for it.
            scope.spawn(move || rooms.into_iter().for_each(drop));
            self.unpacked_and_packed(plan, lock, &dispose)
        })
    }

    fn unpacked_and_packed(
        &self,
        plan: Plan,
        lock: &mut Lock,
        dispose: &mpsc::Sender<TempDir>,
    ) -> Result<Built, BuildError> {
        let former = Former::find(self.store, self.request.project);
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
            for worker in 0..workers {
                let unpacking = &unpacking;
                scope.spawn(move || {
                    if worker > 0 {
                        parallel::stand_back();
                    }
                    unpacking.work();
                });
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
                    Threads::beside_scripts(),
                    &mut packed,
                )?;
                drop(packings);
                Ok((archive, trees))
            });
            let configured = self.configure(&plan, &unpacking, &pool, dispose);
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
            let threads = Threads::all();
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
            let trees = parallel::try_map(Threads::all(), &stage.layers, |layer| {
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
        let mut scripted: Option<Scripted> = None;
        let mut before: Vec<Member<'_>> = Vec::new();
        let mut farm: Option<Farm> = None;
        for (index, planned) in plan.stages.iter().enumerate() {
            let spec = &self.workspace().stages[index];
            let found = configure::find(self.store, &planned.configure.key, pool);
            unpacking.wait(index)?;
            let packages: Vec<Member<'_>> = unpacking
                .packages(index)
                .into_iter()
                .zip(&planned.packages)
                .map(|(package, unpack)| Member {
                    package,
                    stage: index,
                    key: unpack.key,
                    slim: &spec.slim,
                })
                .collect();
            let (whole, left) = if let Some(found) = found {
                self.observer.event(Event::Reused {
                    what: "configured stage",
                });
                found
            } else {
                let settling = Settling {
                    name: &planned.name,
                    key: planned.configure.key,
                    below: configured.last().zip(scripted.as_ref()),
                    before: &before,
                    packages: &packages,
                    slim: &spec.slim,
                    debconf: &spec.packages.debconf,
                    rules: &self.inputs.rules,
                    architecture: self.request.architecture,
                    trial: self.request.trial,
                    dispose,
                };
                let settled = settling.settle(self.store, pool, &mut farm, self.observer);
                settled.map_err(|source| BuildError::Configure {
                    stage: planned.name.clone(),
                    source,
                })?
            };
            before.extend(packages);
            configured.push(whole);
            scripted = Some(left);
        }
        if let Some(farm) = farm {
            // If nobody takes it, it is removed here.
            drop(dispose.send(farm.into_room()));
        }
        Ok(configured)
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
