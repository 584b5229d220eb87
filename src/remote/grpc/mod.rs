//! A remote that speaks the Remote Execution API, version 2: its content-addressable storage, its action cache, and
//! nothing of execution.
//!
//! | map | where |
//! | --- | --- |
//! | entries | the action cache: an action that is made up from the key, whose result carries the entry (`entry.rs`) |
//! | blobs | the storage: small ones in batches, others as byte streams (`blobs.rs`, `stream.rs`) |
//!
//! Which digests it knows, how large a batch may be, and whether it takes zstd is asked once, at first use
//! (`capabilities.rs`). SHA-256 and BLAKE3 look alike, so that every request says which one it means.

mod blobs;
mod capabilities;
mod connect;
mod entry;
mod status;
mod stream;

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::sync::OnceLock;

use bazel_remote_apis::build::bazel::remote::execution::v2::Digest as WireDigest;
use reqwest::Url;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::calls::Calls;
use super::{MAX_ENTRY, Name, Remote, RemoteError, Secret, Settings};
use crate::digest::Digest;
use capabilities::Capabilities;

/// The largest message there is, in bytes: gRPC's own limit, which servers keep to.
const MAX_MESSAGE: usize = 4 << 20;

/// The largest message that is read: a batch with all that is around its blobs.
const MAX_READ: usize = MAX_MESSAGE + (1 << 20);

/// A Remote Execution API server.
pub(super) struct GrpcRemote {
    // Before `calls`: a channel ends on the thread that drives it.
    server: Server,
    known: OnceLock<Capabilities>,
    calls: Calls,
}

/// What a request needs; cheap to clone.
#[derive(Clone)]
struct Server {
    channel: Channel,
    instance: String,
    authorization: Option<MetadataValue<Ascii>>,
    /// Kept to strike it out of what the server says.
    token: Option<Secret>,
}

impl Server {
    /// A request that shows what lets us in.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    fn failed(&self, status: &Status) -> RemoteError {
        status::error(status, self.token.as_ref())
    }
}

impl GrpcRemote {
    /// The server at a URL that has been checked; `https` stands for `grpcs`.
    pub(super) fn new(url: &Url, settings: &Settings) -> Result<Self, RemoteError> {
        let calls = Calls::new(settings.timeout).map_err(RemoteError::Local)?;
        let endpoint = connect::endpoint(url, settings)?;
        let server = Server {
            // Nothing is sent yet; but its worker has to be started where it will run.
            channel: calls.wait(async { endpoint.connect_lazy() }),
            instance: settings.instance.clone(),
            authorization: connect::authorization(settings)?,
            token: settings.token.clone(),
        };
        Ok(Self { server, known: OnceLock::new(), calls })
    }

    /// What the server can do: asked once, and again where that failed.
    async fn capabilities(&self) -> Result<Capabilities, RemoteError> {
        if let Some(known) = self.known.get() {
            return Ok(*known);
        }
        let asked = capabilities::ask(self).await?;
        Ok(*self.known.get_or_init(|| asked))
    }

    /// Waits for a call that has one answer.
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RemoteError> {
        self.answer_of(0, call).await
    }

    /// The same where so many bytes go one way or the other before there is an answer.
    async fn answer_of<T>(
        &self,
        bytes: u64,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RemoteError> {
        let answer = self.calls.in_time_for(bytes, call).await?;
        answer.map(Response::into_inner).map_err(|status| self.server.failed(&status))
    }
}

impl Remote for GrpcRemote {
    fn entry(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
        self.calls.wait(async {
            let known = self.capabilities().await?;
            entry::get(self, known.function, key).await
        })
    }

    fn put_entry(&self, key: &Digest, entry: &[u8], blobs: &[Name]) -> Result<(), RemoteError> {
        if entry.len() as u64 > MAX_ENTRY {
            return Err(RemoteError::Refused(format!("an entry of {} bytes", entry.len())));
        }
        self.calls.wait(async {
            let known = self.capabilities().await?;
            if !known.updates {
                return Err(RemoteError::Refused("this instance takes no results from clients".to_owned()));
            }
            Box::pin(entry::put(self, known.function, key, entry, blobs)).await
        })
    }

    fn missing(&self, blobs: &[Name]) -> Result<Vec<Name>, RemoteError> {
        self.calls.wait(async {
            let known = self.capabilities().await?;
            blobs::missing(self, known.function, blobs).await
        })
    }

    fn get(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError> {
        if offset > 0 && offset >= blob.size {
            return Ok(());
        }
        self.calls.wait(async {
            let known = self.capabilities().await?;
            stream::read(self, known, blob, offset, to).await
        })
    }

    fn put(&self, blob: &Name, from: &mut File) -> Result<(), RemoteError> {
        self.calls.wait(async {
            let known = self.capabilities().await?;
            stream::write_file(self, known, blob, from).await
        })
    }

    fn together(&self) -> u64 {
        self.calls.wait(self.capabilities()).map_or(0, |known| known.together())
    }

    fn get_several(&self, blobs: &[Name], take: &mut dyn FnMut(&Name, Vec<u8>)) -> Result<(), RemoteError> {
        let known = self.calls.wait(self.capabilities())?;
        let mut left: HashMap<String, Name> =
            blobs.iter().map(|blob| (known.function.of(blob).hash, *blob)).collect();
        for batch in blobs::batches(blobs, known.batch, |blob| blob.size) {
            if let [alone] = batch
                && alone.size > known.batch
            {
                let mut bytes = Vec::new();
                match self.get(alone, 0, &mut bytes) {
                    Ok(()) => take(alone, bytes),
                    Err(RemoteError::Missing) => {}
                    Err(error) => return Err(error),
                }
            } else {
                self.calls.wait(blobs::read(self, known.function, batch, &mut left, take))?;
            }
        }
        Ok(())
    }

    fn put_several(&self, blobs: &[(Name, Vec<u8>)]) -> Result<(), RemoteError> {
        let known = self.calls.wait(self.capabilities())?;
        for batch in blobs::batches(blobs, known.batch, |(blob, _)| blob.size) {
            if let [(blob, bytes)] = batch
                && blob.size > known.batch
            {
                self.calls.wait(stream::write(self, known, blob, &mut &bytes[..]))?;
            } else {
                let batch = batch.iter().map(|(blob, bytes)| (known.function.of(blob), bytes.clone()));
                self.calls.wait(blobs::update(self, known.function, batch.collect()))?;
            }
        }
        Ok(())
    }
}

/// A digest as it goes over the wire. Sizes of blobs are far below what its sign takes away.
fn wire(hash: String, size: u64) -> WireDigest {
    WireDigest { hash, size_bytes: i64::try_from(size).unwrap_or(i64::MAX) }
}

#[cfg(test)]
mod tests;
