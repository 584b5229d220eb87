//! The commands.

use clap::{CommandFactory, Subcommand};

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::Terminal;
use super::{
    Cli, affected, build, cache, cancel, clean, completions, doctor, history, init, job, labs, log, match_,
    plan, push, query, report, restore, serve, update, verify, why,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build and boot whatever is out of date.
    Build(build::Args),
    /// Show what would run, and why, without running anything.
    Plan(plan::Args),
    /// Fetch results from the remotes, without running anything.
    Restore(restore::Args),
    /// Send results to the remotes.
    Push(push::Args),
    /// Report the status of builds and boots: as a table, or for other programs. Runs nothing.
    Report(report::Args),
    /// Show which nodes a change of a source affects, down to the boards, before it is applied.
    Affected(affected::Args),
    /// Show which boards can boot a kernel with a given .config.
    Match(match_::Args),
    /// Show which labs can boot what, and why others can't.
    Labs(labs::Args),
    /// Show the job that a lab would be sent.
    Job(job::Args),
    /// Cancel jobs that were left at labs.
    Cancel(cancel::Args),
    /// Explain why a node is stale, or why it is fresh.
    Why(why::Args),
    /// Run nodes again from nothing, and compare: do they make the same bits?
    Verify(verify::Args),
    /// Show the log of a node's last run.
    Log(log::Args),
    /// List a node's recorded runs, with the reasons.
    History(history::Args),
    /// Query the shape of the graph.
    Query(query::Args),
    /// Lock the latest stage3s of the mirrors.
    Update(update::Args),
    /// Maintain the cache: its limits, figures, damage.
    Cache(cache::Args),
    /// Serve the files that are published for labs, if there is no other web server.
    Serve(serve::Args),
    /// Remove outputs, or the whole cache.
    Clean(clean::Args),
    /// Check what this host has and lacks.
    Doctor(doctor::Args),
    /// Start a project: a commented graph.ron and working rules.
    Init(init::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

impl Command {
    pub(super) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Build(args) => build::run(args, terminal),
            Self::Plan(args) => plan::run(args, terminal),
            Self::Restore(args) => restore::run(args, terminal),
            Self::Push(args) => push::run(args, terminal),
            Self::Report(args) => report::run(args, terminal),
            Self::Affected(args) => affected::run(args, terminal),
            Self::Match(args) => match_::run(args, terminal),
            Self::Labs(args) => labs::run(args, terminal),
            Self::Job(args) => job::run(args, terminal),
            Self::Cancel(args) => cancel::run(args, terminal),
            Self::Why(args) => why::run(args, terminal),
            Self::Verify(args) => verify::run(args, terminal),
            Self::Log(args) => log::run(args),
            Self::History(args) => history::run(args, terminal),
            Self::Query(args) => query::run(args),
            Self::Update(args) => update::run(args, terminal),
            Self::Cache(args) => cache::run(args, terminal),
            Self::Serve(args) => serve::run(args, terminal),
            Self::Clean(args) => clean::run(args, terminal),
            Self::Doctor(args) => doctor::run(args, terminal),
            Self::Init(args) => init::run(args, terminal),
            Self::Completions(args) => Ok(completions::run(args, &mut Cli::command())),
        }
    }
}
