//! One peer as a source of one blob: keeps enough requests under way, and takes in what comes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::PublicKey;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::bits::Bits;
use super::flight::Flight;
use super::peer::PeerError;
use super::schedule::{Ask, SourceId, Task};
use crate::engine::bulk::{Answer, GROUP_BYTES, HAVE_MAX, Request};
use crate::engine::line::{Expected, Line, Permit};
use crate::engine::shared::Shared;

/// How often a source that has only a part is asked what it has now.
const REFRESH: Duration = Duration::from_millis(300);

/// How often a source without a task looks whether others have become late.
const LOOK: Duration = Duration::from_millis(50);

/// How long a group may be under way from somebody before another is asked too: at least and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Patience as long as no rate is known.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(1);

/// How many times as long as groups typically are one may be under way, if nobody waits for it.
const TYPICAL_TIMES: u32 = 3;

/// Groups of one request at most, so that plans can change.
const REQUEST_GROUPS_MAX: u64 = 8;

/// A source at work.
pub(super) struct Source {
    shared: Arc<Shared>,
    flight: Arc<Flight>,
    id: SourceId,
    line: Arc<Line>,
}

impl Source {
    pub(super) fn new(shared: &Arc<Shared>, flight: &Arc<Flight>, key: &PublicKey, id: SourceId) -> Arc<Source> {
        let line = shared.lines.of(key);
        Arc::new(Source { shared: shared.clone(), flight: flight.clone(), id, line })
    }

