//! Downloads small texts and large files from mirrors.
//!
//! A mirror may be unreachable, slow, outdated or hostile. So mirrors are tried in turn, every wait is bounded, redirects are
//! not followed, and content is only trusted for its digest or signature. An interrupted download is resumed, from the same
//! mirror or the next one, in the same run or a later one.

mod error;
mod partial_file;
mod transfer;

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::digests::{Digests, Hashing, Sha512Sum};
use crate::net::{Driver, StallGuard, install_crypto_provider, is_loopback};
use crate::text::error_chain;

pub use error::{FetchError, MirrorProblem};

use partial_file::PartialFile;
use transfer::{Stop, Transfer};

/// The number of rounds over all mirrors.
const ROUNDS: usize = 2;

/// The wait between rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// How often an interrupted download is resumed at once from the same mirror, if each attempt makes progress.
const MAX_RESUMES: usize = 20;

/// The limits of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct TransferLimits {
    /// How long a mirror may take to answer or to send more data.
    pub timeout: Duration,
    /// The minimum overall rate, in bytes a second.
    pub min_rate: u64,
}

impl TransferLimits {
    /// A guard for a transfer that starts now.
    fn guard(self) -> StallGuard {
        StallGuard::new(self.timeout, self.min_rate)
    }
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), min_rate: 16 << 10 }
    }
}

/// What is known of a large file before its download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedFile {
    /// Its size and two digests.
    Sized {
        /// In bytes.
        size: u64,
        /// Its digests.
        digests: Digests,
    },
    /// One digest, and no size.
    Bounded {
        /// The largest accepted size, in bytes.
        most: u64,
        /// Its digest.
        sha512: Sha512Sum,
    },
}

impl ExpectedFile {
    /// Its largest possible size, in bytes.
    fn most(&self) -> u64 {
        match self {
            Self::Sized { size: most, .. } | Self::Bounded { most, .. } => *most,
        }
    }

    /// Its size in bytes, if known.
    fn size(&self) -> Option<u64> {
        match self {
            Self::Sized { size, .. } => Some(*size),
            Self::Bounded { .. } => None,
        }
    }

    /// Whether content with these digests is the file.
    fn is(&self, digests: &Digests) -> bool {
        match self {
            Self::Sized { digests: wanted, .. } => wanted == digests,
            Self::Bounded { sha512, .. } => sha512.is_of(digests),
        }
    }
}

/// The progress of a download.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The current mirror.
    pub mirror: &'a str,
    /// Bytes present, including those of earlier runs.
    pub done: u64,
}

/// Receives the progress of a download and may stop it.
pub type Watch<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// Mirrors of the same files, in the order in which they are tried.
pub struct Mirrors {
    mirrors: Vec<Mirror>,
    limits: TransferLimits,
    driver: Driver,
}

/// One mirror.
struct Mirror {
    /// Ends with a slash.
    base: Url,
    client: Client,
}

