//! Readers of files that runs leave: results, messages, logs. Their content is untrusted.

use serde::Deserialize;

use super::status::Messages;
use crate::lab::record::{self, Record};
use crate::text::one_line_marked;

/// The number of bytes kept of the end of a log: what KCIDB accepts.
const TAIL: usize = 16 << 10;

/// The number of errors kept of a build.
const ERRORS: usize = 5;

/// Reads the results of a lab.
pub(super) fn read_record(bytes: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if record.version > record::VERSION {
        return Err(format!(
            "they are of version {}, and this kiln knows {}",
            record.version,
            record::VERSION
        ));
    }
    Ok(record)
}

/// The parts of `messages.json` that are reported.
#[derive(Deserialize)]
struct Said {
    warnings: u64,
    errors: u64,
    messages: Vec<SaidOnce>,
}

#[derive(Deserialize)]
struct SaidOnce {
    severity: String,
    file: Option<String>,
    line: Option<u64>,
    text: String,
}

/// Reads the messages of compilers and kbuild.
pub(super) fn read_messages(bytes: &[u8]) -> Option<Messages> {
    let said: Said = serde_json::from_slice(bytes).ok()?;
    let errors = said.messages.iter().filter(|message| message.severity == "error");
    let shown = |message: &SaidOnce| match (&message.file, message.line) {
        (Some(file), Some(line)) => one_line_marked(&format!("{file}:{line}: {}", message.text)),
        _ => one_line_marked(&message.text),
    };
    let first_errors = errors.take(ERRORS).map(shown).collect();
    Some(Messages { warnings: said.warnings, errors: said.errors, first_errors })
}

/// The last lines of a log.
pub(super) fn tail(log: &[u8]) -> String {
    let cut = log.len().saturating_sub(TAIL);
    let mut end = &log[cut..];
    if cut > 0
        && let Some(line) = end.iter().position(|&byte| byte == b'\n')
    {
        end = &end[line + 1..];
    }
    String::from_utf8_lossy(end).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_with_a_whole_line() {
        assert_eq!(tail(b"one\ntwo\n"), "one\ntwo\n");
        let long: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let end = tail(long.as_bytes());
        assert!(end.len() <= TAIL && end.starts_with("line ") && end.ends_with("line 9999\n"), "{end}");
        // A single long line is cut anywhere.
        assert_eq!(tail("x".repeat(2 * TAIL).as_bytes()).len(), TAIL);
    }

    #[test]
    fn results_of_another_time_are_not_read() {
        let record = |version: u32| {
            format!(
                r#"{{"version":{version},"lab":"l","job":1,"page":"","device-type":"d","outcome":"pass",
                    "message":"","attempts":[],"suites":[]}}"#
            )
        };
        assert_eq!(read_record(record(1).as_bytes()).unwrap().lab, "l");
        let later = read_record(record(2).as_bytes()).unwrap_err();
        assert_eq!(later, "they are of version 2, and this kiln knows 1");
        read_record(b"{}").unwrap_err();
    }

    #[test]
    fn errors_are_told_with_their_places() {
        let messages = br#"{"warnings":1,"errors":2,"messages":[
            {"severity":"warning","file":"a.c","line":1,"text":"w","count":1},
            {"severity":"error","file":"b.c","line":2,"text":"e\u001b[31m","count":1},
            {"severity":"error","text":"modpost: no","count":3}]}"#;
        let read = read_messages(messages).unwrap();
        assert_eq!((read.warnings, read.errors), (1, 2));
        assert_eq!(read.first_errors, ["b.c:2: e\u{fffd}[31m", "modpost: no"]);
    }
}
