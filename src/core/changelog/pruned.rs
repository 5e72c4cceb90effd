//! What is left of a segment when some of its entries are dropped: its signed header, the others, and the proof that they
//! are its.
//!
//! ```text
//! pruned = envelope(kind = PRUNED, codec(header bytes, signature, index and entry of each survivor, proof))
//! ```
//!
//! # Why
//! Whoever gets a live version without the log around it must still be able to tell that its author signed it. So what
//! was killed may go, and what is live keeps its proof, whoever passes it on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::merkle;
use super::segment::{ENTRIES_MAX, FORMAT, Header, SEGMENT_BYTES_MAX, Sealed, SegmentError, entry_hash, header_hash};
use crate::model::codec;
use crate::model::{CircleId, Digest, Dot, Envelope, EnvelopeError, Signature, Use};

/// The kind of the envelope around a pruned segment.
pub const PRUNED: u16 = 2;

/// A signed header and some of its entries, with their proof; internally consistent once it exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// The decoded header.
    pub header: Header,
    /// Chain hash, as of the whole segment.
    pub hash: Digest,
    entries: BTreeMap<u32, Envelope>,
    proof: Vec<Digest>,
    header_bytes: Vec<u8>,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
struct Body {
    header: Vec<u8>,
    signature: Signature,
    entries: Vec<(u32, Envelope)>,
    proof: Vec<Digest>,
}

type Leaf = (usize, Digest);

fn leaves<'a>(entries: impl Iterator<Item = (&'a u32, &'a Envelope)>) -> Vec<Leaf> {
    entries.map(|(index, entry)| (*index as usize, entry_hash(entry))).collect()
}

impl Pruned {
    /// What is left of `segment` when only the entries at indices that `keeps` says are kept.
    pub fn of(segment: &Sealed, keeps: impl Fn(u32) -> bool) -> Pruned {
        let whole = Pruned {
            header: segment.header.clone(),
            hash: segment.hash,
            entries: (0..).zip(segment.entries.iter().cloned()).collect(),
            proof: Vec::new(),
            header_bytes: segment.header_bytes.clone(),
            signature: segment.signature,
        };
        whole.narrowed(keeps)
    }

    /// What is left when only the entries at indices that `keeps` says are kept.
    pub fn narrowed(mut self, keeps: impl Fn(u32) -> bool) -> Pruned {
        let before = leaves(self.entries.iter());
        self.entries.retain(|index, _| keeps(*index));
        let (after, count) = (leaves(self.entries.iter()), self.header.entries as usize);
        let (mut given, mut proof) = (std::mem::take(&mut self.proof).into_iter(), Vec::new());
        merkle::narrow(0, count, &before, &mut given, &after, &mut proof)
            .expect("its proof was checked when it was read");
        Pruned { proof, ..self }
    }

    /// The entries of both, when they are of one segment.
    pub fn united(self, other: &Pruned) -> Pruned {
        if self.hash != other.hash {
            return self;
        }
        let (mine, theirs) = (leaves(self.entries.iter()), leaves(other.entries.iter()));
        let mut proof = Vec::new();
        let (mut given, mut given_there) = (self.proof.into_iter(), other.proof.iter().copied());
        let (one, two) = ((&mine[..], &mut given), (&theirs[..], &mut given_there));
        merkle::unite(0, self.header.entries as usize, one, two, &mut proof).expect("both proofs were checked");
        let mut entries = self.entries;
        entries.extend(other.entries.iter().map(|(index, entry)| (*index, entry.clone())));
        Pruned { entries, proof, ..self }
    }

    /// The entries that are left, with their indices.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &Envelope)> {
        self.entries.iter().map(|(index, entry)| (*index, entry))
    }

    /// The entry `dot`, if it is of this segment and left.
    pub fn entry(&self, dot: &Dot) -> Option<&Envelope> {
        let index = dot.sequence.checked_sub(self.header.first_sequence)?;
        self.entries.get(&u32::try_from(index).ok()?).filter(|_| dot.incarnation == self.header.incarnation)
    }

    /// Reads one and checks that its entries are those its header's root commits to. The signature is checked by
    /// [`Pruned::verify`].
    pub fn read(bytes: &[u8]) -> Result<Pruned, SegmentError> {
        if bytes.len() > SEGMENT_BYTES_MAX {
            return Err(SegmentError::TooLarge(bytes.len()));
        }
        let outer = Envelope::read_all(bytes, 1)?.pop().ok_or(EnvelopeError::Short(0))?;
        if outer.kind != PRUNED {
            return Err(SegmentError::UnknownFormat(outer.kind));
        }
        let body: Body = codec::decode(&outer.body)?;
        let header: Header = codec::decode(&body.header)?;
        let (found, count) = (body.entries.len(), header.entries as usize);
        let entries: BTreeMap<u32, Envelope> = body.entries.into_iter().collect();
        let in_range = header.first_sequence >= 1 && header.first_sequence <= u64::MAX / 2;
        let fits = entries.len() == found && entries.keys().all(|index| (*index as usize) < count);
        if count == 0 || count > ENTRIES_MAX || !in_range || !fits {
            return Err(SegmentError::Count { claimed: header.entries, first: header.first_sequence, found });
        }
        let mut given = body.proof.iter().copied();
        let root = merkle::root_from(0, count, &leaves(entries.iter()), &mut given);
        if root != Some(header.root) || given.next().is_some() {
            return Err(SegmentError::Root);
        }
        let hash = header_hash(&body.header);
        let (header_bytes, signature, proof) = (body.header, body.signature, body.proof);
        Ok(Pruned { header, hash, entries, proof, header_bytes, signature })
    }

    /// Whether the key that the header names signed it for this circle. Whose key it is, is the caller's question.
    pub fn verify(&self, circle: &CircleId) -> Result<(), SegmentError> {
        Ok(self.header.key.verify(Use::Log, circle, &self.header_bytes, &self.signature)?)
    }

    /// The bytes that travel and are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|(index, entry)| (*index, entry.clone())).collect();
        let (header, proof) = (self.header_bytes.clone(), self.proof.clone());
        let body = codec::encode(&Body { header, signature: self.signature, entries, proof });
        Envelope { kind: PRUNED, body }.to_bytes()
    }
}

