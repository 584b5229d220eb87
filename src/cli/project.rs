//! The project of the current directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::Terminal;
use crate::remote::Remotes;
use crate::report::Style;
use crate::session::{Project, Secrets};
use crate::spec::diagnostic::Severity;
use crate::spec::model::Spec;
use crate::spec::{self, render};

/// The directory with `graph.ron`: the current one, or the nearest above it, as git and cargo do.
pub(super) fn root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Environment, format!("no current directory: {error}")))?;
    here.ancestors().find(|dir| dir.join("graph.ron").is_file()).map(Path::to_owned).ok_or_else(|| {
        Failure::new(Exit::Spec, format!("no graph.ron in {} or above", here.display()))
            .help("`kiln init` starts a project here")
    })
}

/// Reads and checks the spec, and prints everything that is wrong with it.
pub(super) fn load_spec(terminal: &Terminal) -> Result<Arc<Spec>, Failure> {
    let loaded = spec::load(&root()?);
    let lints = !terminal.quiet;
    let shown: Vec<_> = loaded
        .diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error || lints)
        .collect();
    if !shown.is_empty() {
        let color = terminal.err == Style::Color;
        eprint!("{}", render::text(&shown, &loaded.texts, Terminal::width(), color));
    }
    loaded.spec.map(Arc::new).ok_or_else(|| Failure::printed(Exit::Spec))
}

/// Opens the project, and prints the warnings of its cache.
pub(super) fn open(terminal: &Terminal) -> Result<Project, Failure> {
    let project = Project::open(load_spec(terminal)?, variable)?;
    for warning in project.warnings() {
        terminal.warning(&warning.to_string());
    }
    Ok(project)
}

/// The remotes of a project; none if they are not to be asked.
pub(super) fn remotes(project: &Project, offline: bool, terminal: &Terminal) -> Result<Remotes, Failure> {
    if offline {
        return Ok(Remotes::default());
    }
    let mut notes = Vec::new();
    let remotes = project.remotes(&mut notes)?;
    for note in &notes {
        terminal.note(note);
    }
    Ok(remotes)
}

/// The secrets of a project, for commands that do not open its cache.
pub(super) fn secrets(spec: &Spec) -> Secrets<'_> {
    Secrets::new(&spec.root, variable)
}

/// Prints the warnings that remotes have given rise to.
pub(super) fn print_warnings(remotes: &Remotes, terminal: &Terminal) {
    for warning in remotes.warnings() {
        terminal.warning(&warning);
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
