//! Questions that programs answer about themselves.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::tools::ToolError;

/// What a program says to these arguments, without white space around it; `None` if it does not understand them.
pub(super) fn ask(
    program: &Path,
    arguments: &[&str],
    dirs: &[PathBuf],
) -> Result<Option<OsString>, ToolError> {
    let text = run(program, arguments, dirs)?.map(|(said, _)| said.trim_ascii().to_vec());
    Ok(text.filter(|text| !text.is_empty()).map(OsString::from_vec))
}

/// What it says on standard error.
pub(super) fn ask_errors(
    program: &Path,
    arguments: &[&str],
    dirs: &[PathBuf],
) -> Result<Option<String>, ToolError> {
    Ok(run(program, arguments, dirs)?.map(|(_, said)| String::from_utf8_lossy(&said).into_owned()))
}

fn run(
    program: &Path,
    arguments: &[&str],
    dirs: &[PathBuf],
) -> Result<Option<(Vec<u8>, Vec<u8>)>, ToolError> {
    let failed =
        |source| ToolError::Ask { program: program.to_owned(), question: arguments.join(" "), source };
    let path = std::env::join_paths(dirs).map_err(|error| failed(std::io::Error::other(error)))?;
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    Ok(output.status.success().then_some((output.stdout, output.stderr)))
}
