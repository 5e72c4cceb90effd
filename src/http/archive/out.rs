//! What a format has written and nobody has sent yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// So much is gathered before it goes out.
const PIECE_BYTES: usize = 64 << 10;

/// Written bytes, in their order. Whoever writes stops as soon as it [is full](Out::is_full), so that it holds little.
#[derive(Debug, Default)]
pub struct Out {
    pieces: VecDeque<Bytes>,
    last: BytesMut,
}

impl Out {
    /// Takes a copy of some bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
    }

    /// Takes a piece as it is, without looking at it.
    pub fn pass(&mut self, piece: Bytes) {
        if !self.last.is_empty() {
            self.pieces.push_back(self.last.split().freeze());
        }
        self.pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
    }

    /// Whether there is a piece that should go out before more is written.
    pub fn is_full(&self) -> bool {
        !self.pieces.is_empty() || self.last.len() >= PIECE_BYTES
    }

    /// The next piece, never an empty one; `None` when all were taken.
    pub fn take(&mut self) -> Option<Bytes> {
        let next = self.pieces.pop_front();
        next.or_else(|| Some(self.last.split().freeze())).filter(|piece| !piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_in_its_order() {
        let mut out = Out::default();
        out.put(b"ab");
        out.put(b"c");
        assert!(!out.is_full());
        out.pass(Bytes::new());
        out.pass(Bytes::from_static(b"de"));
        out.put(b"f");
        assert!(out.is_full());
        let pieces: Vec<Bytes> = std::iter::from_fn(|| out.take()).collect();
        assert_eq!(pieces, ["abc", "de", "f"]);
        out.put(&[0; PIECE_BYTES]);
        assert!(out.is_full());
    }
}
