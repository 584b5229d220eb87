//! Can this host do it at all?

use std::path::PathBuf;

use super::{End, Mode, Output, Sandbox, SandboxError, SandboxSpec, Step};

/// What this host allows: an answer for `kiln doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Sandboxes work, by root's own privileges.
    Root,
    /// Sandboxes work, by user namespaces.
    UserNamespace,
    /// Sandboxes do not work.
    Unavailable {
        /// What fails.
        reason: String,
        /// What mends it, where that is known.
        remedy: Option<String>,
    },
}

/// Finds out by running `/bin/true` in a sandbox.
pub fn probe(sandbox: &Sandbox) -> Probe {
    match attempt(sandbox) {
        Ok((Mode::Root, End::AllStepsPassed)) => Probe::Root,
        Ok((Mode::UserNamespace, End::AllStepsPassed)) => Probe::UserNamespace,
        Ok((_, end)) => {
            Probe::Unavailable { reason: format!("/bin/true does not work: {end:?}"), remedy: None }
        }
        Err(error) => {
            Probe::Unavailable { reason: error.to_string(), remedy: error.help().map(str::to_owned) }
        }
    }
}

fn attempt(sandbox: &Sandbox) -> Result<(Mode, End), SandboxError> {
    let step = Step { argv: vec!["/bin/true".into()], cwd: PathBuf::from("/") };
    let spec = SandboxSpec { steps: vec![step], ..SandboxSpec::default() };
    let mut running = sandbox.spawn(&spec, Output::Piped)?;
    // What `true` may have to say (that a library is missing) fits into the pipe.
    let exit = running.wait()?;
    Ok((running.mode(), exit.end))
}
