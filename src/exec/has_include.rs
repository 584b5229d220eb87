//! Headers that sources test with `__has_include`. Nothing is opened for a header that does not exist, so a trace does not
//! show it: it counts like a header that was searched for and found.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::memmem;

/// The operator.
const OPERATOR: &[u8] = b"__has_include";

/// Suffixes of files that the preprocessor reads. Other files, such as scripts, may mention the operator.
const CODE: [&[u8]; 12] =
    [b".c", b".h", b".S", b".s", b".cc", b".cpp", b".cxx", b".hh", b".hpp", b".inc", b".dts", b".dtsi"];

/// The headers that these files of a source tree test for, as written there.
///
/// # Errors
///
/// When one tests for something that is no literal name: it may be any header.
pub(super) fn asked_for<'a>(
    tree: &Path,
    files: impl Iterator<Item = &'a [u8]>,
) -> Result<BTreeSet<Vec<u8>>, String> {
    let finder = memmem::Finder::new(OPERATOR);
    let mut headers = BTreeSet::new();
    for file in files.filter(|file| CODE.iter().any(|end| file.ends_with(end))) {
        // A file that can't be read has changed since: the check of inputs notices that.
        let Ok(text) = fs::read(tree.join(OsStr::from_bytes(file))) else { continue };
        for at in finder.find_iter(&text).filter(|&at| is_directive(&text[..at])) {
            match argument(&text[at + OPERATOR.len()..]) {
                Argument::None => {}
                Argument::Header(name) => {
                    headers.insert(name.to_vec());
                }
                Argument::Other => {
                    let file = String::from_utf8_lossy(file);
                    return Err(format!("{file} uses __has_include with something that is no header's name"));
                }
            }
        }
    }
    Ok(headers)
}

/// Whether this is the beginning of a directive: the operator has no meaning elsewhere.
fn is_directive(before: &[u8]) -> bool {
    let starts = memchr::memrchr_iter(b'\n', before).find(|&at| !before[..at].ends_with(b"\\"));
    before[starts.map_or(0, |at| at + 1)..].trim_ascii_start().starts_with(b"#")
}

enum Argument<'a> {
    /// It is not applied: `#ifdef __has_include`, a comment.
    None,
    Header(&'a [u8]),
    Other,
}

/// The argument of the operator.
fn argument(rest: &[u8]) -> Argument<'_> {
    let rest = rest.strip_prefix(b"_next").unwrap_or(rest);
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"(") else { return Argument::None };
    let rest = rest.trim_ascii_start();
    let end = match rest.first() {
        Some(b'"') => b'"',
        Some(b'<') => b'>',
        _ => return Argument::Other,
    };
    match memchr::memchr(end, &rest[1..]) {
        Some(length) if !rest[1..=length].contains(&b'\n') => Argument::Header(&rest[1..=length]),
        _ => Argument::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.c"), text).unwrap();
        let headers = asked_for(dir.path(), [&b"a.c"[..], b"gone.c"].into_iter())?;
        Ok(headers.into_iter().map(|header| String::from_utf8(header).unwrap()).collect())
    }

    #[test]
    fn literal_names_are_found() {
        assert_eq!(of("int a;\n").unwrap(), [""; 0]);
        let text = "#ifdef __has_include\n#if __has_include(\"errata/abi-1.h\")\n#endif\n\
                    #if defined(X) && !__has_include ( <linux/a.h> )\n/* for\n * __has_include (see c.h).\n */\n\
                    #if __has_include_next(<b.h>)\n#endif\n # if defined(Y) || \\\n  __has_include(<d.h>)\n";
        assert_eq!(of(text).unwrap(), ["b.h", "d.h", "errata/abi-1.h", "linux/a.h"]);
    }

    #[test]
    fn a_name_that_is_made_up_may_be_any() {
        for text in
            ["#if __has_include(HEADER)\n", "#if __has_include(\"a.h\n", "#define HAS(x) __has_include(x)\n"]
        {
            assert!(of(text).unwrap_err().contains("a.c uses __has_include"), "{text}");
        }
    }
}
