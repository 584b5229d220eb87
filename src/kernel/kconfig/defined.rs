//! Finds the symbols that the Kconfig files of a tree define, for all architectures.
//!
//! Kconfig reads the files of one architecture, but boards may be of any. So this module parses nothing and follows no
//! `source`: it searches every file named `Kconfig*` for lines that start an entry.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

/// The prefix of names of Kconfig files.
const FILE: &str = "Kconfig";

/// Directories of Linux with example Kconfig files, whose symbols no kernel has.
const EXAMPLES: [&str; 2] = ["Documentation/kbuild", "scripts/kconfig"];

/// The defined symbols of a tree.
#[derive(Debug, Default)]
pub struct Defined {
    names: HashSet<String>,
}

impl Defined {
    /// Searches a tree. Unreadable files and directories are skipped. An unreadable tree, or one without any definition, is an
    /// error.
    pub fn scan(tree: &Path) -> io::Result<Self> {
        let files = files(tree)?;
        let read = |path: &PathBuf| fs::read(path).map(|text| names(&text)).unwrap_or_default();
        let names: HashSet<String> = files.par_iter().flat_map_iter(read).collect();
        if names.is_empty() {
            return Err(io::Error::other("no Kconfig file in it defines anything"));
        }
        Ok(Self { names })
    }

    /// Whether a symbol (without `CONFIG_`) is defined.
    pub fn has(&self, symbol: &str) -> bool {
        self.names.contains(symbol)
    }

    /// The defined symbol that an undefined one is likely a typo for.
    pub fn nearest(&self, symbol: &str) -> Option<&str> {
        // Symbols are long and share prefixes: up to one edit in four letters is a typo.
        let budget = (symbol.len() / 4).max(1);
        let near = self.names.iter().filter(|name| name.len().abs_diff(symbol.len()) <= budget);
        let distances = near.map(|name| (strsim::osa_distance(symbol, name), name.as_str()));
        distances.filter(|(distance, _)| *distance <= budget).min().map(|(_, name)| name)
    }
}

/// All Kconfig files, breadth first, without recursion.
fn files(tree: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = list(tree)?;
    let mut files = Vec::new();
    while !found.is_empty() {
        let (dirs, here): (Vec<_>, Vec<_>) = found.into_iter().partition(|entry| entry.is_dir);
        files.extend(here.into_iter().map(|entry| entry.path));
        let examples = |path: &Path| EXAMPLES.iter().any(|examples| *path == tree.join(examples));
        let below = |entry: &Entry| {
            if examples(&entry.path) { Vec::new() } else { list(&entry.path).unwrap_or_default() }
        };
        found = dirs.par_iter().flat_map_iter(below).collect();
    }
    Ok(files)
}

struct Entry {
    path: PathBuf,
    is_dir: bool,
}

/// The subdirectories and Kconfig files of a directory. Links are skipped.
fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let entry = |entry: fs::DirEntry| {
        let (kind, name) = (entry.file_type().ok()?, entry.file_name());
        let name = name.as_encoded_bytes();
        let wanted =
            kind.is_dir() && !name.starts_with(b".") || kind.is_file() && name.starts_with(FILE.as_bytes());
        wanted.then(|| Entry { path: entry.path(), is_dir: kind.is_dir() })
    };
    Ok(fs::read_dir(dir)?.flatten().filter_map(entry).collect())
}

/// The names in lines `config NAME` and `menuconfig NAME`, with an optional comment. A help text may have such a line, which
/// at worst hides an undefined symbol.
fn names(text: &[u8]) -> Vec<String> {
    let name = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let rest = line.strip_prefix(b"menu").unwrap_or(line).strip_prefix(b"config")?;
        let name = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?.trim_ascii_start();
        let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        let (name, after) = name.split_at(end.unwrap_or(name.len()));
        let alone = matches!(after.trim_ascii(), [] | [b'#', ..]);
        (alone && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    };
    text.split(|byte| *byte == b'\n').filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn entries_begin_with_config_or_menuconfig_and_a_name() {
        let text = b"config A\n  menuconfig B_1 # why\nconfig\t64BIT\r\nconfiguration C\nconfig D E\nconfig\nmenu \"config F\"\n\
            \tdepends on G\ncomment \"config H\"\nconfig I#\nsource \"drivers/Kconfig\"\nconfig caf\xe9\nconfig LAST";
        assert_eq!(names(text), ["A", "B_1", "64BIT", "I", "LAST"]);
    }

    #[test]
    fn every_arch_is_searched_and_examples_are_not() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Kconfig", "config ROOT\n");
        write("arch/x86/Kconfig.debug", "config X86_DEBUG\n");
        write("arch/arm/mach-a/Kconfig-nommu", "config ARM_NOMMU\n");
        write("scripts/kconfig/tests/Kconfig", "config EXAMPLE\n");
        write("Documentation/kbuild/Kconfig.recursion", "config RECURSION\n");
        write("scripts/gcc-plugins/Kconfig", "config GCC_PLUGINS\n");
        write("drivers/Makefile", "config NO\n");
        write(".git/Kconfig", "config HIDDEN\n");
        symlink("../..", tree.path().join("arch/x86/loop")).unwrap();
        let defined = Defined::scan(tree.path()).unwrap();
        let mut names: Vec<&str> = defined.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["ARM_NOMMU", "GCC_PLUGINS", "ROOT", "X86_DEBUG"]);
        assert!(defined.has("ROOT") && !defined.has("EXAMPLE"));
    }

    #[test]
    fn what_is_no_kernel_tree_is_said_to_be_none() {
        let tree = tempfile::tempdir().unwrap();
        assert!(Defined::scan(tree.path()).unwrap_err().to_string().contains("no Kconfig file"));
        assert!(Defined::scan(&tree.path().join("gone")).is_err());
    }

    #[test]
    fn near_names_are_typos_and_others_are_not() {
        let names = ["SERIAL_8250_CONSOLE", "SERIAL_8250", "SERIAL_CORE_CONSOLE", "TTY", "ARM64", "ARM"];
        let defined = Defined { names: names.map(str::to_owned).into() };
        assert_eq!(defined.nearest("SERIAL_825O_CONSOLE"), Some("SERIAL_8250_CONSOLE"));
        assert_eq!(defined.nearest("SERIAL8250_CONSOLE"), Some("SERIAL_8250_CONSOLE"));
        assert_eq!(defined.nearest("TYT"), Some("TTY"));
        assert_eq!(defined.nearest("PPC_PSERIES"), None);
        assert_eq!(defined.nearest(""), None);
    }
}
