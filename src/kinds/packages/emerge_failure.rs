//! The outcome of a failed emerge.

use crate::exec::{BuiltinResult, BuiltinRun};
use crate::gentoo::portage::{Failure, FailureKind};

/// The result of a failed installation. `fetch_failed`: an earlier fetch was incomplete, which may be the cause.
pub(super) fn install_failure(
    failure: &Failure,
    fetch_failed: bool,
    making: &BuiltinRun<'_>,
) -> BuiltinResult {
    let package = failure.package.as_deref().unwrap_or("packages");
    let what = match &failure.kind {
        FailureKind::Phase { phase, why } => {
            let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            format!("{package} can't be made: its {phase} phase failed{why}")
        }
        FailureKind::Tampered { file } => format!("{package}: {file} is not what it should be"),
        FailureKind::Signature => format!("{package} has no signature that counts"),
        FailureKind::NoProfile => {
            "the root has no tree of ebuilds to install packages by, or one without its profile".to_owned()
        }
        FailureKind::NoPackage { atom } => format!("there is no package {atom}"),
        FailureKind::NotFetched { file } => format!("{package}: {file}, which it is made from, is not here"),
        FailureKind::NoRoom => format!("there was no room for {package}"),
        FailureKind::Other => format!("{package} could not be installed"),
    };
    let message = format!("{what}; {}", failure.help());
    if !failure.tail.is_empty() {
        // At the end, as only the end of a log is shown.
        making.log("--- what was said before it failed:");
        for line in &failure.tail {
            making.log(line);
        }
    }
    match failure.kind {
        FailureKind::NoRoom | FailureKind::NotFetched { .. } | FailureKind::Tampered { .. } => {
            BuiltinResult::infra(message)
        }
        FailureKind::NoPackage { .. } | FailureKind::NoProfile | FailureKind::Signature => {
            BuiltinResult::failed(message)
        }
        _ if fetch_failed => {
            BuiltinResult::infra(format!("{message}; before, not all of it could be fetched"))
        }
        FailureKind::Phase { .. } | FailureKind::Other => BuiltinResult::failed(message),
    }
}

/// The result of a failed fetch, if the installation can't succeed either.
pub(super) fn fetch_failure(said: &str) -> Option<BuiltinResult> {
    match Failure::read(said).kind {
        FailureKind::NoRoom => {
            Some(BuiltinResult::infra("there was no room for what was fetched; make some"))
        }
        _ => None,
    }
}
