//! Watches a kernel's console until the result of the boot is known.
//!
//! [`Console`] is a state machine: bytes and the current time go in, a verdict comes out. It reads no clock, so its tests need
//! no waiting. [`watch`] drives it from a pipe.

#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use self::text::{EscapeFilter, ProgramOutput};

/// The longest line that is kept, in bytes. Longer ones are processed in overlapping parts.
const MAX_LINE: usize = 4096;

/// The longest quote of a line in a verdict, in characters.
const MAX_QUOTE: usize = 500;

/// How long to continue reading after a panic or an oops, for the stack trace.
const AFTERMATH: Duration = Duration::from_secs(2);

/// The kernel's panic message.
const PANIC: &str = "Kernel panic - not syncing";

/// The kernel's messages for errors after which it may continue.
const OOPSES: [&str; 7] = [
    // Most architectures. riscv only prints the counter `[#1]`.
    "Oops:",
    "[#1]",
    "Internal error:",
    "Unable to handle kernel",
    "Kernel Fault:",
    // BUG(), sanitizers, lockups.
    "kernel BUG at",
    "BUG: ",
];

/// The end of a login prompt.
const LOGIN: &str = "login:";

/// A line counts as a login prompt if nothing follows it for this long.
const PROMPT: Duration = Duration::from_secs(2);

/// The interval of calls of `look` in [`watch`].
const LOOK: Duration = Duration::from_secs(1);

/// What a boot must print to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// The test's marker.
    Marker,
    /// A line that ends with `login:`.
    Login,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marker => "marker",
            Self::Login => "login prompt",
        })
    }
}

/// The result of a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsoleVerdict {
    /// The awaited text appeared.
    Passed {
        /// The awaited text.
        awaited: Awaited,
        /// The time since the start.
        after: Duration,
    },
    /// The kernel panicked.
    Panic {
        /// The panic message.
        line: String,
    },
    /// The kernel printed an error, whether it continued or not.
    Oops {
        /// The first such line.
        line: String,
    },
    /// A login prompt appeared instead of the marker: the user space is not that of the test, or did not run it.
    Login {
        /// The prompt.
        line: String,
    },
    /// The time limit passed. By itself this says nothing of the kernel: the host may be too busy.
    TimeUp {
        /// The awaited text.
        awaited: Awaited,
        /// The last printed line, or empty.
        last_line: String,
        /// How long nothing was printed.
        silent: Duration,
    },
    /// The machine ended before the awaited text appeared.
    Ended {
        /// The awaited text.
        awaited: Awaited,
    },
}

impl ConsoleVerdict {
    /// Whether this is a pass.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

impl fmt::Display for ConsoleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { awaited, after } => {
                write!(f, "booted to the {awaited} in {:.1} s", after.as_secs_f64())
            }
            Self::Panic { line } => write!(f, "the kernel panicked: {line}"),
            Self::Oops { line } => write!(f, "the kernel oopsed: {line}"),
            Self::Login { line } => write!(f, "a login prompt instead of the marker: {line}"),
            Self::TimeUp { awaited, last_line, .. } if last_line.is_empty() => {
                write!(f, "no {awaited} in time; nothing was ever printed")
            }
            Self::TimeUp { awaited, last_line, .. } => {
                write!(f, "no {awaited} in time; the last line was: {last_line}")
            }
            Self::Ended { awaited } => write!(f, "the machine ended before the {awaited} appeared"),
        }
    }
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Console {
    marker: Vec<u8>,
    started: Instant,
    deadline: Instant,
    escapes: EscapeFilter,
    programs: ProgramOutput,
    /// The current line of program output, without kernel messages inside it, or its last part.
    program_line: Vec<u8>,
    /// When the last text was printed.
    heard: Instant,
    /// The kernel's and the host's time at the first and at the last kernel message.
    clocks: Option<((Duration, Instant), (Duration, Instant))>,
    /// The current line, or its last part.
    line: Vec<u8>,
    /// The part of `line` that was searched for the marker, in bytes.
    searched: usize,
    last_line: String,
    /// Since when the line ends with a login prompt.
    prompt: Option<Instant>,
    fault: Option<ConsoleVerdict>,
    verdict: Option<ConsoleVerdict>,
}

