//! The command line: one file a command.
//!
//! Only here is anything printed, the environment read, or the exit code chosen.

mod affected;
mod build;
mod cache;
mod cancel;
mod clean;
mod completions;
mod doctor;
mod exit;
mod format;
mod history;
mod init;
mod job;
mod labs;
mod log;
mod match_;
mod needs;
mod plan;
mod project;
mod push;
mod query;
mod remotes;
mod report;
mod restore;
mod serve;
mod terminal;
mod trees;
mod update;
mod verify;
mod why;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;
use exit::Failure;
use terminal::{ColorChoice, Terminal};

/// A declarative build-graph engine with a cache, for kernel CI.
///
/// Describes kernels, boards and labs in graph.ron and rules/*.ron, builds and boots what is stale, and says why.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    /// Work in this directory, as if kiln had been started there.
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Color the output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorChoice,
    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run what is stale.
    Build(build::Args),
    /// Show what would run, and why, without running anything.
    Plan(plan::Args),
    /// Fetch what the remotes have of it, and run nothing.
    Restore(restore::Args),
    /// Send results to the remotes that are written to.
    Push(push::Args),
    /// Report where builds and boots stand: as a table, or for other programs. Runs nothing.
    Report(report::Args),
    /// Tell which nodes a change of a source touches, down to the boards, before it is applied.
    Affected(affected::Args),
    /// Tell which boards can boot a kernel of a .config.
    Match(match_::Args),
    /// Show which labs can boot what, and why others can't.
    Labs(labs::Args),
    /// Show the job that a lab would be sent.
    Job(job::Args),
    /// Cancel jobs that were left at labs.
    Cancel(cancel::Args),
    /// Explain why a node is stale, or why it is fresh.
    Why(why::Args),
    /// Run again what has a result, from nothing, and compare: does it make the same bits?
    Verify(verify::Args),
    /// Show the log of a node's last run.
    Log(log::Args),
    /// List a node's recorded runs, and what made them run.
    History(history::Args),
    /// Ask about the graph's shape.
    Query(query::Args),
    /// Ask the mirrors for the latest stage3s, and lock them.
    Update(update::Args),
    /// Look after the cache: its bounds, figures, damage.
    Cache(cache::Args),
    /// Serve what is published for labs, in small set-ups without another web server.
    Serve(serve::Args),
    /// Remove outputs, or the whole cache.
    Clean(clean::Args),
    /// Check what this host has and lacks.
    Doctor(doctor::Args),
    /// Start a project: a commented graph.ron and rules that work.
    Init(init::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

/// Runs the command line of this process.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Spec } else { Exit::Done };
        }
    };
    let terminal = Terminal::new(cli.color, cli.quiet);
    let done = run(cli, &terminal);
    done.unwrap_or_else(|failure| {
        terminal.failure(&failure);
        failure.exit
    })
}

fn run(cli: Cli, terminal: &Terminal) -> Result<Exit, Failure> {
    if let Some(directory) = &cli.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            Failure::new(Exit::Spec, format!("can't work in {}: {error}", directory.display()))
        })?;
    }
    match cli.command {
        Command::Build(args) => build::run(&args, terminal),
        Command::Plan(args) => plan::run(&args, terminal),
        Command::Restore(args) => restore::run(&args, terminal),
        Command::Push(args) => push::run(&args, terminal),
        Command::Report(args) => report::run(&args, terminal),
        Command::Affected(args) => affected::run(&args, terminal),
        Command::Match(args) => match_::run(&args, terminal),
        Command::Labs(args) => labs::run(&args, terminal),
        Command::Job(args) => job::run(&args, terminal),
        Command::Cancel(args) => cancel::run(&args, terminal),
        Command::Why(args) => why::run(&args, terminal),
        Command::Verify(args) => verify::run(&args, terminal),
        Command::Log(args) => log::run(&args),
        Command::History(args) => history::run(&args, terminal),
        Command::Query(args) => query::run(&args),
        Command::Update(args) => update::run(&args, terminal),
        Command::Cache(args) => cache::run(&args, terminal),
        Command::Serve(args) => serve::run(&args, terminal),
        Command::Clean(args) => clean::run(&args, terminal),
        Command::Doctor(args) => doctor::run(&args, terminal),
        Command::Init(args) => init::run(&args, terminal),
        Command::Completions(args) => Ok(completions::run(&args, &mut Cli::command())),
    }
}
