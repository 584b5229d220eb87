//! Events as plain lines, for logs and pipes.

use std::io::{self, Write};

use super::style::{Style, duration};
use crate::exec::event::{Event, Finished, How, Sink};
use crate::store::Outcome;

/// Writes a line for what begins and what ends.
pub struct Lines<W> {
    /// Where to.
    pub out: W,
    /// Colors.
    pub style: Style,
    /// Only what went wrong.
    pub quiet: bool,
}

impl<W: Write> Sink for Lines<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let text = match event {
            Event::Started { node, reasons, expected } if !self.quiet => {
                let why = reasons.first().map(|reason| format!(": {reason}")).unwrap_or_default();
                let expected =
                    expected.map(|time| format!(" (took {} before)", duration(time))).unwrap_or_default();
                format!("{} {node}{why}{expected}\n", self.style.bold("run "))
            }
            Event::Waiting { node, holder } if !self.quiet => {
                format!("{} {node}: another kiln runs it ({holder})\n", self.style.bold("wait"))
            }
            Event::Finished(finished) if !self.quiet || finished.outcome != Outcome::Pass => {
                ended(finished, self.style)
            }
            Event::Warning { message } => format!("{} {message}\n", self.style.warn("warning:")),
            _ => return Ok(()),
        };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// A node's end, with its log's end where it went wrong.
pub(super) fn ended(finished: &Finished, style: Style) -> String {
    let Finished { node, outcome, how, message, duration: time, log_tail, .. } = finished;
    let word = match outcome {
        Outcome::Pass => style.good("done"),
        Outcome::Fail | Outcome::Infra => style.bad(outcome),
        Outcome::Skipped | Outcome::Cancelled => style.warn(outcome),
    };
    let note = match how {
        How::RanUnchanged => format!(" in {}: same outputs as before", duration(*time)),
        How::Restored => " from the cache".to_owned(),
        How::Ran => format!(" in {}", duration(*time)),
    };
    let said = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let mut text = format!("{word} {node}{note}{said}\n");
    if matches!(outcome, Outcome::Fail | Outcome::Infra) {
        for line in log_tail {
            text.extend(["  ", &*style.dim("|"), " ", &**line, "\n"]);
        }
        if !log_tail.is_empty() {
            text.extend(["  ", &*style.dim(format!("whole log: kiln log {node}")), "\n"]);
        }
    }
    text
}
