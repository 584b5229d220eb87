//! Libraries that programs of a build are linked with, by the names that `-l` takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::closure::Closure;
use super::compilers::{Family, SearchDirs};
use super::survey::Survey;
use super::tools::{ToolError, find, identify, question, search_path, surveyed};
use crate::source::FileDigests;

/// Where pkg-config looks besides.
const SHARED_PC: &str = "/usr/share/pkgconfig";

/// What the linker takes for `-lNAME` when those of `programs` run it that are compilers, with what pkg-config tells of it; nothing where none of
/// them finds such a library.
///
/// Headers are not among it: compilers see theirs anyway.
pub fn library(
    name: &str,
    programs: &[String],
    path_dirs: &[PathBuf],
    files: &FileDigests,
) -> Result<Closure, ToolError> {
    let dirs = search_path(path_dirs);
    let mut key = question("library", &dirs);
    key.text(name);
    let drivers: Vec<PathBuf> = programs
        .iter()
        .filter(|name| is_compiler(name))
        .filter_map(|name| find(Path::new(name), &dirs))
        .collect();
    for driver in &drivers {
        identify(driver, files, &mut key)?;
    }
    surveyed(key.finish(), &dirs, files, |survey| {
        drivers.iter().try_for_each(|driver| {
            let search = SearchDirs::of(driver, survey.dirs)?;
            survey.guard(search.libraries.iter().cloned());
            add(survey, name, &search.libraries)
        })
    })
}

fn is_compiler(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name.and_then(Family::of).is_some()
}

fn add(survey: &mut Survey<'_>, name: &str, dirs: &[PathBuf]) -> Result<(), ToolError> {
    let first = |file: String| dirs.iter().map(|dir| dir.join(&file)).find(|path| path.is_file());
    let found: Vec<PathBuf> =
        ["so", "a"].iter().filter_map(|ending| first(format!("lib{name}.{ending}"))).collect();
    for path in &found {
        survey.linked(path)?;
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut pc_dirs: Vec<PathBuf> = dirs.iter().map(|dir| dir.join("pkgconfig")).collect();
    pc_dirs.push(SHARED_PC.into());
    survey.guard(pc_dirs.iter().cloned());
    let mut wanted = vec![format!("lib{name}"), name.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(package) = wanted.pop() {
        let path = pc_dirs.iter().map(|dir| dir.join(format!("{package}.pc"))).find(|path| path.is_file());
        if let Some(path) = path.filter(|_| seen.insert(package)) {
            survey.path(&path)?;
            wanted.extend(required(&fs::read_to_string(&path).unwrap_or_default()));
        }
    }
    Ok(())
}

/// The packages that a `.pc` file requires. Versions and what they are compared by are no packages of any name.
fn required(text: &str) -> Vec<String> {
    let lists = text.lines().filter_map(|line| {
        let (field, list) = line.split_once(':')?;
        field.starts_with("Requires").then_some(list)
    });
    let words = lists.flat_map(|list| list.split(|c: char| c.is_whitespace() || c == ','));
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_of_pc_files_are_read() {
        let text = "Name: libelf\nRequires.private: zlib >= 1.2, libzstd\nLibs: -lelf\nRequires: a b\n";
        assert_eq!(required(text), ["zlib", "libzstd", "a", "b"]);
    }

    #[test]
    fn a_library_comes_with_the_name_it_is_loaded_by() {
        let dir = tempfile::tempdir().unwrap();
        let files = FileDigests::open(&dir.path().join("cache"));
        let find = |name: &str| library(name, &["gcc".to_owned()], &[], &files).unwrap();
        let has = |closure: &Closure, part: &str| {
            closure.entries().any(|(path, _)| path.to_string_lossy().contains(part))
        };
        if find("c").entries().next().is_none() {
            eprintln!("skipped: no gcc with a libc on this host");
            return;
        }
        let libc = find("c");
        assert!(has(&libc, "libc.so.6") && has(&libc, "libc_nonshared.a"), "{libc:#?}");
        assert_eq!(find("no-such-library"), Closure::default());
    }
}
