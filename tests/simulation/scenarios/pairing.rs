//! Pairing: a token is good once, for one newcomer, for five minutes.

use artimesh_core::model::KeyPair;
use artimesh_core::replica::{Command, CommandError};
use artimesh_core::trust::{Capabilities, Founding, PairingReason, Role};

use crate::world::{World, follower, writer};

fn two() -> World {
    World::new(3)
}

#[test]
fn a_newcomer_with_a_token_becomes_a_member_and_gets_the_circles_log() {
    let mut world = two();
    world.pair(0, 1, Role::Full, writer()).expect("a fresh token");
    world.settle();
    let node = world.node(1);
    for site in [0, 1] {
        let trust = world.sites[site].mind().trust().expect("in the circle");
        assert!(trust.good(&node).is_some());
    }
    assert_eq!(
        world.digest(0, &artimesh_core::model::Space::Trust),
        world.digest(1, &artimesh_core::model::Space::Trust)
    );
}

#[test]
fn an_expired_token_is_refused() {
    let mut world = two();
    let line = world.token(0, Role::Full, writer());
    world.now += 300_000;
    assert_eq!(world.present(0, 1, &line), Err(PairingReason::Expired));
    assert!(world.sites[1].mind().circle().is_none());
}

#[test]
fn a_token_used_by_another_is_refused() {
    let mut world = two();
    let line = world.token(0, Role::Full, writer());
    assert_eq!(world.present(0, 1, &line), Ok(()));
    assert_eq!(world.present(0, 2, &line), Err(PairingReason::Used));
}

#[test]
fn the_same_newcomer_retrying_gets_the_same_grant() {
    let mut world = two();
    let line = world.token(0, Role::Full, writer());
    let request = world.request(0, 1, &line).expect("its own token");
    let first = world.ask(0, Command::Admit(request.clone())).expect("admitted");
    world.now += 400_000;
    let again = world.ask(0, Command::Admit(request)).expect("admitted already");
    assert_eq!(first.dot, again.dot);
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let mut world = two();
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("a fresh token");
    world.settle();
    let line = world.token(1, Role::Full, writer());
    assert_eq!(world.request(0, 2, &line), Err(PairingReason::Foreign));
}

#[test]
fn an_altered_token_is_refused_wherever_it_was_altered() {
    let mut world = two();
    let line = world.token(0, Role::Edge, follower());
    let start = "artimesh-pair-1.".len();
    for at in (start..line.len()).step_by(7) {
        let mut bytes = line.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).expect("ASCII");
        assert_eq!(world.request(0, 1, &altered), Err(PairingReason::Altered), "character {at}");
    }
}

#[test]
fn a_newcomer_whose_clock_is_off_is_refused() {
    let mut world = two();
    for skew_ms in [-400_000, 400_000] {
        world.sites[1].skew_ms = skew_ms;
        let line = world.token(0, Role::Full, writer());
        assert_eq!(world.present(0, 1, &line), Err(PairingReason::ClockOff));
    }
}

#[test]
fn an_issuer_hands_out_no_more_than_it_holds() {
    let mut world = two();
    world.pair(0, 1, Role::Full, writer()).expect("a fresh token");
    world.settle();
    let line = world.token(1, Role::Full, writer());
    assert_eq!(world.present(1, 2, &line), Err(PairingReason::NotAllowed));
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let mut world = two();
    world.sites[2].identity.name = world.sites[0].identity.name.clone();
    let line = world.token(0, Role::Full, writer());
    assert_eq!(world.present(0, 2, &line), Err(PairingReason::NameTaken));
}

#[test]
fn a_member_is_not_captured_by_another_circle() {
    let mut world = two();
    let other = World::new(2);
    let root = KeyPair::from_secret(&[77; 32]);
    let me = world.sites[0].identity.clone();
    let again = world.ask(0, Command::FoundCircle(Founding::new(&root, me.name, me.keys)));
    assert_eq!(again, Err(CommandError::InCircle));

    let mut foreign = other;
    foreign.sites[0].replica = None;
    foreign.sites[0].disk = crate::disk::Disk::new();
    foreign.sites[0].start();
    let me = foreign.sites[0].identity.clone();
    foreign.ask(0, Command::FoundCircle(Founding::new(&root, me.name, me.keys))).expect("another circle");
    let line = foreign.token(0, Role::Full, writer());
    let (token, _) = artimesh_core::trust::PairingToken::from_line(&line).expect("well formed");
    assert_eq!(world.ask(0, Command::Join(token)), Err(CommandError::InCircle));
}

#[test]
fn a_newcomer_admitted_by_the_second_member_gets_everything() {
    let mut world = two();
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("a fresh token");
    world.settle();
    world.pair(1, 2, Role::Full, writer()).expect("a token of the second");
    world.settle();
    world.connect_all();
    world.settle();
    let space = artimesh_core::model::Space::Trust;
    assert_eq!(world.digest(0, &space), world.digest(2, &space));
    assert_eq!(world.sites[2].mind().admitted_peers().len(), 2);
}
