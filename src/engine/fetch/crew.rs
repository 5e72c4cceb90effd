//! The sources of one flight: hired as they come, dropped when they are of no use, tried again after a while.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use artimesh_core::model::NodeId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::flight::{Flight, Wish};
use super::peer::{self, PeerError};
use super::schedule::SourceId;
use super::share::Share;
use super::source::Source;
use crate::engine::error::FetchError;
use crate::engine::shared::Shared;

/// Sources of one blob at once, and no more than groups are missing: one that has it, and seven that fetch it at the same
/// time. Those that a blob is divided among had better all be asked, or a share that nobody asks for comes last.
pub(super) const SOURCES_MAX: usize = 8;

/// After so long without a group one source more is asked.
const STALLED: Duration = Duration::from_secs(1);

/// How long a source that failed is left alone: from the first failure on, doubling up to the last.
pub(super) const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The same for one that doesn't have the blob: it may be about to fetch it itself, and soon have something.
pub(super) const REST_NOT_FOUND: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// How long after the node's start a fetch waits for the first member: connections take a moment, and whoever asks just
/// then had better wait for one than be refused.
const SETTLING: Duration = Duration::from_secs(5);

struct Failure {
    until: Instant,
    times: u32,
    error: PeerError,
}

impl Failure {
    /// Whether nothing is expected of the source until it tells what it has. One that doesn't have the blob yet may be
    /// about to fetch it.
    fn is_out(&self) -> bool {
        self.error != PeerError::NotFound || self.times > 1
    }
}

struct Crew<'a> {
    shared: &'a Arc<Shared>,
    flight: &'a Arc<Flight>,
    wish: &'a Wish,
    at_work: JoinSet<(NodeId, SourceId, Result<(), PeerError>)>,
    nodes: BTreeMap<NodeId, SourceId>,
    failures: BTreeMap<NodeId, Failure>,
    /// Who else fetches the blob, as far as is known.
    fetchers: Vec<NodeId>,
    hired: u64,
    dice: usize,
    /// How many groups were missing when that last changed, and when.
    progress: (u32, Instant),
}

/// Fetches a blob from whoever has it; fails when all who may have it have failed.
pub(super) async fn fetch(shared: &Arc<Shared>, flight: &Arc<Flight>, wish: &Wish) -> Result<(), FetchError> {
    let mut arrivals = shared.arrivals.subscribe();
    let mut crew = Crew {
        shared,
        flight,
        wish,
        at_work: JoinSet::new(),
        nodes: BTreeMap::new(),
        failures: BTreeMap::new(),
        fetchers: Vec::new(),
        hired: 0,
        dice: getrandom::u32().unwrap_or_default() as usize,
        progress: (flight.plan().left(), Instant::now()),
    };
    loop {
        if flight.is_complete() {
            return Ok(());
        }
        crew.hire();
        let settles = crew.failures.is_empty().then(|| SETTLING.checked_sub(shared.started.elapsed())).flatten();
        let look_at = match settles {
            Some(left) if crew.at_work.is_empty() => Instant::now() + left,
            _ if crew.at_work.is_empty() => return Err(crew.why()),
            _ => crew.next_look(),
        };
        let changed = flight.changed.notified();
        tokio::select! {
            Some(done) = crew.at_work.join_next() => crew.dismiss(done)?,
            _ = arrivals.changed() => {}
            () = changed => crew.note_progress(),
            () = sleep_until(look_at) => {}
        }
    }
}

impl Crew<'_> {
    fn note_progress(&mut self) {
        let left = self.flight.plan().left();
        if left != self.progress.0 {
            self.progress = (left, Instant::now());
        }
    }

    /// How many sources are worth it now.
    fn wanted(&self) -> usize {
        let by_size = self.flight.plan().left() as usize;
        let stalled = usize::from(self.progress.1.elapsed() >= STALLED);
        by_size.clamp(1, SOURCES_MAX).max(self.nodes.len().min(SOURCES_MAX)) + stalled
    }

    fn hire(&mut self) {
        let wanted = self.wanted();
        let Wish { reference, author, .. } = self.wish;
        let candidates = peer::candidates(self.shared, &reference.space, *author, Some(&reference.digest), self.dice);
        if candidates.len() > 1 {
            // The others may lack it as this node does.
            self.flight.spread();
        }
        self.share(candidates.iter().map(|(node, _)| *node));
        let now = Instant::now();
        for (node, key) in candidates {
            let rests = self.failures.get(&node).is_some_and(|failure| failure.until > now);
            if self.at_work.len() >= wanted || rests || self.nodes.contains_key(&node) {
                continue;
            }
            self.hired += 1;
            let id = SourceId(self.hired);
            self.nodes.insert(node, id);
            let source = Source::new(self.shared, self.flight, &key, id);
            self.at_work.spawn(async move { (node, id, source.run().await) });
        }
    }

    /// Divides the blob among those who fetch it now: all that haven't said that they have it, and were of use when they
    /// were asked.
    fn share(&mut self, candidates: impl Iterator<Item = NodeId>) {
        let mut plan = self.flight.plan();
        let is_whole = |node: &NodeId| self.nodes.get(node).is_some_and(|id| plan.is_whole(*id));
        let has_told = |node: &NodeId| self.nodes.get(node).is_some_and(|id| plan.has_told(*id));
        let is_out = |node: &NodeId| !has_told(node) && self.failures.get(node).is_some_and(Failure::is_out);
        let may_bring = |node: &NodeId| *node != self.wish.author && !is_whole(node) && !is_out(node);
        let mut fetchers: Vec<NodeId> = candidates.filter(may_bring).collect();
        fetchers.sort();
        if fetchers != self.fetchers {
            let me = self.shared.identity.node;
            plan.set_share(Share::of(&me, &fetchers, self.flight.group_count()));
            self.fetchers = fetchers;
        }
    }

    /// A source has ended.
    fn dismiss(
        &mut self,
        done: Result<(NodeId, SourceId, Result<(), PeerError>), tokio::task::JoinError>,
    ) -> Result<(), FetchError> {
        let (node, id, result) = done.map_err(|error| FetchError::Store(error.to_string()))?;
        self.nodes.remove(&node);
        self.flight.plan().leave(id);
        self.flight.changed.notify_waiters();
        let error = match result {
            Ok(()) => {
                self.shared.standings.lock().unwrap_or_else(PoisonError::into_inner).praise(&node);
                return Ok(());
            }
            Err(PeerError::Store(reason)) => return Err(FetchError::Store(reason)),
            Err(error) => error,
        };
        peer::note(self.shared, node, self.wish.reference.digest, self.wish.reference.path.as_str(), &error);
        let times = self.failures.get(&node).map_or(0, |failure| failure.times);
        let (shortest, longest) = if error == PeerError::NotFound { REST_NOT_FOUND } else { REST };
        let rest = (shortest * 2_u32.saturating_pow(times.min(8))).min(longest);
        self.failures.insert(node, Failure { until: Instant::now() + rest, times: times + 1, error });
        Ok(())
    }

    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let rests = self.failures.values().map(|failure| failure.until).filter(|until| *until > now).min();
        (now + STALLED).min(rests.unwrap_or(now + STALLED))
    }

    /// Why nobody is left to ask.
    fn why(&self) -> FetchError {
        if self.failures.is_empty() {
            return FetchError::NobodyConnected;
        }
        let reasons = self.failures.iter().map(|(node, failure)| format!("{}: {}", node.short(), failure.error));
        FetchError::NobodyHasIt(reasons.collect::<Vec<_>>().join("; "))
    }
}
