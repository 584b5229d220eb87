//! One blob at a time, as a byte stream: packed with zstd where the server offers that.
//!
//! ```text
//! [INSTANCE/]blobs/[blake3/]HASH/SIZE                          to read
//! [INSTANCE/]uploads/UUID/blobs/[blake3/]HASH/SIZE             to write
//! [INSTANCE/]{,uploads/UUID/}compressed-blobs/zstd/[blake3/]HASH/SIZE
//! ```
//!
//! Where a function goes by its name is said in the API: SHA-256 is known by its length, BLAKE3 is spelled out. Sizes are
//! those of the blob itself, and so is the offset at which reading starts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bazel_remote_apis::google::bytestream::{
    ReadRequest, ReadResponse, WriteRequest, byte_stream_client::ByteStreamClient,
};
use tonic::Streaming;
use tonic::codegen::tokio_stream::Stream;

use super::capabilities::{Capabilities, Function};
use super::{GrpcRemote, MAX_READ};
use crate::remote::calls::{Body, Exactly};
use crate::remote::{Name, RemoteError};

/// zstd's own default: much gained, and hardly slower than a network.
const LEVEL: i32 = 3;

/// The largest window that is unpacked with, as a power of two: 32 MiB, more than any but zstd's slowest levels use.
const WINDOW: u32 = 25;

/// Writes a blob from `offset` on.
pub(super) async fn read(
    remote: &GrpcRemote,
    known: Capabilities,
    blob: &Name,
    offset: u64,
    to: &mut dyn Write,
) -> Result<(), RemoteError> {
    let server = &remote.server;
    let mut client = ByteStreamClient::new(server.channel.clone()).max_decoding_message_size(MAX_READ);
    let message = ReadRequest {
        resource_name: resource(&server.instance, None, known, blob),
        read_offset: i64::try_from(offset).map_err(|_| RemoteError::Missing)?,
        read_limit: 0,
    };
    let mut stream = remote.answer(client.read(server.request(message))).await?;
    let mut sink = Bounded { to, left: blob.size.saturating_sub(offset), failed: None };
    let outcome = if known.zstd {
        // Packing never adds more than this; beyond it there is nothing of the blob.
        let most = sink.left + sink.left / 128 + (1 << 20);
        let mut unpacked = zstd::stream::write::Decoder::new(&mut sink).map_err(RemoteError::Local)?;
        unpacked.window_log_max(WINDOW).map_err(RemoteError::Local)?;
        match pump(remote, &mut stream, most, &mut unpacked).await {
            Ok(()) => unpacked.flush().map_err(RemoteError::Local),
            Err(error) => Err(error),
        }
    } else {
        let most = sink.left;
        pump(remote, &mut stream, most, &mut sink).await
    };
    match (sink.failed, outcome) {
        (Some(error), _) => Err(error),
        // The sink is fine, so it was the unpacking.
        (None, Err(RemoteError::Local(error))) => {
            Err(RemoteError::Nonsense(format!("what it sent can't be unpacked: {error}")))
        }
        (None, Err(error)) => Err(error),
        (None, Ok(())) if sink.left > 0 => {
            Err(RemoteError::Unreachable(format!("the stream broke off {} bytes before the end", sink.left)))
        }
        (None, Ok(())) => Ok(()),
    }
}

async fn pump(
    remote: &GrpcRemote,
    stream: &mut Streaming<ReadResponse>,
    most: u64,
    to: &mut dyn Write,
) -> Result<(), RemoteError> {
    let mut left = most;
    let mut guard = remote.calls.guard();
    loop {
        let answer = guard.in_time(stream.message()).await?;
        let Some(piece) = answer.map_err(|status| remote.server.failed(&status))? else { return Ok(()) };
        guard.add(piece.data.len());
        left = left
            .checked_sub(piece.data.len() as u64)
            .ok_or_else(|| RemoteError::Nonsense("it sent more bytes than a blob has".to_owned()))?;
        to.write_all(&piece.data).map_err(RemoteError::Local)?;
    }
}

/// Takes what a blob may still have, and keeps what went wrong.
struct Bounded<'a> {
    to: &'a mut dyn Write,
    left: u64,
    failed: Option<RemoteError>,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.failed = Some(RemoteError::Nonsense("it sent more bytes than a blob has".to_owned()));
            return Err(io::ErrorKind::InvalidData.into());
        };
        if let Err(error) = self.to.write_all(bytes) {
            let kind = error.kind();
            self.failed = Some(RemoteError::Local(error));
            return Err(kind.into());
        }
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts the blob that a file holds.
pub(super) async fn write_file(
    remote: &GrpcRemote,
    known: Capabilities,
    blob: &Name,
    from: &mut File,
) -> Result<(), RemoteError> {
    write(remote, known, blob, &mut Exactly::new(from, blob.size)?).await
}

