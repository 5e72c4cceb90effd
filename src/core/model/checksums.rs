//! The checksums that clients of artifact repositories know: SHA-256, SHA-1 and MD5.

use serde::{Deserialize, Serialize};

/// The three sums of one blob, beside its BLAKE3 digest.
///
/// They are *confirmed* when this node computed them itself and *claimed* when another node said so
/// ([`Assurance`]); only confirmed sums may decide anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksums {
    /// FIPS 180-4, 32 bytes.
    pub sha256: [u8; 32],
    /// FIPS 180-4, 20 bytes; broken as a proof, kept because clients ask for it.
    pub sha1: [u8; 20],
    /// RFC 1321, 16 bytes; broken as a proof, kept because clients ask for it.
    pub md5: [u8; 16],
}

/// Who vouches for a blob's [`Checksums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assurance {
    /// Computed here, over the bytes stored here.
    Confirmed,
    /// Said by the author of the entry; not yet checked here.
    Claimed,
}

impl Checksums {
    /// 64 lower-case hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.sha256)
    }

    /// 40 lower-case hexadecimal digits.
    pub fn sha1_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.sha1)
    }

    /// 32 lower-case hexadecimal digits.
    pub fn md5_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.md5)
    }
}

impl std::fmt::Debug for Checksums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}…", &self.sha256_hex()[..8])
    }
}
