//! Those who lie: altered and replayed bytes, foreign segments, edges that author, thieves of keys, members with two faces.

use std::collections::BTreeMap;

use artimesh_core::catalog::Put;
use artimesh_core::changelog::{Accept, Change, Pruned, Sealed, kind};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, Digest, Dot, Head, Incarnation, Space};
use artimesh_core::replica::message::{Announcement, Message, SegmentsMessage};
use artimesh_core::replica::{Event, Input};
use artimesh_core::trust::Capability;

use super::forge::{Forgery, frame};
use super::history::History;
use super::world::{content, path, repo};

/// How a member twists what it sends, while it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// It answers every wish with nothing.
    Withhold,
    /// It claims to have more of every log than was ever written.
    Boast,
    /// It shows a state to whoever was away, with log ends that their authors never signed.
    Doctor,
    /// It offers what was live once, with all that its author signed, among what is live.
    Exhume,
}

/// So many segments are dug up for an answer, the latest.
const EXHUMED_MAX: usize = 32;

impl Lie {
    /// What is sent in place of `frame`.
    pub fn twist(self, frame: Vec<u8>, segments: &[Sealed], twisted: &mut BTreeMap<&'static str, u64>) -> Vec<u8> {
        match (self, Message::read(&frame)) {
            (Lie::Exhume, Ok(Message::Items(mut items))) => {
                // What nobody admits would only have the whole answer refused.
                let is_applied = |segment: &&Sealed| {
                    let header = &segment.header;
                    header.space == items.space && items.heads.cover(&header.dot(header.entries as usize - 1))
                };
                let of_space = segments.iter().rev().filter(is_applied);
                let proofs = of_space.filter_map(puts_of).take(EXHUMED_MAX);
                let dead: Vec<_> = proofs.filter(|proof| !items.segments.contains(proof)).collect();
                *twisted.entry("dead items offered").or_default() += u64::from(!dead.is_empty());
                items.segments.extend(dead);
                Message::Items(items).to_bytes()
            }
            (Lie::Withhold, Ok(Message::Segments(held))) if !held.segments.is_empty() => {
                *twisted.entry("segments withheld").or_default() += 1;
                let nothing = SegmentsMessage { segments: Vec::new(), more: false, ..held };
                Message::Segments(nothing).to_bytes()
            }
            (Lie::Boast, Ok(Message::Heads(mut heads))) => {
                *twisted.entry("false heads claimed").or_default() += 1;
                let logs = heads.spaces.iter_mut().flat_map(|space| space.heads.0.values_mut());
                logs.for_each(|head| *head = Head { sequence: head.sequence + 1_000, chain: Digest::ZERO });
                Message::Heads(heads).to_bytes()
            }
            (Lie::Doctor, Ok(Message::Snapshot(mut shown))) if !shown.logs.is_empty() => {
                *twisted.entry("state shown with a false log end").or_default() += 1;
                shown.logs.iter_mut().for_each(|(_, log)| break_signature(&mut log.head));
                Message::Snapshot(shown).to_bytes()
            }
            _ => frame,
        }
    }
}

/// The puts of a segment, with its author's proof.
fn puts_of(segment: &Sealed) -> Option<Vec<u8>> {
    let is_put = |index: &u32| segment.entries[*index as usize].kind == kind::PUT;
    let has_put = (0..segment.header.entries).any(|index| is_put(&index));
    has_put.then(|| Pruned::of(segment, |index| is_put(&index)).to_bytes())
}

/// Alters the signature of what is left of a segment: after the envelope's kind and length, and the header with its length.
fn break_signature(bytes: &mut [u8]) {
    let header: [u8; 8] = bytes[6..14].try_into().expect("8 of them");
    bytes[14 + u64::from_le_bytes(header) as usize] ^= 1;
}

/// One lie.
pub fn act(history: &mut History) {
    match history.dice.below(6) {
        0 => alter(history),
        1 => replay(history),
        2 => foreign(history),
        3 => overstep(history),
        4 => babble(history),
        _ => turn_face(history),
    }
}

/// What a thief does with a key, once one is stolen.
pub fn thieve(history: &mut History) {
    if !history.world.sites.iter().any(|site| site.stolen) {
        if history.dice.once_in(4) {
            steal(history);
        }
        return;
    }
    if history.dice.once_in(2) { kill_unseen(history) } else { write_as_thief(history) }
}

