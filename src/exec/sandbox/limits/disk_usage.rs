//! Limits what steps write to disk.
//!
//! No kernel interface that exists everywhere counts the bytes below a directory, and walking a large one takes tens of
//! milliseconds. So a thread watches the free space of the file system, which is cheap, and walks the directories when so much of it
//! has gone that the limit may be near.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{fstatvfs, statvfs};

use super::super::killer::Killer;

/// The interval of looking at the free space.
const PERIOD: Duration = Duration::from_millis(200);

/// The longest interval of walking the directories: others may free space meanwhile.
const AT_LEAST_EVERY: Duration = Duration::from_mins(1);

/// What is measured.
#[derive(Debug)]
pub(in super::super) struct WatchedPaths {
    /// Directories that steps may write to.
    pub(in super::super) dirs: Vec<PathBuf>,
    /// The file that takes their output.
    pub(in super::super) output: Option<File>,
}

/// Measures what the steps of a sandbox write, and kills the sandbox when that is too much.
#[derive(Debug)]
pub(in super::super) struct DiskGuard {
    ended: Sender<Accuracy>,
    watch: JoinHandle<bool>,
}

/// Whether free space is a sufficient measure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accuracy {
    /// Yes. Others may have freed space meanwhile, which hides what steps wrote.
    Roughly,
    /// No: the directories are walked.
    Exactly,
}

impl DiskGuard {
    pub(in super::super) fn start(places: WatchedPaths, limit: u64, killer: Killer) -> io::Result<Self> {
        let (ended, end) = channel();
        let mut watch = Watch::new(places, limit);
        let watch =
            thread::Builder::new().name("written".to_owned()).stack_size(128 << 10).spawn(move || {
                loop {
                    let end = match end.recv_timeout(PERIOD) {
                        Ok(sure) => Some(sure),
                        Err(RecvTimeoutError::Timeout) => None,
                        // The sandbox was dropped.
                        Err(RecvTimeoutError::Disconnected) => return false,
                    };
                    if watch.is_exceeded(end.unwrap_or(Accuracy::Roughly)) {
                        killer.kill();
                        return true;
                    }
                    if end.is_some() {
                        return false;
                    }
                }
            })?;
        Ok(Self { ended, watch })
    }

    /// Whether the limit was exceeded. `failed`: whether steps failed, so that the reason matters.
    pub(in super::super) fn finish(self, failed: bool) -> bool {
        // If the thread has ended, it has its answer.
        let _ = self.ended.send(if failed { Accuracy::Exactly } else { Accuracy::Roughly });
        self.watch.join().unwrap_or(false)
    }
}

struct Watch {
    places: WatchedPaths,
    limit: u64,
    /// At the last walk: the size of the directories, the free space, and the time.
    used: u64,
    free: u64,
    looked: Instant,
}

impl Watch {
    fn new(places: WatchedPaths, limit: u64) -> Self {
        let free = free(&places);
        Self { places, limit, used: 0, free, looked: Instant::now() }
    }

    fn is_exceeded(&mut self, sure: Accuracy) -> bool {
        let free = free(&self.places);
        let gone = self.free.saturating_sub(free);
        let near = self.limit.saturating_sub(self.used) / 2;
        if sure == Accuracy::Roughly && gone < near && self.looked.elapsed() < AT_LEAST_EVERY {
            return false;
        }
        // What can't be walked counts as much as free space has gone.
        let used = used(&self.places).unwrap_or_else(|_| self.used.saturating_add(gone));
        (self.used, self.free, self.looked) = (used, free, Instant::now());
        used > self.limit
    }
}

fn free(places: &WatchedPaths) -> u64 {
    let stat = match (places.dirs.first(), &places.output) {
        (Some(dir), _) => statvfs(dir.as_path()),
        (None, Some(output)) => fstatvfs(output),
        (None, None) => return 0,
    };
    stat.map_or(0, |stat| stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// The bytes on disk of everything measured.
fn used(places: &WatchedPaths) -> io::Result<u64> {
    let mut total =
        places.output.as_ref().map_or(Ok(0), |file| file.metadata().map(|stat| on_disk(&stat)))?;
    let mut linked = HashSet::new();
    let mut left: Vec<PathBuf> = places.dirs.clone();
    while let Some(path) = left.pop() {
        let stat = match fs::symlink_metadata(&path) {
            // Steps go on meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        if stat.nlink() == 1 || stat.is_dir() || linked.insert((stat.dev(), stat.ino())) {
            total = total.saturating_add(on_disk(&stat));
        }
        if stat.is_dir() {
            match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                entries => left.extend(entries?.flatten().map(|entry| entry.path())),
            }
        }
    }
    Ok(total)
}

fn on_disk(stat: &Metadata) -> u64 {
    stat.blocks().saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_twice_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let places = WatchedPaths { dirs: vec![dir.path().to_owned()], output: None };
        assert!((100_000..150_000).contains(&used(&places).unwrap()));
    }
}
