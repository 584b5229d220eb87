//! Private keys and runs: how a step gets one, and that none gets out.
//!
//! A step sees the key that its rule asks for as a file in memory. What it leaves behind is looked through before any of
//! it is kept: a key that a step has copied into its log or its output directory goes no further. A key that a step has
//! made by itself (kbuild generates one for modules) stays in its output directory, which is then not kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::{Finder, find};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::stage::WorkDir;
use crate::graph::{Action, Input};
use crate::plan::World;
use crate::remote::Secret;

/// What private keys in PEM are recognized by.
const PRIVATE: &str = "PRIVATE KEY-----";

/// Private keys are smaller than this.
const MAX_KEY: u64 = 64 * 1024;

/// So much of a key is looked for, from a quarter of it on. What is before that, of RSA, and at the end, of elliptic
/// curves, is the public part, which is in the certificate as well.
const MARK: usize = 32;

/// How many bytes a whole line of PEM stands for.
const LINE: usize = 48;

/// How much of a file is looked through at once.
const CHUNK: usize = 1 << 20;

/// A key that can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("{0}")]
    Absent(String),
    #[error("the certificate {}: {why}", path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("the private key {0}")]
    Private(&'static str),
}

/// The PEM file that kbuild takes for a signing key: the private key, then its certificate.
pub(super) fn signing_key(world: &World<'_>, name: &str, certificate: &Path) -> Result<Vec<u8>, KeyError> {
    let key = match world.module_keys.get(name) {
        Some(Ok(key)) => key,
        Some(Err(why)) => return Err(KeyError::Absent(why.clone())),
        None => return Err(KeyError::Absent(format!("there is no module key {name}"))),
    };
    let key = private_block(key)?;
    let bad = |why: String| KeyError::Certificate { path: certificate.to_owned(), why };
    let text =
        fs::read_to_string(world.spec.root.join(certificate)).map_err(|error| bad(error.to_string()))?;
    if text.contains(PRIVATE) {
        return Err(bad("it holds a private key, and is read by everyone: take that out".to_owned()));
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(bad("it is no certificate in PEM".to_owned()));
    }
    Ok([key.as_bytes(), text.as_bytes()].concat())
}

/// The private key of a text that may hold more, such as another certificate.
fn private_block(key: &Secret) -> Result<Zeroizing<String>, KeyError> {
    let text = key.reveal();
    if text.starts_with("pkcs11:") {
        return Err(KeyError::Private("is in a PKCS#11 token, which steps can't reach: give it as a file"));
    }
    if text.contains("ENCRYPTED") {
        return Err(KeyError::Private("has a passphrase, and there is nobody to ask for it: take that off"));
    }
    let is = |line: &str, mark: &str| line.starts_with(mark) && line.trim_end().ends_with(PRIVATE);
    let mut block = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.lines().skip_while(|line| !is(line, "-----BEGIN ")) {
        block.push_str(line.trim_end());
        block.push('\n');
        if is(line, "-----END ") {
            return Ok(block);
        }
    }
    Err(KeyError::Private("is none in PEM, `-----BEGIN PRIVATE KEY-----` and what follows"))
}

/// Where a run has left a private key that it was shown: in its log or below its output directory.
///
/// # Errors
///
/// When not all of it can be read: then nothing is known.
pub(super) fn leaked(world: &World<'_>, action: &Action, work: &WorkDir) -> io::Result<Option<PathBuf>> {
    let mut marks = Vec::new();
    for (_, input) in &action.inputs {
        if let Input::ModuleKey(Some(key)) = input
            && let Some(Ok(secret)) = world.module_keys.get(&**key)
        {
            marks.extend(marks_of(secret));
        }
    }
    if marks.is_empty() {
        return Ok(None);
    }
    let finders: Vec<Finder<'_>> = marks.iter().map(|mark| Finder::new(&**mark)).collect();
    let holds = |path: &Path, _: u64| contains(path, &finders);
    let log = work.log();
    // A run that could not begin has none.
    if log.exists() && holds(&log, 0)? {
        return Ok(Some(log));
    }
    first(&work.out(), &holds)
}

/// A private key in PEM below a directory, whoever made it.
pub(super) fn private_key(dir: &Path) -> io::Result<Option<PathBuf>> {
    first(dir, &|path, size| {
        Ok(size <= MAX_KEY && {
            let bytes = fs::read(path)?;
            find(&bytes, b"-----BEGIN ").is_some() && find(&bytes, PRIVATE.as_bytes()).is_some()
        })
    })
}

