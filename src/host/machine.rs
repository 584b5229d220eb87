//! What compilers make code for.

use std::path::{Path, PathBuf};

use super::survey::{Family, ask};
use super::tools::{find, search_path};

/// What a gcc makes code for, by its own word: `x86_64-linux-gnu`. It is looked for as
/// [`ToolIdentity::resolve`](super::ToolIdentity::resolve) does.
///
/// `None` where it is not there or does not say, and for clang, which makes code for what it is told to.
pub fn machine(compiler: &str, path_dirs: &[PathBuf]) -> Option<String> {
    if Family::of(compiler) != Some(Family::Gcc) {
        return None;
    }
    let dirs = search_path(path_dirs);
    let driver = find(Path::new(compiler), &dirs)?;
    let answer = ask(&driver, "-dumpmachine", &dirs).ok().flatten()?;
    answer.into_os_string().into_string().ok()
}
