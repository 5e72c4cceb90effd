//! The task that owns the replica.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use artimesh_core::model::{ArtifactPath, Digest, NodeId, Space};
use artimesh_core::replica::{
    Command, Event, Hello, Input, Output, Receipt, Refusal, Replica, Row, Verdict, ViewFault, Want,
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::announce::{self, Topic};
use super::error::{CommandFailure, EngineFailed};
use super::gc::named::Named;
use super::removal::DropCause;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::view::{MindView, StoreView, row_write};
use crate::store::{Account, Batch, CommitError, Part, Priority, RowWrite, Staged};
use crate::swarm;

/// Commands handled together at most: one segment's worth.
const TOGETHER_MAX: usize = 256;

/// How long a revoked node's connection lives on, so that it hears why it ends.
const FAREWELL: Duration = Duration::from_millis(100);

type Answer = oneshot::Sender<Result<Receipt, CommandFailure>>;
type Question = Box<dyn FnOnce(&Replica, &StoreView) + Send>;

/// A message to the mind.
pub(super) enum Message {
    Command {
        command: Box<Command>,
        staged: Option<Staged>,
        /// Of the request that waits for it, and since when it does.
        account: Account,
        since: Instant,
        answer: Answer,
    },
    Inspect(Question),
    Input(Input),
    Gossip {
        space: Space,
        bytes: Vec<u8>,
        verdict: swarm::Verdict,
    },
    /// Garbage is collected from now on: what is named meanwhile is noted.
    CollectionBegins(oneshot::Sender<()>),
    CollectionEnds,
    /// Blobs that are to go; the answer says which did.
    Drop {
        blobs: Vec<Digest>,
        cause: DropCause,
        answer: oneshot::Sender<Result<HashSet<Digest>, String>>,
    },
    /// Blobs that are to be fetched if, as far as rows at rest tell, they still are missing.
    Want(Vec<Want>),
}

pub(super) struct Mind {
    pub(super) replica: Replica,
    pub(super) view: StoreView,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) topics: BTreeMap<Space, Topic>,
    /// The replica has more to do than fitted its last input.
    pub(super) has_more: bool,
    /// What was named since the garbage collection that runs began.
    pub(super) named: Option<Named>,
}

/// What waits for the outputs of the input being handled.
#[derive(Default)]
struct Waiting {
    answers: Vec<Option<Answer>>,
    staged: Vec<Option<Staged>>,
    accounts: Vec<Account>,
    verdict: Option<swarm::Verdict>,
    vital: bool,
}

/// Why the rows of an input aren't durable.
enum Unpersisted {
    NoSpace(String),
    Failed(EngineFailed),
}

impl Mind {
    /// Handles messages until all senders are gone or the store fails.
    pub(super) async fn run(mut self) {
        self.renew(true, true).await;
        let mut later = VecDeque::new();
        loop {
            let message = match later.pop_front() {
                Some(message) => Some(message),
                // What was begun goes on between messages, one step at a time, so that neither waits for the other.
                None if self.has_more => self.inbox.try_recv().ok(),
                None => match self.inbox.recv().await {
                    Some(message) => Some(message),
                    None => return,
                },
            };
            if let Err(failed) = self.step(message, &mut later).await {
                tracing::error!("{failed}");
                self.shared.fail(failed);
                return;
            }
        }
    }

