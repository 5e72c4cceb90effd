//! Clocks that are wrong: who is ahead stops writing, and nobody else.

use artimesh_core::clock::AHEAD_MS_MAX;
use artimesh_core::replica::message::{ClockMessage, Message};
use artimesh_core::replica::{CommandError, Event, Input, Output};

use super::writing::federated;
use crate::world::{World, put};

const HOURS_3: i64 = 3 * 3_600_000;

fn measure(world: &mut World) {
    world.connect_all();
    world.settle();
    world.round(1);
}

#[test]
fn a_node_that_is_ahead_takes_no_writes_and_recovers_when_its_clock_is_set_back() {
    let mut world = federated();
    world.sites[1].skew_ms = HOURS_3;
    measure(&mut world);
    let Err(CommandError::ClockAhead { ahead_ms, against }) = world.ask(1, put("libs", "x", "one")) else {
        panic!("refused")
    };
    assert!(ahead_ms.abs_diff(HOURS_3 as u64) < 1_000, "{ahead_ms}");
    assert!(against.contains("alice") && against.contains("carol"), "{against}");
    assert!(world.sites[1].mind().clock().stopped_since.is_some());
    world.ask(0, put("libs", "x", "two")).expect("the others write on");
    world.sites[1].skew_ms = 0;
    measure(&mut world);
    world.ask(1, put("libs", "x", "three")).expect("right again");
    assert!(world.sites[1].notes.contains(&Event::ClockRight));
    assert_eq!(world.sites[1].mind().clock().stopped_since, None);
}

#[test]
fn a_node_that_is_behind_writes_on() {
    let mut world = federated();
    world.sites[1].skew_ms = -HOURS_3;
    measure(&mut world);
    world.ask(1, put("libs", "x", "one")).expect("behind is harmless");
    assert!(world.sites[1].mind().clock().ahead_ms < -(HOURS_3 - 1_000));
    world.ask(0, put("libs", "x", "two")).expect("nor does it stop others");
}

#[test]
fn one_liar_among_several_stops_nobody_even_when_it_alone_is_reached() {
    let mut world = federated();
    world.sites[2].skew_ms = -HOURS_3;
    world.network.cut(0, 1);
    world.disconnect(0, 1);
    measure(&mut world);
    for site in [0, 1] {
        world.ask(site, put("libs", "x", "one")).expect("the second of three is needed to say so too");
    }
    world.network.mend();
    measure(&mut world);
    for site in [0, 1] {
        world.ask(site, put("libs", "x", "two")).expect("the median is right");
    }
}

#[test]
fn an_answer_that_was_not_asked_for_measures_nothing() {
    let mut world = federated();
    let before = world.sites[0].mind().clock();
    let lie = Message::Clock(ClockMessage {
        wall: artimesh_core::clock::Timestamp(1),
        echo: Some(world.sites[0].wall(world.now)),
    });
    for from in [1, 2] {
        world.handle(0, Input::Frame(world.node(from), lie.to_bytes()), None);
    }
    assert_eq!(world.sites[0].mind().clock(), before);
    let (now, from) = (world.now, world.node(1));
    let ask = Message::Clock(ClockMessage { wall: artimesh_core::clock::Timestamp(1), echo: None });
    let outputs = world.sites[0].handle(now, Input::Frame(from, ask.to_bytes()));
    assert!(outputs.iter().any(|output| matches!(output, Output::Send(to, _) if *to == from)));
}

#[test]
fn an_answer_that_took_too_long_measures_nothing() {
    for (took_ms, counts) in [(1_000, true), (60_000, false)] {
        let mut world = federated();
        let before = world.sites[0].mind().clock().ahead_ms;
        let asked = world.sites[0].wall(world.now);
        for site in [1, 2] {
            world.disconnect(0, site);
            world.connect(0, site);
        }
        world.now += took_ms;
        // Both say that it is an hour later.
        for node in [world.node(1), world.node(2)] {
            let wall = artimesh_core::clock::Timestamp(world.now + 3_600_000);
            let answer = Message::Clock(ClockMessage { wall, echo: Some(asked) });
            world.handle(0, Input::Frame(node, answer.to_bytes()), None);
        }
        assert_eq!(world.sites[0].mind().clock().ahead_ms != before, counts, "after {took_ms} ms");
    }
}

#[test]
fn an_alarm_about_a_version_far_ahead_is_kept_until_it_is_overwritten() {
    let mut world = federated();
    world.disconnect(1, 2);
    world.disconnect(1, 0);
    world.disconnect(1, 3);
    world.sites[1].skew_ms = AHEAD_MS_MAX as i64 * 2;
    let dot = world.ask(1, put("libs", "x", "one")).expect("nobody has told it yet").dot;
    world.sites[1].skew_ms = 0;
    measure(&mut world);
    let alarms = |world: &World| world.sites[0].mind().alarms(&world.sites[0].disk).expect("rows");
    assert_eq!(alarms(&world).iter().map(|alarm| alarm.dot).collect::<Vec<_>>(), [dot]);
    world.crash(0);
    world.restart(0);
    assert_eq!(alarms(&world).len(), 1, "at rest");
    world.ask(0, put("libs", "x", "two")).expect("put");
    assert_eq!(alarms(&world).len(), 0);
    measure(&mut world);
    assert!(!world.sites[0].disk.table(artimesh_core::replica::Table::Meta).any(|(key, _)| key.starts_with(b"ahead/")));
}
