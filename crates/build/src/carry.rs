//! Carrying a plan out, the short way or the long way.
//!
//! *The short way*: where every layer but those of definitions was made before and an earlier
//! archive has it, no package is looked at: what the definition lays on top is computed from the
//! configured stage, and the archive gets a new end.
//!
//! *The long way*: packages are unpacked as they arrive; each stage's scripts run as soon as its own
//! packages are there, while those of the next stage are still coming; package layers are packed
//! while scripts run. Both ways give the same archive, byte for byte.

mod long;
mod short;

use std::fs::File;
use std::path::{Path, PathBuf};

use kasmforge_digest::Digest;
use kasmforge_image::{Configuration, Image, Layer, Reference};
use kasmforge_lock::Ids;
use kasmforge_plan::{Inputs, Plan, Step};
use kasmforge_spec::{Slim, Workspace};
use kasmforge_store::Store;

use crate::configure::Configured;
use crate::content::Pool;
use crate::definition::Definition;
use crate::former::{self, Former, Hold};
use crate::layering::Layering;
use crate::pack::{Archive, PackError, Packing};
use crate::parallel::Threads;
use crate::record::{self, Built, BuiltLayer, LayerRecord};
use crate::{BuildError, Event, Observer, Request, Supply};

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

    /// Adds layers to an archive and notes what they came out as. Empty ones are left out.
    fn add(
        &self,
        archive: &mut Archive<'_>,
        indexes: &[usize],
        packings: &[Packing<'_>],
        pool: &Pool,
        threads: Threads,
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

    fn path(&self) -> PathBuf {
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
