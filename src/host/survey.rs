//! Everything that runs when a program runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rayon::prelude::*;

use super::elf::Elf;
use super::libraries::LibraryDirs;
use super::path::HostPath;
use super::tools::{ToolError, find};
use crate::digest::Digest;
use crate::source::FileDigests;

/// Programs that gcc runs.
const GCC_PROGRAMS: [&str; 7] = ["cc1", "as", "ld", "collect2", "lto1", "lto-wrapper", "cc1plus"];

/// Files that gcc reads, or hands to the linker, whatever the source.
const GCC_FILES: [&str; 14] = [
    "libgcc.a",
    "libgcc_eh.a",
    "liblto_plugin.so",
    "specs",
    "include",
    "include-fixed",
    "crt1.o",
    "Scrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtend.o",
    "crtendS.o",
];

/// A survey under way.
pub struct Survey<'a> {
    files: &'a FileDigests,
    /// Where programs are looked for.
    dirs: &'a [PathBuf],
    libraries: LibraryDirs,
    components: BTreeMap<PathBuf, Digest>,
    guards: BTreeSet<PathBuf>,
}

/// Which questions a compiler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Gcc,
    Clang,
}

impl Family {
    /// By the name of the driver, less its version.
    pub fn of(name: &str) -> Option<Self> {
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
        let ends = |names: &[&str]| names.iter().any(|name| bare.ends_with(name));
        if ends(&["clang", "clang++"]) {
            Some(Self::Clang)
        } else if ends(&["gcc", "g++", "cc", "c++"]) {
            Some(Self::Gcc)
        } else {
            None
        }
    }
}

impl<'a> Survey<'a> {
    pub fn new(files: &'a FileDigests, dirs: &'a [PathBuf]) -> Self {
        let libraries = LibraryDirs::of_host();
        // In any of these, something new may be found before what was found now.
        let guards = dirs.iter().chain(&libraries.dirs).chain(&libraries.said_by).cloned().collect();
        Self { files, dirs, libraries, components: BTreeMap::new(), guards }
    }

    pub fn finish(self) -> (Vec<(PathBuf, Digest)>, Vec<PathBuf>) {
        (self.components.into_iter().collect(), self.guards.into_iter().collect())
    }

    /// The program at `path`, what it loads, and what it runs as far as that can be asked.
    pub fn program(&mut self, path: &Path) -> Result<(), ToolError> {
        let Some(real) = self.file(path)? else { return Ok(()) };
        let name = |path: &Path| path.file_name().and_then(OsStr::to_str).and_then(Family::of);
        match name(&real).or_else(|| name(path)) {
            Some(Family::Gcc) => self.gcc(path),
            Some(Family::Clang) => self.clang(path),
            None => Ok(()),
        }
    }

    /// A file, and what the kernel and the loader take in to run it. Its real path, unless it is known already.
    fn file(&mut self, path: &Path) -> Result<Option<PathBuf>, ToolError> {
        let failed = |source| ToolError::Unreadable { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(failed)?;
        if self.components.contains_key(&real) {
            return Ok(None);
        }
        let digest = self.files.digest(&real).map_err(failed)?;
        self.components.insert(real.clone(), digest);
        if let Some(elf) = Elf::read(&real) {
            self.loaded(&elf, &real)?;
        } else if let Some(line) = script(&real) {
            self.script(&line)?;
        }
        Ok(Some(real))
    }

    fn loaded(&mut self, elf: &Elf, real: &Path) -> Result<(), ToolError> {
        if let Some(interpreter) = &elf.interpreter {
            self.maybe(Path::new(OsStr::from_bytes(interpreter)))?;
        }
        for name in &elf.needed {
            match self.libraries.find(name, elf, real, &mut self.guards) {
                Some(library) => {
                    self.file(&library)?;
                }
                // The program will not start. That it does not is part of what it is.
                None => self.maybe(Path::new(OsStr::from_bytes(name)))?,
            }
        }
        Ok(())
    }

    /// The interpreter of a script; `env` runs one that is looked for like any program.
    fn script(&mut self, line: &[u8]) -> Result<(), ToolError> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next().map(|word| Path::new(OsStr::from_bytes(word))) else {
            return Ok(());
        };
        self.maybe(interpreter)?;
        if interpreter.file_name() == Some(OsStr::new("env"))
            && let Some(name) = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))
            && let Some(path) = find(Path::new(OsStr::from_bytes(name)), self.dirs)
        {
            self.file(&path)?;
        }
        Ok(())
    }

    /// A file, or that there is none.
    fn maybe(&mut self, path: &Path) -> Result<(), ToolError> {
        if path.exists() {
            self.file(path)?;
        } else {
            let absent = HostPath { path: path.to_owned(), state: super::HostState::Absent };
            self.components.insert(path.to_owned(), absent.digest());
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> Result<(), ToolError> {
        let failed = |source| ToolError::Unreadable { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(failed)?;
        let digest = HostPath::resolve(&real, self.files)?.digest();
        self.components.insert(real, digest);
        Ok(())
    }

    fn gcc(&mut self, driver: &Path) -> Result<(), ToolError> {
        let questions: Vec<String> = std::iter::once("-print-search-dirs".to_owned())
            .chain(GCC_PROGRAMS.iter().map(|name| format!("-print-prog-name={name}")))
            .chain(GCC_FILES.iter().map(|name| format!("-print-file-name={name}")))
            .collect();
        // Each answer takes a process of its own.
        let answers: Vec<Option<PathBuf>> = questions
            .par_iter()
            .map(|question| ask(driver, question, self.dirs))
            .collect::<Result<_, ToolError>>()?;
        let mut answers = answers.into_iter();

        // What gcc does not find now, it may find in one of these later.
        if let Some(text) = answers.next().flatten() {
            let text = text.as_os_str().to_string_lossy().into_owned();
            let lists = text.lines().filter_map(|line| line.split_once(": =")).map(|(_, list)| list);
            self.guards.extend(lists.flat_map(|list| list.split(':')).map(PathBuf::from));
        }
        for answer in answers.by_ref().take(GCC_PROGRAMS.len()).flatten() {
            // A bare name is one that the driver leaves to the search path.
            if let Some(path) = find(&answer, self.dirs) {
                self.file(&path)?;
            }
        }
        for answer in answers.flatten().filter(|path| path.is_absolute()) {
            if answer.is_dir() {
                self.directory(&answer)?;
            } else if answer.exists() {
                self.file(&answer)?;
            }
        }
        Ok(())
    }

    fn clang(&mut self, driver: &Path) -> Result<(), ToolError> {
        if let Some(resources) = ask(driver, "-print-resource-dir", self.dirs)? {
            let include = resources.join("include");
            self.guards.insert(resources);
            if include.is_dir() {
                self.directory(&include)?;
            }
        }
        Ok(())
    }
}

/// What the compiler answers; `None` if it does not know the question.
pub(super) fn ask(driver: &Path, question: &str, dirs: &[PathBuf]) -> Result<Option<PathBuf>, ToolError> {
    let failed = |source| ToolError::Ask { driver: driver.to_owned(), question: question.to_owned(), source };
    let path = std::env::join_paths(dirs).map_err(|error| failed(std::io::Error::other(error)))?;
    let output = Command::new(driver)
        .arg(question)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = output.stdout.trim_ascii().to_vec();
    Ok((!text.is_empty()).then(|| std::ffi::OsString::from_vec(text).into()))
}

/// What follows the `#!` of a script.
fn script(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    Some(line.to_vec())
}
