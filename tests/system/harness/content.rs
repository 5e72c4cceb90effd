//! Bytes to upload that nobody has to hold: made from a seed, piece by piece, and told by their SHA-256.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Dice;

const PIECE_BYTES: usize = 64 << 10;

/// `size` bytes that a seed decides. No two seeds, and no two pieces, have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub seed: u64,
    pub size: u64,
}

impl Content {
    /// The bytes, in pieces of at most 64 KiB.
    pub fn pieces(self) -> impl Iterator<Item = Bytes> + Send {
        let noise = Dice(self.seed).bytes(PIECE_BYTES.min(self.size as usize));
        let starts = (0..self.size).step_by(PIECE_BYTES);
        starts.map(move |start| {
            let mut piece = noise[..noise.len().min((self.size - start) as usize)].to_vec();
            for (byte, stamp) in piece.iter_mut().zip(start.to_le_bytes()) {
                *byte ^= stamp;
            }
            piece.into()
        })
    }

    /// As lowercase hex.
    pub fn sha256(self) -> String {
        let hash = self.pieces().fold(Sha256::new(), |hash, piece| hash.chain_update(&piece));
        data_encoding::HEXLOWER.encode(&hash.finalize())
    }
}
