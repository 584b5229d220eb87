//! Reads the files of a tree in order, with limits.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::lines::lines;
use super::macros::Macros;
use super::parse::Parser;
use super::{Kconfig, KconfigError};

/// The top file.
const ROOT: &str = "Kconfig";

/// The largest nesting depth of `source`.
const MAX_DEPTH: usize = 64;

/// The largest number of files; Linux has some 1,600. A file that sources another one twice doubles it at each step.
const MAX_FILES: usize = 50_000;

/// How a file sources another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sourcing {
    /// `rsource`, `orsource`: relative to the directory of the sourcing file.
    pub(super) relative: bool,
    /// `osource`, `orsource`: a missing file is no error.
    pub(super) optional: bool,
}

pub(super) fn read(tree: &Path, vars: &[(String, String)]) -> Result<Kconfig, KconfigError> {
    let path = tree.join(ROOT);
    let root = read_text(&path).map_err(|source| KconfigError::Root { path, source })?;
    let mut files = Files { tree, depth: 0, parser: Parser::new(Macros::new(vars)) };
    files.text(Path::new(ROOT), &root);
    Ok(files.parser.finish())
}

fn read_text(path: &Path) -> std::io::Result<String> {
    // Reading a pipe could block forever.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

struct Files<'a> {
    tree: &'a Path,
    depth: usize,
    parser: Parser,
}

impl Files<'_> {
    fn text(&mut self, path: &Path, text: &str) {
        let around = self.parser.enter(path);
        for line in lines(text) {
            if let Some((name, sourcing)) = self.parser.line(line.number, &line.text)
                && !self.source(path, &name, sourcing)
            {
                self.parser.skip(line.number, &line.text);
            }
        }
        self.parser.leave(around);
    }

    /// Reads a sourced file; `false` if that is impossible.
    fn source(&mut self, from: &Path, name: &str, sourcing: Sourcing) -> bool {
        let dir = if sourcing.relative { from.parent().unwrap_or(Path::new("")) } else { Path::new("") };
        let path: PathBuf = dir.join(name);
        // Files outside the tree are not read.
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || self.depth == MAX_DEPTH || self.parser.files() >= MAX_FILES {
            return false;
        }
        let Ok(text) = read_text(&self.tree.join(&path)) else { return sourcing.optional };
        self.depth += 1;
        self.text(&path, &text);
        self.depth -= 1;
        true
    }
}
