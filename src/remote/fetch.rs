//! Fetching: blobs of a remote's result come into the store, several at once, each checked on its way.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Found, Hit, Remotes};
use super::entry::EntryOutput;
use super::name::groups;
use super::pack::{MAX_BLOB, Pack};
use super::traffic::Transfer;
use super::{Name, RemoteError};
use crate::digest::Digest;
use crate::store::{Artifact, Blob, BlobError, Store, StoreError, TreeLimit};

/// How many blobs are on their way at once.
const AT_ONCE: usize = 8;

/// How often a transfer that broke off may go on without having got much further.
const STUCK: u32 = 3;

/// What much further is, in bytes.
const FURTHER: u64 = 1 << 20;

/// The least pace of a blob over all tries, in bytes a second: below it, to build is faster.
const PACE: u64 = 64 << 10;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A blob is not to be had: the result is as good as none.
    #[error("remote {remote} {why}")]
    Gone {
        /// The remote.
        remote: String,
        /// What is wrong.
        why: String,
    },
    /// This machine failed, such as by a full disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Remotes {
    /// Brings all outputs of a result into the store, and its log.
    pub fn fetch(&self, store: &Store, hit: &Hit) -> Result<(), FetchError> {
        let mut wanted = Wanted::default();
        for (_, output) in &hit.entry.outputs {
            self.add(store, hit.line, output, &mut wanted)?;
        }
        wanted.blobs.extend(hit.entry.log);
        self.fetch_blobs(store, hit.line, wanted)
    }

    /// Brings an artifact into the store, if a result that was found in this run has it and the store does not.
    pub fn fetch_artifact(&self, store: &Store, artifact: &Artifact) -> Result<(), FetchError> {
        if store.has_artifact(artifact)? {
            return Ok(());
        }
        // Where nobody has it, whoever reads it will find that out.
        while let Some(Found { line, output, strong_key }) = self.place_of(artifact) {
            let mut wanted = Wanted::default();
            let fetched = self
                .add(store, line, &output, &mut wanted)
                .and_then(|()| self.fetch_blobs(store, line, wanted));
            let Err(FetchError::Gone { .. }) = fetched else { return fetched };
            self.spoil_result(line, &strong_key);
        }
        Ok(())
    }

    /// Brings the listings of a tree into the store, if a result that was found in this run has it: what its files are
    /// called, and what is in them, without the files.
    pub fn bring_listings(&self, store: &Store, tree: &Digest) -> Result<(), StoreError> {
        let Some(Found { line, output, .. }) = self.found(tree) else { return Ok(()) };
        match self.add(store, line, &output, &mut Wanted::default()) {
            Ok(()) | Err(FetchError::Gone { .. }) => Ok(()),
            Err(FetchError::Store(error)) => Err(error),
        }
    }

    /// How many bytes of a result the store lacks. A tree of which the listings are not here counts whole.
    pub fn lacking(&self, store: &Store, hit: &Hit) -> Result<u64, StoreError> {
        let mut bytes = 0_u64;
        for (_, output) in &hit.entry.outputs {
            let artifact = output.artifact();
            if !store.has_artifact(&artifact)? {
                bytes = bytes.saturating_add(match artifact {
                    Artifact::File { size, .. } => size,
                    Artifact::Tree { bytes, .. } => bytes,
                    Artifact::Absent => 0,
                });
            }
        }
        Ok(bytes)
    }

    /// Adds what an output consists of. The listings of a tree are fetched here: they say what else there is.
    fn add(
        &self,
        store: &Store,
        line: usize,
        output: &EntryOutput,
        wanted: &mut Wanted,
    ) -> Result<(), FetchError> {
        match output {
            EntryOutput::File { blob, .. } => wanted.blobs.push(*blob),
            EntryOutput::Tree { digest, files, bytes, pack } => {
                let gone = |why: &str| FetchError::Gone {
                    remote: self.lines[line].name.clone(),
                    why: why.to_owned(),
                };
                let packed = self
                    .small_blob(line, pack, MAX_BLOB)
                    .ok_or_else(|| gone("does not have the listings of a tree"))?;
                let limit = TreeLimit { files: *files, bytes: *bytes };
                let pack = Pack::decode_tree(&packed, digest, limit).map_err(|error| {
                    gone(&format!("has listings of a tree that are not to be used: {error}"))
                })?;
                let listings: Vec<_> =
                    pack.listings.iter().map(|listing| (listing.digest(), listing)).collect();
                store.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
                wanted.blobs.extend(pack.blobs);
            }
            EntryOutput::Absent => {}
        }
        Ok(())
    }

    fn fetch_blobs(&self, store: &Store, line: usize, wanted: Wanted) -> Result<(), FetchError> {
        // What is here is not fetched, so it has to stay.
        store.claim(wanted.blobs.iter().map(|blob| &blob.blake3))?;
        let jobs = wanted.jobs(store, self.lines[line].together());
        let transfer = self.meter.begin(jobs.iter().map(Job::bytes).sum());
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first_error = Mutex::new(None);
        let work = || {
            while !stop.load(Ordering::Relaxed)
                && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let done = match job {
                    Job::One(blob) => self.fetch_one(store, line, blob, &transfer),
                    Job::Several(blobs) => self.fetch_several(store, line, blobs, &transfer),
                };
                if let Err(error) = done {
                    stop.store(true, Ordering::Relaxed);
                    first_error.lock().expect("no panic while held").get_or_insert(error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..AT_ONCE.min(jobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        first_error.into_inner().expect("no panic while held").map_or(Ok(()), Err)
    }

    fn gone(&self, line: usize, error: &RemoteError) -> FetchError {
        self.failed(line, error);
        let why = match error {
            RemoteError::Missing => "has lost a blob".to_owned(),
            error => format!("did not give a blob: {error}"),
        };
        FetchError::Gone { remote: self.lines[line].name.clone(), why }
    }

    fn wrong(&self, line: usize, blob: &Name) -> FetchError {
        self.is_wrong(line, blob);
        let why = "has something else under the digest of a blob".to_owned();
        FetchError::Gone { remote: self.lines[line].name.clone(), why }
    }

    /// One blob: a transfer that breaks off goes on where it ended, as long as it gets anywhere.
    pub(super) fn fetch_one(
        &self,
        store: &Store,
        line: usize,
        blob: &Name,
        transfer: &Transfer<'_>,
    ) -> Result<(), FetchError> {
        let of = &self.lines[line];
        let expected = Blob { digest: blob.blake3, size: blob.size };
        // One that is in a file here need not be copied. Where that can't be had, it comes like any other.
        if let Ok(Some(mut file)) = of.ask(|remote| remote.file(blob)) {
            match store.adopt(expected, &mut file) {
                Ok(true) => {
                    transfer.came(blob.size);
                    return Ok(());
                }
                Ok(false) => {}
                Err(BlobError::Store(error)) => return Err(error.into()),
                Err(_) => return Err(self.wrong(line, blob)),
            }
        }
        let mut begun_elsewhere = true;
        let until = Instant::now() + of.timeout * (STUCK + 1) + Duration::from_secs(blob.size / PACE);
        loop {
            let Some(mut intake) = store.intake(expected)? else {
                transfer.less(blob.size);
                return Ok(());
            };
            let here = intake.len();
            begun_elsewhere &= here > 0;
            transfer.is_here(here);
            let mut stuck = 0;
            while !intake.is_complete() {
                let before = intake.len();
                let got = of.ask(|remote| {
                    let offset = intake.len();
                    remote.get(blob, offset, &mut Watched { to: &mut intake, until, transfer })
                });
                match got {
                    Ok(()) if intake.is_complete() => {}
                    _ if Instant::now() >= until => {
                        let error = RemoteError::Unreachable("a blob comes too slowly".to_owned());
                        return Err(self.gone(line, &error));
                    }
                    Err(RemoteError::Local(source)) => {
                        let path = store.home().join("partial");
                        return Err(StoreError::io(&path, source).into());
                    }
                    // Wrong from the start, as its length shows.
                    Err(RemoteError::Nonsense(_)) => return Err(self.wrong(line, blob)),
                    Err(error) if !error.may_pass() || stuck == STUCK || !of.is_on() => {
                        return Err(self.gone(line, &error));
                    }
                    _ if stuck == STUCK => return Err(self.wrong(line, blob)),
                    _ => stuck = if intake.len() - before > FURTHER { 0 } else { stuck + 1 },
                }
            }
            match intake.finish() {
                Ok(()) => return Ok(()),
                Err(BlobError::Store(error)) => return Err(error.into()),
                // What was there from an earlier try may have been what is wrong.
                Err(_) if begun_elsewhere => {
                    begun_elsewhere = false;
                    transfer.was_wrong(here, blob.size);
                }
                Err(_) => return Err(self.wrong(line, blob)),
            }
        }
    }

    fn fetch_several(
        &self,
        store: &Store,
        line: usize,
        blobs: &[Name],
        transfer: &Transfer<'_>,
    ) -> Result<(), FetchError> {
        let of = &self.lines[line];
        let mut failed: Option<FetchError> = None;
        let (mut came, mut bytes) = (0_usize, 0);
        let asked = of.ask(|remote| {
            came = 0;
            transfer.again(std::mem::take(&mut bytes));
            remote.get_several(blobs, &mut |blob, content| {
                bytes += content.len() as u64;
                transfer.came(content.len() as u64);
                match take(store, blob, &content) {
                    Ok(true) => came += 1,
                    Ok(false) => self.is_wrong(line, blob),
                    Err(error) => failed = Some(error.into()),
                }
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        match asked {
            Ok(()) if came >= blobs.len() => Ok(()),
            Ok(()) => Err(self.gone(line, &RemoteError::Missing)),
            Err(error) => Err(self.gone(line, &error)),
        }
    }
}

/// Takes what comes until a time, and counts it.
struct Watched<'a, W> {
    to: W,
    until: Instant,
    transfer: &'a Transfer<'a>,
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let written = self.to.write(bytes)?;
        self.transfer.came(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Takes a blob in; false where it is not what its digest says.
fn take(store: &Store, blob: &Name, content: &[u8]) -> Result<bool, StoreError> {
    if content.len() as u64 != blob.size || Digest::of_bytes(content) != blob.blake3 {
        return Ok(false);
    }
    let Some(mut intake) = store.intake(Blob { digest: blob.blake3, size: blob.size })? else {
        return Ok(true);
    };
    intake.start_again()?;
    let path = store.home().join("partial");
    intake.write_all(content).map_err(|error| StoreError::io(&path, error))?;
    match intake.finish() {
        Ok(()) => Ok(true),
        Err(BlobError::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Blobs to fetch.
#[derive(Default)]
struct Wanted {
    blobs: Vec<Name>,
}

/// What one request, or one transfer, is about.
enum Job {
    One(Name),
    Several(Vec<Name>),
}

impl Job {
    /// How much is to come.
    fn bytes(&self) -> u64 {
        match self {
            Self::One(blob) => blob.size,
            Self::Several(blobs) => blobs.iter().map(|blob| blob.size).sum(),
        }
    }
}

impl Wanted {
    /// What is to be done for those that the store lacks: the large ones first, so that none is left alone at the end.
    fn jobs(mut self, store: &Store, together: u64) -> Vec<Job> {
        self.blobs.retain(|blob| !store.has(&blob.blake3, blob.size));
        self.blobs.sort_unstable_by_key(|blob| (std::cmp::Reverse(blob.size), *blob));
        self.blobs.dedup();
        let small = self.blobs.partition_point(|blob| together == 0 || blob.size > together);
        let mut jobs: Vec<Job> = self.blobs[..small].iter().map(|&blob| Job::One(blob)).collect();
        jobs.extend(groups(self.blobs.split_off(small)).into_iter().map(Job::Several));
        jobs
    }
}