/// A member begins or ends to twist what it sends.
fn turn_face(history: &mut History) {
    let site = history.dice.below(history.world.sites.len());
    if history.world.lies.remove(&site).is_none() {
        let lie = *history.dice.pick(&[Lie::Withhold, Lie::Boast, Lie::Doctor, Lie::Exhume]).expect("four of them");
        history.world.lies.insert(site, lie);
    }
}

fn some_segment(history: &mut History) -> Option<Sealed> {
    let all = &history.world.truth.segments;
    // Recent ones, mostly: old ones everybody has.
    let from = if history.dice.once_in(3) { 0 } else { all.len().saturating_sub(8) };
    all.get(from + history.dice.below(all.len() - from)).cloned()
}

/// Brings bytes to some site, from a connected peer or by gossip; says whether it refused something.
fn bring(history: &mut History, space: Space, bytes: &[u8]) -> bool {
    let Some(to) = history.some_site() else { return false };
    let peers: Vec<usize> =
        (0..history.world.sites.len()).filter(|from| history.world.network.is_open(*from, to)).collect();
    let before = refusals(history, to);
    if history.dice.once_in(2) {
        let Some(from) = history.dice.pick(&peers).copied() else { return false };
        let node = history.world.node(from);
        history.world.handle(to, Input::Frame(node, frame(space, &[bytes])), None);
    } else {
        let bytes = Announcement::Segment(bytes.to_vec()).to_bytes();
        history.world.handle(to, Input::Gossip(space, bytes), None);
    }
    refusals(history, to) > before
}

fn refusals(history: &History, site: usize) -> usize {
    history.world.sites[site].notes.iter().filter(|event| matches!(event, Event::Refused { .. })).count()
}

fn alter(history: &mut History) {
    let Some(segment) = some_segment(history) else { return };
    let mut bytes = segment.bytes().to_vec();
    let at = history.dice.below(bytes.len());
    bytes[at] ^= 1 << history.dice.below(8);
    let refused = bring(history, segment.header.space, &bytes);
    history.liar_acted("altered bytes refused", refused);
}

fn replay(history: &mut History) {
    let Some(segment) = some_segment(history) else { return };
    bring(history, segment.header.space, segment.bytes());
    history.did("segment replayed");
}

fn lie(history: &mut History, kills: Vec<Dot>, at: &str) -> Change {
    let timestamp = Timestamp(if history.dice.once_in(2) { u64::MAX } else { history.world.now });
    put_at(timestamp, kills, at)
}

fn put_at(timestamp: Timestamp, kills: Vec<Dot>, at: &str) -> Change {
    Change::Put(Put {
        path: path(at),
        content: content("a lie"),
        timestamp,
        kills,
        created: timestamp,
        created_by: "liar".into(),
        modified_by: "liar".into(),
        moved_from: None,
    })
}

fn libs(history: &History) -> Option<Space> {
    let mind = history.world.sites[0].replica.as_ref()?;
    mind.repositories().get("libs").map(|repository| repository.space)
}

/// Begins a forgery of `site`, with all that the first site knows and that `site` itself wrote.
fn forge(history: &History, site: usize, space: Space) -> Option<Forgery> {
    let mind = history.world.sites[0].replica.as_ref()?;
    let (heads, trust) = (mind.heads(&space), mind.heads(&Space::Trust));
    let node = history.world.node(site);
    let known = heads.0.keys().rfind(|incarnation| incarnation.node == node).copied();
    let incarnation = known.unwrap_or(Incarnation { node, number: 1 });
    Some(Forgery::of(&history.world.sites[site], incarnation, space, &heads, &trust))
}

fn foreign(history: &mut History) {
    let Some(space) = libs(history) else { return };
    let change = lie(history, Vec::new(), "a/x");
    let Some(forgery) = forge(history, 1, space) else { return };
    let segment = forgery.says(&change).signed(&history.world.sites[1], &CircleId([6; 32]));
    let refused = bring(history, space, segment.bytes());
    history.liar_acted("foreign segment refused", refused);
}

/// An edge, or a member that may only look on, lets itself in and writes.
fn overstep(history: &mut History) {
    let Some(space) = libs(history) else { return };
    let trust = history.world.sites[0].mind().trust().expect("the founder has a circle");
    let mays_not = |site: &usize| !trust.holds(&history.world.node(*site), &Capability::Write(None), None);
    let all: Vec<usize> = (0..history.world.sites.len()).filter(mays_not).collect();
    let Some(site) = history.dice.pick(&all).copied() else { return };
    let circle = history.world.sites[0].mind().circle().expect("the founder has a circle");
    history.impersonated.insert(site);
    let accept = Change::Accept(Accept { repo_key: repo("libs") });
    let change = lie(history, Vec::new(), "a/x");
    let Some(forgery) = forge(history, site, space) else { return };
    let segment = forgery.says(&accept).says(&change).signed(&history.world.sites[site], &circle);
    let refused = bring(history, space, segment.bytes());
    let is_edge = history.edges.contains(&site);
    let what = if is_edge { "entry of an edge refused" } else { "entry of who may only look on refused" };
    history.liar_acted(what, refused);
}

