//! A job's log as text: the console's lines, and LAVA's own lines with the prefix `lava LEVEL: `.
//!
//! LAVA stores the log as a YAML list with one entry a line: `- {"dt": .., "lvl": .., "msg": ..}`. It is parsed line by line.
//! A line that is no entry is passed on unchanged.

use std::io::Write;

use serde::Deserialize;
use serde_json::Value;

use super::server::{ApiCall, Streamed};
use super::{JobId, Lava, LavaError, yaml};

/// The largest log, in bytes received and in bytes written.
const MAX_LOG: u64 = 64 << 20;

/// The longest line that is parsed as an entry, in bytes. LAVA itself cuts lines at a tenth of this.
const MAX_LINE: usize = 1 << 20;

impl Lava {
    /// Writes the log of a job, cut at 64 MiB with a line that says so. A job without a log yet has an empty one.
    pub fn log(&self, id: JobId, to: &mut dyn Write) -> Result<(), LavaError> {
        let call = ApiCall::get(&["jobs", &id.to_string(), "logs"]).accepting("*/*");
        let mut text = Text::new(to);
        let streamed = self.calls.wait(self.server.stream(&call, |piece| text.take(piece)))?;
        match streamed {
            // The job may not have started, or may not exist.
            Streamed::Refused(404) => self.job(id).map(drop),
            Streamed::Refused(401 | 403) => Err(LavaError::Denied(format!("the log of job {id}"))),
            Streamed::Refused(status @ 500..) => {
                Err(LavaError::Failed(format!("the log of job {id}: {status}")))
            }
            Streamed::Refused(status) => Err(LavaError::Unexpected(format!("the log of job {id}: {status}"))),
            Streamed::Whole | Streamed::Enough => text.end().map_err(LavaError::Local),
        }
    }
}

/// An entry of a log.
#[derive(Deserialize)]
struct Entry {
    lvl: String,
    #[serde(default)]
    msg: Value,
}

/// Converts a log to text as it arrives.
struct Text<'a> {
    to: &'a mut dyn Write,
    /// The current line.
    line: Vec<u8>,
    /// Whether the start of the line was written already, as it is too long to be an entry.
    long: bool,
    read: u64,
    written: u64,
}

impl<'a> Text<'a> {
    fn new(to: &'a mut dyn Write) -> Self {
        Self { to, line: Vec::new(), long: false, read: 0, written: 0 }
    }

    /// Converts a chunk. `false`: the log is large enough.
    fn take(&mut self, piece: &[u8]) -> Result<bool, LavaError> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            let whole = part.ends_with(b"\n");
            if whole || self.line.len() > MAX_LINE {
                self.put(!whole).map_err(LavaError::Local)?;
            }
        }
        self.read += piece.len() as u64;
        Ok(!self.is_full())
    }

    /// Writes the rest.
    fn end(mut self) -> std::io::Result<()> {
        let full = self.is_full();
        if !self.line.is_empty() && !full {
            self.put(false)?;
        }
        if full {
            writeln!(self.to, "\n(the log goes on: this is its first {} MiB)", MAX_LOG >> 20)?;
        }
        self.to.flush()
    }

    const fn is_full(&self) -> bool {
        self.read >= MAX_LOG || self.written >= MAX_LOG
    }

    /// Writes the current line, or the part of it that has arrived.
    fn put(&mut self, goes_on: bool) -> std::io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let entry = if self.long || goes_on { None } else { text(&line) };
        self.long = goes_on;
        let bytes = entry.as_deref().unwrap_or(&line);
        let left = usize::try_from(MAX_LOG.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(left)];
        self.written += bytes.len() as u64;
        self.to.write_all(bytes)
    }
}

/// The text of an entry, or `None` for other lines.
fn text(line: &[u8]) -> Option<Vec<u8>> {
    let line = String::from_utf8_lossy(line);
    let entry = line.trim_end().strip_prefix("- ")?;
    // Most entries are valid JSON, which parses ten times as fast.
    let entry: Entry = serde_json::from_str(entry).ok().or_else(|| yaml::read(entry).ok())?;
    let message = match &entry.msg {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let message = message.trim_end_matches('\n');
    Some(match &*entry.lvl {
        // The output of the board, on this or another of its consoles.
        "target" | "feedback" => format!("{message}\n").into_bytes(),
        level => format!("lava {}: {message}\n", crate::text::one_line(level)).into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let mut written = Vec::new();
        let mut text = Text::new(&mut written);
        for piece in pieces {
            assert!(text.take(piece).unwrap());
        }
        text.end().unwrap();
        written
    }

    #[test]
    fn console_lines_are_bare_and_lavas_lines_have_a_prefix() {
        let log = br#"- {"dt": "2026-11-22T06:04:14.184902", "lvl": "info", "msg": "start: 0 validate"}
- {"dt": "2026-11-22T06:04:14.2", "lvl": "target", "msg": "\e[32m[    0.000000] Linux \"6.1\"\xE9"}
- {"dt": "2026-11-22T06:04:14.3", "lvl": "results", "msg": {"case": "validate", "definition": "lava", "result": "pass"}}
- {"dt": "2026-11-22T06:04:14.4", "lvl": "feedback", "msg": "from afar", "ns": "dut"}
- {"dt": "2026-11-22T06:04:14.5", "lvl": "debug", "msg": !!null "null"}
"#;
        let expected = "lava info: start: 0 validate\n\u{1b}[32m[    0.000000] Linux \"6.1\"\u{e9}\n\
                        lava results: {\"case\":\"validate\",\"definition\":\"lava\",\"result\":\"pass\"}\n\
                        from afar\nlava debug: \n";
        assert_eq!(String::from_utf8(read(&[log])).unwrap(), expected);
        // The result does not depend on the chunks.
        let bytes: Vec<&[u8]> = log.chunks(1).collect();
        assert_eq!(String::from_utf8(read(&bytes)).unwrap(), expected);
    }

    #[test]
    fn lines_that_are_no_entries_are_passed_on() {
        let log = b"no yaml \xff\xfe\n- {\"lvl\": \"target\", \"msg\": \"broken\n- just a text\n- {\"lvl\": \"target\", \"msg\": \"\xff\"}\nend";
        let expected =
            b"no yaml \xff\xfe\n- {\"lvl\": \"target\", \"msg\": \"broken\n- just a text\n\xef\xbf\xbd\nend";
        assert_eq!(read(&[log]), expected);
    }

    #[test]
    fn an_alias_bomb_is_passed_on_as_a_line() {
        let bomb = b"- {\"lvl\": &a [&b [x,x,x,x],*b,*b,*b,*b], \"msg\": [*a,*a,*a,*a]}\n";
        assert_eq!(read(&[bomb]), bomb);
        let deep = [b"- ".as_slice(), &b"[".repeat(10_000), b"\n"].concat();
        assert_eq!(read(&[&deep]), deep);
    }

    struct Count<'a>(&'a mut u64);

    impl Write for Count<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            *self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn memory_use_is_bounded_for_long_lines_and_endless_logs() {
        let mut written = 0;
        let mut count = Count(&mut written);
        let mut text = Text::new(&mut count);
        let piece = vec![b'x'; 1 << 20];
        let mut pieces = 0_u64;
        while text.take(&piece).unwrap() {
            assert!(text.line.len() <= MAX_LINE + piece.len());
            pieces += 1;
            assert!(pieces <= MAX_LOG >> 20);
        }
        text.end().unwrap();
        assert!((MAX_LOG - MAX_LINE as u64..MAX_LOG + 100).contains(&written), "{written}");
    }
}
