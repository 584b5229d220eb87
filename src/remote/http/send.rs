//! What is sent to a web server.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::Url;
use reqwest::header::AUTHORIZATION;

use super::{Server, is_missing, not_reached, refused};
use crate::remote::RemoteError;
use crate::remote::calls::{Body, Calls};

impl Server {
    /// Puts what `from` yields, `size` bytes. To be sent elsewhere is an error: what has been read can't be read again.
    pub(super) async fn put(
        &self,
        calls: &Calls,
        url: Url,
        from: &mut dyn Read,
        size: u64,
    ) -> Result<(), RemoteError> {
        let server = self.clone();
        let request = |body| async move {
            let mut request = server.client.put(url).body(reqwest::Body::wrap(Sized { body, left: size }));
            if let Some(authorization) = &server.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let answer = request.send().await.map_err(not_reached)?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status if is_missing(status) => {
                    Err(RemoteError::Refused(format!("{status}: does it take PUT at this address?")))
                }
                _ => Err(refused(&answer, server.token.as_ref())),
            }
        };
        calls.send(from, request).await
    }
}

/// A body of known size, so that the server knows when it has all of it.
struct Sized {
    body: Body,
    left: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.body.poll_piece(context).map(|piece| {
            let piece = piece?;
            Some(piece.map(|piece| {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Frame::data(piece)
            }))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
