//! Validates and submits job definitions.
//!
//! If no response arrives, a job may exist. There is none if the connection failed or broke before the last byte of the
//! request was sent; in all other cases it is unknown.

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

use super::response::Answer;
use super::server::ApiCall;
use super::{JobId, Lava, LavaError, SubmitError};

/// LAVA's message for a valid definition.
const VALID: &str = "Job valid.";

impl Lava {
    /// Validates a definition against LAVA's strict schema. Devices are not checked.
    ///
    /// LAVA has another schema for submissions, and neither includes the other, so a submission may still be refused.
    pub fn validate(&self, definition: &str) -> Result<(), LavaError> {
        let call = ApiCall::new(Method::POST, &["jobs", "validate"]);
        let body = json!({ "definition": definition, "strict": true }).to_string();
        let answer = self.calls.wait(self.server.post(&call, body.into()))?;
        match answer.status.as_u16() {
            200 => match answer.reason() {
                Some(message) if message == VALID => Ok(()),
                Some(message) => Err(LavaError::Invalid(message)),
                None => Err(answer.unexpected("neither valid nor invalid")),
            },
            400 => Err(invalid(&answer)),
            // LAVA answers 500 for invalid YAML.
            _ => Err(answer.refusal()),
        }
    }

    /// Submits a job. The request is never repeated: see [`SubmitError`].
    pub fn submit(&self, definition: &str) -> Result<JobId, SubmitError> {
        let (body, sent) = Watched::new(json!({ "definition": definition }).to_string());
        let call = ApiCall::new(Method::POST, &["jobs"]);
        let answer = match self.calls.wait(self.server.post(&call, reqwest::Body::wrap(body))) {
            Ok(answer) => answer,
            Err(error) if sent.load(Ordering::Acquire) => return Err(SubmitError::Unconfirmed(error)),
            Err(error) => return Err(SubmitError::NotSent(error)),
        };
        match answer.status.as_u16() {
            201 => submitted(&answer).map_err(SubmitError::Unconfirmed),
            400 => Err(SubmitError::Refused(invalid(&answer))),
            // A web server in front of the lab refused it, so the lab never received it.
            408 | 425 | 429 => Err(SubmitError::NotSent(answer.refusal())),
            300..=499 => Err(SubmitError::Refused(answer.refusal())),
            // An unknown tag is a 500, but so is an error after the job was created.
            _ => Err(SubmitError::Unconfirmed(answer.refusal())),
        }
    }
}

fn invalid(answer: &Answer) -> LavaError {
    LavaError::Invalid(answer.reason().unwrap_or_else(|| "it does not say why".to_owned()))
}

/// The number of the created job.
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

/// A request body that records whether all of it was taken for sending.
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
