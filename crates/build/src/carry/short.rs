//! The short way: what packages and scripts gave is all there.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use kasmforge_image::{BLOCK, padded};
use kasmforge_lock::Ids;
use kasmforge_plan::Plan;
use kasmforge_tree::Tree;

use super::{Carrying, Ground, Kind, Packed, Slot, of_kind};
use crate::configure;
use crate::content::{Pool, Writer};
use crate::former::{self, Former};
use crate::pack::{Archive, PackError, Packing};
use crate::parallel::{self, Threads};
use crate::record::{self, Built};
use crate::{BuildError, layering};

impl Carrying<'_> {
    /// The short way; `None` where it does not lead there.
    pub(crate) fn shortly(&self, plan: &Plan, ids: &Ids) -> Result<Option<Built>, BuildError> {
        let former = Former::find(self.store, self.request.project);
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
            let key = &stage.configure.key;
            let found = if wanted {
                configure::find_whole(self.store, key, &pool).map(Some)
            } else {
                configure::add_contents(self.store, key, &pool).map(|()| None)
            };
            let Some(found) = found else {
                return Ok(None);
            };
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
        parallel::free_beside((configured, finished));
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
        let last = record::last_of(self.store, self.request.project, &self.workspace().name);
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
                former = Former::find(self.store, self.request.project);
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
        let threads = Threads::all();
        self.add(&mut archive, &indexes, &packings, pool, threads, packed)?;
        let image = self.describe(slots, packed)?;
        let (length, parts) = archive.close(&image)?;
        packed.closed = Some((image, length, parts));
        Ok(ground)
    }
}
