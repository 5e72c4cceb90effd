//! One history: a store works, something strikes, it is opened on what that left, and works on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::contents::{Number, POOL};
use super::dice::Dice;
use super::seen::Seen;
use super::steps::{NOTE, Step, note};
use super::tally::Tally;
use super::{drawing, folder};
use crate::store::files::{SimulatedFiles, SyncPoint};
use crate::store::tests::{ID, put, rows};
use crate::store::{IndexKind, IndexRecovery, MemoryIndex, OpenError, Options, Recovery, RowWrite, Store};

/// How often a store is struck in one history.
const BLOWS: u64 = 6;
/// How many outcomes of one blow are looked at, besides the one that the history goes on with.
const OTHERS: u64 = 2;
/// A step in whose middle nothing strikes follows at most so many.
const STEPS_MAX: u64 = 14;
/// Syncs of an open store, those of everyday first.
const POINTS: [SyncPoint; 9] = [
    SyncPoint::Commit,
    SyncPoint::LargeFile,
    SyncPoint::LargeFolder,
    SyncPoint::PackHeader,
    SyncPoint::PackFolder,
    SyncPoint::LargeRemoved,
    SyncPoint::Carry,
    SyncPoint::HollowPack,
    SyncPoint::HollowFolder,
];
/// Syncs of one that is being opened.
const OPENING: [SyncPoint; 7] = [
    SyncPoint::StoreFolder,
    SyncPoint::Subfolders,
    SyncPoint::FoundPackFolder,
    SyncPoint::FoundPack,
    SyncPoint::FoundPack,
    SyncPoint::PackHeader,
    SyncPoint::LargeRemoved,
];

/// What strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Power,
    Kill,
    Sync(SyncPoint),
}

/// A store that runs, on its disk.
struct Machine {
    files: SimulatedFiles,
    index: MemoryIndex,
    store: Store,
}

/// A history in progress.
pub struct History<'a> {
    runtime: &'a Runtime,
    dice: Dice,
    options: Options,
    /// Says what happens.
    is_told: bool,
    /// What was acknowledged, or shown since the last blow.
    certain: Seen,
    rotten: BTreeSet<Number>,
    stamp: u64,
    pub tally: Tally,
    /// Something has struck at all.
    is_struck: bool,
    /// Crash states that were looked at.
    pub states: u64,
}

impl<'a> History<'a> {
    /// The one that the seed says.
    pub fn new(runtime: &'a Runtime, seed: u64, is_told: bool) -> History<'a> {
        let mut dice = Dice(seed);
        let options = Options {
            pack_bytes: [2, 6, 16, 64, 1024][dice.roll(5) as usize] << 10,
            overlay_bytes: [1, 4096, 32 << 20][dice.roll(3) as usize],
            index_linger: Duration::ZERO,
            clock: || 7,
            ..Options::default()
        };
        let (certain, rotten, tally) = (Seen::default(), BTreeSet::new(), Tally::default());
        History { runtime, dice, options, is_told, certain, rotten, stamp: 0, tally, is_struck: false, states: 0 }
    }

    /// Runs it to its end; an error says what was lost, or shown that shouldn't be.
    pub fn run(&mut self, omitted: Option<SyncPoint>) -> Result<(), String> {
        let files = SimulatedFiles::new(std::path::Path::new("/disk"));
        omitted.into_iter().for_each(|point| files.omit(point));
        self.tell(|| format!("packs of {} bytes", self.options.pack_bytes));
        let mut machine = self.found(files, MemoryIndex::with_history(), vec![Seen::default()])?;
        for number in 0..BLOWS {
            let (blow, allowed) = self.work(&machine).map_err(|what| format!("before blow {number}: {what}"))?;
            machine =
                self.outcomes(machine, blow, allowed).map_err(|what| format!("{blow:?}, number {number}: {what}"))?;
        }
        self.runtime.block_on(machine.store.close());
        Ok(())
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{}", what());
        }
    }

    /// Some steps in peace, then some until something strikes; what may be shown behind that.
    fn work(&mut self, machine: &Machine) -> Result<(Blow, Vec<Seen>), String> {
        for _ in 0..self.dice.roll(5) {
            let (step, ran, _) = self.step(machine);
            if let Some(error) = ran {
                return Err(format!("{} in peace: {error}", step.name()));
            }
        }
        let blow = match self.dice.roll(10) {
            0..6 => Blow::Power,
            6..8 => Blow::Kill,
            _ => Blow::Sync(POINTS[self.dice.roll(POINTS.len() as u64) as usize]),
        };
        let seed = self.dice.next();
        match blow {
            Blow::Power | Blow::Kill => machine.files.turn_off_at(machine.files.operations() + self.dice.roll(24)),
            Blow::Sync(point) => machine.files.fail_next_by(point, seed),
        }
        for _ in 0..STEPS_MAX {
            let before = self.certain.clone();
            let (step, error, mut allowed) = self.step(machine);
            let has_struck = machine.files.is_off() || machine.files.failures() > 0;
            let has_failed = machine.store.shared().failure().is_some();
            match error {
                Some(error) if !has_struck => return Err(format!("{}, and nothing had struck: {error}", step.name())),
                Some(_) => self.tally.count(format!("struck in {}", step.name())),
                None if machine.files.is_off() || has_failed => self.tally.count("struck between steps"),
                None => continue,
            }
            if let Blow::Sync(point) = blow {
                self.tally.count(format!("a sync failed: {point:?}"));
                self.reads_on(machine, &allowed)?;
            }
            if !machine.files.is_off() && !has_failed {
                // Only that step failed; the store goes on.
                continue;
            }
            self.tally.count_if(self.certain != before, "struck when some of a step was acknowledged");
            allowed.insert(0, self.certain.clone());
            return Ok((blow, allowed));
        }
        self.tally.count("struck at rest");
        Ok((blow, vec![self.certain.clone()]))
    }

