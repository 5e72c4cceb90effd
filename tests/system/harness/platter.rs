//! What a disk holds, and what is left of it when the power fails: like any disk it keeps what it is given in a cache, and
//! promises only what was there when it was told to flush.

use super::Dice;

/// A device writes, or loses, so many bytes as one.
const SECTOR_BYTES: usize = 512;

/// A disk's bytes.
pub struct Platter {
    /// What survives whatever comes.
    durable: Vec<u8>,
    /// What is read.
    current: Vec<u8>,
    /// Where the one may differ from the other, in order.
    pending: Vec<(usize, Vec<u8>)>,
    flushes: u64,
}

/// What a power failure took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes that were on their way.
    pub pending: u64,
    /// Those of which nothing arrived.
    pub lost: u64,
    /// Those of which some sectors did.
    pub torn: u64,
    /// How often the disk had been told to flush.
    pub flushes: u64,
}

impl Platter {
    /// All zeros.
    pub fn new(bytes: usize) -> Platter {
        Platter { durable: vec![0; bytes], current: vec![0; bytes], pending: Vec::new(), flushes: 0 }
    }

    pub fn size(&self) -> usize {
        self.current.len()
    }

    /// As far as the disk goes.
    pub fn read(&self, offset: usize, bytes: usize) -> &[u8] {
        let end = (offset + bytes).min(self.current.len());
        self.current.get(offset..end).unwrap_or_default()
    }

    /// `false` when that is beyond its end.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.current.get_mut(offset..offset + bytes.len()) else { return false };
        place.copy_from_slice(bytes);
        self.pending.push((offset, bytes.to_vec()));
        true
    }

    pub fn flush(&mut self) {
        for (offset, bytes) in self.pending.drain(..) {
            self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        self.flushes += 1;
    }

    /// The power fails: of what wasn't flushed all is lost, nothing, what came late, each write or not, each sector or not,
    /// or these out of order.
    pub fn lose_power(&mut self, dice: &mut Dice) -> Lost {
        let mut pending = std::mem::take(&mut self.pending);
        let mut lost =
            Lost { pending: pending.len() as u64, flushes: std::mem::take(&mut self.flushes), ..Lost::default() };
        let manner = dice.below(6);
        let end = dice.below(pending.len() as u64 + 1) as usize;
        if manner == 5 {
            (1..pending.len()).for_each(|last| pending.swap(last, dice.below(last as u64 + 1) as usize));
        }
        for (position, (offset, bytes)) in pending.iter().enumerate() {
            let kept_in_eight = match manner {
                0 => 0,
                1 => 8,
                2 if position < end => 8,
                2 if position == end => 4,
                2 => 0,
                3 => 8 * dice.below(2),
                _ => [0, 4, 8][dice.below(3) as usize],
            };
            let mut kept = 0;
            for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if dice.below(8) < kept_in_eight {
                    let at = offset + number * SECTOR_BYTES;
                    self.durable[at..at + sector.len()].copy_from_slice(sector);
                    kept += 1;
                }
            }
            lost.lost += u64::from(kept == 0);
            lost.torn += u64::from(kept > 0 && kept < bytes.len().div_ceil(SECTOR_BYTES));
        }
        self.current.copy_from_slice(&self.durable);
        lost
    }
}
