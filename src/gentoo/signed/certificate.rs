//! A pinned key with its subkeys, and whether they may sign.

use std::fmt;
use std::time::SystemTime;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{PublicKey, Signature, SignatureType};
use pgp::types::{KeyDetails, KeyVersion, SignedUser, Tag};

use super::Pin;
use super::policy::{ends, is_strong, made, shown};

/// Why a key may not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyProblem {
    /// It has expired.
    Expired(SystemTime),
    /// Its primary key has expired.
    PrimaryExpired(SystemTime),
    /// It, or its primary key, has been revoked.
    Revoked,
    /// It has no valid self-signature that states its usage.
    NoSelfSignature,
    /// It has no valid binding to the primary key.
    NotBound,
    /// It is not a signing key.
    NotForSigning,
    /// It lacks the back-signature that confirms the binding; anybody could claim it without one.
    NotConfirmed,
    /// Its kind or size is weak: its signatures can be forged.
    Weak,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresh = "get the keys anew, as it may have been prolonged";
        match self {
            Self::Expired(at) => write!(formatter, "which has expired ({}); {refresh}", shown(*at)),
            Self::PrimaryExpired(at) => {
                write!(formatter, "whose primary key has expired ({}); {refresh}", shown(*at))
            }
            Self::Revoked => {
                formatter.write_str("which has been revoked; pin the key that has taken its place")
            }
            Self::NoSelfSignature => {
                formatter.write_str("whose primary key has no signature of its own that counts")
            }
            Self::NotBound => formatter.write_str("which nothing that counts binds to the pinned key"),
            Self::NotForSigning => formatter.write_str("which is not meant for signing"),
            Self::NotConfirmed => {
                formatter.write_str("which does not confirm that it belongs to the pinned key")
            }
            Self::Weak => formatter.write_str("which is of a kind or size that can be forged"),
        }
    }
}

/// A primary key with its self-signatures, subkeys, and possible revocations.
#[derive(Debug)]
pub(super) struct Certificate {
    key: SignedPublicKey,
    revocations: Vec<Signature>,
}

/// A key of a certificate.
pub(super) enum Component<'a> {
    Primary(&'a PublicKey),
    Subkey(&'a SignedPublicSubKey),
}

impl Component<'_> {
    pub fn pin(&self) -> Pin {
        match self {
            Self::Primary(key) => Pin::of(*key),
            Self::Subkey(subkey) => Pin::of(&subkey.key),
        }
    }

    pub fn created(&self) -> SystemTime {
        match self {
            Self::Primary(key) => key.created_at().into(),
            Self::Subkey(subkey) => subkey.key.created_at().into(),
        }
    }
}

impl Certificate {
    pub fn new(key: SignedPublicKey, revocations: Vec<Signature>) -> Self {
        Self { key, revocations }
    }

    pub fn pin(&self) -> Pin {
        Pin::of(&self.key.primary_key)
    }

    /// Adds the signatures of another copy of the same key. The newest signature counts.
    pub fn merge(&mut self, other: Self) {
        let (ours, theirs) = (&mut self.key, other.key);
        ours.details.direct_signatures.extend(theirs.details.direct_signatures);
        for user in theirs.details.users {
            match ours.details.users.iter_mut().find(|known| known.id == user.id) {
                Some(known) => known.signatures.extend(user.signatures),
                None => ours.details.users.push(user),
            }
        }
        for subkey in theirs.public_subkeys {
            let same = |known: &&mut SignedPublicSubKey| known.key.fingerprint() == subkey.key.fingerprint();
            match ours.public_subkeys.iter_mut().find(same) {
                Some(known) => known.signatures.extend(subkey.signatures),
                None => ours.public_subkeys.push(subkey),
            }
        }
    }