    async fn step(&mut self, message: Option<Message>, later: &mut VecDeque<Message>) -> Result<(), EngineFailed> {
        if let Some(message) = message {
            self.take(message, later).await?;
        }
        if std::mem::take(&mut self.has_more) {
            self.handle(Input::Continue, Waiting { vital: true, ..Waiting::default() }).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: Message, later: &mut VecDeque<Message>) -> Result<(), EngineFailed> {
        match message {
            Message::Command { .. } => self.take_commands(message, later).await,
            Message::Inspect(question) => {
                question(&self.replica, &self.view);
                Ok(())
            }
            Message::Input(input) => self.handle(input, Waiting { vital: true, ..Waiting::default() }).await,
            Message::Gossip { space, bytes, verdict } => {
                let waiting = Waiting { verdict: Some(verdict), vital: true, ..Waiting::default() };
                self.handle(Input::Gossip(space, bytes), waiting).await
            }
            Message::CollectionBegins(answer) => {
                self.named = Some(Named::new());
                // A collector that is gone needs no answer; the next one begins anew.
                let _ = answer.send(());
                Ok(())
            }
            Message::CollectionEnds => {
                self.named = None;
                Ok(())
            }
            Message::Drop { blobs, cause, answer } => self.drop_blobs(blobs, cause, answer).await,
            Message::Want(wants) => self.want(wants).await,
        }
    }

    /// Handles a command together with those that already wait behind it.
    async fn take_commands(&mut self, first: Message, later: &mut VecDeque<Message>) -> Result<(), EngineFailed> {
        let (mut commands, mut waiting) = (Vec::new(), Waiting { vital: true, ..Waiting::default() });
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Command { command, staged, account, since, answer } => {
                    account.add(Part::Queue, since.elapsed());
                    if let Some(path) = self.lacks_bytes(&command, staged.as_ref())? {
                        // Whoever asked may be gone.
                        let _ = answer.send(Err(CommandFailure::BytesGone(path)));
                        next = self.inbox.try_recv().ok();
                        continue;
                    }
                    waiting.accounts.push(account);
                    waiting.vital &= !matches!(*command, Command::Put { .. });
                    commands.push((commands.len() as u64, *command));
                    waiting.answers.push(Some(answer));
                    waiting.staged.push(staged);
                }
                other => later.push_back(other),
            }
            if commands.len() < TOGETHER_MAX && later.len() < TOGETHER_MAX {
                next = self.inbox.try_recv().ok();
            }
        }
        self.handle(Input::Local(commands), waiting).await
    }

    /// The path that is to have bytes which came with nobody and aren't here: they were when somebody looked, and have been
    /// dropped since.
    fn lacks_bytes(&self, command: &Command, staged: Option<&Staged>) -> Result<Option<ArtifactPath>, EngineFailed> {
        let Command::Put { path, content, .. } = command else { return Ok(None) };
        if staged.is_some() || path.is_folder() {
            return Ok(None);
        }
        let found = self.view.0.blob(&content.digest).map_err(|error| EngineFailed { reason: error.to_string() })?;
        Ok(found.is_none().then(|| path.clone()))
    }

    async fn handle(&mut self, input: Input, mut waiting: Waiting) -> Result<(), EngineFailed> {
        let now = self.shared.clock.now();
        let is_of_one = {
            let mut federations = self.replica.spaces().filter(|(space, ..)| matches!(space, Space::Federation(_)));
            federations.nth(1).is_none()
        };
        let view = MindView { rows: &self.view, is_of_one };
        let outputs = self.replica.handle(now, &view, input).map_err(|ViewFault(reason)| EngineFailed { reason })?;
        let mut outputs = outputs.into_iter().peekable();
        if let Some(Output::Persist(_)) = outputs.peek() {
            let Some(Output::Persist(rows)) = outputs.next() else { unreachable!("just seen") };
            // Blobs of refused commands must not be committed; which those are is told by the replies that follow.
            let rest: Vec<Output> = outputs.collect();
            for output in &rest {
                if let Output::Reply(ticket, Err(_)) = output {
                    waiting.staged[*ticket as usize] = None;
                }
            }
            match self.persist(rows, &mut waiting).await {
                Ok(()) => {}
                Err(Unpersisted::Failed(failed)) => return Err(failed),
                Err(Unpersisted::NoSpace(reason)) => return self.forget(reason, waiting).await,
            }
            outputs = rest.into_iter().peekable();
        }
        let outputs: Vec<Output> = outputs.collect();
        let reborn = |output: &Output| matches!(output, Output::Note(Event::RolledBack { .. }));
        let members = outputs.contains(&Output::Members) || outputs.iter().any(reborn);
        let spaces = outputs.contains(&Output::Spaces);
        let (frames, others): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Send(..)));
        for frame in frames {
            // Before the members are renewed: who is cut off then has at least been sent the reason.
            if let Output::Send(peer, bytes) = frame {
                self.send(&peer, bytes);
            }
        }
        if others.iter().any(|output| matches!(output, Output::Note(Event::Revoked(_)))) {
            // What was just sent may say to the revoked node that it is; a moment later it is cut off.
            tokio::time::sleep(FAREWELL).await;
        }
        if members || spaces {
            // Before the replies, so that whoever is told that something was done finds it done.
            self.renew(members, spaces).await;
        }
        if spaces {
            self.shared.wanted.notify_one();
        }
        for output in others {
            match output {
                Output::Persist(rows) => {
                    let failed = |unpersisted| match unpersisted {
                        Unpersisted::NoSpace(reason) => EngineFailed { reason },
                        Unpersisted::Failed(failed) => failed,
                    };
                    self.persist(rows, &mut waiting).await.map_err(failed)?;
                }
                Output::Reply(ticket, result) => {
                    if let Some(answer) = waiting.answers[ticket as usize].take() {
                        // Whoever asked may be gone; what they asked for is done all the same.
                        let _ = answer.send(result.map_err(CommandFailure::Refused));
                    }
                }
                Output::Publish(space, bytes) => self.publish(&space, &bytes).await,
                Output::Judge(verdict) => judge(waiting.verdict.take(), verdict),
                Output::Continue => self.has_more = true,
                Output::Send(..) | Output::Members | Output::Spaces => {}
                Output::Wanted { .. } => self.shared.wanted.notify_one(),
                Output::Note(event) => self.note(&event),
            }
        }
        Ok(())
    }

    async fn persist(&mut self, rows: Vec<Row>, waiting: &mut Waiting) -> Result<(), Unpersisted> {
        let blobs = waiting.staged.iter_mut().filter_map(Option::take).collect();
        let priority = if waiting.vital { Priority::Vital } else { Priority::Normal };
        let rows: Vec<RowWrite> = rows.into_iter().map(row_write).collect();
        self.note_named(&rows);
        self.remember_paths(&rows);
        let notes = self.shared.cache.meaning_of(&rows);
        let accounts = waiting.accounts.clone();
        let batch = Batch { rows, blobs, priority, accounts, ..Batch::default() };
        match self.view.0.commit(batch).await {
            Ok(_) => {
                self.shared.cache.note(&notes);
                Ok(())
            }
            Err(error @ CommitError::NoSpace { .. }) => Err(Unpersisted::NoSpace(error.to_string())),
            Err(error) => Err(Unpersisted::Failed(EngineFailed { reason: error.to_string() })),
        }
    }

    /// The store took nothing for want of space: the replica goes back to what is at rest, and all who wait are told.
    async fn forget(&mut self, reason: String, waiting: Waiting) -> Result<(), EngineFailed> {
        let connected: Vec<(NodeId, Hello)> = self
            .replica
            .peers()
            .iter()
            .filter(|(_, peer)| peer.connected)
            .filter_map(|(node, peer)| Some((*node, peer.hello.clone()?)))
            .collect();
        self.replica = self.shared.load(&self.view).map_err(|error| EngineFailed { reason: error.to_string() })?.0;
        for answer in waiting.answers.into_iter().flatten() {
            let _ = answer.send(Err(CommandFailure::NoSpace(reason.clone())));
        }
        tracing::warn!(reason, "a change was refused for want of space");
        self.renew(true, true).await;
        for (node, hello) in connected {
            let again =
                Box::pin(self.handle(Input::Connected(node, hello), Waiting { vital: true, ..Waiting::default() }));
            again.await?;
        }
        Ok(())
    }

    fn send(&self, peer: &NodeId, frame: Vec<u8>) {
        let Some(key) = self.shared.transport_key(peer) else { return };
        if let Err(error) = self.shared.swarm.try_send(&key, Bytes::from(frame)) {
            tracing::debug!(peer = %peer.short(), %error, "a frame was not sent; anti-entropy will make up for it");
        }
    }

    async fn publish(&self, space: &Space, bytes: &[u8]) {
        let Some(topic) = self.topics.get(space) else { return };
        let sealed = swarm::gossip::seal(&topic.key, &topic.name, bytes);
        match sealed {
            Ok(sealed) => {
                if let Err(error) = self.shared.swarm.publish(topic.name, sealed).await {
                    tracing::debug!(%space, %error, "not gossiped");
                }
            }
            Err(error) => tracing::warn!(%space, %error, "a gossip message could not be sealed"),
        }
    }

    /// Tells the swarm and the readers what changed.
    async fn renew(&mut self, members: bool, spaces: bool) {
        let snapshot = Snapshot::of(&self.replica);
        if members {
            let peers = self.replica.admitted_peers();
            let keys = peers.iter().map(|(node, key, _)| (*key, *node)).collect();
            self.shared.keys.store(Arc::new(keys));
            self.shared.renew_hello(self.replica.circle(), self.replica.incarnation());
            self.shared.set_members(peers).await;
        }
        if spaces || members {
            let topics = announce::topics(&snapshot);
            for (_, topic) in topics.iter().filter(|(space, _)| !self.topics.contains_key(space)) {
                self.shared.swarm.subscribe(topic.name).await;
            }
            for (_, topic) in self.topics.iter().filter(|(space, _)| !topics.contains_key(space)) {
                self.shared.swarm.unsubscribe(topic.name).await;
            }
            let by_name = topics.iter().map(|(space, topic)| (topic.name, (*space, topic.key))).collect();
            self.shared.topics.store(Arc::new(by_name));
            self.topics = topics;
        }
        self.shared.cache.settle(&snapshot);
        self.shared.snapshot.send_replace(Arc::new(snapshot));
    }

    fn note(&self, event: &Event) {
        match event {
            Event::Applied { space, author, entries, gossip } => {
                self.shared.counts.applied(*entries, *gossip);
                tracing::debug!(%space, author = %author.short(), entries, gossip, "applied");
            }
            Event::Refused { from, refusal } => {
                self.shared.counts.refused();
                if let Some(node) = from {
                    self.shared.remember_refusal(node, refusal);
                }
                let from = from.map(|node| node.short()).unwrap_or_default();
                match refusal {
                    Refusal::NotShared(_) => tracing::debug!(from, %refusal, "refused"),
                    _ => tracing::warn!(from, %refusal, "refused what a peer sent"),
                }
            }
            Event::FarAhead { author, path, ahead_ms } => {
                tracing::warn!(author = %author.short(), %path, ahead_ms, "a peer's clock is far ahead of ours");
            }
            Event::Held { space, author, paths, allowed } => tracing::error!(
                author = %author.short(), %space, paths, allowed,
                "a node would end or overwrite too many artifacts at once: held until `artimesh federation release`"
            ),
            Event::TookOver { space, source, paths, allowed } => tracing::error!(
                source = %source.short(), %space, paths, allowed,
                "with another member's state many deletes and overwrites were taken over: see `artimesh artifact history`"
            ),
            Event::ClockAhead { ahead_ms } => {
                tracing::error!(
                    ahead_ms,
                    "this node's clock is ahead of the other members': no writes until it is right"
                );
            }
            Event::ClockRight => tracing::info!("this node's clock is right again: writes are taken"),
            Event::Reconciled { space, source } => {
                self.shared.counts.took_over();
                tracing::info!(%space, source = %source.short(), "took over another member's state");
            }
            Event::Pruned { space, entries } => {
                self.shared.counts.pruned(*entries);
                tracing::debug!(%space, entries, "pruned");
            }
            Event::Diverged { space, peer } => tracing::error!(
                %space,
                peer = %peer.short(),
                "another member that applied the same entries has another state: compare with `artimesh federation sync`"
            ),
            Event::KeyTaken { federation, key } => {
                let federation = federation.short();
                tracing::warn!(federation, %key, "an invitation waits: its repository key is in use here");
            }
            Event::Removed { space, by } => {
                tracing::warn!(%space, by = %by.short(), "this node was removed from a federation and shows it no more");
            }
            Event::SelfRevoked => tracing::error!("this node was revoked from its circle: it takes no more writes"),
            Event::Revoked(node) => tracing::warn!(node = %node.short(), "a node was revoked"),
            Event::Forked { space, incarnation, sequence } => tracing::error!(
                %space,
                author = %incarnation.node.short(),
                ?incarnation,
                sequence,
                "one life of a node was lived twice: its store was copied or set back, or its key is stolen; it is fenced"
            ),
            Event::TakenBack { space, incarnation, from, entries } => tracing::error!(
                %space,
                author = %incarnation.node.short(),
                from,
                entries,
                "what was applied of a losing branch was taken back; its segments are kept aside"
            ),
            Event::Kept { space, dot, kind } => tracing::warn!(
                %space,
                author = %dot.incarnation.node.short(),
                kind,
                "an entry of a kind that this version does not know waits: upgrade this node"
            ),
            Event::Parked { space, incarnation } => tracing::debug!(%space, ?incarnation, "a segment waits"),
            Event::RolledBack { old, new } => tracing::warn!(
                ?old,
                ?new,
                "peers know more of this node than it does itself: its store was set back; it writes on in a new life"
            ),
            Event::Addresses(node, addresses) => {
                tracing::debug!(node = %node.short(), ?addresses, "a peer told its addresses");
            }
        }
        if let Event::Addresses(..) = event {
            self.shared.addresses_changed();
        }
    }
}

fn judge(waiting: Option<swarm::Verdict>, verdict: Verdict) {
    let Some(handle) = waiting else { return };
    match verdict {
        Verdict::Accept => handle.accept(),
        Verdict::Ignore => handle.ignore(),
        Verdict::Reject => handle.reject(),
    }
}
