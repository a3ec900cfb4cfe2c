//! What the shipped images promise, asked of running containers: the contract of docs/contract.md, and
//! that no symptom people report makes a container restart, hang or refuse `docker exec`.
//!
//! One image (the workspace `xfce`, with a one-script application on top) and one engine for all of it.
//! Needs root and `apt-get install docker.io iproute2`. With `KASMFORGE_TEST_STORE` downloads outlive
//! the run.

#![allow(
    clippy::print_stderr,
    reason = "what holds is told while the rest still runs"
)]

mod bench;
#[path = "../support/engine.rs"]
mod engine;
mod promises;
mod symptoms;

/// A promise in words, and what shows whether it is kept.
type Case = (&'static str, fn(&bench::Bench));

use std::sync::Mutex;

use bench::Bench;

/// Containers mostly wait; more of them at once would make each slower than it is patient.
const AT_ONCE: usize = 4;

/// One test, because the image is built and loaded once; every case is run, and all failures are told
/// together. With `KASMFORGE_TEST_CASE` only those whose name contains it.
#[test]
fn the_contract_holds() {
    let bench = Bench::new();
    let only = std::env::var("KASMFORGE_TEST_CASE").unwrap_or_default();
    let cases = [promises::CASES, symptoms::CASES].concat().into_iter();
    let left = Mutex::new(cases.filter(|(name, _)| name.contains(&only)));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no case holds it").next();
                    let Some((name, case)) = next else { return };
                    let started = std::time::Instant::now();
                    let bench = std::panic::AssertUnwindSafe(&bench);
                    let holds = std::panic::catch_unwind(|| case(&bench)).is_ok();
                    let seconds = started.elapsed().as_secs();
                    let word = if holds { "holds" } else { "FAILED" };
                    eprintln!("{word}: {name} ({seconds} s)");
                    if !holds {
                        failed.lock().expect("no case holds it").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("all have ended");
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
