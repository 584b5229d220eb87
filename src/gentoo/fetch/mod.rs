//! Texts and large files from mirrors.
//!
//! A mirror may be gone, slow, behind, or not what it says. So each has its turn, nothing is waited for without a bound, no
//! redirect is followed, and what comes is believed for its digests or its signature alone. A file that breaks off is gone
//! on with, on the same mirror or on the next, in this run or in a later one.

mod error;
mod part;
mod transfer;

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::digests::{Digests, Hashing, Sha512Sum};
use crate::net::{Driver, Pace, chain, is_loopback, provide_cryptography};

pub use error::{FetchError, MirrorProblem};

use part::Part;
use transfer::{Stop, Transfer};

/// How often all mirrors have their turn.
const ROUNDS: usize = 2;

/// How long to wait before the second round.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a mirror that breaks off is gone on with at once, as long as each time brings something.
const BREAKS: usize = 20;

/// How patient we are with a mirror.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long it may take to answer, and to send more of an answer.
    pub standstill: Duration,
    /// The least that a transfer must come to on the whole, in bytes a second.
    pub pace: u64,
}

impl Patience {
    /// The bounds of an answer that is asked for now.
    fn pace(self) -> Pace {
        Pace::new(self.standstill, self.pace)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { standstill: Duration::from_secs(30), pace: 16 << 10 }
    }
}

/// A large file, by what is known of it before it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Its size, and two digests.
    Sized {
        /// In bytes.
        size: u64,
        /// Both of which its content has to have.
        digests: Digests,
    },
    /// One digest, and nothing of its size.
    Bounded {
        /// As much as is taken, in bytes.
        most: u64,
        /// Of its content.
        sha512: Sha512Sum,
    },
}

impl Wanted {
    /// The most that it can have, in bytes.
    fn most(&self) -> u64 {
        match self {
            Self::Sized { size: most, .. } | Self::Bounded { most, .. } => *most,
        }
    }

    /// Its size in bytes, if that is known.
    fn size(&self) -> Option<u64> {
        match self {
            Self::Sized { size, .. } => Some(*size),
            Self::Bounded { .. } => None,
        }
    }

    /// Whether this is it.
    fn is(&self, digests: &Digests) -> bool {
        match self {
            Self::Sized { digests: wanted, .. } => wanted == digests,
            Self::Bounded { sha512, .. } => sha512.is_of(digests),
        }
    }
}

/// How far a file has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Which mirror it comes from.
    pub mirror: &'a str,
    /// Bytes that are there, those of earlier runs included.
    pub done: u64,
}

/// Is told how far a file has come, and may end it.
pub type Watch<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// Mirrors of the same files, in the order in which they are asked.
pub struct Mirrors {
    mirrors: Vec<Mirror>,
    patience: Patience,
    driver: Driver,
}

/// One of them.
struct Mirror {
    /// Ends with a slash.
    base: Url,
    client: Client,
}

