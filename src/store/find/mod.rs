//! Where [derived](super::derived) keys are kept: the newest in memory, all others in sorted files beside the index.
//!
//! # Why
//! An upload brings four such keys, in no order, and sled copies a page for each: together they cost a small upload more than
//! its other rows do, and an index of a million artifacts took twice as long to build. Here a key is written in order, with
//! some ten thousand others, and read and written again a few times while files are merged.
//!
//! The index's checkpoint names the files. So it is written only when there is a new one; what was brought to the index since
//! is brought to it once more by the next open. Nobody misses a file that no checkpoint names.

mod merge;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::error::IndexError;
use super::index::IndexRow;
use super::value::Table;
use merge::{Merge, Source};
use run::{Run, Writer};

/// So many keys are held before they go to a file,
const RECENT_KEYS_MAX: usize = 32_768;
/// or so many bytes of them.
const RECENT_BYTES_MAX: usize = 8 << 20;
/// The most files that there are.
const RUNS_MAX: usize = 12;

/// The files that hold keys, the oldest first, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunSet {
    count: u8,
    numbers: [u32; RUNS_MAX],
}

impl RunSet {
    /// `None` for too many.
    pub fn new(numbers: &[u32]) -> Option<RunSet> {
        let mut set = RunSet { count: u8::try_from(numbers.len()).ok()?, ..RunSet::default() };
        set.numbers.get_mut(..numbers.len())?.copy_from_slice(numbers);
        Some(set)
    }

    /// The numbers.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers[..usize::from(self.count)]
    }
}

/// All derived keys but those that still wait for the index.
pub struct Finder {
    folder: PathBuf,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// Whether each is there; one that isn't covers what the files say.
    recent: BTreeMap<Bytes, bool>,
    recent_bytes: usize,
    /// The oldest first.
    runs: Vec<Arc<Run>>,
    next: u32,
}

/// The folder of the files, in the store's.
pub fn folder(store: &Path) -> PathBuf {
    store.join("index").join("find")
}

impl Finder {
    /// Opens the files that a checkpoint names; others are removed.
    pub fn open(folder: PathBuf, named: &RunSet) -> Result<Finder, IndexError> {
        let runs = named.numbers().iter().map(|number| Run::open(path(&folder, *number), *number).map(Arc::new));
        let runs: Vec<Arc<Run>> = runs.collect::<Result<_, _>>()?;
        let next = named.numbers().iter().max().map_or(0, |last| last + 1);
        let finder = Finder { folder, state: RwLock::new(State { runs, next, ..State::default() }) };
        finder.tidy()?;
        Ok(finder)
    }

