//! Validates and submits job definitions.
//!
//! What counts is what is left when an answer does not come: whether there is a job then. A connection that was never
//! made, or broke before the last byte of the request was handed on, has made none; all else is unclear.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::ask::Ask;
use super::{JobId, Lava, LavaError, Submit};

/// What LAVA says of a definition that it would take.
const VALID: &str = "Job valid.";

impl Lava {
    /// Whether the lab takes a definition: its schema with every key checked. What the job would run on is not looked at.
    ///
    /// LAVA has another schema for submissions, and neither holds the other: both have to be asked.
    pub fn validate(&self, definition: &str) -> Result<(), LavaError> {
        let ask = Ask::new(Method::POST, &["jobs", "validate"]);
        let body = json!({ "definition": definition, "strict": true }).to_string();
        let answer = self.calls.wait(self.server.post(&ask, body.into()))?;
        match answer.status.as_u16() {
            200 => match answer.reason() {
                Some(message) if message == VALID => Ok(()),
                Some(message) => Err(LavaError::Invalid(message)),
                None => Err(answer.unexpected("neither valid nor invalid")),
            },
            400 => Err(invalid(&answer)),
            // What is not YAML is a 500 here.
            _ => Err(answer.refusal()),
        }
    }

    /// Submits a job. It is never sent twice: see [`Submit`] for what to do where no number came back.
    pub fn submit(&self, definition: &str) -> Result<JobId, Submit> {
        let (body, sent) = Watched::new(json!({ "definition": definition }).to_string());
        let ask = Ask::new(Method::POST, &["jobs"]);
        let answer = match self.calls.wait(self.server.post(&ask, reqwest::Body::wrap(body))) {
            Ok(answer) => answer,
            Err(error) if sent.load(Ordering::Acquire) => return Err(Submit::Unclear(error)),
            Err(error) => return Err(Submit::NotSent(error)),
        };
        match answer.status.as_u16() {
            201 => submitted(&answer).map_err(Submit::Unclear),
            400 => Err(Submit::Refused(invalid(&answer))),
            // A web server in front of the lab took it for too much, and the lab never saw it.
            408 | 425 | 429 => Err(Submit::NotSent(answer.refusal())),
            300..=499 => Err(Submit::Refused(answer.refusal())),
            // An unknown tag is a 500 too, but so is what broke after the job was made.
            _ => Err(Submit::Unclear(answer.refusal())),
        }
    }
}

fn invalid(answer: &Answer) -> LavaError {
    LavaError::Invalid(answer.reason().unwrap_or_else(|| "it does not say why".to_owned()))
}

/// The number of the one job that was made.
fn submitted(answer: &Answer) -> Result<JobId, LavaError> {
    #[derive(Deserialize)]
    struct Made {
        job_ids: Vec<JobId>,
    }
    match answer.read::<Made>()?.job_ids[..] {
        [id] => Ok(id),
        ref ids => Err(answer.unexpected(&format!("one job was submitted, and it made {}", ids.len()))),
    }
}

/// A body that tells whether the last of it was taken to be sent.
struct Watched {
    bytes: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Watched {
    fn new(text: String) -> (Self, Arc<AtomicBool>) {
        let taken = Arc::new(AtomicBool::new(false));
        (Self { bytes: Some(Bytes::from(text)), taken: taken.clone() }, taken)
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take();
        self.taken.store(true, Ordering::Release);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }
}
