//! The one thread that appends to the packs: it groups what has queued up, and one fdatasync acknowledges it all.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use artimesh_core::model::Digest;
use tokio::sync::{mpsc, oneshot};

use super::account::Part;
use super::batch::Batch;
use super::carry::{Carried, Carry};
use super::derived::Derivation;
use super::effects::Effects;
use super::error::{CommitError, ReadError};
use super::files::{SyncPoint, is_full};
use super::find::RunSet;
use super::index::Checkpoint;
use super::overlay;
use super::pack::record::{HEADER_BYTES, META_BYTES, Meta};
use super::pack::writer::Writer;
use super::pack::{FORMAT, FORMAT_PLAIN, PACK_HEADER_BYTES};
use super::shared::Shared;
use super::staged::Body;

/// A group is closed when it has so many bytes.
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// A group is closed when it has so many batches.
const GROUP_BATCHES_MAX: usize = 1024;

/// What a row of the list of those whose MD5 is to be computed takes at most.
const ROW_BYTES: u64 = 128;

/// A batch on its way, and who waits for it.
pub struct Request {
    /// What to commit.
    pub batch: Batch,
    /// Blobs whose sums were computed here.
    pub confirmed: Vec<(Digest, Meta)>,
    /// Blobs that need not be listed as those whose MD5 is to be computed.
    pub settled: Vec<Digest>,
    /// When it was handed over.
    pub since: Instant,
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
        let short = (self.confirmed.len() + self.dropped()) as u64;
        let listed = self.listed() as u64 * (record + ROW_BYTES);
        rows as u64 + blobs + short * record + listed + 2 * record
    }

    fn records(&self) -> usize {
        let batch = &self.batch;
        2 + batch.rows.len() + batch.blobs.len() + self.dropped() + self.confirmed.len() + self.listed()
    }

    /// How many blobs it removes at most, for good or for a better copy.
    fn dropped(&self) -> usize {
        self.batch.dropped.len() + self.batch.blobs.iter().filter(|blob| blob.replaces.is_some()).count()
    }

    /// How many blobs it lists at most, or takes off the list, of those whose MD5 is to be computed.
    fn listed(&self) -> usize {
        self.settled.len() + self.batch.blobs.iter().filter(|blob| blob.is_unsummed()).count()
    }
}

/// How long a group took.
struct Took {
    write: Duration,
    sync: Duration,
}

/// What the thread is asked to do.
pub enum Work {
    /// A batch.
    Commit(Request),
    /// Records of a pack that is to go.
    Carry(Carry),
}

/// The thread's state.
pub struct Committer {
    shared: Arc<Shared>,
    pack: Writer,
    next_commit: u64,
    is_sealed: bool,
}

impl Committer {
    /// Goes on after commit `last_commit`; `is_sealed` says that the pack has its footer already.
    pub fn new(shared: Arc<Shared>, pack: Writer, last_commit: u64, is_sealed: bool) -> Committer {
        Committer { shared, pack, next_commit: last_commit + 1, is_sealed }
    }