fn babble(history: &mut History) {
    let Some(to) = history.some_site() else { return };
    let from = history.dice.below(history.world.sites.len());
    let node = history.world.node(from);
    let length = history.dice.below(60);
    let bytes: Vec<u8> = (0..length).map(|_| history.dice.bits() as u8).collect();
    let before = refusals(history, to);
    history.world.handle(to, Input::Frame(node, bytes), None);
    let refused = refusals(history, to) > before;
    history.liar_acted("babble refused", refused);
}

/// A thief takes a full member's key: that site is down for good.
fn steal(history: &mut History) {
    let count = history.world.sites.len();
    let site = 1 + history.dice.below(count - 1);
    if history.fulls_left() < 4 || history.edges.contains(&site) || history.world.sites[site].is_gone() {
        return;
    }
    history.world.crash(site);
    history.world.sites[site].stolen = true;
    history.did_to_a_node("key stolen");
}

/// A thief writes that it kills what it can't have seen.
fn kill_unseen(history: &mut History) {
    let thieves: Vec<usize> = (0..history.world.sites.len()).filter(|site| history.world.sites[*site].stolen).collect();
    let (Some(thief), Some(space)) = (history.dice.pick(&thieves).copied(), libs(history)) else { return };
    let circle = history.world.sites[0].mind().circle().expect("the founder has a circle");
    let Some(mut forgery) = forge(history, thief, space) else { return };
    if has_more(history, &forgery) {
        return;
    }
    let Some(victim) = forgery.context.0.keys().next().copied() else { return };
    let seen = forgery.context.0.remove(&victim).unwrap_or(0);
    // Beyond what anybody wrote, so that no receiver can take it for seen and let a fork in.
    let unseen = Dot { incarnation: victim, sequence: seen + 1_000 };
    let change = lie(history, vec![unseen], "a/x");
    // Continues its own log from where the first site has it, or something else.
    forgery.after.chain = if history.dice.once_in(4) { Digest::of(b"fork") } else { forgery.after.chain };
    let segment = forgery.says(&change).signed(&history.world.sites[thief], &circle);
    history.babbled.insert((space, segment.header.incarnation));
    let refused = bring(history, space, segment.bytes());
    history.liar_acted("kill of the unseen refused", refused);
}

/// Whether somebody has more of the log that a forgery continues than the first site has.
fn has_more(history: &History, forgery: &Forgery) -> bool {
    let mut all = history.world.truth.all(&forgery.space);
    all.any(|(dot, _)| dot.incarnation == forgery.incarnation && dot.sequence > forgery.after.sequence)
}

/// A thief goes on with the log of whom it robbed, and may: what it writes is as good as any, but for its time.
fn write_as_thief(history: &mut History) {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let thieves: Vec<usize> = (0..history.world.sites.len()).filter(|site| history.world.sites[*site].stolen).collect();
    let (Some(thief), Some(space)) = (history.dice.pick(&thieves).copied(), libs(history)) else { return };
    let circle = history.world.sites[0].mind().circle().expect("the founder has a circle");
    let Some(forgery) = forge(history, thief, space) else { return };
    if has_more(history, &forgery) {
        // Somebody has more of this log than the first site: it would be a fork.
        return;
    }
    let (when, timestamp) = match history.dice.below(3) {
        0 => ("written at the beginning of time", Timestamp(1)),
        1 => ("written a year ahead", Timestamp(history.world.now + YEAR_MS)),
        _ => ("written at the end of time", Timestamp(u64::MAX)),
    };
    let segment = forgery.says(&put_at(timestamp, Vec::new(), "a/y")).signed(&history.world.sites[thief], &circle);
    // To the first site, which has all of this log, and which is to pass it on.
    if history.world.sites[0].is_up() {
        let bytes = Announcement::Segment(segment.bytes().to_vec()).to_bytes();
        history.world.handle(0, Input::Gossip(space, bytes), None);
    }
    let landed = history.world.truth.has(&segment);
    history.liar_acted(when, landed);
}
