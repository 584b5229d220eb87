//! Kind `Job`: boots a kernel under QEMU in the sandbox and watches its console.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::exec::sandbox::End;
use crate::exec::{StarvationMonitor, WatchResult, Watcher};
use crate::graph::{Action, Value};
use crate::lab::console::{Console, ConsoleVerdict, watch};
use crate::lab::qemu;
use crate::shell::quoted;
use crate::store::Outcome;

/// The output: the console log.
const CONSOLE: &str = "console";

/// The time limit of a boot whose test sets none.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// A machine is silent after this long without output, or after a quarter of its time limit.
const SILENCE: Duration = Duration::from_secs(30);

/// The host is too busy if it kept the machine from running for one in this many seconds.
const STARVED_SHARE: u32 = 4;

/// Boots under QEMU.
pub(super) struct Boot;

impl Watcher for Boot {
    fn steps(&self, action: &Action, inside: &dyn Fn(&str) -> PathBuf) -> Vec<Vec<OsString>> {
        let args = match action.bindings.get("board.args") {
            Some(Value::List(args)) => args.clone(),
            Some(Value::Text(arg)) => vec![arg.clone()],
            None => Vec::new(),
        };
        let has = |input: &str| action.inputs.iter().any(|(name, _)| &**name == input);
        let initrd = has("initramfs").then(|| inside("initramfs"));
        let boot = qemu::Boot {
            program: text(action, "board.qemu"),
            args: &args,
            kernel: &inside("image"),
            initrd: initrd.as_deref(),
            cmdline: text(action, "board.cmdline"),
        };
        vec![boot.argv()]
    }

    fn watch(
        &self,
        action: &Action,
        output: &mut PipeReader,
        log: &mut File,
        pace: &mut StarvationMonitor,
        before: Option<&str>,
    ) -> io::Result<WatchResult> {
        let limit = text(action, "test.time_limit").parse().map_or(TIME_LIMIT, Duration::from_secs);
        let mut console = Console::new(text(action, "test.marker"), limit, Instant::now());
        let verdict = watch(output, &mut console, log, &mut || pace.sample())?;
        let ended = matches!(verdict, ConsoleVerdict::Ended { .. });
        let (outcome, message, hint) =
            Judge { pace, limit, clocks: console.clocks(), before }.judge(&verdict);
        let mut seen = Vec::new();
        log.seek(SeekFrom::Start(0))?;
        log.read_to_end(&mut seen)?;
        Ok(WatchResult { outcome, message, outputs: vec![(CONSOLE.to_owned(), seen)], ended, hint })
    }

    fn ended(
        &self,
        action: &Action,
        inside: &dyn Fn(&str) -> PathBuf,
        watched: WatchResult,
        end: Option<End>,
        errors: &str,
    ) -> WatchResult {
        let how = match end {
            Some(End::StepExited { code, .. }) => format!("exited with {code}"),
            Some(End::StepSignaled { signal, .. }) => format!("was killed by signal {signal}"),
            // The guest switched off or restarted its machine.
            Some(End::AllStepsPassed | End::Killed) | None => return watched,
        };
        let words: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words = if words.is_empty() { String::new() } else { format!(": {}", words.join("; ")) };
        let command = self.steps(action, inside).concat();
        let command: Vec<_> = command.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        let (program, board) = (text(action, "board.qemu"), text(action, "board"));
        let message = format!(
            "{program} {how}{words}\n  it was run as: {}\n  see `qemu` of board {board} in graph.ron",
            command.join(" ")
        );
        WatchResult { outcome: Outcome::Infra, message, ..watched }
    }
}

/// What a boot is judged by, besides its console.
struct Judge<'a> {
    pace: &'a StarvationMonitor,
    limit: Duration,
    /// How long the kernel printed, by its own clock and by the host's.
    clocks: Option<(Duration, Duration)>,
    /// How an earlier attempt was silent.
    before: Option<&'a str>,
}

impl Judge<'_> {
    /// The outcome, its message, and a hint for the next attempt. A fault that the kernel prints is a fail at once. A time
    /// limit is a fail only if two attempts were silent on a host that was not too busy.
    fn judge(&self, verdict: &ConsoleVerdict) -> (Outcome, String, Option<String>) {
        let infra = |message: String| (Outcome::Infra, message, None);
        let (awaited, last_line, silent) = match verdict {
            ConsoleVerdict::Passed { .. } => return (Outcome::Pass, verdict.to_string(), None),
            ConsoleVerdict::Oops { line } | ConsoleVerdict::Panic { line } if is_about_time(line) => {
                return match self.busy(None) {
                    Some(busy) => infra(format!("{verdict}; but {busy}")),
                    None => (Outcome::Fail, verdict.to_string(), None),
                };
            }
            ConsoleVerdict::TimeUp { awaited, last_line, silent } => (awaited, last_line, *silent),
            _ => return (Outcome::Fail, verdict.to_string(), None),
        };
        let limit = rounded(self.limit);
        let after = match &**last_line {
            "" => String::new(),
            line => format!(" after {line:?}"),
        };
        if let Some(busy) = self.busy(Some(silent)) {
            return infra(format!(
                "no {awaited} within {limit}, but {busy}; the last line was {last_line:?}"
            ));
        }
        if silent < (self.limit / 4).min(SILENCE) {
            return infra(format!(
                "no {awaited} within {limit}, but it was still printing: {last_line:?}; the test's time_limit may be too short"
            ));
        }
        let how = format!("silent for {}{after}", rounded(silent));
        match self.before {
            Some(before) if before == how => (Outcome::Fail, format!("hangs: {how} in two tries"), None),
            Some(before) => (Outcome::Fail, format!("hangs: {how}; in an earlier try {before}"), None),
            None => {
                let message =
                    format!("no {awaited} within {limit}: {how}; it hangs if another try is silent, too");
                (Outcome::Infra, message, Some(how))
            }
        }
    }

    /// Why the host was too busy, overall or while the machine was silent; `None`: it was not.
    fn busy(&self, silent: Option<Duration>) -> Option<String> {
        let now = Instant::now();
        let began_silence = silent.and_then(|silent| now.checked_sub(silent));
        let while_silent = began_silence.map(|since| self.pace.starved_since(since));
        let all = self.pace.starved();
        let most = |starved: Duration, of: Duration| starved * STARVED_SHARE >= of;
        let short = most(all, self.pace.observed())
            || while_silent
                .zip(silent)
                .is_some_and(|(starved, silent)| !silent.is_zero() && most(starved, silent));
        if short {
            let (all, watched) = (rounded(all), rounded(self.pace.observed()));
            return Some(format!(
                "the machine was kept from running for {all} of {watched}, so this host is too busy"
            ));
        }
        let (kernel, ours) = self.clocks?;
        (ours > SILENCE && kernel * 2 < ours)
            .then(|| format!("its clock ran {} in {} of this host's time", rounded(kernel), rounded(ours)))
    }
}

/// Whether a fault only reports elapsed time, as a busy host can cause it.
fn is_about_time(line: &str) -> bool {
    ["lockup", "LOCKUP", "stall", "hung task", "hung_task"].iter().any(|word| line.contains(word))
}

/// A duration rounded to seconds, for messages.
fn rounded(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs((time + Duration::from_millis(500)).as_secs()))
}

fn text<'a>(action: &'a Action, placeholder: &str) -> &'a str {
    match action.bindings.get(placeholder) {
        Some(Value::Text(text)) => text,
        Some(Value::List(_)) | None => "",
    }
}
