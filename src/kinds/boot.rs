//! Kind `Job` on the local lab: QEMU runs in the sandbox, and its console is watched.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::exec::sandbox::End;
use crate::exec::{Watched, Watcher};
use crate::graph::{Action, Value};
use crate::lab::console::{Console, ConsoleVerdict, watch};
use crate::lab::qemu;
use crate::shell::quoted;
use crate::store::Outcome;

/// The output: all that came over the console.
const CONSOLE: &str = "console";

/// Without a limit of its own, a boot has this long.
const TIME_LIMIT: Duration = Duration::from_mins(2);

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

    fn watch(&self, action: &Action, output: &mut PipeReader, log: &mut File) -> io::Result<Watched> {
        let limit = text(action, "test.time_limit").parse().map_or(TIME_LIMIT, Duration::from_secs);
        let mut console = Console::new(text(action, "test.marker"), limit, Instant::now());
        let verdict = watch(output, &mut console, log)?;
        let ended = matches!(verdict, ConsoleVerdict::Ended { .. });
        let mut seen = Vec::new();
        log.seek(SeekFrom::Start(0))?;
        log.read_to_end(&mut seen)?;
        Ok(Watched {
            outcome: if verdict.passed() { Outcome::Pass } else { Outcome::Fail },
            message: verdict.to_string(),
            outputs: vec![(CONSOLE.to_owned(), seen)],
            ended,
        })
    }

    fn ended(
        &self,
        action: &Action,
        inside: &dyn Fn(&str) -> PathBuf,
        watched: Watched,
        end: Option<End>,
        errors: &str,
    ) -> Watched {
        let how = match end {
            Some(End::StepExited { code, .. }) => format!("exited with {code}"),
            Some(End::StepSignaled { signal, .. }) => format!("was killed by signal {signal}"),
            // The guest has switched its machine off, or has restarted it; one without a console does so in silence.
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
        Watched { outcome: Outcome::Infra, message, ..watched }
    }
}

fn text<'a>(action: &'a Action, hole: &str) -> &'a str {
    match action.bindings.get(hole) {
        Some(Value::Text(text)) => text,
        Some(Value::List(_)) | None => "",
    }
}
