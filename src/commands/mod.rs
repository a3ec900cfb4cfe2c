//! The commands: one file each, and what several of them share.

mod build;
pub(crate) mod checks;
mod completions;
pub(crate) mod diff;
pub(crate) mod doctor;
mod engine;
pub(crate) mod exec;
pub(crate) mod gc;
pub(crate) mod graph;
pub(crate) mod history;
mod init;
pub(crate) mod kasm;
mod load;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod open;
mod plan;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod size;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod tree;
pub(crate) mod update;
pub(crate) mod upgrade;
pub(crate) mod verify;
pub(crate) mod why;

pub(crate) use init::Init;
pub(crate) use plan::Plan;

use kasmforge_store::Store;

use crate::cli::{Arguments, Command, Global};
use crate::printer::Printer;
use crate::project::Project;
use crate::settings::Settings;

/// Carries a command out.
pub(crate) fn run(arguments: Arguments, printer: &Printer) -> anyhow::Result<()> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Init(wanted) => init::run(&wanted, &global, printer),
        Command::Registry(wanted) => registry::run(&wanted, &global, printer),
        Command::Schema(wanted) => schema::run(&wanted, printer),
        Command::Kasm(wanted) => kasm::run(&wanted, &global, printer),
        Command::Completions { shell } => completions::run(shell, printer),
        Command::Doctor(wanted) => doctor::run(&wanted, &global, printer),
        Command::Graph(wanted) => graph::run(
            &wanted,
            &Project::find(global.directory.as_deref())?,
            printer,
        ),
        Command::Size(wanted) => size::run(&wanted, &Context::new(&global)?, printer),
        Command::Gc(wanted) => gc::run(&wanted, &Settings::resolve(&global)?, printer),
        Command::Store(wanted) => store::run(&wanted, &Settings::resolve(&global)?, printer),
        Command::Verify(wanted) if wanted.normalisers => verify::normalisers(printer),
        Command::Verify(wanted) => verify::run(&wanted, &Context::new(&global)?, printer),
        Command::Build(wanted) => build::run(&wanted, &Context::new(&global)?, printer),
        Command::Plan(wanted) => plan::run(&wanted, &Context::new(&global)?, printer),
        Command::Load(wanted) => load::run(&wanted, &Context::new(&global)?, printer),
        Command::Push(wanted) => push::run(&wanted, &Context::new(&global)?, printer),
        Command::Upgrade(wanted) => upgrade::run(&wanted, &Context::new(&global)?, printer),
        Command::Checks(wanted) => checks::run(&wanted, &Context::new(&global)?, printer),
        Command::Rollback(wanted) => rollback::run(&wanted, &Context::new(&global)?, printer),
        Command::History(wanted) => history::run(&wanted, &Context::new(&global)?, printer),
        Command::Run(wanted) => run::run(&wanted, &Context::new(&global)?, printer),
        Command::Status(wanted) => status::run(&wanted, &Context::new(&global)?, printer),
        Command::Logs(wanted) => logs::run(&wanted, &Context::new(&global)?, printer),
        Command::Exec(wanted) => exec::run(&wanted, &Context::new(&global)?),
        Command::Open(wanted) => open::run(&wanted, &Context::new(&global)?, printer),
        Command::Stop(wanted) => stop::stop(&wanted, &Context::new(&global)?, printer),
        Command::Down(wanted) => stop::down(&wanted, &Context::new(&global)?, printer),
        Command::Lock(wanted) => lock::run(&wanted, &global, printer),
        Command::Update(wanted) => update::run(&wanted, &Context::new(&global)?, printer),
        Command::Why(wanted) => why::run(&wanted, &global, printer),
        Command::Tree(wanted) => tree::run(&wanted, &global, printer),
        Command::Diff(wanted) => diff::run(&wanted, &global, printer),
    }
}

/// What the commands that work on a project share.
pub(crate) struct Context {
    pub(crate) project: Project,
    pub(crate) settings: Settings,
    pub(crate) store: Store,
}

impl Context {
    fn new(global: &Global) -> anyhow::Result<Self> {
        let project = Project::find(global.directory.as_deref())?;
        let settings = Settings::resolve(global)?;
        let store = Store::open(&settings.store)?;
        Ok(Self {
            project,
            settings,
            store,
        })
    }
}

/// An architecture as it was typed: whether an archive has it is for the archive to say.
pub(crate) fn architecture_named(text: &str) -> Result<String, String> {
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !["all", "any", "native"].contains(&text);
    match text {
        _ if good => Ok(text.to_owned()),
        "x86_64" | "x86-64" => Err("Debian calls it `amd64`".to_owned()),
        "aarch64" => Err("Debian calls it `arm64`".to_owned()),
        _ => Err("Debian's name of an architecture is wanted: `amd64`, `arm64`".to_owned()),
    }
}

/// Debian's name of the architecture images are made for: the host's own.
pub(crate) fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => anyhow::bail!(
            "images are built for amd64 and arm64 on hosts of the same kind; this one is {other}"
        ),
    }
}
