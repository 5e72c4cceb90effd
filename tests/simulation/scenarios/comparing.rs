//! What comparing states costs, and what lost and stray answers do to it.

use artimesh_core::replica::message::Message;
use artimesh_core::replica::{Command, Event, Input};

use super::reconciling::{all_agree, away, took_over};
use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, create, delete, put, repo};

/// Kinds of a state sync's messages, and of the only one that is an answer alone.
const KINDS: std::ops::RangeInclusive<u16> = 34..=39;
const COMPARED: u16 = 37;

fn sync(dry_run: bool) -> Command {
    Command::Sync { key: repo("libs"), member: None, dry_run }
}

fn kind(frame: &[u8]) -> u16 {
    u16::from_le_bytes([frame[0], frame[1]])
}

/// Delivers all there is to deliver between two sites; frames that `lost` says don't arrive. How many frames of a state
/// sync were sent, and their bytes.
fn talk(world: &mut World, mut lost: impl FnMut(u16) -> bool) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    loop {
        if let Some((from, to)) = world.network.busy().first().copied() {
            let frame = world.network.receive(from, to).expect("busy");
            if KINDS.contains(&kind(&frame)) {
                (count, bytes) = (count + 1, bytes + frame.len());
            }
            if !lost(kind(&frame)) {
                world.handle(to, Input::Frame(world.node(from), frame), None);
            }
        } else if let Some(site) = world.continues.first().copied() {
            world.go_on(site, None);
        } else {
            return (count, bytes);
        }
    }
}

/// `count` puts at once, in segments of many.
fn put_many(world: &mut World, site: usize, numbers: impl Iterator<Item = usize>, what: &str) {
    let numbers: Vec<usize> = numbers.collect();
    for some in numbers.chunks(250) {
        let one = |number: &usize| (*number as u64 + 1_000_000, put("libs", &format!("many/{number}"), what));
        world.handle(site, Input::Local(some.iter().map(one).collect()), None);
    }
    world.settle();
}

#[test]
fn a_full_sync_of_equals_costs_one_small_question_and_one_small_answer() {
    let mut world = federated();
    for number in 0..40 {
        world.ask(0, put("libs", &format!("p/{number}"), "same")).expect("put");
    }
    world.settle();
    let space = world.space(1, "libs");
    for dry_run in [true, false] {
        world.ask(1, sync(dry_run)).expect("alice is there");
        let (count, bytes) = talk(&mut world, |_| false);
        assert_eq!(count, 2, "a question and an answer");
        assert!(bytes <= 1024, "{bytes} bytes");
        let progress = world.sites[1].mind().merge_progress(&space).expect("it was asked for");
        assert!(progress.is_done && progress.listed.is_empty());
    }
    assert_eq!(took_over(&world, 1), 0, "there was nothing to take over");
    world.ask(1, put("libs", "next", "one")).expect("nothing is under way any more");
}

#[test]
fn who_moves_on_while_an_equal_member_answers_asks_again() {
    let mut world = federated();
    world.ask(0, put("libs", "p", "same")).expect("put");
    world.settle();
    world.ask(1, sync(false)).expect("alice is there");
    // The clear step, and with it the question.
    world.go_on(1, None);
    world.ask(1, put("libs", "q", "news")).expect("nothing is being committed yet");
    talk(&mut world, |_| false);
    for dice in 0..4 {
        world.round(dice);
    }
    let space = world.space(1, "libs");
    assert!(world.sites[1].mind().merge_progress(&space).is_some_and(|progress| progress.is_done));
    all_agree(&world);
}

#[test]
fn more_own_items_than_are_looked_through_at_a_time_are_all_looked_through() {
    const PATHS: usize = 3_000;
    let mut world = World::circle(2, 0);
    let invite = vec![world.node(1)];
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    put_many(&mut world, 0, 0..PATHS, "old");
    world.crash(1);
    // One in four, so that hardly a leaf of the trie has none of them: bob looks through nearly all that he has.
    put_many(&mut world, 0, (0..PATHS).step_by(4), "new");
    world.restart(1);
    world.connect(0, 1);
    world.ask(1, sync(false)).expect("alice is there");
    // As if there were no log of it any more.
    talk(&mut world, |kind| !KINDS.contains(&kind));
    assert_eq!(took_over(&world, 1), 1);
    let space = world.space(0, "libs");
    let progress = world.sites[1].mind().merge_progress(&space).expect("it is done");
    assert_eq!((progress.take, progress.drop, progress.give), (750, 750, 0));
    all_agree(&world);
}

#[test]
fn lost_answers_are_asked_for_again() {
    let mut world = away();
    world.restart(1);
    world.connect(0, 1);
    let mut lost = 0;
    let mut lose = |kind| {
        lost += usize::from(kind == COMPARED && lost < 3);
        kind == COMPARED && lost < 3
    };
    talk(&mut world, &mut lose);
    for dice in 0..60 {
        if took_over(&world, 1) > 0 {
            break;
        }
        world.now += 1_000;
        for site in [0, 1] {
            world.handle(site, Input::Tick { dice, round: false }, None);
        }
        talk(&mut world, &mut lose);
    }
    assert_eq!(took_over(&world, 1), 1, "the state was taken over in the end");
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut world = away();
    world.restart(1);
    world.connect(0, 1);
    let mut strays = 0;
    loop {
        if let Some((from, to)) = world.network.busy().first().copied() {
            let frame = world.network.receive(from, to).expect("busy");
            let sender = world.node(from);
            if let Ok(Message::Compared(answer)) = Message::read(&frame) {
                // Of another round first: it is passed over, and the right one counts.
                let mut stray = answer;
                stray.round += 100;
                world.handle(to, Input::Frame(sender, Message::Compared(stray).to_bytes()), None);
                strays += 1;
            }
            world.handle(to, Input::Frame(sender, frame), None);
        } else if let Some(site) = world.continues.first().copied() {
            world.go_on(site, None);
        } else {
            break;
        }
    }
    assert!(strays > 0);
    assert_eq!(took_over(&world, 1), 1);
    let refused = |note: &&Event| matches!(note, Event::Refused { .. });
    assert_eq!(world.sites[1].notes.iter().filter(refused).count(), 0, "an answer to an old question is no fault");
}

