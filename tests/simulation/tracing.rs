//! What happens in a replayed history, a line each, with `ARTIMESH_TRACE` in the environment: frames that say something of a
//! space, what sites took note of, and acts.
//!
//! Lives are written as the first letter of their site and the first digits of their number (`a.0`), segments with
//! what they hold.

use std::fmt::Write as _;
use std::sync::OnceLock;

use artimesh_core::changelog::{Change, Stored};
use artimesh_core::model::{Context, Dot, Heads, Incarnation, NodeId, Space};
use artimesh_core::replica::Event;
use artimesh_core::replica::message::{Announcement, Message};

use crate::world::World;

pub fn is_on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os("ARTIMESH_TRACE").is_some())
}

fn name(world: &World, node: &NodeId) -> String {
    let initial = |site: usize| world.sites[site].identity.name.to_string().chars().next().unwrap_or('?');
    world.number(node).map_or_else(|| node.short(), |site| initial(site).to_string())
}

fn life(world: &World, incarnation: &Incarnation) -> String {
    let number: String = format!("{:x}", incarnation.number).chars().take(4).collect();
    format!("{}.{number}", name(world, &incarnation.node))
}

fn dot(world: &World, dot: &Dot) -> String {
    format!("{}#{}", life(world, &dot.incarnation), dot.sequence)
}

