//! All words to people and machines go through here: results to stdout, talk to stderr.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use kasmforge_spec::{Diagnostic, Files};

use crate::cli::{Global, When};
use crate::render;

/// Prints results and talk as the command line asked for.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
    color: ColorChoice,
    bars: bool,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        let color = match global.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        let bars = match global.progress {
            When::Auto => io::stderr().is_terminal() && !global.quiet,
            When::Always => true,
            When::Never => false,
        };
        let level = match global.verbose {
            0 => "warn",
            1 => "kasmforge=info",
            _ => {
                "kasmforge=debug,kasmforge_build=debug,kasmforge_archive=debug,\
                  kasmforge_sandbox=debug,kasmforge_deploy=debug,kasmforge_distribution=debug,\
                  kasmforge_kasm=debug"
            }
        };
        // A second call, in tests, keeps the first.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(level))
            .with_writer(io::stderr)
            .without_time()
            .try_init();
        Self {
            json: global.json,
            quiet: global.quiet,
            color,
            bars,
        }
    }

    /// Whether results are JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether progress bars are drawn; else whether plain lines are.
    pub(crate) const fn bars(&self) -> bool {
        self.bars
    }

    /// Prints a result: a text for people, or the same for machines.
    pub(crate) fn result(&self, text: &str, json: &serde_json::Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, json)?;
            writeln!(out)
        } else {
            writeln!(AutoStream::new(out, self.color), "{text}")
        }
    }

    /// Prints a text as it is: a schema, completions.
    pub(crate) fn raw(&self, text: &str) -> io::Result<()> {
        io::stdout().lock().write_all(text.as_bytes())
    }

    /// Says something a person may want to know.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.talk(text);
        }
    }

    /// Says something a person should know.
    pub(crate) fn warn(&self, text: &str) {
        self.talk(&format!("\u{1b}[1;33mwarning\u{1b}[0m: {text}"));
    }

    /// Tells an error with its causes, each on a line of its own.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let mut text = format!("\u{1b}[1;31merror\u{1b}[0m: {error}");
        let mut last = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // A transparent error says what its cause says.
            if cause != last {
                text.push_str(&format!("\n  because {}", cause.replace('\n', "\n  ")));
            }
            last = cause;
        }
        let full = error.chain().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|cause| {
                use io::ErrorKind::{QuotaExceeded, StorageFull};
                matches!(cause.kind(), StorageFull | QuotaExceeded)
            })
        });
        if full && !text.contains("the disk is full") {
            text.push_str(
                "\n  the disk is full: make room, or name another place with --store; the next \
                 build continues where this one stopped",
            );
        }
        self.talk(&text);
    }

    /// Shows what may be a mistake at its line.
    pub(crate) fn doubt(&self, files: &Files, diagnostic: &Diagnostic) {
        self.talk(&format!(
            "{}\n",
            render::render_warning(files, diagnostic, true)
        ));
    }

    /// Shows a mistake at its line.
    pub(crate) fn mistake(&self, files: &Files, diagnostic: &Diagnostic) {
        self.talk(&format!("{}\n", render::render(files, diagnostic, true)));
    }

    /// Shows mistakes in definitions at their lines.
    pub(crate) fn mistakes(&self, files: &Files, diagnostics: &[Diagnostic], closing: &str) {
        for diagnostic in diagnostics {
            self.talk(&format!("{}\n", render::render(files, diagnostic, true)));
        }
        let plural = if diagnostics.len() == 1 {
            "mistake"
        } else {
            "mistakes"
        };
        self.talk(&format!("{} {plural}; {closing}", diagnostics.len()));
    }

    fn talk(&self, text: &str) {
        let mut stream = AutoStream::new(io::stderr().lock(), self.color);
        // Whoever closed our stderr does not want to hear.
        let _ = writeln!(stream, "{text}");
    }
}

/// Bytes in the unit people read: `512 B`, `1.5 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_999, "1.0 MB"),
            (1_234_567_890, "1.2 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
