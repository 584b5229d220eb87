//! The loop that builds and verifications share: start what can start, wait for worker threads, handle what they send.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Scope, scope};

use super::error::ExecError;
use super::worker::POLL_INTERVAL;

/// What a loop runs.
pub(super) trait Workload<'env> {
    /// What worker threads send.
    type Message: Send;

    /// Starts what can start now. Called again after each message, and every [`POLL_INTERVAL`].
    fn start<'scope>(&mut self, workers: &Workers<'scope, 'env, Self::Message>) -> Result<(), ExecError>;

    /// Handles a message.
    fn handle(&mut self, message: Self::Message) -> Result<(), ExecError>;

    /// Makes [`Workload::start`] start nothing more.
    fn stop(&mut self);

    /// Whether no worker runs, and none will be started.
    fn is_over(&self) -> bool;
}

/// Starts worker threads.
pub(super) struct Workers<'scope, 'env, M> {
    scope: &'scope Scope<'scope, 'env>,
    sender: Sender<M>,
}

impl<'scope, M: Send + 'scope> Workers<'scope, '_, M> {
    /// Runs `work` on a thread of its own, and sends what it gives. It must not panic: see
    /// [`catch_panic`](super::worker::catch_panic).
    pub(super) fn spawn(&self, work: impl FnOnce() -> M + Send + 'scope) {
        let sender = self.sender.clone();
        self.scope.spawn(move || {
            // The loop keeps its receiver until all workers have ended.
            let _ = sender.send(work());
        });
    }
}

/// Runs a workload to its end. After an error nothing more is started; what runs is still waited for and handled. Gives
/// the first error.
pub(super) fn run_to_end<'env, W>(workload: &mut W) -> Result<(), ExecError>
where
    W: Workload<'env>,
    W::Message: 'env,
{
    let (sender, receiver) = channel();
    let mut outcome = Ok(());
    scope(|scope| {
        let workers = Workers { scope, sender };
        loop {
            let started = workload.start(&workers);
            keep_first(workload, &mut outcome, started);
            if workload.is_over() {
                return;
            }
            match receiver.recv_timeout(POLL_INTERVAL) {
                Ok(message) => {
                    let handled = workload.handle(message);
                    keep_first(workload, &mut outcome, handled);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the workers hold a sender"),
            }
            while let Ok(message) = receiver.try_recv() {
                let handled = workload.handle(message);
                keep_first(workload, &mut outcome, handled);
            }
        }
    });
    outcome
}

fn keep_first<'env>(
    workload: &mut impl Workload<'env>,
    outcome: &mut Result<(), ExecError>,
    result: Result<(), ExecError>,
) {
    if result.is_err() {
        workload.stop();
        if outcome.is_ok() {
            *outcome = result;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Starts one worker for each number, two at a time.
    #[derive(Default)]
    struct Numbers {
        left: Vec<u32>,
        running: usize,
        handled: Vec<u32>,
        /// The call that fails.
        fails: Option<Call>,
    }

    #[derive(PartialEq)]
    enum Call {
        /// The start of the second worker.
        Start,
        /// The handling of the first message.
        Handle,
    }

    impl<'env> Workload<'env> for Numbers {
        type Message = u32;

        fn start<'scope>(&mut self, workers: &Workers<'scope, 'env, u32>) -> Result<(), ExecError> {
            while self.running < 2
                && let Some(number) = self.left.pop()
            {
                if self.running == 1 && self.fails == Some(Call::Start) {
                    return Err(io::Error::other("no start").into());
                }
                self.running += 1;
                workers.spawn(move || number);
            }
            Ok(())
        }

        fn handle(&mut self, number: u32) -> Result<(), ExecError> {
            self.running -= 1;
            self.handled.push(number);
            if self.handled.len() == 1 && self.fails == Some(Call::Handle) {
                return Err(io::Error::other("no sense").into());
            }
            Ok(())
        }

        fn stop(&mut self) {
            self.left.clear();
        }

        fn is_over(&self) -> bool {
            self.running == 0 && self.left.is_empty()
        }
    }

    #[test]
    fn everything_is_started_and_handled() {
        let mut numbers = Numbers { left: (0..10).collect(), ..Numbers::default() };
        run_to_end(&mut numbers).unwrap();
        numbers.handled.sort_unstable();
        assert_eq!(numbers.handled, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn after_an_error_nothing_starts_and_what_runs_is_handled() {
        for (call, said, handled) in [(Call::Handle, "no sense", 2), (Call::Start, "no start", 1)] {
            let mut numbers = Numbers { left: (0..10).collect(), fails: Some(call), ..Numbers::default() };
            let error = run_to_end(&mut numbers).unwrap_err();
            assert_eq!(error.to_string(), format!("the jobserver failed: {said}"));
            assert_eq!((numbers.handled.len(), numbers.running), (handled, 0));
        }
    }
}
