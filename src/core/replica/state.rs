//! The replica itself: what it knows, how it wakes up, and the one door in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::adopt::{Adoption, load_adoptions};
use super::apply::fold_trust;
use super::clocks::{Alarm, Offset, load_alarms};
use super::compact::{Compaction, Retention};
use super::draft::{Draft, stored};
use super::farewell::load_farewells;
use super::forks::{Astray, Fork, load_forks};
use super::io::{AcceptPolicy, Event, Input, Output, Row, Table, View, ViewFault};
use super::kept::{Kept, load_kept};
use super::ledger::Age;
use super::limits::Limits;
use super::message::Hello;
use super::parking::Parking;
use super::reconcile::{Merge, MergeProgress, Said, SignedState, StateBody};
use super::rows::{self, CircleRow, LogRow, Placement, Repository};
use super::serve::in_causal_order;
use super::trie::{self, Sum};
use super::upgrade;
use crate::catalog::Federation;
use crate::changelog::{Change, Sealed, Stored};
use crate::clock::Timestamp;
use crate::model::{
    ArtifactPath, CircleId, Context, Dot, Envelope, Head, Heads, Incarnation, KeyPair, NodeId, NodeName, Space,
};
use crate::trust::{Addresses, NodeKeys, Role, State as Trust, Statement};

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The hash of its first log key.
    pub node: NodeId,
    /// What it is called.
    pub name: NodeName,
    /// Signs its segments and statements.
    pub log_key: KeyPair,
    /// The public halves of all its keys.
    pub keys: NodeKeys,
}

/// A peer, connected or remembered.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Whether it is connected now.
    pub connected: bool,
    /// What it said of itself when it last connected.
    pub hello: Option<Hello>,
    /// What it last said it has applied, per shared space.
    pub heads: BTreeMap<Space, Heads>,
    /// When it last said so, by our wall clock.
    pub heads_at: Option<Timestamp>,
    /// What it last said it keeps beyond that, unapplied, per shared space.
    pub(super) kept: BTreeMap<Space, Heads>,
    /// What it last signed that its state is.
    pub(super) states: BTreeMap<Space, StateBody>,
    /// The heads and the state of ours that it was told last.
    pub(super) told: BTreeMap<Space, Said>,
    /// How its clock differs from ours, as measured since it connected.
    pub(super) offset: Option<Offset>,
    /// When it was asked for the time.
    pub(super) asked_time: Option<Timestamp>,
    /// When it last claimed more of this node's present life than there is.
    pub(super) doubted: Option<Timestamp>,
    /// Spaces about whose forks it was told since it connected, and showed that it holds them.
    pub(super) proved: BTreeSet<Space>,
    /// Logs about which it was probed since the last round.
    pub(super) probed: BTreeSet<(Space, Incarnation)>,
    /// The last federation of which it was shown that it is no member any more.
    pub(super) farewell: Option<Space>,
    /// Spaces in which it was asked for what it said it has, and brought nothing that could be applied.
    pub(super) spent: BTreeSet<Space>,
}

/// The most changes that one input takes into a space's trie: more than a node writes between two ticks.
const SETTLED_MAX: usize = 65_536;

/// One space's logs.
#[derive(Clone, Debug, Default)]
pub(super) struct SpaceState {
    pub(super) heads: Heads,
    /// What each author had applied here and of Trust when it wrote its last segment.
    pub(super) known: BTreeMap<Incarnation, (Context, Context)>,
    /// `None` for Trust.
    pub(super) federation: Option<Federation>,
    /// Lives that were lived twice here.
    pub(super) forks: BTreeMap<Incarnation, Fork>,
    /// Forked lives of which this node applied what is not everybody's, and can't take that back by itself.
    pub(super) astray: BTreeMap<Incarnation, Astray>,
    /// Lives that their nodes have ended by an entry here.
    pub(super) ended: BTreeSet<Incarnation>,
    /// What each member that was removed may still ask for: what was known when it was.
    pub(super) removed: BTreeMap<NodeId, Context>,
    /// Entries that ended this node's own membership, as it was shown: how far their authors had seen its logs.
    pub(super) farewells: BTreeMap<Dot, Context>,
    /// What can't be applied by this version.
    pub(super) kept: Kept,
    /// Up to which sequences logs aren't whole at rest.
    pub(super) floors: BTreeMap<Incarnation, u64>,
    /// The root of the trie over what is live; `None` while it isn't settled.
    pub(super) live: Option<Sum>,
}