    /// Fetches groups until the blob is complete; an error when this source can do no more for it.
    pub(super) async fn run(self: Arc<Source>) -> Result<(), PeerError> {
        self.flight.plan().join(self.id);
        if self.flight.group_count() > 1 {
            // Both at once; the second is only needed where no other source gave it.
            tokio::try_join!(self.learn(), self.values())?;
        }
        let mut jobs = JoinSet::new();
        let mut refresh_at = Instant::now() + REFRESH;
        while !self.flight.is_complete() {
            let changed = self.flight.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let chunk = (self.line.request_bytes(&self.shared) / GROUP_BYTES).clamp(1, REQUEST_GROUPS_MAX);
            let ask = self.ask(chunk);
            self.flight.plan().reconsider(ask);
            let outlook = self.flight.plan().outlook(self.id, ask);
            let is_partial = self.flight.plan().is_partial(self.id);
            let admitted = async {
                match outlook {
                    Some(urgency) => self.line.admit(&self.shared, chunk * GROUP_BYTES, urgency).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                permit = admitted => {
                    let ask = self.ask(chunk);
                    let task = self.flight.plan().next(self.id, ask);
                    if let Some(task) = task {
                        jobs.spawn(self.clone().fetch(task, permit));
                    }
                }
                () = changed => {}
                Some(done) = jobs.join_next() => done.map_err(|error| PeerError::Store(error.to_string()))??,
                () = sleep(LOOK), if outlook.is_none() => {}
                () = sleep_until(refresh_at), if is_partial => {
                    refresh_at = Instant::now() + REFRESH;
                    let source = self.clone();
                    jobs.spawn(async move { source.learn().await });
                }
            }
        }
        Ok(())
    }

    /// Looks at the plan: don't call it while that is held.
    fn ask(&self, chunk: u64) -> Ask {
        let most = u32::try_from(chunk).unwrap_or(1);
        let patience = self.patience();
        let typical = self.flight.plan().typical();
        let repeat_after = (typical * TYPICAL_TIMES).max(patience).min(PATIENCE.1);
        Ask { most, now: self.flight.age(), patience, repeat_after, dice: self.flight.dice() }
    }

    /// Four times as long as a group asked of this source now would take.
    fn patience(&self) -> Duration {
        let Some(expected) = self.line.expected_wait(&self.shared, GROUP_BYTES) else { return PATIENCE_UNKNOWN };
        (expected * 4).clamp(PATIENCE.0, PATIENCE.1)
    }

    /// Asks which groups it has. An older peer doesn't understand that: then it is taken to have all or none.
    async fn learn(&self) -> Result<(), PeerError> {
        let mut has = Bits::none(self.flight.group_count());
        let mut first = 0;
        while first < self.flight.group_count() {
            let request = Request::Have(self.flight.reference().clone(), first);
            match self.ask_one(&request).await? {
                Answer::Have(bits) if !bits.is_empty() => has.learn(first, &bits),
                Answer::NotFound => return Ok(()),
                _ => return Err(PeerError::Wrong("not a list of groups".into())),
            }
            first = first.saturating_add(HAVE_MAX);
        }
        self.flight.learnt(self.id, has);
        Ok(())
    }

    async fn values(&self) -> Result<(), PeerError> {
        let count = self.flight.group_count() as usize;
        let mut values = Vec::new();
        while values.len() < count && !self.flight.fill().has_groups() {
            let request = Request::Values(self.flight.reference().clone(), values.len() as u32);
            match self.ask_one(&request).await? {
                Answer::Values(more) if more.is_empty() || values.len() + more.len() > count => {
                    return Err(PeerError::Wrong("another number of chaining values".into()));
                }
                Answer::Values(more) => values.extend(more),
                Answer::NotFound => return Err(PeerError::NotFound),
                _ => return Err(PeerError::Wrong("not chaining values".into())),
            }
        }
        if self.flight.fill().has_groups() {
            return Ok(());
        }
        let set = self.flight.fill().set_groups(values).await;
        set.map_err(|error| PeerError::Wrong(error.to_string()))
    }

    /// Asks something that brings no bytes of the blob.
    async fn ask_one(&self, request: &Request) -> Result<Answer, PeerError> {
        let urgency = self.flight.urgency();
        let permit = self.line.admit(&self.shared, 0, urgency).await;
        let expected = Expected { answers: 1, ends_when_not_found: true };
        Ok(self.line.ask(&self.shared, request, expected, permit).await?.next().await?)
    }

    /// Asks for groups, verifies and keeps them as they come.
    async fn fetch(self: Arc<Source>, task: Task, mut permit: Permit) -> Result<(), PeerError> {
        let Task { groups, .. } = task;
        permit.shrink(u64::from(groups.end - groups.start) * GROUP_BYTES);
        let reference = self.flight.reference().clone();
        let request = match self.flight.group_count() {
            1 => Request::Whole(vec![reference]),
            _ => Request::Groups(reference, groups.start, groups.end - groups.start),
        };
        let expected = Expected { answers: groups.len(), ends_when_not_found: true };
        let mut answers = self.line.ask(&self.shared, &request, expected, permit).await?;
        for index in groups.clone() {
            // Counted until it is written.
            let (answer, _held) = answers.next_held().await?;
            match answer {
                Answer::Group(bytes) | Answer::Whole(bytes) => self.keep(index, bytes).await?,
                Answer::NotFound => return self.lacks(index..groups.end),
                _ => return Err(PeerError::Wrong("not a group".into())),
            }
        }
        Ok(())
    }

    async fn keep(&self, index: u32, bytes: bytes::Bytes) -> Result<(), PeerError> {
        let length = bytes.len() as u64;
        self.shared.fetched.received(length);
        if self.flight.has(index) {
            self.shared.fetched.repeated(length);
        } else {
            // So many are hashed and written at once, whoever they are from: more would only take memory.
            let _place = self.shared.groups_at_work.acquire().await;
            self.flight.fill().write_group(index, bytes).await?;
        }
        self.flight.came(index);
        Ok(())
    }

    /// One that has only a part may have said so too early; one that was to have all is of no use.
    fn lacks(&self, groups: Range<u32>) -> Result<(), PeerError> {
        let mut plan = self.flight.plan();
        if !plan.is_partial(self.id) {
            return Err(PeerError::NotFound);
        }
        groups.for_each(|index| plan.failed(self.id, index));
        Ok(())
    }
}
