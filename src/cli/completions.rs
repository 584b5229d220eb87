//! `kiln completions`.

use clap_complete::Shell;

use super::exit::Exit;
use super::terminal::out;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "kiln", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Exit::Done
}
