//! Concurrent calls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task;

/// A call that runs on its own task and is aborted when this is dropped.
pub(super) struct Concurrent<T>(task::JoinHandle<T>);

impl<T: Send + 'static> Concurrent<T> {
    pub(super) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        Self(task::spawn(call))
    }
}

impl<T> Future for Concurrent<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Only `drop` aborts the task, so an error here is a panic: pass it on.
        Pin::new(&mut self.0)
            .poll(context)
            .map(|ended| ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }
}

impl<T> Drop for Concurrent<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
