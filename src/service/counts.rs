//! How often files were downloaded here: for statistics, not for accounts.
//!
//! Counts are this site's own and are in nobody's log. They are noted now and then beside the packs, so a crash loses some
//! minutes of them; and only the files that were asked for last are known, [`FILES_MAX`] of them.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use artimesh_core::access::Principal;
use artimesh_core::clock::Timestamp;

use super::artifacts::Item;
use super::handle::Service;
use crate::store::Store;

/// So many files have counts; when there are more, those that were asked for longest ago are forgotten.
const FILES_MAX: usize = 1 << 18;
/// So many names of readers are kept.
const NAMES_MAX: usize = 1000;
/// The longest name.
const NAME_BYTES_MAX: usize = 255;
/// How often counts are noted.
const INTERVAL: Duration = Duration::from_secs(60);

const NOTE: &str = "downloads";
const MAGIC: &[u8; 8] = b"amdown1\n";
/// Key, count, time, and the reader's name.
const ROW_BYTES: usize = 34;

/// What is known of one file's downloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloads {
    /// How many there were.
    pub count: u64,
    /// The last of them.
    pub last: Timestamp,
    /// By whom.
    pub by: String,
}

/// Names a file: what its path is called here says no more than that.
type Key = [u8; 16];

/// All counts.
#[derive(Debug, Default)]
pub struct DownloadCounts(Mutex<Counts>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    files: HashMap<Key, Counted>,
    names: Vec<String>,
    is_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    count: u64,
    last: Timestamp,
    /// Of its name; behind the last where it isn't kept.
    by: u16,
}

fn key(item: &Item) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key("artimesh/downloads/v1");
    hasher.update(&item.space.key()).update(item.path.as_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

impl Counts {
    fn count(&mut self, key: Key, now: Timestamp, by: &str) {
        let by = self.names.iter().position(|name| name == by).unwrap_or_else(|| {
            if self.names.len() < NAMES_MAX && by.len() <= NAME_BYTES_MAX {
                self.names.push(by.to_owned());
                self.names.len() - 1
            } else {
                NAMES_MAX
            }
        });
        let count = self.files.get(&key).map_or(0, |counted| counted.count);
        self.files.insert(key, Counted { count: count + 1, last: now, by: by as u16 });
        self.is_changed = true;
        if self.files.len() > FILES_MAX {
            self.forget_some();
        }
    }

    /// Forgets a quarter of the files, so that this isn't done often.
    fn forget_some(&mut self) {
        let mut times: Vec<Timestamp> = self.files.values().map(|counted| counted.last).collect();
        let (_, bound, _) = times.select_nth_unstable(FILES_MAX / 4);
        let bound = *bound;
        self.files.retain(|_, counted| counted.last > bound);
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.files.len() * ROW_BYTES + 1024);
        bytes.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        for name in &self.names {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
        }
        for (key, counted) in &self.files {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&counted.count.to_le_bytes());
            bytes.extend_from_slice(&counted.last.0.to_le_bytes());
            bytes.extend_from_slice(&counted.by.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Counts> {
        let (count, mut rest) = bytes.split_first_chunk()?;
        let mut names = Vec::new();
        for _ in 0..u32::from_le_bytes(*count).min(NAMES_MAX as u32) {
            let (length, more) = rest.split_first()?;
            let (name, more) = more.split_at_checked(usize::from(*length))?;
            names.push(String::from_utf8(name.to_vec()).ok()?);
            rest = more;
        }
        let (rows, rest) = rest.as_chunks::<ROW_BYTES>();
        let file = |row: &[u8; ROW_BYTES]| {
            let (key, numbers) = row.split_first_chunk()?;
            let (count, numbers) = numbers.split_first_chunk()?;
            let (last, by) = numbers.split_first_chunk()?;
            let (count, last) = (u64::from_le_bytes(*count), Timestamp(u64::from_le_bytes(*last)));
            Some((*key, Counted { count, last, by: u16::from_le_bytes(by.try_into().ok()?) }))
        };
        let files = rows.iter().take(FILES_MAX).map(file).collect::<Option<_>>()?;
        rest.is_empty().then_some(Counts { files, names, is_changed: false })
    }
}

impl DownloadCounts {
    /// As they were noted; none if that can't be read. Blocks.
    pub fn read(store: &Store) -> DownloadCounts {
        let noted = store.read_note(NOTE, MAGIC).and_then(|bytes| Counts::decode(&bytes));
        DownloadCounts(Mutex::new(noted.unwrap_or_default()))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes them if there are new ones. Blocks.
    fn note(&self, store: &Store) -> std::io::Result<()> {
        let bytes = {
            let mut counts = self.lock();
            if !std::mem::take(&mut counts.is_changed) {
                return Ok(());
            }
            counts.encode()
        };
        let mut note = store.write_note(NOTE, MAGIC)?;
        note.write_all(&bytes)?;
        note.finish()
    }
}

impl Service {
    /// Somebody begins to download a file.
    pub fn count_download(&self, principal: &Principal, item: &Item) {
        self.download_counts().lock().count(key(item), self.now(), principal.name());
    }

    /// What is known of a file's downloads at this site.
    pub fn downloads(&self, item: &Item) -> Option<Downloads> {
        let counts = self.download_counts().lock();
        let Counted { count, last, by } = *counts.files.get(&key(item))?;
        Some(Downloads { count, last, by: counts.names.get(usize::from(by)).cloned().unwrap_or_default() })
    }

    /// Notes the counts now and then, for ever.
    pub async fn note_downloads(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.note_downloads_now().await;
        }
    }

    /// Notes the counts, if there are new ones.
    pub async fn note_downloads_now(&self) {
        let service = self.clone();
        let noted = tokio::task::spawn_blocking(move || service.download_counts().note(service.engine().store())).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(%error, "how often files were downloaded can't be noted: after a crash it is forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(files: u64) -> Counts {
        let mut counts = Counts::default();
        for number in 0..files {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&number.to_le_bytes());
            counts.count(key, Timestamp(number), if number % 2 == 0 { "eve" } else { "bob" });
        }
        counts
    }

    #[test]
    fn what_was_noted_is_what_is_read() {
        let mut few = counts(100);
        few.is_changed = false;
        assert_eq!(Counts::decode(&few.encode()), Some(few));
        let bytes = counts(3).encode();
        for cut in 0..bytes.len() {
            assert!(Counts::decode(&bytes[..cut]).is_none_or(|counts| counts.files.len() < 3));
        }
    }

    #[test]
    fn those_that_were_asked_for_last_are_known() {
        let many = counts(FILES_MAX as u64 + 10);
        assert!(many.files.len() <= FILES_MAX);
        let first = many.files.values().map(|counted| counted.last).min().unwrap();
        assert!(first > Timestamp(FILES_MAX as u64 / 5) && many.files.len() > FILES_MAX / 2);
    }
}
