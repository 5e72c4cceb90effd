//! A former member that missed its own leave or removal, after the others pruned what it lacks of the log, is shown the
//! entry that ended its membership; and what isn't that entry moves nobody out.

use artimesh_core::catalog::Removal;
use artimesh_core::changelog::{Change, ForkProof, Pruned, Sealed, SegmentError, kind};
use artimesh_core::model::{Dot, NodeId, Space};
use artimesh_core::replica::message::{Farewell, Message};
use artimesh_core::replica::{Command, CommandError, Event, FarewellFault, Input, Refusal, Retention};
use artimesh_core::trust::{Capabilities, Role, TrustRefusal};

use super::{away, circle, forgery, lie};
use crate::disk::Disk;
use crate::world::{World, create, delete, put, repo, writer};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn remove(node: NodeId) -> Command {
    Command::Remove { key: repo("libs"), node, by: "tester".into() }
}

fn rounds(world: &mut World, count: u64) {
    for dice in 0..count {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
}

/// Writes and deletes at the first site, so that half of its log is dead.
fn churn(world: &mut World, site: usize) {
    for number in 0..20 {
        world.ask(site, put("libs", &format!("churn/{number}"), "soon dead")).expect("put");
        world.settle();
    }
    for number in 0..20 {
        world.ask(site, delete("libs", &format!("churn/{number}"))).expect("delete");
        world.settle();
    }
}

/// Everybody but bob prunes what is dead and older than a second.
fn prune(world: &mut World, sites: &[usize]) {
    for site in sites {
        world.sites[*site].retention = Retention { whole_ms: 1_000, deletes_ms: 1_000 };
        world.crash(*site);
        world.restart(*site);
    }
    for dice in 0..30 {
        world.connect_all();
        world.round(dice);
    }
}

/// Bob goes away, is removed, and what he lacks is pruned before he comes back.
fn removed_while_away() -> (World, Space) {
    let mut world = super::federated();
    let (space, bob) = (world.space(ALICE, "libs"), world.node(BOB));
    world.ask(BOB, put("libs", "bobs", "bob's")).expect("put");
    world.settle();
    world.crash(BOB);
    churn(&mut world, ALICE);
    world.ask(ALICE, remove(bob)).expect("the founder may");
    world.settle();
    prune(&mut world, &[ALICE, CAROL, 3]);
    (world, space)
}

fn is_out(world: &World, space: &Space) -> bool {
    let mind = world.sites[BOB].mind();
    world.repository(BOB, "libs").is_none() && !mind.is_member(space)
}

fn comes_back(world: &mut World) {
    world.restart(BOB);
    rounds(world, 6);
}

/// The segment in which the first entry of this kind was written, and the proof of that entry alone.
fn written(world: &World, of: u16) -> (Sealed, Pruned) {
    let has = |segment: &&Sealed| segment.entries.iter().any(|entry| entry.kind == of);
    let segment = world.truth.segments.iter().find(has).expect("somebody wrote it").clone();
    let index = segment.entries.iter().position(|entry| entry.kind == of).expect("just found");
    let proof = Pruned::of(&segment, |at| at as usize == index);
    (segment, proof)
}

/// Shows bob these bytes as a farewell; the refusals, after checking that he is a member as before and nothing was written.
fn refused(world: &mut World, from: usize, space: Space, entry: Vec<u8>) -> Vec<Refusal> {
    let rows = world.sites[BOB].disk.clone();
    world.sites[BOB].notes.clear();
    let frame = Message::Farewell(Farewell { space, entry }).to_bytes();
    world.handle(BOB, Input::Frame(world.node(from), frame), None);
    assert!(world.sites[BOB].disk == rows, "rows were written");
    assert!(world.sites[BOB].mind().is_member(&space), "it is out");
    world.refusals(BOB)
}

#[test]
fn a_member_removed_while_it_was_away_hears_of_it_though_the_log_was_pruned() {
    let (mut world, space) = removed_while_away();
    world.restart(BOB);
    world.ask(BOB, put("libs", "x", "meanwhile")).expect("it doesn't know");
    rounds(&mut world, 6);
    assert!(is_out(&world, &space));
    assert!(world.sites[BOB].notes.contains(&Event::Removed { space, by: world.node(ALICE) }));
    assert_eq!(world.sites[BOB].mind().farewells(), 1, "the log alone doesn't say it");
    assert_eq!(world.ask(BOB, put("libs", "x", "one")), Err(CommandError::NoRepository(repo("libs"))));
    for site in [ALICE, CAROL, 3] {
        assert_eq!(world.versions(site, "libs", "x").len(), 1, "what it wrote meanwhile counts, at site {site}");
        assert_eq!(world.digest(site, &space), world.digest(ALICE, &space));
    }
    // It says so once, and goes on knowing it.
    world.crash(BOB);
    comes_back(&mut world);
    assert!(is_out(&world, &space));
    let told = world.sites[BOB].notes.iter().filter(|note| matches!(note, Event::Removed { .. })).count();
    assert_eq!(told, 1);
}

/// Bob leaves, the others prune what tells so, and he is set back to what he was.
fn leave_and_set_back(world: &mut World, copy: Disk) {
    for site in [BOB, ALICE] {
        churn(world, site);
    }
    world.ask(BOB, Command::DeleteRepository(repo("libs"))).expect("anybody may leave");
    world.settle();
    world.crash(BOB);
    prune(world, &[ALICE, CAROL, 3]);
    world.sites[BOB].disk = copy;
    world.restart(BOB);
}

#[test]
fn a_member_set_back_to_before_it_left_hears_of_it_though_the_log_was_pruned() {
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    let mut copy = world.sites[BOB].disk.clone();
    copy.forget_incarnation();
    leave_and_set_back(&mut world, copy);
    assert!(world.sites[BOB].mind().is_member(&space), "it has forgotten");
    rounds(&mut world, 6);
    assert!(is_out(&world, &space));
}

#[test]
fn a_copied_folder_that_is_shown_its_own_leave_writes_on_in_another_life() {
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    // Nobody tells it that it is a copy.
    let copy = world.sites[BOB].disk.clone();
    leave_and_set_back(&mut world, copy);
    let before = world.sites[BOB].mind().incarnation();
    rounds(&mut world, 6);
    assert!(is_out(&world, &space));
    assert_ne!(world.sites[BOB].mind().incarnation(), before);
}

#[test]
fn who_took_a_state_over_asks_for_what_ended_memberships_and_shows_it_in_its_turn() {
    let mut world = super::federated();
    let (space, bob) = (world.space(ALICE, "libs"), world.node(BOB));
    world.crash(BOB);
    world.crash(CAROL);
    churn(&mut world, ALICE);
    world.ask(ALICE, remove(bob)).expect("the founder may");
    prune(&mut world, &[ALICE, 3]);
    world.restart(CAROL);
    rounds(&mut world, 4);
    let took_over = |note: &Event| matches!(note, Event::Reconciled { .. });
    assert!(world.sites[CAROL].notes.iter().any(took_over), "it took the state over");
    // Only carol is left to tell.
    for gone in [ALICE, 3] {
        world.crash(gone);
    }
    comes_back(&mut world);
    assert!(is_out(&world, &space));
}

#[test]
fn a_state_brings_the_last_words_of_who_left_though_its_author_forgets_them_at_once() {
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    let mut copy = world.sites[BOB].disk.clone();
    copy.forget_incarnation();
    for away in [ALICE, CAROL, 3] {
        world.crash(away);
    }
    churn(&mut world, BOB);
    world.ask(BOB, Command::DeleteRepository(repo("libs"))).expect("anybody may leave");
    prune(&mut world, &[BOB]);
    // Alice takes bob's state over, and has no answer to what she asks beyond that.
    world.restart(ALICE);
    world.connect(ALICE, BOB);
    world.settle_but(|_, message| matches!(message, Message::Farewell(_)));
    let took_over = |note: &Event| matches!(note, Event::Reconciled { .. });
    assert!(world.sites[ALICE].notes.iter().any(took_over), "she took the state over");
    world.crash(BOB);
    world.sites[BOB].disk = copy;
    for back in [BOB, CAROL, 3] {
        world.restart(back);
    }
    assert!(world.sites[BOB].mind().is_member(&space), "it has forgotten");
    rounds(&mut world, 6);
    assert!(is_out(&world, &space));
}

#[test]
fn who_was_moved_out_by_a_farewell_may_be_invited_again() {
    let (mut world, space) = removed_while_away();
    comes_back(&mut world);
    assert!(is_out(&world, &space));
    let bob = world.node(BOB);
    world.ask(ALICE, Command::Invite(repo("libs"), bob)).expect("no member now");
    rounds(&mut world, 8);
    world.ask(BOB, put("libs", "again", "again")).expect("a member again");
    rounds(&mut world, 4);
    assert_eq!(world.sites[BOB].mind().farewells(), 0, "its log says all of it now");
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "again").len(), 1, "at site {site}");
        assert_eq!(world.digest(site, &space), world.digest(ALICE, &space), "at site {site}");
    }
}

