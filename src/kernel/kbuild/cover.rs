//! What kbuild's records leave out, and what has to count in its place.
//!
//! Measured on Linux 6.1 for `x86_64`: of 4,114 files that a build opened, the records named 4,055. The other 59 were
//! makefiles and scripts of the build itself, programs below `tools/`, whose records name files from a directory that
//! they don't tell, and three tables beside the code that is made from them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Records, join};

/// Directories of programs that run during a build.
const TREES: [&str; 8] = [
    "scripts",
    "tools/arch",
    "tools/bpf/resolve_btfids",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/objtool",
    "tools/scripts",
];

/// Options with which headers are made or packed whole, by whom no record tells.
const OF_HEADERS: [&str; 3] = ["CONFIG_IKHEADERS", "CONFIG_HEADERS_INSTALL", "CONFIG_UAPI_HEADER_TEST"];

/// An option with which every document that a comment names is looked for.
const OF_DOCUMENTS: &str = "CONFIG_WARN_MISSING_DOCUMENTS";

/// What is compiled, and so in the records, or is read by people alone: ends of names.
const NOT_BESIDE: [&str; 9] = [".c", ".h", ".S", ".dts", ".dtsi", ".dtso", ".rs", ".rst", ".gitignore"];

/// The directories of the source that count whole, for what the records do not tell.
pub fn cover(records: &Records, out: &Path, source: &Path) -> io::Result<Vec<Vec<u8>>> {
    let archs: BTreeSet<&[u8]> = records
        .dirs
        .iter()
        .filter_map(|dir| dir.strip_prefix(b"arch/"))
        .filter(|arch| !arch.is_empty() && !arch.contains(&b'/'))
        .collect();
    let below =
        |dir: &str| archs.iter().map(|arch| [b"arch/", *arch, b"/", dir.as_bytes()].concat()).collect();
    let mut trees: Vec<Vec<u8>> = TREES.iter().map(|tree| tree.as_bytes().to_vec()).collect();
    let in_archs: Vec<Vec<u8>> = below("tools");
    trees.extend(in_archs);
    let settings = fs::read_to_string(out.join("include/config/auto.conf"))?;
    let is_on = |option: &str| settings.lines().any(|line| line.split_once('=') == Some((option, "y")));
    if OF_HEADERS.iter().any(|option| is_on(option)) {
        trees.extend([b"include".to_vec(), b"usr".to_vec()]);
        let in_archs: Vec<Vec<u8>> = below("include");
        trees.extend(in_archs);
    }
    if is_on(OF_DOCUMENTS) {
        trees.push(b"Documentation".to_vec());
    }
    trees.retain(|tree| source.join(OsStr::from_bytes(tree)).is_dir());
    Ok(trees)
}

/// The files in these directories that are neither compiled nor documentation: tables, scripts, lists of symbols.
pub fn beside(dirs: &BTreeSet<Vec<u8>>, source: &Path) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut found = BTreeSet::new();
    // The root has lists of maintainers and credits, and no table.
    for dir in dirs.iter().filter(|dir| !dir.is_empty()) {
        for entry in fs::read_dir(source.join(OsStr::from_bytes(dir)))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_bytes();
            let is_left_out = NOT_BESIDE.iter().any(|end| name.ends_with(end.as_bytes()))
                || name.starts_with(b"Kconfig")
                || name.starts_with(b"README");
            if entry.file_type()?.is_file() && !is_left_out {
                found.insert(join(dir, name));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_records_leave_out_is_covered() {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("source"), dir.path().join("out"));
        for path in [
            "source/scripts/x",
            "source/arch/x86/tools/x",
            "source/arch/x86/lib/a.txt",
            "source/arch/x86/lib/a.c",
            "source/arch/x86/lib/Kconfig.x",
            "source/include/a.h",
            "source/usr/x",
            "source/CREDITS",
            "out/include/config/auto.conf",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let dirs = ["", "arch", "arch/x86", "arch/x86/lib"].map(|dir| dir.as_bytes().to_vec());
        let records = Records { dirs: dirs.into(), ..Records::default() };
        let names = |paths: Vec<Vec<u8>>| -> Vec<String> {
            paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
        };
        assert_eq!(names(cover(&records, &out, &source).unwrap()), ["scripts", "arch/x86/tools"]);
        fs::write(out.join("include/config/auto.conf"), "CONFIG_X=y\nCONFIG_IKHEADERS=y\n").unwrap();
        assert_eq!(
            names(cover(&records, &out, &source).unwrap()),
            ["scripts", "arch/x86/tools", "include", "usr"]
        );
        let beside = beside(&records.dirs, &source).unwrap();
        assert_eq!(names(beside.into_iter().collect()), ["arch/x86/lib/a.txt"]);
    }
}
