//! Leaving a branch that lost: what the state brings that is taken over, and what who leaves has beyond it.

use artimesh_core::changelog::ForkProof;
use artimesh_core::model::{Digest, Incarnation};
use artimesh_core::replica::message::Message;
use artimesh_core::replica::{Command, Event, Input, Retention};
use artimesh_core::trust::Role;

use super::forking::{agree, forked_after, properties, pruned, rounds};
use super::reconciling::{prune_soon, took_over};
use super::writing::federated;
use crate::checks::oracle;
use crate::world::{World, create, delete, path, put, repo, writer};

/// What proves that a life was lived twice, and whether the branch that was written first has won.
fn proof(world: &World, life: Incarnation) -> (ForkProof, bool) {
    let of_life = || world.truth.segments.iter().filter(|segment| segment.header.incarnation == life);
    for one in of_life() {
        for other in of_life().filter(|other| other.hash != one.hash) {
            if let Some(proof) = ForkProof::of(one.claim(), other.claim()) {
                let first_won = proof.winner.hash() == one.hash;
                return (proof, first_won);
            }
        }
    }
    panic!("there is no fork");
}

/// The second site wrote one thing that reached the first site alone, and as its own copy another that reached the third
/// alone, which has lost. The second and the fourth are away from here on.
fn parted(
    before: impl Fn(&mut World),
    first: impl Fn(&mut World, &str),
    second: impl Fn(&mut World, &str),
) -> (World, ForkProof) {
    for what in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let (mut world, life) = forked_after(&before, |world| first(world, what), |world| second(world, what));
        let (proof, first_won) = proof(&world, life);
        if first_won {
            world.crash(1);
            world.crash(3);
            return (world, proof);
        }
    }
    panic!("the first branch never wins");
}

/// A fifth site, a full member, which is away from here on.
fn with_erin(world: &mut World) {
    let erin = world.join_outside();
    world.pair(0, erin, Role::Full, writer()).expect("pairing in fair weather");
    world.settle();
    world.connect_all();
    let node = world.node(erin);
    world.ask(0, Command::Invite(repo("libs"), node)).expect("invited");
    world.settle();
    world.round(1);
    assert!(world.repository(erin, "libs").is_some());
}

fn of(what: &str) -> Vec<Digest> {
    vec![Digest::of(what.as_bytes())]
}

/// The third site leaves its branch for the state of the first. Its own words are lost on the way there, and nobody says
/// what its state is: so nothing that is missing then is repaired later.
fn leave(world: &mut World) {
    world.connect(0, 2);
    let lost = |from: usize, message: &Message| match message {
        Message::State(_) => true,
        Message::Segments(_) => from == 2,
        _ => false,
    };
    world.settle_but(lost);
    world.now += 1_000;
    world.handle(2, Input::Tick { dice: 0, round: false }, None);
    world.settle_but(lost);
    assert_eq!(took_over(world, 2), 1);
}

