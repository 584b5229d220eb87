//! Listings: the canonical form of one directory.
//!
//! The bytes are the listing: an entry is read straight out of them, and equal directories have equal bytes. The
//! format is written down in `docs/tree-listing.md`; [`VERSION`] rises when it changes.

use crate::digest::{Digest, Domain, Hasher};

/// The first byte of every listing.
const VERSION: u8 = 1;

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A regular file.
    File {
        /// Whether anyone may execute it. No other permission is part of what a tree contains.
        executable: bool,
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        digest: Digest,
    },
    /// A directory.
    Dir {
        /// The digest of its listing.
        digest: Digest,
    },
    /// A symbolic link, which is never followed.
    Symlink {
        /// Where it points to, byte for byte.
        target: &'a [u8],
    },
    /// Something that has no content.
    Special(Special),
}

/// A file that is neither a regular file, a directory nor a symbolic link. It is never opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A Unix domain socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Special {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Fifo => b'p',
            Self::Socket => b's',
            Self::CharDevice => b'c',
            Self::BlockDevice => b'b',
        }
    }

    pub(super) const fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            b'p' => Self::Fifo,
            b's' => Self::Socket,
            b'c' => Self::CharDevice,
            b'b' => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// An entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name: any bytes but `/` and NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind<'a>,
}

/// The listing of a directory: its entries, sorted by the bytes of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing(Box<[u8]>);

/// Bytes that are not the listing of any directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadListing {
    /// Another version, or no listing at all.
    #[error("not a listing of version {VERSION}")]
    Version,
    /// The bytes end within an entry, or hold one of an unknown kind.
    #[error("a malformed entry at byte {0}")]
    Entry(usize),
    /// A name that no directory can hold, or that is not in order.
    #[error("an impossible or misplaced name at byte {0}")]
    Name(usize),
}

impl Listing {
    /// The listing of these entries, which must be sorted by name.
    pub fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Self {
        let mut out = vec![VERSION];
        for entry in entries {
            encode_entry(&mut out, &entry);
        }
        Self(out.into())
    }

    /// Checks bytes from elsewhere: an accepted listing has exactly one encoding, this one.
    pub fn decode(bytes: impl Into<Box<[u8]>>) -> Result<Self, BadListing> {
        let bytes = bytes.into();
        if bytes.first() != Some(&VERSION) {
            return Err(BadListing::Version);
        }
        let mut rest = &bytes[1..];
        let mut last: &[u8] = b"";
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let entry = decode_entry(&mut rest).ok_or(BadListing::Entry(at))?;
            // An empty name is never greater than the last one, so it is refused here, too.
            if entry.name <= last || !is_name(entry.name) {
                return Err(BadListing::Name(at));
            }
            last = entry.name;
        }
        Ok(Self(bytes))
    }

    /// The canonical bytes.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digest of the directory.
    pub fn digest(&self) -> Digest {
        Hasher::new(Domain::Listing).bytes(&self.0).finish()
    }

    /// The entries, sorted by the bytes of their names.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.0[1..];
        std::iter::from_fn(move || decode_entry(&mut rest))
    }

    /// The entry of that name.
    pub fn get(&self, name: &[u8]) -> Option<Kind<'_>> {
        self.entries().find(|entry| entry.name == name).map(|entry| entry.kind)
    }
}

fn is_name(name: &[u8]) -> bool {
    name != b"." && name != b".." && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let tag = match entry.kind {
        Kind::File { executable: false, .. } => b'f',
        Kind::File { executable: true, .. } => b'x',
        Kind::Dir { .. } => b'd',
        Kind::Symlink { .. } => b'l',
        Kind::Special(special) => special.tag(),
    };
    out.push(tag);
    put_bytes(out, entry.name);
    match entry.kind {
        Kind::File { size, digest, .. } => {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(digest.as_bytes());
        }
        Kind::Dir { digest } => out.extend_from_slice(digest.as_bytes()),
        Kind::Symlink { target } => put_bytes(out, target),
        Kind::Special(_) => {}
    }
}

fn decode_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let tag = take::<1>(rest)?[0];
    let name = take_bytes(rest)?;
    let kind = match tag {
        b'f' | b'x' => Kind::File {
            executable: tag == b'x',
            size: u64::from_le_bytes(take(rest)?),
            digest: Digest::from_bytes(take(rest)?),
        },
        b'd' => Kind::Dir { digest: Digest::from_bytes(take(rest)?) },
        b'l' => Kind::Symlink { target: take_bytes(rest)? },
        _ => Kind::Special(Special::from_tag(tag)?),
    };
    Some(Entry { name, kind })
}

/// A byte string after its length. The kernel hands out neither names nor link targets of more than a page.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a name or link target of 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?);
    rest.split_off(..usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Listing {
        let digest = Digest::of_bytes(b"content");
        let entry = |name, kind| Entry { name, kind };
        Listing::encode(
            [
                entry(b"a.c".as_slice(), Kind::File { executable: false, size: 7, digest }),
                entry(b"b\xff", Kind::File { executable: true, size: 7, digest }),
                entry(b"dir", Kind::Dir { digest }),
                entry(b"link", Kind::Symlink { target: b"../\xfe" }),
                entry(b"pipe", Kind::Special(Special::Fifo)),
            ]
            .into_iter(),
        )
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let listing =
            Listing::encode(std::iter::once(Entry { name: b"l", kind: Kind::Symlink { target: b"to" } }));
        assert_eq!(listing.bytes(), b"\x01l\x01\0\0\0l\x02\0\0\0to");
        // A change of this digest is a change of the format: raise the version.
        assert_eq!(
            listing.digest().to_string(),
            "b2ad07058812d668710564c51cf6e6cd3a82f8e193e603ac7006121d0069bd37"
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let listing = sample();
        let again = Listing::decode(listing.bytes()).unwrap();
        assert_eq!(again, listing);
        assert_eq!(again.entries().count(), 5);
        assert_eq!(again.get(b"link"), Some(Kind::Symlink { target: b"../\xfe" }));
        assert_eq!(again.get(b"nothing"), None);
    }

    #[test]
    fn listings_that_no_directory_has_are_refused() {
        let fifo = |name: &[u8]| {
            let mut out = vec![b'p'];
            put_bytes(&mut out, name);
            out
        };
        let of = |names: &[&[u8]]| {
            let mut out = vec![VERSION];
            for name in names {
                out.extend(fifo(name));
            }
            Listing::decode(out)
        };
        assert!(of(&[b"a", b"b"]).is_ok());
        for names in [[b"b".as_slice(), b"a"], [b"a", b"a"], [b"..", b"a"], [b"", b"a"], [b"a", b"b/c"]] {
            assert!(matches!(of(&names), Err(BadListing::Name(_))), "{names:?}");
        }
        assert_eq!(Listing::decode(*b""), Err(BadListing::Version));
        assert_eq!(Listing::decode(*b"\x02"), Err(BadListing::Version));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            let _ = Listing::decode(bytes);
        }

        #[test]
        fn no_truncation_is_another_listing(cut in 2usize..100) {
            let listing = sample();
            let bytes = &listing.bytes()[..cut.min(listing.bytes().len() - 1)];
            if let Ok(shorter) = Listing::decode(bytes) {
                prop_assert_ne!(shorter.digest(), listing.digest());
            }
        }
    }
}
