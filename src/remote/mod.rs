//! Caches on other machines, or in another directory: what is kept there, under which keys, and why it is believed.
//!
//! A remote is two plain maps, as in the Remote Execution API: *entries* (key -> a few kilobytes) and *blobs* (digest ->
//! bytes). Both phases of the lookup fit it: an action key leads to path sets, a strong key to a result. Nothing that
//! comes from one is believed: a blob is hashed, and a result counts only with a signature of a key that the project
//! lists, unless it trusts the remote as it is. See `docs/remote.md`.
//!
//! | file | what |
//! | --- | --- |
//! | `name.rs` | blobs by name |
//! | `error.rs` | what can go wrong, by what can be done about it |
//! | `dir.rs` | a directory |
//! | `http/` | a web server that takes PUT |
//! | `grpc/` | a Remote Execution API server |
//! | `client.rs`, `line.rs` | all remotes as one; one remote, and how patient we are with it |
//! | `fetch.rs`, `push.rs`, `kept.rs` | results and kept directories on their way |
//! | `traffic.rs` | what comes in figures |
//! | `settings.rs`, `secret.rs` | where a remote is, and how to get in |
//! | `open.rs` | the remote of some settings, and what is wrong with them |
//! | `calls.rs` | blocking calls on top of libraries that don't block |
//! | `bundle/` | a file with entries and blobs |
//! | `export.rs`, `import.rs` | results into a bundle, and out of it |
//! | `entry.rs`, `sealed.rs` | what is kept of a result, and who stands for it |
//! | `keys.rs` | who may sign, and whose signatures count |
//! | `candidates.rs` | which path sets to try for an action key |
//! | `paths.rs`, `pack.rs` | path sets and trees as blobs |
//! | `wire.rs` | what these formats share |

mod bundle;
mod calls;
pub mod candidates;
mod client;
mod dir;
mod entry;
mod error;
mod export;
mod fetch;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod import;
mod kept;
mod keys;
mod line;
mod name;
mod open;
mod pack;
pub mod paths;
mod push;
mod sealed;
mod secret;
mod settings;
mod traffic;
mod wire;

pub use bundle::{Bundle, BundleError, BundleWriter};
pub use candidates::{Candidate, candidates_key};
pub use client::{Hit, RemotePathSet, Remotes};
pub use entry::{EntryOutput, KeptEntry, ResultEntry, kept_key};
pub use error::RemoteError;
pub use export::{Export, ExportError};
pub use fetch::FetchError;
pub use import::{Imported, import};
pub use kept::{Archive, OutgoingKept};
pub use keys::{KeyError, PublicKey, SigningKey, Trust};
pub use line::Line;
pub use name::{Name, Sha256};
pub use open::open;
pub use pack::Pack;
pub use push::{By, Outgoing, PushError, Pushed};
pub use sealed::{EntryError, Opened, Sealed};
pub use secret::{Secret, SecretFileError};
pub use settings::{Address, Settings};
pub use traffic::{Meter, Traffic, Transfer};
pub use wire::FormatError;

use std::fs::File;
use std::io::Write;

use crate::digest::Digest;

/// The largest entry there is, in bytes: more is no entry of ours.
pub const MAX_ENTRY: u64 = 1 << 20;

/// How much is asked for, or put, together, in bytes: servers bound what one message may hold.
const TOGETHER: u64 = 2 << 20;

/// A cache elsewhere. Methods are called from several threads at once, and block for a bounded time.
///
/// Implementations try each request once: whether it is worth another try is for the caller to say.
pub trait Remote: Send + Sync {
    /// The entry under a key, of at most [`MAX_ENTRY`] bytes. `None`: there is none.
    fn entry(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError>;

    /// Puts an entry in place of an older one. `blobs` are all that it speaks of, for servers that keep an entry as long
    /// as its blobs; they are there already.
    fn put_entry(&self, key: &Digest, entry: &[u8], blobs: &[Name]) -> Result<(), RemoteError>;

    /// Which of these blobs the remote lacks.
    fn missing(&self, blobs: &[Name]) -> Result<Vec<Name>, RemoteError>;

    /// Writes a blob from `offset` on, and no more bytes than it is said to have. What it writes is not checked: whoever
    /// asks for it hashes it. Where this fails, what has been written so far is part of the blob, if the remote is honest.
    fn get(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError>;

    /// The file of this machine in which a blob is, where there is one. Its content is not checked.
    fn file(&self, _blob: &Name) -> Result<Option<File>, RemoteError> {
        Ok(None)
    }

    /// Puts the blob that the file holds, from its start. `blob` says how long it is, and is right.
    fn put(&self, blob: &Name, from: &mut File) -> Result<(), RemoteError>;

    /// Blobs of at most this size are worth asking for together; 0 where that gains nothing.
    fn together(&self) -> u64 {
        0
    }

    /// Gets several small blobs at once, all together no more than a few megabytes, and hands over each that was there.
    fn get_several(&self, blobs: &[Name], take: &mut dyn FnMut(&Name, Vec<u8>)) -> Result<(), RemoteError> {
        for blob in blobs {
            let mut bytes = Vec::new();
            match self.get(blob, 0, &mut bytes) {
                Ok(()) => take(blob, bytes),
                Err(RemoteError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Puts several small blobs at once, all together no more than a few megabytes.
    fn put_several(&self, blobs: &[(Name, Vec<u8>)]) -> Result<(), RemoteError>;
}