#[test]
fn a_farewell_from_before_an_admission_is_refused_however_often_it_is_replayed() {
    let (mut world, space) = removed_while_away();
    let (_, proof) = written(&world, kind::REMOVE);
    comes_back(&mut world);
    let bob = world.node(BOB);
    world.ask(ALICE, Command::Invite(repo("libs"), bob)).expect("no member now");
    rounds(&mut world, 8);
    assert!(world.sites[BOB].mind().is_member(&space));
    // Its log has the removal too: nothing to be said against it.
    assert_eq!(refused(&mut world, CAROL, space, proof.to_bytes()), []);

    // Alice writes it once more, as if she hadn't seen the second acceptance.
    let seen = proof.header.context;
    let mut forged = forgery(&world, ALICE, space);
    forged.context = seen;
    let removal = Change::Remove(Removal { node: bob, by: "tester".into() });
    let forged = forged.says(&removal).signed(&world.sites[ALICE], &circle(&world));
    let dot = forged.header.dot(0);
    for _ in 0..2 {
        let bytes = Pruned::of(&forged, |_| true).to_bytes();
        let refusals = refused(&mut world, CAROL, space, bytes);
        assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::Earlier)]);
    }
}

#[test]
fn a_removal_of_somebody_else_moves_nobody_out() {
    let mut world = super::federated();
    let (space, carol) = (world.space(ALICE, "libs"), world.node(CAROL));
    world.crash(BOB);
    world.ask(ALICE, remove(carol)).expect("the founder may");
    world.settle();
    let (segment, proof) = written(&world, kind::REMOVE);
    world.restart(BOB);
    let refusals = refused(&mut world, ALICE, space, proof.to_bytes());
    let dot = segment.header.dot(0);
    assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::Another(carol))]);
}

