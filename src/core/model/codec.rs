//! The one place where values become bytes and back.
//!
//! `bincode` 2 with fixed-width little-endian integers, so that equal values have equal bytes and nothing about a length
//! is a matter of taste. Every read has a limit, which also bounds what a hostile length prefix can make us allocate,
//! and bytes left over are an error. Signatures and hashes are always taken over bytes as received, never over a
//! value encoded again.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes that any single encoded value may have: a message on a control stream, a segment, a row.
pub const LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// The most bytes of a value at rest. What is there was checked before it was stored, and may be put together of several
/// messages: it has room where what comes over the network has none.
pub const ROW_BYTES_MAX: usize = 8 * 1024 * 1024 - 1024;

/// The bytes don't hold exactly one value of the expected type. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an encoding of the type, or one that claims more than the limit.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The type that was expected.
        what: &'static str,
        /// The decoder's own words.
        reason: String,
    },
    /// A whole value, then more bytes.
    #[error("{count} bytes too many after a {what}")]
    Trailing {
        /// The type that was expected.
        what: &'static str,
        /// How many bytes were left.
        count: usize,
    },
}

fn config<const BYTES_MAX: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<BYTES_MAX>()
}

/// The bytes of `value`.
///
/// Whoever builds a value keeps it within its own bounds: one that is larger than the limit of whoever reads it is written
/// all the same, and can't be read.
///
/// # Panics
/// When its type can't be encoded, which is a fault of ours.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config::<LIMIT_BYTES>()).expect("our own types can be encoded")
}

/// The value that `bytes` hold, all of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_up_to::<LIMIT_BYTES, T>(bytes)
}

/// The same of a value at rest.
pub fn decode_row<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_up_to::<ROW_BYTES_MAX, T>(bytes)
}

fn decode_up_to<const BYTES_MAX: usize, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let what = short_type_name::<T>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config::<BYTES_MAX>())
        .map_err(|error| DecodeError::Malformed { what, reason: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(value),
        count => Err(DecodeError::Trailing { what, count }),
    }
}

fn short_type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(DecodeError::Trailing { what: "u32", count: 1 }));
    }

    #[test]
    fn what_is_too_large_for_the_network_is_read_at_rest() {
        let large = encode(&vec![7_u8; LIMIT_BYTES]);
        assert!(decode::<Vec<u8>>(&large).is_err());
        assert_eq!(decode_row::<Vec<u8>>(&large).map(|bytes| bytes.len()), Ok(LIMIT_BYTES));
    }

    #[test]
    fn a_hostile_length_prefix_allocates_nothing() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<Vec<[u8; 32]>>(&bytes).is_err());
    }
}