    /// A store that takes no more writes shows what it did before.
    fn reads_on(&self, machine: &Machine, may_show: &[Seen]) -> Result<(), String> {
        let rows = Seen::rows_of(&machine.store)?;
        let is_right = rows == self.certain.rows || may_show.iter().any(|seen| seen.rows == rows);
        if is_right { Ok(()) } else { Err("a store that has failed shows other rows than before".into()) }
    }

    /// Draws a step and does it. What it came to, and what else may be shown if it was struck down.
    fn step(&mut self, machine: &Machine) -> (Step, Option<String>, Vec<Seen>) {
        self.stamp += 1;
        let step = drawing::step(&mut self.dice, &self.certain, &self.rotten, &machine.store, self.stamp);
        self.tell(|| format!("  {}", step.told()));
        if let Step::Scrub(Some(number)) = step {
            self.rotten.insert(number);
        }
        let mut effects = step.effects(&self.certain, &self.rotten);
        let ran = self.runtime.block_on(async {
            let ran = step.run(&machine.store, &machine.files, &self.rotten).await;
            await_idle(machine).await;
            ran
        });
        let acknowledged = if ran.error.is_none() { effects.len() } else { ran.acknowledged };
        let may_follow = effects.split_off(acknowledged);
        if let Some(certain) = effects.pop() {
            self.certain = certain;
        }
        let blobs = &self.certain.blobs;
        self.rotten.retain(|number| blobs.contains_key(number));
        self.tally.count(format!("done: {}", step.name()));
        (step, ran.error, may_follow)
    }

    /// Looks at some of what a blow may have left, and goes on with one.
    fn outcomes(&mut self, machine: Machine, blow: Blow, allowed: Vec<Seen>) -> Result<Machine, String> {
        let Machine { files, index, store } = machine;
        // Whatever the process does from here on, it is gone.
        files.calm();
        files.turn_off_at(files.operations());
        self.runtime.block_on(store.close());
        drop(store);
        for _ in 0..OTHERS {
            let (certain, rotten) = (self.certain.clone(), self.rotten.clone());
            let image = self.left(&files, blow);
            let found = self.found(image, index.clone(), allowed.clone())?;
            self.is_whole(found)?;
            (self.certain, self.rotten) = (certain, rotten);
        }
        let image = self.left(&files, blow);
        self.found(image, index, allowed)
    }

    /// The disk as the next process finds it.
    fn left(&mut self, files: &SimulatedFiles, blow: Blow) -> SimulatedFiles {
        let is_power_lost = match blow {
            Blow::Power => true,
            Blow::Kill => false,
            Blow::Sync(_) => self.dice.roll(2) == 0,
        };
        if is_power_lost {
            return self.without_power(files);
        }
        self.is_struck = true;
        self.tell(|| "the process is killed".into());
        self.tally.count("the process was killed");
        files.after_kill()
    }

    fn without_power(&mut self, files: &SimulatedFiles) -> SimulatedFiles {
        self.is_struck = true;
        let seed = self.dice.next();
        let (after, lost) = files.after_drawn_power_loss(seed);
        self.tell(|| format!("the power fails: {lost:?}"));
        self.tally.count_lost(lost);
        after
    }

    /// The index as it may be found: as it was, empty, or as of some checkpoint, with or without later rows.
    fn stale(&mut self, index: &MemoryIndex) -> MemoryIndex {
        let checkpoints = index.checkpoints() as u64;
        let number = self.dice.roll(checkpoints.max(1)) as usize;
        let last = checkpoints.saturating_sub(1) as usize;
        match self.dice.roll(8) {
            0 => MemoryIndex::with_history(),
            1..3 => index.earlier(number).remembering(index, number + 1),
            3..5 => index.ahead_of(number).remembering(index, number + 1),
            5 => index.earlier(last).remembering(index, last + 1),
            _ => index.ahead_of(last).remembering(index, last + 1),
        }
    }

