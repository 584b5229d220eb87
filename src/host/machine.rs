//! What compilers make code for, and which they are.

use std::path::{Path, PathBuf};

use super::ask::ask;
use super::compilers::Family;
use super::tools::{find, search_path};

/// What a gcc makes code for, by its own word: `x86_64-linux-gnu`. It is looked for as
/// [`ToolIdentity::resolve`](super::ToolIdentity::resolve) does.
///
/// `None` where it is not there or does not say, and for clang, which makes code for what it is told to.
pub fn machine(compiler: &str, path_dirs: &[PathBuf]) -> Option<String> {
    asked("-dumpmachine", compiler, path_dirs)
}

/// The whole version of a gcc, by its own word: `12.2.0`. Looked for and `None` as for [`machine`].
pub fn version(compiler: &str, path_dirs: &[PathBuf]) -> Option<String> {
    asked("-dumpfullversion", compiler, path_dirs)
}

fn asked(question: &str, compiler: &str, path_dirs: &[PathBuf]) -> Option<String> {
    if Family::of(compiler) != Some(Family::Gcc) {
        return None;
    }
    let dirs = search_path(path_dirs);
    let driver = find(Path::new(compiler), &dirs)?;
    let answer = ask(&driver, &[question], &dirs).ok().flatten()?;
    answer.into_string().ok()
}
