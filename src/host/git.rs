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

/// What differs below `path` between two commits of its repository, as `git diff --raw -z` says it: names are relative
/// to `path`. The error is what git said.
pub fn raw_diff(path: &Path, range: &str) -> Result<Vec<u8>, String> {
    run(
        path,
        &["diff", "--raw", "-z", "--no-renames", "--no-abbrev", "--relative", "--ignore-submodules=none"],
        &[range],
    )
}

/// The commits that lie between two and change one of these files, newest first, each as its short id and subject; at
/// most `limit`. The error is what git said.
pub fn log(
    path: &Path,
    from: &str,
    to: &str,
    files: &[&Path],
    limit: usize,
) -> Result<Vec<(String, String)>, String> {
    let limit = format!("--max-count={limit}");
    let mut operands: Vec<&std::ffi::OsStr> = Vec::new();
    let range = format!("{from}..{to}");
    operands.extend([range.as_ref(), std::ffi::OsStr::new("--")]);
    operands.extend(files.iter().map(|file| file.as_os_str()));
    let said =
        run(path, &["log", "--no-show-signature", "--no-color", "-z", "--format=%h %s", &limit], &operands)?;
    let lines = said.split(|&byte| byte == 0).filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        line.split_once(' ').map_or_else(
            || (line.clone(), String::new()),
            |(id, subject)| (id.to_owned(), subject.to_owned()),
        )
    });
    Ok(lines.collect())
}

/// What git prints. Names are taken as they are, without wildcards.
fn run(path: &Path, command: &[&str], operands: &[impl AsRef<std::ffi::OsStr>]) -> Result<Vec<u8>, String> {
    let output = Command::new("git")
        .arg("--literal-pathspecs")
        .arg("-C")
        .arg(path)
        .args(command)
        .arg("--end-of-options")
        .args(operands)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The first line says what is wrong, the others how git is used.
    let said = said.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
    Err(if said.is_empty() { format!("git ended with {}", output.status) } else { said.to_owned() })
}
