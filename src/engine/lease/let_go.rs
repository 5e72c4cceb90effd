//! Letting blobs go that something here still names: the way for whoever would have room instead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use artimesh_core::model::{CircleId, Digest, NodeId, PublicKey, Space};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::ask;
use super::kept;
use super::needs::{self, Naming};
use super::rules::{Bound, INTENTS_MAX, Rules, TERM_MAX, Ticket};
use super::statement::{Lease, LeaseBody, Terms, Word};
use crate::engine::bulk::{Reference, WHOLE_MAX};
use crate::engine::fetch;
use crate::engine::handle::Engine;
use crate::engine::journal::{self, Line};
use crate::engine::mind::Message;
use crate::engine::proof;
use crate::engine::removal::DropCause;
use crate::engine::shared::Shared;
use crate::store::{Batch, Priority, ReadError};

/// A lease is taken for so much shorter than it is: clocks run at different speeds.
const MARGIN: Duration = Duration::from_secs(5);

/// What the proofs of one request may read.
const PROOF_BYTES_MAX: u64 = 32 << 20;

/// What came of an attempt to let blobs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Those that went, and their bytes.
    pub gone: BTreeMap<Digest, u64>,
    /// Why the others stay.
    pub kept: BTreeMap<Digest, Kept>,
}

/// Why a blob stays. Another attempt may be made later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// Another node has a lease on it.
    #[error("another node relies on it for some minutes")]
    Leased,
    /// It is on its way out already, or too many others are.
    #[error("it is on its way out already, or too many others are")]
    Busy,
    /// The history, or something else that isn't a live version, names it.
    #[error("it is in use: {0}")]
    InUse(&'static str),
    /// Too few other mirrors promised to keep it.
    #[error("{promised} other mirrors have promised to keep it, and {needed} must")]
    TooFew {
        /// How many did.
        promised: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Something named it meanwhile, a promise ended, or another node that would let it go went first.
    #[error("something came between")]
    Overtaken,
    /// What names it can't be read, or the removal was refused.
    #[error("{0}")]
    Failed(String),
}

impl Engine {
    /// Removes the bytes of blobs that something here may name, as far as others keep them: the one way for whoever would
    /// have room. At most 8192 at once, and better many than few: all rows are gone through once for each call. Takes as
    /// long as others take to promise. A dropped call goes on by itself. Nothing is told when the engine stops meanwhile.
    pub async fn let_go(&self, blobs: HashSet<Digest>) -> LetGo {
        let (answer, done) = oneshot::channel();
        let shared = self.shared.clone();
        self.shared.tracker.spawn(async move {
            let done = tokio::select! {
                done = Attempt::new(&shared).run(blobs) => done,
                // What the mind is removing it removes, or the next open of the store decides.
                () = shared.stop.cancelled() => return,
            };
            // Whoever asked may be gone.
            let _ = answer.send(done);
        });
        done.await.unwrap_or_default()
    }

    /// Who confirmed, when this node let its copy of a blob go, that it keeps one, and when, in milliseconds since 1970.
    pub fn confirmed_by(&self, digest: &Digest) -> Result<Vec<(NodeId, u64)>, ReadError> {
        kept::confirmed_by(&self.shared.store, digest)
    }
}

/// One attempt. Dropping it ends what was intended.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    ticket: Ticket,
    /// What was verified of others' promises.
    leases: Vec<(LeaseBody, Lease)>,
    done: LetGo,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.rules(|rules| rules.end(ticket));
    }
}

