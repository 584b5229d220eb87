//! What the formats share: headers, numbers of any length, lists that are bounded, and compression that can't blow up.

use std::fmt;
use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The first bytes of everything that kiln keeps on a remote.
const MAGIC: &[u8; 4] = b"kiln";

/// How hard lists are compressed. Part of the formats as far as equal content is to have equal bytes.
const LEVEL: i32 = 6;

/// The largest window that a reader makes room for: 8 MiB, while [`LEVEL`] needs 2.
pub(super) const WINDOW_LOG: u32 = 23;

/// The formats, by the byte that tells them apart, each with its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sealed,
    Result,
    Kept,
    Candidates,
    Paths,
    Pack,
    Bundle,
}

impl Format {
    const fn tag(self) -> u8 {
        match self {
            Self::Sealed => b'e',
            Self::Result => b'r',
            Self::Kept => b'k',
            Self::Candidates => b'c',
            Self::Paths => b'p',
            Self::Pack => b't',
            Self::Bundle => b'b',
        }
    }

    const fn version(self) -> u8 {
        match self {
            Self::Sealed | Self::Kept | Self::Pack | Self::Bundle => 1,
            Self::Candidates | Self::Paths | Self::Result => 2,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "entry",
            Self::Result => "result",
            Self::Kept => "kept directory",
            Self::Candidates => "list of path sets",
            Self::Paths => "path set",
            Self::Pack => "pack of listings",
            Self::Bundle => "bundle",
        }
    }

    /// The header: what it is, and of which version.
    pub fn header(self) -> [u8; 6] {
        let [k, i, l, n] = *MAGIC;
        [k, i, l, n, self.tag(), self.version()]
    }

    /// What comes behind the header.
    pub fn strip(self, bytes: &[u8]) -> Result<&[u8], FormatError> {
        let Some((header, rest)) = bytes.split_first_chunk::<6>() else {
            return Err(FormatError::Other { what: self.name() });
        };
        if header[..5] != self.header()[..5] {
            return Err(FormatError::Other { what: self.name() });
        }
        if header[5] != self.version() {
            return Err(FormatError::Version { what: self.name(), found: header[5], known: self.version() });
        }
        Ok(rest)
    }
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Something else altogether.
    #[error("it is no {what} of kiln's")]
    Other {
        /// What was expected.
        what: &'static str,
    },
    /// Another version of kiln wrote it.
    #[error("it is a {what} of version {found}, this kiln reads version {known}")]
    Version {
        /// What it is.
        what: &'static str,
        /// Its version.
        found: u8,
        /// Ours.
        known: u8,
    },
    /// Nothing that kiln can have written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// More than kiln takes from a remote.
    #[error("it is larger than kiln takes: {0}")]
    TooLarge(&'static str),
}

/// Adds a number: seven bits a byte, the lowest first, the highest bit set in all but the last.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Adds bytes after their number.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A header, then the rest compressed.
pub(super) fn squeeze(format: Format, bytes: &[u8]) -> Vec<u8> {
    let mut out = format.header().to_vec();
    out.extend(zstd::encode_all(bytes, LEVEL).expect("memory takes all"));
    out
}

/// Reads what [`squeeze`] has written, piece by piece, and no more than a limit of it.
pub(super) struct Unsqueezed<'a> {
    from: BufReader<zstd::Decoder<'static, &'a [u8]>>,
    left: u64,
}

const CUT: FormatError = FormatError::Damaged("it ends early, or can't be decompressed");

impl<'a> Unsqueezed<'a> {
    /// `limit` is in bytes, when no longer compressed.
    pub fn new(format: Format, bytes: &'a [u8], limit: u64) -> Result<Self, FormatError> {
        let body = format.strip(bytes)?;
        let mut decoder = zstd::Decoder::with_buffer(body).map_err(|_| CUT)?.single_frame();
        decoder.window_log_max(WINDOW_LOG).map_err(|_| CUT)?;
        Ok(Self { from: BufReader::new(decoder), left: limit })
    }

