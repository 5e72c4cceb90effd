//! When each pack and each large file was last read as a whole and found to be right.
//!
//! Seventeen bytes a unit, in one [note](crate::store::note), written anew now and then: a list that is lost or damaged says
//! that nothing was verified.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{MutexGuard, PoisonError};

use crate::store::handle::Store;
use crate::store::pack::record::Input;
use crate::store::shared::Shared;

const MAGIC: [u8; 8] = *b"ArtiVeri";
const FORMAT: u32 = 1;
const NAME: &str = "verified";

/// What is verified as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A pack.
    Pack(u64),
    /// A large file.
    Large(u64),
}

/// Unit → when, in milliseconds since 1970.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    units: BTreeMap<Unit, u64>,
    is_read: bool,
}

impl Verified {
    /// When a unit was verified.
    pub fn of(&self, unit: Unit) -> Option<u64> {
        self.units.get(&unit).copied()
    }

    /// Format, then kind, number and time of each.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_le_bytes().to_vec();
        for (unit, at_ms) in &self.units {
            let (kind, number) = match unit {
                Unit::Pack(number) => (1, number),
                Unit::Large(number) => (2, number),
            };
            bytes.push(kind);
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&at_ms.to_le_bytes());
        }
        bytes
    }

    /// `None` when it makes no sense.
    fn decode(bytes: &[u8]) -> Option<Verified> {
        let mut input = Input(bytes);
        if input.u32()? != FORMAT {
            return None;
        }
        let mut units = BTreeMap::new();
        while !input.0.is_empty() {
            let [kind] = input.array()?;
            let (number, at_ms) = (input.u64()?, input.u64()?);
            match kind {
                1 => units.insert(Unit::Pack(number), at_ms),
                2 => units.insert(Unit::Large(number), at_ms),
                _ => return None,
            };
        }
        Some(Verified { units, is_read: true })
    }
}

impl Shared {
    /// When what was verified. Reads the list the first time.
    pub(in crate::store) fn verified(&self) -> MutexGuard<'_, Verified> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if !verified.is_read {
            *verified = read(self).unwrap_or_default();
            verified.is_read = true;
        }
        verified
    }
}

impl Store {
    pub(super) fn verified(&self) -> MutexGuard<'_, Verified> {
        self.shared().verified()
    }

    pub(super) fn set_verified(&self, unit: Unit, at_ms: u64) {
        self.verified().units.insert(unit, at_ms);
    }

    /// Writes the list; those that aren't among `units` are gone.
    pub(super) fn save_verified(&self, units: &[(Unit, u64)]) {
        let bytes = {
            let mut verified = self.verified();
            let before = std::mem::take(&mut verified.units);
            verified.units = units.iter().filter_map(|(unit, _)| Some((*unit, *before.get(unit)?))).collect();
            verified.encode()
        };
        if let Err(error) = write(self.shared(), &bytes) {
            tracing::warn!(%error, "when what was verified can't be written down");
        }
    }
}

fn read(shared: &Shared) -> Option<Verified> {
    Verified::decode(&shared.read_note(NAME, &MAGIC)?)
}

fn write(shared: &Shared, bytes: &[u8]) -> io::Result<()> {
    let mut note = shared.write_note(NAME, &MAGIC)?;
    note.write_all(bytes)?;
    note.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_it_was_written_and_not_when_it_makes_no_sense() {
        let units = BTreeMap::from([(Unit::Pack(1), 5), (Unit::Pack(u64::MAX), 6), (Unit::Large(0), u64::MAX)]);
        let verified = Verified { units, is_read: true };
        let bytes = verified.encode();
        assert_eq!(Verified::decode(&bytes), Some(verified));
        let is_between = |at: usize| at >= 4 && (at - 4).is_multiple_of(17);
        for at in (0..bytes.len()).filter(|at| !is_between(*at)) {
            assert_eq!(Verified::decode(&bytes[..at]), None, "{at}");
        }
        for at in [0, 4, 21] {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert_eq!(Verified::decode(&other), None, "another format, or a kind that isn't known");
        }
    }
}
