//! The work directory of one attempt to run an action.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::sandbox::Writable;

/// The directories of one attempt.
#[derive(Debug)]
pub(super) struct WorkDir {
    root: PathBuf,
}

impl WorkDir {
    /// Lays out an empty directory, without the output directory.
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        let work = Self { root };
        make_dir(&work.inputs())?;
        Ok(work)
    }

    /// Makes an empty output directory.
    pub(super) fn make_out(&self) -> io::Result<()> {
        make_dir(&self.out())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Staged inputs, by name.
    pub(super) fn inputs(&self) -> PathBuf {
        self.root.join("in")
    }

    /// The output directory.
    pub(super) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The standard error of watched steps.
    pub(super) fn errors(&self) -> PathBuf {
        self.root.join("errors")
    }

    /// Makes an empty directory for temporary files.
    pub(super) fn make_scratch(&self) -> io::Result<PathBuf> {
        let path = self.root.join("scratch");
        fs::create_dir(&path).map(|()| path)
    }

    /// Makes the directories that take what steps write to an input that is a root.
    pub(super) fn writable(&self, input: &str) -> io::Result<Writable> {
        let home = self.root.join("written").join(input);
        let writable = Writable { upper: home.join("upper"), work: home.join("work") };
        for dir in [&writable.upper, &writable.work] {
            fs::create_dir_all(dir).map_err(|error| with_path(dir, &error))?;
        }
        Ok(writable)
    }
}

/// Makes a directory with permissions that steps may see, whatever the umask is.
fn make_dir(path: &Path) -> io::Result<()> {
    let made = fs::create_dir(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)));
    made.map_err(|error| with_path(path, &error))
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