#[test]
fn what_ends_nothing_is_no_farewell() {
    let mut world = away();
    let space = world.space(ALICE, "libs");
    world.restart(BOB);
    let (segment, proof) = written(&world, kind::PUT);
    let dot = proof.header.dot(proof.entries().next().expect("one").0 as usize);
    let refusals = refused(&mut world, ALICE, space, proof.to_bytes());
    assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::EndsNothing)]);
    let none = Pruned::of(&segment, |_| false).to_bytes();
    let refusals = refused(&mut world, ALICE, space, none);
    assert_eq!(refusals, [Refusal::Farewell(segment.header.dot(0), FarewellFault::EndsNothing)]);
    assert!(matches!(refused(&mut world, ALICE, space, vec![1, 2, 3])[..], [Refusal::Segment(_)]));
}

/// What `author` would have to write to remove bob, as far as that author knows.
fn removal_by(world: &World, author: usize, space: Space) -> (Dot, Sealed) {
    let removal = Change::Remove(Removal { node: world.node(BOB), by: "tester".into() });
    let mut forged = forgery(world, author, space);
    let bob = world.sites[BOB].mind().heads(&space).to_context();
    forged.context.merge(&bob);
    let segment = forged.says(&removal).signed(&world.sites[author], &circle(world));
    (segment.header.dot(0), segment)
}

#[test]
fn a_farewell_that_was_altered_is_refused() {
    let (mut world, space) = removed_while_away();
    let (_, proof) = written(&world, kind::REMOVE);
    world.restart(BOB);
    let bytes = proof.to_bytes();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert_eq!(refused(&mut world, ALICE, space, altered).len(), 1, "byte {at}");
    }
    // Signed by another than the author that it names.
    let (_, forged) = removal_by(&world, ALICE, space);
    let header = forged.header.clone();
    let by_carol = Sealed::sign(header, forged.entries, &world.sites[CAROL].identity.log_key, &circle(&world));
    let refusals = refused(&mut world, CAROL, space, Pruned::of(&by_carol, |_| true).to_bytes());
    assert_eq!(refusals, [Refusal::Trust(TrustRefusal::WrongKey(world.node(ALICE)))]);
}

#[test]
fn a_farewell_by_who_may_not_remove_is_refused() {
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    // Carol is a member without the right; the edge may write nothing at all.
    for author in [CAROL, 3] {
        let (_, segment) = removal_by(&world, author, space);
        let refusals = refused(&mut world, author, space, Pruned::of(&segment, |_| true).to_bytes());
        let node = world.node(author);
        assert!(matches!(&refusals[..], [Refusal::Trust(TrustRefusal::NotAllowed(who, _))] if *who == node));
    }
}

#[test]
fn a_farewell_of_another_federation_is_refused() {
    let mut world = super::federated();
    let (libs, bob) = (world.space(ALICE, "libs"), world.node(BOB));
    world.ask(ALICE, create("apps", vec![bob])).expect("a free key");
    world.settle();
    let apps = world.space(ALICE, "apps");
    let (_, segment) = removal_by(&world, ALICE, apps);
    let refusals = refused(&mut world, ALICE, libs, Pruned::of(&segment, |_| true).to_bytes());
    assert_eq!(refusals, [Refusal::NotShared(apps)]);
}

