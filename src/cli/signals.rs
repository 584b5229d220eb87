//! Signals that end a run.

use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::Exit;
use super::failure::Failure;
use crate::exec::Cancel;

/// Cancels the run at SIGINT and SIGTERM. A second signal ends the process at once, and the sandboxes with it.
pub(super) fn cancel_on_signals() -> Result<Arc<Cancel>, Failure> {
    let cancel = Arc::new(Cancel::default());
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::new(Exit::Environment, format!("signals can't be caught: {error}")))?;
    let canceller = Arc::clone(&cancel);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if canceller.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            canceller.cancel();
        }
    });
    Ok(cancel)
}
