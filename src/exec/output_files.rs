//! Outputs that kiln itself writes, at the paths that their rule declares: they are collected like those of steps.

use std::fs;
use std::path::PathBuf;

use super::work_dir::WorkDir;
use crate::graph::Action;
use crate::spec::model::OutputShape;

/// Writes outputs.
pub(super) fn write_outputs(
    action: &Action,
    work: &WorkDir,
    contents: &[(String, Vec<u8>)],
) -> Result<(), String> {
    for (name, bytes) in contents {
        let path = output_path(action, work, name)?;
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The path of an output that is a file.
pub(super) fn output_path(action: &Action, work: &WorkDir, name: &str) -> Result<PathBuf, String> {
    let Some(declared) = action.rule.decl.outputs.get(name) else {
        return Err(format!("rule {} declares no output {name}", action.rule.name));
    };
    let OutputShape::File(path) = &declared.shape else {
        return Err(format!("output {name} of rule {} must be a file", action.rule.name));
    };
    let path = action.bindings.text(path).map_err(|error| error.to_string())?;
    Ok(work.out().join(path))
}
