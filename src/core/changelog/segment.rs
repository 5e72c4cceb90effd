//! Segments: signed batches of entries, chained per incarnation.
//!
//! ```text
//! segment  = envelope(kind = FORMAT, body)
//! body     = codec(header bytes, signature over them, entry envelopes concatenated)
//! ```
//! The signature covers the header's bytes as they travel; the header names the Merkle root of the entries.

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::merkle;
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{
    BadSignature, CircleId, Context, Digest, Dot, Envelope, EnvelopeError, Incarnation, KeyPair, PublicKey, Signature,
    Space, Use,
};

/// The only format of segments so far; it is the kind of the envelope around each.
pub const FORMAT: u16 = 1;

/// The most entries in one segment.
pub const ENTRIES_MAX: usize = 512;

/// The most bytes of one encoded segment: fits a control frame with room to spare.
pub const SEGMENT_BYTES_MAX: usize = 768 * 1024;

/// What a segment says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The log's scope.
    pub space: Space,
    /// The log's author, in which life.
    pub incarnation: Incarnation,
    /// The author's log key that signed.
    pub key: PublicKey,
    /// The sequence of the first entry; the others follow without a gap.
    pub first_sequence: u64,
    /// How many entries; at least 1.
    pub entries: u32,
    /// Chain hash of the author's previous segment here; [`Digest::ZERO`] before the first.
    pub previous: Digest,
    /// What the author had applied in this space, as a difference to its previous segment.
    pub context: Context,
    /// What the author had applied in the Trust space, as a difference to its previous segment. Empty in Trust.
    pub needs: Context,
    /// Merkle root over the entries' hashes.
    pub root: Digest,
    /// The author's wall clock, for people; it decides nothing.
    pub written_at: Timestamp,
}

impl Header {
    /// The sequence of the last entry.
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.entries) - 1)
    }

    /// The dot of the entry at `index`, from 0.
    pub fn dot(&self, index: usize) -> Dot {
        Dot { incarnation: self.incarnation, sequence: self.first_sequence + index as u64 }
    }
}

/// What travels of a whole segment.
#[derive(Serialize, Deserialize)]
struct Body {
    header: Vec<u8>,
    signature: Signature,
    entries: Vec<u8>,
}

/// Why bytes aren't a segment that may be applied. The sender is at fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Larger than [`SEGMENT_BYTES_MAX`].
    #[error("a segment of {0} bytes is over the limit")]
    TooLarge(usize),
    /// Not one envelope of a known segment format.
    #[error("unknown segment format {0}")]
    UnknownFormat(u16),
    /// The envelope structure is broken.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The header or body doesn't decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The header's count or first sequence doesn't fit the entries.
    #[error("the header counts {claimed} entries from {first}, the body holds {found}")]
    Count {
        /// In the header.
        claimed: u32,
        /// First sequence in the header.
        first: u64,
        /// In the body.
        found: usize,
    },
    /// The entries aren't those the header's root commits to.
    #[error("the entries do not match the header's Merkle root")]
    Root,
    /// Two claims that don't contradict each other.
    #[error("the two headers are not different successors of one segment")]
    NoFork,
    /// The header isn't signed by the key it names.
    #[error("the segment's signature does not verify")]
    Signature,
}

impl From<BadSignature> for SegmentError {
    fn from(_: BadSignature) -> Self {
        SegmentError::Signature
    }
}

/// A segment with its bytes as they were signed; internally consistent once it exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The decoded header.
    pub header: Header,
    /// The decoded entries.
    pub entries: Vec<Envelope>,
    /// Chain hash: [`header_hash`] of the header's bytes.
    pub hash: Digest,
    pub(super) header_bytes: Vec<u8>,
    pub(super) signature: Signature,
    bytes: Vec<u8>,
}

/// The hash that the next segment of the log names as its predecessor.
pub fn header_hash(header_bytes: &[u8]) -> Digest {
    Digest::derived("artimesh/segment-header/v1", header_bytes)
}

/// The hash of one entry: the leaf under the segment's root, and what a version carries beside its dot.
pub fn entry_hash(entry: &Envelope) -> Digest {
    Digest::derived("artimesh/entry/v1", &entry.to_bytes())
}

fn root_of(entries: &[Envelope]) -> Digest {
    merkle::root(&entries.iter().map(entry_hash).collect::<Vec<_>>())
}

