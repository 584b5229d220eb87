//! A lab's response, and the error that it stands for.

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{LavaError, Token};
use crate::text::one_line_redacted;

/// The largest error response that is parsed, in bytes.
const MAX_REASON: usize = 64 << 10;

/// A complete response.
pub(super) struct Answer {
    /// The call: `GET jobs/7/`.
    pub what: String,
    pub status: StatusCode,
    pub content_type: String,
    pub body: Vec<u8>,
    /// The token, to redact it from messages.
    pub token: Token,
}

/// LAVA's form of an error.
#[derive(Deserialize)]
struct Reason {
    message: Option<String>,
    detail: Option<String>,
    #[serde(flatten)]
    fields: serde_json::Map<String, Value>,
}

impl Answer {
    /// The content of a 200 response with JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, LavaError> {
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        self.read()
    }

    /// The JSON content, whatever the status.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, LavaError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let length = self.body.len();
            let kind = if self.content_type.is_empty() { "bytes" } else { &self.content_type };
            let text = format!("{length} bytes of {kind} where JSON was asked for ({error})");
            self.unexpected(&text)
        })
    }

    /// The error that the status stands for.
    pub(super) fn refusal(&self) -> LavaError {
        let text = match self.reason() {
            Some(reason) => format!("{}: {}: {reason}", self.what, self.status),
            None => format!("{}: {}", self.what, self.status),
        };
        match self.status.as_u16() {
            401 | 403 | 407 => LavaError::Denied(text),
            408 | 425 | 429 | 500..=599 => LavaError::Failed(text),
            300..=399 => {
                LavaError::Unexpected(format!("{text}: it sends us elsewhere; is its address right?"))
            }
            _ => LavaError::Unexpected(text),
        }
    }

    pub(super) fn unexpected(&self, text: &str) -> LavaError {
        LavaError::Unexpected(format!(
            "{}: {}: {}",
            self.what,
            self.status,
            one_line_redacted(text, Some(self.token.reveal()))
        ))
    }

    /// The reason of an error in LAVA's form: `message`, `detail`, or texts by field name.
    pub(super) fn reason(&self) -> Option<String> {
        if self.body.len() > MAX_REASON {
            return None;
        }
        let reason: Reason = serde_json::from_slice(&self.body).ok()?;
        let text = reason.message.or(reason.detail).or_else(|| {
            let (field, why) = reason.fields.iter().next()?;
            let why = why.as_str().or_else(|| why.get(0)?.as_str())?;
            Some(format!("{field}: {why}"))
        })?;
        Some(one_line_redacted(&text, Some(self.token.reveal())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            what: "GET jobs/7/".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            content_type: "text/html".to_owned(),
            body: body.as_bytes().to_vec(),
            token: Token::new("s3cret".to_owned()),
        }
    }

    #[test]
    fn an_error_names_the_call_and_the_reason() {
        let text = |body| answer(400, body).reason();
        assert_eq!(text(r#"{"message":"Job s3cret."}"#).as_deref(), Some("Job (the token)."));
        assert_eq!(text(r#"{"detail":"Not found."}"#).as_deref(), Some("Not found."));
        assert_eq!(
            text(r#"{"definition":["This field is required."]}"#).as_deref(),
            Some("definition: This field is required.")
        );
        assert_eq!(text(r#"{"definition":"is required"}"#).as_deref(), Some("definition: is required"));
        assert_eq!(text("<html>"), None);
        let error = answer(403, r#"{"detail":"Invalid token."}"#).refusal().to_string();
        assert_eq!(error, "access denied: GET jobs/7/: 403 Forbidden: Invalid token.");
    }

    #[test]
    fn each_status_maps_to_an_error_class() {
        for status in [401, 403] {
            assert!(matches!(answer(status, "").refusal(), LavaError::Denied(_)), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(answer(status, "").refusal(), LavaError::Failed(_)), "{status}");
        }
        for status in [201, 204, 301, 302, 400, 404, 405, 415] {
            assert!(matches!(answer(status, "").refusal(), LavaError::Unexpected(_)), "{status}");
        }
    }

    #[test]
    fn html_is_not_json() {
        let error = answer(200, "<!DOCTYPE html>").json::<Value>().unwrap_err();
        assert!(matches!(error, LavaError::Unexpected(_)), "{error}");
        assert!(error.to_string().contains("15 bytes of text/html where JSON was asked for"), "{error}");
    }
}