#[test]
fn an_entry_that_others_refuse_moves_its_author_out_of_nothing() {
    // A put with a farewell's proof around it, and a farewell with an entry that its header doesn't commit to.
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    let (_, removal) = removal_by(&world, ALICE, space);
    let put = forgery(&world, ALICE, space).says(&lie("x", Vec::new())).signed(&world.sites[ALICE], &circle(&world));
    let (removal, put) = (Pruned::of(&removal, |_| true).to_bytes(), Pruned::of(&put, |_| true).to_bytes());
    // The header of the one with the entry of the other: kind, length, then the header with its length and the signature.
    let header_end = |bytes: &[u8]| {
        let length: [u8; 8] = bytes[6..14].try_into().expect("8 of them");
        14 + u64::from_le_bytes(length) as usize + 64
    };
    let body = [&put[6..header_end(&put)], &removal[header_end(&removal)..]].concat();
    let mixed = [&put[..2], &(body.len() as u32).to_le_bytes()[..], &body[..]].concat();
    assert_eq!(refused(&mut world, ALICE, space, mixed), [Refusal::Segment(SegmentError::Root)]);
}

#[test]
fn who_is_not_known_as_a_member_moves_nobody_out_without_a_members_word() {
    let mut world = World::circle_where(3, 0, |_| Capabilities::all());
    let invite = vec![world.node(BOB)];
    world.ask(ALICE, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    let space = world.space(ALICE, "libs");
    // Carol may revoke anybody, and is no member. Bob can't know whether she has become one.
    let (dot, segment) = removal_by(&world, CAROL, space);
    let bytes = Pruned::of(&segment, |_| true).to_bytes();
    let refusals = refused(&mut world, CAROL, space, bytes.clone());
    assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::Stranger)]);
    let frame = Message::Farewell(Farewell { space, entry: bytes }).to_bytes();
    world.handle(BOB, Input::Frame(world.node(ALICE), frame), None);
    assert!(is_out(&world, &space));
}

#[test]
fn who_had_left_before_it_wrote_moves_nobody_out() {
    let mut world = World::circle_where(3, 0, |_| Capabilities::all());
    let invite = vec![world.node(BOB), world.node(CAROL)];
    world.ask(ALICE, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    let space = world.space(ALICE, "libs");
    world.ask(CAROL, Command::DeleteRepository(repo("libs"))).expect("anybody may leave");
    world.settle();
    world.round(2);
    let (dot, segment) = removal_by(&world, CAROL, space);
    let refusals = refused(&mut world, CAROL, space, Pruned::of(&segment, |_| true).to_bytes());
    assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::Stranger)]);
}

#[test]
fn what_a_life_said_that_was_lived_twice_is_no_farewell() {
    let mut world = super::federated();
    let space = world.space(ALICE, "libs");
    let (dot, removal) = removal_by(&world, ALICE, space);
    let other = forgery(&world, ALICE, space).says(&lie("x", Vec::new())).signed(&world.sites[ALICE], &circle(&world));
    let fork = ForkProof::of(removal.claim(), other.claim()).expect("both follow the same segment");
    world.handle(BOB, Input::Frame(world.node(CAROL), Message::Fork(fork).to_bytes()), None);
    world.sites[BOB].notes.clear();
    let refusals = refused(&mut world, CAROL, space, Pruned::of(&removal, |_| true).to_bytes());
    assert_eq!(refusals, [Refusal::Farewell(dot, FarewellFault::Forked)]);
}

#[test]
fn a_founder_that_was_removed_and_wiped_hears_of_it() {
    let mut world = World::circle(3, 0);
    let (alice, bob) = (world.node(ALICE), world.node(BOB));
    world.network.gossip_is_off = true;
    world.crash(ALICE);
    world.ask(BOB, create("libs", vec![alice])).expect("a free key");
    world.settle();
    world.ask(BOB, put("libs", "x", "one")).expect("put");
    world.settle();
    // She accepts having seen what is pruned later: without that her acceptance can't be applied.
    world.restart(ALICE);
    rounds(&mut world, 3);
    let space = world.space(ALICE, "libs");
    assert!(world.sites[ALICE].mind().is_member(&space));
    world.ask(ALICE, put("libs", "x", "two")).expect("a member");
    world.settle();
    world.crash(BOB);
    world.ask(ALICE, remove(bob)).expect("she may");
    world.settle();
    prune(&mut world, &[ALICE]);
    world.sites[BOB].disk = Disk::new();
    world.restart(BOB);
    world.pair(ALICE, BOB, Role::Full, writer()).expect("it is who it was");
    rounds(&mut world, 6);
    assert!(is_out(&world, &space));
}
