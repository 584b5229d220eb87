//! Kind `Job` on the local lab: QEMU runs in the sandbox, and its console is watched.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::exec::{Watched, Watcher};
use crate::graph::{Action, Value};
use crate::lab::console::{Console, watch};
use crate::lab::qemu;
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
        let mut seen = Vec::new();
        log.seek(SeekFrom::Start(0))?;
        log.read_to_end(&mut seen)?;
        Ok(Watched {
            outcome: if verdict.passed() { Outcome::Pass } else { Outcome::Fail },
            message: verdict.to_string(),
            outputs: vec![(CONSOLE.to_owned(), seen)],
        })
    }
}

fn text<'a>(action: &'a Action, hole: &str) -> &'a str {
    match action.bindings.get(hole) {
        Some(Value::Text(text)) => text,
        Some(Value::List(_)) | None => "",
    }
}
