//! One peer as a source of one blob: keeps enough requests under way, and takes in what comes.

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
use crate::engine::line::{Expected, Line, Permit, Urgency};
use crate::engine::shared::Shared;

/// How long after it told what it has a source that has only a part is asked again; longer where that is so much that
/// it would take more than this of a slow line, in bytes a second.
pub(super) const REFRESH: Duration = Duration::from_millis(300);
const REFRESH_BYTES_PER_SECOND: u32 = 64 << 10;

/// How often a source without a task looks whether others have become late.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Groups of one request at most, so that plans can change.
const REQUEST_GROUPS_MAX: u64 = 8;

/// A job is over.
enum Done {
    Fetched,
    Learnt,
}

/// `None`: for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

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
        let mut jobs: JoinSet<Result<Done, PeerError>> = JoinSet::new();
        let mut refresh_at = Some(Instant::now() + self.refresh());
        while !self.flight.is_complete() {
            let changed = self.flight.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let chunk = (self.line.request_bytes(&self.shared) / GROUP_BYTES).clamp(1, REQUEST_GROUPS_MAX);
            let ask = self.ask(chunk);
            self.flight.plan().reconsider(self.id, ask);
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
                        let source = self.clone();
                        jobs.spawn(async move { source.fetch(task, permit).await.map(|()| Done::Fetched) });
                    }
                }
                () = changed => {}
                Some(done) = jobs.join_next() => match done.map_err(|error| PeerError::Store(error.to_string()))?? {
                    Done::Fetched => {}
                    Done::Learnt => refresh_at = Some(Instant::now() + self.refresh()),
                },
                () = sleep(LOOK), if outlook.is_none() => {}
                () = until(refresh_at), if is_partial => {
                    refresh_at = None;
                    let source = self.clone();
                    jobs.spawn(async move { source.learn().await.map(|()| Done::Learnt) });
                }
            }
        }
        Ok(())
    }

    fn refresh(&self) -> Duration {
        let bytes = self.flight.group_count().div_ceil(8);
        REFRESH.max(Duration::from_secs(1) * bytes / REFRESH_BYTES_PER_SECOND)
    }

    /// Looks at the plan: don't call it while that is held.
    fn ask(&self, chunk: u64) -> Ask {
        let most = u32::try_from(chunk).unwrap_or(1);
        let expected = self.line.expected_wait(&self.shared, GROUP_BYTES);
        let typical = self.flight.plan().typical();
        Ask::of(most, self.flight.age(), expected, typical, self.flight.dice())
    }

    /// Asks which groups it has, on a reader's stream: the answer is tiny, and old if it comes behind all the groups that
    /// were asked for before. An older peer doesn't understand that: then it is taken to have all or none.
    async fn learn(&self) -> Result<(), PeerError> {
        let mut has = Bits::none(self.flight.group_count());
        let mut first = 0;
        while first < self.flight.group_count() {
            let request = Request::Have(self.flight.reference().clone(), first);
            match self.ask_one(&request, Urgency::Urgent).await? {
                Answer::Have(bits) if !bits.is_empty() => has.learn(first, &bits),
                Answer::NotFound if self.flight.plan().has_told(self.id) => return Err(PeerError::NotFound),
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
            match self.ask_one(&request, self.flight.urgency()).await? {
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
    async fn ask_one(&self, request: &Request, urgency: Urgency) -> Result<Answer, PeerError> {
        let permit = self.line.admit(&self.shared, 0, urgency).await;
        let expected = Expected { answers: 1, ends_when_not_found: true };
        Ok(self.line.ask(&self.shared, request, expected, permit).await?.next().await?)
    }

    /// Asks for groups, verifies and keeps them as they come.
    async fn fetch(&self, task: Task, mut permit: Permit) -> Result<(), PeerError> {
        let Task { groups, .. } = task;
        permit.shrink(u64::from(groups.end - groups.start) * GROUP_BYTES);
        let reference = self.flight.reference().clone();
        let request = match self.flight.group_count() {
            1 => Request::Whole(vec![reference]),
            _ => Request::Groups(reference, groups.start, groups.end - groups.start),
        };
        let expected = Expected { answers: groups.len(), ends_when_not_found: true };
        let mut answers = self.line.ask(&self.shared, &request, expected, permit).await?;
        for index in groups {
            // Counted until it is written.
            let (answer, _held) = answers.next_held().await?;
            match answer {
                Answer::Group(bytes) | Answer::Whole(bytes) => self.keep(index, bytes).await?,
                Answer::NotFound => return Err(self.lacks()),
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
        self.flight.came(index, self.id);
        Ok(())
    }

    /// It was only asked for what it said it has, unless it is of a release that doesn't tell.
    fn lacks(&self) -> PeerError {
        if self.flight.plan().has_told(self.id) { PeerError::Untrue } else { PeerError::NotFound }
    }
}
