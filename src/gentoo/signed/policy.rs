//! The rules for valid signatures, independent of the signed content.

use std::fmt;
use std::time::{Duration, SystemTime};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureVersion, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::PublicParams;

/// How far the signer's clock may be ahead of this machine's.
const AHEAD: Duration = Duration::from_mins(30);

/// Why a signature of a known key is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its digest algorithm is weak.
    Digest(String),
    /// It was made in the future.
    Future(SystemTime),
    /// It is older than the key.
    BeforeKey,
    /// It has expired.
    Expired(SystemTime),
    /// Its version or one of its conditions is not supported.
    Kind(&'static str),
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(name) => {
                write!(formatter, "is over {name}, which can be forged; SHA-256 or better is asked for")
            }
            Self::Future(at) => {
                write!(formatter, "was made in the future ({}); is this machine's clock right?", shown(*at))
            }
            Self::BeforeKey => formatter.write_str("is older than the key that made it"),
            Self::Expired(at) => write!(formatter, "has expired ({})", shown(*at)),
            Self::Kind(problem) => formatter.write_str(problem),
        }
    }
}

/// A time for messages: to the second, in UTC.
pub(super) fn shown(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

/// When a signature was made, if its own fields are valid. Neither the key nor the signed content is checked.
pub(super) fn made(signature: &Signature, key_made: SystemTime, now: SystemTime) -> Result<SystemTime, Flaw> {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    let (Some(config), Some(digest)) = (signature.config(), signature.hash_alg()) else {
        return Err(Flaw::Kind("is of an unknown version"));
    };
    if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return Err(Flaw::Kind("is of a version that is out of use"));
    }
    if !matches!(digest, Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512) {
        return Err(Flaw::Digest(digest.to_string()));
    }
    let unknown = |data: &SubpacketData| {
        matches!(
            data,
            SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_)
        )
    };
    if config.hashed_subpackets().any(|packet| packet.is_critical && unknown(&packet.data)) {
        return Err(Flaw::Kind("has a condition that is not understood"));
    }
    let made: SystemTime = config.created().ok_or(Flaw::Kind("does not say when it was made"))?.into();
    if made > now + AHEAD {
        return Err(Flaw::Future(made));
    }
    if made < key_made {
        return Err(Flaw::BeforeKey);
    }
    if let Some(expires) = ends(made, signature.signature_expiration_time())
        && expires <= now
    {
        return Err(Flaw::Expired(expires));
    }
    Ok(made)
}

/// The end of a validity period. Zero means no end.
pub(super) fn ends(start: SystemTime, length: Option<pgp::types::Duration>) -> Option<SystemTime> {
    let length: Duration = length?.into();
    (!length.is_zero()).then(|| start + length)
}

/// Whether a key's kind and size are strong enough.
pub(super) fn is_strong(key: &PublicParams) -> bool {
    match key {
        // The first number is the modulus, which starts with its length in bits.
        PublicParams::RSA(_) => {
            key.to_bytes().is_ok_and(|bytes| bytes.get(..2) >= Some(&2048_u16.to_be_bytes()))
        }
        PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => true,
        // DSA is obsolete; remaining keys have 1,024 bits.
        _ => false,
    }
}

/// The claimed issuer of a signature.
pub(super) fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(ToString::to_string);
    let issuer = fingerprint.or_else(|| signature.issuer_key_id().first().map(ToString::to_string));
    issuer.map_or_else(|| "nobody it names".to_owned(), |issuer| issuer.to_uppercase())
}
