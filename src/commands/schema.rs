//! `kasmforge schema`

use clap::{Args, ValueEnum};

use crate::printer::Printer;

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Which file's.
    #[arg(value_name = "FILE", default_value = "definition")]
    of: Of,
}

/// The files people write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// A workspace or a module.
    Definition,
    /// `registry.toml`.
    Registry,
}

/// Prints the JSON Schema of a file people write.
pub(crate) fn run(wanted: &Schema, printer: &Printer) -> anyhow::Result<()> {
    let schema = match wanted.of {
        Of::Definition => kasmforge_spec::schema(),
        Of::Registry => kasmforge_spec::registry_schema(),
    };
    Ok(printer.raw(&schema)?)
}
