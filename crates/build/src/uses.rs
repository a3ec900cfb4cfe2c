//! What an image was made of, noted beside it: the store's garbage collection goes by that.

use kasmforge_lock::Lock;
use kasmforge_plan::Plan;
use kasmforge_store::{Error, Store, Uses};

use crate::configure;
use crate::record::Built;

/// Notes what an image was made of.
pub(crate) fn note(store: &Store, plan: &Plan, lock: &Lock, built: &Built) -> Result<(), Error> {
    let mut uses = Uses::default();
    uses.step(&plan.image.key);
    for stage in &plan.stages {
        for unpack in &stage.packages {
            uses.step(&unpack.key);
            uses.blobs.insert(lock.packages[unpack.package].sha256);
        }
        for layer in &stage.layers {
            uses.step(&layer.step.key);
        }
        uses.step(&stage.configure.key);
        if let Some(scripts) = configure::scripts_of(store, &stage.configure.key) {
            uses.step(&scripts);
        }
        uses.step(&stage.state.key);
        uses.step(&stage.files.key);
    }
    uses.blobs.extend(lock.urls.values());
    store.note_uses(&built.workspace, &built.archive, &uses)
}
