//! One collection, in a thread that may block.

use std::io;
use std::sync::{Arc, PoisonError};

use artimesh_core::model::Digest;
use tokio::sync::oneshot;

use super::names::Names;
use super::roots::{self, Roots};
use super::{CollectError, Collected, Collection};
use crate::engine::journal::{self, Line};
use crate::engine::mind::Message;
use crate::engine::removal::DropCause;
use crate::engine::shared::Shared;
use crate::store::{CommitError, CompactError, Compacted, Compaction, Garbage, GarbageReader, GarbageWriter};

/// So many digests in use are held at once.
const NAMES_MAX: usize = 4 << 20;
/// So many stored blobs are looked at at once.
const PAGE_BLOBS: usize = 1024;
/// So many blobs are removed in one commit.
const REMOVED_TOGETHER: usize = 256;

/// A collection in progress. Dropping it tells the mind that it is over.
pub struct Collector<'a> {
    shared: &'a Arc<Shared>,
    collection: Collection,
    roots: Vec<Box<dyn Roots>>,
    done: Collected,
    names_max: usize,
}

/// What a collection writes while it sweeps.
struct Sweep {
    before: GarbageReader,
    after: Option<GarbageWriter>,
    /// Old enough to go: removed together.
    ripe: Vec<(Garbage, u64)>,
}

impl<'a> Collector<'a> {
    pub fn new(shared: &'a Arc<Shared>, collection: Collection) -> Collector<'a> {
        let done = Collected { is_dry: collection.is_dry, ..Collected::default() };
        Collector { shared, collection, roots: roots::all(), done, names_max: NAMES_MAX }
    }

    /// With room for fewer digests in use, so that there are more passes.
    #[cfg(test)]
    pub fn with_room(mut self, names_max: usize) -> Collector<'a> {
        self.names_max = names_max;
        self
    }

    pub fn run(mut self) -> Result<Collected, CollectError> {
        self.tell(Message::CollectionBegins)?;
        let swept = self.sweep_all();
        // Nobody waits for the mind to forget what it noted; if it is gone, there is nothing to forget.
        let _ = self.shared.inbox.blocking_send(Message::CollectionEnds);
        swept?;
        let compaction = Compaction { is_dry: self.collection.is_dry, ..self.collection.compaction };
        self.done.compacted = match self.shared.store.compact_here(compaction) {
            // Somebody else does it already.
            Err(CompactError::Busy) => Compacted::default(),
            Err(CompactError::Commit(CommitError::Closed)) => return Err(CollectError::Stopping),
            Err(CompactError::Commit(error @ CommitError::NoSpace { .. })) => {
                tracing::warn!(%error, "no space to compact packs");
                Compacted::default()
            }
            other => other?,
        };
        self.done.ended_ms = self.shared.clock.now().0;
        Ok(self.done)
    }

    fn sweep_all(&mut self) -> Result<(), CollectError> {
        let store = &self.shared.store;
        let is_dry = self.collection.is_dry;
        let mut sweep = Sweep {
            before: store.garbage(),
            after: if is_dry { None } else { unless_full("the list of garbage", store.write_garbage()) },
            ripe: Vec::new(),
        };
        let mut from = Some(0);
        while let Some(start) = from {
            let names = self.mark(start)?;
            self.sweep(&names, start, &mut sweep)?;
            self.sweep_fills(&names)?;
            from = names.next();
            self.done.passes += 1;
        }
        self.remove(&mut sweep)?;
        sweep.after.and_then(|after| unless_full("the list of garbage", after.finish()));
        Ok(())
    }

    /// What is in use, from a prefix on.
    fn mark(&self, start: u64) -> Result<Names, CollectError> {
        let mut names = Names::new(start, self.names_max);
        for (kind, roots) in self.roots.iter().enumerate() {
            let mut see = |digest: &Digest| {
                names.add(digest, kind);
                !self.shared.stop.is_cancelled()
            };
            roots.visit(&self.shared.store, &mut see)?;
        }
        names.settle();
        Ok(names)
    }

