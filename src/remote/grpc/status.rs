//! What a status means that is not the one hoped for.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::remote::{RemoteError, Secret};
use crate::text::{error_chain, one_line_redacted};

/// The error that such a status is.
pub(super) fn error(status: &Status, token: Option<&Secret>) -> RemoteError {
    let token = token.map(Secret::reveal);
    let text = one_line_redacted(status.message(), token);
    // Servers' own have no cause: this one was made here, as the connection broke or never was.
    if let Some(cause) = status.source() {
        return RemoteError::Unreachable(one_line_redacted(&error_chain(cause), token));
    }
    let shown = if text.is_empty() { status.code().description().to_owned() } else { text };
    match status.code() {
        Code::NotFound => RemoteError::Missing,
        Code::Unauthenticated | Code::PermissionDenied => RemoteError::Denied(shown),
        Code::Cancelled => RemoteError::Unreachable(shown),
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss => RemoteError::Busy { what: shown, after: None },
        Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition | Code::AlreadyExists => {
            RemoteError::Refused(shown)
        }
        // A message that is larger than any, or less of a blob than there should be.
        Code::OutOfRange | Code::Ok => RemoteError::Nonsense(shown),
    }
}

/// The same for the status of one blob of a batch.
pub(super) fn of_blob(code: i32, message: &str, token: Option<&Secret>) -> Result<(), RemoteError> {
    match Code::from_i32(code) {
        Code::Ok => Ok(()),
        code => Err(error(&Status::new(code, message), token)),
    }
}
