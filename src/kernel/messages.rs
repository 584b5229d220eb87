//! Warnings and errors in the log of a kernel build.
//!
//! | program | format |
//! | --- | --- |
//! | gcc, clang, as | `FILE:LINE:COLUMN: warning: TEXT [-Wflag]`, `error`, `fatal error`; the column may be missing |
//! | dtc | `FILE:LINE.COLUMN-LINE.COLUMN: Warning (check): TEXT` |
//! | ld, objtool, modpost | `PROGRAM: warning: TEXT`, `WARNING: modpost: TEXT`, `ERROR: modpost: TEXT` |
//! | Kconfig | `FILE:LINE:warning: TEXT` |
//! | make | `make[2]: *** TEXT.  Stop.`, `FILE:LINE: *** TEXT.  Stop.` |
//!
//! A header's warning appears once for each file that includes it: equal messages at one location are one, with a count.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use serde::Serialize;

/// The number of distinct messages that are kept. All are counted.
const MAX_KEPT: usize = 10_000;

/// The longest parsed line, in bytes. The rest of a longer line is ignored.
const MAX_LINE: u64 = 64 * 1024;

/// Its severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Message {
    /// Its severity.
    pub severity: Severity,
    /// The file, relative to the source tree if it is inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The text.
    pub text: String,
}

/// The messages of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// The number of distinct warnings.
    pub warnings: u64,
    /// The number of distinct errors.
    pub errors: u64,
    /// The messages with their counts, in the order of their first occurrence.
    pub messages: Vec<Counted>,
}

/// A message with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// The number of occurrences.
    pub count: u64,
}

/// Parses a log. `trees` are the prefixes to remove from paths: the source trees inside the sandbox.
pub fn read(mut log: impl BufRead, trees: &[String]) -> io::Result<Messages> {
    let mut found = Messages::default();
    let mut kept: HashMap<Message, usize> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE {
            log.skip_until(b'\n')?;
        }
        let Some(message) = of_line(&String::from_utf8_lossy(&line), trees) else { continue };
        if let Some(&at) = kept.get(&message) {
            found.messages[at].count += 1;
            continue;
        }
        match message.severity {
            Severity::Warning => found.warnings += 1,
            Severity::Error => found.errors += 1,
        }
        if found.messages.len() < MAX_KEPT {
            kept.insert(message.clone(), found.messages.len());
            found.messages.push(Counted { message, count: 1 });
        }
    }
}

fn of_line(line: &str, trees: &[String]) -> Option<Message> {
    let line = line.trim_end();
    // Each make above a failed recipe repeats the failure; the failed program prints the reason.
    if let Some((before, text)) = line.split_once("*** ") {
        let (file, line) = place(before.trim_end().strip_suffix(':').unwrap_or_default());
        let says_why = !text.starts_with('[') && !text.starts_with("Waiting for unfinished jobs");
        return says_why.then(|| Message {
            severity: Severity::Error,
            file: line.and(Some(relative(file, trees))),
            line,
            text: text.to_owned(),
        });
    }
    for (word, severity) in [("WARNING: ", Severity::Warning), ("ERROR: ", Severity::Error)] {
        if let Some(text) = line.strip_prefix(word) {
            return Some(Message { severity, file: None, line: None, text: text.to_owned() });
        }
    }
    let (before, severity, text) = split(line)?;
    let (file, number) = place(before);
    // `make: warning:` and `ld: warning:` name a program instead of a file.
    Some(Message {
        severity,
        file: number.and(Some(relative(file, trees))),
        line: number,
        text: if number.is_some() { text.to_owned() } else { format!("{file}: {text}") },
    })
}

/// Splits a line at its first severity word.
fn split(line: &str) -> Option<(&str, Severity, &str)> {
    const WORDS: [(&str, Severity); 5] = [
        (": fatal error: ", Severity::Error),
        (": error: ", Severity::Error),
        (": warning: ", Severity::Warning),
        (":warning: ", Severity::Warning),
        (": Warning (", Severity::Warning),
    ];
    let found = WORDS.iter().filter_map(|&(word, severity)| Some((line.find(word)?, word, severity)));
    let (at, word, severity) = found.min_by_key(|(at, ..)| *at)?;
    // The parentheses hold the name of dtc's check.
    let from = at + word.trim_end_matches('(').len();
    let before = &line[..at];
    // A sentence is no location.
    (!before.is_empty() && !before.contains([' ', '\t'])).then_some((before, severity, &line[from..]))
}