impl<'a> Attempt<'a> {
    fn new(shared: &'a Arc<Shared>) -> Attempt<'a> {
        let ticket = shared.leases.lock().unwrap_or_else(PoisonError::into_inner).begin();
        Attempt { shared, ticket, leases: Vec::new(), done: LetGo::default() }
    }

    fn rules<T>(&self, work: impl FnOnce(&mut Rules) -> T) -> T {
        work(&mut self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(mut self, blobs: HashSet<Digest>) -> LetGo {
        let mut blobs = self.intend(blobs);
        // What the mind is persisting at this moment is at rest behind this; whatever comes later it notes.
        if self.shared.inspect(|_, _| ()).await.is_err() {
            self.keep(blobs, &Kept::Failed("the node is stopping".into()));
            return std::mem::take(&mut self.done);
        }
        let named = match self.find(blobs.clone()).await {
            Ok(named) => named,
            Err(reason) => {
                self.keep(blobs, &Kept::Failed(reason));
                return std::mem::take(&mut self.done);
            }
        };
        blobs.retain(|blob| match named.get(blob).and_then(|naming| naming.stays_for) {
            None => true,
            Some(root) => {
                self.done.kept.insert(*blob, Kept::InUse(root));
                false
            }
        });
        for blob in &blobs {
            let spaces = &named[blob].spaces;
            let needs = spaces.iter().map(|(space, (_, count))| (*space, *count)).collect();
            self.rules(|rules| rules.needs(self.ticket, blob, needs));
        }
        self.ask_all(&blobs, &named).await;
        let ready = self.ready(blobs, &named);
        self.remove(ready, &named).await;
        std::mem::take(&mut self.done)
    }

    fn keep(&mut self, blobs: impl IntoIterator<Item = Digest>, why: &Kept) {
        self.done.kept.extend(blobs.into_iter().map(|blob| (blob, why.clone())));
    }

    fn intend(&mut self, blobs: HashSet<Digest>) -> HashSet<Digest> {
        let now = self.shared.started.elapsed();
        let mut intended = HashSet::new();
        for (at, blob) in blobs.into_iter().enumerate() {
            let begun = self
                .rules(|rules| if at < INTENTS_MAX { rules.intend(self.ticket, blob, now) } else { Err(Bound::Busy) });
            match begun {
                Ok(()) => intended.extend([blob]),
                Err(Bound::Leased) => self.keep([blob], &Kept::Leased),
                Err(Bound::Busy) => self.keep([blob], &Kept::Busy),
            }
        }
        intended
    }

    async fn find(&self, blobs: HashSet<Digest>) -> Result<HashMap<Digest, Naming>, String> {
        let (store, snapshot) = (self.shared.store.clone(), self.shared.snapshot.borrow().clone());
        let (me, min_copies) = (self.shared.identity.node, self.shared.options.min_copies);
        let found = spawn_blocking(move || needs::find(&store, &snapshot, me, min_copies, &blobs)).await;
        found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Asks the mirrors of each space until all have promised what it takes, or all were asked.
    async fn ask_all(&mut self, blobs: &HashSet<Digest>, named: &HashMap<Digest, Naming>) {
        let mut by_space: BTreeMap<Space, Vec<(Reference, u64)>> = BTreeMap::new();
        for naming in blobs.iter().map(|blob| &named[blob]) {
            for (space, (reference, _)) in naming.spaces.iter().filter(|(_, (_, count))| *count > 0) {
                by_space.entry(*space).or_default().push((reference.clone(), naming.size));
            }
        }
        let Some((circle, keys)) = self.signers().await else { return };
        let me = self.shared.identity.node;
        for (space, references) in by_space {
            let dice = getrandom::u32().unwrap_or_default() as usize;
            for (node, transport) in fetch::candidates(self.shared, &space, me, None, dice) {
                let Some(key) = keys.get(&node) else { continue };
                let lacking: Vec<_> = references.iter().filter(|(of, _)| self.lacks(of) > 0).cloned().collect();
                for some in together(lacking) {
                    self.ask_one(&some, (node, &transport), key, &circle).await;
                }
            }
        }
    }

    /// The circle, and the keys by which its members sign.
    async fn signers(&self) -> Option<(CircleId, BTreeMap<NodeId, PublicKey>)> {
        let circle = self.shared.snapshot.borrow().circle?;
        let keys = self.shared.inspect(|replica, _| {
            let members = replica.trust().into_iter().flat_map(|trust| trust.members());
            members.map(|(node, member)| (*node, member.grant().keys.log)).collect()
        });
        Some((circle, keys.await.ok()?))
    }

    fn lacks(&self, reference: &Reference) -> usize {
        let now = self.shared.started.elapsed();
        let lacks = self.rules(|rules| rules.lacks(self.ticket, &reference.digest, &reference.space, now));
        lacks.unwrap_or(0)
    }

    async fn ask_one(
        &mut self,
        references: &[Reference],
        (node, transport): (NodeId, &PublicKey),
        key: &PublicKey,
        circle: &CircleId,
    ) {
        let Some(terms) = ask::terms(TERM_MAX) else { return };
        // Counted from here the lease ends for this node before it does for its holder.
        let asked = self.shared.started.elapsed();
        let Some(words) = ask::words(self.shared, transport, references, terms).await else { return };
        for (reference, word) in references.iter().zip(words) {
            let Word::Leased(lease) = word else { continue };
            let body = lease.verify(key, circle).filter(|body| is_of(body, node, self.shared, reference, &terms));
            let Some(body) = body else {
                tracing::warn!(node = %node.short(), "a member's lease isn't what it was asked for: it counts for nothing");
                continue;
            };
            if !self.is_proved(&body).await {
                tracing::error!(
                    node = %node.short(), digest = %body.digest.short(),
                    "a member would keep a blob, and can't prove to have its bytes as they are here: scrub both nodes"
                );
                continue;
            }
            let until = (asked + Duration::from_millis(body.term_ms.into())).saturating_sub(MARGIN);
            self.rules(|rules| rules.leased(self.ticket, &body.digest, body.space, node, until));
            self.leases.push((body, lease));
        }
    }

    /// Whether the holder's proof is over the same bytes that are here.
    async fn is_proved(&self, body: &LeaseBody) -> bool {
        let Ok(Some(reader)) = self.shared.store.reader(&body.digest) else { return false };
        let own = proof::prove(&reader, &body.nonce).await;
        // Compared in constant time.
        own.is_ok_and(|own| blake3::Hash::from_bytes(own) == blake3::Hash::from_bytes(body.proof))
    }

    /// Those that have all they need; the reasons of the others are noted.
    fn ready(&mut self, blobs: HashSet<Digest>, named: &HashMap<Digest, Naming>) -> Vec<Digest> {
        let now = self.shared.started.elapsed();
        let mut ready = Vec::new();
        for blob in blobs {
            let lack = self.rules(|rules| {
                named[&blob].spaces.iter().find_map(|(space, (_, needed))| {
                    match rules.lacks(self.ticket, &blob, space, now) {
                        Some(0) => None,
                        Some(lacks) => Some(Kept::TooFew { promised: needed.saturating_sub(lacks), needed: *needed }),
                        None => Some(Kept::Overtaken),
                    }
                })
            });
            match lack {
                None => ready.push(blob),
                Some(why) => self.keep([blob], &why),
            }
        }
        ready
    }

    async fn remove(&mut self, blobs: Vec<Digest>, named: &HashMap<Digest, Naming>) {
        if blobs.is_empty() {
            return;
        }
        let (answer, dropped) = oneshot::channel();
        let drop = Message::Drop { blobs: blobs.clone(), cause: DropCause::LetGo(self.ticket), answer };
        let sent = self.shared.inbox.send(drop).await.is_ok();
        let gone = match dropped.await {
            Ok(Ok(gone)) if sent => gone,
            Ok(Err(reason)) => return self.keep(blobs, &Kept::Failed(reason)),
            Ok(Ok(_)) | Err(_) => return self.keep(blobs, &Kept::Failed("the node is stopping".into())),
        };
        let (gone, kept): (Vec<Digest>, Vec<Digest>) = blobs.into_iter().partition(|blob| gone.contains(blob));
        self.keep(kept, &Kept::Overtaken);
        self.done.gone.extend(gone.iter().map(|blob| (*blob, named[blob].size)));
        self.remember(&gone, named).await;
    }

    /// A line in the journal for each that went; and of what this node wrote, the promises on which it did.
    async fn remember(&self, gone: &[Digest], named: &HashMap<Digest, Naming>) {
        let own = self.leases.iter().filter(|(body, _)| {
            gone.contains(&body.digest) && named.get(&body.digest).is_some_and(|naming| naming.is_own)
        });
        let rows = kept::receipts(own.map(|(body, lease)| (body, lease)));
        let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
        if let Err(error) = self.shared.store.commit(batch).await {
            tracing::warn!(%error, "who confirmed what this node let go could not be written down");
        }
        let now = self.shared.clock.now();
        let line = |blob: &Digest| {
            let holders = self.leases.iter().filter(|(body, _)| body.digest == *blob).map(|(body, _)| body.holder);
            let holders = holders.map(|node| node.to_string()).collect();
            Line { nodes: Some(holders), ..Line::of(now, "let go", *blob, named[blob].size) }.to_text()
        };
        journal::append(self.shared, gone.iter().map(line).collect()).await;
    }
}

/// What is asked for together: as much as one request and the proofs for it may be.
fn together(references: Vec<(Reference, u64)>) -> Vec<Vec<Reference>> {
    let mut units: Vec<Vec<Reference>> = Vec::new();
    let mut bytes = 0;
    for (reference, size) in references {
        bytes += proof::bytes_read(size);
        match units.last_mut() {
            Some(unit) if unit.len() < WHOLE_MAX && bytes <= PROOF_BYTES_MAX => unit.push(reference),
            _ => {
                bytes = proof::bytes_read(size);
                units.push(vec![reference]);
            }
        }
    }
    units
}

/// Whether a lease is the one that was asked for.
fn is_of(body: &LeaseBody, holder: NodeId, shared: &Shared, reference: &Reference, terms: &Terms) -> bool {
    body.holder == holder
        && body.asker == shared.identity.node
        && (body.space, body.digest) == (reference.space, reference.digest)
        && body.nonce == terms.nonce
        && body.term_ms <= terms.term_ms
}