/// A wish for segments under way: one a space at a time.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) peer: NodeId,
    pub(super) since: Timestamp,
}

/// How a node wakes up.
#[derive(Clone, Debug)]
pub struct Waking {
    /// Whose federations become repositories here by themselves.
    pub accept: AcceptPolicy,
    /// How new repositories keep their bytes; `None`: as the node's role says.
    pub placement: Option<Placement>,
    /// Numbers the incarnation of a store that has none yet: random bits.
    pub fresh: u64,
    /// Which kinds of entries it knows: [`FEATURES`](super::message::FEATURES), except in simulation.
    pub features: u64,
    /// How long logs stay whole.
    pub retention: Retention,
    /// Whether the rows may be older than what this node has told others (restored, rebuilt, copied): then nothing is
    /// written where others are members before one of them said what it has.
    pub asks_first: bool,
}

/// The rows as they were could not be understood at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A row doesn't decode, or is of a later version.
    #[error(transparent)]
    Fault(#[from] ViewFault),
}

/// The node's mind.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(super) me: Identity,
    pub(super) incarnation: Incarnation,
    pub(super) accept: AcceptPolicy,
    pub(super) limits: Limits,
    /// Of the history.
    pub(super) age: Age,
    pub(super) placement: Option<Placement>,
    pub(super) circle: Option<CircleRow>,
    pub(super) trust: Option<Trust>,
    pub(super) spaces: BTreeMap<Space, SpaceState>,
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) addresses: BTreeMap<NodeId, Addresses>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) parked: Parking,
    pub(super) wishes: BTreeMap<Space, Wish>,
    /// Spaces whose heads moved since peers were told.
    pub(super) dirty: BTreeSet<Space>,
    /// Federations that this site's setting doesn't take.
    pub(super) declined: BTreeSet<Space>,
    /// Which kinds of entries this version knows.
    pub(super) features: u64,
    /// Whether peers must be heard before anything is written where they are members.
    pub(super) asks_first: bool,
    /// Spaces of which a full member said what it has since this start.
    pub(super) heard: BTreeSet<Space>,
    /// Since when a peer claims more of this very life than this node has, and for how many more ticks that counts.
    pub(super) doubt: Option<(Timestamp, u32)>,
    /// When the last tick was.
    pub(super) ticked: Option<Timestamp>,
    /// Since when this node's clock is so far ahead that it takes no writes.
    pub(super) stopped_since: Option<Timestamp>,
    /// Versions stamped far ahead of our clock, by their row keys.
    pub(super) alarms: BTreeMap<Vec<u8>, Alarm>,
    /// Random bits of this start.
    pub(super) fresh: u64,
    /// Something that is kept may be known to this version.
    pub(super) kept_untried: bool,
    /// State syncs under way.
    pub(super) merges: BTreeMap<Space, Merge>,
    /// Repositories on their way into a federation, by the spaces that they show until then.
    pub(super) adoptions: BTreeMap<Space, Adoption>,
    /// What must be applied before a state that was taken over is what its heads say; and for how many ticks it wasn't.
    pub(super) catching_up: BTreeMap<Space, (Context, u32)>,
    /// Spaces in which a state sync ended since the last tick.
    pub(super) rested: BTreeSet<Space>,
    /// Spaces whose blobs are being looked through, and the next row.
    pub(super) sweeps: BTreeMap<Space, Vec<u8>>,
    /// Whether one of them replaced what was here.
    pub(super) followed: bool,
    /// How the last ones ended.
    pub(super) merged: BTreeMap<Space, MergeProgress>,
    /// Spaces taken over from another member, on whose state others haven't yet given their word: nobody writes there.
    pub(super) unconfirmed: BTreeSet<Space>,
    /// Where a state was taken over, and no member has signed since that its own is the same: and for how many ticks.
    pub(super) on_trial: BTreeMap<Space, u32>,
    /// Where this node can't take a branch back by itself: for how many ticks members were there, and none showed the way.
    pub(super) stuck: BTreeMap<Space, u32>,
    /// How long logs stay whole.
    pub(super) retention: Retention,
    pub(super) compaction: Compaction,
    /// Our own states as they were last signed, with heads and digest.
    pub(super) signed: BTreeMap<Space, (Said, SignedState)>,
}

