//! Segments that wait for what they depend on. Bounded: what is dropped is fetched again.

use std::collections::BTreeMap;

use crate::changelog::Sealed;
use crate::model::{Digest, Incarnation, Space};

/// The most bytes that wait.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most segments that wait.
const SEGMENTS_MAX: usize = 4096;

/// Of which log, from which sequence on, and which segment.
pub(super) type Slot = (Space, Incarnation, u64, Digest);

#[derive(Clone, Debug, Default)]
pub(super) struct Parking {
    waiting: BTreeMap<Slot, Sealed>,
    bytes: usize,
}

impl Parking {
    /// Where a segment waits.
    pub(super) fn slot(segment: &Sealed) -> Slot {
        let header = &segment.header;
        (header.space, header.incarnation, header.first_sequence, segment.hash)
    }

    /// Drops what waits there.
    pub(super) fn drop_one(&mut self, slot: &Slot) {
        if let Some(segment) = self.waiting.remove(slot) {
            self.bytes -= segment.bytes().len();
        }
    }

    /// Parks a segment, or drops it when there is no room; says whether it is parked.
    pub(super) fn park(&mut self, segment: Sealed) -> bool {
        let slot = Parking::slot(&segment);
        let size = segment.bytes().len();
        if self.waiting.contains_key(&slot) {
            return true;
        }
        if self.waiting.len() >= SEGMENTS_MAX || self.bytes + size > BYTES_MAX {
            return false;
        }
        self.bytes += size;
        self.waiting.insert(slot, segment);
        true
    }

    /// Takes out one segment that `ready` accepts.
    pub(super) fn take_ready(&mut self, ready: impl Fn(&Sealed) -> bool) -> Option<Sealed> {
        let slot = *self.waiting.iter().find(|(_, segment)| ready(segment))?.0;
        let segment = self.waiting.remove(&slot)?;
        self.bytes -= segment.bytes().len();
        Some(segment)
    }

    /// Drops what waits in a space that this node doesn't take.
    pub(super) fn forget(&mut self, space: &Space) {
        self.waiting.retain(|(parked, ..), _| parked != space);
        self.bytes = self.waiting.values().map(|segment| segment.bytes().len()).sum();
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many segments wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
