//! What people watch: bars on a terminal, plain lines otherwise.
//!
//! A build does several things at once (it fetches, unpacks, runs scripts and packs), so each has a
//! bar of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kasmforge_archive as archive;
use kasmforge_build as build;
use kasmforge_distribution as distribution;

use crate::printer::{Printer, bytes};

/// How often a plain line tells how far a long piece of work is.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows pieces of work, several at once.
pub(crate) struct Progress<'a> {
    printer: &'a Printer,
    bars: MultiProgress,
    tasks: Mutex<Vec<Task>>,
}

struct Task {
    /// What is being done: `fetching`, `unpacking`.
    what: String,
    bar: ProgressBar,
    total: u64,
    done: u64,
    unit: Unit,
    told: Instant,
}

impl Task {
    /// Whether all of it is done, as far as anybody knows how much that is.
    fn is_done(&self) -> bool {
        self.total > 0 && self.done >= self.total
    }

    /// How far it is.
    fn amount(&self) -> String {
        match (self.unit, self.total) {
            (Unit::Bytes, 0) => bytes(self.done),
            (Unit::Bytes, total) => format!("{} of {}", bytes(self.done), bytes(total)),
            (Unit::Packages, total) => format!("{} of {total}", self.done),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Packages,
}

/// A piece of work whose name is known here only.
const PACKING: &str = "packing";

/// What layers on their way to a registry are shown as.
const SENDING: &str = "sending";

impl<'a> Progress<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            bars: MultiProgress::new(),
            tasks: Mutex::default(),
        }
    }

    /// Begins a piece of work that is measured in bytes.
    pub(crate) fn begin_bytes(&self, what: &str, total: u64) {
        self.begin(what, total, Unit::Bytes);
    }

    /// So many bytes more of a piece of work that was begun are done.
    pub(crate) fn advance(&self, what: &str, bytes: u64) {
        self.update(what, |task| task.done += bytes);
    }

    /// So many bytes of what was begun last are done.
    pub(crate) fn at(&self, done: u64) {
        let what = self.lock().last().map(|task| task.what.clone());
        self.update(&what.unwrap_or_default(), |task| task.done = done);
    }

    /// Ends what was begun.
    pub(crate) fn end(&self) {
        for task in self.lock().drain(..) {
            task.bar.finish_and_clear();
        }
    }

    /// Says something without tearing the bars.
    pub(crate) fn warn(&self, text: &str) {
        self.bars.suspend(|| self.printer.warn(text));
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, text: &str) {
        self.bars.suspend(|| self.printer.say(text));
    }

    fn begin(&self, what: &str, total: u64, unit: Unit) {
        let bar = if self.printer.bars() {
            self.bars.add(ProgressBar::new(total))
        } else {
            ProgressBar::hidden()
        };
        let style = match unit {
            Unit::Bytes => "{prefix:<20} {wide_bar} {bytes}/{total_bytes}",
            Unit::Packages => "{prefix:<20} {wide_bar} {pos}/{len} {msg:24!}",
        };
        let style = ProgressStyle::with_template(style).expect("the templates are sound");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        let mut tasks = self.lock();
        if let Some(old) = tasks.iter().position(|task| task.what == what) {
            tasks.remove(old).bar.finish_and_clear();
        }
        tasks.push(Task {
            what: what.into(),
            bar,
            total,
            done: 0,
            unit,
            told: Instant::now(),
        });
        drop(tasks);
        // How much it is may be known to nobody.
        if !self.printer.bars() && total > 0 {
            let amount = match unit {
                Unit::Bytes => bytes(total),
                Unit::Packages => format!("{total} packages"),
            };
            self.printer.say(&format!("{what} {amount}"));
        }
    }

    /// Adds to a piece of work that was begun and is not done yet, or begins it.
    fn more(&self, what: &str, amount: u64) {
        let mut tasks = self.lock();
        let going = |task: &&mut Task| task.what == what && !task.is_done();
        if let Some(task) = tasks.iter_mut().find(going) {
            task.total += amount;
            task.bar.set_length(task.total);
            return;
        }
        drop(tasks);
        self.begin_bytes(what, amount);
    }

    fn update(&self, what: &str, change: impl FnOnce(&mut Task)) {
        let mut tasks = self.lock();
        let Some(task) = tasks.iter_mut().find(|task| task.what == what) else {
            return;
        };
        change(task);
        task.bar.set_position(task.done);
        if task.is_done() {
            task.bar.finish_and_clear();
        } else if !self.printer.bars() && task.told.elapsed() >= LINE_EVERY {
            task.told = Instant::now();
            self.printer.say(&format!("{what} {}", task.amount()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        // A thread that panicked while it counted has not made counting wrong.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl archive::Progress for Progress<'_> {
    fn event(&self, event: archive::Event<'_>) {
        use archive::Event;
        match event {
            Event::Checking { archive, suite } => self.say(&format!("checking {archive} {suite}")),
            Event::Started { bytes, .. } => self.more("fetching", bytes),
            // Whose length nobody knows belongs to nothing that was started.
            Event::FileStarted { size: None, .. } => self.more("fetching", 0),
            Event::Advanced { bytes } => self.update("fetching", |task| task.done += bytes),
            Event::Restarted { bytes } => {
                self.update("fetching", |task| {
                    task.done = task.done.saturating_sub(bytes);
                });
            }
            Event::Retrying { name, cause, pause } => self.warn(&format!(
                "{name}: {cause}; trying again in {:.1} s",
                pause.as_secs_f64()
            )),
            Event::Warning(warning) => self.warn(&warning.to_string()),
            _ => {}
        }
    }
}

impl distribution::Observer for Progress<'_> {
    fn event(&self, event: distribution::Event) {
        use distribution::Event;
        match event {
            Event::Started { bytes } => self.more(SENDING, bytes),
            Event::Sent { bytes } => self.advance(SENDING, bytes),
            Event::Lost { bytes } => {
                self.update(SENDING, |task| task.done = task.done.saturating_sub(bytes));
            }
            Event::Broken {
                digest,
                cause,
                pause,
            } => self.warn(&format!(
                "the layer {} broke off ({cause}); trying again in {:.1} s",
                digest.short(),
                pause.as_secs_f64()
            )),
            Event::Resumed { digest, at } => self.say(&format!(
                "the layer {} goes on after {}",
                digest.short(),
                bytes(at)
            )),
            Event::SendingAll => self
                .warn("the registry does not have what it said to have; all layers are sent again"),
        }
    }
}

impl build::Observer for Progress<'_> {
    fn event(&self, event: build::Event<'_>) {
        use build::Event;
        match event {
            Event::Unpacking { packages } => {
                self.begin("unpacking", packages as u64, Unit::Packages);
            }
            Event::Unpacked { package } => self.update("unpacking", |task| {
                task.bar.set_message(package.to_owned());
                task.done += 1;
            }),
            Event::Configuring { stage, packages } => {
                let what = format!("configuring {stage}");
                self.begin(&what, packages as u64, Unit::Packages);
            }
            Event::Script {
                stage,
                verb,
                package,
                done,
            } => self.update(&format!("configuring {stage}"), |task| {
                task.bar.set_message(format!("{verb} {package}"));
                task.done = done as u64;
            }),
            Event::Packing { bytes, .. } => self.more(PACKING, bytes),
            Event::Packed { bytes } => self.update(PACKING, |task| task.done += bytes),
            Event::Unnoticed { stage } => {
                self.say(&format!("{stage}: no script has to run again"));
            }
            Event::Reused { .. } => {}
            Event::Warning { text } => self.warn(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use indicatif::ProgressBar;

    use super::{Task, Unit};

    #[test]
    fn what_nobody_knows_the_length_of_is_told_without_it() {
        let task = |done, total, unit| Task {
            what: "fetching".into(),
            bar: ProgressBar::hidden(),
            total,
            done,
            unit,
            told: Instant::now(),
        };
        assert_eq!(task(1500, 0, Unit::Bytes).amount(), "1.5 kB");
        assert_eq!(task(1500, 3000, Unit::Bytes).amount(), "1.5 kB of 3.0 kB");
        assert_eq!(task(2, 3, Unit::Packages).amount(), "2 of 3");
        assert!(!task(1500, 0, Unit::Bytes).is_done());
        assert!(task(3, 3, Unit::Packages).is_done());
    }
}
