//! What the histories upload: few contents, so that they meet again, hashed once.

use std::collections::HashMap;
use std::sync::LazyLock;

use artimesh_core::model::{Checksums, Digest};
use bytes::Bytes;

use crate::store::groups::{ChainingValue, GROUP_BYTES, chaining_value};
use crate::store::tests::{noise, sums_of};

/// One of [`POOL`].
pub type Number = usize;

/// Bytes, and what they are called.
pub struct Content {
    pub bytes: Bytes,
    pub digest: Digest,
    pub sums: Checksums,
}

/// Tiny ones, which the index keeps, small ones of about a sector and more, and large ones with files of their own.
const SIZES: [usize; 16] = [
    0,
    1,
    100,
    700,
    1024,
    511,
    513,
    1025,
    3000,
    5000,
    9000,
    15_000,
    GROUP_BYTES + 1,
    GROUP_BYTES + 5000,
    GROUP_BYTES + 600_000,
    2 * GROUP_BYTES + 1,
];
/// The first large one.
pub const FIRST_LARGE: Number = 12;

/// All contents.
pub static POOL: LazyLock<Vec<Content>> = LazyLock::new(|| {
    let content = |(number, size): (usize, &usize)| {
        let bytes = noise(number as u64, *size);
        Content { digest: Digest::of(&bytes), sums: sums_of(&bytes), bytes }
    };
    SIZES.iter().enumerate().map(content).collect()
});

static NUMBERS: LazyLock<HashMap<Digest, Number>> =
    LazyLock::new(|| POOL.iter().enumerate().map(|(number, content)| (content.digest, number)).collect());

/// Which content has this digest.
pub fn number_of(digest: &Digest) -> Option<Number> {
    NUMBERS.get(digest).copied()
}

/// How many there are.
pub fn count() -> u64 {
    SIZES.len() as u64
}

impl Content {
    /// Its 1 MiB groups.
    pub fn groups(&self) -> Vec<Bytes> {
        self.bytes.chunks(GROUP_BYTES).map(|group| self.bytes.slice_ref(group)).collect()
    }

    /// The chaining values of these.
    pub fn values(&self) -> Vec<ChainingValue> {
        let value = |(index, group): (usize, &[u8])| chaining_value(index as u32, [group]);
        self.bytes.chunks(GROUP_BYTES).enumerate().map(value).collect()
    }
}
