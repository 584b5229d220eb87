//! The encoding of values that only kiln reads: a version byte, then postcard.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const FORMAT: u8 = 1;

/// The bytes of a value.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("plain data always encodes")
}

/// The value of some bytes. `None` for another version, for damage, and where something is left over: the row that
/// holds them is then a miss.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (&FORMAT, body) = bytes.split_first()? else { return None };
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

/// Encodes a value and puts a checksum behind it: for what nothing else tells damage of.
pub(super) fn seal<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = encode(value);
    let sum = Digest::of_bytes(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// The value of sealed bytes. `None` as for [`decode`].
pub(super) fn unseal<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (encoded, sum) = bytes.split_last_chunk::<32>()?;
    (Digest::of_bytes(encoded).as_bytes() == sum).then(|| decode(encoded)).flatten()
}

/// A row with a value of another kind than its column's is damaged, and as good as none.
pub fn row<T>(read: rusqlite::Result<Option<T>>) -> rusqlite::Result<Option<T>> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match read {
        Err(FromSqlConversionFailure(..) | InvalidColumnType(..) | IntegralValueOutOfRange(..)) => Ok(None),
        read => read,
    }
}
