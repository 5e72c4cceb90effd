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
use super::share;
use super::source::Source;
use crate::engine::error::FetchError;
use crate::engine::shared::Shared;

/// Sources of one blob at once.
const SOURCES_MAX: usize = 6;

/// Missing groups for each further source.
const GROUPS_EACH: u32 = 4;

/// After so long without a group one source more is asked.
const STALLED: Duration = Duration::from_secs(1);

/// How long a source that failed is left alone: from the first failure on, doubling up to the last.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long after the node's start a fetch waits for the first member: connections take a moment, and whoever asks just
/// then had better wait for one than be refused.
const SETTLING: Duration = Duration::from_secs(5);

struct Failure {
    until: Instant,
    times: u32,
    error: PeerError,
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
        let by_size = self.flight.plan().left().div_ceil(GROUPS_EACH) as usize;
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

    /// Divides the blob among those who fetch it now: all that haven't said that they have it.
    fn share(&mut self, candidates: impl Iterator<Item = NodeId>) {
        let mut plan = self.flight.plan();
        let is_whole = |node: &NodeId| self.nodes.get(node).is_some_and(|id| plan.is_whole(*id));
        let mut fetchers: Vec<NodeId> =
            candidates.filter(|node| *node != self.wish.author && !is_whole(node)).collect();
        fetchers.sort();
        if fetchers != self.fetchers {
            let me = self.shared.identity.node;
            plan.set_share(share::of(&me, &fetchers, self.flight.group_count()));
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
        let rest = match error {
            // It may be fetching it itself, and soon have something.
            PeerError::NotFound => REST.0,
            _ => (REST.0 * 2_u32.saturating_pow(times.min(8))).min(REST.1),
        };
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
