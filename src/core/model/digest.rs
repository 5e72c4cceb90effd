//! BLAKE3 digests: the address of a blob, the hash of a segment, the root of a tree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 32 bytes of BLAKE3. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of no hash at all: what the first segment of a log names as its predecessor.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The plain BLAKE3 hash of `bytes`: a blob's address.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// A hash that can't be mistaken for one of another use: BLAKE3 `derive_key` mode under `domain`.
    pub fn derived(domain: &str, bytes: &[u8]) -> Digest {
        Digest(blake3::derive_key(domain, bytes))
    }

    /// The first eight hexadecimal digits, for messages to people.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.short())
    }
}

/// The text isn't the hexadecimal form of so many bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {bytes} bytes in hexadecimal ({digits} digits)", digits = bytes * 2)]
pub struct NotHex {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// How many bytes were expected.
    pub bytes: usize,
}

/// Reads exactly `N` bytes from hexadecimal text of either case.
pub fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| NotHex { text: text.chars().take(80).collect(), bytes: N })
}

impl FromStr for Digest {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        parse_hex(text).map(Digest)
    }
}
