//! Ctrl-C: every running sandbox is killed, whole, and none is started any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::sandbox::Killer;

/// Shared by all that run, and whoever may end them.
#[derive(Debug, Default)]
pub struct Cancel {
    cancelled: AtomicBool,
    running: Mutex<(u64, HashMap<u64, Killer>)>,
}

/// A sandbox that is killed on cancellation for as long as this lives.
#[derive(Debug)]
pub(super) struct Registered<'a> {
    cancel: &'a Cancel,
    id: u64,
}

impl Cancel {
    /// Ends all that runs.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        for killer in self.running.lock().unwrap_or_else(PoisonError::into_inner).1.values() {
            killer.kill();
        }
    }

    /// Whether it was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Registers a sandbox. One that comes too late is killed at once.
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
