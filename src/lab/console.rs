//! Watches a kernel's console until it is clear how the boot went.
//!
//! [`Console`] is a state machine: bytes and the time go in, a verdict comes out. It never looks at a clock, so its
//! tests never wait. [`watch`] drives it from a pipe.

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

use self::text::{Plain, Programs};

/// How much of a line is kept. A longer one is read in pieces that overlap.
const MAX_LINE: usize = 4096;

/// How many characters of a line a verdict quotes.
const MAX_QUOTE: usize = 500;

/// How long to go on reading after a panic or an oops: what comes then says where it happened.
const AFTERMATH: Duration = Duration::from_secs(2);

/// What the kernel prints when it gives up.
const PANIC: &str = "Kernel panic - not syncing";

/// What the kernel prints when it has hurt itself but may go on.
const OOPSES: [&str; 7] = [
    // Most architectures, each with more words around it; `[#1]` counts and is the one thing that riscv has.
    "Oops:",
    "[#1]",
    "Internal error:",
    "Unable to handle kernel",
    "Kernel Fault:",
    // BUG(), sanitizers, lockups.
    "kernel BUG at",
    "BUG: ",
];

/// How a line ends that asks for a user's name.
const LOGIN: &str = "login:";

/// How long nothing may follow a login prompt until it is taken for one.
const PROMPT: Duration = Duration::from_secs(2);

/// How often whoever watches looks around.
const LOOK: Duration = Duration::from_secs(1);

/// What a boot has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// A text of the test's own.
    Marker,
    /// A line that ends in `login:`, with nothing after it.
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

/// How a boot went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsoleVerdict {
    /// What was awaited appeared.
    Passed {
        /// What it was.
        awaited: Awaited,
        /// Time from the start.
        after: Duration,
    },
    /// The kernel gave up.
    Panic {
        /// The line that says so.
        line: String,
    },
    /// The kernel hurt itself; whether it went on does not matter.
    Oops {
        /// The first line that says so.
        line: String,
    },
    /// The user space asks who is there: it is not the one that prints the marker, or it did not run the test.
    Login {
        /// The prompt.
        line: String,
    },
    /// Time was up. By itself that says nothing of the kernel: the machine may have had too little time.
    TimeUp {
        /// What did not appear.
        awaited: Awaited,
        /// The last line that was printed; empty where there was none.
        last_line: String,
        /// Since when nothing was printed.
        silent: Duration,
    },
    /// The machine ended before what was awaited appeared.
    Ended {
        /// What that is.
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
    plain: Plain,
    programs: Programs,
    /// The line of programs so far, or its last part: kernel messages in the middle of it are left out.
    program_line: Vec<u8>,
    /// When anything was last printed.
    heard: Instant,
    /// The kernel's clock and ours at its first and at its last message.
    clocks: Option<((Duration, Instant), (Duration, Instant))>,
    /// The line so far, or its last part.
    line: Vec<u8>,
    /// How much of `line` was searched for the marker.
    searched: usize,
    last_line: String,
    /// Since when the line ends like a login prompt.
    prompt: Option<Instant>,
    fault: Option<ConsoleVerdict>,
    verdict: Option<ConsoleVerdict>,
}

