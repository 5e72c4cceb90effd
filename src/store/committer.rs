//! The one thread that appends to the packs: it groups what has queued up, and one fdatasync acknowledges it all.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::{Batch, RowWrite};
use super::error::CommitError;
use super::files::is_full;
use super::index::{Checkpoint, IndexRow};
use super::overlay;
use super::pack::record::{HEADER_BYTES, Large, META_BYTES, Meta, encode_row, kind};
use super::pack::writer::{Group, Writer};
use super::shared::Shared;
use super::staged::{Body, Staged};
use super::value::{BlobEntry, Extent, INLINE_BYTES_MAX, Place, RowValue, Table};

/// A group is closed when it has so many bytes.
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// A group is closed when it has so many batches.
const GROUP_BATCHES_MAX: usize = 1024;
/// A record of rows is closed when it has so many bytes.
const ROWS_BYTES: usize = 256 << 10;

/// A batch on its way, and who waits for it.
pub struct Request {
    /// What to commit.
    pub batch: Batch,
    /// Blobs whose sums were computed here.
    pub confirmed: Vec<(Digest, Meta)>,
    /// Gets the number of the commit.
    pub reply: oneshot::Sender<Result<u64, CommitError>>,
}

impl Request {
    /// An upper bound of what it writes to the pack.
    fn bytes(&self) -> u64 {
        let record = (HEADER_BYTES + META_BYTES + 16) as u64;
        let rows: usize =
            self.batch.rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len) + 64).sum();
        let blobs: u64 = self.batch.blobs.iter().map(|blob| record + blob.memory_bytes()).sum();
        rows as u64 + blobs + self.confirmed.len() as u64 * record + 2 * record
    }

    fn records(&self) -> usize {
        2 + self.batch.rows.len() + self.batch.blobs.len() + self.confirmed.len()
    }
}

/// The thread's state.
pub struct Committer {
    shared: Arc<Shared>,
    pack: Writer,
    next_commit: u64,
    is_sealed: bool,
}

/// What one group does once it is durable.
#[derive(Default)]
struct Effects {
    rows: Vec<IndexRow>,
    files: Vec<u64>,
    seen: HashSet<Digest>,
    blobs: u64,
}

impl Committer {
    /// Goes on after commit `last_commit`; `is_sealed` says that the pack has its footer already.
    pub fn new(shared: Arc<Shared>, pack: Writer, last_commit: u64, is_sealed: bool) -> Committer {
        Committer { shared, pack, next_commit: last_commit + 1, is_sealed }
    }