/// The second site compares its state with the first's, as if there were no logs. How many messages that takes, and how
/// many wishes.
fn compare(world: &mut World) -> (usize, usize) {
    world.restart(1);
    world.connect(0, 1);
    world.ask(1, sync(false)).expect("alice is there");
    let (mut messages, mut wishes) = (0, 0);
    loop {
        if let Some((from, to)) = world.network.busy().first().copied() {
            let frame = world.network.receive(from, to).expect("busy");
            if KINDS.contains(&kind(&frame)) {
                messages += 1;
                wishes += if let Ok(Message::Fetch(fetch)) = Message::read(&frame) { fetch.wanted.len() } else { 0 };
                world.handle(to, Input::Frame(world.node(from), frame), None);
            }
        } else if let Some(site) = world.continues.first().copied() {
            world.go_on(site, None);
        } else {
            assert_eq!(took_over(world, 1), 1);
            return (messages, wishes);
        }
    }
}

#[test]
fn a_small_state_is_compared_with_three_questions() {
    let (messages, _) = compare(&mut away());
    assert_eq!(messages, 6, "the state with all its logs, where it differs, and the items");
}

#[test]
fn nothing_is_asked_for_that_is_not_there() {
    let mut world = federated();
    for number in 0..33 {
        world.ask(0, put("libs", &format!("p/{number}"), "same")).expect("put");
    }
    world.settle();
    world.crash(1);
    world.ask(0, put("libs", "news", "one")).expect("put");
    world.settle();
    assert_eq!(compare(&mut world).1, 1);
}

#[test]
fn what_arrives_while_states_are_compared_is_applied() {
    let mut world = federated();
    world.ask(0, put("libs", "p", "same")).expect("put");
    world.settle();
    let space = world.space(1, "libs");
    world.ask(1, sync(false)).expect("alice is there");
    world.go_on(1, None);
    let news = forgery(&world, 2, space).says(&lie("q", Vec::new())).signed(&world.sites[2], &circle(&world));
    world.handle(1, Input::Frame(world.node(2), frame(space, &[news.bytes()])), None);
    assert!(world.sites[1].mind().merge_progress(&space).is_some_and(|progress| !progress.is_done));
    assert_eq!(world.versions(1, "libs", "q").len(), 1, "nothing is being committed yet");
}

/// Bob compares with alice, who has ended what carol wrote; carol's segment reaches him when alice, who writes on, has
/// answered so often.
fn hear_while_comparing(answers: usize) -> World {
    let mut world = federated();
    world.ask(0, put("libs", "p", "same")).expect("put");
    world.settle();
    world.network.gossip_is_off = true;
    world.disconnect(0, 1);
    world.disconnect(1, 2);
    world.ask(2, put("libs", "x", "carol's")).expect("put");
    let segment = world.truth.segments.last().expect("she wrote it").bytes().to_vec();
    world.round(1);
    world.ask(0, delete("libs", "x")).expect("alice has it");
    world.ask(0, put("libs", "y", "one")).expect("put");
    world.settle();
    world.disconnect(0, 2);
    world.disconnect(0, 3);
    world.connect(0, 1);
    world.ask(1, sync(false)).expect("alice is there");
    let (space, mut heard) = (world.space(1, "libs"), 0);
    loop {
        if let Some(site) = world.continues.first().copied() {
            world.go_on(site, None);
        } else if let Some((from, to)) = world.network.busy().first().copied() {
            let said = world.network.receive(from, to).expect("busy");
            let read = Message::read(&said).expect("well formed");
            if matches!(read, Message::Heads(_)) {
                // Or alice's log would say it all.
                continue;
            }
            world.handle(to, Input::Frame(world.node(from), said), None);
            if to != 1 || !matches!(read, Message::Snapshot(_) | Message::Items(_)) {
                continue;
            }
            heard += 1;
            while world.continues.contains(&1) {
                world.go_on(1, None);
            }
            if heard == 1 {
                world.ask(0, put("libs", "z", "late")).expect("put");
            }
            if heard == answers {
                world.handle(1, Input::Frame(world.node(2), frame(space, &[&segment])), None);
                assert_eq!(world.versions(1, "libs", "x").len(), 1, "he has heard of her put alone");
            }
        } else {
            return world;
        }
    }
}

#[test]
fn what_arrives_while_states_are_compared_is_compared_too() {
    // While the two compare, and while what alice wrote meanwhile is fetched.
    for answers in [1, 2] {
        let mut world = hear_while_comparing(answers);
        assert_eq!(took_over(&world, 1), 1, "after {answers} answers");
        assert_eq!(world.versions(1, "libs", "y").len(), 1, "after {answers} answers");
        assert!(world.versions(1, "libs", "x").is_empty(), "alice had ended it, after {answers} answers");
        for dice in 0..8 {
            world.connect_all();
            world.round(dice);
        }
        all_agree(&world);
    }
}
