//! `kasmforge doctor`

use clap::Args;
use kasmforge_archive::Silent;
use kasmforge_sandbox as sandbox;
use kasmforge_store::Store;
use serde_json::json;

use super::engine::connected;
use crate::cli::{EngineArguments, Global};
use crate::exit::chain;
use crate::fetching;
use crate::printer::{Printer, bytes};
use crate::project::Project;
use crate::settings::Settings;

/// Less room than this is too little for a desktop: its packages, unpacked and packed.
const ROOM: u64 = 5 << 30;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Asks no mirror.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    engine: EngineArguments,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Builds work; something else may not.
    Note,
    /// No build can work.
    Bad,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What mends it.
    mend: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: String) -> Self {
        Self {
            what,
            state: State::Good,
            found,
            mend: None,
        }
    }

    fn not(what: &'static str, state: State, found: String, mend: &str) -> Self {
        Self {
            what,
            state,
            found,
            mend: (!mend.is_empty()).then(|| mend.to_owned()),
        }
    }
}

/// Looks at whatever a build and an upgrade need of this host, and says what mends what is amiss.
pub(crate) fn run(wanted: &Doctor, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let settings = Settings::resolve(global)?;
    let mut findings = vec![
        Finding::good(
            "version",
            format!("kasmforge {}", env!("CARGO_PKG_VERSION")),
        ),
        kernel(),
        namespaces(),
    ];
    let store = Store::open(&settings.store);
    match &store {
        Ok(store) => findings.extend([room(store), overlay(store)]),
        Err(error) => findings.push(Finding::not(
            "store",
            State::Bad,
            error.to_string(),
            "name a folder you may write to with --store, or KASMFORGE_STORE",
        )),
    }
    findings.push(mirrors(&settings));
    match (Project::find(global.directory.as_deref()), &store) {
        (Ok(project), Ok(store)) if !wanted.offline => {
            findings.extend(archives(&project, &settings, store));
        }
        (Err(_), _) => findings.push(Finding::not(
            "project",
            State::Note,
            "there is no folder `workspaces` here or above".into(),
            "`kasmforge init` makes a first one",
        )),
        _ => {}
    }
    findings.push(engine(&wanted.engine));
    let bad = findings
        .iter()
        .filter(|one| one.state == State::Bad)
        .count();
    let lines: Vec<String> = findings.iter().map(text).collect();
    let json = json!({
        "works": bad == 0,
        "findings": findings.iter().map(|one| json!({
            "what": one.what,
            "state": one.state.word(),
            "found": one.found,
            "mend": one.mend,
        })).collect::<Vec<_>>(),
    });
    printer.result(&lines.join("\n"), &json)?;
    if bad > 0 {
        anyhow::bail!("a build cannot work here: see what is marked as bad");
    }
    Ok(())
}

fn text(one: &Finding) -> String {
    let mut text = format!("{}  {}: {}", one.state.word(), one.what, one.found);
    if let Some(mend) = &one.mend {
        text.push_str(&format!("\n      {mend}"));
    }
    text
}

