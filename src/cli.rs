//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds container desktops the way Nix builds packages.
///
/// A workspace definition and the lock beside it make the same image, to the byte, on any machine
/// and as any user; without Docker, apt or root.
#[derive(Debug, Parser)]
#[command(name = "kasmforge", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The project's folder: where `workspaces/` is [default: this folder or one above it].
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Where downloads and finished steps are kept.
    #[arg(long, global = true, value_name = "DIR", env = "KASMFORGE_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// A mirror of the archive; may be given several times, the first is asked first.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) mirror: Vec<String>,
    /// Prints results as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Says less; only errors when given.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Says more; twice: what a developer of kasmforge wants to see.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// When to draw progress bars.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) progress: When,
}

/// A choice that a terminal may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begins a project: writes a workspace that comes with kasmforge, and one of your own above it.
    Init(crate::commands::Init),
    /// Builds a workspace's image.
    Build(Build),
    /// Tells what a build would do, and why; does nothing of it.
    Plan(crate::commands::Plan),
    /// Gives the image that was built last to the Docker engine.
    Load(Load),
    /// Gives the image that was built last to a registry; sends only what is missing there.
    Push(crate::commands::push::Push),
    /// Runs the image in the place of the one that runs, once it is healthy.
    Upgrade(crate::commands::upgrade::Upgrade),
    /// Goes back to an earlier generation of the desktop.
    Rollback(crate::commands::rollback::Rollback),
    /// Lists the generations of the desktop.
    History(crate::commands::history::History),
    /// Builds, loads and upgrades in one; with --watch, again after each change.
    Run(crate::commands::run::Run),
    /// Tells how the desktop stands.
    Status(crate::commands::status::Status),
    /// Shows what the desktop writes.
    Logs(crate::commands::logs::Logs),
    /// Runs a command in the desktop's container.
    Exec(crate::commands::exec::Exec),
    /// Opens the desktop in the browser.
    Open(crate::commands::open::Open),
    /// Stops the desktop.
    Stop(crate::commands::stop::Stop),
    /// Removes the desktop and its earlier generations; its volumes stay.
    Down(crate::commands::stop::Stop),
    /// Runs an image in a container of its own and asks it what a desktop must do.
    Checks(crate::commands::checks::Checks),
    /// Brings kasmforge.lock up to date with the definitions.
    Lock(crate::commands::lock::Arguments),
    /// Takes newer packages into kasmforge.lock.
    Update(crate::commands::update::Arguments),
    /// Tells why a package is in a workspace.
    Why(crate::commands::why::Arguments),
    /// Shows a workspace's packages and what they lead to.
    Tree(crate::commands::tree::Arguments),
    /// Tells what changed between two locks.
    Diff(crate::commands::diff::Arguments),
    /// Looks at what builds and upgrades need of this host, and says what mends it.
    Doctor(crate::commands::doctor::Doctor),
    /// Removes from the store what no image that is kept was made of.
    Gc(crate::commands::gc::Gc),
    /// Tells what is in the store.
    Store(crate::commands::store::StoreArguments),
    /// Shows the steps that make an image.
    Graph(crate::commands::graph::Graph),
    /// Tells what an image's bytes are.
    Size(crate::commands::size::Size),
    /// Builds again where everything is different, and compares.
    Verify(crate::commands::verify::Verify),
    /// Makes, checks and imports registries of workspaces for Kasm's servers.
    Registry(crate::commands::registry::Registry),
    /// Prints the JSON Schema of a definition, for editors.
    Schema(crate::commands::schema::Schema),
    /// Speaks with a Kasm server: registers workspaces, starts and stops sessions.
    Kasm(Box<crate::commands::kasm::Kasm>),
    /// Prints a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How the lock and the network are used.
#[derive(Debug, Clone, Args)]
pub(crate) struct Locking {
    /// Fails if kasmforge.lock would change.
    #[arg(long)]
    pub(crate) locked: bool,
    /// Touches no network.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Takes archives that are older than kasmforge.lock knows them: those of a snapshot, say.
    #[arg(long)]
    pub(crate) allow_older: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Build {
    /// The workspace [default: the only one].
    pub(crate) workspace: Option<String>,
    #[command(flatten)]
    pub(crate) locking: Locking,
    /// The architecture the image is for: this host's own, whose programs its packages' scripts run.
    /// Others can be locked.
    #[arg(long, value_name = "ARCH", value_parser = crate::commands::architecture_named)]
    pub(crate) architecture: Option<String>,
    /// Takes every input from a folder that `lock --vendor` wrote, and asks no network: as with
    /// --locked and --offline.
    #[arg(long, value_name = "[oci:]DIR")]
    pub(crate) vendored: Option<String>,
    /// Where the link to the image archive is made [default: `result` in the project].
    #[arg(long, value_name = "PATH")]
    pub(crate) result: Option<PathBuf>,
    /// Also writes the image to this place.
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// As what.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "archive",
        requires = "output"
    )]
    pub(crate) format: OutputFormat,
    /// How its layers are compressed.
    #[arg(long, value_name = "HOW", default_value = "none", requires = "output")]
    pub(crate) compression: OutputCompression,
    /// Also writes a build record: every input by its digest, and what became of it.
    #[arg(long, value_name = "PATH")]
    pub(crate) record: Option<PathBuf>,
    /// Says which inputs of which steps changed since the last build.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// What an image is written out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// One tar for all engines and tools, as `result` is.
    Archive,
    /// A tar that is an OCI layout.
    OciArchive,
    /// A tar as `docker save` writes it.
    DockerArchive,
    /// A folder that is an OCI layout.
    OciDir,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputCompression {
    /// Not at all: what engines load fastest.
    None,
    /// What every registry and engine reads.
    Gzip,
    /// Smaller and faster; engines before Docker 23 cannot read it.
    Zstd,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The workspace [default: the one built last].
    pub(crate) workspace: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
}

/// Which engine is meant.
#[derive(Debug, Args)]
pub(crate) struct EngineArguments {
    /// The engine's address: unix:///path, tcp://host:port, ssh://user@host; for `load` also
    /// containerd:///path?namespace [default: DOCKER_HOST, else Docker's current context].
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
