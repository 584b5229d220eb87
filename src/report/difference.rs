//! Differences between two outputs on disk, and where they begin.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::place;

/// The number of differing paths that are named.
const NAMED: usize = 10;

/// The number of bytes shown of two files from the first difference on.
const SHOWN: u64 = 8;

/// The differences between a recorded output and a clean one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The number of paths that differ.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Difference>,
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The path below the output; empty if the output is a file.
    pub path: String,
    /// The difference.
    #[serde(flatten)]
    pub how: How,
}

/// The difference at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "how", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum How {
    /// Only the recorded output has it.
    Missing,
    /// Only the clean output has it.
    Extra,
    /// The types differ.
    Type {
        /// The recorded type.
        recorded: &'static str,
        /// The clean type.
        clean: &'static str,
    },
    /// The executable bits differ.
    Executable {
        /// Whether the recorded file is executable.
        recorded: bool,
        /// Whether the clean file is executable.
        clean: bool,
    },
    /// The targets of symbolic links differ.
    Target {
        /// The recorded target.
        recorded: String,
        /// The clean target.
        clean: String,
    },
    /// The bytes of files differ.
    Content(Content),
}

/// The first difference between the bytes of two files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// The size of the recorded file.
    pub recorded_size: u64,
    /// The size of the clean file.
    pub clean_size: u64,
    /// The offset of the first byte that differs; the smaller size if one file is a prefix of the other.
    pub offset: u64,
    /// Bytes of the recorded file from there on, in hex.
    pub recorded_bytes: String,
    /// Bytes of the clean file from there on, in hex.
    pub clean_bytes: String,
    /// The part of the recorded file that the offset is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Compares two outputs: files, directories, or nothing.
pub fn difference(recorded: &Path, clean: &Path) -> io::Result<Differences> {
    let (recorded_paths, clean_paths) = (paths(recorded)?, paths(clean)?);
    let mut differences = Differences::default();
    // A directory that only one output has is one difference; the paths below it are not listed.
    let mut told: Option<&Path> = None;
    let mut all: Vec<&PathBuf> = recorded_paths.keys().chain(clean_paths.keys()).collect();
    all.sort_unstable();
    all.dedup();
    for path in all {
        if told.is_some_and(|told| path.starts_with(told)) {
            continue;
        }
        let name_it = differences.first.len() < NAMED;
        let how = match (recorded_paths.get(path), clean_paths.get(path)) {
            (Some(_), None) => Some(How::Missing),
            (None, Some(_)) => Some(How::Extra),
            (Some(then), Some(now)) => of_one((&at(recorded, path), then), (&at(clean, path), now), name_it)?,
            (None, None) => None,
        };
        let Some(how) = how else { continue };
        if matches!(how, How::Missing | How::Extra | How::Type { .. }) {
            told = Some(path);
        }
        differences.count += 1;
        if name_it {
            differences.first.push(Difference { path: path.display().to_string(), how });
        }
    }
    Ok(differences)
}

/// The entries at and below a path, by relative path.
fn paths(root: &Path) -> io::Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let metadata = match fs::symlink_metadata(at(root, &path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() {
            for entry in fs::read_dir(at(root, &path))? {
                left.push(path.join(entry?.file_name()));
            }
        }
        found.insert(path, metadata);
    }
    Ok(found)
}

/// `join("")` would append a slash, which requires a directory.
fn at(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}

fn of_one(recorded: (&Path, &Metadata), clean: (&Path, &Metadata), name_it: bool) -> io::Result<Option<How>> {
    let (then, now) = (kind(recorded.1), kind(clean.1));
    if then != now {
        return Ok(Some(How::Type { recorded: then, clean: now }));
    }
    if recorded.1.is_symlink() {
        let target = |path: &Path| fs::read_link(path).map(|target| target.display().to_string());
        let (then, now) = (target(recorded.0)?, target(clean.0)?);
        return Ok((then != now).then_some(How::Target { recorded: then, clean: now }));
    }
    if !recorded.1.is_file() {
        return Ok(None);
    }
    if let Some(offset) = first_difference(recorded.0, clean.0)? {
        let place = if name_it { place(&fs::read(recorded.0)?, offset) } else { None };
        return Ok(Some(How::Content(Content {
            recorded_size: recorded.1.len(),
            clean_size: clean.1.len(),
            offset,
            recorded_bytes: hex(recorded.0, offset)?,
            clean_bytes: hex(clean.0, offset)?,
            place,
        })));
    }
    let executable = |metadata: &Metadata| metadata.permissions().mode() & 0o100 != 0;
    let (then, now) = (executable(recorded.1), executable(clean.1));
    Ok((then != now).then_some(How::Executable { recorded: then, clean: now }))
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        "a directory"
    } else if metadata.is_symlink() {
        "a symbolic link"
    } else {
        "a file"
    }
}

/// Finds the first byte at which two files differ.
fn first_difference(one: &Path, other: &Path) -> io::Result<Option<u64>> {
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let mut offset = 0;
    loop {
        let (ours, theirs) = (one.fill_buf()?, other.fill_buf()?);
        let length = ours.len().min(theirs.len());
        if length == 0 {
            return Ok((ours.len() != theirs.len()).then_some(offset));
        }
        if let Some(at) = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs) {
            return Ok(Some(offset + at as u64));
        }
        one.consume(length);
        other.consume(length);
        offset += length as u64;
    }
}

