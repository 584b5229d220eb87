//! The scheduler as a workload of the run loop.

use super::super::error::ExecError;
use super::super::run_loop::{Workers, Workload};
use super::core::Scheduler;
use super::work::Message;

impl<'a> Workload<'a> for Scheduler<'a, '_> {
    type Message = Message;

    fn start<'scope>(&mut self, workers: &Workers<'scope, 'a, Message>) -> Result<(), ExecError> {
        self.emit_transfers();
        if self.context.cancel.is_cancelled() {
            self.stopping = true;
            self.summary.interrupted = true;
        }
        if self.stopping {
            return Ok(());
        }
        self.start_ready(workers)?;
        self.lookups.start(self.build, workers);
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), ExecError> {
        match message {
            Message::Decided(id, decided) => self.looked_up(id, *decided),
            Message::Ran(id, result) => self.ran(id, *result),
            Message::Restored(id, restored) => self.restored(id, restored),
            Message::Unpacked(id, duration, notes) => self.unpacked(id, duration, notes),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_over(&self) -> bool {
        let waits_for_locks = !self.stopping && self.queue.has_locked();
        self.active.is_empty() && !self.lookups.is_active() && !waits_for_locks
    }
}
