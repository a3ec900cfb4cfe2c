//! The `kasmforge` command.

mod changelog;
mod cli;
mod commands;
mod exit;
mod fetching;
mod locking;
mod printer;
mod progress;
mod project;
mod pushing;
mod reasons;
mod recording;
mod render;
mod settings;
mod shipped;
mod suite;
mod vendored;
mod verifying;
mod whole_file;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // First of all: this very program is also the inner half of the sandbox.
    kasmforge_sandbox::enter_if_asked();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::of_usage(&error),
    };
    let printer = printer::Printer::new(&arguments.global);
    match commands::run(arguments, &printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::of(&error, &printer),
    }
}
