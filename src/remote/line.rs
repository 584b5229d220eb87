//! One remote as it is used: how patient we are with it, and when we give it up.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::keys::Trust;
use super::{Remote, RemoteError};

/// How often a request is tried that may pass.
const TRIES: u32 = 3;

/// How long to wait before the second try; five times as long before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// How long we wait at most because a server asks us to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A remote, and how it is used.
pub struct Line {
    /// What people call it.
    pub name: String,
    /// Which of a server's caches: part of what is signed.
    pub instance: String,
    /// What makes its results count.
    pub trust: Trust,
    /// Whether results are pushed to it.
    pub write: bool,
    /// Whether kept output directories travel.
    pub kept: bool,
    /// Whether it takes what was built by continuing, and that no run from nothing has made.
    pub continued: bool,
    /// How long its answers may take. A failure that took that long is not tried again.
    pub timeout: Duration,
    remote: Box<dyn Remote>,
    /// Why it is not asked any more.
    off: Mutex<Option<String>>,
}

impl Line {
    /// A remote that has not been asked yet. It is neither written to nor trusted, and no kept directory comes from it.
    pub fn new(name: &str, remote: Box<dyn Remote>, timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            instance: String::new(),
            trust: Trust::Signed(Vec::new()),
            write: false,
            kept: false,
            continued: false,
            timeout,
            remote,
            off: Mutex::new(None),
        }
    }

    /// Up to which size blobs are asked for together.
    pub(super) fn together(&self) -> u64 {
        self.remote.together()
    }

    /// Whether it is still asked.
    pub fn is_on(&self) -> bool {
        self.off.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Does not ask it any more. Gives what to tell the user, once.
    pub(super) fn turn_off(&self, why: &str) -> Option<String> {
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        off.is_none().then(|| {
            *off = Some(why.to_owned());
            format!("remote {}: {why}; going on without it", self.name)
        })
    }

    /// Asks, again where that may help. [`RemoteError::Unreachable`] without a try where it is off.
    pub(super) fn ask<T>(
        &self,
        mut request: impl FnMut(&dyn Remote) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let mut tries = 0;
        loop {
            if !self.is_on() {
                return Err(RemoteError::Unreachable("it has been given up".to_owned()));
            }
            let began = Instant::now();
            let error = match request(&*self.remote) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries += 1;
            // One that lets us wait would let us wait again.
            if !error.may_pass() || tries == TRIES || began.elapsed() >= self.timeout {
                return Err(error);
            }
            let asked = match &error {
                RemoteError::Busy { after, .. } => after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            std::thread::sleep(asked.max(PAUSE * 5_u32.pow(tries - 1)).min(PATIENCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::digest::Digest;
    use crate::remote::Name;

    /// Fails so many times, then answers.
    struct Flaky {
        fails: AtomicU32,
        with: fn() -> RemoteError,
    }

    impl Remote for Flaky {
        fn entry(&self, _: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
            let left = self.fails.load(Ordering::Relaxed);
            self.fails.store(left.saturating_sub(1), Ordering::Relaxed);
            if left == 0 { Ok(None) } else { Err((self.with)()) }
        }
        fn put_entry(&self, _: &Digest, _: &[u8], _: &[Name]) -> Result<(), RemoteError> {
            unreachable!("nothing is put")
        }
        fn missing(&self, _: &[Name]) -> Result<Vec<Name>, RemoteError> {
            unreachable!("nothing is put")
        }
        fn get(&self, _: &Name, _: u64, _: &mut dyn Write) -> Result<(), RemoteError> {
            unreachable!("nothing is read")
        }
        fn put(&self, _: &Name, _: &mut std::fs::File) -> Result<(), RemoteError> {
            unreachable!("nothing is put")
        }
        fn put_several(&self, _: &[(Name, Vec<u8>)]) -> Result<(), RemoteError> {
            unreachable!("nothing is put")
        }
    }

    fn line(fails: u32, with: fn() -> RemoteError, timeout: Duration) -> Line {
        Line::new("ci", Box::new(Flaky { fails: AtomicU32::new(fails), with }), timeout)
    }

    const BUSY: fn() -> RemoteError = || RemoteError::Busy { what: "503".into(), after: None };

    #[test]
    fn what_may_pass_is_tried_again_and_not_for_ever() {
        let ask = |line: &Line| line.ask(|remote| remote.entry(&Digest::of_bytes(b"")));
        let long = Duration::from_mins(1);
        assert!(ask(&line(TRIES - 1, BUSY, long)).is_ok());
        assert!(ask(&line(TRIES, BUSY, long)).is_err());
        assert!(ask(&line(1, || RemoteError::Denied("401".into()), long)).is_err());
        assert!(ask(&line(1, BUSY, Duration::ZERO)).is_err(), "it took its time, and is not asked again");
    }

    #[test]
    fn one_that_is_off_is_not_asked_and_told_of_once() {
        let line = line(0, BUSY, Duration::from_mins(1));
        assert!(line.turn_off("no route").unwrap().contains("ci"));
        assert_eq!(line.turn_off("no route"), None);
        assert!(line.ask::<()>(|_| unreachable!("it is off")).is_err());
    }
}
