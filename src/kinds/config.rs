//! Kind `Config`: a final `.config` is held to the fixups of its build.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exec::Check;
use crate::graph::{Action, Input, Value};
use crate::kernel::asked::{Otherwise, otherwise};
use crate::kernel::config::KConfig;
use crate::kernel::kconfig::{Kconfig, variables};

/// The output that is looked at.
const CONFIG: &str = "config";

/// The placeholder with the fixups that must be in it.
const REQUIRED: &str = "fixups.required";

/// Holds `.config`s to fixups.
pub(super) struct Fixups;

impl Check for Fixups {
    fn check(
        &self,
        action: &Action,
        out: &dyn Fn(&str) -> Option<PathBuf>,
        source: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<(), String> {
        let required = match action.bindings.get(REQUIRED) {
            Some(Value::List(required)) => required.as_slice(),
            Some(Value::Text(_)) | None => &[],
        };
        let Some(path) = out(CONFIG) else { return Ok(()) };
        let bytes = match read(&path) {
            Ok(Some(bytes)) => bytes,
            // That it was not made is told where outputs are collected.
            Ok(None) => return Ok(()),
            Err(error) => return Err(format!("can't look for fixups in {CONFIG}: {error}")),
        };
        let (config, _) = KConfig::parse(&bytes);
        let missed = otherwise(&config, required.iter().map(String::as_str));
        if missed.is_empty() {
            return Ok(());
        }
        let kconfig = kconfig(action, source);
        let lines = missed.iter().map(|missed| line(missed, kconfig.as_ref(), &config));
        Err(message(&lines.collect::<Vec<_>>()))
    }
}

/// A file's content; `None` where there is no file. What a step made may be a link to somewhere outside.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::read(path).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The Kconfig files of the tree that was configured, if there are any: they only explain.
fn kconfig(action: &Action, source: &dyn Fn(&str) -> Option<PathBuf>) -> Option<Kconfig> {
    let mut trees = action.inputs.iter().filter(|(_, input)| matches!(input, Input::Source { .. }));
    let tree = trees.find_map(|(name, _)| source(name))?;
    Kconfig::read(&tree, &variables(&action.bindings.text_of("arch.kernel"))).ok()
}

/// One symbol: what was asked, what came of it, and why.
fn line(missed: &Otherwise<'_>, kconfig: Option<&Kconfig>, config: &KConfig<'_>) -> String {
    let Otherwise { symbol, asked, found } = missed;
    let found = found.as_deref().unwrap_or("n (not set)");
    let why = kconfig.and_then(|kconfig| kconfig.explain(symbol, asked, config));
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    format!("CONFIG_{symbol}: asked for {asked}, got {found}{why}")
}

fn message(lines: &[String]) -> String {
    let fixups = if lines.len() == 1 { "a fixup is" } else { "fixups are" };
    format!("{fixups} not in the final .config as asked:\n  {}", lines.join("\n  "))
}
