//! One request to one mirror.

use std::io::{self, Write};
use std::ops::ControlFlow;

use bytes::Bytes;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};

use super::error::MirrorProblem;
use super::part::Part;
use super::{Patience, Wanted};
use crate::net::{Pace, chain, plain};

/// What is asked of whom.
pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub url: Url,
    pub patience: Patience,
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
    /// A small file as a whole.
    pub async fn text(&self, most: u64) -> Result<Vec<u8>, MirrorProblem> {
        let mut answer = self.ask(HeaderMap::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(refused(&answer));
        }
        is_no_page(&answer)?;
        if length(&answer).is_some_and(|length| length > most) {
            return Err(MirrorProblem::TooMuch(most));
        }
        let mut pace = self.patience.pace();
        let mut bytes = Vec::new();
        while let Some(piece) = next(&mut pace, &mut answer).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                return Err(MirrorProblem::TooMuch(most));
            }
        }
        Ok(bytes)
    }

    /// What is missing of a file. `sink` has seen the part that is there; where the mirror begins anew, a new
    /// one takes its place.
    pub async fn file<S: Write + Seen>(
        &self,
        wanted: &Wanted,
        part: &mut Part,
        sink: &mut S,
        restart: &mut impl FnMut() -> S,
        told: &mut impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let mut whole = wanted.size();
        if whole == Some(sink.seen()) {
            return Ok(());
        }
        let mut answer = self.ask_from(sink.seen(), part).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // Its file is shorter than what is there of ours: one of the two is wrong.
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
                    .ok_or(MirrorProblem::Nonsense("it sends a part without saying which"))?;
                if range.0 != sink.seen() {
                    return Err(MirrorProblem::Nonsense("it sends another part than was asked for").into());
                }
                fits(range.1, wanted)?;
                whole = whole.or(range.1);
            }
            _ => return Err(refused(&answer).into()),
        }
        let mark = header(&answer, &ETAG).filter(|mark| !mark.starts_with("W/"));
        part.came_from(self.url.as_str(), mark.as_deref()).map_err(Stop::Local)?;
        let mut pace = self.patience.pace();
        loop {
            // Once all of it is there, the connection may end as it likes; but an answer without an announced length may
            // go on for ever.
            let piece = match next(&mut pace, &mut answer).await {
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
            if told(sink.seen()).is_break() {
                return Err(Stop::Cancelled);
            }
        }
    }

    async fn ask_from(&self, offset: u64, part: &Part) -> Result<Response, MirrorProblem> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            let range = format!("bytes={offset}-").parse();
            headers.insert(RANGE, range.map_err(|_| MirrorProblem::Nonsense("a range can't be asked for"))?);
            // A mirror that has given us some of it says by its mark whether it still has the same; another goes on
            // with its own, and the digests tell.
            if let Some(mark) = part.mark(self.url.as_str()).filter(|mark| !mark.is_empty())
                && let Ok(mark) = mark.parse()
            {
                headers.insert(IF_RANGE, mark);
            }
        }
        self.ask(headers).await
    }

    async fn ask(&self, headers: HeaderMap) -> Result<Response, MirrorProblem> {
        let request = self.client.get(self.url.clone()).headers(headers).send();
        let answer = self.patience.pace().in_time(request).await?;
        answer.map_err(|error| MirrorProblem::Unreachable(chain(&error.without_url())))
    }
}

/// How many bytes something has been written.
pub(super) trait Seen {
    fn seen(&self) -> u64;
}

impl<S> Seen for super::Sink<S> {
    fn seen(&self) -> u64 {
        self.hashing.size()
    }
}

/// More of an answer; nothing behind its end.
async fn next(pace: &mut Pace, answer: &mut Response) -> Result<Option<Bytes>, MirrorProblem> {
    let piece = pace.in_time(answer.chunk()).await?.map_err(|_| MirrorProblem::BrokeOff(pace.so_far()))?;
    pace.moved(piece.as_ref().map_or(0, Bytes::len));
    Ok(piece)
}

fn refused(answer: &Response) -> MirrorProblem {
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => MirrorProblem::Missing,
        status if status.is_redirection() => {
            MirrorProblem::Redirect(plain(&header(answer, &LOCATION).unwrap_or_default()))
        }
        status => MirrorProblem::Status(status.as_u16()),
    }
}

/// Whether what a mirror announces can be the file.
fn fits(announced: Option<u64>, wanted: &Wanted) -> Result<(), MirrorProblem> {
    match (announced, wanted) {
        (Some(found), Wanted::Sized { size, .. }) if found != *size => {
            Err(MirrorProblem::Size { found, wanted: *size })
        }
        (Some(found), Wanted::Bounded { most, .. }) if found > *most => Err(MirrorProblem::TooMuch(*most)),
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

/// Where the part begins that an answer holds, and how long the whole is if it says so.
fn content_range(answer: &Response) -> Option<(u64, Option<u64>)> {
    let range = header(answer, &CONTENT_RANGE)?;
    let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()))
}

fn header(answer: &Response, name: &HeaderName) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}
