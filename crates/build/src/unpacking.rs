//! Unpacking all packages of a plan while they arrive, the lowest stage first.
//!
//! A stage's scripts can run as soon as its own packages are unpacked, so those of lower stages go
//! first, and among those of one stage the largest: the last to finish should be a small one.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use kasmforge_digest::Digest;
use kasmforge_lock::Lock;
use kasmforge_plan::Plan;
use kasmforge_store::Store;

use crate::content::Pool;
use crate::unpack::{self, Package};
use crate::{BuildError, Event, Observer};

/// Which package of which stage.
type Place = (usize, usize);

/// All packages of a plan, on their way from files of the store to trees.
pub(crate) struct Unpacking<'a> {
    store: &'a Store,
    plan: &'a Plan,
    lock: &'a Lock,
    pool: &'a Pool,
    observer: &'a dyn Observer,
    /// The outcomes, by stage and place.
    unpacked: Vec<Vec<OnceLock<Package>>>,
    state: Mutex<State>,
    changed: Condvar,
    begun: Once,
}

struct State {
    /// Packages whose files are there. The heap's greatest: the lowest stage, the largest file.
    ready: BinaryHeap<(std::cmp::Reverse<usize>, u64, usize)>,
    /// Packages whose files are still to come.
    absent: BTreeMap<Digest, Vec<Place>>,
    /// How many packages of each stage are not unpacked yet.
    left: Vec<usize>,
    failed: Option<BuildError>,
    stopped: bool,
}

/// Somebody else's failure: it is told by whoever had it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped;

impl<'a> Unpacking<'a> {
    pub(crate) fn new(
        store: &'a Store,
        plan: &'a Plan,
        lock: &'a Lock,
        pool: &'a Pool,
        observer: &'a dyn Observer,
    ) -> Self {
        let mut state = State {
            ready: BinaryHeap::new(),
            absent: BTreeMap::new(),
            left: Vec::new(),
            failed: None,
            stopped: false,
        };
        for (stage, planned) in plan.stages.iter().enumerate() {
            state.left.push(planned.packages.len());
            for (at, unpack) in planned.packages.iter().enumerate() {
                let locked = &lock.packages[unpack.package];
                let there = unpack::is_kept(store, &unpack.key)
                    || store.has_blob(&locked.sha256, Some(locked.size));
                if there {
                    let rank = std::cmp::Reverse(stage);
                    state.ready.push((rank, locked.size, at));
                } else {
                    let places = state.absent.entry(locked.sha256).or_default();
                    places.push((stage, at));
                }
            }
        }
        let places = |stage: &kasmforge_plan::Stage| {
            stage.packages.iter().map(|_| OnceLock::new()).collect()
        };
        Self {
            store,
            plan,
            lock,
            pool,
            observer,
            unpacked: plan.stages.iter().map(places).collect(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            begun: Once::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file has come into the store.
    pub(crate) fn arrived(&self, digest: &Digest) {
        let mut state = self.lock();
        for (stage, at) in state.absent.remove(digest).unwrap_or_default() {
            let package = self.plan.stages[stage].packages[at].package;
            let size = self.lock.packages[package].size;
            state.ready.push((std::cmp::Reverse(stage), size, at));
        }
        self.changed.notify_all();
    }

    /// Ends all work: nothing more will come, or nobody wants it any more.
    pub(crate) fn stop(&self, error: Option<BuildError>) {
        let mut state = self.lock();
        state.stopped = true;
        if state.failed.is_none() {
            state.failed = error;
        }
        self.changed.notify_all();
    }

    /// Unpacks what is ready until all is done: what each worker's thread runs.
    pub(crate) fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.stopped || state.left.iter().all(|left| *left == 0) {
                return;
            }
            let Some((std::cmp::Reverse(stage), _, at)) = state.ready.pop() else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let outcome = self.unpack(stage, at);
            state = self.lock();
            match outcome {
                Ok(package) => {
                    self.unpacked[stage][at].get_or_init(|| package);
                    state.left[stage] -= 1;
                    if state.left[stage] == 0 {
                        self.changed.notify_all();
                    }
                }
                Err(error) => {
                    drop(state);
                    self.stop(Some(error));
                    return;
                }
            }
        }
    }

    fn unpack(&self, stage: usize, at: usize) -> Result<Package, BuildError> {
        // Not before there is something to unpack: it may all have to be fetched first.
        self.begun.call_once(|| {
            let packages = self.unpacked.iter().map(Vec::len).sum();
            self.observer.event(Event::Unpacking { packages });
        });
        let step = &self.plan.stages[stage].packages[at];
        let locked = &self.lock.packages[step.package];
        let unpacked = unpack::unpack(self.store, &step.key, &locked.sha256);
        let (folder, package, fresh) = unpacked.map_err(|source| BuildError::Unpack {
            package: locked.name.clone(),
            digest: locked.sha256,
            source,
        })?;
        if fresh {
            self.pool.add_fresh(&folder, &package.tree);
        } else {
            self.pool.add(&folder, &package.tree);
        }
        self.observer.event(Event::Unpacked {
            package: &locked.name,
        });
        Ok(package)
    }

    /// Waits until a stage and all below it are unpacked.
    pub(crate) fn wait(&self, stage: usize) -> Result<(), Stopped> {
        let mut state = self.lock();
        loop {
            if state.left[..=stage].iter().all(|left| *left == 0) {
                return Ok(());
            }
            if state.stopped {
                return Err(Stopped);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The packages of an unpacked stage, in canonical order.
    pub(crate) fn packages(&self, stage: usize) -> Vec<&Package> {
        self.unpacked[stage]
            .iter()
            .filter_map(OnceLock::get)
            .collect()
    }

    /// The files that are still to come.
    pub(crate) fn absent(&self) -> Vec<Digest> {
        self.lock().absent.keys().copied().collect()
    }

    /// Why work was stopped, if it was.
    pub(crate) fn failure(&self) -> Option<BuildError> {
        self.lock().failed.take()
    }
}