impl Mirrors {
    /// The mirrors at these addresses. Sends no request.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        limits: TransferLimits,
    ) -> Result<Self, FetchError> {
        let mirrors: Vec<_> =
            addresses.into_iter().map(|address| Mirror::new(address, limits)).collect::<Result<_, _>>()?;
        if mirrors.is_empty() {
            let problem = "no mirror is named".to_owned();
            return Err(FetchError::Address { address: String::new(), problem });
        }
        let driver =
            Driver::new("kiln-mirrors").map_err(|source| FetchError::local(Path::new("."), source))?;
        Ok(Self { mirrors, limits, driver })
    }

    /// Downloads a text of at most `most` bytes and parses it with `read`. Returns the value of the first mirror whose text
    /// parses; errors of `read` become part of the error.
    pub fn text<T>(
        &self,
        path: &str,
        most: u64,
        mut read: impl FnMut(&[u8]) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        let mut problems = Vec::new();
        for round in 0..ROUNDS {
            for (index, mirror) in self.mirrors.iter().enumerate() {
                let got = mirror.at(path).and_then(|url| {
                    let transfer = Transfer { client: &mirror.client, url, limits: self.limits };
                    self.driver.wait(transfer.text(most))
                });
                let problem = match got.map(|bytes| read(&bytes)) {
                    Ok(Ok(value)) => return Ok(value),
                    Ok(Err(problem)) => MirrorProblem::Content(problem),
                    Err(problem) => problem,
                };
                error::note(&mut problems, index, mirror.base.as_str(), problem);
            }
            if round + 1 == ROUNDS || !problems.iter().any(|(_, _, problem)| problem.may_pass()) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Err(FetchError::mirrors(path, problems))
    }

    /// Downloads a file, and moves it to `to` once it is complete and has the expected digests. A file at `to` that still has
    /// them is not downloaded again.
    ///
    /// All bytes are also written to a sink from `start`, from the first byte on, so that a signature can be checked on the way.
    /// `start` is called again where a transfer restarts. Returns the sink that received the whole file.
    pub fn file<S: Write>(
        &self,
        path: &str,
        wanted: &ExpectedFile,
        to: &Path,
        mut start: impl FnMut() -> S,
        watch: Watch<'_>,
    ) -> Result<S, FetchError> {
        let local = |source| FetchError::local(to, source);
        // Another process may be downloading the same file.
        let mut part = PartialFile::open(to).map_err(local)?;
        if let Some(sink) = reread(to, wanted, start(), &mut part).map_err(local)? {
            return Ok(sink);
        }
        let mut problems = Vec::new();
        for round in 0..ROUNDS {
            for (index, mirror) in self.mirrors.iter().enumerate() {
                match self.file_from(mirror, path, wanted, &mut part, &mut start, watch)? {
                    Ok(sink) => {
                        part.finish(to).map_err(local)?;
                        return Ok(sink);
                    }
                    Err(problem) => error::note(&mut problems, index, mirror.base.as_str(), problem),
                }
            }
            if round + 1 == ROUNDS || !problems.iter().any(|(_, _, problem)| problem.may_pass()) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Err(FetchError::mirrors(path, problems))
    }

    /// Downloads a file from one mirror, and resumes as long as the mirror makes progress.
    fn file_from<S: Write>(
        &self,
        mirror: &Mirror,
        path: &str,
        wanted: &ExpectedFile,
        part: &mut PartialFile,
        start: &mut impl FnMut() -> S,
        watch: Watch<'_>,
    ) -> Result<Result<S, MirrorProblem>, FetchError> {
        let url = match mirror.at(path) {
            Ok(url) => url,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut restart = || Sink { hashing: Hashing::default(), other: start() };
        let base = mirror.base.as_str();
        let mut progress = |done| watch(Progress { mirror: base, done });
        // The partial file counts as well: feed it to the sink.
        let mut sink = restart();
        part.replay(wanted.most(), &mut sink).map_err(|error| part.local(error))?;
        if wanted.is(&sink.hashing.clone().finish()) {
            // It was complete, but not yet moved to its place.
            return Ok(Ok(sink.other));
        }
        let mut is_resumed = sink.hashing.size() > 0;
        let mut breaks = 0;
        loop {
            let before = sink.hashing.size();
            let transfer = Transfer { client: &mirror.client, url: url.clone(), limits: self.limits };
            let came = self.driver.wait(transfer.file(wanted, part, &mut sink, &mut restart, &mut progress));
            match came {
                Ok(()) => {}
                // The file is complete, whatever happened to the connection.
                Err(Stop::Mirror(problem))
                    if problem.may_pass() && wanted.is(&sink.hashing.clone().finish()) => {}
                Err(Stop::Mirror(problem)) => {
                    if wanted.size().is_none() && matches!(problem, MirrorProblem::TooMuch(_)) {
                        part.clear().map_err(|error| part.local(error))?;
                    }
                    breaks += 1;
                    if problem.may_pass() && sink.hashing.size() > before && breaks < MAX_RESUMES {
                        continue;
                    }
                    return Ok(Err(problem));
                }
                Err(Stop::Local(source)) => return Err(part.local(source)),
                Err(Stop::Cancelled) => return Err(FetchError::Cancelled),
            }
            if wanted.is(&sink.hashing.finish()) {
                return Ok(Ok(sink.other));
            }
            part.clear().map_err(|error| part.local(error))?;
            if !is_resumed {
                let problem = "what came has other digests than it should have";
                return Ok(Err(MirrorProblem::Content(problem.to_owned())));
            }
            // The resumed part may have been wrong: retry this mirror from the start.
            is_resumed = false;
            sink = restart();
        }
    }
}

/// How much of a file is on disk from earlier runs, in bytes.
pub fn bytes_on_disk(to: &Path) -> u64 {
    [to.to_owned(), partial_file::path(to)]
        .iter()
        .find_map(|path| fs::metadata(path).ok())
        .map_or(0, |stat| stat.len())
}

/// Feeds the file at `path` to `other` if it has the expected digests. Removes it otherwise.
fn reread<S: Write>(
    path: &Path,
    wanted: &ExpectedFile,
    other: S,
    part: &mut PartialFile,
) -> io::Result<Option<S>> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut sink = Sink { hashing: Hashing::default(), other };
    io::copy(&mut file, &mut sink)?;
    if wanted.is(&sink.hashing.finish()) {
        part.remove()?;
        return Ok(Some(sink.other));
    }
    fs::remove_file(path)?;
    Ok(None)
}

/// Receives a file's bytes, besides the disk.
struct Sink<S> {
    hashing: Hashing,
    other: S,
}

impl<S: Write> Write for Sink<S> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.other.write_all(piece)?;
        self.hashing.write_all(piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Mirror {
    fn new(address: &str, limits: TransferLimits) -> Result<Self, FetchError> {
        let wrong = |problem: &str| FetchError::Address {
            // The part before @ may be a password.
            address: address.rsplit('@').next().unwrap_or_default().to_owned(),
            problem: problem.to_owned(),
        };
        let mut base = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("kiln speaks http and https"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("a mirror's address can hold no user or password"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("a mirror's address ends with its directory"));
        }
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let client = client(&base, limits).map_err(|error| wrong(&error_chain(&error)))?;
        Ok(Self { base, client })
    }

    fn at(&self, path: &str) -> Result<Url, MirrorProblem> {
        let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let url =
            self.base.join(path).ok().filter(|url| inside && url.as_str().starts_with(self.base.as_str()));
        url.ok_or_else(|| MirrorProblem::Content(format!("{path:?} is no path on a mirror")))
    }
}

fn client(base: &Url, limits: TransferLimits) -> reqwest::Result<Client> {
    install_crypto_provider();
    let builder = || {
        let builder = Client::builder()
            .connect_timeout(limits.timeout)
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
        if is_loopback(base) { builder.no_proxy() } else { builder }
    };
    let built = builder().build();
    if base.scheme() == "http" {
        // http needs no certificate authorities, so a machine without any will do.
        return built.or_else(|_| builder().tls_certs_only(std::iter::empty()).build());
    }
    built
}

#[cfg(test)]
mod tests;
