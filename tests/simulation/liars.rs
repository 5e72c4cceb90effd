//! Those who lie: altered and replayed bytes, foreign segments, edges that author, thieves of keys.

use artimesh_core::catalog::Put;
use artimesh_core::changelog::Change;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, Digest, Dot, Incarnation, Space};
use artimesh_core::replica::message::Announcement;
use artimesh_core::replica::{Event, Input};

use super::forge::{Forgery, frame};
use super::history::History;
use super::world::{content, path};

/// One lie.
pub fn act(history: &mut History) {
    match history.dice.below(7) {
        0 => alter(history),
        1 => replay(history),
        2 => foreign(history),
        3 => edge_authors(history),
        4 => babble(history),
        5 => steal(history),
        _ => kill_unseen(history),
    }
}

fn some_segment(history: &mut History) -> Option<artimesh_core::changelog::Sealed> {
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
    history.faults.count("altered bytes refused", u64::from(refused));
}

fn replay(history: &mut History) {
    let Some(segment) = some_segment(history) else { return };
    bring(history, segment.header.space, segment.bytes());
    history.faults.count("segment replayed", 1);
}

fn lie(history: &mut History, kills: Vec<Dot>, at: &str) -> Change {
    let timestamp = Timestamp(if history.dice.once_in(2) { u64::MAX } else { history.world.now });
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
    history.faults.count("foreign segment refused", u64::from(refused));
}

fn edge_authors(history: &mut History) {
    let (Some(edge), Some(space)) = (history.edges.first().copied(), libs(history)) else { return };
    let circle = history.world.sites[0].mind().circle().expect("the founder has a circle");
    let change = lie(history, Vec::new(), "a/x");
    let Some(forgery) = forge(history, edge, space) else { return };
    let segment = forgery.says(&change).signed(&history.world.sites[edge], &circle);
    let refused = bring(history, space, segment.bytes());
    history.faults.count("entry of an edge refused", u64::from(refused));
}

fn babble(history: &mut History) {
    let Some(to) = history.some_site() else { return };
    let from = history.dice.below(history.world.sites.len());
    let node = history.world.node(from);
    let length = history.dice.below(60);
    let bytes: Vec<u8> = (0..length).map(|_| history.dice.bits() as u8).collect();
    let before = refusals(history, to);
    history.world.handle(to, Input::Frame(node, bytes), None);
    history.faults.count("babble refused", u64::from(refusals(history, to) > before));
}

/// A thief takes a full member's key: that site is down for good.
fn steal(history: &mut History) {
    let count = history.world.sites.len();
    let stolen = history.world.sites.iter().filter(|site| site.stolen).count();
    let site = 1 + history.dice.below(count - 1);
    let fulls = count - history.edges.len() - stolen;
    if fulls < 4 || history.edges.contains(&site) || history.dice.once_in(2) || history.world.sites[site].stolen {
        return;
    }
    history.world.crash(site);
    history.world.sites[site].stolen = true;
    history.faults.count("key stolen", 1);
}

/// A thief writes that it kills what it can't have seen.
fn kill_unseen(history: &mut History) {
    let thieves: Vec<usize> = (0..history.world.sites.len()).filter(|site| history.world.sites[*site].stolen).collect();
    let (Some(thief), Some(space)) = (history.dice.pick(&thieves).copied(), libs(history)) else { return };
    let circle = history.world.sites[0].mind().circle().expect("the founder has a circle");
    let Some(mut forgery) = forge(history, thief, space) else { return };
    let Some(victim) = forgery.context.0.keys().next().copied() else { return };
    let seen = forgery.context.0.remove(&victim).unwrap_or(0);
    // Beyond what anybody wrote, so that no receiver can take it for seen and let a fork in.
    let unseen = Dot { incarnation: victim, sequence: seen + 1_000 };
    let change = lie(history, vec![unseen], "a/x");
    // Continues its own log from where the first site has it; a fork of it, perhaps, if others have more.
    forgery.after.chain = if history.dice.once_in(4) { Digest::of(b"fork") } else { forgery.after.chain };
    let segment = forgery.says(&change).signed(&history.world.sites[thief], &circle);
    let refused = bring(history, space, segment.bytes());
    history.faults.count("kill of the unseen refused", u64::from(refused));
}
