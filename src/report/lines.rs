//! Events as plain lines, for logs and pipes.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::fetching::fetching;
use super::style::{Style, duration};
use crate::exec::event::{Event, Fetching, Finished, How, Sink};
use crate::store::Outcome;

/// The interval between lines about transfers from remotes.
const FETCHING: Duration = Duration::from_secs(5);

/// Writes a line for each start and each end.
pub struct Lines<W> {
    out: W,
    style: Style,
    quiet: bool,
    /// The time of the last line about transfers.
    fetching: Option<Instant>,
    untold: Option<Fetching>,
}

impl<W> Lines<W> {
    /// Lines on `out`; with `quiet`, only about failures.
    pub const fn new(out: W, style: Style, quiet: bool) -> Self {
        Self { out, style, quiet, fetching: None, untold: None }
    }

    /// The line about transfers, if it is time for one: at the end, and at intervals.
    fn fetching(&mut self, is_time: bool) -> String {
        let now = Instant::now();
        let since = *self.fetching.get_or_insert(now);
        if !is_time && now.duration_since(since) < FETCHING {
            return String::new();
        }
        let Some(untold) = self.untold.take() else { return String::new() };
        self.fetching = Some(now);
        format!("{} {}\n", self.style.bold("fetch"), fetching(&untold))
    }
}

impl<W: Write> Sink for Lines<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let text = match event {
            Event::Fetching(fetching) if !self.quiet => {
                self.untold = Some(*fetching);
                self.fetching(false)
            }
            Event::Ended(_) => self.fetching(true),
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

/// The end of a node, with the end of its log if it failed.
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
