//! Many blobs at once: which are missing, and small ones in batches.

use std::collections::{HashMap, HashSet};

use bazel_remote_apis::build::bazel::remote::execution::v2::{
    BatchReadBlobsRequest, BatchUpdateBlobsRequest, Digest as WireDigest, FindMissingBlobsRequest,
    batch_update_blobs_request, compressor,
    content_addressable_storage_client::ContentAddressableStorageClient,
};
use tonic::transport::Channel;

use super::capabilities::Function;
use super::{GrpcRemote, MAX_READ, status};
use crate::remote::{Name, RemoteError};

/// How many blobs are asked after in one message: with 80 bytes each they stay far below its limit.
const ASKED: usize = 10_000;

/// How many blobs there are in a batch at most, whatever their size.
const IN_BATCH: usize = 4_000;

/// What a blob takes in a message besides its bytes: a digest in hex, a size, a status, tags.
const AROUND: u64 = 128;

fn client(remote: &GrpcRemote) -> ContentAddressableStorageClient<Channel> {
    ContentAddressableStorageClient::new(remote.server.channel.clone()).max_decoding_message_size(MAX_READ)
}

/// Which of these blobs the server lacks.
pub(super) async fn missing(
    remote: &GrpcRemote,
    function: Function,
    blobs: &[Name],
) -> Result<Vec<Name>, RemoteError> {
    let mut missing = Vec::new();
    for asked in blobs.chunks(ASKED) {
        let message = FindMissingBlobsRequest {
            instance_name: remote.server.instance.clone(),
            blob_digests: asked.iter().map(|blob| function.of(blob)).collect(),
            digest_function: function.number(),
        };
        let mut client = client(remote);
        let answer = remote.answer(client.find_missing_blobs(remote.server.request(message))).await?;
        let lacks: HashSet<String> =
            answer.missing_blob_digests.into_iter().map(|digest| digest.hash).collect();
        missing.extend(asked.iter().filter(|blob| lacks.contains(&function.of(blob).hash)));
    }
    Ok(missing)
}

/// Cuts blobs into batches of at most that many bytes. One that is larger is alone.
pub(super) fn batches<T>(blobs: &[T], most: u64, size: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, blob) in blobs.iter().enumerate() {
        let more = size(blob).saturating_add(AROUND);
        if index > start && (more.saturating_add(bytes) > most || index - start >= IN_BATCH) {
            batches.push(&blobs[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes = more.saturating_add(bytes);
    }
    if start < blobs.len() {
        batches.push(&blobs[start..]);
    }
    batches
}

/// Gets a batch, and hands over what was there. `left` are those that may still come, by their hash.
pub(super) async fn read(
    remote: &GrpcRemote,
    function: Function,
    batch: &[Name],
    left: &mut HashMap<String, Name>,
    take: &mut dyn FnMut(&Name, Vec<u8>),
) -> Result<(), RemoteError> {
    let message = BatchReadBlobsRequest {
        instance_name: remote.server.instance.clone(),
        digests: batch.iter().map(|blob| function.of(blob)).collect(),
        digest_function: function.number(),
        ..BatchReadBlobsRequest::default()
    };
    let mut client = client(remote);
    let bytes = batch.iter().map(|blob| blob.size).sum();
    let answer = remote.answer_of(bytes, client.batch_read_blobs(remote.server.request(message))).await?;
    for blob in answer.responses {
        let status = blob.status.unwrap_or_default();
        match status::of_blob(status.code, &status.message, remote.server.token.as_ref()) {
            Ok(()) => {}
            Err(RemoteError::Missing) => continue,
            Err(error) => return Err(error),
        }
        let Some(name) = blob.digest.and_then(|digest| left.remove(&digest.hash)) else {
            return Err(RemoteError::Nonsense("it sent a blob that it was not asked for".to_owned()));
        };
        if blob.compressor != compressor::Value::Identity as i32 {
            return Err(RemoteError::Nonsense("it packs blobs, which it was not asked to".to_owned()));
        }
        if blob.data.len() as u64 != name.size {
            let text = format!("it sent {} bytes of a blob that has {}", blob.data.len(), name.size);
            return Err(RemoteError::Nonsense(text));
        }
        take(&name, blob.data);
    }
    Ok(())
}

/// Puts a batch.
pub(super) async fn update(
    remote: &GrpcRemote,
    function: Function,
    batch: Vec<(WireDigest, Vec<u8>)>,
) -> Result<(), RemoteError> {
    let bytes = batch.iter().map(|(_, data)| data.len() as u64).sum();
    let requests = batch.into_iter().map(|(digest, data)| batch_update_blobs_request::Request {
        digest: Some(digest),
        data,
        compressor: compressor::Value::Identity as i32,
    });
    let message = BatchUpdateBlobsRequest {
        instance_name: remote.server.instance.clone(),
        requests: requests.collect(),
        digest_function: function.number(),
    };
    let mut client = client(remote);
    let answer = remote.answer_of(bytes, client.batch_update_blobs(remote.server.request(message))).await?;
    for blob in answer.responses {
        let status = blob.status.unwrap_or_default();
        status::of_blob(status.code, &status.message, remote.server.token.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_filled_to_the_limit_and_a_blob_above_it_is_alone() {
        let cut = |sizes: &[u64], most| -> Vec<Vec<u64>> {
            batches(sizes, most, |size| *size).into_iter().map(<[u64]>::to_vec).collect()
        };
        let most = 1000;
        assert_eq!(cut(&[], most), Vec::<Vec<u64>>::new());
        assert_eq!(cut(&[300, 300, 300], most), [vec![300, 300], vec![300]]);
        assert_eq!(cut(&[1, 5000, 2, 3], most), [vec![1], vec![5000], vec![2, 3]]);
        assert_eq!(cut(&[u64::MAX, u64::MAX], most), [vec![u64::MAX], vec![u64::MAX]]);
        assert_eq!(cut(&vec![0; 2 * IN_BATCH + 1], 1 << 40).len(), 3);
    }
}
