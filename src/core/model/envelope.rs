//! The wrapper that lets formats grow: a kind, a length, and bytes whose meaning the kind names.
//!
//! ```text
//! kind: u16 LE | length: u32 LE | length bytes
//! ```
//! A reader that doesn't know a kind can still store it, hash it and pass it on unchanged.

use serde::{Deserialize, Serialize};

/// One kind and its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// What the body means; each list of kinds is in the room that owns it.
    pub kind: u16,
    /// As the author wrote it.
    pub body: Vec<u8>,
}

/// The bytes aren't a sequence of envelopes within the bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than the head or its length field promise.
    #[error("envelope cut short at byte {0}")]
    Short(usize),
    /// More envelopes than the caller takes.
    #[error("more than {0} envelopes")]
    TooMany(usize),
}

const HEAD_BYTES: usize = 6;

impl Envelope {
    /// Appends the wire form to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.body.len()).expect("bodies are bounded well below 4 GiB");
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.body);
    }

    /// The wire form alone: what is hashed and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.body.len());
        self.write(&mut out);
        out
    }

    /// Reads envelopes until the bytes end, at most `most` of them.
    pub fn read_all(bytes: &[u8], most: usize) -> Result<Vec<Envelope>, EnvelopeError> {
        let mut envelopes = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if envelopes.len() == most {
                return Err(EnvelopeError::TooMany(most));
            }
            let head = bytes.get(at..at + HEAD_BYTES).ok_or(EnvelopeError::Short(at))?;
            let kind = u16::from_le_bytes([head[0], head[1]]);
            let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
            let start = at + HEAD_BYTES;
            let body = bytes.get(start..start.saturating_add(length)).ok_or(EnvelopeError::Short(at))?;
            envelopes.push(Envelope { kind, body: body.to_vec() });
            at = start + length;
        }
        Ok(envelopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_pass_through_unchanged() {
        let mut bytes = Vec::new();
        for (kind, body) in [(1u16, vec![1, 2]), (60_000, vec![]), (7, vec![9; 300])] {
            Envelope { kind, body }.write(&mut bytes);
        }
        let read = Envelope::read_all(&bytes, 10).expect("well formed");
        let again: Vec<u8> = read.iter().flat_map(Envelope::to_bytes).collect();
        assert_eq!(again, bytes);
        assert_eq!(Envelope::read_all(&bytes, 2), Err(EnvelopeError::TooMany(2)));
        assert!(Envelope::read_all(&bytes[..bytes.len() - 1], 10).is_err());
    }
}
