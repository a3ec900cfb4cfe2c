//! Compares the resolver with apt on requests drawn from an archive.
//!
//! ```sh
//! cargo run --release -p kasmforge-resolve --example beside_apt -- --suite trixie --count 100
//! ```
//!
//! Needs apt and a mirror of Debian; the host's own distribution does not matter. What it prints is
//! the table of `docs/agreement.md`, and each request on which the two do not agree.

#![expect(clippy::print_stdout, reason = "printing is what the program is for")]

mod apt;
mod draw;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use apt::{Answer, Apt, Mirrors};
use kasmforge_resolve::{Archive, Request, Stage, Universe, resolve};

const USAGE: &str = "\
usage: beside_apt [--suite SUITE] [--architecture ARCH] [--seed N] [--count N] [--recommends]
                  [--refusals] [--jobs N] [--folder DIR] [--mirror URI --security-mirror URI] [--only NAME...]
  --suite         a suite of Debian (default: bookworm); its -updates and -security belong to it
  --seed          which requests are drawn (default: 1); a larger --count draws the same ones first
  --count         how many requests (default: 100)
  --recommends    take what packages recommend
  --refusals      draw requests that are likely to be refused: conflicts, what needs what is nowhere
  --jobs          how many apts run at once (default: 2)
  --folder        where apt's indexes and answers are kept (default: in the temporary folder)
  --only          ask for these packages together instead of drawing";

struct Arguments {
    suite: String,
    architecture: String,
    seed: u64,
    count: usize,
    recommends: bool,
    refusals: bool,
    jobs: usize,
    folder: PathBuf,
    mirror: Option<String>,
    security_mirror: Option<String>,
    only: Vec<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self {
            suite: "bookworm".into(),
            architecture: "amd64".into(),
            seed: 1,
            count: 100,
            recommends: false,
            refusals: false,
            jobs: 2,
            folder: std::env::temp_dir().join("kasmforge-beside-apt"),
            mirror: None,
            security_mirror: None,
            only: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--recommends" {
                parsed.recommends = true;
                continue;
            }
            if name == "--refusals" {
                parsed.refusals = true;
                continue;
            }
            if name == "--only" {
                parsed.only = arguments.by_ref().collect();
                continue;
            }
            let value = arguments.next().ok_or(USAGE)?;
            let number = || {
                value
                    .parse()
                    .map_err(|_| format!("{name}: no number\n{USAGE}"))
            };
            match name.as_str() {
                "--suite" => parsed.suite = value,
                "--architecture" => parsed.architecture = value,
                "--seed" => parsed.seed = number()? as u64,
                "--count" => parsed.count = number()?,
                "--jobs" => parsed.jobs = number()?,
                "--folder" => parsed.folder = value.into(),
                "--mirror" => parsed.mirror = Some(value),
                "--security-mirror" => parsed.security_mirror = Some(value),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(parsed)
    }

