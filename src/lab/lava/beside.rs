//! Calls side by side.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task;

/// A call that goes on beside others, and ends when nobody waits for it any more.
pub(super) struct Beside<T>(task::JoinHandle<T>);

impl<T: Send + 'static> Beside<T> {
    pub(super) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        Self(task::spawn(call))
    }
}

impl<T> Future for Beside<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // It is aborted by nobody but `drop`: what is left is a panic, and that is a bug that must not get lost.
        Pin::new(&mut self.0)
            .poll(context)
            .map(|ended| ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