/// What a key is recognized by: a part of it, as bytes and as text. A text of several lines is looked for line by line.
fn marks_of(key: &Secret) -> Vec<Zeroizing<Vec<u8>>> {
    let Ok(block) = private_block(key) else { return Vec::new() };
    let body: Zeroizing<String> = Zeroizing::new(
        block.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect::<Vec<_>>().concat(),
    );
    let bytes = BASE64_STANDARD.decode(body.as_bytes()).map(Zeroizing::new).unwrap_or_default();
    let begin = bytes.len() / 4;
    let mut lines = block.lines().filter(|line| !line.starts_with("-----"));
    let line = lines.nth(begin.div_ceil(LINE)).map(|line| Zeroizing::new(line.as_bytes().to_vec()));
    let bytes = bytes.get(begin..begin + MARK).map(|bytes| Zeroizing::new(bytes.to_vec()));
    line.into_iter().chain(bytes).collect()
}

/// The first file of a directory, in the order of names, that is one of those looked for.
fn first(dir: &Path, holds: &(dyn Fn(&Path, u64) -> io::Result<bool> + Sync)) -> io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let stat = entry.metadata()?;
            if stat.is_dir() {
                dirs.push(entry.path());
            } else if stat.is_file() {
                files.push((entry.path(), stat.len()));
            }
        }
    }
    files.sort_unstable();
    let found = files.par_iter().map(|(path, size)| Ok(holds(path, *size)?.then(|| path.clone())));
    found.find_first(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None))
}

/// Whether a file holds one of these.
fn contains(path: &Path, marks: &[Finder<'_>]) -> io::Result<bool> {
    let longest = marks.iter().map(|mark| mark.needle().len()).max().unwrap_or_default();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    let mut held = 0;
    loop {
        let read = file.read(&mut buffer[held..])?;
        if read == 0 {
            return Ok(false);
        }
        let filled = held + read;
        if marks.iter().any(|mark| mark.find(&buffer[..filled]).is_some()) {
            return Ok(true);
        }
        // What may be the beginning of one is kept.
        held = longest.saturating_sub(1).min(filled);
        buffer.copy_within(filled - held..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Bag Attributes\n-----BEGIN PRIVATE KEY-----\n\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
        MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n\
        -----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_private_key_is_taken_without_what_is_around_it() {
        let key = Secret::new(KEY.to_owned());
        let block = private_block(&key).unwrap();
        assert!(block.starts_with("-----BEGIN PRIVATE KEY-----\nMIIE"), "{}", *block);
        assert!(block.ends_with("\n-----END PRIVATE KEY-----\n"), "{}", *block);
        for (text, why) in [
            ("pkcs11:token=a", "PKCS#11"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "passphrase"),
            ("-----BEGIN CERTIFICATE-----", "none in PEM"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA", "none in PEM"),
        ] {
            let error = private_block(&Secret::new(text.to_owned())).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("AAAA"), "{error}");
        }
    }

    #[test]
    fn parts_of_a_key_are_found_across_chunks_and_in_both_forms() {
        let dir = tempfile::tempdir().unwrap();
        let marks = marks_of(&Secret::new(KEY.to_owned()));
        assert_eq!(marks.len(), 2);
        let finders: Vec<Finder<'_>> = marks.iter().map(|mark| Finder::new(&**mark)).collect();
        let path = dir.path().join("file");
        let near_the_end = CHUNK - 20;
        let second = KEY.lines().nth(3).unwrap();
        fs::write(&path, [&vec![b'x'; near_the_end][..], second.as_bytes()].concat()).unwrap();
        assert!(contains(&path, &finders).unwrap());
        let body: String = KEY.lines().skip(2).take(2).collect();
        fs::write(&path, BASE64_STANDARD.decode(body).unwrap()).unwrap();
        assert!(contains(&path, &finders).unwrap());
        fs::write(&path, vec![b'x'; 3 * CHUNK + 1]).unwrap();
        assert!(!contains(&path, &finders).unwrap());
    }

    #[test]
    fn a_key_that_somebody_made_is_found_by_its_form() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("certs")).unwrap();
        fs::write(dir.path().join("certs/signing_key.x509"), "-----BEGIN CERTIFICATE-----").unwrap();
        fs::write(dir.path().join("a.c"), "the PRIVATE KEY----- of").unwrap();
        assert_eq!(private_key(dir.path()).unwrap(), None);
        let key = dir.path().join("certs/signing_key.pem");
        fs::write(&key, KEY).unwrap();
        assert_eq!(private_key(dir.path()).unwrap(), Some(key));
    }
}
