//! What an answer means that is not the one hoped for.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::remote::{RemoteError, Secret};
use crate::text::one_line_redacted;

/// The error that such an answer is. Its body is not read: nobody knows how long it is, nor what it says.
pub(super) fn refused(answer: &Response, token: Option<&Secret>) -> RemoteError {
    error(answer.status(), answer.headers(), token)
}

fn error(status: StatusCode, headers: &HeaderMap, token: Option<&Secret>) -> RemoteError {
    let text = one_line_redacted(&status.to_string(), token.map(Secret::reveal));
    match status.as_u16() {
        401 if token.is_none() => RemoteError::Denied(format!("{text}: it wants a token or a password")),
        401 | 403 | 407 => RemoteError::Denied(text),
        404 | 410 => RemoteError::Missing,
        405 | 501 => RemoteError::Refused(format!("{text}: does it take PUT at this address?")),
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            RemoteError::Busy { what: text, after: after(headers, Timestamp::now()) }
        }
        400..=599 => RemoteError::Refused(text),
        300..=399 => RemoteError::Nonsense(format!("{text}: it sends us elsewhere")),
        _ => RemoteError::Nonsense(text),
    }
}

/// When to ask again, in seconds or as a date (RFC 9110, 10.2.3).
fn after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text).ok()?.timestamp();
    // A date that is over is no reason to wait.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn after_at_noon(text: &'static str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        after(&headers, "2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_server_says_when_to_come_again_in_seconds_or_as_a_date() {
        assert_eq!(after_at_noon("7"), Some(Duration::from_secs(7)));
        assert_eq!(after_at_noon("Sun, 22 Nov 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after_at_noon("Sun, 22 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after_at_noon("soon"), None);
        assert_eq!(after_at_noon("-1"), None);
    }

    #[test]
    fn every_status_says_what_can_be_done_about_it() {
        let kind = |status| match error(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), None) {
            RemoteError::Missing => "missing",
            RemoteError::Denied(_) => "denied",
            RemoteError::Busy { .. } => "busy",
            RemoteError::Nonsense(_) => "nonsense",
            RemoteError::Refused(_) => "refused",
            other => panic!("{other}"),
        };
        for (statuses, expected) in [
            (&[401, 403, 407][..], "denied"),
            (&[404, 410], "missing"),
            (&[400, 405, 411, 413, 415, 501, 505], "refused"),
            (&[408, 429, 500, 502, 503, 504, 507, 599], "busy"),
            (&[206, 302, 304, 307, 299, 999], "nonsense"),
        ] {
            for status in statuses {
                assert_eq!(kind(*status), expected, "{status}");
            }
        }
    }
}
