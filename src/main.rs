//! The `kiln` binary.

use std::env;
use std::process::ExitCode;

use kiln::cli;
use kiln::exec::sandbox;

fn main() -> ExitCode {
    // Before all else: a helper must still be single-threaded, and needs nothing of the command line's.
    if env::args_os().nth(1).is_some_and(|argument| argument == sandbox::HELPER_ARGUMENT) {
        sandbox::helper_main();
    }
    cli::main().into()
}
