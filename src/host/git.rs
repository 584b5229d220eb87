//! git, as far as sources need it: the program, as no library reads every repository that it does.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commit that a revision names in the repository at `path`, in full. The error is what git said.
pub fn commit(path: &Path, revision: &str) -> Result<String, String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(path)
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{revision}^{{commit}}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.is_empty() { format!("there is no commit {revision}") } else { said })
}
