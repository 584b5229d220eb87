//! The command line: one file per command. Commands parse, call the session, and print.
//!
//! Only here is anything printed, the environment read, or the exit code chosen.

mod affected;
mod build;
mod cache;
mod cancel;
mod clean;
mod command;
mod completions;
mod doctor;
mod exit;
mod failure;
mod format;
mod history;
mod init;
mod job;
mod labs;
mod log;
mod match_;
mod plan;
mod progress;
mod project;
mod push;
mod query;
mod report;
mod restore;
mod run;
mod serve;
mod signals;
mod terminal;
mod update;
mod verify;
mod wanted;
mod why;

use std::path::PathBuf;

use clap::Parser;
use command::Command;
pub use exit::Exit;
use failure::Failure;
use terminal::{ColorChoice, Terminal};

/// A declarative build-graph engine with a cache, for kernel CI.
///
/// Describes kernels, boards and labs in graph.ron and rules/*.ron, builds and boots whatever is out of date, and says why.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    /// Work in this directory, as if kiln had been started there.
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Color the output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorChoice,
    /// Print only errors.
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// Runs the command line of this process.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are reported the same way, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Spec } else { Exit::Done };
        }
    };
    let terminal = Terminal::new(cli.color, cli.quiet);
    run(&cli, &terminal).unwrap_or_else(|failure| {
        terminal.failure(&failure);
        failure.exit
    })
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<Exit, Failure> {
    if let Some(directory) = &cli.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            Failure::new(Exit::Spec, format!("can't work in {}: {error}", directory.display()))
        })?;
    }
    cli.command.run(terminal)
}