fn heads(world: &World, heads: &Heads) -> String {
    let one = |(of, head): (&Incarnation, &artimesh_core::model::Head)| {
        let chain: String = format!("{:?}", head.chain).chars().take(4).collect();
        format!("{} {} {chain}", life(world, of), head.sequence)
    };
    heads.0.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn context(world: &World, context: &Context) -> String {
    let one = |(of, sequence): (&Incarnation, &u64)| format!("{} {sequence}", life(world, of));
    context.0.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// In a word or two.
pub fn change(world: &World, change: &Change) -> String {
    let dots = |all: &[Dot]| all.iter().map(|one| dot(world, one)).collect::<Vec<_>>().join(" ");
    match change {
        Change::Put(put) => format!("put {} -[{}]", put.path, dots(&put.kills)),
        Change::Delete(delete) => format!("del {} -[{}]", delete.path, dots(&delete.kills)),
        Change::DeletePrefix(delete) => format!("del {}*", delete.prefix),
        Change::EditProperties(edit) => format!("edit {} of {}", edit.path, dot(world, &edit.version)),
        Change::Invite(invitation) => format!("invite {}", name(world, &invitation.node)),
        Change::Remove(removal) => format!("remove {}", name(world, &removal.node)),
        Change::Reborn(old) => format!("reborn {}", life(world, old)),
        Change::Found(_) => "found".into(),
        Change::Accept(_) => "accept".into(),
        Change::Leave => "leave".into(),
        Change::Grant(grant) => {
            grant.read().map_or("grant".into(), |body| format!("grant {}", name(world, &body.node)))
        }
        other => format!("{other:?}").chars().take(40).collect(),
    }
}

fn segment(world: &World, bytes: &[u8]) -> String {
    let Ok(stored) = Stored::read(bytes) else { return "unreadable".into() };
    let (header, hash) = (stored.header().clone(), format!("{:?}", stored.hash()));
    let is_pruned = matches!(stored, Stored::Pruned(_));
    let mut text = format!("{} {}", life(world, &header.incarnation), hash.chars().take(4).collect::<String>());
    let _ = write!(
        text,
        " {}..{}{}",
        header.first_sequence,
        header.last_sequence(),
        if is_pruned { " pruned" } else { "" }
    );
    for (index, entry) in stored.narrowed(|_| true).entries() {
        let said = Change::read(entry).map_or("?".into(), |it| change(world, &it));
        let _ = write!(text, "; #{} {said}", header.dot(index as usize).sequence);
    }
    format!("[{text} | saw {}]", context(world, &header.context))
}

fn segments(world: &World, all: &[Vec<u8>]) -> String {
    all.iter().map(|bytes| segment(world, bytes)).collect::<Vec<_>>().join(" ")
}

fn short(space: &Space) -> String {
    match space {
        Space::Trust | Space::Accounts => space.to_string(),
        Space::Federation(_) => space.to_string().trim_start_matches("federation ").chars().take(4).collect(),
    }
}

fn message(world: &World, message: &Message) -> Option<String> {
    Some(match message {
        Message::Heads(told) => {
            let one = |it: &artimesh_core::replica::message::SpaceHeads| {
                format!("{} {{{}}}", short(&it.space), heads(world, &it.heads))
            };
            format!("heads {}", told.spaces.iter().map(one).collect::<Vec<_>>().join(" "))
        }
        Message::Want(want) => format!("want {} since {{{}}}", short(&want.space), context(world, &want.since)),
        Message::Segments(sent) => format!("segments {} {}", short(&sent.space), segments(world, &sent.segments)),
        Message::Items(sent) => format!(
            "items {} at {{{}}} {} done {} {:?}",
            short(&sent.space),
            context(world, &sent.heads),
            segments(world, &sent.segments),
            sent.done,
            sent.rest
        ),
        Message::Snapshot(shot) => {
            let ends: Vec<Vec<u8>> = shot.logs.iter().map(|(_, log)| log.head.clone()).collect();
            let kind = match (&shot.state, &shot.federation) {
                (None, _) => "not now",
                (_, None) => "the same",
                _ => "",
            };
            format!("snapshot {} {kind} {} more {}", short(&shot.space), segments(world, &ends), shot.more)
        }
        Message::Probe(probe) => {
            let ends = probe
                .ends
                .iter()
                .map(|end| (probe.incarnation, *end))
                .map(|(of, end)| heads(world, &Heads([(of, end)].into())));
            format!("probe {} {}", short(&probe.space), ends.collect::<Vec<_>>().join(", "))
        }
        Message::Fork(proof) => {
            let header = |it: &artimesh_core::changelog::Claim| {
                it.header().map(|h| format!("{} {}.. {:.4?}", life(world, &h.incarnation), h.first_sequence, it.hash()))
            };
            format!("fork {:?} {:?}", header(&proof.winner), header(&proof.loser))
        }
        Message::Clock(_) | Message::Statements(_) => return None,
        Message::State(state) => match world.sites[0]
            .mind_or_none()
            .and_then(|mind| mind.circle())
            .and_then(|circle| state.open(&circle).ok())
        {
            Some(body) => {
                format!("state {} {:?} live {} on trial {}", short(&body.space), body.state, body.live, body.on_trial)
            }
            None => "state".into(),
        },
        other => format!("{:.300}", format!("{other:?}")),
    })
}

/// A frame that is handed over.
pub fn frame(world: &World, from: usize, to: usize, bytes: &[u8]) {
    if is_on() {
        let read = Message::read(bytes);
        let text = match &read {
            Ok(read) => message(world, read),
            Err(error) => Some(error.to_string()),
        };
        if let Some(text) = text {
            println!("{} > {}: {text}", world.sites[from].identity.name, world.sites[to].identity.name);
        }
    }
}

/// What was gossiped.
pub fn gossip(world: &World, to: usize, bytes: &[u8]) {
    if is_on() {
        let said = match Announcement::read(bytes) {
            Ok(Some(Announcement::Segment(bytes))) => segment(world, &bytes),
            Ok(other) => format!("{other:?}"),
            Err(error) => error,
        };
        println!("gossip > {}: {said}", world.sites[to].identity.name);
    }
}

/// What a site took note of.
pub fn note(world: &World, site: usize, event: &Event) {
    if is_on() {
        println!("        {} notes {event:?}", world.sites[site].identity.name);
    }
}

/// What befell the world.
pub fn act(world: &World, what: &str) {
    if is_on() {
        println!(
            "-- {what}: {}",
            world.sites.iter().map(|site| if site.is_up() { '+' } else { '-' }).collect::<String>()
        );
    }
}