    fn spend(&mut self, bytes: u64) -> Result<(), FormatError> {
        self.left = self.left.checked_sub(bytes).ok_or(FormatError::TooLarge("when decompressed"))?;
        Ok(())
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|_| CUT)?;
        Ok(bytes)
    }

    /// A number of at most `max`. Each has one encoding.
    pub fn number(&mut self, max: u64) -> Result<u64, FormatError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if (byte == 0 && shift > 0) || bits << shift >> shift != bits {
                return Err(FormatError::Damaged("a number is not written as numbers are"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                if number > max {
                    return Err(FormatError::TooLarge("a number is beyond its limit"));
                }
                return Ok(number);
            }
        }
        Err(FormatError::Damaged("a number has no end"))
    }

    /// A number of things that are there to be counted.
    pub fn count(&mut self, max: usize) -> Result<usize, FormatError> {
        let number = self.number(max as u64)?;
        usize::try_from(number).map_err(|_| FormatError::TooLarge("a number is beyond its limit"))
    }

    /// So many bytes. Room for them is made as they come.
    pub fn append(&mut self, length: usize, to: &mut Vec<u8>) -> Result<(), FormatError> {
        self.spend(length as u64)?;
        let read = self.from.by_ref().take(length as u64).read_to_end(to).map_err(|_| CUT)?;
        if read == length { Ok(()) } else { Err(CUT) }
    }

    /// Bytes after their number, which is at most `max`.
    pub fn bytes(&mut self, max: usize) -> Result<Vec<u8>, FormatError> {
        let length = self.count(max)?;
        let mut bytes = Vec::new();
        self.append(length, &mut bytes)?;
        Ok(bytes)
    }

    /// Sees that nothing is left over.
    pub fn end(mut self) -> Result<(), FormatError> {
        match self.from.read(&mut [0]) {
            Ok(0) if self.from.get_ref().get_ref().is_empty() => Ok(()),
            Ok(_) => Err(FormatError::Damaged("something comes behind its end")),
            Err(_) => Err(CUT),
        }
    }
}

/// A list of at most `MAX` things: a hostile number of them takes no room.
pub(super) fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = from.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(raw: &[u8]) -> Result<u64, FormatError> {
        let bytes = squeeze(Format::Paths, raw);
        let mut from = Unsqueezed::new(Format::Paths, &bytes, 100)?;
        let number = from.number(u64::MAX)?;
        from.end().map(|()| number)
    }

    proptest! {
        #[test]
        fn a_number_is_what_it_was(number: u64, small in 0u64..300) {
            for number in [number, small, u64::MAX] {
                let mut raw = Vec::new();
                put_number(&mut raw, number);
                prop_assert_eq!(numbers(&raw), Ok(number));
            }
        }

        #[test]
        fn a_number_has_one_encoding(raw in proptest::collection::vec(any::<u8>(), 1..12)) {
            if let Ok(number) = numbers(&raw) {
                let mut again = Vec::new();
                put_number(&mut again, number);
                prop_assert_eq!(again, raw);
            }
        }
    }

    #[test]
    fn versions_and_formats_are_told_apart() {
        let known = squeeze(Format::Paths, b"\0");
        assert!(Unsqueezed::new(Format::Paths, &known, 9).is_ok());
        let other = Unsqueezed::new(Format::Pack, &known, 9).err().unwrap();
        assert_eq!(other.to_string(), "it is no pack of listings of kiln's");
        let mut newer = known;
        newer[5] = 7;
        let newer = Unsqueezed::new(Format::Paths, &newer, 9).err().unwrap();
        assert_eq!(newer.to_string(), "it is a path set of version 7, this kiln reads version 2");
        assert!(Unsqueezed::new(Format::Paths, b"kiln", 9).is_err());
    }

    #[test]
    fn what_blows_up_is_refused_without_being_kept() {
        let bomb = squeeze(Format::Paths, &vec![0; 64 << 20]);
        assert!(bomb.len() < 10_000);
        let mut from = Unsqueezed::new(Format::Paths, &bomb, 1 << 20).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(from.append(2 << 20, &mut bytes), Err(FormatError::TooLarge("when decompressed")));
        assert!(bytes.is_empty());
    }

    #[test]
    fn nothing_comes_behind_the_end() {
        let whole = squeeze(Format::Paths, b"abc");
        let read = |bytes: &[u8]| {
            let mut from = Unsqueezed::new(Format::Paths, bytes, 100)?;
            from.array::<3>()?;
            from.end()
        };
        assert_eq!(read(&whole), Ok(()));
        assert!(read(&squeeze(Format::Paths, b"abcd")).is_err());
        assert!(read(&[&whole[..], b"x"].concat()).is_err());
        let frames = [&whole[..], &zstd::encode_all(&b""[..], 1).unwrap()].concat();
        assert!(read(&frames).is_err());
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
