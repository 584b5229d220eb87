//! The encoding of values that only kiln reads: a version byte, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

const FORMAT: u8 = 1;

/// The bytes of a value.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("plain data always encodes")
}

/// The value of some bytes. `None` for another version, for damage, and where something is left over: the row that
/// holds them is then a miss.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&FORMAT, body) = bytes.split_first()? else { return None };
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

/// A row with a value of another kind than its column's is damaged, and as good as none.
pub fn row<T>(read: rusqlite::Result<Option<T>>) -> rusqlite::Result<Option<T>> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match read {
        Err(FromSqlConversionFailure(..) | InvalidColumnType(..) | IntegralValueOutOfRange(..)) => Ok(None),
        read => read,
    }
}