    /// Commits until every sender is gone, then stops the indexer.
    pub fn run(mut self, mut queue: mpsc::Receiver<Work>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = 0;
            let mut requests = Vec::new();
            let mut next = Some(first);
            let mut carry = None;
            while let Some(work) = next.take() {
                match work {
                    Work::Commit(request) => {
                        bytes += request.bytes();
                        requests.push(request);
                    }
                    Work::Carry(repeated) => {
                        carry = Some(repeated);
                        break;
                    }
                }
                if bytes < GROUP_BYTES_MAX && requests.len() < GROUP_BATCHES_MAX {
                    next = queue.try_recv().ok();
                }
            }
            self.commit(requests);
            if let Some(carry) = carry {
                self.carry(carry);
            }
        }
        self.shared.overlay.stop();
    }

    /// Repeats what is still current of an older pack's records, as a commit of its own.
    fn carry(&mut self, carry: Carry) {
        let carried = self.append_carry(&carry);
        // Whoever compacts may have stopped; what was repeated is only there twice.
        let _ = carry.reply.send(carried);
    }

    fn append_carry(&mut self, carry: &Carry) -> Result<Carried, CommitError> {
        self.shared.check()?;
        let bytes = carry.bytes();
        self.make_room(bytes, carry.items.len() + 2, FORMAT)?;
        let shared = self.shared.clone();
        let mut effects = Effects::new(&shared, self.pack.number(), self.pack.group());
        let carried = effects.carry(carry).map_err(|error| self.unreadable(&error))?;
        self.write(effects, bytes, SyncPoint::Carry, &HashSet::new())?;
        Ok(carried)
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
            Ok((number, taken)) => {
                for request in admitted {
                    accept(request, number, &taken);
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

    /// Returns the commit's number and the large files that belong to a blob by it.
    fn append(&mut self, requests: &[Request], bytes: u64) -> Result<(u64, HashSet<u64>), CommitError> {
        let records = 1 + requests.iter().map(Request::records).sum::<usize>();
        let begun = Instant::now();
        let removes = requests.iter().any(|request| request.dropped() > 0);
        self.make_room(bytes, records, if removes { FORMAT } else { FORMAT_PLAIN })?;
        let shared = self.shared.clone();
        let mut effects = Effects::new(&shared, self.pack.number(), self.pack.group());
        for request in requests {
            add(&mut effects, request).map_err(|error| self.unreadable(&error))?;
        }
        let taken = std::mem::take(&mut effects.taken);
        let (number, took) = self.write(effects, bytes, SyncPoint::Commit, &taken)?;
        for request in requests {
            let queued = begun.saturating_duration_since(request.since);
            for account in &request.batch.accounts {
                account.add(Part::Queue, queued);
                account.add(Part::Disk, took.write);
                account.add(Part::Sync, took.sync);
            }
        }
        Ok((number, taken))
    }

    /// Rolls the pack when it is full, sealed, or of an earlier format than what is to be written needs.
    fn make_room(&mut self, bytes: u64, records: usize, format: u32) -> Result<(), CommitError> {
        let is_full = self.pack.is_full(bytes, records, self.shared.options.pack_bytes);
        if self.is_sealed || is_full || self.pack.format() < format {
            self.roll(format).map_err(|error| self.failed("rolling the pack", &error, bytes))?;
        }
        Ok(())
    }

    /// Writes a group, makes it durable and shows it.
    fn write(
        &mut self,
        mut effects: Effects<'_>,
        bytes: u64,
        point: SyncPoint,
        taken: &HashSet<u64>,
    ) -> Result<(u64, Took), CommitError> {
        let number = self.next_commit;
        let wall_ms = (self.shared.options.clock)();
        effects.close(self.shared.counts.blobs.load(Ordering::Relaxed));
        let begun = Instant::now();
        if let Err(error) = self.pack.write(&mut effects.group, number, wall_ms) {
            let cut = self.pack.cut();
            if let Err(error) = cut {
                return Err(self.failed("taking back a commit that found no space", &error, 0));
            }
            return Err(self.failed("writing the pack", &error, bytes));
        }
        let written = Instant::now();
        self.pack.sync(point).map_err(|error| {
            self.shared.fail(format!("fdatasync of the pack: {error}"));
            CommitError::Failed { reason: format!("fdatasync of the pack: {error}") }
        })?;
        let took = Took { write: written - begun, sync: written.elapsed() };
        self.shared.syncs.commit.note(took.sync);
        self.publish(effects, number, taken);
        Ok((number, took))
    }

    fn publish(&mut self, effects: Effects<'_>, number: u64, taken: &HashSet<u64>) {
        let Effects { group, rows, gone, change, .. } = effects;
        let counts = &self.shared.counts;
        counts.pack_bytes.fetch_add(group.bytes(), Ordering::Relaxed);
        let blobs = counts.blobs.load(Ordering::Relaxed).saturating_add_signed(change);
        counts.blobs.store(blobs, Ordering::Relaxed);
        counts.last_commit.store(number, Ordering::Relaxed);
        self.pack.accept(group);
        self.next_commit += 1;
        taken.iter().for_each(|file| self.shared.close_large(*file));
        // Open again until they are removed for good, so that an open after a crash looks at them.
        gone.iter().for_each(|(file, _)| self.shared.reopen_large(*file));
        let (next_file, first_open_file) = self.shared.large_numbers();
        let checkpoint = Checkpoint {
            store_id: self.shared.store_id,
            commit: number,
            pack: self.pack.number(),
            offset: self.pack.end(),
            next_file,
            first_open_file,
            blobs,
            derivation: Derivation::version(self.shared.options.derivation),
            runs: RunSet::default(),
        };
        self.shared.set_mark(&checkpoint);
        self.shared.overlay.publish(overlay::Group { rows, checkpoint: Some(checkpoint) });
        for (file, size_bytes) in gone {
            self.shared.condemn(file, size_bytes);
        }
    }

    fn unreadable(&self, error: &ReadError) -> CommitError {
        let reason = error.to_string();
        self.shared.fail(reason.clone());
        CommitError::Failed { reason }
    }

    fn roll(&mut self, format: u32) -> io::Result<()> {
        if !self.is_sealed {
            let footer_bytes = self.pack.seal(self.next_commit - 1)?;
            self.shared.counts.pack_bytes.fetch_add(footer_bytes, Ordering::Relaxed);
            self.is_sealed = true;
        }
        let header = self.pack.next_header(format.max(self.pack.format()), self.next_commit);
        self.pack = Writer::create(self.shared.files.as_ref(), &self.shared.packs_folder(), header)?;
        self.shared.counts.packs.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.pack_bytes.fetch_add(PACK_HEADER_BYTES as u64, Ordering::Relaxed);
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

fn add(effects: &mut Effects<'_>, request: &Request) -> Result<(), ReadError> {
    request.batch.dropped.iter().try_for_each(|digest| effects.drop_blob(digest))?;
    request.batch.blobs.iter().try_for_each(|staged| effects.put(staged))?;
    request.confirmed.iter().try_for_each(|(digest, meta)| effects.confirm(digest, *meta))?;
    effects.write_rows(&request.batch.rows);
    request.settled.iter().try_for_each(|digest| effects.settle(digest))
}

/// Answers a batch that is durable; its files stay, those of duplicates go.
fn accept(request: Request, number: u64, taken: &HashSet<u64>) {
    for staged in request.batch.blobs {
        if let Body::Large(part) = staged.body
            && taken.contains(&part.number)
        {
            part.keep();
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
