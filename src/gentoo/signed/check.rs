//! Checks a file against its detached signature as the file is read.

use std::io::{self, Write};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersionSpecific};
use pgp::types::VerifyingKey as _;
use sha2::digest::DynDigest;

use super::certificate::Component;
use super::{Candidate, Pin, SignatureError, Signer};

/// Checks the bytes that are written to it. The keys were checked before; [`Check::finish`] verifies the signature.
pub struct Check {
    /// Never empty.
    hashing: Vec<Hashing>,
}

impl Check {
    pub(super) fn new(hashing: Vec<Hashing>) -> Self {
        Self { hashing }
    }

    /// The signer of the bytes written.
    pub fn finish(self) -> Result<Signer, SignatureError> {
        let mut wrong = None;
        for hashing in self.hashing {
            match hashing.finish() {
                Ok(signer) => return Ok(signer),
                Err(key) => drop(wrong.get_or_insert(key)),
            }
        }
        Err(SignatureError::Wrong { key: wrong.expect("there is a signature") })
    }
}

impl Write for Check {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        for hashing in &mut self.hashing {
            hashing.hasher.update(piece);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One signature, its key, and the digest of the bytes so far.
pub(super) struct Hashing {
    signature: Signature,
    key: Key,
    signer: Signer,
    hasher: Box<dyn DynDigest + Send>,
}

enum Key {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

impl Hashing {
    /// `None` if it is not a signature of a file.
    pub fn begin(Candidate { signature, component, signer }: Candidate<'_>) -> Option<Self> {
        let config = signature.config().filter(|config| config.typ == SignatureType::Binary)?;
        let mut hasher = config.hash_alg.new_hasher().ok()?;
        if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
            if config.hash_alg.salt_len() != Some(salt.len()) {
                return None;
            }
            hasher.update(salt);
        }
        let key = match component {
            Component::Primary(key) => Key::Primary(key.clone()),
            Component::Subkey(subkey) => Key::Subkey(subkey.key.clone()),
        };
        Some(Self { signature: signature.clone(), key, signer, hasher })
    }

    /// The signer, or the key whose signature does not fit.
    fn finish(mut self) -> Result<Signer, Pin> {
        match self.fits() {
            Some(true) => Ok(self.signer),
            _ => Err(self.signer.key),
        }
    }

    fn fits(&mut self) -> Option<bool> {
        let config = self.signature.config()?;
        let length = config.hash_signature_data(&mut self.hasher).ok()?;
        self.hasher.update(&config.trailer(length).ok()?);
        let digest = self.hasher.finalize_reset();
        let (algorithm, signature): (HashAlgorithm, _) = (config.hash_alg, self.signature.signature()?);
        let verified = match &self.key {
            Key::Primary(key) => key.verify(algorithm, &digest, signature),
            Key::Subkey(key) => key.verify(algorithm, &digest, signature),
        };
        Some(self.signature.signed_hash_value()? == digest.get(..2)? && verified.is_ok())
    }
}