    /// Keys come and go, in order.
    pub fn apply<'a>(&self, rows: impl Iterator<Item = &'a IndexRow>) {
        let mut state = self.write();
        for row in rows.filter(|row| row.table == Table::Find) {
            if state.recent.insert(row.key.clone(), row.value.is_some()).is_none() {
                state.recent_bytes += row.key.len();
            }
        }
    }

    /// Whether so much is in memory that it should go to a file.
    pub fn is_full(&self) -> bool {
        let state = self.read();
        state.recent.len() >= RECENT_KEYS_MAX || state.recent_bytes >= RECENT_BYTES_MAX
    }

    /// Whether so much is in memory that it can't wait for a checkpoint.
    pub fn is_overfull(&self) -> bool {
        let state = self.read();
        state.recent.len() >= 4 * RECENT_KEYS_MAX || state.recent_bytes >= 2 * RECENT_BYTES_MAX
    }

    /// Writes what is in memory to a file, together with files that aren't much larger; says which there are now. They are
    /// durable, and those that a checkpoint names are there until [`Finder::tidy`]. One thread only.
    pub fn flush(&self) -> Result<RunSet, IndexError> {
        self.flush_within(free_bytes(&self.folder))
    }

    /// The same, with so much free on the disk: files that become one are there twice for a while, and what is kept free is
    /// meant for others.
    fn flush_within(&self, free_bytes: u64) -> Result<RunSet, IndexError> {
        let (recent, runs, number) = {
            let state = self.read();
            (state.recent.clone(), state.runs.clone(), state.next)
        };
        if recent.is_empty() {
            return set_of(&runs);
        }
        let (first, least) = (first_to_merge(&runs, recent.len() as u64), runs.len().min(RUNS_MAX - 1));
        let bytes: u64 = runs[first..].iter().map(|run| run.size_bytes()).sum();
        let first = if bytes > free_bytes / 2 { least } else { first };
        let run = match self.merge(&runs, first, &recent, number) {
            Err(error) if first < least && !error.is_damage => {
                tracing::warn!(%error, "files of derived keys can't become one: they are left as they are for now");
                self.merge(&runs, least, &recent, number).map(|run| (run, least))
            }
            other => other.map(|run| (run, first)),
        };
        let (run, first) = run?;
        let mut state = self.write();
        state.runs.truncate(first);
        state.runs.push(Arc::new(run));
        state.next = number + 1;
        // Only this thread brings more.
        state.recent.clear();
        state.recent_bytes = 0;
        set_of(&state.runs)
    }

    /// One file of those from `first` on, and of what is in memory.
    fn merge(
        &self,
        runs: &[Arc<Run>],
        first: usize,
        recent: &BTreeMap<Bytes, bool>,
        number: u32,
    ) -> Result<Run, IndexError> {
        let mut sources: Vec<Source> = runs[first..].iter().map(|run| Source::run(run.clone())).collect();
        let written: Vec<(Vec<u8>, bool)> = recent.iter().map(|(key, is_there)| (key.to_vec(), *is_there)).collect();
        sources.push(Source::memory(written));
        let mut writer = self.begin(number)?;
        let mut merge = Merge::new(sources)?;
        while let Some((key, is_there)) = merge.next()? {
            // Behind the oldest file there is nothing that a key which went would cover.
            if is_there || first > 0 {
                writer.push(&key, is_there)?;
            }
        }
        self.end(writer, number)
    }

    /// Writes the one file of an index that is built anew; the keys come in order.
    pub fn build(
        folder: &Path,
        mut keys: impl FnMut() -> Result<Option<Bytes>, IndexError>,
    ) -> Result<RunSet, IndexError> {
        let finder = Finder { folder: folder.to_path_buf(), state: RwLock::default() };
        let mut writer = finder.begin(0)?;
        let mut is_empty = true;
        while let Some(key) = keys()? {
            writer.push(&key, true)?;
            is_empty = false;
        }
        finder.end(writer, 0)?;
        RunSet::new(if is_empty { &[] } else { &[0] }).ok_or_else(too_many)
    }

    /// Removes files that nothing names any more. Call it when a checkpoint that names the others is durable.
    pub fn tidy(&self) -> Result<(), IndexError> {
        let named: Vec<PathBuf> = self.read().runs.iter().map(|run| path(&self.folder, run.number())).collect();
        let listed = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in listed {
            let path = entry?.path();
            if !named.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// What the files take.
    pub fn size_bytes(&self) -> u64 {
        self.read().runs.iter().map(|run| run.size_bytes()).sum()
    }

    /// At most `limit` keys from `from` up to but without `to`, in order; `newer` are those that aren't here yet.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        newer: Vec<(Vec<u8>, bool)>,
    ) -> Result<Vec<Vec<u8>>, IndexError> {
        let (recent, runs) = {
            let state = self.read();
            let range = state.recent.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
            // Those that went may cover as many of the files' keys.
            let mut left = limit;
            let recent = range.take_while(|(_, is_there)| {
                let goes_on = left > 0;
                left = left.saturating_sub(usize::from(**is_there));
                goes_on
            });
            (recent.map(|(key, is_there)| (key.to_vec(), *is_there)).collect(), state.runs.clone())
        };
        let mut sources = Vec::with_capacity(runs.len() + 2);
        for run in runs {
            sources.push(Source::run_from(run, from)?);
        }
        sources.extend([Source::memory(recent), Source::memory(newer)]);
        let mut merge = Merge::new(sources)?;
        let mut keys = Vec::new();
        while keys.len() < limit {
            match merge.next()? {
                Some((key, _)) if key.as_slice() >= to => break,
                Some((key, true)) => keys.push(key),
                Some((_, false)) => {}
                None => break,
            }
        }
        Ok(keys)
    }

    fn begin(&self, number: u32) -> Result<Writer, IndexError> {
        if !self.folder.is_dir() {
            fs::create_dir_all(&self.folder)?;
            // A checkpoint names what is in it: its own name has to last as well.
            self.folder.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())?;
        }
        Ok(Writer::create(path(&self.folder, number))?)
    }

    fn end(&self, writer: Writer, number: u32) -> Result<Run, IndexError> {
        let path = writer.finish()?;
        fs::File::open(&self.folder)?.sync_all()?;
        Run::open(path, number)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is free where the files are; what can't be told is no reason to leave them as they are.
fn free_bytes(folder: &Path) -> u64 {
    let stat = rustix::fs::statvfs(folder).or_else(|_| rustix::fs::statvfs(folder.parent().unwrap_or(folder)));
    stat.map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:010}.run"))
}

fn set_of(runs: &[Arc<Run>]) -> Result<RunSet, IndexError> {
    let numbers: Vec<u32> = runs.iter().map(|run| run.number()).collect();
    RunSet::new(&numbers).ok_or_else(too_many)
}

fn too_many() -> IndexError {
    IndexError { reason: "there are too many files of derived keys".into(), is_damage: true }
}

