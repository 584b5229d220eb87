//! Private keys in runs: steps get those that their rule declares, and none leaks.
//!
//! A step sees a declared key as a file in memory. The log and the output directory are searched for it before anything of
//! the run is stored. A key that a step has made itself (kbuild generates one for modules) may stay in the output directory, which
//! is then not kept for the next run.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::{Finder, find};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::work_dir::WorkDir;
use crate::graph::{Action, Input};
use crate::plan::BuildContext;
use crate::remote::Secret;

/// The end of the lines that enclose a private key in PEM.
const PRIVATE: &str = "PRIVATE KEY-----";

/// The largest size of a private key, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// The length of the part of a key that is searched for, from a quarter of the key on. The public part comes before that in
/// RSA keys, and at the end in keys of elliptic curves, and is in the certificate too.
const MARK: usize = 32;

/// The number of bytes that a full line of PEM encodes.
const LINE: usize = 48;

/// How much of a file is searched at once, in bytes.
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

/// The PEM file that kbuild takes as a signing key: the private key, then its certificate.
pub(super) fn signing_key(
    build: &BuildContext<'_>,
    name: &str,
    certificate: &Path,
) -> Result<Vec<u8>, KeyError> {
    let key = match build.module_keys.get(name) {
        Some(Ok(key)) => key,
        Some(Err(why)) => return Err(KeyError::Absent(why.clone())),
        None => return Err(KeyError::Absent(format!("there is no module key {name}"))),
    };
    let key = private_block(key)?;
    let bad = |why: String| KeyError::Certificate { path: certificate.to_owned(), why };
    let text =
        fs::read_to_string(build.spec.root.join(certificate)).map_err(|error| bad(error.to_string()))?;
    if text.contains(PRIVATE) {
        return Err(bad("it holds a private key, and is read by everyone: take that out".to_owned()));
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(bad("it is no certificate in PEM".to_owned()));
    }
    Ok([key.as_bytes(), text.as_bytes()].concat())
}

/// The private key of a PEM text, which may hold more, such as another certificate.
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

/// The file in which a run has left a private key that it was shown: the log, or one below the output directory.
///
/// # Errors
///
/// When a file can't be read: then it is not known whether a key leaked.
pub(super) fn leaked(
    build: &BuildContext<'_>,
    action: &Action,
    work: &WorkDir,
) -> io::Result<Option<PathBuf>> {
    let mut marks = Vec::new();
    for (_, input) in &action.inputs {
        if let Input::ModuleKey(Some(key)) = input
            && let Some(Ok(secret)) = build.module_keys.get(&**key)
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
    // A run that could not start has no log.
    if log.exists() && holds(&log, 0)? {
        return Ok(Some(log));
    }
    first(&work.out(), &holds)
}

/// A private key in PEM below a directory, whether kiln gave it or a step made it.
pub(super) fn private_key(dir: &Path) -> io::Result<Option<PathBuf>> {
    first(dir, &|path, size| {
        Ok(size <= MAX_KEY && {
            let bytes = fs::read(path)?;
            find(&bytes, b"-----BEGIN ").is_some() && find(&bytes, PRIVATE.as_bytes()).is_some()
        })
    })
}

/// The parts of a key that are searched for: its bytes, and one full line of its PEM text.
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

/// The first file below a directory, by name, for which `holds` is true.
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

/// Whether a file contains one of these.
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
        // The end of a chunk may be the start of a mark.
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
