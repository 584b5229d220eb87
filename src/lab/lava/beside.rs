//! Blocking calls on top of a library that does not block.
//!
//! One thread drives a lab's connections; a call waits on the thread that makes it. Nothing is waited for without a bound.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task;

use super::LavaError;

/// The least that an answer must come to on the whole, in bytes a second: who is slower than that only holds us up.
const LEAST_PACE: u64 = 64 << 10;

/// Where a lab's calls are made.
pub(super) struct Calls {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Calls {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            // It ends when `stop` is dropped.
            let _ = runtime.block_on(stopped);
            // A name may still be looked up, and whoever does that can't be interrupted.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("kiln-lava".to_owned()).spawn(drive)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for a call. What it waits for in turn has bounds of its own.
    pub(super) fn wait<F: Future>(&self, call: F) -> F::Output {
        self.handle.block_on(call)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long an answer may take: it must not stand still, nor all but do so.
pub(super) struct Pace {
    timeout: Duration,
    began: Instant,
    moved: u64,
}

impl Pace {
    /// The bounds of an answer that is asked for now.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, began: Instant::now(), moved: 0 }
    }

    /// The outcome of the next step, if it comes in time.
    pub(super) async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, LavaError> {
        let all = self.timeout.saturating_add(Duration::from_millis(self.moved * 1000 / LEAST_PACE));
        let left = all.saturating_sub(self.began.elapsed());
        tokio::time::timeout(left.min(self.timeout), step).await.map_err(|_| {
            LavaError::Slow(if self.moved > 0 {
                format!("{} bytes came in {}", self.moved, whole(self.began.elapsed()))
            } else {
                format!("nothing came for {}", whole(self.timeout))
            })
        })
    }

    /// Counts what has come.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
    }
}

/// A time as people say it, to the millisecond.
pub(super) fn whole(time: Duration) -> String {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(milliseconds)).to_string()
}

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
