//! Everything that a program needs of the host.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::closure::{Closure, HostEntry, is_absent};
use super::elf::Elf;
use super::libraries::LibraryDirs;
use super::tools::{ToolError, find};
use crate::source::FileDigests;

/// As many links as the kernel follows on one path.
const MAX_LINKS: usize = 40;

/// Links of the root with which a host says that a program or library is found by either path.
const ROOT_LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What may be taken for the text of a linker script, in bytes.
const LINKER_SCRIPT: u64 = 4096;

/// A survey under way.
pub(super) struct Survey<'a> {
    files: &'a FileDigests,
    /// Where programs are looked for.
    pub(super) dirs: &'a [PathBuf],
    libraries: LibraryDirs,
    closure: Closure,
    /// Files whose own needs are in the closure already.
    followed: BTreeSet<PathBuf>,
    guards: BTreeSet<PathBuf>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(files: &'a FileDigests, dirs: &'a [PathBuf]) -> Self {
        let libraries = LibraryDirs::of_host();
        // In any of these, something new may be found before what was found now.
        let guards = dirs.iter().chain(&libraries.dirs).chain(&libraries.said_by).cloned().collect();
        Self { files, dirs, libraries, closure: Closure::default(), followed: BTreeSet::new(), guards }
    }

    /// The links of the root.
    pub(super) fn root_links(&mut self) {
        for path in ROOT_LINKS.map(PathBuf::from) {
            if let Ok(target) = fs::read_link(&path) {
                self.closure.insert(path, HostEntry::Link(target));
            }
        }
    }

    /// What was found, and the directories in which something else could have been.
    pub(super) fn finish(self) -> (Closure, Vec<PathBuf>) {
        (self.closure, self.guards.into_iter().collect())
    }

    /// Adds directories in which something else may be found later.
    pub(super) fn guard(&mut self, dirs: impl IntoIterator<Item = PathBuf>) {
        self.guards.extend(dirs);
    }

    /// The program at `path`, what it loads, and what it runs and reads as far as that is known.
    pub(super) fn program(&mut self, path: &Path) -> Result<(), ToolError> {
        if let Some(real) = self.file(path)? {
            self.needs_of(path, &real)?;
        }
        Ok(())
    }

    /// A program that another one looks for by name, if there is one.
    pub(super) fn helper(&mut self, name: &Path) -> Result<(), ToolError> {
        match find(name, self.dirs) {
            Some(path) => self.program(&path),
            None => Ok(()),
        }
    }

    /// What is at `path`: a file with what it takes to run it, a directory, or nothing.
    pub(super) fn path(&mut self, path: &Path) -> Result<(), ToolError> {
        match self.real(path)? {
            Some(real) if real.is_dir() => self.directory(&real),
            Some(real) => self.file(&real).map(drop),
            None => Ok(()),
        }
    }

    /// A file, and what the kernel and the loader take in to run it. Its real path, unless it was followed already, or
    /// is not there.
    pub(super) fn file(&mut self, path: &Path) -> Result<Option<PathBuf>, ToolError> {
        let Some(real) = self.real(path)? else { return Ok(None) };
        if !self.followed.insert(real.clone()) {
            return Ok(None);
        }
        let entry = HostEntry::seen(&real, self.files)?;
        self.closure.insert(real.clone(), entry);
        if let Some(elf) = Elf::read(&real) {
            self.loaded(&elf, &real)?;
        } else if let Some(line) = script(&real) {
            self.script(&line)?;
        }
        Ok(Some(real))
    }

    /// A directory with all that is in it, if it is there.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), ToolError> {
        if let Some(real) = self.real(path)?
            && !self.closure.has(&real)
        {
            let entry = HostEntry::seen(&real, self.files)?;
            self.closure.insert(real, entry);
        }
        Ok(())
    }

    /// A directory with what links in it lead to, as Debian 13's headers of the kernel do, and what the libraries in it load.
    pub(super) fn data(&mut self, path: &Path) -> Result<(), ToolError> {
        self.directory(path)?;
        let mut dirs = vec![path.to_owned()];
        while let Some(dir) = dirs.pop() {
            // The digest of the whole reports what can't be read.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
                let is_library = path.file_name().is_some_and(|name| contains(name, b".so"));
                if kind.is_dir() {
                    dirs.push(path);
                } else if kind.is_file() && is_library {
                    self.file(&path)?;
                } else if kind.is_symlink()
                    // One that leads nowhere, or in circles, leads nowhere for steps as well.
                    && path.exists()
                    && let Some(real) = self.real(&path)?
                {
                    let is_shown = self.closure.has_within(&real);
                    if real.is_file() && (is_library || !is_shown) {
                        self.file(&real)?;
                    } else if real.is_dir() && !is_shown && !dir.starts_with(&real) {
                        self.directory(&real)?;
                        dirs.push(real);
                    }
                }
            }
        }
        Ok(())
    }

    /// A file that the linker takes: a library, an object, or a script that names some. With a shared library comes the
    /// name under which programs load it.
    pub(super) fn linked(&mut self, path: &Path) -> Result<(), ToolError> {
        let Some(real) = self.file(path)? else { return Ok(()) };
        if let Some(elf) = Elf::read(&real) {
            if let (Some(soname), Some(dir)) = (elf.soname, path.parent()) {
                self.file(&dir.join(OsStr::from_bytes(&soname)))?;
            }
            return Ok(());
        }
        let small = real.metadata().is_ok_and(|metadata| metadata.len() <= LINKER_SCRIPT);
        let text = if small { fs::read_to_string(&real).unwrap_or_default() } else { String::new() };
        for word in text.split(|c: char| c.is_whitespace() || "()".contains(c)) {
            if word.starts_with('/') && Path::new(word).is_file() {
                self.linked(Path::new(word))?;
            }
        }
        Ok(())
    }

    fn loaded(&mut self, elf: &Elf, real: &Path) -> Result<(), ToolError> {
        if let Some(interpreter) = &elf.interpreter {
            self.file(Path::new(OsStr::from_bytes(interpreter)))?;
        }
        // What ends a thread in glibc, which loads it at that moment.
        let unwinder = elf.needed.iter().any(|name| name == b"libc.so.6").then(|| b"libgcc_s.so.1".to_vec());
        for name in elf.needed.iter().chain(&unwinder) {
            // Without it the program will not start, until a directory that is guarded gets it.
            if let Some(library) = self.libraries.find(name, elf, real, &mut self.guards) {
                if self.libraries.has_to_be_told(&library) {
                    self.closure.search_libraries_in(&self.libraries.told);
                }
                self.file(&library)?;
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
        self.program(interpreter)?;
        if interpreter.file_name() == Some(OsStr::new("env"))
            && let Some(name) = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))
        {
            self.helper(Path::new(OsStr::from_bytes(name)))?;
        }
        Ok(())
    }

    /// Where `path` really is. Links on the way become entries, and so does it if there is nothing.
    fn real(&mut self, path: &Path) -> Result<Option<PathBuf>, ToolError> {
        let failed = |at: &Path, source| ToolError::Unreadable { path: at.to_owned(), source };
        let mut real = PathBuf::from("/");
        let mut left: VecDeque<OsString> = parts(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            match fs::symlink_metadata(&next) {
                Err(error) if is_absent(&error) => {
                    self.closure.insert(next, HostEntry::Absent);
                    return Ok(None);
                }
                Err(error) => return Err(failed(&next, error)),
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(
                            path,
                            io::Error::from_raw_os_error(nix::errno::Errno::ELOOP as i32),
                        ));
                    }
                    let target = fs::read_link(&next).map_err(|source| failed(&next, source))?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    for part in parts(&target).into_iter().rev() {
                        left.push_front(part);
                    }
                    self.closure.insert(next, HostEntry::Link(target));
                }
                Ok(_) => real = next,
            }
        }
        Ok(Some(real))
    }
}

/// The names in a path, and `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

fn contains(name: &OsStr, part: &[u8]) -> bool {
    name.as_bytes().windows(part.len()).any(|window| window == part)
}

/// What follows the `#!` of a script.
fn script(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    Some(line.to_vec())
}
