//! The four hashes of a blob, in two lanes: MD5 is as slow as the other three together.

use artimesh_core::model::{Checksums, Digest};
use bytes::Bytes;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::groups::{self, ChainingValue};

/// The first lane: SHA-256, SHA-1, BLAKE3 by groups.
#[derive(Default)]
pub struct ShaLane {
    sha256: Sha256,
    sha1: Sha1,
    values: Vec<ChainingValue>,
}

/// The second lane.
#[derive(Default)]
pub struct Md5Lane(Md5);

impl ShaLane {
    /// Takes the next group: 1 MiB, or less if it is the last.
    pub fn update(&mut self, group: &[Bytes]) {
        let index = self.values.len() as u32;
        self.values.push(groups::chaining_value(index, group.iter().map(Bytes::as_ref)));
        for piece in group {
            self.sha256.update(piece);
            self.sha1.update(piece);
        }
    }
}

impl Md5Lane {
    /// Takes the next pieces.
    pub fn update(&mut self, group: &[Bytes]) {
        group.iter().for_each(|piece| self.0.update(piece));
    }
}

/// The sums of everything that both lanes took, and the chaining values.
pub fn finish(sha: ShaLane, md5: Md5Lane) -> (Checksums, Vec<ChainingValue>) {
    let checksums = Checksums {
        sha256: sha.sha256.finalize().into(),
        sha1: sha.sha1.finalize().into(),
        md5: md5.0.finalize().into(),
    };
    (checksums, sha.values)
}

/// The digest and sums of a blob of one group.
pub fn of_small(pieces: &[Bytes]) -> (Digest, Checksums) {
    let mut blake3 = blake3::Hasher::new();
    let (mut sha256, mut sha1, mut md5) = (Sha256::new(), Sha1::new(), Md5::new());
    for piece in pieces {
        blake3.update(piece);
        sha256.update(piece);
        sha1.update(piece);
        md5.update(piece);
    }
    let checksums =
        Checksums { sha256: sha256.finalize().into(), sha1: sha1.finalize().into(), md5: md5.finalize().into() };
    (Digest(*blake3.finalize().as_bytes()), checksums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_published_test_vectors() {
        let (digest, sums) = of_small(&[Bytes::from_static(b"a"), Bytes::from_static(b"bc")]);
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(sums.sha256_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sums.sha1_hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sums.md5_hex(), "900150983cd24fb0d6963f7d28e17f72");
        let (mut sha, mut md5) = (ShaLane::default(), Md5Lane::default());
        sha.update(&[Bytes::from_static(b"abc")]);
        md5.update(&[Bytes::from_static(b"abc")]);
        assert_eq!(finish(sha, md5).0, sums);
    }
}