impl Mirrors {
    /// The mirrors at these addresses, none of which is asked yet.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        patience: Patience,
    ) -> Result<Self, FetchError> {
        let mirrors: Vec<_> =
            addresses.into_iter().map(|address| Mirror::new(address, patience)).collect::<Result<_, _>>()?;
        if mirrors.is_empty() {
            let problem = "no mirror is named".to_owned();
            return Err(FetchError::Address { address: String::new(), problem });
        }
        let driver =
            Driver::new("kiln-mirrors").map_err(|source| FetchError::local(Path::new("."), source))?;
        Ok(Self { mirrors, patience, driver })
    }

    /// Gets a text of at most `most` bytes, and has it read: the first mirror whose text can be read counts. What `read`
    /// says of another goes into the error.
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
                    let transfer = Transfer { client: &mirror.client, url, patience: self.patience };
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

    /// Gets a file, and puts it at `to` when it is whole and has its digests. Nothing is done if it is there already: what is
    /// there under that name came by this way.
    ///
    /// What comes is written to what `start` makes as well, from the file's first byte on, so that a signature can be
    /// checked meanwhile; `start` is called again where a transfer has to begin anew. The one that has seen the whole file
    /// is given back, also where the file was there.
    pub fn file<S: Write>(
        &self,
        path: &str,
        wanted: &Wanted,
        to: &Path,
        mut start: impl FnMut() -> S,
        watch: Watch<'_>,
    ) -> Result<S, FetchError> {
        let local = |source| FetchError::local(to, source);
        // Another process may be getting the same file.
        let mut part = Part::open(to).map_err(local)?;
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

    /// Gets a file from one mirror, going on as long as it brings something.
    fn file_from<S: Write>(
        &self,
        mirror: &Mirror,
        path: &str,
        wanted: &Wanted,
        part: &mut Part,
        start: &mut impl FnMut() -> S,
        watch: Watch<'_>,
    ) -> Result<Result<S, MirrorProblem>, FetchError> {
        let url = match mirror.at(path) {
            Ok(url) => url,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut restart = || Sink { hashing: Hashing::default(), other: start() };
        let base = mirror.base.as_str();
        let mut told = |done| watch(Progress { mirror: base, done });
        // What is there counts as well: it is read once more.
        let mut sink = restart();
        part.replay(wanted.most(), &mut sink).map_err(|error| part.local(error))?;
        if wanted.is(&sink.hashing.clone().finish()) {
            // It was whole, and has not been put in its place.
            return Ok(Ok(sink.other));
        }
        let mut is_resumed = sink.hashing.size() > 0;
        let mut breaks = 0;
        loop {
            let before = sink.hashing.size();
            let transfer = Transfer { client: &mirror.client, url: url.clone(), patience: self.patience };
            let came = self.driver.wait(transfer.file(wanted, part, &mut sink, &mut restart, &mut told));
            match came {
                Ok(()) => {}
                // All of it is there, whatever became of the connection.
                Err(Stop::Mirror(problem))
                    if problem.may_pass() && wanted.is(&sink.hashing.clone().finish()) => {}
                Err(Stop::Mirror(problem)) => {
                    if wanted.size().is_none() && matches!(problem, MirrorProblem::TooMuch(_)) {
                        part.clear().map_err(|error| part.local(error))?;
                    }
                    breaks += 1;
                    if problem.may_pass() && sink.hashing.size() > before && breaks < BREAKS {
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
            // What was there before may have been wrong: once more from the start, for the mirror's sake.
            is_resumed = false;
            sink = restart();
        }
    }
}

/// How much of a file is here from earlier runs, in bytes.
pub fn is_here(to: &Path) -> u64 {
    [to.to_owned(), part::path(to)]
        .iter()
        .find_map(|path| fs::metadata(path).ok())
        .map_or(0, |stat| stat.len())
}

/// Has a file seen that is there. One that has changed since it came is none.
fn reread<S: Write>(path: &Path, wanted: &Wanted, other: S, part: &mut Part) -> io::Result<Option<S>> {
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

/// Where a file's bytes go, besides to disk.
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
    fn new(address: &str, patience: Patience) -> Result<Self, FetchError> {
        let wrong = |problem: &str| FetchError::Address {
            // What stands before an @ may be a password.
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
        let client = client(&base, patience).map_err(|error| wrong(&chain(&error)))?;
        Ok(Self { base, client })
    }

    fn at(&self, path: &str) -> Result<Url, MirrorProblem> {
        let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let url =
            self.base.join(path).ok().filter(|url| inside && url.as_str().starts_with(self.base.as_str()));
        url.ok_or_else(|| MirrorProblem::Content(format!("{path:?} is no path on a mirror")))
    }
}

fn client(base: &Url, patience: Patience) -> reqwest::Result<Client> {
    provide_cryptography();
    let builder = || {
        let builder = Client::builder()
            .connect_timeout(patience.standstill)
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
        if is_loopback(base) { builder.no_proxy() } else { builder }
    };
    let built = builder().build();
    if base.scheme() == "http" {
        // A machine without authorities can do without them here.
        return built.or_else(|_| builder().tls_certs_only(std::iter::empty()).build());
    }
    built
}

#[cfg(test)]
mod tests;
