//! `kasmforge schema`

use crate::printer::Printer;

/// Prints the JSON Schema of a definition.
pub(crate) fn run(printer: &Printer) -> anyhow::Result<()> {
    Ok(printer.raw(&kasmforge_spec::schema())?)
}
