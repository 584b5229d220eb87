//! A remote that is a web server which takes PUT, by Bazel's HTTP cache protocol:
//!
//! ```text
//! URL[/INSTANCE]/ac/HEX    an entry, by its key
//! URL[/INSTANCE]/cas/HEX   a blob, by its SHA-256
//! ```
//!
//! GET, PUT, HEAD, and GET with `Range` are all that is asked of it. Most such servers don't look at what they are given:
//! whoever reads hashes. A blob without any bytes is never asked for nor sent, as nginx answers a PUT of nothing with 500.

mod answer;
mod connect;
mod send;

use std::fs::File;
use std::io::{self, Write};

use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::task::JoinSet;

use super::calls::{Calls, Exactly};
use super::{MAX_ENTRY, Name, Remote, RemoteError, Secret, Settings};
use crate::digest::Digest;
use crate::text::{error_chain, one_line_redacted};
use answer::refused;

/// How many blobs are asked after at once.
const AT_ONCE: usize = 16;

/// How often a server may send us elsewhere for one request.
const REDIRECTS: usize = 4;

/// A web server.
pub(super) struct HttpRemote {
    calls: Calls,
    server: Server,
}

/// What a request needs; cheap to clone.
#[derive(Clone)]
struct Server {
    client: Client,
    /// Ends with a slash.
    base: Url,
    /// What lets us in. For this server alone.
    authorization: Option<HeaderValue>,
    /// Kept to strike it out of what the server says.
    token: Option<Secret>,
}

impl HttpRemote {
    /// The server at a URL that has been checked.
    pub(super) fn new(url: Url, settings: &Settings) -> Result<Self, RemoteError> {
        let calls = Calls::new(settings.timeout).map_err(RemoteError::Local)?;
        let server = Server {
            client: connect::client(&url, settings)?,
            base: connect::base(url, &settings.instance),
            authorization: connect::authorization(settings)?,
            token: settings.token.clone(),
        };
        Ok(Self { calls, server })
    }

    async fn get_from(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError> {
        let url = self.server.blob(blob)?;
        let mut headers = HeaderMap::new();
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            headers.insert(RANGE, range.map_err(|error| RemoteError::Local(io::Error::other(error)))?);
        }
        let mut answer = self.server.ask(&self.calls, Method::GET, url, &headers).await?;
        let mut skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if content_range_start(answer.headers()) != Some(offset) {
                    return Err(nonsense("it sent another part of a blob than was asked for"));
                }
                0
            }
            // It knows no ranges, and starts over.
            StatusCode::OK => offset,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(nonsense("it has less of a blob than there should be"));
            }
            status if is_missing(status) => return Err(RemoteError::Missing),
            _ => return Err(refused(&answer, self.server.token.as_ref())),
        };
        let mut left = blob.size - offset;
        if let Some(length) = content_length(&answer)?
            && length != left + skip
        {
            return Err(nonsense(format!(
                "it announced {length} bytes where {} were asked for",
                left + skip
            )));
        }
        let mut guard = self.calls.guard();
        while let Some(piece) = guard.in_time(answer.chunk()).await?.map_err(broke_off)? {
            guard.add(piece.len());
            let mut piece = &piece[..];
            if skip > 0 {
                let skipped = usize::try_from(skip).map_or(piece.len(), |skip| skip.min(piece.len()));
                piece = &piece[skipped..];
                skip -= skipped as u64;
            }
            let Some(after) = left.checked_sub(piece.len() as u64) else {
                return Err(nonsense("it sent more bytes than a blob has"));
            };
            to.write_all(piece).map_err(RemoteError::Local)?;
            left = after;
        }
        if left > 0 {
            return Err(RemoteError::Unreachable(format!(
                "the connection broke off {left} bytes before the end"
            )));
        }
        Ok(())
    }

    async fn entry_of(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
        let url = self.server.entry(key)?;
        let mut answer = self.server.ask(&self.calls, Method::GET, url, &HeaderMap::new()).await?;
        match answer.status() {
            StatusCode::OK => {}
            status if is_missing(status) => return Ok(None),
            _ => return Err(refused(&answer, self.server.token.as_ref())),
        }
        let length = content_length(&answer)?;
        let mut bytes = Vec::new();
        let mut guard = self.calls.guard();
        while let Some(piece) = guard.in_time(answer.chunk()).await?.map_err(broke_off)? {
            guard.add(piece.len());
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > MAX_ENTRY {
                break;
            }
        }
        if bytes.len() as u64 > MAX_ENTRY || length.is_some_and(|length| length > MAX_ENTRY) {
            return Err(nonsense("an entry is larger than any is"));
        }
        Ok(Some(bytes))
    }
}

impl Remote for HttpRemote {
    fn entry(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
        self.calls.wait(self.entry_of(key))
    }

    fn put_entry(&self, key: &Digest, entry: &[u8], _: &[Name]) -> Result<(), RemoteError> {
        let url = self.server.entry(key)?;
        self.calls.wait(self.server.put(&self.calls, url, &mut &entry[..], entry.len() as u64))
    }