impl Console {
    /// Watches for `marker` anywhere in a line, or for a login prompt if `marker` is empty.
    pub fn new(marker: &str, time_limit: Duration, now: Instant) -> Self {
        Self {
            marker: marker.as_bytes().to_vec(),
            started: now,
            deadline: now + time_limit,
            escapes: EscapeFilter::default(),
            programs: ProgramOutput::default(),
            program_line: Vec::new(),
            heard: now,
            clocks: None,
            line: Vec::new(),
            searched: 0,
            last_line: String::new(),
            prompt: None,
            fault: None,
            verdict: None,
        }
    }

    /// When [`tick`](Self::tick) must be called if nothing is printed before.
    pub fn deadline(&self) -> Instant {
        self.prompt.map_or(self.deadline, |since| self.deadline.min(since + PROMPT))
    }

    fn awaited(&self) -> Awaited {
        if self.marker.is_empty() { Awaited::Login } else { Awaited::Marker }
    }

    /// How long the kernel printed messages, by its own clock and by the host's.
    pub fn clocks(&self) -> Option<(Duration, Duration)> {
        let (first, last) = self.clocks?;
        Some((last.0.saturating_sub(first.0), last.1 - first.1))
    }

    /// Processes printed bytes. A verdict is final.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) -> Option<&ConsoleVerdict> {
        let text = self.escapes.take(bytes);
        if text.iter().any(|byte| !byte.is_ascii_whitespace()) {
            self.heard = now;
        }
        // Carriage returns end lines as well: consoles send `\r\n` and `\r\r\n`, and some programs rewrite their line.
        for piece in text.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.verdict.is_some() {
                break;
            }
            self.take(piece, now);
            let printed = self.programs.take(piece);
            if !printed.is_empty() {
                self.take_program_output(&printed, now);
            }
            if let Some(stamp) = self.programs.stamp() {
                let at = (stamp, now);
                let (first, last) = self.clocks.unwrap_or((at, at));
                self.clocks = Some((first, if last.0 == stamp { last } else { at }));
            }
        }
        self.tick(now)
    }

    /// Updates the verdict for the current time.
    pub fn tick(&mut self, now: Instant) -> Option<&ConsoleVerdict> {
        if self.verdict.is_some() {
            return self.verdict.as_ref();
        }
        if let Some(since) = self.prompt.filter(|since| now >= *since + PROMPT) {
            self.verdict = Some(match self.awaited() {
                awaited @ Awaited::Login => ConsoleVerdict::Passed { awaited, after: since - self.started },
                Awaited::Marker => ConsoleVerdict::Login { line: readable(&self.program_line) },
            });
        } else if now >= self.deadline {
            let awaited = self.awaited();
            self.end_line(now);
            self.verdict = Some(self.fault.take().unwrap_or_else(|| ConsoleVerdict::TimeUp {
                awaited,
                last_line: self.last_line.clone(),
                silent: now - self.heard,
            }));
        }
        self.verdict.as_ref()
    }

    /// The verdict after the machine has ended and all its output was fed.
    pub fn finish(&mut self, now: Instant) -> ConsoleVerdict {
        self.end_line(now);
        self.verdict
            .clone()
            .or_else(|| self.fault.clone())
            .unwrap_or(ConsoleVerdict::Ended { awaited: self.awaited() })
    }

    fn take(&mut self, piece: &[u8], now: Instant) {
        let (text, ends) = match piece.split_last() {
            Some((b'\n' | b'\r', text)) => (text, true),
            _ => (piece, false),
        };
        for part in text.chunks(MAX_LINE) {
            self.line.extend_from_slice(part);
            self.look_for_marker(now);
            if self.line.len() > MAX_LINE + self.overlap() {
                self.judge_line(now);
                let surplus = self.line.len() - self.overlap();
                self.line.drain(..surplus);
                self.searched = 0;
            }
        }
        if ends {
            self.end_line(now);
        }
    }

    /// The part of a long line that is kept, in bytes: longer than any searched text, so that none is split.
    fn overlap(&self) -> usize {
        self.marker.len().max(128)
    }

    /// Searches before the line ends: a program may print the marker without a newline.
    fn look_for_marker(&mut self, now: Instant) {
        let from = self.searched.saturating_sub(self.marker.len());
        self.searched = self.line.len();
        let Some(at) = find(&self.line[from..], &self.marker) else { return };
        self.found_marker(fault_in(&self.line[..from + at]).is_some(), now);
    }

    /// A marker after an oops does not count, even in the line of the oops: the kernel may not have ended its line before the
    /// program printed.
    fn found_marker(&mut self, behind_fault: bool, now: Instant) {
        if self.verdict.is_none() && self.fault.is_none() && !behind_fault {
            let (awaited, after) = (self.awaited(), now - self.started);
            self.verdict = Some(ConsoleVerdict::Passed { awaited, after });
        }
    }

    /// Processes program output without kernel messages, so that a marker or prompt that a message interrupts is found.
    fn take_program_output(&mut self, printed: &[u8], now: Instant) {
        for piece in printed.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let ends = matches!(piece.last(), Some(b'\n' | b'\r'));
            let from = self.program_line.len().saturating_sub(self.marker.len());
            self.program_line.extend_from_slice(&piece[..piece.len() - usize::from(ends)]);
            if let Some(at) = find(&self.program_line[from..], &self.marker) {
                self.found_marker(fault_in(&self.program_line[..from + at]).is_some(), now);
            }
            if ends {
                self.program_line.clear();
            } else if self.program_line.len() > MAX_LINE + self.overlap() {
                let surplus = self.program_line.len() - self.overlap();
                self.program_line.drain(..surplus);
            }
        }
        // A prompt is a line without an end. Later output shows that it was no prompt.
        let is_prompt =
            self.fault.is_none() && self.program_line.trim_ascii_end().ends_with(LOGIN.as_bytes());
        // A fault in this line is judged at its end.
        self.prompt = (is_prompt && fault_in(&self.program_line).is_none()).then_some(now);
    }

    fn end_line(&mut self, now: Instant) {
        self.judge_line(now);
        self.line.clear();
        self.searched = 0;
    }

    fn judge_line(&mut self, now: Instant) {
        let text = readable(&self.line);
        if text.is_empty() {
            return;
        }
        if self.fault.is_none() && self.verdict.is_none() {
            self.fault = fault_in(&self.line);
            if self.fault.is_some() {
                self.deadline = self.deadline.min(now + AFTERMATH);
            }
        }
        self.last_line = text;
    }
}

