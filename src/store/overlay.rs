//! What is committed but not yet in the index: read first, drained in the background, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use bytes::Bytes;

use super::index::{Checkpoint, IndexRow};
use super::value::Table;

/// Rows on their way to the index.
pub struct Overlay {
    rows: RwLock<Rows>,
    queue: Mutex<Queue>,
    changed: Condvar,
    bytes_max: usize,
    /// How often rows of each table were shown.
    shown: [AtomicU64; Table::ALL.len()],
}

/// The newest values of keys that the index may not have yet.
#[derive(Default)]
pub struct Rows {
    tables: [BTreeMap<Bytes, Pending>; Table::ALL.len()],
}

/// One value that waits; `value` is `None` for a deleted key.
#[derive(Clone)]
pub struct Pending {
    /// The row's own number: a group may write one key twice, and only the last of these may be forgotten.
    number: u64,
    /// What a reader sees.
    pub value: Option<Bytes>,
}

/// What [`Overlay::take`] found.
pub enum Taken {
    /// A group and the number of its first row; the others count up from there.
    Group(u64, Group),
    /// Nothing until the deadline.
    Nothing,
    /// The overlay was stopped, and everything was taken.
    Stopped,
}

/// The rows of one commit.
pub struct Group {
    /// In the order in which they were written.
    pub rows: Vec<IndexRow>,
    /// What holds once they are in the index; `None` in the middle of a rebuild.
    pub checkpoint: Option<Checkpoint>,
}

#[derive(Default)]
struct Queue {
    groups: VecDeque<(u64, Group)>,
    next: u64,
    bytes: usize,
    is_stopping: bool,
    is_failed: bool,
}

impl Overlay {
    /// An empty one that lets at most about `bytes_max` wait.
    pub fn new(bytes_max: usize) -> Overlay {
        Overlay {
            rows: RwLock::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            bytes_max,
            shown: Default::default(),
        }
    }

    /// Shows the rows of a commit and queues them. Blocks while too much is waiting, unless the drain has failed.
    pub fn publish(&self, group: Group) {
        let bytes: usize = group.rows.iter().map(IndexRow::bytes).sum();
        let mut queue = self.queue();
        while queue.bytes > self.bytes_max && !queue.is_failed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let number = queue.next;
        queue.next += group.rows.len() as u64;
        {
            let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            for (number, row) in (number..).zip(&group.rows) {
                let pending = Pending { number, value: row.value.clone() };
                rows.tables[row.table as usize].insert(row.key.clone(), pending);
            }
            // Before the lock is released: who sees the old number may see either value, who sees the new one only the new.
            for row in &group.rows {
                self.shown[row.table as usize].fetch_add(1, Ordering::Release);
            }
        }
        queue.bytes += bytes;
        queue.groups.push_back((number, group));
        drop(queue);
        self.changed.notify_all();
    }

    /// Wakes the drain although there are no rows; `false` when it has ended or soon will.
    pub fn nudge(&self) -> bool {
        let mut queue = self.queue();
        if queue.is_stopping || queue.is_failed {
            return false;
        }
        let number = queue.next;
        queue.groups.push_back((number, Group { rows: Vec::new(), checkpoint: None }));
        drop(queue);
        self.changed.notify_all();
        true
    }

    /// Waits for a group, but not after `deadline`, nor while somebody waits for room.
    pub fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut queue = self.queue();
        loop {
            if let Some((number, group)) = queue.groups.pop_front() {
                return Taken::Group(number, group);
            }
            if queue.is_stopping {
                return Taken::Stopped;
            }
            queue = match deadline {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || queue.bytes > self.bytes_max {
                        return Taken::Nothing;
                    }
                    self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Rows that the index has now, each with its number.
    pub fn forget(&self, rows: &[(u64, IndexRow)]) {
        {
            let mut shown = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            for (number, row) in rows {
                let table = &mut shown.tables[row.table as usize];
                if table.get(&row.key).is_some_and(|pending| pending.number == *number) {
                    table.remove(&row.key);
                }
            }
        }
        let bytes: usize = rows.iter().map(|(_, row)| row.bytes()).sum();
        self.queue().bytes -= bytes;
        self.changed.notify_all();
    }

    /// Nothing more will be published: the drain may end when it is empty.
    pub fn stop(&self) {
        self.queue().is_stopping = true;
        self.changed.notify_all();
    }

    /// The drain has ended with an error: nobody may wait for it.
    pub fn fail(&self) {
        self.queue().is_failed = true;
        self.changed.notify_all();
    }

    /// How often rows of a table were shown: what was read after this number was, and as long as it is the same, is current.
    pub fn changes(&self, table: Table) -> u64 {
        self.shown[table as usize].load(Ordering::Acquire)
    }

    /// How many bytes are waiting.
    pub fn bytes(&self) -> usize {
        self.queue().bytes
    }

    /// What waits, for reading; nothing is published or forgotten while this is held.
    pub fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// What waits for a key.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Pending> {
        self.tables[table as usize].get(key)
    }

    /// What waits from `from` up to but without `to`.
    pub fn range<'a>(
        &'a self,
        table: Table,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Pending)> {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        self.tables[table as usize].range::<[u8], _>(bounds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(value: &'static str) -> IndexRow {
        IndexRow {
            table: Table::Blobs,
            key: Bytes::from_static(b"key"),
            value: Some(Bytes::from_static(value.as_bytes())),
        }
    }

    #[test]
    fn a_key_that_one_group_writes_twice_shows_the_last_value_while_the_first_is_indexed() {
        let overlay = Overlay::new(1 << 20);
        overlay.publish(Group { rows: vec![row("old"), row("new")], checkpoint: None });
        let Taken::Group(first, group) = overlay.take(Some(Instant::now() + Duration::from_secs(60))) else {
            panic!("a group was published");
        };
        let numbered: Vec<(u64, IndexRow)> = (first..).zip(group.rows).collect();
        overlay.forget(&numbered[..1]);
        let shown = overlay.rows().get(Table::Blobs, b"key").and_then(|pending| pending.value.clone());
        assert_eq!(shown, Some(Bytes::from_static(b"new")), "the index has the old value so far");
        overlay.forget(&numbered[1..]);
        assert!(overlay.rows().get(Table::Blobs, b"key").is_none());
        assert_eq!(overlay.bytes(), 0);
    }

    #[test]
    fn a_table_counts_its_own_changes() {
        let overlay = Overlay::new(1 << 20);
        assert_eq!(overlay.changes(Table::Blobs), 0);
        overlay.publish(Group { rows: vec![row("old"), row("new")], checkpoint: None });
        assert_eq!((overlay.changes(Table::Blobs), overlay.changes(Table::Catalog)), (2, 0));
    }
}