fn kernel() -> Finding {
    const OLDEST: (u32, u32) = (5, 11);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || {
        numbers
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let version: (u32, u32) = (number(), number());
    if version >= OLDEST {
        return Finding::good("kernel", format!("Linux {release}"));
    }
    Finding::not(
        "kernel",
        State::Bad,
        format!("Linux {release}"),
        "Linux 5.11 or later is needed, for overlays in user namespaces",
    )
}

/// Namespaces, seccomp and overlayfs, by doing all that a build does with them.
fn namespaces() -> Finding {
    match sandbox::probe() {
        Ok(()) => Finding::good(
            "sandbox",
            "namespaces, seccomp notification and overlays work for this user".into(),
        ),
        Err(error) => {
            let source = std::error::Error::source(&error);
            let cause = source.map_or_else(String::new, |cause| format!(" ({cause})"));
            // The error itself says which setting stands in the way, and what mends it.
            let text = error.to_string();
            let (found, mend) = text.split_once("; ").unwrap_or((&text, ""));
            Finding::not("sandbox", State::Bad, format!("{found}{cause}"), mend)
        }
    }
}

fn room(store: &Store) -> Finding {
    let path = store.root().display();
    match store.space() {
        Ok(space) => {
            let found = format!("{path} on {}, {} free", space.kind, bytes(space.free));
            if space.free >= ROOM {
                Finding::good("store", found)
            } else {
                Finding::not(
                    "store",
                    State::Note,
                    found,
                    "a desktop takes about 5 GB at first: `kasmforge gc` makes room, or name \
                     another place with --store",
                )
            }
        }
        Err(error) => Finding::not("store", State::Note, error.to_string(), ""),
    }
}

fn overlay(store: &Store) -> Finding {
    let tried = store
        .temporary_folder()
        .map_err(|error| error.to_string())
        .and_then(|folder| sandbox::probe_in(folder.path()).map_err(|error| error.to_string()));
    match tried {
        Ok(()) => Finding::good("overlay", "the store's file system carries one".into()),
        Err(found) => Finding::not(
            "overlay",
            State::Bad,
            found,
            "keep the store on ext4, xfs, btrfs or tmpfs: --store, or KASMFORGE_STORE",
        ),
    }
}

fn mirrors(settings: &Settings) -> Finding {
    match fetching::mirrors(settings) {
        Ok(mirrors) => {
            let all: Vec<&str> = mirrors
                .main
                .iter()
                .chain(&mirrors.security)
                .map(String::as_str)
                .collect();
            Finding::good(
                "mirrors",
                format!("{:?}: {}", mirrors.origin, all.join(", ")),
            )
        }
        Err(error) => Finding::not("mirrors", State::Bad, error.to_string(), ""),
    }
}

/// Whether the archives of the project's workspaces answer, and are signed as they should be.
fn archives(project: &Project, settings: &Settings, store: &Store) -> Vec<Finding> {
    let mut seen = std::collections::BTreeSet::new();
    let mut findings = Vec::new();
    for name in project.workspaces().unwrap_or_default() {
        let workspace = match project.load(&name) {
            Ok(workspace) => workspace,
            Err(_) => {
                findings.push(Finding::not(
                    "definition",
                    State::Note,
                    format!("{name} has mistakes"),
                    &format!("`kasmforge build {name}` shows them"),
                ));
                continue;
            }
        };
        let debian = &workspace.debian;
        let suites = match fetching::suites(project, settings, debian, false) {
            Ok(suites) => suites,
            Err(error) => {
                findings.push(Finding::not(
                    "archive",
                    State::Bad,
                    format!("{error:#}"),
                    "",
                ));
                continue;
            }
        };
        let client = fetching::client(store, project, settings, debian, false, &Silent);
        for wanted in suites {
            if !seen.insert(wanted.name.clone()) {
                continue;
            }
            findings.push(match client.release(&wanted.suite) {
                Ok(_) => Finding::good("archive", format!("{} answers and is signed", wanted.name)),
                Err(error) => Finding::not(
                    "archive",
                    State::Note,
                    format!("{}: {}", wanted.name, chain(&error)),
                    "what is locked and fetched can be built all the same, with --offline",
                ),
            });
        }
    }
    findings
}

fn engine(arguments: &EngineArguments) -> Finding {
    match connected(arguments) {
        Ok(engine) => {
            let about = engine.about();
            Finding::good(
                "engine",
                format!(
                    "{} at {}, API {}, {:?} store, {}",
                    about.version,
                    about.endpoint,
                    about.api_version,
                    about.store,
                    about.architecture
                ),
            )
        }
        Err(error) => Finding::not(
            "engine",
            State::Note,
            error
                .chain()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
            "builds need none; `load` and `upgrade` do",
        ),
    }
}