/// The first of the files that become one with `keys` more: from there on each holds no more than all that come after it. So
/// their sizes double at least, and their number stays small.
fn first_to_merge(runs: &[Arc<Run>], keys: u64) -> usize {
    let (mut first, mut sum) = (runs.len(), keys);
    while first > 0 && (runs[first - 1].keys() <= sum || first >= RUNS_MAX) {
        first -= 1;
        sum += runs[first].keys();
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(changes: &[(u16, bool)]) -> Vec<IndexRow> {
        let row = |(number, is_there): &(u16, bool)| IndexRow {
            table: Table::Find,
            key: key(*number).into(),
            value: is_there.then(Bytes::new),
        };
        changes.iter().map(row).collect()
    }

    /// Keys that share beginnings, of many lengths.
    fn key(number: u16) -> Vec<u8> {
        let text = format!("{:04}", number / 7);
        [text.as_bytes(), &vec![b'x'; usize::from(number % 7) * 40]].concat()
    }

    fn all(finder: &Finder) -> Vec<Vec<u8>> {
        finder.scan(b"", b"~", usize::MAX, Vec::new()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn keys_are_what_a_set_would_hold_whatever_is_flushed_and_opened_again(
            steps in prop::collection::vec((prop::collection::vec((0..2000_u16, prop::bool::weighted(0.7)), 0..400), 0..4_u8), 1..20),
            from in 0..2000_u16,
            limit in 1..50_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("find");
            let mut finder = Finder::open(place.clone(), &RunSet::default()).unwrap();
            let mut expected = std::collections::BTreeSet::new();
            for (changes, then) in steps {
                finder.apply(rows(&changes).iter());
                for (number, is_there) in changes {
                    if is_there { expected.insert(key(number)) } else { expected.remove(&key(number)) };
                }
                if then > 0 {
                    let named = finder.flush().unwrap();
                    prop_assert!(named.numbers().len() <= RUNS_MAX);
                    if then > 1 {
                        finder.tidy().unwrap();
                    }
                    if then > 2 {
                        finder = Finder::open(place.clone(), &named).unwrap();
                        let there = fs::read_dir(&place).map_or(0, Iterator::count);
                        prop_assert_eq!(there, named.numbers().len());
                    }
                }
                prop_assert_eq!(all(&finder), expected.iter().cloned().collect::<Vec<_>>());
                let some = finder.scan(&key(from), b"1", limit, Vec::new()).unwrap();
                let range = expected.range(key(from)..).take_while(|key| key.as_slice() < b"1".as_slice());
                prop_assert_eq!(some, range.take(limit).cloned().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn on_a_full_disk_little_is_written_and_with_room_again_files_become_one() {
        let folder = tempfile::tempdir().unwrap();
        let finder = Finder::open(folder.path().join("find"), &RunSet::default()).unwrap();
        let mut expected = std::collections::BTreeSet::new();
        for round in 0..40_u16 {
            let changes: Vec<(u16, bool)> = (0..50).map(|n| (round * 50 + n, true)).collect();
            finder.apply(rows(&changes).iter());
            expected.extend(changes.iter().map(|(number, _)| key(*number)));
            finder.flush_within(0).unwrap();
            assert_eq!(finder.read().runs.len(), RUNS_MAX.min(usize::from(round) + 1));
        }
        assert_eq!(all(&finder), expected.iter().cloned().collect::<Vec<_>>());
        finder.apply(rows(&[(1, false)]).iter());
        expected.remove(&key(1));
        finder.flush().unwrap();
        assert_eq!(finder.read().runs.len(), 1);
        assert_eq!(all(&finder), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_newer_covers_what_is_here() {
        let folder = tempfile::tempdir().unwrap();
        let finder = Finder::open(folder.path().join("find"), &RunSet::default()).unwrap();
        finder.apply(rows(&[(1, true), (2, true), (3, false)]).iter());
        finder.flush().unwrap();
        finder.apply(rows(&[(1, false)]).iter());
        let newer = vec![(key(1), true), (key(2), false), (key(4), true)];
        assert_eq!(finder.scan(b"", b"~", 10, newer).unwrap(), [key(1), key(4)]);
        assert_eq!(all(&finder), [key(2)]);
    }

    #[test]
    fn damage_is_an_error_and_never_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("find");
        let finder = Finder::open(place.clone(), &RunSet::default()).unwrap();
        let changes: Vec<(u16, bool)> = (0..2000).map(|number| (number, true)).collect();
        finder.apply(rows(&changes).iter());
        let named = finder.flush().unwrap();
        let (file, whole) = (path(&place, 0), all(&finder));
        let bytes = fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(997).chain(bytes.len() - 40..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&file, &damaged).unwrap();
            let found =
                Finder::open(place.clone(), &named).and_then(|finder| finder.scan(b"", b"~", usize::MAX, Vec::new()));
            assert!(found.as_ref().is_ok_and(|keys| *keys == whole) || found.is_err_and(|error| error.is_damage));
        }
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Finder::open(place.clone(), &named).is_err_and(|error| error.is_damage));
        fs::remove_file(&file).unwrap();
        assert!(Finder::open(place, &named).is_err_and(|error| error.is_damage));
    }
}
