//! Parses the file names of one record.

/// A name in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) text: &'a [u8],
    pub(super) origin: Origin,
    /// Whether its target has an absolute name. kbuild's targets and their lists are relative to O=; the build system of `tools/`
    /// has absolute targets, with names relative to make's working directory.
    of_absolute: bool,
}

/// The part of a record that a name is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// A list of files that were read.
    List,
    /// Kconfig's list.
    Kconfig,
    /// A command: a file if one of that name exists.
    Command,
}

impl Name<'_> {
    /// Whether it is relative to an unknown directory.
    pub(super) fn is_relative_to_unknown(&self) -> bool {
        self.of_absolute && self.origin == Origin::List && !self.text.starts_with(b"/")
    }
}

/// The format of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Assignments to make's variables: `source_TARGET := FILE`, `deps_TARGET := FILES`, `cmd_TARGET := COMMAND`.
    Assignments,
    /// A make rule from a compiler: `TARGET: FILES`.
    Rule,
}

/// Calls `found` with each name. In commands, only words that contain `prefix` count.
pub(super) fn each_name(record: &[u8], format: Format, prefix: &[u8], mut found: impl FnMut(Name<'_>)) {
    let (mut in_list, mut of_absolute) = (false, false);
    for line in record.split(|byte| *byte == b'\n') {
        let more = line.ends_with(b"\\");
        let text = if more { &line[..line.len() - 1] } else { line };
        let mut list = |text: &[u8], of_absolute| {
            for text in words(text) {
                found(Name { text, origin: Origin::List, of_absolute });
            }
        };
        if in_list {
            list(text, of_absolute);
            in_list = more;
        } else if let Some((target, rest)) = listed(text, format) {
            of_absolute = target.starts_with(b"/");
            list(rest, of_absolute);
            in_list = more;
        } else {
            for text in words_below(text, prefix) {
                found(Name { text, origin: Origin::Command, of_absolute: false });
            }
        }
    }
}

/// The target and the rest of a line that starts a list.
fn listed(line: &[u8], format: Format) -> Option<(&[u8], &[u8])> {
    match format {
        Format::Assignments => {
            let assigned = line.strip_prefix(b"source_").or_else(|| line.strip_prefix(b"deps_"))?;
            split(assigned, b" :=")
        }
        Format::Rule => split(line, b": "),
    }
}

/// The words of a list. `$(wildcard include/config/X)` is no source file.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let plain = if text.trim_ascii_start().starts_with(b"$(") { &[] } else { text };
    plain.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The words of a command, each from its occurrence of the prefix on: as in `-include/src/a.h` and `--file=/src/b`.
fn words_below<'a>(text: &'a [u8], prefix: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`;:,()|&<>=\\$".contains(byte);
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = find(rest, prefix)?;
        let word = &rest[at..];
        let length = word.iter().position(ends).unwrap_or(word.len());
        rest = &word[length.max(prefix.len())..];
        Some(&word[..length])
    })
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    find(text, at).map(|place| (&text[..place], &text[place + at.len()..]))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
