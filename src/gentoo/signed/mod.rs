//! What somebody signed: texts and files, checked against keys that are pinned by the fingerprints of their primary keys.
//!
//! Who reads a signed text reads [`Verified`], which only a check makes, so that nothing but what the signature covers can
//! be believed: text in front of the block or behind it is no part of it. A signature counts if all of this holds *now*:
//! the key or the subkey is bound to a pinned primary key, is meant for signing, has neither expired nor been revoked for
//! whatever reason, and everything on the way from the primary key to the text is signed over SHA-2 or SHA-3.
//!
//! Cryptography and formats are rPGP's (the crate `pgp`), what counts is decided here. (sequoia-openpgp brings a policy, but
//! its licence is not one of those that this project links, and its parser is generated at each build.)

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

/// The largest signed text or signature that is looked at, in bytes. Mirrors' texts have a few kilobytes.
pub const MAX_TEXT: usize = 1 << 20;

/// How many signatures of one thing are looked at.
const MAX_SIGNATURES: usize = 16;

/// The fingerprint of a primary key, whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(String);

impl Pin {
    fn of(key: &impl KeyDetails) -> Self {
        Self(key.fingerprint().to_string().to_uppercase())
    }
}

impl FromStr for Pin {
    type Err = KeyringError;

    /// Hexadecimal digits, in groups or not.
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

/// Why there are no keys to check with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Something else than a whole fingerprint. Short ones can be had by whoever tries often enough.
    #[error("{text:?} is no fingerprint of a key: write all its 40 (or 64) hexadecimal digits")]
    Pin {
        /// What was written.
        text: String,
    },
    /// Nothing is pinned, so that nothing could ever be believed.
    #[error("no key is pinned: name the fingerprint of the primary key that may sign")]
    NoPin,
    /// The file of keys can't be read as one.
    #[error("the keys can't be read: {message}")]
    Keys {
        /// What is wrong with them.
        message: String,
    },
    /// A pinned key is not among them.
    #[error("there is no key {pin} among the keys (there are: {}); add it, or pin another", found.join(", "))]
    Missing {
        /// The key that is pinned.
        pin: Pin,
        /// Primary keys that are there.
        found: Vec<String>,
    },
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// No signed text, or no signature.
    #[error("it is not signed as it should be: {problem}")]
    NotSigned {
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody signed it who is not pinned.
    #[error("it is signed by {}, which is none of the pinned keys nor a part of one", issuers.join(", "))]
    Unknown {
        /// Fingerprints or IDs of the keys that signed it.
        issuers: Vec<String>,
    },
    /// The right key, but not what it signed.
    #[error("the signature of key {key} does not fit: what was signed, or the signature, has been changed")]
    Wrong {
        /// The key that is said to have signed.
        key: Pin,
    },
    /// The right key, but it does not count.
    #[error("it is signed by key {key}, {problem}")]
    Key {
        /// The key that signed.
        key: Pin,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// The right key, but the signature does not count.
    #[error("the signature of key {key} {flaw}")]
    Flawed {
        /// The key that signed.
        key: Pin,
        /// What is wrong with the signature.
        flaw: Flaw,
    },
}

/// Who signed something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The primary key, which is pinned.
    pub primary: Pin,
    /// The key that made the signature: the primary key, or a subkey of it.
    pub key: Pin,
    /// When the signature says that it was made.
    pub made: SystemTime,
}

/// A text as it was signed. Lines end with `\n`, and have no blanks at their ends, as these are not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    text: String,
    signer: Signer,
}

impl Verified {
    /// What was signed, and no more than that.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A text that nobody signed.
    #[cfg(test)]
    pub(super) fn for_tests(text: &str) -> Self {
        let key = Pin("0".repeat(40));
        let signer = Signer { primary: key.clone(), key, made: SystemTime::UNIX_EPOCH };
        Self { text: text.to_owned(), signer }
    }

    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}

/// Keys that may sign.
#[derive(Debug)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

impl Keyring {
    /// The pinned keys out of a file of keys, armored (one block or several) or binary. Other keys in it are left out;
    /// revocations count wherever they stand.
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

    /// The text of a clear-signed message, if a pinned key signed it.
    pub fn text(&self, message: &[u8], now: SystemTime) -> Result<Verified, SignatureError> {
        let not_signed = |problem: String| SignatureError::NotSigned { problem };
        if message.len() > MAX_TEXT {
            return Err(not_signed(format!("it has more than {MAX_TEXT} bytes")));
        }
        let (message, _) = CleartextSignedMessage::from_armor_buf(message, blocks::dearmor())
            .map_err(|error| not_signed(blocks::said(&error)))?;
        let text = message.signed_text();
        let (counting, why_not) = self.counting(message.signatures(), now);
        let mut wrong = None;
        for Counting { signature, component, signer } in counting {
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

    /// Starts the check of a file against its detached signature. The check is written the file, and then says.
    pub fn file(&self, signature: &[u8], now: SystemTime) -> Result<Check, SignatureError> {
        if signature.len() > MAX_TEXT {
            let problem = format!("the signature has more than {MAX_TEXT} bytes");
            return Err(SignatureError::NotSigned { problem });
        }
        let signatures =
            blocks::signatures(signature).map_err(|problem| SignatureError::NotSigned { problem })?;
        let (counting, why_not) = self.counting(&signatures, now);
        let hashing: Vec<_> = counting.into_iter().filter_map(Hashing::begin).collect();
        if hashing.is_empty() { Err(why_not) } else { Ok(Check::new(hashing)) }
    }

    /// Those signatures that count if they fit; and if none does, why the others can't.
    fn counting<'a>(
        &'a self,
        signatures: &'a [Signature],
        now: SystemTime,
    ) -> (Vec<Counting<'a>>, SignatureError) {
        let mut counting = Vec::new();
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
                    counting.push(Counting { signature, component, signer });
                }
            }
        }
        let none = || SignatureError::NotSigned { problem: "there is no fitting signature in it".to_owned() };
        let unknown = || if issuers.is_empty() { none() } else { SignatureError::Unknown { issuers } };
        (counting, bad.unwrap_or_else(unknown))
    }
}

/// A signature that counts if it fits.
struct Counting<'a> {
    signature: &'a Signature,
    component: Component<'a>,
    signer: Signer,
}

#[cfg(test)]
mod tests;