/// Parses `FILE:LINE`, `FILE:LINE:COLUMN`, `FILE:LINE.COLUMN-LINE.COLUMN`, or a text without a line.
fn place(text: &str) -> (&str, Option<u64>) {
    let digits = |text: &str| text.split(['.', '-']).next().and_then(|line| line.parse().ok());
    let Some((rest, last)) = text.rsplit_once(':') else { return (text, None) };
    let Some(last) = digits(last) else { return (text, None) };
    match rest.rsplit_once(':') {
        Some((file, line)) if digits(line).is_some() => (file, digits(line)),
        _ => (rest, Some(last)),
    }
}

fn relative(path: &str, trees: &[String]) -> String {
    let inside = |tree: &String| path.strip_prefix(tree.as_str())?.strip_prefix('/');
    trees.iter().find_map(inside).unwrap_or(path).trim_start_matches("./").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(log: &str) -> Messages {
        read(log.as_bytes(), &["/kiln/in/source".to_owned()]).unwrap()
    }

    fn shown(log: &str) -> Vec<String> {
        let line = |counted: &Counted| {
            let Message { severity, file, line, text } = &counted.message;
            let place = file.as_deref().map(|file| format!("{file}:{} ", line.unwrap_or(0)));
            format!("{severity:?} {}{text} x{}", place.unwrap_or_default(), counted.count)
        };
        read_text(log).messages.iter().map(line).collect()
    }

    #[test]
    fn each_tool_is_understood() {
        for (line, expected) in [
            (
                "/kiln/in/source/lib/a.c:7:3: warning: unused variable 'x' [-Wunused-variable]",
                "Warning lib/a.c:7 unused variable 'x' [-Wunused-variable] x1",
            ),
            ("./include/b.h:12: error: expected ';'", "Error include/b.h:12 expected ';' x1"),
            ("lib/a.c:1:10: fatal error: no.h: No such file", "Error lib/a.c:1 no.h: No such file x1"),
            (
                ".config:99:warning: override: reassigning to symbol X",
                "Warning .config:99 override: reassigning to symbol X x1",
            ),
            (
                "arch/arm/boot/dts/v.dts:12.3-15: Warning (reg_format): /a:reg: too short",
                "Warning arch/arm/boot/dts/v.dts:12 (reg_format): /a:reg: too short x1",
            ),
            ("ld: warning: vmlinux has a LOAD segment", "Warning ld: vmlinux has a LOAD segment x1"),
            (
                "vmlinux.o: warning: objtool: f+0x1: unreachable",
                "Warning vmlinux.o: objtool: f+0x1: unreachable x1",
            ),
            ("WARNING: modpost: missing MODULE_LICENSE()", "Warning modpost: missing MODULE_LICENSE() x1"),
            ("ERROR: modpost: \"f\" undefined!", "Error modpost: \"f\" undefined! x1"),
            (
                "make[2]: *** No rule to make target 'lib/a.o', needed by 'lib/built-in.a'.  Stop.",
                "Error No rule to make target 'lib/a.o', needed by 'lib/built-in.a'.  Stop. x1",
            ),
            (
                "/kiln/in/source/lib/Makefile:12: *** missing separator.  Stop.",
                "Error lib/Makefile:12 missing separator.  Stop. x1",
            ),
        ] {
            assert_eq!(shown(line), [expected], "{line}");
        }
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in [
            "  CC      kernel/warning.o",
            "printk: this would be an error: in a sentence",
            "In file included from a.c:1:",
            "a.c: In function 'warning':",
            "   12 | #warning: no",
            "make[3]: *** [/kiln/in/source/scripts/Makefile.build:250: lib/a.o] Error 1",
            "make: *** [sub-make] Error 2",
            "make[1]: *** Waiting for unfinished jobs....",
            "",
            "\u{fffd}",
        ] {
            assert_eq!(shown(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn the_same_at_the_same_place_is_one() {
        let log = "a.h:1:1: warning: w\nb.c:1:1: error: e\na.h:1:1: warning: w\na.h:2:1: warning: w\n";
        let found = read_text(log);
        assert_eq!((found.warnings, found.errors), (2, 1));
        assert_eq!(found.messages.iter().map(|counted| counted.count).collect::<Vec<_>>(), [2, 1, 1]);
    }

    #[test]
    fn long_lines_and_bytes_of_any_kind_do_no_harm() {
        let mut log = vec![b'x'; 3 * 64 * 1024];
        log.extend(b"\na.c:1:1: warning: \xff\xfe\n");
        let found = read(log.as_slice(), &[]).unwrap();
        assert_eq!(found.warnings, 1);
        assert_eq!(found.messages[0].message.line, Some(1));
    }

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let log: String = (0..MAX_KEPT + 5).map(|n| format!("a.c:{n}:1: warning: w\n")).collect();
        let found = read_text(&log);
        assert_eq!((usize::try_from(found.warnings), found.messages.len()), (Ok(MAX_KEPT + 5), MAX_KEPT));
    }
}
