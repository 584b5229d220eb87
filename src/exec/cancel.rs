//! Ctrl-C: all running sandboxes are killed, and no further one is started.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::sandbox::Killer;

/// Shared by all runs, and by the signal handler.
#[derive(Debug, Default)]
pub struct Cancel {
    cancelled: AtomicBool,
    running: Mutex<(u64, HashMap<u64, Killer>)>,
}

/// A sandbox that is killed on cancellation, as long as this value lives.
#[derive(Debug)]
pub(super) struct Registered<'a> {
    cancel: &'a Cancel,
    id: u64,
}

impl Cancel {
    /// Kills all registered sandboxes.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        for killer in self.running.lock().unwrap_or_else(PoisonError::into_inner).1.values() {
            killer.kill();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Registers a sandbox. It is killed at once after a cancellation.
    pub(super) fn register(&self, killer: Killer) -> Registered<'_> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            killer.kill();
        }
        running.0 += 1;
        let id = running.0;
        running.1.insert(id, killer);
        Registered { cancel: self, id }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.cancel.running.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.id);
    }
}
