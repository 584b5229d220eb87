//! git, as far as sources need it: the program, as no library reads every repository that it does.
//!
//! A repository is somebody else's: its configuration, replacement refs and hooks are content, and none of them may
//! run a command, change what an object holds, or reach the network. [`command`] sees to that for every call.

mod object_id;
mod objects;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use object_id::ObjectId;
pub use objects::{Commit, EntryMode, ObjectError, ObjectKind, Objects, Part, TreeEntry};

/// Variables that lead git to another repository than the one it is asked about: a hook that runs kiln sets them.
const REDIRECTING: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repository {
    /// The one that this directory is in.
    Around(PathBuf),
    /// The one whose data is in this directory, whatever its configuration says of a work tree.
    GitDir(PathBuf),
}

impl Repository {
    /// Its place, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::Around(path) | Self::GitDir(path) => path,
        }
    }

    /// git, asked about this repository.
    fn command(&self) -> Command {
        match self {
            Self::Around(path) => command(path),
            Self::GitDir(path) => {
                let mut git = command(path);
                git.args(["--git-dir=.", "--work-tree=."]);
                git
            }
        }
    }
}

/// git, asked about the repository at `path`, with what a repository could do to it switched off.
fn command(path: &Path) -> Command {
    let mut git = Command::new("git");
    for variable in REDIRECTING {
        git.env_remove(variable);
    }
    git.env("GIT_NO_REPLACE_OBJECTS", "1")
        // There is no such file, and so there are no grafts.
        .env("GIT_GRAFT_FILE", "/dev/null/none")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        // Objects that a partial clone lacks are missing. Older gits know the second alone.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .args(["--no-pager", "--literal-pathspecs"])
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .arg("-C")
        .arg(path)
        .stdin(Stdio::null());
    git
}

/// The commit that a revision names in the repository around `path`, in full. The error is what git said.
pub fn commit(path: &Path, revision: &str) -> Result<ObjectId, String> {
    let output = command(path)
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{revision}^{{commit}}"))
        .output()
        .map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return ObjectId::parse(said.trim())
            .ok_or_else(|| format!("git gives {revision} a strange name: {said}"));
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.is_empty() { format!("there is no commit {revision}") } else { said })
}

/// Where below the top of its repository `path` is; empty at the top. The error is what git said.
pub fn prefix(path: &Path) -> Result<PathBuf, String> {
    rev_parse(path, &["--show-prefix"])
}

/// Directories in which a repository keeps its data: its own, and the one that it shares with other work trees. The
/// error is what git said.
pub fn data_dirs(repository: &Repository) -> Result<Vec<PathBuf>, String> {
    let path = match repository {
        Repository::GitDir(path) => return Ok(vec![path.clone()]),
        Repository::Around(path) => path,
    };
    let own = rev_parse(path, &["--absolute-git-dir"])?;
    let common = path.join(rev_parse(path, &["--git-common-dir"])?);
    Ok(vec![own, common])
}

/// The top of the work tree that `path` is in; `None` for a repository without one.
pub fn work_tree(path: &Path) -> Option<PathBuf> {
    rev_parse(path, &["--show-toplevel"]).ok().filter(|top| top.is_absolute())
}

/// Paths and names of the submodules that a `.gitmodules` of this content tells of. The error is what git said.
pub fn submodule_names(content: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
    let mut git = command(Path::new("/"));
    git.args(["config", "--no-includes", "--null", "--list", "--file", "-"]);
    let mut git = git
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("git can't be run: {error}"))?;
    let mut stdin = git.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        // It may end before it has read all of what it can't understand.
        scope.spawn(move || stdin.write_all(content));
        git.wait_with_output()
    });
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let settings = output.stdout.split(|&byte| byte == 0).filter_map(|setting| {
        let at = setting.iter().position(|&byte| byte == b'\n')?;
        let name = setting[..at].strip_prefix(b"submodule.")?.strip_suffix(b".path")?;
        Some((setting[at + 1..].to_vec(), name.to_vec()))
    });
    Ok(settings.collect())
}

fn rev_parse(path: &Path, question: &[&str]) -> Result<PathBuf, String> {
    let said = said(command(path).arg("rev-parse").args(question))?;
    Ok(PathBuf::from(OsStr::from_bytes(said.strip_suffix(b"\n").unwrap_or(&said))))
}

/// What differs below `path` between two commits of its repository, as `git diff --raw -z` says it: names are relative
/// to `path`. The error is what git said.
pub fn raw_diff(path: &Path, range: &str) -> Result<Vec<u8>, String> {
    run(
        path,
        &[
            "diff",
            "--raw",
            "-z",
            "--no-renames",
            "--no-abbrev",
            "--relative",
            "--ignore-submodules=none",
            "--no-ext-diff",
            "--no-textconv",
        ],
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
fn run(path: &Path, arguments: &[&str], operands: &[impl AsRef<OsStr>]) -> Result<Vec<u8>, String> {
    said(command(path).args(arguments).arg("--end-of-options").args(operands))
}

fn said(git: &mut Command) -> Result<Vec<u8>, String> {
    let output = git.output().map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The first line says what is wrong, the others how git is used.
    let said = said.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
    Err(if said.is_empty() { format!("git ended with {}", output.status) } else { said.to_owned() })
}
