//! The brake: what one author ends of a repository in a short time, beyond a bound, waits for an operator at each site.

use artimesh_core::model::Digest;
use artimesh_core::replica::message::FEATURES;
use artimesh_core::replica::{Command, CommandError, Event, Input, Limits, holds};
use artimesh_core::trust::Role;

use super::curating::delete_under;
use super::writing::federated;
use crate::world::{World, put, repo};

/// Forty paths that the first site put an hour ago; at most five of them may go at once.
fn braked() -> World {
    let mut world = federated();
    let puts = (0..40).map(|n| (1_000 + n, put("libs", &format!("p/{n:02}"), "one"))).collect();
    world.handle(0, Input::Local(puts), None);
    world.settle();
    world.now += 3_600_000;
    for site in 0..4 {
        limit(&mut world, site);
    }
    world.round(1);
    world
}

fn limit(world: &mut World, site: usize) {
    world.sites[site].limits = Limits { burst_least: 5, burst_percent: 10, ..Limits::default() };
    world.crash(site);
    world.restart(site);
    world.connect_all();
}

fn count(world: &World, site: usize) -> usize {
    let space = world.space(site, "libs");
    crate::checks::oracle::catalog(&world.sites[site].disk, &space).len()
}

fn held(world: &World, site: usize) -> usize {
    holds(&world.sites[site].disk, &world.space(site, "libs")).expect("rows can be read").len()
}

fn release(author: Option<artimesh_core::model::NodeId>) -> Command {
    Command::Release { key: repo("libs"), author }
}

fn rounds(world: &mut World) {
    for dice in 0..6 {
        world.round(dice);
    }
}

#[test]
fn a_mass_delete_is_held_everywhere_else_until_it_is_released() {
    let mut world = braked();
    world.ask(1, delete_under("p/", 100)).expect("its own are never held");
    rounds(&mut world);
    assert_eq!(count(&world, 1), 0);
    for site in [0, 2, 3] {
        assert_eq!((count(&world, site), held(&world, site)), (40, 1), "at site {site}");
        let noted = world.sites[site].notes.iter().filter(|note| matches!(note, Event::Held { .. })).count();
        assert_eq!(noted, 1, "said once, however often it comes");
    }
    let space = world.space(0, "libs");
    let hold = holds(&world.sites[0].disk, &space).expect("rows can be read").remove(0);
    assert_eq!((hold.author, hold.paths, hold.allowed), (world.node(1), 40, 5));
    let other = world.node(2);
    assert_eq!(world.ask(0, release(Some(other))), Err(CommandError::NothingHeld(repo("libs"))));
    world.ask(0, release(Some(hold.author))).expect("release");
    world.ask(3, release(None)).expect("an edge is released as well");
    rounds(&mut world);
    assert_eq!((count(&world, 0), held(&world, 0), count(&world, 3)), (0, 0, 0));
    assert_eq!((count(&world, 2), held(&world, 2)), (40, 1), "each site decides for itself");
    assert_eq!(world.ask(0, release(None)), Err(CommandError::NothingHeld(repo("libs"))));
}

#[test]
fn others_go_on_while_one_author_is_held_and_a_restart_forgets_nothing() {
    let mut world = braked();
    world.ask(1, delete_under("p/", 100)).expect("delete");
    world.round(1);
    world.crash(0);
    world.restart(0);
    world.connect_all();
    world.ask(0, put("libs", "new", "new")).expect("put");
    rounds(&mut world);
    assert_eq!((held(&world, 0), count(&world, 2)), (1, 41));
    assert_eq!(world.versions(1, "libs", "new"), [Digest::of(b"new")]);
}

#[test]
fn what_is_done_by_and_by_is_not_held_and_a_burst_in_pieces_is() {
    let mut world = braked();
    for n in 0..5 {
        world.ask(1, delete_under(&format!("p/0{n}"), 1)).expect("delete");
        world.settle();
    }
    assert_eq!((count(&world, 0), held(&world, 0)), (35, 0));
    world.now += 60_000;
    world.ask(1, put("libs", "p/05", "damage")).expect("overwrite");
    rounds(&mut world);
    assert_eq!((world.versions(0, "libs", "p/05"), held(&world, 0)), (vec![Digest::of(b"one")], 1));
    world.ask(0, release(None)).expect("release");
    rounds(&mut world);
    assert_eq!(world.versions(0, "libs", "p/05"), [Digest::of(b"damage")]);
    world.now += 3_600_000;
    for n in 6..10 {
        world.ask(1, delete_under(&format!("p/0{n}"), 1)).expect("delete");
    }
    rounds(&mut world);
    assert_eq!((count(&world, 0), held(&world, 0)), (31, 0), "an hour later is another burst");
}

#[test]
fn an_author_that_overwrites_its_own_fresh_versions_is_not_held() {
    let mut world = braked();
    for n in 0..30 {
        world.now += 1_000;
        world.ask(1, put("libs", "latest", &n.to_string())).expect("put");
        world.settle();
    }
    assert_eq!((held(&world, 0), world.versions(0, "libs", "latest")), (0, vec![Digest::of(b"29")]));
}

#[test]
fn who_joins_later_holds_nothing_of_what_was_done_before() {
    let mut world = World::circle(3, 0);
    let invite = vec![world.node(1)];
    world.ask(0, crate::world::create("libs", invite)).expect("a free key");
    let puts = (0..40).map(|n| (1_000 + n, put("libs", &format!("p/{n:02}"), "one"))).collect();
    world.handle(0, Input::Local(puts), None);
    world.settle();
    world.now += 3_600_000;
    world.ask(1, delete_under("p/", 30)).expect("delete");
    world.settle();
    world.now += 3_600_000;
    limit(&mut world, 2);
    let newcomer = world.node(2);
    world.ask(0, Command::Invite(repo("libs"), newcomer)).expect("invite");
    rounds(&mut world);
    assert_eq!((count(&world, 2), held(&world, 2)), (10, 0));
}

#[test]
fn what_was_kept_for_an_upgrade_and_is_held_after_it_waits_for_its_release() {
    let mut world = braked();
    world.crash(2);
    world.sites[2].features = 0;
    world.restart(2);
    // The third site is away meanwhile, and nobody has heard that it was set back.
    let invited = world.join_outside();
    world.pair(0, invited, Role::Full, crate::world::writer()).expect("fresh");
    world.settle();
    let erin = world.node(invited);
    world.ask(0, Command::Invite(repo("libs"), erin)).expect("free");
    world.settle();
    world.ask(0, Command::Remove { key: repo("libs"), node: erin, by: "tester".into() }).expect("all know of such");
    world.settle();
    world.ask(1, delete_under("p/", 100)).expect("built on that");
    world.connect_all();
    rounds(&mut world);
    assert_eq!((count(&world, 2), held(&world, 2)), (40, 0), "kept, and not looked into");
    world.crash(2);
    world.sites[2].features = FEATURES;
    world.restart(2);
    world.handle(2, Input::Tick { dice: 1, round: false }, None);
    assert_eq!((count(&world, 2), held(&world, 2)), (40, 1));
    assert_eq!(world.sites[2].mind().kept().count(), 1, "it stays kept");
    world.ask(2, release(None)).expect("release");
    world.handle(2, Input::Tick { dice: 2, round: false }, None);
    assert_eq!((count(&world, 2), held(&world, 2)), (0, 0), "with nobody's help");
    assert_eq!(world.sites[2].mind().kept().count(), 0);
}
