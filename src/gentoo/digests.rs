//! The digests of a stage3's tarball: the `.DIGESTS` file next to it.
//!
//! ```text
//! # BLAKE2B HASH
//! 2f4b...  stage3-arm64-openrc-20250928T170227Z.tar.xz
//! # SHA512 HASH
//! 98c1...  stage3-arm64-openrc-20250928T170227Z.tar.xz
//! ```
//!
//! The list of contents has such lines as well. The order differs between builds; the comment before each line names the
//! digest.

use std::fmt;
use std::io::{self, Read, Write};

use blake2::Blake2b512;
use sha2::{Digest as _, Sha512};

use super::signed::Verified;

/// The two digests of a file. A match requires both.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digests {
    blake2b: [u8; 64],
    sha512: [u8; 64],
}

impl Digests {
    /// Parses hexadecimal digits. `None`: not 128 of them.
    pub fn from_hex(blake2b: &str, sha512: &str) -> Option<Self> {
        Some(Self { blake2b: from_hex(blake2b)?, sha512: from_hex(sha512)? })
    }

    /// BLAKE2b-512, in hexadecimal digits.
    pub fn blake2b(&self) -> String {
        hex(&self.blake2b)
    }

    /// SHA-512, in hexadecimal digits.
    pub fn sha512(&self) -> String {
        hex(&self.sha512)
    }

    /// The digests of `file` in a signed text, which must have each exactly once.
    pub fn read(text: &Verified, file: &str) -> Result<Self, DigestsError> {
        let wrong = |problem: &str| DigestsError { file: file.to_owned(), problem: problem.to_owned() };
        let (mut kind, mut blake2b, mut sha512) = ("", None, None);
        for line in text.text().lines() {
            if let Some(comment) = line.strip_prefix('#') {
                kind = comment.trim().strip_suffix(" HASH").unwrap_or("");
                continue;
            }
            // Two spaces, or a space and `*` for binary files.
            let Some((digest, name)) = line.split_once(' ') else { continue };
            if name.trim_start_matches([' ', '*']) != file {
                continue;
            }
            let place = match kind {
                "BLAKE2B" => &mut blake2b,
                "SHA512" => &mut sha512,
                _ => continue,
            };
            let digest = from_hex(digest).ok_or_else(|| wrong("one of its digests is none"))?;
            if place.replace(digest).is_some() {
                return Err(wrong("it is named twice"));
            }
        }
        match (blake2b, sha512) {
            (Some(blake2b), Some(sha512)) => Ok(Self { blake2b, sha512 }),
            (None, None) => Err(wrong("it is not named")),
            (None, _) => Err(wrong("its BLAKE2B is missing")),
            (_, None) => Err(wrong("its SHA512 is missing")),
        }
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "blake2b:{} sha512:{}", self.blake2b(), self.sha512())
    }
}

/// The SHA-512 of a file without other known digests.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sha512Sum([u8; 64]);

impl Sha512Sum {
    /// Parses hexadecimal digits. `None`: not 128 of them.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// Whether `digests` has this SHA-512.
    pub fn is_of(&self, digests: &Digests) -> bool {
        self.0 == digests.sha512
    }
}

impl fmt::Display for Sha512Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Sha512Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha512:{self}")
    }
}

/// A signed text lacks valid digests of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the DIGESTS of {file} are not what they should be: {problem}")]
pub struct DigestsError {
    /// The file.
    pub file: String,
    /// The problem.
    pub problem: String,
}

/// Computes the digests and the size of the bytes that are written to it.
#[derive(Clone, Default)]
pub struct Hashing {
    blake2b: Blake2b512,
    sha512: Sha512,
    size: u64,
}

impl Hashing {
    /// The number of bytes written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digests of the bytes written.
    pub fn finish(self) -> Digests {
        Digests { blake2b: self.blake2b.finalize().into(), sha512: self.sha512.finalize().into() }
    }

    /// The digests and the size of the rest of a reader.
    pub fn of(mut reader: impl Read) -> io::Result<(Digests, u64)> {
        let mut hashing = Self::default();
        io::copy(&mut reader, &mut hashing)?;
        let size = hashing.size;
        Ok((hashing.finish(), size))
    }
}

impl Write for Hashing {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.blake2b.update(piece);
        self.sha512.update(piece);
        self.size += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() != 128 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "stage3-arm64-openrc-20250928T170227Z.tar.xz";

    fn text(parts: &[(&str, char, &str)]) -> String {
        let part = |(kind, digit, file): &(&str, char, &str)| {
            format!("# {kind} HASH\n{}  {file}", digit.to_string().repeat(128))
        };
        parts.iter().map(part).collect::<Vec<_>>().join("\n")
    }

    fn read(text: &str) -> Result<Digests, DigestsError> {
        Digests::read(&Verified::for_tests(text), FILE)
    }

    #[test]
    fn order_and_other_files_do_not_matter() {
        let contents = format!("{FILE}.CONTENTS.gz");
        let one = text(&[
            ("BLAKE2B", 'b', FILE),
            ("SHA512", '5', FILE),
            ("BLAKE2B", '0', &contents),
            ("SHA512", '1', &contents),
        ]);
        let other = text(&[
            ("SHA512", '1', &contents),
            ("MD5", '9', FILE),
            ("SHA512", '5', FILE),
            ("BLAKE2B", 'b', FILE),
        ]);
        let digests = read(&one).unwrap();
        assert_eq!(read(&other).unwrap(), digests);
        assert_eq!((digests.blake2b(), digests.sha512()), ("b".repeat(128), "5".repeat(128)));
    }

    #[test]
    fn both_digests_are_required() {
        let cases = [
            (String::new(), "not named"),
            (text(&[("BLAKE2B", 'b', FILE)]), "SHA512 is missing"),
            (text(&[("SHA512", '5', FILE)]), "BLAKE2B is missing"),
            (text(&[("SHA512", '5', FILE), ("SHA512", '5', FILE)]), "named twice"),
            (text(&[("SHA512", 'x', FILE)]), "is none"),
            (text(&[("SHA512", '5', "other.tar.xz"), ("BLAKE2B", 'b', "other.tar.xz")]), "not named"),
        ];
        for (text, problem) in cases {
            let error = read(&text).unwrap_err();
            assert!(error.problem.contains(problem), "{error}");
        }
    }

    #[test]
    fn digests_match_published_test_vectors() {
        let (digests, size) = Hashing::of(&b"abc"[..]).unwrap();
        assert_eq!(size, 3);
        // RFC 7693, appendix A, and FIPS 180-4's example.
        assert!(
            digests.blake2b().starts_with("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1")
        );
        assert!(
            digests.sha512().starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a")
        );
        assert_eq!(Digests::from_hex(&digests.blake2b(), &digests.sha512()), Some(digests));
    }
}
