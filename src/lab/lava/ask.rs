//! One request at a time: bounded, to the lab's own address, with the token.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::{JobId, LavaError, Settings, Token, connect};
use crate::net::{Late, Pace, chain, disbelief, plain, said};

/// The largest answer that is read. A thousand devices, or fifty jobs with their definitions, have a tenth of it.
pub(super) const MAX_ANSWER: usize = 8 << 20;

/// How many things of a list are asked for at once, unless said otherwise. No lab but the largest has more devices.
const AT_ONCE: usize = 1000;

/// How many pages of a list are read at most.
const MAX_PAGES: usize = 200;

/// The least that an answer must come to on the whole, in bytes a second.
const LEAST_PACE: u64 = 64 << 10;

/// How much of a list is read at most, in bytes.
const MAX_LIST: usize = 64 << 20;

/// What a request needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    /// Ends with a slash.
    base: Url,
    authorization: HeaderValue,
    token: Token,
    pub user: String,
    pub timeout: Duration,
}

/// What to ask for: `GET jobs/7/logs/?start=3` is `Ask::get(&["jobs", "7", "logs"]).with("start", "3")`.
#[derive(Clone)]
pub(super) struct Ask {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    accept: &'static str,
    /// How many things of a list are asked for at once.
    at_once: usize,
}

impl Ask {
    pub(super) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    pub(super) fn new(method: Method, segments: &[&str]) -> Self {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        Self { method, segments, query: Vec::new(), accept: "application/json", at_once: AT_ONCE }
    }

    /// With a parameter. LAVA does not refuse one that it does not know: it goes on as if it were not there.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) const fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// With so many things of a list at once: for those that are large.
    pub(super) const fn at_once(mut self, things: usize) -> Self {
        self.at_once = things;
        self
    }

    /// For people.
    fn what(&self) -> String {
        format!("{} {}/", self.method, plain(&self.segments.join("/")))
    }
}

/// A page of a list. Its `next` is looked at and never gone to: what it names may be another host, or this page again.
#[derive(Deserialize)]
struct Page<T> {
    next: Option<String>,
    results: Vec<T>,
}

impl Server {
    pub(super) fn new(settings: Settings) -> Result<Self, LavaError> {
        let base = connect::base(&settings.url)?;
        Ok(Self {
            client: connect::client(&base, &settings)?,
            authorization: connect::authorization(&settings.token)?,
            base,
            token: settings.token,
            user: settings.user,
            timeout: settings.timeout,
        })
    }

    /// The page of a job, for people.
    pub(super) fn page(&self, id: JobId) -> String {
        format!("{}scheduler/job/{id}", self.base)
    }

    /// Asks, and reads the answer up to `most` bytes.
    pub(super) async fn ask(&self, ask: &Ask, most: usize) -> Result<Answer, LavaError> {
        self.exchange(ask, self.request(ask), most).await
    }

    /// Posts JSON.
    pub(super) async fn post(&self, ask: &Ask, json: reqwest::Body) -> Result<Answer, LavaError> {
        let mut request = self.request(ask);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(json);
        self.exchange(ask, request, MAX_ANSWER).await
    }

    async fn exchange(&self, ask: &Ask, request: Request, most: usize) -> Result<Answer, LavaError> {
        let mut pace = Pace::new(self.timeout, LEAST_PACE);
        let mut response = self.send(&pace, ask, request).await?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&pace, ask, &mut response).await? {
            pace.moved(piece.len());
            if body.len() + piece.len() > most {
                let text = format!("{}: its answer is larger than {} KiB", ask.what(), most >> 10);
                return Err(LavaError::Unexpected(text));
            }
            body.extend_from_slice(&piece);
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Answer {
            what: ask.what(),
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body,
            token: self.token.clone(),
        })
    }

    /// Asks, and hands on what comes, piece by piece, until `take` has enough. `false` where it had.
    pub(super) async fn stream(
        &self,
        ask: &Ask,
        mut take: impl FnMut(&[u8]) -> Result<bool, LavaError>,
    ) -> Result<Streamed, LavaError> {
        let mut pace = Pace::new(self.timeout, LEAST_PACE);
        let mut response = self.send(&pace, ask, self.request(ask)).await?;
        if response.status() != reqwest::StatusCode::OK {
            return Ok(Streamed::Refused(response.status().as_u16()));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(LavaError::Unexpected(format!("{}: a page for people", ask.what())));
        }
        while let Some(piece) = self.piece(&pace, ask, &mut response).await? {
            pace.moved(piece.len());
            if !take(&piece)? {
                return Ok(Streamed::Enough);
            }
        }
        Ok(Streamed::Whole)
    }

    /// All of a list, or as much as comes before the first thing that is not wanted any more.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, LavaError> {
        let mut things = Vec::new();
        let mut offset = 0;
        let mut before = Vec::new();
        let mut read = 0;
        for _ in 0..MAX_PAGES {
            let page = ask.clone().with("limit", ask.at_once.to_string());
            let page = if offset == 0 { page } else { page.with("offset", offset.to_string()) };
            let answer = self.ask(&page, MAX_ANSWER).await?;
            let Page { next, results } = answer.json::<Page<T>>()?;
            if offset > 0 && answer.body == before {
                return Err(answer.unexpected("the pages of its list are all the same"));
            }
            before = answer.body;
            read += before.len();
            let last = next.is_none() || results.is_empty();
            offset += results.len();
            for thing in results {
                if !wanted(&thing) {
                    return Ok(things);
                }
                things.push(thing);
            }
            if last {
                return Ok(things);
            }
            if read > MAX_LIST {
                break;
            }
        }
        Err(LavaError::Unexpected(format!("{}: its list does not end", ask.what())))
    }

    fn request(&self, ask: &Ask) -> Request {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // What stands in a segment is escaped, and the empty one at the end makes a slash: LAVA redirects without it.
            path.pop_if_empty().extend(["api", "v0.2"]).extend(&ask.segments).push("");
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut request = Request::new(ask.method.clone(), url);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ask.accept));
        request
    }

    async fn send(&self, pace: &Pace, ask: &Ask, request: Request) -> Result<Response, LavaError> {
        let sent = pace.in_time(self.client.execute(request)).await.map_err(|late| at(ask, late))?;
        sent.map_err(|error| {
            if let Some(why) = disbelief(&error) {
                return LavaError::Certificate(format!("{}: {why}", ask.what()));
            }
            let timed_out = error.is_timeout();
            let text = said(&chain(&error.without_url()), Some(self.token.reveal()));
            let text = format!("{}: {text}", ask.what());
            if timed_out { LavaError::Slow(text) } else { LavaError::Unreachable(text) }
        })
    }

    async fn piece(
        &self,
        pace: &Pace,
        ask: &Ask,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, LavaError> {
        let piece = pace.in_time(response.chunk()).await.map_err(|late| at(ask, late))?;
        piece.map_err(|error| {
            let text = said(&chain(&error.without_url()), Some(self.token.reveal()));
            LavaError::Unreachable(format!("{}: the connection broke off: {text}", ask.what()))
        })
    }
}

/// How a stream ended.
pub(super) enum Streamed {
    Whole,
    /// Whoever took it had enough.
    Enough,
    /// It was none, but this status.
    Refused(u16),
}

fn at(ask: &Ask, late: Late) -> LavaError {
    LavaError::Slow(format!("{}: {late}", ask.what()))
}