#[test]
fn what_the_winning_branch_put_comes_with_the_state() {
    let (mut world, _) = parted(
        pruned,
        |world, what| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
        |world, _| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    leave(&mut world);
    assert_eq!(world.versions(2, "libs", "x"), world.versions(0, "libs", "x"));
    assert_eq!(world.versions(2, "libs", "x").len(), 1);
    assert!(world.versions(2, "libs", "y").is_empty());
}

#[test]
fn what_who_leaves_a_branch_wrote_beyond_the_state_is_applied_on_top() {
    let (mut world, _) = parted(
        pruned,
        |world, what| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
        |world, _| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    world.ask(2, properties("edited", "arch", "arm")).expect("edit");
    leave(&mut world);
    let space = world.space(2, "libs");
    let edited = oracle::catalog(&world.sites[2].disk, &space).remove(&path("edited")).expect("live");
    assert_eq!(edited[0].properties().as_map()["arch"], ["arm"]);
    world.restart(1);
    world.restart(3);
    rounds(&mut world);
    agree(&world);
}

#[test]
fn where_logs_were_pruned_what_others_deleted_by_its_number_is_dead_when_it_comes() {
    let (mut world, proof) = parted(
        |world| {
            with_erin(world);
            pruned(world);
            world.crash(4);
        },
        |world, what| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
        |world, _| {
            world.ask(1, put("libs", "x", "two")).expect("put");
            world.settle();
            world.round(5);
            world.ask(2, delete("libs", "x")).expect("delete");
        },
    );
    let space = world.space(0, "libs");
    // The fifth site knows that there are two, and hears of the delete before it has either.
    world.restart(4);
    world.handle(4, Input::Frame(world.node(2), Message::Fork(proof).to_bytes()), None);
    world.connect(2, 4);
    for dice in 0..4 {
        world.round(dice);
    }
    let carols = world.sites[2].mind().incarnation();
    assert_eq!(world.sites[4].mind().heads(&space).of(&carols), world.sites[2].mind().heads(&space).of(&carols));
    world.crash(2);
    world.connect(0, 4);
    for dice in 0..4 {
        world.round(dice);
    }
    assert_eq!(world.sites[4].mind().heads(&space), world.sites[0].mind().heads(&space));
    assert!(world.versions(0, "libs", "x").is_empty() && world.versions(4, "libs", "x").is_empty());
    assert_eq!(world.digest(4, &space), world.digest(0, &space));
}

#[test]
fn who_takes_over_a_state_that_ends_with_the_first_word_of_a_losing_branch_leaves_it_again() {
    let (mut world, proof) = parted(
        |world| {
            with_erin(world);
            world.crash(4);
        },
        |world, what| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
        |world, _| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    let space = world.space(0, "libs");
    world.restart(4);
    world.connect(2, 4);
    let member = Some(world.node(2));
    world.ask(4, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("carol is there");
    world.go_on(4, None);
    let lost = |_, message: &Message| matches!(message, Message::Segments(_) | Message::Fork(_) | Message::Probe(_));
    // The question and its answer; then the proof comes from elsewhere, too late for carol to hear of it.
    world.drain_but(4, 2, &lost);
    world.drain_but(2, 4, &lost);
    world.handle(4, Input::Frame(world.node(0), Message::Fork(proof).to_bytes()), None);
    world.settle_but(lost);
    assert_eq!(took_over(&world, 4), 1);
    assert_eq!(world.versions(4, "libs", "y"), of("two"), "carol's state");
    world.crash(2);
    world.connect(0, 4);
    for dice in 0..6 {
        world.round(dice);
    }
    assert_eq!(world.sites[4].mind().heads(&space), world.sites[0].mind().heads(&space));
    assert_eq!(world.digest(4, &space), world.digest(0, &space));
    assert!(world.versions(4, "libs", "y").is_empty());
}

#[test]
fn when_all_agree_nothing_more_is_taken_back_or_over() {
    for before in [|_: &mut World| {}, pruned] {
        let (mut world, _) = forked_after(
            before,
            |world| drop(world.ask(1, put("libs", "x", "one")).expect("put")),
            |world| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
        );
        rounds(&mut world);
        agree(&world);
        world.sites.iter_mut().for_each(|site| site.notes.clear());
        rounds(&mut world);
        for site in &world.sites {
            let is_work = |note: &&Event| {
                matches!(note, Event::TakenBack { .. } | Event::Reconciled { .. } | Event::RolledBack { .. })
            };
            assert_eq!(site.notes.iter().find(is_work), None, "at {}", site.identity.name);
        }
        agree(&world);
    }
}

/// The second site accepts an invitation; its copy accepts it too, and puts something, which nobody hears. Whether the
/// copy's branch won.
fn accepted_twice(pause_ms: u64) -> (World, bool) {
    let mut world = World::circle(3, 0);
    let carol = vec![world.node(2)];
    world.ask(0, create("libs", carol)).expect("a free key");
    world.settle();
    world.round(1);
    world.network.gossip_is_off = true;
    let (life, copy, bob) = (world.sites[1].mind().incarnation(), world.sites[1].disk.clone(), world.node(1));
    // The third site hears of the invitation, and then nothing of what becomes of it.
    world.crash(1);
    world.ask(0, Command::Invite(repo("libs"), bob)).expect("invited");
    world.round(2);
    world.disconnect(0, 2);
    world.restart(1);
    world.connect(0, 1);
    world.round(3);
    assert!(world.repository(1, "libs").is_some());
    world.crash(1);
    world.sites[1].disk = copy;
    world.now += pause_ms;
    world.restart(1);
    world.connect(1, 2);
    world.settle_but(|from, message| from == 1 && matches!(message, Message::Segments(_)));
    world.ask(1, put("libs", "x", "what nobody has heard")).expect("it takes itself for a member");
    world.disconnect(1, 2);
    let (_, first_won) = proof(&world, life);
    (world, !first_won)
}

#[test]
fn an_acceptance_that_nobody_heard_is_made_anew_when_its_branch_makes_the_other_void() {
    let mut voided = 0;
    for pause_ms in 1..=8 {
        let (mut world, is_void) = accepted_twice(pause_ms);
        voided += usize::from(is_void);
        rounds(&mut world);
        let space = world.space(0, "libs");
        for site in 0..3 {
            let federation = world.sites[site].mind().federation(&space).expect("held");
            assert!(federation.is_member(&world.node(1)), "at site {site}");
            assert_eq!(world.versions(site, "libs", "x"), of("what nobody has heard"), "at site {site}");
            assert_eq!(world.sites[site].mind().heads(&space), world.sites[0].mind().heads(&space));
            assert_eq!(world.digest(site, &space), world.digest(0, &space));
        }
    }
    assert!(voided > 0 && voided < 8, "{voided}");
}

/// Six times something new at one path, and all that died by it goes from the log at once.
fn overwrite(world: &mut World, path: &str, sites: &[usize]) {
    for number in 0..6 {
        world.ask(1, put("libs", path, &format!("{path} {number}"))).expect("put");
        world.settle();
    }
    for keeps in [Retention { whole_ms: 1_000, deletes_ms: 1_000 }, Retention::default()] {
        for site in sites {
            world.sites[*site].retention = keeps;
            world.crash(*site);
            world.restart(*site);
        }
        world.connect_all();
        for dice in 0..6 {
            world.round(dice);
        }
    }
}

#[test]
fn where_nothing_proves_a_fork_any_more_the_greater_name_goes_by_the_lesser() {
    let (mut world, life) =
        forked_after(|_| {}, |world| overwrite(world, "x", &[0, 1]), |world| overwrite(world, "y", &[1, 2, 3]));
    let space = world.space(0, "libs");
    let heads = [0, 2].map(|site| world.sites[site].mind().heads(&space).of(&life));
    assert_eq!(heads[0].sequence, heads[1].sequence);
    assert_ne!(heads[0].chain, heads[1].chain);
    rounds(&mut world);
    agree(&world);
    for site in 0..4 {
        assert_eq!(world.sites[site].mind().forks().count(), 0, "nobody can show two successors of one segment");
        assert_eq!(world.versions(site, "libs", "x"), of("x 5"), "the first site's name is the least, at site {site}");
        assert_eq!(world.versions(site, "libs", "y"), of("y 5"), "its author has written it again, at site {site}");
    }
    assert_ne!(world.sites[1].mind().incarnation(), life, "in a new life");
    world.ask(1, put("libs", "z", "all goes on")).expect("put");
    rounds(&mut world);
    agree(&world);
}

#[test]
fn words_that_had_seen_what_nothing_proves_to_be_a_branch_are_written_again() {
    let (mut world, life) = forked_after(
        |_| {},
        |world| overwrite(world, "x", &[0, 1]),
        |world| {
            world.ask(1, put("libs", "more", "of it")).expect("put");
            overwrite(world, "y", &[1, 2, 3]);
            // The others stay at lesser numbers of that life, and would wait for ever for what carol had seen.
            world.ask(2, put("libs", "w", "carol's")).expect("put");
        },
    );
    let before = world.sites[2].mind().incarnation();
    let space = world.space(0, "libs");
    let seen = [0, 2].map(|site| world.sites[site].mind().heads(&space).of(&life).sequence);
    assert!(seen[0] < seen[1], "{seen:?}");
    rounds(&mut world);
    agree(&world);
    for site in 0..4 {
        assert_eq!(world.sites[site].mind().forks().count(), 0, "nobody can show two successors of one segment");
        assert_eq!(world.versions(site, "libs", "w"), of("carol's"), "at site {site}");
        assert_eq!(world.versions(site, "libs", "x"), of("x 5"), "at site {site}");
    }
    assert_ne!(world.sites[2].mind().incarnation(), before, "in another life");
    world.ask(2, put("libs", "z", "all goes on")).expect("put");
    rounds(&mut world);
    agree(&world);
}

#[test]
fn words_that_had_seen_what_was_left_stand_again_where_a_source_has_both() {
    let mut world = federated();
    world.crash(3);
    world.network.gossip_is_off = true;
    let copy = world.sites[1].disk.clone();
    world.disconnect(0, 1);
    world.disconnect(1, 2);
    overwrite_alone(&mut world, "x");
    world.crash(1);
    let first = std::mem::replace(&mut world.sites[1].disk, copy);
    // What bob writes in the same life again reaches carol, and with her words alice, and is pruned everywhere.
    world.restart(1);
    world.connect(1, 2);
    world.settle();
    world.ask(1, put("libs", "more", "of it")).expect("put");
    overwrite_alone(&mut world, "y");
    for dice in 0..4 {
        world.connect(1, 2);
        world.round(dice);
    }
    world.ask(2, put("libs", "w", "carol's")).expect("put");
    world.settle();
    world.crash(1);
    for dice in 0..4 {
        world.connect(0, 2);
        world.round(dice);
    }
    let space = world.space(0, "libs");
    let heads = world.sites[0].mind().heads(&space);
    assert_eq!(heads, world.sites[2].mind().heads(&space));
    // Carol goes by bob, and then by alice, whose name is lesser still.
    world.crash(0);
    world.sites[1].disk = first;
    world.restart(1);
    world.connect(1, 2);
    world.settle();
    for dice in 0..3 {
        if took_over(&world, 2) == 0 {
            world.round(dice);
        }
    }
    // Before she has left her own words, too.
    world.crash(1);
    assert_ne!(world.sites[2].mind().heads(&space), heads);
    assert_eq!(world.versions(2, "libs", "x"), of("x 5"));
    assert_eq!(world.sites[2].mind().forks().count(), 0, "nobody can show two successors of one segment");
    for site in [0, 1, 3] {
        world.restart(site);
        rounds(&mut world);
    }
    agree(&world);
    assert_eq!(world.versions(0, "libs", "w"), of("carol's"));
    assert_eq!(world.versions(0, "libs", "y"), of("y 5"));
}

/// The second site writes one path some times, and prunes all but the last.
fn overwrite_alone(world: &mut World, path: &str) {
    for number in 0..6 {
        world.ask(1, put("libs", path, &format!("{path} {number}"))).expect("put");
        world.settle();
    }
    prune_soon(world, 1);
    for dice in 0..4 {
        world.round(dice);
    }
}