    fn missing(&self, blobs: &[Name]) -> Result<Vec<Name>, RemoteError> {
        self.calls.wait(async {
            let mut lacks = vec![false; blobs.len()];
            let mut waiting = blobs.iter().enumerate().filter(|(_, blob)| blob.size > 0);
            let mut asked = JoinSet::new();
            loop {
                while asked.len() < AT_ONCE
                    && let Some((index, blob)) = waiting.next()
                {
                    let (server, blob) = (self.server.clone(), *blob);
                    asked.spawn(async move { (index, server.lacks(&blob).await) });
                }
                // Each answer that comes in time keeps the others waited for.
                let Some(answer) = self.calls.in_time(asked.join_next()).await? else { break };
                let (index, answer) = answer
                    .map_err(|error| RemoteError::Unreachable(format!("the request ended: {error}")))?;
                lacks[index] = answer?;
            }
            Ok(blobs.iter().zip(lacks).filter(|(_, lacks)| *lacks).map(|(blob, _)| *blob).collect())
        })
    }

    fn get(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError> {
        // An empty range can't be asked for, nor is there any need to.
        if offset >= blob.size {
            return Ok(());
        }
        self.calls.wait(self.get_from(blob, offset, to))
    }

    fn put(&self, blob: &Name, from: &mut File) -> Result<(), RemoteError> {
        if blob.size == 0 {
            return Ok(());
        }
        let url = self.server.blob(blob)?;
        let mut from = Exactly::new(from, blob.size)?;
        self.calls.wait(self.server.put(&self.calls, url, &mut from, blob.size))
    }

    fn put_several(&self, blobs: &[(Name, Vec<u8>)]) -> Result<(), RemoteError> {
        for (blob, bytes) in blobs.iter().filter(|(blob, _)| blob.size > 0) {
            let url = self.server.blob(blob)?;
            self.calls.wait(self.server.put(&self.calls, url, &mut &bytes[..], blob.size))?;
        }
        Ok(())
    }
}

impl Server {
    fn entry(&self, key: &Digest) -> Result<Url, RemoteError> {
        self.at(&format!("ac/{key}"))
    }

    fn blob(&self, blob: &Name) -> Result<Url, RemoteError> {
        self.at(&format!("cas/{}", blob.sha256))
    }

    fn at(&self, path: &str) -> Result<Url, RemoteError> {
        self.base.join(path).map_err(|error| RemoteError::Settings(format!("{}: {error}", self.base)))
    }

    /// Whether the server lacks a blob. One of another size is as good as none, and a put mends it.
    async fn lacks(&self, blob: &Name) -> Result<bool, RemoteError> {
        let answer = self.follow(Method::HEAD, self.blob(blob)?, &HeaderMap::new()).await?;
        match answer.status() {
            StatusCode::OK => Ok(content_length(&answer)?.is_some_and(|length| length != blob.size)),
            status if is_missing(status) => Ok(true),
            _ => Err(refused(&answer, self.token.as_ref())),
        }
    }

    /// Asks, and has an answer's head in time.
    async fn ask(
        &self,
        calls: &Calls,
        method: Method,
        url: Url,
        headers: &HeaderMap,
    ) -> Result<Response, RemoteError> {
        calls.in_time(self.follow(method, url, headers)).await?
    }

    /// Asks, and asks elsewhere where the server says so. What lets us in is for this server, and no other gets it.
    async fn follow(&self, method: Method, url: Url, headers: &HeaderMap) -> Result<Response, RemoteError> {
        let mut url = url;
        for _ in 0..=REDIRECTS {
            let mut request = self.client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(authorization) = &self.authorization
                && url.origin() == self.base.origin()
            {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let answer = request.send().await.map_err(not_reached)?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let Some(next) = location.and_then(|location| url.join(location).ok()) else {
                return Err(refused(&answer, self.token.as_ref()));
            };
            if !(next.scheme() == "https" || (next.scheme() == "http" && url.scheme() == "http")) {
                return Err(nonsense("it redirects from https to something that is not"));
            }
            url = next;
        }
        Err(nonsense(format!("it redirects more than {REDIRECTS} times")))
    }
}

const fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// What the head says of the body's length. A body that the server packed is not the one that was put.
fn content_length(answer: &Response) -> Result<Option<u64>, RemoteError> {
    if let Some(encoding) = answer.headers().get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(nonsense("it packs what it sends, which it was not asked to"));
    }
    let Some(length) = answer.headers().get(CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.map(Some).ok_or_else(|| nonsense("it announces a length that is no number"))
}

/// Where the part of a blob begins that an answer holds.
fn content_range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn nonsense(text: impl Into<String>) -> RemoteError {
    RemoteError::Nonsense(text.into())
}

/// No answer. The address is known to whoever asked, and left out.
fn not_reached(error: reqwest::Error) -> RemoteError {
    RemoteError::Unreachable(one_line_redacted(&error_chain(&error.without_url()), None))
}

/// An answer that ended early.
fn broke_off(error: reqwest::Error) -> RemoteError {
    RemoteError::Unreachable(format!("the connection broke off: {}", error_chain(&error.without_url())))
}

#[cfg(test)]
mod tests;
