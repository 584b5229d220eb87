//! Blocking calls on top of libraries that don't block.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One thread that drives a client's connections; a call waits on the thread that makes it.
pub struct Driver {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts a thread of that name.
    pub fn new(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            // It ends when `stop` is dropped.
            let _ = runtime.block_on(stopped);
            // A name may still be looked up, and whoever does that can't be interrupted.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(drive)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for a call. What it waits for in turn has bounds of its own: see [`super::StallGuard`].
    pub fn wait<F: Future>(&self, call: F) -> F::Output {
        self.handle.block_on(call)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