impl Console {
    /// Starts watching for `marker`, which may appear anywhere in a line; for a login prompt where it is empty.
    pub fn new(marker: &str, time_limit: Duration, now: Instant) -> Self {
        Self {
            marker: marker.as_bytes().to_vec(),
            started: now,
            deadline: now + time_limit,
            plain: Plain::default(),
            programs: Programs::default(),
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

    /// When [`tick`](Self::tick) has to be called if nothing is printed until then.
    pub fn deadline(&self) -> Instant {
        self.prompt.map_or(self.deadline, |since| self.deadline.min(since + PROMPT))
    }

    fn awaited(&self) -> Awaited {
        if self.marker.is_empty() { Awaited::Login } else { Awaited::Marker }
    }

    /// How long the kernel printed messages, by its own clock and by ours.
    pub fn clocks(&self) -> Option<(Duration, Duration)> {
        let (first, last) = self.clocks?;
        Some((last.0.saturating_sub(first.0), last.1 - first.1))
    }

    /// Takes what was printed. Once there is a verdict it stays.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) -> Option<&ConsoleVerdict> {
        let text = self.plain.take(bytes);
        if text.iter().any(|byte| !byte.is_ascii_whitespace()) {
            self.heard = now;
        }
        // Carriage returns end lines too: consoles send `\r\n` and `\r\r\n`, and some programs rewrite their line.
        for piece in text.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.verdict.is_some() {
                break;
            }
            self.take(piece, now);
            let printed = self.programs.take(piece);
            if !printed.is_empty() {
                self.take_of_programs(&printed, now);
            }
            if let Some(stamp) = self.programs.stamp() {
                let at = (stamp, now);
                let (first, last) = self.clocks.unwrap_or((at, at));
                self.clocks = Some((first, if last.0 == stamp { last } else { at }));
            }
        }
        self.tick(now)
    }

    /// Lets time pass.
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

    /// The machine has ended, and all it printed was fed.
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

    /// What is kept of a line that is too long, so that nothing is torn apart: more than any text that is looked for.
    fn overlap(&self) -> usize {
        self.marker.len().max(128)
    }

    /// Looks before the line ends: a program may print the marker and never end its line.
    fn look_for_marker(&mut self, now: Instant) {
        let from = self.searched.saturating_sub(self.marker.len());
        self.searched = self.line.len();
        let Some(at) = find(&self.line[from..], &self.marker) else { return };
        self.found_marker(fault_in(&self.line[..from + at]).is_some(), now);
    }

    /// After an oops a marker is worth nothing, even in the oops' own line: nobody promised that the kernel ends its line
    /// before a program prints.
    fn found_marker(&mut self, behind_fault: bool, now: Instant) {
        if self.verdict.is_none() && self.fault.is_none() && !behind_fault {
            let (awaited, after) = (self.awaited(), now - self.started);
            self.verdict = Some(ConsoleVerdict::Passed { awaited, after });
        }
    }

    /// Takes what programs printed, kernel messages left out: a marker or a prompt that one of them has torn is whole here.
    fn take_of_programs(&mut self, printed: &[u8], now: Instant) {
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
        // A prompt is the one line that no one ends. What a program prints after it shows that it was none.
        let is_prompt =
            self.fault.is_none() && self.program_line.trim_ascii_end().ends_with(LOGIN.as_bytes());
        // A fault in the very line is judged at its end.
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
    // `DEBUG: ` is no bug.
    let starts = |at: usize| at == 0 || !line[at - 1].is_ascii_alphanumeric();
    let oops = |sign: &str| (0..line.len()).any(|at| line[at..].starts_with(sign.as_bytes()) && starts(at));
    OOPSES.iter().any(|sign| oops(sign)).then(|| ConsoleVerdict::Oops { line: readable(line) })
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    find(text, wanted).is_some()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    // A window must not be empty, and an empty marker is in no line.
    if wanted.is_empty() { None } else { text.windows(wanted.len()).position(|window| window == wanted) }
}

/// A line as people can read it: valid UTF-8, without control characters, of bearable length.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim().chars().filter(|char| !char.is_control()).take(MAX_QUOTE).collect()
}

/// Watches `source` until there is a verdict, and copies all that is read to `log`. `look` is called about once a
/// second.
///
/// A `source` that ends is a machine that ended. The caller stops the machine afterwards.
pub fn watch(
    source: &mut (impl Read + AsFd),
    console: &mut Console,
    log: &mut dyn Write,
    look: &mut dyn FnMut(),
) -> io::Result<ConsoleVerdict> {
    let mut buffer = [0; 8192];
    loop {
        // One more than the whole milliseconds: to wake up early would be to spin.
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