    /// Commits until every sender is gone, then stops the indexer.
    pub fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.bytes();
            let mut requests = vec![first];
            while bytes < GROUP_BYTES_MAX && requests.len() < GROUP_BATCHES_MAX {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.bytes();
                requests.push(next);
            }
            self.commit(requests);
        }
        self.shared.overlay.stop();
    }

    /// Commits what there is room for as one group; answers everybody.
    fn commit(&mut self, requests: Vec<Request>) {
        let mut admitted = Vec::with_capacity(requests.len());
        let mut bytes = 0;
        for request in requests {
            let room = self.shared.check().and_then(|()| {
                let needed_bytes = bytes + request.bytes();
                self.shared.check_room(needed_bytes, request.batch.priority)
            });
            match room {
                Ok(()) => {
                    bytes += request.bytes();
                    admitted.push(request);
                }
                Err(refusal) => refuse(request, refusal),
            }
        }
        if admitted.is_empty() {
            return;
        }
        match self.append(&admitted, bytes) {
            Ok(number) => {
                for request in admitted {
                    accept(&self.shared, request, number);
                }
            }
            Err(CommitError::NoSpace { .. }) if admitted.len() > 1 => {
                for request in admitted {
                    self.commit(vec![request]);
                }
            }
            Err(error) => {
                for request in admitted {
                    refuse(request, error.clone());
                }
            }
        }
    }

    fn append(&mut self, requests: &[Request], bytes: u64) -> Result<u64, CommitError> {
        let records = requests.iter().map(Request::records).sum();
        if self.is_sealed || self.pack.is_full(bytes, records, self.shared.options.pack_bytes) {
            self.roll().map_err(|error| self.failed("rolling the pack", &error, bytes))?;
        }
        let mut group = self.pack.group();
        let mut effects = Effects::default();
        for request in requests {
            self.add(&mut group, &mut effects, request)?;
        }
        let number = self.next_commit;
        let wall_ms = (self.shared.options.clock)();
        if let Err(error) = self.pack.write(&mut group, number, wall_ms) {
            let cut = self.pack.cut();
            if let Err(error) = cut {
                return Err(self.failed("taking back a commit that found no space", &error, 0));
            }
            return Err(self.failed("writing the pack", &error, bytes));
        }
        self.pack.sync().map_err(|error| {
            self.shared.fail(format!("fdatasync of the pack: {error}"));
            CommitError::Failed { reason: format!("fdatasync of the pack: {error}") }
        })?;
        self.publish(group, effects, number);
        Ok(number)
    }

    fn publish(&mut self, group: Group, effects: Effects, number: u64) {
        let counts = &self.shared.counts;
        counts.pack_bytes.fetch_add(group.bytes(), Ordering::Relaxed);
        counts.blobs.fetch_add(effects.blobs, Ordering::Relaxed);
        counts.last_commit.store(number, Ordering::Relaxed);
        self.pack.accept(group);
        self.next_commit += 1;
        effects.files.iter().for_each(|file| self.shared.close_large(*file));
        let (next_file, first_open_file) = self.shared.large_numbers();
        let checkpoint = Checkpoint {
            store_id: self.shared.store_id,
            commit: number,
            pack: self.pack.number(),
            offset: self.pack.end(),
            next_file,
            first_open_file,
            blobs: counts.blobs.load(Ordering::Relaxed),
        };
        self.shared.set_mark(&checkpoint);
        self.shared.overlay.publish(overlay::Group { rows: effects.rows, checkpoint: Some(checkpoint) });
    }

    fn add(&self, group: &mut Group, effects: &mut Effects, request: &Request) -> Result<(), CommitError> {
        for staged in &request.batch.blobs {
            self.add_blob(group, effects, staged)?;
        }
        for (digest, meta) in &request.confirmed {
            self.add_confirmed(group, effects, digest, *meta)?;
        }
        let mut rows = request.batch.rows.as_slice();
        while !rows.is_empty() {
            rows = add_rows(group, effects, rows, self.pack.number());
        }
        Ok(())
    }

    fn add_blob(&self, group: &mut Group, effects: &mut Effects, staged: &Staged) -> Result<(), CommitError> {
        if !effects.seen.insert(staged.digest) {
            return Ok(());
        }
        if let Some(known) = self.known(&staged.digest)? {
            let is_news = known.meta.assurance == Assurance::Claimed && staged.assurance() == Assurance::Confirmed;
            return if is_news { self.add_confirmed(group, effects, &staged.digest, staged.meta) } else { Ok(()) };
        }
        let place = match &staged.body {
            Body::Memory(pieces) => {
                let mut payload = vec![Bytes::copy_from_slice(&staged.meta.encode())];
                payload.extend(pieces.iter().cloned());
                let payload_at = group.push(kind::BLOB, &staged.digest, &payload);
                let offset = payload_at + META_BYTES as u64;
                place_small(pieces, Extent { pack: self.pack.number(), offset, bytes: staged.size_bytes as u32 })
            }
            Body::Large(part) => {
                let large = Large { meta: staged.meta, size_bytes: staged.size_bytes, file: part.number };
                group.push(kind::LARGE, &staged.digest, &[large.encode().into()]);
                effects.files.push(part.number);
                Place::Large { file: part.number, size_bytes: staged.size_bytes }
            }
        };
        effects.blobs += 1;
        effects.rows.push(blob_row(&staged.digest, &BlobEntry { meta: staged.meta, place }));
        Ok(())
    }

    fn add_confirmed(
        &self,
        group: &mut Group,
        effects: &mut Effects,
        digest: &Digest,
        meta: Meta,
    ) -> Result<(), CommitError> {
        if let Some(known) = self.known(digest)? {
            group.push(kind::CONFIRMED, digest, &[Bytes::copy_from_slice(&meta.encode())]);
            effects.rows.push(blob_row(digest, &BlobEntry { meta, place: known.place }));
        }
        Ok(())
    }

    fn known(&self, digest: &Digest) -> Result<Option<BlobEntry>, CommitError> {
        self.shared.blob(digest).map_err(|error| {
            let reason = error.to_string();
            self.shared.fail(reason.clone());
            CommitError::Failed { reason }
        })
    }

    fn roll(&mut self) -> io::Result<()> {
        if !self.is_sealed {
            let footer_bytes = self.pack.seal(self.next_commit - 1)?;
            self.shared.counts.pack_bytes.fetch_add(footer_bytes, Ordering::Relaxed);
            self.is_sealed = true;
        }
        let header = Writer::header(self.shared.store_id, self.pack.number() + 1, self.next_commit);
        self.pack = Writer::create(self.shared.files.as_ref(), &self.shared.packs_folder(), header)?;
        self.shared.counts.packs.fetch_add(1, Ordering::Relaxed);
        self.is_sealed = false;
        Ok(())
    }

    /// A full disk is the caller's problem, anything else the store's.
    fn failed(&self, doing: &str, error: &io::Error, needed_bytes: u64) -> CommitError {
        if is_full(error) && needed_bytes > 0 {
            return CommitError::NoSpace { needed_bytes, free_bytes: 0 };
        }
        let reason = format!("{doing}: {error}");
        self.shared.fail(reason.clone());
        CommitError::Failed { reason }
    }
}