fn hex(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(SHOWN).read_to_end(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
}

impl Differences {
    /// One line for each named path, and two more for differing bytes.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Difference { path, how } in &self.first {
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            match how {
                How::Missing => lines.push(format!("{path}was not made")),
                How::Extra => lines.push(format!("{path}is not recorded")),
                How::Type { recorded, clean } => lines.push(format!("{path}{recorded} is {clean}")),
                How::Executable { recorded: true, .. } => {
                    lines.push(format!("{path}may not be executed any more"));
                }
                How::Executable { .. } => lines.push(format!("{path}may be executed")),
                How::Target { recorded, clean } => {
                    lines.push(format!("{path}leads to {clean}, not to {recorded}"));
                }
                How::Content(content) => {
                    lines.push(format!("{path}{}", content.sentence()));
                    let bytes =
                        |bytes: &str| if bytes.is_empty() { "nothing".to_owned() } else { bytes.to_owned() };
                    lines.push(format!("  recorded  {}", bytes(&content.recorded_bytes)));
                    lines.push(format!("  clean     {}", bytes(&content.clean_bytes)));
                }
            }
        }
        if self.count > self.first.len() {
            lines.push(format!("and {} more", self.count - self.first.len()));
        }
        lines
    }
}

impl Content {
    fn sentence(&self) -> String {
        let sizes = if self.recorded_size == self.clean_size {
            format!("both of {} bytes", self.clean_size)
        } else {
            format!("{} bytes, recorded {}", self.clean_size, self.recorded_size)
        };
        let place = self.place.as_ref().map_or_else(String::new, |place| format!(", {place}"));
        format!("differs from byte {:#x} on ({sizes}){place}", self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use object::{Object, ObjectSection};

    use super::*;

    /// Two directories, `recorded` and `clean`.
    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (recorded, clean) = (dir.path().join("recorded"), dir.path().join("clean"));
        fs::create_dir(&recorded).unwrap();
        fs::create_dir(&clean).unwrap();
        (dir, recorded, clean)
    }

    fn told(recorded: &Path, clean: &Path) -> String {
        difference(recorded, clean).unwrap().lines().join("\n")
    }

    #[test]
    fn equal_trees_have_no_differences() {
        let (_dir, recorded, clean) = pair();
        for dir in [&recorded, &clean] {
            fs::create_dir(dir.join("sub")).unwrap();
            fs::write(dir.join("sub/file"), "text").unwrap();
            symlink("file", dir.join("sub/link")).unwrap();
        }
        assert_eq!(difference(&recorded, &clean).unwrap(), Differences::default());
    }

    #[test]
    fn the_first_byte_that_differs_is_told_with_those_after_it() {
        let (_dir, recorded, clean) = pair();
        let mut bytes = vec![b'a'; 100_000];
        fs::write(recorded.join("file"), &bytes).unwrap();
        bytes[70_000] = b'b';
        fs::write(clean.join("file"), &bytes).unwrap();
        assert_eq!(
            told(&recorded.join("file"), &clean.join("file")),
            "differs from byte 0x11170 on (both of 100000 bytes)\n  \
               recorded  61 61 61 61 61 61 61 61\n  \
               clean     62 61 61 61 61 61 61 61"
        );
    }

    #[test]
    fn a_file_that_goes_on_differs_where_the_other_ends() {
        let (_dir, recorded, clean) = pair();
        fs::write(recorded.join("file"), "abc").unwrap();
        fs::write(clean.join("file"), "abcd").unwrap();
        assert_eq!(
            told(&recorded, &clean),
            "file: differs from byte 0x3 on (4 bytes, recorded 3)\n  recorded  nothing\n  clean     64"
        );
    }

    #[test]
    fn trees_differ_by_what_is_in_one_alone_and_by_what_it_is() {
        let (_dir, recorded, clean) = pair();
        fs::create_dir(recorded.join("gone")).unwrap();
        fs::write(recorded.join("gone/below"), "").unwrap();
        fs::write(clean.join("new"), "").unwrap();
        fs::write(recorded.join("thing"), "").unwrap();
        fs::create_dir(clean.join("thing")).unwrap();
        symlink("here", recorded.join("link")).unwrap();
        symlink("there", clean.join("link")).unwrap();
        fs::write(recorded.join("script"), "").unwrap();
        fs::write(clean.join("script"), "").unwrap();
        fs::set_permissions(clean.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            told(&recorded, &clean),
            "gone: was not made\nlink: leads to there, not to here\nnew: is not recorded\n\
             script: may be executed\nthing: a file is a directory"
        );
    }

    #[test]
    fn ten_paths_are_named_and_all_are_counted() {
        let (_dir, recorded, clean) = pair();
        for number in 0..25 {
            fs::write(clean.join(number.to_string()), "").unwrap();
        }
        let differences = difference(&recorded, &clean).unwrap();
        assert_eq!((differences.count, differences.first.len()), (25, 10));
        assert_eq!(differences.lines().last().unwrap(), "and 15 more");
    }

    #[test]
    fn the_section_and_the_symbol_of_an_elf_file_are_told() {
        let (_dir, recorded, clean) = pair();
        // The test binary is an ELF file with symbols.
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let (text, _) = file.section_by_name(".text").unwrap().file_range().unwrap();
        fs::write(recorded.join("program"), &bytes).unwrap();
        bytes[usize::try_from(text).unwrap() + 100] ^= 1;
        fs::write(clean.join("program"), &bytes).unwrap();
        let told = told(&recorded, &clean);
        assert!(told.contains(", in section .text, at ") && told.contains("+0x"), "{told}");
    }
}
