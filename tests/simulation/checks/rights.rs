//! Nothing is applied that its author had no right to, by a reading of the truth that shares nothing with the core's: a
//! signature, a grant that the author knew, and for a federation a membership that it knew.

use std::collections::BTreeSet;

use artimesh_core::changelog::Change;
use artimesh_core::model::{CircleId, Context, Dot, Envelope, NodeId, Signature, Space, codec};
use artimesh_core::trust::{Capability, GrantBody, Role};
use ed25519_dalek::VerifyingKey;

use super::Fault;
use crate::truth::Entry;
use crate::world::World;

/// Every grant that was ever written, with the entry that holds it.
struct Grants(Vec<(Dot, GrantBody)>);

impl Grants {
    fn of(world: &World) -> Grants {
        let grant = |(dot, entry): (&Dot, &Entry)| match &entry.change {
            Some(Change::Grant(grant)) => Some((*dot, grant.read().expect("an applied grant is readable"))),
            _ => None,
        };
        Grants(world.truth.all(&Space::Trust).filter_map(grant).collect())
    }

    /// Whether `node` is a full member by a grant among those known, with this right.
    fn give(&self, node: &NodeId, right: &Capability, known: impl Fn(&Dot) -> bool) -> bool {
        let fits = |body: &GrantBody| body.node == *node && body.role == Role::Full && body.capabilities.include(right);
        self.0.iter().any(|(dot, body)| known(dot) && fits(body))
    }
}

/// Looks at every entry that any site that is up has applied. Says how many it looked at.
pub fn check(world: &World) -> Result<u64, Fault> {
    let (grants, circle) = (Grants::of(world), world.sites[0].mind().circle().expect("the founder has a circle"));
    let mut looked_at = 0;
    let mut signatures = BTreeSet::new();
    for space in world.truth.spaces() {
        let held = world.sites.iter().filter_map(|site| Some(site.mind_or_none()?.heads(space)));
        let held: Vec<_> = held.map(|heads| world.truth.known(space, &heads)).collect();
        let is_held = |dot: &Dot, entry: &Entry| {
            held.iter().any(|known| known.get(dot).is_some_and(|known| known.segment == entry.segment))
        };
        for (dot, entry) in world.truth.all(space).filter(|(dot, entry)| is_held(dot, entry)) {
            looked_at += 1;
            if !entry.is_witnessed && signatures.insert(entry.segment) {
                check_signature(world, &circle, entry)?;
            }
            check_entry(world, &grants, space, dot, entry)
                .map_err(|why| format!("{dot:?} in {space} was applied, and {why}"))?;
        }
    }
    Ok(looked_at)
}

/// Takes the bytes apart by itself: a core that checks no signatures finds none wrong.
fn check_signature(world: &World, circle: &CircleId, entry: &Entry) -> Result<(), Fault> {
    let segment = &world.truth.segments[entry.segment];
    let author = segment.header.incarnation;
    let envelope = Envelope::read_all(segment.bytes(), 1).expect("it was read before").remove(0);
    let (header, signature, _): (Vec<u8>, Signature, Vec<u8>) = codec::decode(&envelope.body).expect("as before");
    let key = VerifyingKey::from_bytes(&segment.header.key.0).map_err(|_| format!("{author:?} has a broken key"))?;
    let message = [b"artimesh/log/v1", &circle.0[..], &header].concat();
    let is_signed = key.verify_strict(&message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok();
    if !is_signed || NodeId::of(&segment.header.key) != author.node {
        return Err(format!("a segment of {author:?} was applied that it never signed"));
    }
    Ok(())
}

fn check_entry(world: &World, grants: &Grants, space: &Space, dot: &Dot, entry: &Entry) -> Result<(), Fault> {
    let author = dot.incarnation.node;
    let right = match (space, &entry.change) {
        (Space::Trust, Some(Change::Root(_))) => return founds(world, &author),
        (Space::Trust, Some(Change::Grant(grant))) if grant.root.is_some() => return founds(world, &author),
        (Space::Trust, Some(Change::Grant(_))) => Capability::Admit,
        (Space::Trust, Some(Change::Revoke(_))) => Capability::Revoke,
        (Space::Federation(_), Some(Change::Found(_))) => Capability::Found,
        (Space::Federation(id), Some(_)) => Capability::Write(Some(*id)),
        (_, change) => return Err(format!("it is {change:?}")),
    };
    let own_log = *space == Space::Trust;
    let knew = |grant: &Dot| covers(&entry.needs, grant) || own_log && entry.saw(dot, grant);
    if !grants.give(&author, &right, knew) {
        return Err(format!("its author knew of no grant to {}", right.name()));
    }
    let needs_membership = !own_log && !matches!(entry.change, Some(Change::Found(_)));
    if needs_membership && !was_let_in(world, space, dot, entry) {
        return Err("its author was never let into the federation".into());
    }
    Ok(())
}

fn covers(known: &Context, dot: &Dot) -> bool {
    known.0.get(&dot.incarnation).is_some_and(|sequence| *sequence >= dot.sequence)
}

fn founds(world: &World, author: &NodeId) -> Result<(), Fault> {
    if *author == world.node(0) { Ok(()) } else { Err("its author didn't found the circle".into()) }
}

/// Whether the author founded the federation or accepted an invitation, as far as it knew; an acceptance itself needs
/// only the invitation, and one whose end the author hadn't seen.
fn was_let_in(world: &World, space: &Space, dot: &Dot, entry: &Entry) -> bool {
    let author = dot.incarnation.node;
    let before = || world.truth.all(space).filter(|(other, _)| entry.saw(dot, other));
    let ends = |(other, earlier): &(&Dot, &Entry)| match &earlier.change {
        Some(Change::Remove(removal)) => removal.node == author,
        Some(Change::Leave) => other.incarnation.node == author,
        _ => false,
    };
    // Of a log that was lived twice, only one branch was seen: which, a context doesn't say.
    let is_certain = |other: &Dot| !world.truth.forked.contains(&(*space, other.incarnation));
    let is_open = |of: &Dot| !before().filter(ends).any(|(other, end)| is_certain(other) && end.saw(other, of));
    let is_acceptance = matches!(entry.change, Some(Change::Accept(_)));
    before().any(|(other, earlier)| match &earlier.change {
        Some(Change::Found(_) | Change::Accept(_)) if !is_acceptance => other.incarnation.node == author,
        Some(Change::Invite(invitation)) => invitation.node == author && is_acceptance && is_open(other),
        _ => false,
    })
}