    /// Opens what is there, which may be struck, too; what it shows is certain from now on.
    fn found(&mut self, files: SimulatedFiles, index: MemoryIndex, allowed: Vec<Seen>) -> Result<Machine, String> {
        let (mut files, mut index, mut allowed) = (files, index, allowed);
        let mut troubles = 0;
        loop {
            index = self.stale(&index);
            if troubles < 4 {
                self.threaten(&files);
            }
            let opened = self.open(&files, &index);
            if files.is_off() || files.failures() > 0 {
                troubles += 1;
                self.tally.count(if files.is_off() {
                    "struck while it opened"
                } else {
                    "a sync failed while it opened"
                });
                if let Ok((store, _)) = opened {
                    files.turn_off_at(files.operations());
                    self.runtime.block_on(store.close());
                }
                let blow = if self.dice.roll(3) == 0 { Blow::Kill } else { Blow::Power };
                files = self.left(&files, blow);
                continue;
            }
            files.calm();
            let (store, recovery) = opened.map_err(|error| format!("it doesn't open: {error}"))?;
            let machine = Machine { files: files.clone(), index: index.clone(), store };
            let seen = self.look(&machine, &allowed)?;
            self.note(&recovery, &seen, &allowed);
            self.certain = seen;
            self.rotten.retain(|number| self.certain.blobs.contains_key(number));
            if self.dice.roll(4) > 0 {
                return Ok(machine);
            }
            // What it showed once is a promise.
            files.turn_off_at(files.operations());
            self.runtime.block_on(machine.store.close());
            self.tally.count("struck when it had just shown something");
            files = self.without_power(&files);
            allowed = vec![self.certain.clone()];
        }
    }

    /// Has something strike while the store opens, now and then.
    fn threaten(&mut self, files: &SimulatedFiles) {
        let seed = self.dice.next();
        match self.dice.roll(8) {
            0 => files.turn_off_at(files.operations() + self.dice.roll(12)),
            1 => files.fail_next_by(OPENING[self.dice.roll(OPENING.len() as u64) as usize], seed),
            _ => {}
        }
    }

    fn open(&self, files: &SimulatedFiles, index: &MemoryIndex) -> Result<(Store, Recovery), OpenError> {
        let options = Options { index: IndexKind::Memory(index.clone()), ..self.options.clone() };
        Store::open(&folder(), options, Arc::new(files.clone()), ID)
    }

    fn look(&mut self, machine: &Machine, allowed: &[Seen]) -> Result<Seen, String> {
        self.states += u64::from(self.is_struck);
        let seen = self.runtime.block_on(async {
            await_idle(machine).await;
            Seen::of(&machine.store, &machine.files, &self.rotten).await
        })?;
        if !allowed.contains(&seen) {
            let against: Vec<String> = allowed.iter().map(|right| seen.against(right)).collect();
            return Err(format!("what it shows {}", against.join("; or ")));
        }
        let stamps = 1..=self.stamp;
        if let Some(text) = machine.store.read_note("cache", &NOTE)
            && !stamps.clone().any(|stamp| note(stamp).as_bytes() == text)
        {
            return Err("a note says what nobody wrote".into());
        }
        let mut garbage = machine.store.garbage();
        let mut digests: Vec<_> = POOL.iter().map(|content| content.digest).collect();
        digests.sort();
        match digests.iter().filter_map(|digest| garbage.find(digest)).find(|entry| !stamps.contains(&entry.since_ms)) {
            Some(entry) => Err(format!("the list of garbage says what nobody wrote: {entry:?}")),
            None => Ok(seen),
        }
    }

    fn note(&mut self, recovery: &Recovery, seen: &Seen, allowed: &[Seen]) {
        self.tell(|| format!("it opens: {recovery:?}"));
        self.tally.count_if(recovery.truncated_bytes > 0, "a torn tail was cut off");
        self.tally.count_if(recovery.removed_files > 0, "files of nobody were removed");
        self.tally.count_if(recovery.resumable_fills > 0, "fills could go on");
        self.tally.count(match recovery.index {
            IndexRecovery::Current => "the index was up to date",
            IndexRecovery::Replayed => "the index was brought up",
            IndexRecovery::Rebuilt { .. } => "the index was built anew",
        });
        if allowed.len() > 1 {
            let is_there = *seen != allowed[0];
            self.tally.count(if is_there { "unanswered, and there" } else { "unanswered, and not there" });
        }
    }

    /// It takes writes, and what it has on its disk is what it shows.
    fn is_whole(&mut self, machine: Machine) -> Result<(), String> {
        let row: RowWrite = put("after", b"the blow");
        let mut seen = self.certain.clone();
        seen.write(&row);
        self.runtime.block_on(async {
            machine.store.commit(rows([row])).await.map_err(|error| format!("it takes no writes: {error}"))?;
            machine.store.close().await;
            Ok::<(), String>(())
        })?;
        seen.is_walked(&machine.files, &self.rotten)
    }
}

/// Waits until the threads of a store have done what they have to, so that what follows is the history's doing alone.
async fn await_idle(machine: &Machine) {
    const DEADLINE: Duration = Duration::from_secs(60);
    let (shared, begun) = (machine.store.shared(), Instant::now());
    while !shared.is_idle() && shared.failure().is_none() && !machine.files.is_off() {
        assert!(begun.elapsed() < DEADLINE, "the store never comes to rest");
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}
