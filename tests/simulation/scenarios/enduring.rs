//! Long absences, silent peers, full parkings, tokens spent twice: the slow disasters.

use std::collections::BTreeMap;

use artimesh_core::model::{Digest, Properties, Space};
use artimesh_core::replica::{Command, Input, Output};
use artimesh_core::trust::{Capabilities, Role};

use super::refusing::lie;
use super::writing::federated;
use crate::forge::{Forgery, frame};
use crate::world::{World, content, path, put, repo, writer};

#[test]
fn a_long_absence_is_made_up_for_at_once_whatever_the_clocks_did_meanwhile() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    for other in [0, 2, 3] {
        world.disconnect(1, other);
    }
    let mut dice = crate::dice::Dice::new(7);
    let long = BTreeMap::from([("notes".to_owned(), vec!["n".repeat(2_000)])]);
    for n in 0..400 {
        // Every put comes from another clock, and builds on the one before.
        let author = if n % 2 == 0 { 0 } else { 2 };
        world.sites[author].skew_ms = dice.below(1_200_001) as i64 - 600_000;
        let mut what = content(&format!("{n}"));
        what.properties = Properties::try_from(long.clone()).expect("within the bounds");
        let (key, path, by) = (repo("libs"), path(&format!("p{}", n % 7)), "tester".into());
        world.ask(author, Command::Put { key, path, content: what, by }).expect("put");
        world.handle(author, Input::Tick { dice: 0, round: false }, None);
        world.settle();
    }
    world.sites[1].notes.clear();
    let space = world.space(0, "libs");
    assert_eq!(world.sites[0].mind().heads(&space), world.sites[2].mind().heads(&space));
    assert!(world.truth.segments.iter().map(|segment| segment.bytes().len()).sum::<usize>() > 900_000);
    world.connect(1, 0);
    world.settle();
    assert_eq!(world.sites[0].mind().heads(&space), world.sites[1].mind().heads(&space));
    assert_eq!(world.digest(0, &space), world.digest(1, &space));
    let parked = |event: &&artimesh_core::replica::Event| matches!(event, artimesh_core::replica::Event::Parked { .. });
    assert_eq!(world.sites[1].notes.iter().filter(parked).count(), 0, "nothing was sent before what it depends on");
}

#[test]
fn a_peer_that_promises_and_never_answers_is_given_up_for_another() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    for other in [0, 1, 3] {
        world.disconnect(2, other);
    }
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.round(1);
    world.connect(2, 0);
    world.drain(0, 2);
    // Site 2 has asked site 0, which never hears it; site 1 tells the same meanwhile.
    world.connect(2, 1);
    let between_one_and_two = |world: &mut World| {
        for _ in 0..5 {
            world.drain(1, 2);
            world.drain(2, 1);
        }
    };
    between_one_and_two(&mut world);
    assert!(world.versions(2, "libs", "x").is_empty());
    world.now += 11_000;
    world.handle(2, Input::Tick { dice: 0, round: false }, None);
    between_one_and_two(&mut world);
    assert_eq!(world.versions(2, "libs", "x"), vec![Digest::of(b"one")]);
}

#[test]
fn a_token_spent_twice_admits_one_and_all_agree_which() {
    let mut world = World::new(4);
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("fresh");
    world.settle();
    let line = world.token(1, Role::Full, writer());
    let copy = world.sites[1].disk.clone();
    world.disconnect(0, 1);
    world.present(1, 2, &line).expect("the first time");
    let first = world.sites[1].disk.clone();
    world.crash(1);
    world.sites[1].disk = copy;
    world.sites[1].disk.forget_incarnation();
    world.restart(1);
    world.present(1, 3, &line).expect("it can't know that it was spent");
    // The first site hears of both, in one order; a second copy of it in the other.
    let mut other = world.clone();
    let spent = |disk: &crate::disk::Disk| {
        let log = disk.table(artimesh_core::replica::Table::Log);
        let all: Vec<Vec<u8>> = log.filter(|(key, _)| key[0] == 1).map(|(_, bytes)| bytes.to_vec()).collect();
        all
    };
    let (early, late) = (spent(&first), spent(&world.sites[1].disk));
    for (world, order) in [(&mut world, [&early, &late]), (&mut other, [&late, &early])] {
        let from = world.node(1);
        for segments in order {
            let all: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
            world.handle(0, Input::Frame(from, frame(Space::Trust, &all)), None);
        }
    }
    assert_eq!(world.digest(0, &Space::Trust), other.digest(0, &Space::Trust));
    let trust = world.sites[0].mind().trust().expect("in a circle");
    let (carol, dave) = (world.node(2), world.node(3));
    assert_eq!([carol, dave].iter().filter(|node| trust.good(node).is_some()).count(), 1);
    let there = other.sites[0].mind().trust().expect("in a circle");
    assert_eq!(trust.good(&carol).is_some(), there.good(&carol).is_some());
    // And it is the same after a restart, which folds the log in an order of its own.
    let before = world.digest(0, &Space::Trust);
    world.crash(0);
    world.restart(0);
    assert_eq!(world.digest(0, &Space::Trust), before);
}

#[test]
fn what_waits_stays_within_its_bounds_and_the_log_goes_on() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let (heads, trust) = (world.sites[0].mind().heads(&space), world.sites[0].mind().heads(&Space::Trust));
    let circle = world.sites[0].mind().circle().expect("a circle");
    let incarnation = world.sites[1].mind().incarnation();
    let from = world.node(1);
    // A liar signs what can never be applied, each after a gap.
    for n in 0..600 {
        let mut gap = Forgery::of(&world.sites[1], incarnation, space, &heads, &trust);
        gap.after.sequence = 1_000_000 + n;
        let mut change = lie("x", Vec::new());
        if let artimesh_core::changelog::Change::Put(put) = &mut change {
            let long = BTreeMap::from([("n".to_owned(), vec!["n".repeat(2_000); 16])]);
            put.content.properties = Properties::try_from(long).expect("within the bounds");
        }
        let segment = gap.says(&change).signed(&world.sites[1], &circle);
        world.handle(0, Input::Frame(from, frame(space, &[segment.bytes()])), None);
    }
    assert!(world.sites[0].mind().parked() > 100);
    assert!(world.sites[0].mind().parked_bytes() <= 8 * 1024 * 1024);
    world.network.gossip_is_off = true;
    world.ask(2, put("libs", "y", "one")).expect("put");
    world.round(1);
    assert_eq!(world.versions(0, "libs", "y"), vec![Digest::of(b"one")]);
}

#[test]
fn peers_that_agree_have_little_to_say() {
    let mut world = federated();
    for dice in 0..3 {
        world.round(dice);
    }
    let now = world.now;
    let outputs = world.sites[0].handle(now, Input::Tick { dice: 1, round: true });
    let sent = |output: &Output| if let Output::Send(to, frame) = output { Some((*to, frame.len())) } else { None };
    let frames: Vec<_> = outputs.iter().filter_map(sent).collect();
    assert_eq!(frames.len(), 2, "its heads are asked for, and its time");
    assert_eq!(frames[0].0, frames[1].0, "one peer a round");
    assert!(frames[0].1 + frames[1].1 < 2_000);
}
