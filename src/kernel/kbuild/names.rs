//! The names of files in one record.

/// A name as a record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) text: &'a [u8],
    pub(super) origin: Origin,
    /// Whether the target that it belongs to has an absolute name. kbuild's own targets are relative to O=, and so are
    /// the names in their lists; the build system of `tools/` has absolute targets, and names relative to wherever
    /// make was.
    of_absolute: bool,
}

/// Where in a record a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// In a list of files that were read.
    List,
    /// In Kconfig's own list.
    Kconfig,
    /// In a command: a file, if there is one of that name.
    Command,
}

impl Name<'_> {
    /// Whether it is relative to a directory that the record does not tell.
    pub(super) fn is_relative_to_unknown(&self) -> bool {
        self.of_absolute && self.origin == Origin::List && !self.text.starts_with(b"/")
    }
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Assignments to make's variables: `source_TARGET := FILE`, `deps_TARGET := FILES`, `cmd_TARGET := COMMAND`.
    Assignments,
    /// A rule, as a compiler writes it: `TARGET: FILES`.
    Rule,
}

/// Calls `found` with each name. Of commands, only words with `prefix` in them count.
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

/// The target and the rest of a line that begins a list.
fn listed(line: &[u8], format: Format) -> Option<(&[u8], &[u8])> {
    match format {
        Format::Assignments => {
            let assigned = line.strip_prefix(b"source_").or_else(|| line.strip_prefix(b"deps_"))?;
            split(assigned, b" :=")
        }
        Format::Rule => split(line, b": "),
    }
}

/// The words of a list. `$(wildcard include/config/X)` is no file of the source.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let plain = if text.trim_ascii_start().starts_with(b"$(") { &[] } else { text };
    plain.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The words of a command from where they have the prefix on: `-include/src/a.h` has one, as has `--file=/src/b`.
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
