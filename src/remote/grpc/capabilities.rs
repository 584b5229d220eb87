//! What a server can do, and what of that is made use of.

use bazel_remote_apis::build::bazel::remote::execution::v2::{
    Digest as WireDigest, GetCapabilitiesRequest, ServerCapabilities,
    capabilities_client::CapabilitiesClient, compressor, digest_function,
};
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use super::{GrpcRemote, MAX_MESSAGE, MAX_READ, wire};
use crate::digest::Digest;
use crate::remote::{Name, RemoteError, Sha256};

/// What a batch's blobs come with: digests, statuses, tags.
const HEADROOM: u64 = 64 << 10;

/// The largest blob that is worth a place in a batch, in bytes: one that is larger gains nothing by it.
const TOGETHER: u64 = 1 << 20;

/// How blobs are named there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Sha256,
    Blake3,
}

impl Function {
    /// Its number in requests.
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::Sha256 => digest_function::Value::Sha256 as i32,
            Self::Blake3 => digest_function::Value::Blake3 as i32,
        }
    }

    /// The digest of a blob.
    pub(super) fn of(self, blob: &Name) -> WireDigest {
        let hash = match self {
            Self::Sha256 => blob.sha256.to_string(),
            Self::Blake3 => blob.blake3.to_string(),
        };
        wire(hash, blob.size)
    }

    /// The digest of some bytes.
    pub(super) fn of_bytes(self, bytes: &[u8]) -> WireDigest {
        let hash = match self {
            Self::Sha256 => Sha256(Sha256Hasher::digest(bytes).into()).to_string(),
            Self::Blake3 => Digest::of_bytes(bytes).to_string(),
        };
        wire(hash, bytes.len() as u64)
    }
}

/// What a server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub function: Function,
    /// How many bytes the blobs of a batch may have.
    pub batch: u64,
    /// Whether byte streams may be packed.
    pub zstd: bool,
    /// Whether it takes results from clients.
    pub updates: bool,
    /// The largest blob that it takes, where it says so.
    pub largest: Option<u64>,
}

impl Capabilities {
    /// Up to what size blobs go in batches.
    pub(super) fn together(&self) -> u64 {
        TOGETHER.min(self.batch / 4)
    }
}

/// Asks the server.
pub(super) async fn ask(remote: &GrpcRemote) -> Result<Capabilities, RemoteError> {
    let server = &remote.server;
    let mut client = CapabilitiesClient::new(server.channel.clone()).max_decoding_message_size(MAX_READ);
    let message = GetCapabilitiesRequest { instance_name: server.instance.clone() };
    let answer = remote.answer(client.get_capabilities(server.request(message))).await;
    match answer {
        Ok(answer) => judge(&answer),
        Err(RemoteError::Missing) => {
            Err(RemoteError::Refused(format!("it has no instance named {:?}", server.instance)))
        }
        Err(error) => Err(error),
    }
}

fn judge(answer: &ServerCapabilities) -> Result<Capabilities, RemoteError> {
    let Some(cache) = &answer.cache_capabilities else {
        return Err(RemoteError::Refused(
            "it is no cache: it executes, perhaps, and keeps elsewhere".to_owned(),
        ));
    };
    let offers = |function: Function| cache.digest_functions.contains(&function.number());
    let function = if offers(Function::Sha256) || cache.digest_functions.is_empty() {
        // Servers from before there was a choice say nothing.
        Function::Sha256
    } else if offers(Function::Blake3) {
        Function::Blake3
    } else {
        return Err(RemoteError::Refused("it names blobs by neither SHA-256 nor BLAKE3".to_owned()));
    };
    // 0 says that there is no limit but that of a message.
    let most = MAX_MESSAGE as u64 - HEADROOM;
    let batch = match u64::try_from(cache.max_batch_total_size_bytes) {
        Ok(0) | Err(_) => most,
        Ok(batch) => batch.min(most),
    };
    let updates = cache.action_cache_update_capabilities.as_ref();
    Ok(Capabilities {
        function,
        batch,
        zstd: cache.supported_compressors.contains(&(compressor::Value::Zstd as i32)),
        // Where nothing is said, it may be tried.
        updates: updates.is_none_or(|updates| updates.update_enabled),
        largest: u64::try_from(cache.max_cas_blob_size_bytes).ok().filter(|largest| *largest > 0),
    })
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::build::bazel::remote::execution::v2::{
        ActionCacheUpdateCapabilities, CacheCapabilities,
    };

    use super::*;

    fn judged(cache: CacheCapabilities) -> Result<Capabilities, RemoteError> {
        judge(&ServerCapabilities { cache_capabilities: Some(cache), ..ServerCapabilities::default() })
    }

    fn functions(functions: &[digest_function::Value]) -> CacheCapabilities {
        let digest_functions = functions.iter().map(|function| *function as i32).collect();
        CacheCapabilities { digest_functions, ..CacheCapabilities::default() }
    }

    #[test]
    fn sha256_is_taken_where_it_is_offered_and_blake3_where_it_is_all_there_is() {
        use digest_function::Value::{Blake3, Md5, Sha256};
        let of = |offered: &[digest_function::Value]| judged(functions(offered)).map(|known| known.function);
        assert_eq!(of(&[Blake3, Sha256]).unwrap(), Function::Sha256);
        assert_eq!(of(&[Md5, Blake3]).unwrap(), Function::Blake3);
        assert_eq!(of(&[]).unwrap(), Function::Sha256);
        assert!(matches!(of(&[Md5]), Err(RemoteError::Refused(_))));
    }

    #[test]
    fn batches_stay_below_the_servers_limit_and_that_of_a_message() {
        let of = |limit| {
            let cache = CacheCapabilities { max_batch_total_size_bytes: limit, ..functions(&[]) };
            judged(cache).unwrap().batch
        };
        let most = MAX_MESSAGE as u64 - HEADROOM;
        assert_eq!([of(0), of(-1), of(1000), of(1 << 40)], [most, most, 1000, most]);
    }

    #[test]
    fn an_instance_that_takes_no_results_is_known_by_what_it_says() {
        let of = |updates: Option<bool>| {
            let updates = updates.map(|update_enabled| ActionCacheUpdateCapabilities { update_enabled });
            judged(CacheCapabilities { action_cache_update_capabilities: updates, ..functions(&[]) })
                .unwrap()
                .updates
        };
        assert_eq!([of(None), of(Some(true)), of(Some(false))], [true, true, false]);
    }
}