/// One input being handled.
pub(super) struct Work<'a, V> {
    pub(super) now: Timestamp,
    pub(super) draft: Draft<'a, V>,
    pub(super) out: Vec<Output>,
    /// Own entries not yet sealed into a segment.
    pub(super) open: BTreeMap<Space, Vec<Envelope>>,
    /// Own segments sealed by this input.
    pub(super) sealed: Vec<(Space, Vec<u8>, Output)>,
    pub(super) trust_changed: bool,
    pub(super) repositories_changed: bool,
    pub(super) membership_changed: BTreeSet<Space>,
    /// Of the history.
    pub(super) age: Age,
    /// The move whose first half was just applied: the dot of its put, from where, and to where.
    pub(super) moving: Option<(Dot, ArtifactPath, ArtifactPath)>,
}

impl<V> Work<'_, V> {
    pub(super) fn note(&mut self, event: Event) {
        self.out.push(Output::Note(event));
    }
}

impl Replica {
    /// Wakes up from the rows at rest.
    pub fn load(view: &impl View, me: Identity, waking: Waking) -> Result<(Replica, Vec<Output>), LoadError> {
        let Waking { accept, placement, fresh, features, retention, asks_first } = waking;
        let mut outputs = Vec::new();
        let number = match view.get(Table::Meta, rows::INCARNATION)? {
            Some(value) => stored(&value)?,
            None => {
                let value = Some(rows::write(&fresh));
                outputs.push(Output::Persist(vec![Row { table: Table::Meta, key: rows::INCARNATION.into(), value }]));
                fresh
            }
        };
        outputs.extend(upgrade::outputs(view)?);
        let circle: Option<CircleRow> = view.get(Table::Meta, rows::CIRCLE)?.map(|value| stored(&value)).transpose()?;
        let trust = circle.as_ref().map(|row| load_trust(view, row.circle)).transpose()?;
        let mut spaces = load_spaces(view)?;
        load_kept(view, &mut spaces)?;
        load_floors(view, &mut spaces)?;
        load_forks(view, &mut spaces)?;
        load_farewells(view, &mut spaces, &me.node)?;
        let mut replica = Replica {
            incarnation: Incarnation { node: me.node, number },
            me,
            accept,
            limits: Limits::default(),
            age: view.get(Table::Meta, rows::AGE)?.map_or(Ok(Age::default()), |value| stored(&value))?,
            placement,
            circle,
            trust,
            kept_untried: spaces.values().any(|state| !state.kept.heads.0.is_empty()),
            features,
            fresh,
            asks_first,
            heard: BTreeSet::new(),
            doubt: None,
            ticked: None,
            stopped_since: None,
            alarms: load_alarms(view)?,
            spaces,
            repositories: load_repositories(view)?,
            addresses: load_addresses(view)?,
            peers: BTreeMap::new(),
            parked: Parking::default(),
            wishes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            declined: BTreeSet::new(),
            merges: BTreeMap::new(),
            merged: BTreeMap::new(),
            followed: false,
            adoptions: load_adoptions(view)?,
            rested: BTreeSet::new(),
            sweeps: BTreeMap::new(),
            catching_up: BTreeMap::new(),
            unconfirmed: load_spaces_under(view, rows::UNCONFIRMED)?,
            on_trial: load_spaces_under(view, rows::ON_TRIAL)?.into_iter().map(|space| (space, 0)).collect(),
            stuck: BTreeMap::new(),
            signed: BTreeMap::new(),
            retention,
            compaction: Compaction::default(),
        };
        replica.resume_merges(view)?;
        Ok((replica, outputs))
    }

