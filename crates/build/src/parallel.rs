//! Work shared among threads of its own.
//!
//! Not a global pool: writing layers in the background must never hold up the farm of a stage, whose
//! scripts are what everybody waits for. How many threads there are changes no outcome.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// As many threads as there are processors.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Lets whatever else wants a processor go before this thread, and before those it starts.
///
/// The scripts of a stage run one after another and everybody waits for them; what runs beside them
/// takes what they leave. Only a thread that will not start a script may ask for this: there is no
/// way back without a privilege.
pub(crate) fn stand_back() {
    /// About a tenth of the weight that a thread has by itself.
    const STEPS: i32 = 10;
    // Where it is refused, the work is done at the ordinary pace.
    let _ = rustix::process::nice(STEPS);
}

/// Frees something large on a thread of its own, which nobody waits for: a process that ends meanwhile
/// takes it along.
pub(crate) fn free_beside<T: Send + 'static>(large: T) {
    let thread = thread::Builder::new().spawn(move || drop(large));
    // Where there is no thread to be had it was freed here.
    drop(thread);
}

/// How many threads share some work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads {
    count: usize,
    /// All but the first take what others leave.
    stand_back: bool,
}

impl Threads {
    /// As many as there are processors.
    pub(crate) fn all() -> Self {
        Self {
            count: processors(),
            stand_back: false,
        }
    }

    /// The same beside scripts: one works, the others only where the scripts leave a processor idle.
    pub(crate) fn beside_scripts() -> Self {
        Self {
            stand_back: true,
            ..Self::all()
        }
    }
}

/// Does something with each item, first come first served, on so many threads; stops at the first
/// failure. Outcomes come in the order of the items.
pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
    threads: Threads,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let outcomes: Mutex<Vec<(usize, Result<R, E>)>> = Mutex::new(Vec::new());
    let run = || {
        let mut own = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let outcome = work(item);
            if outcome.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            own.push((index, outcome));
        }
        outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(own);
    };
    thread::scope(|scope| {
        for _ in 1..threads.count.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                if threads.stand_back {
                    stand_back();
                }
                run();
            });
        }
        run();
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// [`try_map`] for work without an outcome, in handfuls: for many small items.
pub(crate) fn try_each<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    /// How many items a thread takes at once.
    const HANDFUL: usize = 256;
    let handfuls: Vec<&[T]> = items.chunks(HANDFUL).collect();
    try_map(Threads::all(), &handfuls, |handful| {
        handful.iter().try_for_each(&work)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_keep_the_order_of_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled =
            try_map(Threads::all(), &items, |item| Ok::<_, ()>(item * 2)).expect("no failure");
        assert_eq!(
            doubled,
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_failure_is_told() {
        let items = [1, 2, 3];
        let failed = try_each(&items, |item| if *item == 2 { Err("two") } else { Ok(()) });
        assert_eq!(failed, Err("two"));
    }
}
