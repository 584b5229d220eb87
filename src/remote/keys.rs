//! Keys: who may sign results, and whose signatures count.
//!
//! A key has a name that ends in a number (`gentoo-ci-1`), so that its successor has one, too. Public keys are written as
//! Nix writes them, `NAME:BASE64`; a secret key says what it is, so that a leak is found by a search for its first word.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use zeroize::{Zeroize, Zeroizing};

use super::secret::{Secret, SecretFileError};

/// The first word of a secret key.
const SECRET: &str = "kiln-secret-1";

/// The longest name of a key, in bytes.
pub(super) const MAX_NAME: usize = 100;

/// The largest file that a secret key can be in, in bytes.
const MAX_FILE: usize = 1024;

/// A key to sign results with. What is secret in it is wiped when it is dropped, and never shown.
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

/// A key that signatures are verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name: letters, digits, `.`, `_`, `-`, and a number at the end.
    pub name: String,
    key: VerifyingKey,
}

/// Which entries of a remote count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that one of these keys has signed.
    Signed(Vec<PublicKey>),
    /// All of them: whoever can write to the remote is trusted.
    AsItIs,
}

/// Why a key can't be had. None of them shows any of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name of a key to be.
    #[error(
        "{0:?} can't be the name of a key: that takes letters, digits, `.`, `_` and `-`, with a number at its end, as \
         in gentoo-ci-1"
    )]
    Name(String),
    /// A text that is not a public key.
    #[error("a public key is NAME:BASE64, with a number at the end of its name: {0}")]
    Public(&'static str),
    /// A text that is not a secret key.
    #[error("a secret key is what `kiln cache keygen` has written: {0}")]
    Secret(&'static str),
    /// The file is not one to keep a secret in.
    #[error("the secret key {0}")]
    File(#[from] SecretFileError),
    /// The system has no randomness to give.
    #[error("no random numbers can be had: {0}")]
    Random(String),
}

impl SigningKey {
    /// A new key.
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        check_name(name)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self::of(name, &seed))
    }

    fn of(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), key: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// The key of a text, `kiln-secret-1:NAME:BASE64`. The base64 is of the 32 bytes that RFC 8032 calls the private key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, ':');
        let (Some(SECRET), Some(name), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Secret("it is not kiln-secret-1:NAME:BASE64"));
        };
        if !is_name(name) {
            return Err(KeyError::Secret("its name is not one of a key"));
        }
        let seed =
            decode(base64).ok_or(KeyError::Secret("what follows its name is not base64 of 32 bytes"))?;
        Ok(Self::of(name, &seed))
    }

    /// What [`SigningKey::parse`] reads.
    pub fn to_text(&self) -> Secret {
        let mut base64 = STANDARD.encode(self.key.as_bytes());
        let text = format!("{SECRET}:{}:{base64}", self.name);
        base64.zeroize();
        Secret::new(text)
    }

    /// The key in a file. It must be a regular one (or a link to one) of this user or root, which nobody else can read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = Secret::read(path, MAX_FILE)?;
        Self::parse(text.reveal())
            .map_err(|error| SecretFileError { path: path.to_owned(), why: error.to_string() }.into())
    }

    /// Writes the key to a new file that only this user can read. One that is there is left as it is: what it has signed
    /// may be in use.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let mut text = Zeroizing::new(self.to_text().reveal().to_owned());
        text.push('\n');
        let mut options = File::options();
        let made = options.write(true).create_new(true).mode(0o600).open(path);
        made.and_then(|mut file| {
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
                let _ = std::fs::remove_file(path);
            })
        })
        .map_err(|error| {
            let why = match error.kind() {
                ErrorKind::AlreadyExists => "there is a file of that name, which is left as it is".to_owned(),
                _ => error.to_string(),
            };
            KeyError::from(SecretFileError { path: path.to_owned(), why })
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What others verify its signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.name)
    }
}

