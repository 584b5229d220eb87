//! A request to one mirror.

use std::io::{self, Write};
use std::ops::ControlFlow;

use bytes::Bytes;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};

use super::error::MirrorProblem;
use super::partial_file::PartialFile;
use super::{ExpectedFile, TransferLimits};
use crate::net::StallGuard;
use crate::text::{error_chain, one_line};

/// A request to one mirror.
pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub url: Url,
    pub limits: TransferLimits,
}

/// Why a transfer ended early.
pub(super) enum Stop {
    Mirror(MirrorProblem),
    Local(io::Error),
    Cancelled,
}

impl From<MirrorProblem> for Stop {
    fn from(problem: MirrorProblem) -> Self {
        Self::Mirror(problem)
    }
}

impl Transfer<'_> {
    /// Downloads a small file.
    pub async fn text(&self, most: u64) -> Result<Vec<u8>, MirrorProblem> {
        let mut answer = self.ask(HeaderMap::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(refused(&answer));
        }
        is_no_page(&answer)?;
        if length(&answer).is_some_and(|length| length > most) {
            return Err(MirrorProblem::TooMuch(most));
        }
        let mut guard = self.limits.guard();
        let mut bytes = Vec::new();
        while let Some(piece) = next(&mut guard, &mut answer).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                return Err(MirrorProblem::TooMuch(most));
            }
        }
        Ok(bytes)
    }

    /// Downloads the missing rest of a file. `sink` has received the present part; where the mirror restarts the file, a new
    /// sink replaces it.
    pub async fn file<S: Write + BytesSeen>(
        &self,
        wanted: &ExpectedFile,
        part: &mut PartialFile,
        sink: &mut S,
        restart: &mut impl FnMut() -> S,
        progress: &mut impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let mut whole = wanted.size();
        if whole == Some(sink.seen()) {
            return Ok(());
        }
        let mut answer = self.ask_from(sink.seen(), part).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // The mirror's file is shorter than the partial file: one of them is wrong.
            part.clear().map_err(Stop::Local)?;
            *sink = restart();
            answer = self.ask_from(0, part).await?;
        }
        match answer.status() {
            StatusCode::OK => {
                is_no_page(&answer)?;
                let announced = length(&answer);
                fits(announced, wanted)?;
                whole = whole.or(announced);
                if sink.seen() > 0 {
                    part.clear().map_err(Stop::Local)?;
                    *sink = restart();
                }
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(&answer)
                    .ok_or(MirrorProblem::Malformed("it sends a part without saying which"))?;
                if range.0 != sink.seen() {
                    return Err(MirrorProblem::Malformed("it sends another part than was asked for").into());
                }
                fits(range.1, wanted)?;
                whole = whole.or(range.1);
            }
            _ => return Err(refused(&answer).into()),
        }
        let etag = header(&answer, &ETAG).filter(|etag| !etag.starts_with("W/"));
        part.set_origin(self.url.as_str(), etag.as_deref()).map_err(Stop::Local)?;
        let mut guard = self.limits.guard();
        loop {
            // A complete file needs no proper end of the connection. Without an announced length the response may be endless.
            let piece = match next(&mut guard, &mut answer).await {
                Ok(Some(piece)) => piece,
                Err(_) if whole == Some(sink.seen()) => return Ok(()),
                Ok(None) if whole.is_none_or(|size| size == sink.seen()) => return Ok(()),
                Ok(None) => return Err(MirrorProblem::BrokeOff(sink.seen()).into()),
                Err(problem) => return Err(problem.into()),
            };
            if sink.seen() + piece.len() as u64 > wanted.most() {
                return Err(MirrorProblem::TooMuch(wanted.most()).into());
            }
            part.append(&piece).map_err(Stop::Local)?;
            sink.write_all(&piece).map_err(Stop::Local)?;
            if progress(sink.seen()).is_break() {
                return Err(Stop::Cancelled);
            }
        }
    }

    async fn ask_from(&self, offset: u64, part: &PartialFile) -> Result<Response, MirrorProblem> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            let range = format!("bytes={offset}-").parse();
            headers.insert(RANGE, range.map_err(|_| MirrorProblem::Malformed("a range can't be asked for"))?);
            // The ETag lets the same mirror restart a changed file. On another mirror the digests detect a difference.
            if let Some(etag) = part.etag(self.url.as_str()).filter(|etag| !etag.is_empty())
                && let Ok(etag) = etag.parse()
            {
                headers.insert(IF_RANGE, etag);
            }
        }
        self.ask(headers).await
    }

    async fn ask(&self, headers: HeaderMap) -> Result<Response, MirrorProblem> {
        let request = self.client.get(self.url.clone()).headers(headers).send();
        let answer = self.limits.guard().in_time(request).await?;
        answer.map_err(|error| MirrorProblem::Unreachable(error_chain(&error.without_url())))
    }
}

/// A sink that counts its bytes.
pub(super) trait BytesSeen {
    fn seen(&self) -> u64;
}

impl<S> BytesSeen for super::Sink<S> {
    fn seen(&self) -> u64 {
        self.hashing.size()
    }
}

/// The next chunk of a response, or `None` at its end.
async fn next(guard: &mut StallGuard, answer: &mut Response) -> Result<Option<Bytes>, MirrorProblem> {
    let piece = guard.in_time(answer.chunk()).await?.map_err(|_| MirrorProblem::BrokeOff(guard.bytes()))?;
    guard.add(piece.as_ref().map_or(0, Bytes::len));
    Ok(piece)
}

fn refused(answer: &Response) -> MirrorProblem {
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => MirrorProblem::Missing,
        status if status.is_redirection() => {
            MirrorProblem::Redirect(one_line(&header(answer, &LOCATION).unwrap_or_default()))
        }
        status => MirrorProblem::Status(status.as_u16()),
    }
}

/// Checks an announced size against the expected file.
fn fits(announced: Option<u64>, wanted: &ExpectedFile) -> Result<(), MirrorProblem> {
    match (announced, wanted) {
        (Some(found), ExpectedFile::Sized { size, .. }) if found != *size => {
            Err(MirrorProblem::Size { found, wanted: *size })
        }
        (Some(found), ExpectedFile::Bounded { most, .. }) if found > *most => {
            Err(MirrorProblem::TooMuch(*most))
        }
        _ => Ok(()),
    }
}

fn is_no_page(answer: &Response) -> Result<(), MirrorProblem> {
    let kind = header(answer, &CONTENT_TYPE).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("text/html") { Err(MirrorProblem::Page) } else { Ok(()) }
}

fn length(answer: &Response) -> Option<u64> {
    header(answer, &CONTENT_LENGTH)?.parse().ok()
}

/// The offset of a partial response, and the total size if given.
fn content_range(answer: &Response) -> Option<(u64, Option<u64>)> {
    let range = header(answer, &CONTENT_RANGE)?;
    let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()))
}

fn header(answer: &Response, name: &HeaderName) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}
