//! Verifies `OpenPGP` signatures of texts and files against pinned primary keys.
//!
//! A signed text is only readable as [`Verified`], which only a check constructs, so text outside the signed block is never
//! used. A signature is valid if *now* the key is bound to a pinned primary key, is a signing key, and is neither expired nor
//! revoked for any reason, and every signature from the primary key to the content uses SHA-2 or SHA-3.
//!
//! rPGP (the crate `pgp`) implements cryptography and formats; this module implements the policy. (sequoia-openpgp has a
//! policy, but its licence is not accepted here, and its parser is generated at each build.)

mod blocks;
mod certificate;
mod check;
mod policy;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use pgp::composed::CleartextSignedMessage;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;

pub use certificate::KeyProblem;
pub use check::Check;
pub use policy::Flaw;

use certificate::{Certificate, Component};
use check::Hashing;

/// The largest signed text or signature, in bytes. Mirrors' texts have a few kilobytes.
pub const MAX_TEXT: usize = 1 << 20;

/// The number of signatures that are checked.
const MAX_SIGNATURES: usize = 16;

/// The full fingerprint of a primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(String);

impl Pin {
    fn of(key: &impl KeyDetails) -> Self {
        Self(key.fingerprint().to_string().to_uppercase())
    }
}

impl FromStr for Pin {
    type Err = KeyringError;

    /// Parses hexadecimal digits, grouped or not.
    fn from_str(text: &str) -> Result<Self, KeyringError> {
        let hex: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let hex = hex.strip_prefix("0x").unwrap_or(&hex).to_uppercase();
        if matches!(hex.len(), 40 | 64) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(hex))
        } else {
            Err(KeyringError::Pin { text: text.to_owned() })
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a keyring can't be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not a full fingerprint. Short key ids can be forged.
    #[error("{text:?} is no fingerprint of a key: write all its 40 (or 64) hexadecimal digits")]
    Pin {
        /// The text.
        text: String,
    },
    /// No key is pinned, so no signature could be valid.
    #[error("no key is pinned: name the fingerprint of the primary key that may sign")]
    NoPin,
    /// The key file is malformed.
    #[error("the keys can't be read: {message}")]
    Keys {
        /// The problem.
        message: String,
    },
    /// A pinned key is missing from the file.
    #[error("there is no key {pin} among the keys (there are: {}); add it, or pin another", found.join(", "))]
    Missing {
        /// The pinned key.
        pin: Pin,
        /// The primary keys in the file.
        found: Vec<String>,
    },
}

/// Why a signature is invalid.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no signed text or no signature.
    #[error("it is not signed as it should be: {problem}")]
    NotSigned {
        /// The problem.
        problem: String,
    },
    /// The signer is not pinned.
    #[error("it is signed by {}, which is none of the pinned keys nor a part of one", issuers.join(", "))]
    Unknown {
        /// Fingerprints or IDs of the signing keys.
        issuers: Vec<String>,
    },
    /// A pinned key's signature does not match the content.
    #[error("the signature of key {key} does not fit: what was signed, or the signature, has been changed")]
    Wrong {
        /// The claimed key.
        key: Pin,
    },
    /// A pinned key that may not sign.
    #[error("it is signed by key {key}, {problem}")]
    Key {
        /// The key that signed.
        key: Pin,
        /// The problem.
        problem: KeyProblem,
    },
    /// A pinned key's signature that is invalid by itself.
    #[error("the signature of key {key} {flaw}")]
    Flawed {
        /// The key that signed.
        key: Pin,
        /// Why.
        flaw: Flaw,
    },
}

/// The signer and the time of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The pinned primary key.
    pub primary: Pin,
    /// The signing key: the primary key or one of its subkeys.
    pub key: Pin,
    /// The time in the signature.
    pub made: SystemTime,
}

/// A verified text. Lines end with `\n`; trailing spaces are removed, as they are not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    text: String,
    signer: Signer,
}

impl Verified {
    /// The signed text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An unsigned text.
    #[cfg(test)]
    pub(super) fn for_tests(text: &str) -> Self {
        let key = Pin("0".repeat(40));
        let signer = Signer { primary: key.clone(), key, made: SystemTime::UNIX_EPOCH };
        Self { text: text.to_owned(), signer }
    }

