//! Sends requests to a lab: bounded in size and time, to its own address only, with the token.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::response::Answer;
use super::{JobId, LavaError, Settings, Token, connect};
use crate::net::{Stall, StallGuard, certificate_error};
use crate::text::{error_chain, one_line, one_line_redacted};

/// The largest response, in bytes. A thousand devices, or fifty jobs with their definitions, need a tenth of it.
pub(super) const MAX_ANSWER: usize = 8 << 20;

/// The default page size of lists. Only the largest labs have more devices.
const PAGE_SIZE: usize = 1000;

/// The largest number of pages of a list.
const MAX_PAGES: usize = 200;

/// The minimum overall rate of a response, in bytes a second.
const MIN_RATE: u64 = 64 << 10;

/// The largest total size of a list, in bytes.
const MAX_LIST: usize = 64 << 20;

/// A lab's address, credentials and HTTP client. Cheap to clone.
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

/// An API call: `GET jobs/7/logs/?start=3` is `ApiCall::get(&["jobs", "7", "logs"]).with("start", "3")`.
#[derive(Clone)]
pub(super) struct ApiCall {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    accept: &'static str,
    /// The page size of a list.
    page_size: usize,
}

impl ApiCall {
    pub(super) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    pub(super) fn new(method: Method, segments: &[&str]) -> Self {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        Self { method, segments, query: Vec::new(), accept: "application/json", page_size: PAGE_SIZE }
    }

    /// Adds a query parameter. LAVA ignores unknown parameters.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) const fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Sets the page size, for lists with large items.
    pub(super) const fn page_size(mut self, things: usize) -> Self {
        self.page_size = things;
        self
    }

    /// The call, for messages.
    fn what(&self) -> String {
        format!("{} {}/", self.method, one_line(&self.segments.join("/")))
    }
}

/// A page of a list. Only the presence of `next` is used: its URL may name another host, or this page again.
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

    /// The URL of a job's web page.
    pub(super) fn page(&self, id: JobId) -> String {
        format!("{}scheduler/job/{id}", self.base)
    }

    /// Sends a call, and reads a response of at most `max_bytes`.
    pub(super) async fn call(&self, call: &ApiCall, max_bytes: usize) -> Result<Answer, LavaError> {
        self.exchange(call, self.request(call), max_bytes).await
    }

    /// Posts JSON.
    pub(super) async fn post(&self, call: &ApiCall, json: reqwest::Body) -> Result<Answer, LavaError> {
        let mut request = self.request(call);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(json);
        self.exchange(call, request, MAX_ANSWER).await
    }

    async fn exchange(
        &self,
        call: &ApiCall,
        request: Request,
        max_bytes: usize,
    ) -> Result<Answer, LavaError> {
        let mut guard = StallGuard::new(self.timeout, MIN_RATE);
        let mut response = self.send(&guard, call, request).await?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&guard, call, &mut response).await? {
            guard.add(piece.len());
            if body.len() + piece.len() > max_bytes {
                let text = format!("{}: its answer is larger than {} KiB", call.what(), max_bytes >> 10);
                return Err(LavaError::Unexpected(text));
            }
            body.extend_from_slice(&piece);
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Answer {
            what: call.what(),
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body,
            token: self.token.clone(),
        })
    }

    /// Sends a call, and passes the response to `take` chunk by chunk until it returns `false`.
    pub(super) async fn stream(
        &self,
        call: &ApiCall,
        mut take: impl FnMut(&[u8]) -> Result<bool, LavaError>,
    ) -> Result<Streamed, LavaError> {
        let mut guard = StallGuard::new(self.timeout, MIN_RATE);
        let mut response = self.send(&guard, call, self.request(call)).await?;
        if response.status() != reqwest::StatusCode::OK {
            return Ok(Streamed::Refused(response.status().as_u16()));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(LavaError::Unexpected(format!("{}: a page for people", call.what())));
        }
        while let Some(piece) = self.piece(&guard, call, &mut response).await? {
            guard.add(piece.len());
            if !take(&piece)? {
                return Ok(Streamed::Enough);
            }
        }
        Ok(Streamed::Whole)
    }

    /// The items of a list, up to the first one that is not `wanted`.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        call: &ApiCall,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, LavaError> {
        let mut things = Vec::new();
        let mut offset = 0;
        let mut before = Vec::new();
        let mut read = 0;
        for _ in 0..MAX_PAGES {
            let page = call.clone().with("limit", call.page_size.to_string());
            let page = if offset == 0 { page } else { page.with("offset", offset.to_string()) };
            let answer = self.call(&page, MAX_ANSWER).await?;
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
        Err(LavaError::Unexpected(format!("{}: its list does not end", call.what())))
    }

    fn request(&self, call: &ApiCall) -> Request {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // Segments are escaped. The empty last segment adds the slash without which LAVA redirects.
            path.pop_if_empty().extend(["api", "v0.2"]).extend(&call.segments).push("");
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = Request::new(call.method.clone(), url);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(call.accept));
        request
    }

    async fn send(
        &self,
        guard: &StallGuard,
        call: &ApiCall,
        request: Request,
    ) -> Result<Response, LavaError> {
        let sent = guard.in_time(self.client.execute(request)).await.map_err(|stall| stalled(call, stall))?;
        sent.map_err(|error| {
            if let Some(why) = certificate_error(&error) {
                return LavaError::Certificate(format!("{}: {why}", call.what()));
            }
            let timed_out = error.is_timeout();
            let text = one_line_redacted(&error_chain(&error.without_url()), Some(self.token.reveal()));
            let text = format!("{}: {text}", call.what());
            if timed_out { LavaError::Slow(text) } else { LavaError::Unreachable(text) }
        })
    }

    async fn piece(
        &self,
        guard: &StallGuard,
        call: &ApiCall,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, LavaError> {
        let piece = guard.in_time(response.chunk()).await.map_err(|stall| stalled(call, stall))?;
        piece.map_err(|error| {
            let text = one_line_redacted(&error_chain(&error.without_url()), Some(self.token.reveal()));
            LavaError::Unreachable(format!("{}: the connection broke off: {text}", call.what()))
        })
    }
}

/// How a stream ended.
pub(super) enum Streamed {
    Whole,
    /// The receiver stopped it.
    Enough,
    /// The status was not 200.
    Refused(u16),
}

fn stalled(call: &ApiCall, stall: Stall) -> LavaError {
    LavaError::Slow(format!("{}: {stall}", call.what()))
}