    fn mirrors(&self) -> Result<Mirrors, String> {
        match (&self.mirror, &self.security_mirror) {
            (Some(main), Some(security)) => Ok(Mirrors {
                main: main.clone(),
                security: security.clone(),
            }),
            (None, None) => Mirrors::of_machine(),
            _ => Err("--mirror and --security-mirror go together".into()),
        }
    }
}

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), String> {
    let arguments = Arguments::parse()?;
    let Arguments {
        suite, seed, count, ..
    } = &arguments;
    let apt = Apt::new(
        &arguments.folder,
        suite,
        &arguments.architecture,
        &arguments.mirrors()?,
    )?;
    let began = Instant::now();
    let universe = universe(&apt)?;
    let indexed = began.elapsed();
    let names: BTreeSet<String> = universe
        .names()
        .filter(|name| {
            universe
                .packages_of(name, apt.architecture())
                .next()
                .is_some()
        })
        .map(ToOwned::to_owned)
        .collect();
    let requests = match (&arguments.only[..], arguments.refusals) {
        ([], false) => draw::requests(&names, *seed, *count),
        ([], true) => draw::refusals(&universe, apt.architecture(), *seed, *count),
        (only, _) => vec![only.to_vec()],
    };
    let essential: Vec<String> = universe.essential().map(ToOwned::to_owned).collect();
    let outcomes = ask(&apt, &universe, &requests, &essential, &arguments)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ours = Vec::new();
    for (request, outcome) in requests.iter().zip(&outcomes) {
        ours.push(outcome.took);
        let verdict = verdict(&outcome.apts, &outcome.ours);
        *counts.entry(verdict).or_default() += 1;
        if !verdict.starts_with("equal") {
            println!("{}: {verdict}", request.join(" "));
            for line in differences(&outcome.apts, &outcome.ours) {
                println!("    {line}");
            }
        }
    }
    ours.sort();
    let equal: usize = counts
        .iter()
        .filter(|(verdict, _)| verdict.starts_with("equal"))
        .map(|(_, count)| count)
        .sum();
    println!(
        "\n{suite} {}{}, {} Recommends, seed {seed}, {}",
        apt.architecture(),
        if arguments.refusals {
            ", likely to be refused"
        } else {
            ""
        },
        if arguments.recommends {
            "with"
        } else {
            "without"
        },
        apt.version()?,
    );
    for (verdict, count) in &counts {
        println!("  {count:5}  {verdict}");
    }
    println!(
        "  {equal} of {} agree: {:.2} %",
        requests.len(),
        100.0 * equal as f64 / requests.len() as f64,
    );
    println!(
        "  ours: {:.0} ms to read the indexes, then {:.1} ms for one request in the middle, {:.1} ms \
         for the longest",
        milliseconds(indexed),
        milliseconds(ours[ours.len() / 2]),
        milliseconds(ours[ours.len() - 1]),
    );
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn universe(apt: &Apt) -> Result<Universe, String> {
    let mut universe = Universe::new(apt.architecture());
    for (at, text) in apt.indexes()?.into_iter().enumerate() {
        let archive = universe.add_archive(Archive {
            name: format!("index {at}"),
            suite: String::new(),
            priority: Archive::AUTOMATIC,
        });
        universe
            .add_index(archive, text)
            .map_err(|error| error.to_string())?;
    }
    Ok(universe)
}

/// What both said to a request.
struct Outcome {
    apts: Answer,
    ours: Answer,
    took: Duration,
}

fn ask(
    apt: &Apt,
    universe: &Universe,
    requests: &[Vec<String>],
    essential: &[String],
    arguments: &Arguments,
) -> Result<Vec<Outcome>, String> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<usize, Result<Outcome, String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(at) else {
                        return;
                    };
                    let outcome =
                        apt.install(request, essential, arguments.recommends)
                            .map(|apts| {
                                let began = Instant::now();
                                let ours = ours(universe, request, arguments.recommends);
                                let took = began.elapsed();
                                Outcome { apts, ours, took }
                            });
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(at, outcome);
                }
            });
        }
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.into_values().collect()
}

fn ours(universe: &Universe, request: &[String], recommends: bool) -> Answer {
    let requests: Result<Vec<Request>, _> = request.iter().map(|name| name.parse()).collect();
    let requests = match requests {
        Ok(requests) => requests,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let stage = Stage {
        requests: &requests,
        recommends,
        ..Stage::default()
    };
    match resolve(universe, &stage) {
        Ok(solution) => Answer::Packages(
            solution
                .packages
                .iter()
                .map(|chosen| format!("{} {}", chosen.stanza.name, chosen.stanza.version))
                .collect(),
        ),
        Err(unsatisfiable) => Answer::Refused(unsatisfiable.to_string()),
    }
}

fn verdict(apts: &Answer, ours: &Answer) -> &'static str {
    match (apts, ours) {
        (Answer::Packages(apts), Answer::Packages(ours)) if apts == ours => "equal",
        (Answer::Packages(_), Answer::Packages(_)) => "other packages",
        (Answer::Refused(_), Answer::Refused(_)) => "equal: both refuse",
        (Answer::Refused(_), Answer::Packages(_)) => "only apt refuses",
        (Answer::Packages(_), Answer::Refused(_)) => "only we refuse",
    }
}

fn differences(apts: &Answer, ours: &Answer) -> Vec<String> {
    match (apts, ours) {
        (Answer::Packages(apts), Answer::Packages(ours)) => {
            let only = |who: &str, these: &BTreeSet<String>, others: &BTreeSet<String>| {
                let packages: Vec<_> = these.difference(others).map(String::as_str).collect();
                (!packages.is_empty())
                    .then(|| format!("only {who} ({}): {}", packages.len(), packages.join(", ")))
            };
            only("apt", apts, ours)
                .into_iter()
                .chain(only("we", ours, apts))
                .collect()
        }
        (Answer::Refused(reason), _) | (_, Answer::Refused(reason)) => {
            reason.lines().map(ToOwned::to_owned).collect()
        }
    }
}
