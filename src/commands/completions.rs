//! `kasmforge completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::printer::Printer;

/// Prints a shell's completions.
pub(crate) fn run(shell: Shell, printer: &Printer) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kasmforge", &mut text);
    Ok(printer.raw(&String::from_utf8_lossy(&text))?)
}
