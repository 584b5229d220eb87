//! Entries as they travel: a body, and who stands for it.
//!
//! What is signed is a text that says which kind of entry it is, then the body byte for byte. The body names the key it
//! is found under and the instance it was made for, so a signature can't be taken to another place.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_ENTRY;
use super::keys::{self, SigningKey, Trust};
use super::wire::{Format, FormatError};
use crate::digest::Digest;

/// How many signatures an entry can have.
const MAX_SIGNATURES: usize = 8;

/// An entry as it travels: the encoded body and its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    body: Vec<u8>,
    /// By the name of the key, sorted, each once.
    signatures: Vec<(String, [u8; 64])>,
}

/// An entry that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<T> {
    /// The entry.
    pub entry: T,
    /// The key whose signature it counts for. `None` where no signature was asked for.
    pub signed_by: Option<String>,
}

/// Why an entry does not count. Whatever the reason, it is a miss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Nobody stands for it.
    #[error("nobody has signed it")]
    Unsigned,
    /// Only keys that the project does not list stand for it.
    #[error("it is signed by {}, which is not among the project's keys", names.join(", "))]
    UnknownKey {
        /// The names that the signatures give.
        names: Vec<String>,
    },
    /// It is not what a listed key has signed.
    #[error("its signature by {name} is wrong: it is forged, or was changed afterwards")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// It was signed, but for another place.
    #[error("it speaks of another key than the one it was found under")]
    OtherKey,
    /// It was signed, but for another instance.
    #[error("it was made for the instance {found:?}")]
    OtherInstance {
        /// Which.
        found: String,
    },
    /// It is not an entry, or not one of a version that is known.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// What can be sealed.
pub(super) trait Body: Serialize + DeserializeOwned {
    /// The header of the body.
    const FORMAT: Format;
    /// Says, in what is signed, which kind of entry it is.
    const CONTEXT: &'static str;

    /// Where it is to be found, and in which instance.
    fn place(&self) -> (&Digest, &str);

    /// What is wrong with it, where something is that its encoding does not tell.
    fn check(&self) -> Result<(), &'static str>;
}

/// What is signed.
fn message(context: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(8 + context.len() + body.len());
    message.extend_from_slice(&(context.len() as u64).to_le_bytes());
    message.extend_from_slice(context.as_bytes());
    message.extend_from_slice(body);
    message
}

pub(super) fn seal<T: Body>(entry: &T, by: Option<&SigningKey>) -> Sealed {
    let body = encode_body(entry);
    let signatures =
        by.map(|key| (key.name().to_owned(), key.sign(&message(T::CONTEXT, &body)))).into_iter().collect();
    Sealed { body, signatures }
}

pub(super) fn open<T: Body>(
    sealed: &Sealed,
    key: &Digest,
    instance: &str,
    trust: &Trust,
) -> Result<Opened<T>, EntryError> {
    // First of all: what nobody stands for is not even looked at.
    let signed_by = sealed.signed_by(T::CONTEXT, trust)?;
    let rest = T::FORMAT.strip(&sealed.body)?;
    let (entry, rest) =
        postcard::take_from_bytes::<T>(rest).map_err(|_| FormatError::Damaged("it can't be decoded"))?;
    if !rest.is_empty() || encode_body(&entry) != sealed.body {
        return Err(FormatError::Damaged("it is not encoded as entries are").into());
    }
    entry.check().map_err(FormatError::Damaged)?;
    let (found_key, found_instance) = entry.place();
    if found_key != key {
        return Err(EntryError::OtherKey);
    }
    if found_instance != instance {
        return Err(EntryError::OtherInstance { found: found_instance.to_owned() });
    }
    Ok(Opened { entry, signed_by })
}

fn encode_body<T: Body>(entry: &T) -> Vec<u8> {
    postcard::to_extend(entry, T::FORMAT.header().to_vec()).expect("plain data always encodes")
}

impl Sealed {
    /// The bytes of an entry on a remote.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Format::Sealed.header().to_vec();
        let length = u32::try_from(self.body.len()).expect("a body of 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.body);
        out.push(u8::try_from(self.signatures.len()).expect("few signatures"));
        for (name, signature) in &self.signatures {
            out.push(u8::try_from(name.len()).expect("a short name"));
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(signature);
        }
        out
    }

    /// Takes bytes from elsewhere apart. That says nothing of who stands for them.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() as u64 > MAX_ENTRY {
            return Err(FormatError::TooLarge("an entry has at most 1 MiB").into());
        }
        let mut rest = Format::Sealed.strip(bytes)?;
        let parts = split(&mut rest).filter(|_| rest.is_empty());
        let sealed = parts.ok_or(FormatError::Damaged("it is cut short, or too long"))?;
        let names = || sealed.signatures.iter().map(|(name, _)| name);
        if !names().all(|name| keys::is_name(name)) || !names().is_sorted_by(|a, b| a < b) {
            return Err(FormatError::Damaged("its signatures have no good names").into());
        }
        Ok(sealed)
    }

    /// The names of the keys that are said to stand for it.
    pub fn signatures(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(name, _)| name.as_str())
    }

    fn signed_by(&self, context: &str, trust: &Trust) -> Result<Option<String>, EntryError> {
        let Trust::Signed(keys) = trust else { return Ok(None) };
        let message = message(context, &self.body);
        let mut wrong = None;
        for (name, signature) in &self.signatures {
            for key in keys.iter().filter(|key| key.name == *name) {
                if key.verifies(&message, signature) {
                    return Ok(Some(name.clone()));
                }
                wrong = Some(name);
            }
        }
        Err(match wrong {
            Some(name) => EntryError::BadSignature { name: name.clone() },
            None if self.signatures.is_empty() => EntryError::Unsigned,
            None => EntryError::UnknownKey { names: self.signatures().map(str::to_owned).collect() },
        })
    }
}

/// `None` where the bytes end early.
fn split(rest: &mut &[u8]) -> Option<Sealed> {
    let (length, tail) = rest.split_first_chunk()?;
    *rest = tail;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let body = rest.split_off(..length)?.to_vec();
    let count = usize::from(*rest.split_off_first()?);
    if count > MAX_SIGNATURES {
        return None;
    }
    let mut signatures = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(*rest.split_off_first()?);
        let name = std::str::from_utf8(rest.split_off(..length)?).ok()?;
        let (signature, tail) = rest.split_first_chunk()?;
        *rest = tail;
        signatures.push((name.to_owned(), *signature));
    }
    Some(Sealed { body, signatures })
}