    /// Its signer.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}

/// The pinned keys.
#[derive(Debug)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

impl Keyring {
    /// Loads the pinned keys from a key file, armored (one or more blocks) or binary. Other keys are ignored; revocations count
    /// wherever they are in the file.
    pub fn new(keys: &[u8], pins: &[Pin]) -> Result<Self, KeyringError> {
        if pins.is_empty() {
            return Err(KeyringError::NoPin);
        }
        let all = blocks::certificates(keys).map_err(|message| KeyringError::Keys { message })?;
        for pin in pins {
            if !all.iter().any(|certificate| certificate.pin() == *pin) {
                let found: BTreeSet<_> =
                    all.iter().map(|certificate| certificate.pin().to_string()).collect();
                return Err(KeyringError::Missing { pin: pin.clone(), found: found.into_iter().collect() });
            }
        }
        let certificates = all.into_iter().filter(|certificate| pins.contains(&certificate.pin())).collect();
        Ok(Self { certificates })
    }

    /// Verifies a clear-signed message and returns its text.
    pub fn text(&self, message: &[u8], now: SystemTime) -> Result<Verified, SignatureError> {
        let not_signed = |problem: String| SignatureError::NotSigned { problem };
        if message.len() > MAX_TEXT {
            return Err(not_signed(format!("it has more than {MAX_TEXT} bytes")));
        }
        let (message, _) = CleartextSignedMessage::from_armor_buf(message, blocks::dearmor())
            .map_err(|error| not_signed(blocks::parse_problem(&error)))?;
        let text = message.signed_text();
        let (candidates, why_not) = self.candidates(message.signatures(), now);
        let mut wrong = None;
        for Candidate { signature, component, signer } in candidates {
            let fits = signature.typ() == Some(SignatureType::Text)
                && match component {
                    Component::Primary(key) => signature.verify(key, text.as_bytes()).is_ok(),
                    Component::Subkey(subkey) => signature.verify(&subkey.key, text.as_bytes()).is_ok(),
                };
            if fits {
                return Ok(Verified { text: text.replace("\r\n", "\n"), signer });
            }
            wrong.get_or_insert(SignatureError::Wrong { key: signer.key });
        }
        Err(wrong.unwrap_or(why_not))
    }

    /// Starts the check of a file against its detached signature. The caller writes the file to the [`Check`].
    pub fn file(&self, signature: &[u8], now: SystemTime) -> Result<Check, SignatureError> {
        if signature.len() > MAX_TEXT {
            let problem = format!("the signature has more than {MAX_TEXT} bytes");
            return Err(SignatureError::NotSigned { problem });
        }
        let signatures =
            blocks::signatures(signature).map_err(|problem| SignatureError::NotSigned { problem })?;
        let (candidates, why_not) = self.candidates(&signatures, now);
        let hashing: Vec<_> = candidates.into_iter().filter_map(Hashing::begin).collect();
        if hashing.is_empty() { Err(why_not) } else { Ok(Check::new(hashing)) }
    }

    /// The signatures whose keys and fields are valid, and the error to report if none of them matches the content.
    fn candidates<'a>(
        &'a self,
        signatures: &'a [Signature],
        now: SystemTime,
    ) -> (Vec<Candidate<'a>>, SignatureError) {
        let mut candidates = Vec::new();
        let mut bad = None;
        let mut issuers = Vec::new();
        for signature in signatures.iter().take(MAX_SIGNATURES) {
            let known = self.certificates.iter().find_map(|certificate| {
                certificate.component(signature).map(|component| (certificate, component))
            });
            let Some((certificate, component)) = known else {
                issuers.push(policy::issuer(signature));
                continue;
            };
            let key = component.pin();
            if let Err(problem) = certificate.may_sign(&component, now) {
                bad.get_or_insert(SignatureError::Key { key, problem });
                continue;
            }
            match policy::made(signature, component.created(), now) {
                Err(flaw) => {
                    bad.get_or_insert(SignatureError::Flawed { key, flaw });
                }
                Ok(made) => {
                    let signer = Signer { primary: certificate.pin(), key, made };
                    candidates.push(Candidate { signature, component, signer });
                }
            }
        }
        let none = || SignatureError::NotSigned { problem: "there is no fitting signature in it".to_owned() };
        let unknown = || if issuers.is_empty() { none() } else { SignatureError::Unknown { issuers } };
        (candidates, bad.unwrap_or_else(unknown))
    }
}

/// A signature that is valid if it matches the content.
struct Candidate<'a> {
    signature: &'a Signature,
    component: Component<'a>,
    signer: Signer,
}

#[cfg(test)]
mod tests;