    /// Goes through what is stored in the range of `names`.
    fn sweep(&mut self, names: &Names, start: u64, sweep: &mut Sweep) -> Result<(), CollectError> {
        let mut from = Digest::ZERO;
        from.0[..8].copy_from_slice(&start.to_be_bytes());
        loop {
            if self.shared.stop.is_cancelled() {
                return Err(CollectError::Stopping);
            }
            let page = self.shared.store.blobs(&from, PAGE_BLOBS)?;
            let is_last = page.len() < PAGE_BLOBS || page.iter().any(|(digest, _)| !names.covers(digest));
            for (digest, bytes) in page.iter().filter(|(digest, _)| names.covers(digest)) {
                self.look_at(names, *digest, *bytes, sweep)?;
            }
            match page.last().and_then(|(last, _)| successor(last)) {
                Some(next) if !is_last => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// Removes what fetches that ended early have left of blobs that nothing names any more, or that are here by now. There
    /// is no grace, for nobody can restore a part; should it be named at this moment, its fetch begins anew.
    fn sweep_fills(&mut self, names: &Names) -> Result<(), CollectError> {
        let mut lines = String::new();
        for (digest, bytes) in self.shared.store.fills_at_rest() {
            let is_of_use = || Ok(names.find(&digest).is_some() && self.shared.store.blob(&digest)?.is_none());
            if !names.covers(&digest) || is_of_use().map_err(CollectError::Read)? {
                continue;
            }
            if self.collection.is_dry || self.shared.store.discard_fill(&digest) {
                self.done.unfinished.add(bytes);
                lines += &Line::of(self.shared.clock.now(), "part removed", digest, bytes).to_text();
            }
        }
        if !self.collection.is_dry && !lines.is_empty() {
            unless_full("the journal", journal::append_here(self.shared, &lines));
        }
        Ok(())
    }

    fn look_at(&mut self, names: &Names, digest: Digest, bytes: u64, sweep: &mut Sweep) -> Result<(), CollectError> {
        self.done.stored.add(bytes);
        if let Some(kind) = names.find(&digest) {
            let name = self.roots.get(kind).map_or("other", |roots| roots.name());
            self.done.in_use.entry(name).or_default().add(bytes);
            return Ok(());
        }
        let now = self.shared.clock.now().0;
        let known = sweep.before.find(&digest);
        let path = known.as_ref().and_then(|known| known.path.clone()).or_else(|| self.last_path(&digest));
        // A list from a clock that was ahead must not keep it for ever.
        let since_ms = known.map_or(now, |known| known.since_ms.min(now));
        let garbage = Garbage { digest, since_ms, path };
        let listed = sweep.after.as_mut().map_or(Ok(()), |after| after.push(&garbage));
        if unless_full("the list of garbage", listed).is_none() {
            sweep.after = None;
        }
        if u128::from(now - since_ms) < self.collection.grace.as_millis() {
            self.done.young.add(bytes);
            return Ok(());
        }
        sweep.ripe.push((garbage, bytes));
        if sweep.ripe.len() >= REMOVED_TOGETHER { self.remove(sweep) } else { Ok(()) }
    }

    /// Removes what is ripe, and writes a line for each.
    fn remove(&mut self, sweep: &mut Sweep) -> Result<(), CollectError> {
        let ripe = std::mem::take(&mut sweep.ripe);
        if self.collection.is_dry || ripe.is_empty() {
            ripe.iter().for_each(|(_, bytes)| self.done.removed.add(*bytes));
            return Ok(());
        }
        let (answer, dropped) = oneshot::channel();
        let blobs = ripe.iter().map(|(garbage, _)| garbage.digest).collect();
        let drop = Message::Drop { blobs, cause: DropCause::Garbage, answer };
        self.shared.inbox.blocking_send(drop).map_err(|_| CollectError::Stopping)?;
        let dropped = dropped.blocking_recv().map_err(|_| CollectError::Stopping)?.map_err(CollectError::Refused)?;
        let now = self.shared.clock.now();
        let mut lines = String::new();
        for (garbage, bytes) in &ripe {
            if dropped.contains(&garbage.digest) {
                self.done.removed.add(*bytes);
                lines.push_str(&journal::removed(now, garbage, *bytes));
            } else {
                self.done.named_meanwhile.add(*bytes);
            }
        }
        let written = (!lines.is_empty()).then(|| journal::append_here(self.shared, &lines));
        if written.is_some_and(|written| unless_full("the journal", written).is_none()) {
            tracing::warn!(removed = %lines, "what was removed, for want of a journal");
        }
        Ok(())
    }

    fn last_path(&self, digest: &Digest) -> Option<String> {
        self.shared.last_paths.lock().unwrap_or_else(PoisonError::into_inner).of(digest)
    }

    /// Tells the mind something and waits until it knows.
    fn tell(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) -> Result<(), CollectError> {
        let (answer, told) = oneshot::channel();
        self.shared.inbox.blocking_send(message(answer)).map_err(|_| CollectError::Stopping)?;
        told.blocking_recv().map_err(|_| CollectError::Stopping)
    }
}

/// On a full disk garbage is removed all the same: what can't be written down is done without.
fn unless_full<T>(what: &str, written: io::Result<T>) -> Option<T> {
    written.inspect_err(|error| tracing::warn!(%error, "{what} can't be written")).ok()
}

/// The digest behind this one.
fn successor(digest: &Digest) -> Option<Digest> {
    let mut next = digest.0;
    for byte in next.iter_mut().rev() {
        let (sum, overflows) = byte.overflowing_add(1);
        *byte = sum;
        if !overflows {
            return Some(Digest(next));
        }
    }
    None
}