/// Puts the blob that `from` yields.
pub(super) async fn write(
    remote: &GrpcRemote,
    known: Capabilities,
    blob: &Name,
    from: &mut dyn Read,
) -> Result<(), RemoteError> {
    if known.largest.is_some_and(|largest| blob.size > largest) {
        return Err(RemoteError::Refused(format!("a blob of {} bytes is too large for it", blob.size)));
    }
    let server = remote.server.clone();
    let resource = resource(&server.instance, Some(&uuid()?), known, blob);
    let request = |body| async move {
        let mut client = ByteStreamClient::new(server.channel.clone()).max_decoding_message_size(MAX_READ);
        let pieces = Pieces { resource, body, offset: 0, finished: false };
        let answer = client.write(server.request(pieces)).await.map_err(|status| server.failed(&status))?;
        Ok(answer.into_inner().committed_size)
    };
    let committed = if known.zstd {
        let mut packed = zstd::stream::read::Encoder::new(from, LEVEL).map_err(RemoteError::Local)?;
        remote.calls.send(&mut packed, request).await
    } else {
        remote.calls.send(from, request).await
    };
    match committed {
        // How long a packed blob was does not matter, and -1 says that the server had it already.
        Ok(size) if known.zstd || size == -1 || u64::try_from(size) == Ok(blob.size) => Ok(()),
        Ok(size) => {
            Err(RemoteError::Busy { what: format!("it kept {size} bytes of {}", blob.size), after: None })
        }
        // Some say so by an error.
        Err(RemoteError::Missing) => {
            Err(RemoteError::Refused("it takes no blobs at this instance".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// The messages in which a blob is sent.
struct Pieces {
    /// Told in the first one.
    resource: String,
    body: Body,
    offset: i64,
    finished: bool,
}

impl Stream for Pieces {
    type Item = WriteRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WriteRequest>> {
        if self.finished {
            return Poll::Ready(None);
        }
        self.body.poll_piece(context).map(|piece| {
            // Without the last one nothing is finished, and the server keeps nothing.
            let data = piece?.ok()?;
            self.finished = data.is_empty();
            let message = WriteRequest {
                resource_name: std::mem::take(&mut self.resource),
                write_offset: self.offset,
                finish_write: self.finished,
                data: data.to_vec(),
            };
            self.offset = self.offset.saturating_add(i64::try_from(data.len()).unwrap_or(i64::MAX));
            Some(message)
        })
    }
}

/// The name of a blob to read, or to write under that UUID.
fn resource(instance: &str, upload: Option<&str>, known: Capabilities, blob: &Name) -> String {
    let mut name = String::new();
    if !instance.is_empty() {
        name = format!("{instance}/");
    }
    if let Some(uuid) = upload {
        name.push_str(&format!("uploads/{uuid}/"));
    }
    name.push_str(if known.zstd { "compressed-blobs/zstd/" } else { "blobs/" });
    if known.function == Function::Blake3 {
        name.push_str("blake3/");
    }
    let digest = known.function.of(blob);
    name.push_str(&format!("{}/{}", digest.hash, digest.size_bytes));
    name
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, RemoteError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| RemoteError::Local(io::Error::other(error.to_string())))?;
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(random));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::remote::Sha256;

    #[test]
    fn resources_are_named_as_the_api_has_it() {
        let blob = Name { blake3: Digest::from_bytes([0xbb; 32]), sha256: Sha256([0xaa; 32]), size: 7 };
        let known =
            Capabilities { function: Function::Sha256, batch: 1, zstd: false, updates: true, largest: None };
        let (sha256, blake3) = ("aa".repeat(32), "bb".repeat(32));
        assert_eq!(resource("", None, known, &blob), format!("blobs/{sha256}/7"));
        assert_eq!(resource("pr/1", Some("U"), known, &blob), format!("pr/1/uploads/U/blobs/{sha256}/7"));
        let known = Capabilities { function: Function::Blake3, zstd: true, ..known };
        assert_eq!(resource("", None, known, &blob), format!("compressed-blobs/zstd/blake3/{blake3}/7"));
    }

    #[test]
    fn a_uuid_says_that_it_is_random() {
        let uuid = uuid().unwrap();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }
}