impl PublicKey {
    /// The key of a text, `NAME:BASE64`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let refuse = |why| Err(KeyError::Public(why));
        if text.trim().starts_with(SECRET) {
            return refuse("this is a secret one; take it out of there, and use another from now on");
        }
        let Some((name, base64)) = text.trim().split_once(':') else { return refuse("it has no colon") };
        if !is_name(name) {
            return refuse("its name is not one of a key");
        }
        let Some(bytes) = decode(base64) else {
            return refuse("what follows its name is not base64 of 32 bytes");
        };
        // Anyone can make a signature that a weak key verifies.
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self { name: name.to_owned(), key }),
            _ => refuse("no secret key has it"),
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(self.key.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Whether a text is the name of a key: `[A-Za-z0-9][A-Za-z0-9._-]*-[0-9]+`, and not too long.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        && name
            .rsplit_once('-')
            .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

fn check_name(name: &str) -> Result<(), KeyError> {
    // A long name is most likely no name, and may be a secret in the wrong place.
    let shown = || name.chars().take(40).collect();
    if is_name(name) { Ok(()) } else { Err(KeyError::Name(shown())) }
}

fn decode(base64: &str) -> Option<Zeroizing<[u8; 32]>> {
    // The decoder wants room for whole groups of three bytes.
    let mut room = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(base64, &mut room[..]).ok()?;
    let (bytes, _) = room.split_first_chunk::<32>().filter(|_| length == 32)?;
    Some(Zeroizing::new(*bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The first test vector of RFC 8032.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn bytes(hex: &str) -> [u8; 32] {
        *hex.parse::<crate::digest::Digest>().unwrap().as_bytes()
    }

    fn base64(hex: &str) -> String {
        STANDARD.encode(bytes(hex))
    }

    #[test]
    fn keys_are_those_of_the_standard() {
        let key = SigningKey::parse(&format!("kiln-secret-1:ci-1:{}", base64(SEED))).unwrap();
        assert_eq!(key.public().to_string(), format!("ci-1:{}", base64(PUBLIC)));
        let signature = key.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"a", &signature));
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = SigningKey::generate("gentoo-ci-1").unwrap();
        let again = SigningKey::parse(key.to_text().reveal()).unwrap();
        assert_eq!(again.public(), key.public());
        let public = PublicKey::parse(&key.public().to_string()).unwrap();
        assert_eq!(public, key.public());
        assert!(public.verifies(b"text", &again.sign(b"text")));
        assert_ne!(SigningKey::generate("gentoo-ci-1").unwrap().public(), key.public());
    }

    #[test]
    fn names_end_in_a_number() {
        for name in ["ci-1", "gentoo-ci-12", "a.b_c-d-0", "9-9", "a--1"] {
            assert!(is_name(name), "{name}");
        }
        for name in
            ["", "ci", "ci-", "-1", "ci-1a", "ci 1-1", "ci:1-1", "c\u{ef}-1", "ci-\u{662}", "ci-1\n", ".a-1"]
        {
            assert!(!is_name(name), "{name}");
            assert!(SigningKey::generate(name).is_err(), "{name}");
        }
        assert!(!is_name(&format!("{}-1", "a".repeat(99))));
        assert!(is_name(&format!("{}-1", "a".repeat(98))));
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_secret() {
        let key = SigningKey::generate("ci-1").unwrap();
        let text = key.to_text();
        let secret = text.reveal().rsplit(':').next().unwrap().to_owned();
        let shown = |text: String| assert!(!text.contains(&secret[..8]), "{text}");
        shown(format!("{key:?} {text:?}"));
        for wrong in [
            format!("kiln-secret-1:ci-1:{secret}x"),
            format!("kiln-secret-1:ci-1:{}", &secret[..40]),
            format!("kiln-secret-1:ci:{secret}"),
            format!("kiln-secret-1:{secret}"),
            format!("kiln-secret-2:ci-1:{secret}"),
            secret.clone(),
        ] {
            let error = SigningKey::parse(&wrong).unwrap_err();
            shown(format!("{error} {error:?}"));
        }
        let error = PublicKey::parse(text.reveal()).unwrap_err();
        assert!(error.to_string().contains("a secret one"), "{error}");
        shown(format!("{error} {error:?}"));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let good = base64(PUBLIC);
        assert!(PublicKey::parse(&format!(" ci-1:{good}\n")).is_ok());
        // The neutral element, with which a signature of zeros would verify.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let weak = STANDARD.encode(neutral);
        for wrong in [
            format!("ci:{good}"),
            format!("ci-1{good}"),
            format!("ci-1:{}", good.trim_end_matches('=')),
            format!("ci-1:{good}AAAA"),
            format!("ci-1:{weak}"),
            "ci-1:".to_owned(),
        ] {
            assert!(PublicKey::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_can_get_at_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ci-1.secret");
        let key = SigningKey::generate("ci-1").unwrap();
        key.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::read(&path).unwrap().public(), key.public());

        let before = fs::read(&path).unwrap();
        let error = SigningKey::generate("ci-1").unwrap().write(&path).unwrap_err();
        assert!(error.to_string().contains("left as it is"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(SigningKey::read(&link).is_ok(), "orchestrators hand secrets out through links");
        for (mode, fine) in [(0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SigningKey::read(&path).is_ok(), fine, "{mode:o}");
        }
        let error = SigningKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("0620") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let write = |bytes: &[u8]| {
            let _ = fs::remove_file(&path);
            let mut options = File::options();
            options.write(true).create_new(true).mode(0o600).open(&path).unwrap().write_all(bytes).unwrap();
            SigningKey::read(&path).unwrap_err().to_string()
        };
        assert!(write(&vec![b'a'; 4096]).contains("too large"));
        assert!(write(b"\xff\xfe").contains("not text"));
        assert!(write(b"").contains("kiln-secret-1"));
        assert!(SigningKey::read(dir.path()).is_err());
        assert!(SigningKey::read(&dir.path().join("nothing")).is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(SigningKey::read(&fifo).unwrap_err().to_string().contains("regular"));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        SigningKey::generate("ci-1").unwrap().write(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(SigningKey::read(&path).unwrap_err().to_string().contains("user 65534"));
    }
}