impl Sealed {
    /// Signs `entries` under `header`, whose `entries`, `root` and `key` are filled in here.
    pub fn sign(mut header: Header, entries: Vec<Envelope>, key: &KeyPair, circle: &CircleId) -> Sealed {
        header.entries = u32::try_from(entries.len()).expect("batches are bounded by ENTRIES_MAX");
        header.root = root_of(&entries);
        header.key = key.public();
        let header_bytes = codec::encode(&header);
        let signature = key.sign(Use::Log, circle, &header_bytes);
        let mut packed = Vec::new();
        for entry in &entries {
            entry.write(&mut packed);
        }
        let body = codec::encode(&Body { header: header_bytes.clone(), signature, entries: packed });
        let bytes = Envelope { kind: FORMAT, body }.to_bytes();
        Sealed { header, entries, hash: header_hash(&header_bytes), header_bytes, signature, bytes }
    }

    /// Reads a segment and checks that its parts fit together. The signature is checked by [`Sealed::verify`], once
    /// it is known whether the key it names is its author's.
    pub fn read(bytes: &[u8]) -> Result<Sealed, SegmentError> {
        if bytes.len() > SEGMENT_BYTES_MAX {
            return Err(SegmentError::TooLarge(bytes.len()));
        }
        let outer = Envelope::read_all(bytes, 1)?.pop().ok_or(EnvelopeError::Short(0))?;
        if outer.kind != FORMAT {
            return Err(SegmentError::UnknownFormat(outer.kind));
        }
        let body: Body = codec::decode(&outer.body)?;
        let header: Header = codec::decode(&body.header)?;
        let entries = Envelope::read_all(&body.entries, ENTRIES_MAX)?;
        let in_range = header.first_sequence >= 1 && header.first_sequence <= u64::MAX / 2;
        if entries.is_empty() || entries.len() != header.entries as usize || !in_range {
            return Err(SegmentError::Count {
                claimed: header.entries,
                first: header.first_sequence,
                found: entries.len(),
            });
        }
        if root_of(&entries) != header.root {
            return Err(SegmentError::Root);
        }
        let hash = header_hash(&body.header);
        let (header_bytes, signature) = (body.header, body.signature);
        Ok(Sealed { header, entries, hash, header_bytes, signature, bytes: bytes.to_vec() })
    }

    /// Whether the key that the header names signed it for this circle. Whose key it is, is the caller's question.
    pub fn verify(&self, circle: &CircleId) -> Result<(), SegmentError> {
        Ok(self.header.key.verify(Use::Log, circle, &self.header_bytes, &self.signature)?)
    }

    /// Its header and signature alone.
    pub fn claim(&self) -> Claim {
        Claim::new(self.header_bytes.clone(), self.signature)
    }

    /// The bytes that travel and are stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeId;

    fn sealed() -> (Sealed, CircleId) {
        let (key, circle) = (KeyPair::from_secret(&[3; 32]), CircleId([9; 32]));
        let header = Header {
            space: Space::Trust,
            incarnation: Incarnation { node: NodeId::of(&key.public()), number: 5 },
            key: key.public(),
            first_sequence: 1,
            entries: 0,
            previous: Digest::ZERO,
            context: Context::default(),
            needs: Context::default(),
            root: Digest::ZERO,
            written_at: Timestamp(1),
        };
        let entries = (0..3).map(|n| Envelope { kind: 60_000 + n, body: vec![n as u8; 40] }).collect();
        (Sealed::sign(header, entries, &key, &circle), circle)
    }

    #[test]
    fn a_segment_reads_back_and_verifies() {
        let (segment, circle) = sealed();
        let read = Sealed::read(segment.bytes()).expect("well formed");
        assert_eq!(read, segment);
        assert_eq!(read.verify(&circle), Ok(()));
        assert_eq!(read.verify(&CircleId([8; 32])), Err(SegmentError::Signature));
    }

    #[test]
    fn no_altered_byte_goes_unnoticed() {
        let (segment, circle) = sealed();
        for at in 0..segment.bytes().len() {
            let mut bytes = segment.bytes().to_vec();
            bytes[at] ^= 1;
            let noticed = Sealed::read(&bytes).is_ok_and(|read| read.verify(&circle).is_ok());
            assert!(!noticed, "byte {at} was changed and nobody noticed");
        }
    }
}
