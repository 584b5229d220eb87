//! Programs, libraries and files of the host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::finding::{Finding, State};
use crate::host::{ToolError, ToolIdentity, library, package_of};
use crate::source::FileDigests;

/// A compiler, and the directories in which it is looked up first.
pub(super) type Compiler = (String, Vec<PathBuf>);

/// A program.
pub(super) fn program(tool: &str, dirs: &[PathBuf], if_missing: State) -> Finding {
    let files = FileDigests::open(Path::new("/nonexistent"));
    let what = tool.to_owned();
    match ToolIdentity::resolve(tool, dirs, &files) {
        Ok(identity) => {
            let version =
                version(&identity.program).map(|version| format!(" ({version})")).unwrap_or_default();
            let found = format!("{}{version}", identity.program.display());
            Finding { what, state: State::Fine, found, remedy: None }
        }
        Err(ToolError::Missing { package, .. }) => Finding {
            what,
            state: if_missing,
            found: "not installed".to_owned(),
            remedy: package.map(|package| format!("apt-get install {package}")),
        },
        Err(error) => Finding { what, state: State::Missing, found: error.to_string(), remedy: None },
    }
}

/// The version of a program, if it is one whose version matters: a compiler, make, git or QEMU.
fn version(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let has_version = ["gcc", "clang", "make", "git"].iter().any(|tool| name.ends_with(tool))
        || name.starts_with("qemu-system");
    if !has_version {
        return None;
    }
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// A file or directory.
pub(super) fn path(path: &Path) -> Finding {
    let what = path.display().to_string();
    if path.exists() {
        return Finding { what, state: State::Fine, found: "there".to_owned(), remedy: None };
    }
    // An absent path is a value of the key; only the build can tell whether it does without.
    let remedy = package_of(&what).map(|package| format!("apt-get install {package}"));
    Finding { what, state: State::Absent, found: "not there".to_owned(), remedy }
}

/// A library, if any of these compilers finds it.
pub(super) fn installed_library(name: &str, compilers: &BTreeSet<Compiler>) -> Finding {
    let what = format!("library {name}");
    let files = FileDigests::open(Path::new("/nonexistent"));
    let is_found = |(compiler, dirs): &Compiler| {
        let found = library(name, std::slice::from_ref(compiler), dirs, &files);
        found.is_ok_and(|found| found.entries().next().is_some())
    };
    if compilers.iter().any(is_found) {
        return Finding { what, state: State::Fine, found: "there".to_owned(), remedy: None };
    }
    let remedy = package_of(&format!("lib{name}.so")).map(|package| format!("apt-get install {package}"));
    Finding { what, state: State::Absent, found: "not there".to_owned(), remedy }
}