    /// The key that a signature claims as its issuer. Not verified.
    pub fn component(&self, signature: &Signature) -> Option<Component<'_>> {
        let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        let named = |key: &dyn KeyDetails| {
            if fingerprints.is_empty() {
                ids.iter().any(|id| **id == key.legacy_key_id())
            } else {
                fingerprints.iter().any(|fingerprint| **fingerprint == key.fingerprint())
            }
        };
        if named(&self.key.primary_key) {
            return Some(Component::Primary(&self.key.primary_key));
        }
        self.key.public_subkeys.iter().find(|subkey| named(&subkey.key)).map(Component::Subkey)
    }

    /// Whether one of its keys may sign now.
    pub fn may_sign(&self, component: &Component<'_>, now: SystemTime) -> Result<(), KeyProblem> {
        let primary = &self.key.primary_key;
        if !matches!(primary.version(), KeyVersion::V4 | KeyVersion::V6)
            || !is_strong(primary.public_params())
        {
            return Err(KeyProblem::Weak);
        }
        // Any revocation counts, whatever its digest, reason or time.
        if self.revocations.iter().any(|revocation| {
            revocation.typ() == Some(SignatureType::KeyRevocation) && revocation.verify_key(primary).is_ok()
        }) {
            return Err(KeyProblem::Revoked);
        }
        let own = self.own_signatures(now);
        if own.is_empty() {
            return Err(KeyProblem::NoSelfSignature);
        }
        let primary_made: SystemTime = primary.created_at().into();
        // The earlier of the two expiry times counts.
        let ended = own.iter().filter_map(|own| ends(primary_made, own.key_expiration_time()));
        if let Some(ended) = ended.filter(|end| *end <= now).min() {
            return Err(match component {
                Component::Primary(_) => KeyProblem::Expired(ended),
                Component::Subkey(_) => KeyProblem::PrimaryExpired(ended),
            });
        }
        match component {
            Component::Primary(_) if own.iter().any(|own| own.key_flags().sign()) => Ok(()),
            Component::Primary(_) => Err(KeyProblem::NotForSigning),
            Component::Subkey(subkey) => self.subkey_may_sign(subkey, now),
        }
    }

    fn subkey_may_sign(&self, subkey: &SignedPublicSubKey, now: SystemTime) -> Result<(), KeyProblem> {
        let primary = &self.key.primary_key;
        let subkey_made: SystemTime = subkey.key.created_at().into();
        if !is_strong(subkey.key.public_params()) {
            return Err(KeyProblem::Weak);
        }
        if self.revocations.iter().any(|revocation| {
            revocation.typ() == Some(SignatureType::SubkeyRevocation)
                && revocation.verify_subkey_binding(primary, &subkey.key).is_ok()
        }) {
            return Err(KeyProblem::Revoked);
        }
        let bindings = subkey.signatures.iter().filter(|binding| {
            binding.typ() == Some(SignatureType::SubkeyBinding)
                && binding.verify_subkey_binding(primary, &subkey.key).is_ok()
        });
        let binding = newest(bindings, subkey_made, now).ok_or(KeyProblem::NotBound)?;
        if !binding.key_flags().sign() {
            return Err(KeyProblem::NotForSigning);
        }
        if let Some(end) = ends(subkey_made, binding.key_expiration_time())
            && end <= now
        {
            return Err(KeyProblem::Expired(end));
        }
        let confirmed = binding.embedded_signature().is_some_and(|back| {
            made(back, subkey_made, now).is_ok()
                && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
        });
        if confirmed { Ok(()) } else { Err(KeyProblem::NotConfirmed) }
    }

    /// The newest self-signature on the primary key and the newest one on a user id.
    fn own_signatures(&self, now: SystemTime) -> Vec<&Signature> {
        let primary = &self.key.primary_key;
        let primary_made = primary.created_at().into();
        let details = &self.key.details;
        let direct = details
            .direct_signatures
            .iter()
            .filter(|own| own.typ() == Some(SignatureType::Key) && own.verify_key(primary).is_ok());
        let named = details.users.iter().filter(|user| !is_revoked(primary, user)).flat_map(|user| {
            user.signatures.iter().filter(|own| {
                own.typ() != Some(SignatureType::CertRevocation)
                    && own.verify_certification(primary, Tag::UserId, &user.id).is_ok()
            })
        });
        [newest(direct, primary_made, now), newest(named, primary_made, now)].into_iter().flatten().collect()
    }
}

/// Whether a user id was revoked after its last certification.
fn is_revoked(primary: &PublicKey, user: &SignedUser) -> bool {
    let own = || {
        user.signatures
            .iter()
            .filter(|own| own.verify_certification(primary, Tag::UserId, &user.id).is_ok())
            .map(|own| (own.typ() == Some(SignatureType::CertRevocation), own.created()))
    };
    let said = own().filter(|(revokes, _)| !revokes).map(|(_, at)| at).max();
    own().any(|(revokes, at)| revokes && Some(at) >= said)
}

/// The newest valid signature.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    key_made: SystemTime,
    now: SystemTime,
) -> Option<&'a Signature> {
    signatures
        .filter_map(|signature| made(signature, key_made, now).ok().map(|at| (at, signature)))
        .max_by_key(|(at, _)| *at)
        .map(|(_, signature)| signature)
}
