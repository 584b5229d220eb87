//! `kiln completions`.

use clap_complete::Shell;

use super::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command) -> Exit {
    clap_complete::generate(args.shell, command, "kiln", &mut std::io::stdout());
    Exit::Done
}
