//! Files that the assembler includes with `.incbin`, which compilers' dependency lists lack.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::memmem;

use super::cover::CoverError;
use super::{join, parent, prefix};

/// An included source file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incbin {
    pub(super) path: Vec<u8>,
}

/// Suffixes of files that may have `.incbin`.
const SOURCES: [&[u8]; 4] = [b".S", b".s", b".c", b".h"];

/// Searches the source files that were read, and generated assembly in the output directory.
pub(super) fn search(
    out: &Path,
    inside: &Path,
    files: &BTreeSet<Vec<u8>>,
    source: &Path,
) -> Result<Vec<Incbin>, CoverError> {
    let prefix = prefix(inside);
    let mut found = Vec::new();
    let mut look = |root: &Path, path: &[u8]| -> Result<(), CoverError> {
        let at = root.join(OsStr::from_bytes(path));
        let text = fs::read(&at).map_err(|source| CoverError::Io { path: at, source })?;
        if memmem::find(&text, b".incbin").is_none() {
            return Ok(());
        }
        let texts = texts(&text);
        if texts.is_empty() {
            let path = String::from_utf8_lossy(path);
            let why = format!("{path} takes a file by .incbin, and does not say which in plain text");
            return Err(CoverError::Unknown(why));
        }
        for text in texts {
            let dir = parent(path).unwrap_or_default();
            let below = text.strip_prefix(prefix.as_slice());
            let named =
                below.map_or_else(|| vec![text.to_vec(), join(dir, text)], |below| vec![below.to_vec()]);
            // A generated file is covered by its own sources.
            if below.is_some() || !out.join(OsStr::from_bytes(text)).exists() {
                found.extend(named.into_iter().map(|path| Incbin { path }));
            }
        }
        Ok(())
    };
    for path in files.iter().filter(|path| SOURCES.iter().any(|end| path.ends_with(end))) {
        look(source, path)?;
    }
    for path in generated(out)? {
        look(out, &path)?;
    }
    Ok(found)
}

/// Generated assembly files.
fn generated(out: &Path) -> Result<Vec<Vec<u8>>, CoverError> {
    let mut found = Vec::new();
    let mut dirs = vec![Vec::new()];
    while let Some(dir) = dirs.pop() {
        let at = out.join(OsStr::from_bytes(&dir));
        let failed = |source| CoverError::Io { path: at.clone(), source };
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = join(&dir, entry.file_name().as_bytes());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() && path.ends_with(b".S") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The quoted texts of a file. One of them is the path, even if a macro defines it. In C strings a backslash precedes each
/// quote.
fn texts(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| memmem::find(line, b"#include").is_none());
    let parts = lines.flat_map(|line| line.split(|&byte| byte == b'"').skip(1));
    let parts = parts.map(|part| part.strip_suffix(b"\\").unwrap_or(part));
    let is_path = |part: &&[u8]| {
        !part.is_empty()
            && part.len() < 4096
            && part.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\')
    };
    parts.filter(is_path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_source_are_found_and_made_ones_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (out, source) = (dir.path().join("out"), dir.path().join("source"));
        for (path, text) in [
            ("out/drivers/x.gen.S", "    .incbin \"/in/source/firmware/x.bin\"\n"),
            ("out/lib/made.bin", ""),
            ("source/lib/a.S", "#define P \"lib/a.bin\"\n.incbin P\n.incbin \"lib/made.bin\"\n"),
            ("source/lib/b.c", "asm(\"\t.incbin \\\"lib/b.gz\\\"\\n\");\n"),
            ("source/lib/c.S", ".global c\n"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let look = |files: &[&str]| {
            let files = files.iter().map(|file| file.as_bytes().to_vec()).collect();
            let found = search(&out, Path::new("/in/source"), &files, &source);
            found.map(|found| {
                found.into_iter().map(|one| String::from_utf8(one.path).unwrap()).collect::<Vec<_>>()
            })
        };
        let found = look(&["lib/a.S", "lib/b.c", "lib/c.S"]).unwrap();
        for path in ["firmware/x.bin", "lib/a.bin", "lib/b.gz"] {
            assert!(found.iter().any(|found| found == path), "{path} in {found:?}");
        }
        assert!(!found.iter().any(|found| found == "lib/made.bin"));
        fs::write(source.join("lib/c.S"), ".incbin INITRD\n").unwrap();
        assert!(matches!(look(&["lib/c.S"]), Err(CoverError::Unknown(_))));
    }
}
