//! What people watch: bars on a terminal, plain lines otherwise.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kasmforge_archive as archive;
use kasmforge_build as build;

use crate::printer::{Printer, bytes};

/// How often a plain line tells how far a long piece of work is.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows one piece of work after the other.
pub(crate) struct Progress<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
    state: Mutex<State>,
}

struct State {
    /// What is being done: `fetching`, `unpacking`.
    what: String,
    total: u64,
    done: u64,
    unit: Unit,
    told: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Packages,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        let bar = if printer.bars() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let state = State {
            what: String::new(),
            total: 0,
            done: 0,
            unit: Unit::Packages,
            told: Instant::now(),
        };
        Self {
            printer,
            bar,
            state: Mutex::new(state),
        }
    }

    /// Begins a piece of work that is measured in bytes.
    pub(crate) fn begin_bytes(&self, what: &str, total: u64) {
        self.begin(what, total, Unit::Bytes);
    }

    /// So many bytes of it are done.
    pub(crate) fn at(&self, done: u64) {
        self.update(|state| state.done = done);
    }

    /// Ends what was begun.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Says something without tearing the bar.
    pub(crate) fn warn(&self, text: &str) {
        self.bar.suspend(|| self.printer.warn(text));
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, text: &str) {
        if self.printer.bars() {
            self.bar.set_message(text.to_owned());
            self.bar.tick();
        } else {
            self.printer.say(text);
        }
    }

    fn begin(&self, what: &str, total: u64, unit: Unit) {
        let style = match unit {
            Unit::Bytes => "{msg:<14} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            Unit::Packages => "{prefix:<14} {wide_bar} {pos}/{len} {msg}",
        };
        let style = ProgressStyle::with_template(style).expect("the templates are sound");
        self.bar.reset();
        self.bar.set_style(style.progress_chars("=> "));
        self.bar.set_length(total);
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message(if unit == Unit::Bytes {
            what.to_owned()
        } else {
            String::new()
        });
        let mut state = self.lock();
        *state = State {
            what: what.into(),
            total,
            done: 0,
            unit,
            told: Instant::now(),
        };
        if !self.printer.bars() {
            let amount = match unit {
                Unit::Bytes => bytes(total),
                Unit::Packages => format!("{total} packages"),
            };
            self.printer.say(&format!("{what} {amount}"));
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        self.bar.set_position(state.done);
        if !self.printer.bars() && state.told.elapsed() >= LINE_EVERY {
            state.told = Instant::now();
            let amount = match state.unit {
                Unit::Bytes => format!("{} of {}", bytes(state.done), bytes(state.total)),
                Unit::Packages => format!("{} of {}", state.done, state.total),
            };
            self.printer.say(&format!("{} {amount}", state.what));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A thread that panicked while it counted has not made counting wrong.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl archive::Progress for Progress<'_> {
    fn event(&self, event: archive::Event<'_>) {
        use archive::Event;
        match event {
            Event::Checking { archive, suite } => self.say(&format!("checking {archive} {suite}")),
            Event::Started { bytes, .. } => self.begin("fetching", bytes, Unit::Bytes),
            Event::Advanced { bytes } => self.update(|state| state.done += bytes),
            Event::Restarted { bytes } => {
                self.update(|state| state.done = state.done.saturating_sub(bytes));
            }
            Event::Finished => self.end(),
            Event::Retrying { name, cause, pause } => self.warn(&format!(
                "{name}: {cause}; trying again in {:.1} s",
                pause.as_secs_f64()
            )),
            Event::Warning(warning) => self.warn(&warning.to_string()),
            _ => {}
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
            Event::Unpacked { package } => {
                self.bar.set_message(package.to_owned());
                self.update(|state| state.done += 1);
            }
            Event::Configuring { stage, packages } => {
                let what = format!("configuring {stage}");
                self.begin(&what, packages as u64, Unit::Packages);
            }
            Event::Script {
                verb,
                package,
                done,
                ..
            } => {
                self.bar.set_message(format!("{verb} {package}"));
                self.update(|state| state.done = done as u64);
            }
            Event::Packing { bytes, .. } => self.begin("packing", bytes, Unit::Bytes),
            Event::Packed { bytes } => self.update(|state| state.done += bytes),
            Event::Reused { .. } => {}
            Event::Warning { text } => self.warn(text),
        }
    }
}
