//! Power failures and failing syncs whose outcome a seed draws: any part of what wasn't synced may be on the disk.
//!
//! A device writes whole sectors, each or not, in any order. A sector carries what memory had in it when it was written, so a
//! write that survives brings along what an earlier one did to the same sector.

use super::{Change, Dice, Inode, SECTOR_BYTES, SimulatedFiles};

/// What a power failure took, by how it shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes of which nothing is on the disk.
    pub writes: u64,
    /// Writes of which some sectors are.
    pub torn: u64,
    /// Writes that are on the disk although an earlier one to the same file isn't, or not as a whole.
    pub overtaken: u64,
    /// Files that are longer than what is in them.
    pub stretched: u64,
    /// Changes of names that aren't on the disk.
    pub names: u64,
    /// Changes of names that are although an earlier one isn't.
    pub names_overtaken: u64,
}

/// How unsynced writes to one file fare.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Lost,
    Kept,
    /// Those up to a moment, the next one torn.
    Until(usize),
    /// Each or not.
    Each,
    /// Each, or not, or some of its sectors.
    Sectors,
    /// The same, in another order.
    Shuffled,
}

impl Manner {
    fn draw(dice: &mut Dice, changes: usize) -> Manner {
        match dice.roll(6) {
            0 => Manner::Lost,
            1 => Manner::Kept,
            2 => Manner::Until(dice.roll(changes as u64 + 1) as usize),
            3 => Manner::Each,
            4 => Manner::Sectors,
            _ => Manner::Shuffled,
        }
    }

    fn fate(self, position: usize, dice: &mut Dice) -> Fate {
        match self {
            Manner::Lost => Fate::Lost,
            Manner::Kept => Fate::Kept,
            Manner::Until(end) if position == end => Fate::Torn,
            Manner::Until(end) if position > end => Fate::Lost,
            Manner::Until(_) => Fate::Kept,
            Manner::Each => [Fate::Lost, Fate::Kept][dice.roll(2) as usize],
            Manner::Sectors | Manner::Shuffled => [Fate::Lost, Fate::Kept, Fate::Torn][dice.roll(3) as usize],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    Torn,
}

impl SimulatedFiles {
    /// The disk after power failed; the seed decides what of the unsynced is lost, torn and reordered, and that is told.
    pub fn after_drawn_power_loss(&self, seed: u64) -> (SimulatedFiles, Lost) {
        let disk = self.disk();
        let (mut dice, mut lost) = (Dice(seed), Lost::default());
        let mut names = disk.durable_names.clone();
        let manner = Manner::draw(&mut dice, disk.pending_names.len());
        // Now and then the older ones are those that are missing.
        let is_turned = dice.roll(3) == 0;
        for (position, change) in disk.pending_names.iter().enumerate() {
            // No name is there by half.
            let is_kept = match manner.fate(position, &mut dice) {
                Fate::Torn => dice.roll(2) == 0,
                Fate::Kept => !(is_turned && matches!(manner, Manner::Until(_))),
                Fate::Lost => is_turned && matches!(manner, Manner::Until(_)),
            };
            if is_kept {
                change.apply(&mut names);
                lost.names_overtaken += u64::from(lost.names > 0);
            } else {
                lost.names += 1;
            }
        }
        // As often as not all files fare alike.
        let common = (dice.roll(2) == 0).then(|| Manner::draw(&mut dice, 4));
        let mut inodes = Vec::with_capacity(disk.inodes.len());
        for inode in &disk.inodes {
            let manner = common.unwrap_or_else(|| Manner::draw(&mut dice, inode.pending.len()));
            inodes.push(Inode::at_rest(inode.drawn(manner, &mut dice, &mut lost)));
        }
        (disk.started_again(names, inodes), lost)
    }
}

impl Inode {
    fn drawn(&self, manner: Manner, dice: &mut Dice, lost: &mut Lost) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut order: Vec<usize> = (0..self.pending.len()).collect();
        if manner == Manner::Shuffled {
            (1..order.len()).for_each(|last| order.swap(last, dice.roll(last as u64 + 1) as usize));
        }
        let mut fates = vec![Fate::Lost; order.len()];
        for position in order {
            fates[position] = self.pending[position].survive(manner.fate(position, dice), &mut bytes, dice);
        }
        let is_write = |position: &usize| matches!(self.pending[*position], Change::Write { .. });
        let first_damaged = fates.iter().position(|fate| *fate != Fate::Kept).unwrap_or(fates.len());
        for position in (0..fates.len()).filter(is_write) {
            match fates[position] {
                Fate::Lost => lost.writes += 1,
                Fate::Torn => lost.torn += 1,
                Fate::Kept => lost.overtaken += u64::from(position > first_damaged),
            }
        }
        let longest = self.pending.iter().map(Change::end).max().unwrap_or(0);
        if longest > bytes.len() && dice.roll(4) == 0 {
            bytes.resize(longest, 0);
            lost.stretched += 1;
        }
        bytes
    }

    /// A sync of this file fails: what it should have written counts as written. The seed decides what of it is.
    pub(super) fn fail(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            let mut dice = Dice(seed);
            let manner = Manner::draw(&mut dice, self.pending.len());
            self.durable = self.drawn(manner, &mut dice, &mut Lost::default());
            if dice.roll(4) == 0 {
                // Some file systems drop from memory what they couldn't write.
                self.bytes = self.durable.clone();
            }
        }
        self.pending.clear();
    }
}

impl Change {
    /// Where the file ends behind it, at least.
    fn end(&self) -> usize {
        match self {
            Change::Write { start, sectors, .. } => start + sectors.len(),
            Change::Resize(size) => *size,
        }
    }

    /// Applies what survives, and says what that was.
    fn survive(&self, fate: Fate, file: &mut Vec<u8>, dice: &mut Dice) -> Fate {
        match (fate, self) {
            (Fate::Lost, _) => return Fate::Lost,
            (Fate::Kept, _) => self.apply(file),
            (Fate::Torn, Change::Resize(_)) if dice.roll(2) == 0 => return Fate::Lost,
            (Fate::Torn, Change::Resize(_)) => self.apply(file),
            (Fate::Torn, Change::Write { start, sectors, .. }) => {
                let mut kept = 0;
                for (number, sector) in sectors.chunks(SECTOR_BYTES).enumerate() {
                    if dice.roll(2) == 0 {
                        super::put(file, start + number * SECTOR_BYTES, sector);
                        kept += 1;
                    }
                }
                return match kept {
                    0 => Fate::Lost,
                    _ if kept == sectors.len().div_ceil(SECTOR_BYTES) => Fate::Kept,
                    _ => Fate::Torn,
                };
            }
        }
        Fate::Kept
    }
}
