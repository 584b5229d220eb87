//! Entries in an action cache.
//!
//! The cache's keys are digests of actions, and some servers look whether the action is there. So there is one for each
//! key, made up from nothing but that: its command is `kiln KEY`, its input is empty, its salt is the key.
//!
//! The entry itself is an `Any` in the result's metadata, which is what that field is for; `stdout_raw`, the other place
//! for bytes, is moved into a blob by some servers. Whatever else a server changes in a result does not matter.
//!
//! Blobs are named as output files, called by their own digest. Servers that check results then give none whose blobs
//! are gone, and those that evict know what belongs together.

use bazel_remote_apis::build::bazel::remote::execution::v2::{
    Action, ActionResult, Command, Digest as WireDigest, ExecutedActionMetadata, GetActionResultRequest,
    OutputFile, UpdateActionResultRequest, action_cache_client::ActionCacheClient,
};
use bazel_remote_apis::google::protobuf::Any;
use prost::Message as _;

use super::capabilities::Function;
use super::{GrpcRemote, MAX_MESSAGE, MAX_READ, blobs};
use crate::digest::Digest;
use crate::remote::{MAX_ENTRY, Name, RemoteError};

/// What tells an entry from what others put into metadata.
const TYPE: &str = "kiln.dev/entry.v1";

/// As much as an output file takes in a message: two digests in hex, a size, tags.
const OUTPUT: usize = 160;

/// The entry under a key.
pub(super) async fn get(
    remote: &GrpcRemote,
    function: Function,
    key: &Digest,
) -> Result<Option<Vec<u8>>, RemoteError> {
    let server = &remote.server;
    let mut client = ActionCacheClient::new(server.channel.clone()).max_decoding_message_size(MAX_READ);
    let message = GetActionResultRequest {
        instance_name: server.instance.clone(),
        action_digest: Some(action(function, key).digest),
        digest_function: function.number(),
        ..GetActionResultRequest::default()
    };
    match remote.answer(client.get_action_result(server.request(message))).await {
        Ok(result) => entry_of(result).map(Some),
        Err(RemoteError::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts an entry.
pub(super) async fn put(
    remote: &GrpcRemote,
    function: Function,
    key: &Digest,
    entry: &[u8],
    kept: &[Name],
) -> Result<(), RemoteError> {
    let server = &remote.server;
    let action = action(function, key);
    let digest = action.digest.clone();
    blobs::update(remote, function, action.blobs).await?;
    let mut client = ActionCacheClient::new(server.channel.clone()).max_decoding_message_size(MAX_READ);
    let message = UpdateActionResultRequest {
        instance_name: server.instance.clone(),
        action_digest: Some(digest),
        action_result: Some(result_of(function, entry, kept)),
        digest_function: function.number(),
        ..UpdateActionResultRequest::default()
    };
    // Boxed, as is the other below: what waits for what is some 20 KB by here.
    let answer =
        Box::pin(remote.answer_of(entry.len() as u64, client.update_action_result(server.request(message))));
    match answer.await {
        Ok(_) => Ok(()),
        // The server lost a blob since it was put.
        Err(RemoteError::Missing) => {
            Err(RemoteError::Busy { what: "it lacks a blob of the entry".to_owned(), after: None })
        }
        Err(error) => Err(error),
    }
}

/// The action that stands for a key.
struct Made {
    digest: WireDigest,
    /// All that it consists of.
    blobs: Vec<(WireDigest, Vec<u8>)>,
}

fn action(function: Function, key: &Digest) -> Made {
    let command = Command { arguments: vec!["kiln".to_owned(), key.to_string()], ..Command::default() };
    let command = command.encode_to_vec();
    // A directory without anything has no bytes.
    let input = Vec::new();
    let action = Action {
        command_digest: Some(function.of_bytes(&command)),
        input_root_digest: Some(function.of_bytes(&input)),
        salt: key.as_bytes().to_vec(),
        ..Action::default()
    };
    let blobs: Vec<_> =
        [command, input, action.encode_to_vec()].map(|bytes| (function.of_bytes(&bytes), bytes)).into();
    Made { digest: blobs[2].0.clone(), blobs }
}

fn result_of(function: Function, entry: &[u8], kept: &[Name]) -> ActionResult {
    // What does not fit into a message is kept as long as the server likes, which is a miss at worst.
    let fit = (MAX_MESSAGE - (64 << 10) - entry.len()) / OUTPUT;
    let output_files = kept
        .iter()
        .take(fit)
        .map(|blob| {
            let digest = function.of(blob);
            OutputFile { path: digest.hash.clone(), digest: Some(digest), ..OutputFile::default() }
        })
        .collect();
    let carried = Any { type_url: TYPE.to_owned(), value: entry.to_vec() };
    ActionResult {
        output_files,
        execution_metadata: Some(ExecutedActionMetadata {
            worker: "kiln".to_owned(),
            auxiliary_metadata: vec![carried],
            ..ExecutedActionMetadata::default()
        }),
        ..ActionResult::default()
    }
}

fn entry_of(result: ActionResult) -> Result<Vec<u8>, RemoteError> {
    let carried = result.execution_metadata.map(|metadata| metadata.auxiliary_metadata).unwrap_or_default();
    let Some(entry) = carried.into_iter().find(|carried| carried.type_url == TYPE) else {
        let text = "a result without kiln's entry: does it keep the auxiliary metadata of results?";
        return Err(RemoteError::Nonsense(text.to_owned()));
    };
    if entry.value.len() as u64 > MAX_ENTRY {
        return Err(RemoteError::Nonsense(format!("an entry of {} bytes", entry.value.len())));
    }
    Ok(entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Sha256;

    #[test]
    fn the_action_of_a_key_is_always_the_same() {
        let digest = |function, key| action(function, &Digest::from_bytes(key)).digest;
        // Worked out from the API's definitions. Entries that were put by earlier versions are under it.
        let expected = "3164ad750e469d4d840130d8e99cfe3c97d8ede6185aaccf646f5fc48a024843";
        assert_eq!(digest(Function::Sha256, [7; 32]).hash, expected);
        assert_ne!(digest(Function::Sha256, [8; 32]).hash, expected);
        assert_ne!(digest(Function::Blake3, [7; 32]).hash, expected);
    }

    #[test]
    fn an_entry_is_found_among_what_others_put_beside_it() {
        let mut result = result_of(Function::Sha256, b"entry", &[]);
        let metadata = result.execution_metadata.as_mut().unwrap();
        metadata.auxiliary_metadata.insert(0, Any { type_url: "other".to_owned(), value: vec![0; 9] });
        assert_eq!(entry_of(result).unwrap(), b"entry");
        assert!(matches!(entry_of(ActionResult::default()), Err(RemoteError::Nonsense(_))));
        let large = vec![0; usize::try_from(MAX_ENTRY).unwrap() + 1];
        assert!(entry_of(result_of(Function::Sha256, &large, &[])).is_err());
    }

    #[test]
    fn a_result_of_very_many_blobs_still_fits_into_a_message() {
        let blob = Name {
            blake3: Digest::of_bytes(b""),
            sha256: Sha256([0xff; 32]),
            size: u64::try_from(i64::MAX).unwrap(),
        };
        let entry = vec![1; usize::try_from(MAX_ENTRY).unwrap()];
        let result = result_of(Function::Sha256, &entry, &vec![blob; 100_000]);
        assert!(result.output_files.len() > 10_000);
        assert!(result.encoded_len() < MAX_MESSAGE - 1024, "{}", result.encoded_len());
    }
}