    /// The same with other bounds than the usual ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Replica {
        Replica { limits, ..self }
    }

    /// Handles one input at wall-clock time `now`. At most one [`Output::Persist`], and it comes first.
    pub fn handle<V: View>(&mut self, now: Timestamp, view: &V, input: Input) -> Result<Vec<Output>, ViewFault> {
        let mut work = Work {
            now,
            draft: Draft::new(view),
            out: Vec::new(),
            open: BTreeMap::new(),
            sealed: Vec::new(),
            trust_changed: false,
            repositories_changed: false,
            membership_changed: BTreeSet::new(),
            age: self.age,
            moving: None,
        };
        match input {
            Input::Local(commands) => self.local(&mut work, commands)?,
            Input::Connected(peer, hello) => self.connected(&mut work, peer, hello),
            Input::Disconnected(peer) => self.disconnected(peer),
            Input::Frame(peer, bytes) => self.frame(&mut work, peer, &bytes)?,
            Input::Gossip(space, bytes) => self.gossip(&mut work, space, &bytes)?,
            Input::Tick { dice, round } => self.tick(&mut work, dice, round)?,
            Input::Continue => self.continue_merges(&mut work)?,
        }
        self.finish(work)
    }

    /// Seals what was authored, does what trust demands, and puts the outputs in order.
    fn finish<V: View>(&mut self, mut work: Work<'_, V>) -> Result<Vec<Output>, ViewFault> {
        self.seal_open(&mut work);
        self.write_seals(&mut work);
        self.state_features(&mut work);
        if work.repositories_changed || !work.membership_changed.is_empty() {
            work.out.push(Output::Spaces);
        }
        self.announce(&mut work);
        // After the announcements: peers hear of a revocation before the revoked one is cut off.
        if work.trust_changed {
            work.out.push(Output::Members);
        }
        let Work { draft, mut out, .. } = work;
        for space in draft.touched() {
            if let Some(state) = self.spaces.get_mut(space) {
                state.live = None;
            }
        }
        if !draft.is_empty() {
            out.insert(0, Output::Persist(draft.into_rows()));
        }
        Ok(out)
    }

    /// Brings the tries of all spaces up to date, a bounded step at a time.
    pub(super) fn settle<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        for (space, state) in self.spaces.iter_mut().filter(|(_, state)| state.federation.is_some()) {
            if state.live.is_none() {
                state.live = trie::settle(&mut work.draft, space, SETTLED_MAX)?;
            }
        }
        Ok(())
    }

    pub(super) fn role(&self) -> Option<Role> {
        Some(self.trust.as_ref()?.member(&self.me.node)?.role())
    }

    pub(super) fn save_log<V: View>(&self, work: &mut Work<'_, V>, space: &Space, incarnation: &Incarnation) {
        let state = &self.spaces[space];
        let (context, needs) = state.known.get(incarnation).cloned().unwrap_or_default();
        let row = LogRow { head: Some(state.heads.of(incarnation)), context, needs };
        work.draft.set(Table::Meta, rows::head_key(space, incarnation), &row);
    }
}

/// A segment as it was stored.
pub(super) fn stored_segment(place: &impl Display, value: &[u8]) -> Result<Sealed, ViewFault> {
    Sealed::read(value).map_err(|error| ViewFault(format!("a stored segment of {place} is unreadable: {error}")))
}

/// A segment as it was stored, or what is left of it.
pub(super) fn stored_part(place: &impl Display, value: &[u8]) -> Result<Stored, ViewFault> {
    Stored::read(value).map_err(|error| ViewFault(format!("a stored segment of {place} is unreadable: {error}")))
}