/// A segment as it is at rest: whole, or what is left of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// As its author signed it.
    Whole(Sealed),
    /// Some entries are gone.
    Pruned(Pruned),
}

impl Stored {
    /// Reads a row of the log.
    pub fn read(bytes: &[u8]) -> Result<Stored, SegmentError> {
        match bytes.first_chunk().map(|kind| u16::from_le_bytes(*kind)) {
            Some(PRUNED) => Pruned::read(bytes).map(Stored::Pruned),
            Some(FORMAT) => Sealed::read(bytes).map(Stored::Whole),
            Some(other) => Err(SegmentError::UnknownFormat(other)),
            None => Err(EnvelopeError::Short(0).into()),
        }
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        match self {
            Stored::Whole(segment) => &segment.header,
            Stored::Pruned(pruned) => &pruned.header,
        }
    }

    /// Its chain hash.
    pub fn hash(&self) -> Digest {
        match self {
            Stored::Whole(segment) => segment.hash,
            Stored::Pruned(pruned) => pruned.hash,
        }
    }

    /// Its header and signature alone.
    pub fn claim(&self) -> Claim {
        match self {
            Stored::Whole(segment) => segment.claim(),
            Stored::Pruned(pruned) => Claim::new(pruned.header_bytes.clone(), pruned.signature),
        }
    }

    /// Only the entries at indices that `keeps` says, as far as they are left.
    pub fn narrowed(self, keeps: impl Fn(u32) -> bool) -> Pruned {
        match self {
            Stored::Whole(segment) => Pruned::of(&segment, keeps),
            Stored::Pruned(pruned) => pruned.narrowed(keeps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::model::{Context, Incarnation, KeyPair, NodeId, Space};

    fn sealed() -> (Sealed, CircleId) {
        let (key, circle) = (KeyPair::from_secret(&[3; 32]), CircleId([9; 32]));
        let header = Header {
            space: Space::Trust,
            incarnation: Incarnation { node: NodeId::of(&key.public()), number: 5 },
            key: key.public(),
            first_sequence: 11,
            entries: 0,
            previous: Digest::ZERO,
            context: Context::default(),
            needs: Context::default(),
            root: Digest::ZERO,
            written_at: Timestamp(1),
        };
        let entries = (0..7).map(|n| Envelope { kind: 60_000 + n, body: vec![n as u8; 40] }).collect();
        (Sealed::sign(header, entries, &key, &circle), circle)
    }

    #[test]
    fn what_is_left_of_a_segment_still_proves_itself() {
        let (segment, circle) = sealed();
        let odd = Pruned::of(&segment, |index| index % 2 == 1);
        let read = Pruned::read(&odd.to_bytes()).expect("well formed");
        assert_eq!((read.verify(&circle), &read, read.hash), (Ok(()), &odd, segment.hash));
        let dot = |sequence| Dot { incarnation: segment.header.incarnation, sequence };
        assert_eq!((read.entry(&dot(12)), read.entry(&dot(11))), (Some(&segment.entries[1]), None));
        let one = odd.clone().narrowed(|index| index == 3);
        assert_eq!(one, Pruned::of(&segment, |index| index == 3));
        assert_eq!(
            Pruned::of(&segment, |index| index == 0).united(&odd),
            Pruned::of(&segment, |i| i == 0 || i % 2 == 1)
        );
        assert_eq!(Stored::read(segment.bytes()), Ok(Stored::Whole(segment)));
    }

    #[test]
    fn the_longest_segment_is_read_when_it_is_pruned() {
        let (segment, circle) = sealed();
        let key = KeyPair::from_secret(&[3; 32]);
        let entries = (0..ENTRIES_MAX).map(|n| Envelope { kind: 60_000, body: vec![n as u8] }).collect();
        let longest = Sealed::sign(segment.header, entries, &key, &circle);
        let last = Pruned::of(&longest, |index| index as usize == ENTRIES_MAX - 1);
        assert_eq!(Pruned::read(&last.to_bytes()), Ok(last));
    }

    #[test]
    fn no_altered_byte_of_a_pruned_segment_goes_unnoticed() {
        let (segment, circle) = sealed();
        let bytes = Pruned::of(&segment, |index| index == 2 || index == 6).to_bytes();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let noticed = !Pruned::read(&altered).is_ok_and(|read| read.verify(&circle).is_ok());
            assert!(noticed, "byte {at} was changed and nobody noticed");
        }
    }
}