fn fault_in(line: &[u8]) -> Option<ConsoleVerdict> {
    if contains(line, PANIC.as_bytes()) {
        return Some(ConsoleVerdict::Panic { line: readable(line) });
    }
    // `DEBUG: ` is not `BUG: `.
    let starts = |at: usize| at == 0 || !line[at - 1].is_ascii_alphanumeric();
    let oops = |sign: &str| (0..line.len()).any(|at| line[at..].starts_with(sign.as_bytes()) && starts(at));
    OOPSES.iter().any(|sign| oops(sign)).then(|| ConsoleVerdict::Oops { line: readable(line) })
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    find(text, wanted).is_some()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    // `windows` panics for size 0; an empty marker matches nothing.
    if wanted.is_empty() { None } else { text.windows(wanted.len()).position(|window| window == wanted) }
}

/// A printable line: valid UTF-8, without control characters, at most [`MAX_QUOTE`] characters.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim().chars().filter(|char| !char.is_control()).take(MAX_QUOTE).collect()
}

/// Watches `source` until there is a verdict, copies its bytes to `log`, and calls `look` about once a second.
///
/// The end of `source` is the end of the machine. The caller stops the machine afterwards.
pub fn watch(
    source: &mut (impl Read + AsFd),
    console: &mut Console,
    log: &mut dyn Write,
    look: &mut dyn FnMut(),
) -> io::Result<ConsoleVerdict> {
    let mut buffer = [0; 8192];
    loop {
        // Round up: waking early would spin.
        look();
        let wait = console.deadline().saturating_duration_since(Instant::now()).min(LOOK).as_millis() + 1;
        let wait = PollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX));
        let ready = match poll(&mut [PollFd::new(source.as_fd(), PollFlags::POLLIN)], wait) {
            Ok(ready) => ready > 0,
            Err(Errno::EINTR) => false,
            Err(error) => return Err(error.into()),
        };
        let verdict = if ready {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(console.finish(Instant::now())),
                Ok(length) => {
                    log.write_all(&buffer[..length])?;
                    console.feed(&buffer[..length], Instant::now())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Err(error) => return Err(error),
            }
        } else {
            console.tick(Instant::now())
        };
        if let Some(verdict) = verdict {
            return Ok(verdict.clone());
        }
    }
}