/// Reads every row under a prefix, a thousand at a time.
pub(super) fn each_row(
    view: &impl View,
    table: Table,
    prefix: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), ViewFault>,
) -> Result<(), ViewFault> {
    let (mut from, end) = (prefix.to_vec(), rows::end_of(prefix));
    loop {
        let page = view.range(table, &from, &end, 1000)?;
        for (key, value) in &page {
            take(key, value)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == 1000 => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// The circle's state, folded anew from its log: that is short, and a row of it would be as long as all of it.
fn load_trust(view: &impl View, circle: CircleId) -> Result<Trust, ViewFault> {
    let (mut folded, left_out) = fold_log(circle, read_trust_log(view)?)?;
    if left_out {
        return Err(trust_fault("a segment is missing"));
    }
    each_row(view, Table::Meta, rows::STATEMENTS, |_, value| {
        let statement: Statement = stored(value)?;
        folded.trust.apply_statement(&statement).map(|_| ()).map_err(trust_fault)
    })?;
    Ok(folded.trust)
}

fn trust_fault(what: impl Display) -> ViewFault {
    ViewFault(format!("the trust log cannot be read: {what}"))
}

/// Every segment of the trust log.
pub(super) fn read_trust_log(view: &impl View) -> Result<Vec<Sealed>, ViewFault> {
    let mut segments = Vec::new();
    each_row(view, Table::Log, &Space::Trust.key(), |_, value| {
        segments.push(Sealed::read(value).map_err(trust_fault)?);
        Ok(())
    })?;
    Ok(segments)
}

/// The circle's state as a trust log makes it, and the log's own.
pub(super) struct Folded {
    pub(super) trust: Trust,
    pub(super) heads: Heads,
    pub(super) known: BTreeMap<Incarnation, Context>,
}

/// Folds segments that were verified when they were first applied; says too whether some lack what they depend on, and
/// are left out.
pub(super) fn fold_log(circle: CircleId, segments: Vec<Sealed>) -> Result<(Folded, bool), ViewFault> {
    let mut folded = Folded { trust: Trust::new(circle), heads: Heads::default(), known: BTreeMap::new() };
    let (ordered, left_out) = in_causal_order(segments, Context::default(), usize::MAX);
    for segment in &ordered {
        let header = &segment.header;
        let context = folded.known.entry(header.incarnation).or_default();
        context.merge(&header.context);
        for (index, entry) in segment.entries.iter().enumerate() {
            let dot = header.dot(index);
            let change = Change::read(entry).map_err(trust_fault)?;
            let mut knew = context.clone();
            knew.0.insert(dot.incarnation, dot.sequence - 1);
            fold_trust(&mut folded.trust, dot, &change, &knew).map_err(trust_fault)?;
        }
        folded.heads.0.insert(header.incarnation, Head { sequence: header.last_sequence(), chain: segment.hash });
    }
    Ok((folded, left_out))
}

fn load_spaces(view: &impl View) -> Result<BTreeMap<Space, SpaceState>, ViewFault> {
    let mut spaces: BTreeMap<Space, SpaceState> = BTreeMap::new();
    each_row(view, Table::Meta, rows::HEADS, |key, value| {
        let unreadable = || ViewFault("a head row has a broken key".into());
        let (space, incarnation) = rows::head_key_parts(key).ok_or_else(unreadable)?;
        let row: LogRow = stored(value)?;
        let state = spaces.entry(space).or_default();
        state.heads.0.extend(row.head.map(|head| (incarnation, head)));
        state.known.insert(incarnation, (row.context, row.needs));
        Ok(())
    })?;
    each_row(view, Table::Meta, rows::FEDERATIONS, |key, value| {
        let space = rows::space_from(&key[rows::FEDERATIONS.len()..]);
        let space = space.ok_or_else(|| ViewFault("a federation row has a broken key".into()))?;
        spaces.entry(space).or_default().federation = Some(stored(value)?);
        Ok(())
    })?;
    each_row(view, Table::Meta, rows::REMOVED, |key, value| {
        let unreadable = || ViewFault("a removal row has a broken key".into());
        let (space, node) = rows::space_and_node(key, rows::REMOVED).ok_or_else(unreadable)?;
        spaces.entry(space).or_default().removed.insert(node, stored(value)?);
        Ok(())
    })?;
    Ok(spaces)
}

fn load_floors(view: &impl View, spaces: &mut BTreeMap<Space, SpaceState>) -> Result<(), ViewFault> {
    each_row(view, Table::Meta, rows::FLOORS, |key, value| {
        let broken = || ViewFault("a floor row has a broken key".into());
        let (space, incarnation) = rows::floor_key_parts(key).ok_or_else(broken)?;
        spaces.entry(space).or_default().floors.insert(incarnation, stored(value)?);
        Ok(())
    })
}

/// The spaces that are named by keys after a prefix.
fn load_spaces_under(view: &impl View, prefix: &[u8]) -> Result<BTreeSet<Space>, ViewFault> {
    let mut spaces = BTreeSet::new();
    each_row(view, Table::Meta, prefix, |key, _| {
        spaces.extend(rows::space_from(&key[prefix.len()..]));
        Ok(())
    })?;
    Ok(spaces)
}

fn load_repositories(view: &impl View) -> Result<BTreeMap<String, Repository>, ViewFault> {
    let mut repositories = BTreeMap::new();
    each_row(view, Table::Meta, rows::REPOSITORIES, |_, value| {
        let repository: Repository = stored(value)?;
        repositories.insert(repository.key.folded(), repository);
        Ok(())
    })?;
    Ok(repositories)
}

fn load_addresses(view: &impl View) -> Result<BTreeMap<NodeId, Addresses>, ViewFault> {
    let mut addresses = BTreeMap::new();
    each_row(view, Table::Meta, rows::ADDRESSES, |key, value| {
        if let Ok(node) = key[rows::ADDRESSES.len()..].try_into() {
            addresses.insert(NodeId(node), stored(value)?);
        }
        Ok(())
    })?;
    Ok(addresses)
}