/// The place of a blob in a pack: in the index as well when it is tiny.
pub fn place_small(pieces: &[Bytes], extent: Extent) -> Place {
    if extent.bytes as usize > INLINE_BYTES_MAX {
        return Place::Pack(extent);
    }
    Place::Inline(pieces.concat().into())
}

/// The index row of a blob.
pub fn blob_row(digest: &Digest, entry: &BlobEntry) -> IndexRow {
    IndexRow { table: Table::Blobs, key: Bytes::copy_from_slice(&digest.0), value: Some(entry.encode()) }
}

/// Puts as many rows as fit into one record; returns the others.
fn add_rows<'a>(group: &mut Group, effects: &mut Effects, rows: &'a [RowWrite], pack: u64) -> &'a [RowWrite] {
    let mut payload = Vec::new();
    let mut values_at = Vec::new();
    let mut count = 0;
    while count < rows.len() && payload.len() < ROWS_BYTES {
        encode_row(&rows[count], &mut payload);
        values_at.push(payload.len() - rows[count].value.as_ref().map_or(0, Vec::len));
        count += 1;
    }
    let payload_at = group.push(kind::ROWS, &Digest::ZERO, &[payload.into()]);
    for (row, value_at) in rows.iter().zip(values_at) {
        let value = row.value.as_ref().map(|value| RowValue::new(value, pack, payload_at + value_at as u64).encode());
        effects.rows.push(IndexRow { table: row.tree.into(), key: Bytes::copy_from_slice(&row.key), value });
    }
    &rows[count..]
}

/// Answers a batch that is durable; its files stay, those of duplicates go.
fn accept(shared: &Shared, request: Request, number: u64) {
    for staged in request.batch.blobs {
        if let Body::Large(part) = staged.body {
            let is_duplicate = match shared.blob(&staged.digest) {
                Ok(Some(known)) => !matches!(known.place, Place::Large { file, .. } if file == part.number),
                Ok(None) | Err(_) => false,
            };
            if !is_duplicate {
                part.keep();
            }
        }
    }
    // Whoever asked may have stopped waiting; the batch is durable all the same.
    let _ = request.reply.send(Ok(number));
}

/// Answers a batch that wasn't committed. When the store has failed its files stay, for the commit may yet be found
/// on the disk; the next start removes them if it isn't.
fn refuse(request: Request, error: CommitError) {
    if matches!(error, CommitError::Failed { .. }) {
        for staged in &request.batch.blobs {
            if let Body::Large(part) = &staged.body {
                part.keep();
            }
        }
    }
    // As above.
    let _ = request.reply.send(Err(error));
}
