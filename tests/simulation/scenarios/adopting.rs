//! Repositories that were there before they met: what each had is at both afterwards, and nothing is displaced.

use artimesh_core::model::{Digest, FederationId, Space};
use artimesh_core::replica::{Command, CommandError, Input, conflicts};

use super::curating::{label, shown};
use super::doubting::claim;
use crate::checks;
use crate::world::{World, create, delete, path, put, repo};

fn adopt(into: Space, most: usize) -> Command {
    Command::Adopt { key: repo("libs"), into, most, by: "operator".into() }
}

/// Two sites, each with its own `libs`; the first has invited the second, whose key is taken. The federation.
fn met() -> (World, Space) {
    let mut world = World::circle(2, 0);
    world.ask(1, create("LIBS", Vec::new())).expect("a free key");
    for at in ["a/mine", "both", "same", "labelled", "z/mine"] {
        let what = if at == "same" { "same" } else { "bob" };
        world.ask(1, put("libs", at, what)).expect("put");
    }
    world.ask(1, label("labelled", "stage", Some("live"))).expect("label");
    world.ask(1, put("libs", "gone", "bob")).expect("put");
    world.ask(1, delete("libs", "gone")).expect("delete");
    world.now += 5_000;
    let bob = world.node(1);
    let into = world.ask(0, create("libs", vec![bob])).expect("a free key there").space;
    for (at, what) in [("yours", "alice"), ("both", "alice"), ("same", "same"), ("gone", "alice")] {
        world.ask(0, put("libs", at, what)).expect("put");
    }
    world.settle();
    world.round(1);
    assert_eq!(world.sites[1].mind().waiting_invitations()[0].space, into);
    (world, into)
}

fn check_that_both_have_all(world: &World, into: Space) {
    let digest = |what: &str| Digest::of(what.as_bytes());
    for site in [0, 1] {
        assert_eq!(world.space(site, "libs"), into);
        for (at, contents) in [
            ("a/mine", vec!["bob"]),
            ("both", vec!["alice", "bob"]),
            ("same", vec!["same"]),
            ("labelled", vec!["bob"]),
            ("z/mine", vec!["bob"]),
            ("yours", vec!["alice"]),
            ("gone", vec!["alice"]),
        ] {
            let expected: Vec<Digest> = contents.into_iter().map(digest).collect();
            assert_eq!(world.versions(site, "libs", at), expected, "{at} at site {site}");
        }
        let listed = conflicts(&world.sites[site].disk, &into, None, 100).expect("rows can be read");
        assert_eq!(listed.iter().map(|conflict| conflict.path.to_string()).collect::<Vec<_>>(), ["both"]);
        let labelled = shown(world, site, "labelled").expect("live");
        assert_eq!(labelled.properties().as_map()["stage"], ["live"]);
        assert_eq!((labelled.created_by.as_str(), labelled.modified_by.as_str()), ("tester", "operator"));
        assert!(labelled.created == labelled.timestamp, "as old as it was");
    }
    assert_eq!(world.digest(0, &into), world.digest(1, &into));
    assert_eq!(checks::oracle::check(world).expect("by the rules"), 2);
}

#[test]
fn two_repositories_that_meet_keep_both_contents() {
    for most in [1, 2, 1_000] {
        let (mut world, into) = met();
        let old = world.space(1, "libs");
        while world.ask(1, adopt(into, most)).expect("invited").more {
            assert_eq!(world.space(1, "libs"), old, "read as it was until the end");
            assert_eq!(world.ask(1, put("libs", "x", "late")), Err(CommandError::Adopting(repo("LIBS"))));
        }
        let me = world.node(1);
        assert!(!world.sites[1].mind().federation(&old).expect("its log stays").is_member(&me));
        assert_eq!(world.sites[1].mind().adoptions().count(), 0);
        assert!(!world.ask(1, adopt(into, most)).expect("asked again, it is done").more);
        world.settle();
        world.round(2);
        check_that_both_have_all(&world, into);
        world.ask(1, put("libs", "both", "merged")).expect("a member like any other");
        world.round(3);
        assert_eq!(world.versions(0, "libs", "both"), [Digest::of(b"merged")]);
    }
}

#[test]
fn an_adoption_goes_on_by_itself_after_a_crash_at_any_step() {
    for asked in 1..7 {
        for crash_at in 0..3 {
            let (mut world, into) = met();
            for _ in 1..asked {
                if !world.ask(1, adopt(into, 1)).expect("invited").more {
                    break;
                }
            }
            world.handle(1, Input::Local(vec![(1_000, adopt(into, 1))]), Some(crash_at));
            if world.sites[1].is_up() {
                world.crash(1);
            }
            world.restart(1);
            world.connect_all();
            world.settle();
            let began = world.sites[1].mind().adoptions().count() == 1;
            assert!(began || asked == 1 || world.space(1, "libs") == into);
            if !began && asked == 1 {
                world.ask(1, adopt(into, 1)).expect("invited");
            }
            for dice in 2..5 {
                world.round(dice);
            }
            check_that_both_have_all(&world, into);
        }
    }
}

#[test]
fn only_a_repository_of_its_own_joins_and_only_where_it_is_invited() {
    let (mut world, into) = met();
    let alice = world.node(0);
    let nobodys = Space::Federation(FederationId([7; 32]));
    assert_eq!(world.ask(1, adopt(nobodys, 1)), Err(CommandError::NotInvited(nobodys)));
    let own = world.space(1, "libs");
    assert_eq!(world.ask(0, adopt(own, 1)), Err(CommandError::SharedAlready(repo("libs"))));
    world.ask(1, Command::Invite(repo("libs"), alice)).expect("hers is taken");
    assert_eq!(world.ask(1, adopt(into, 1)), Err(CommandError::SharedAlready(repo("LIBS"))));
    world.ask(1, Command::Remove { key: repo("libs"), node: alice, by: String::new() }).expect("took it back");
    world.ask(1, adopt(into, 1)).expect("its own again");
}

#[test]
fn an_adoption_ends_with_the_membership_or_the_repository_and_takes_nothing_away() {
    let (mut world, into) = met();
    let (own, bob) = (world.space(1, "libs"), world.node(1));
    world.ask(1, adopt(into, 1)).expect("invited");
    world.settle();
    world.ask(0, Command::Remove { key: repo("libs"), node: bob, by: String::new() }).expect("may");
    world.settle();
    world.round(2);
    assert_eq!(world.space(1, "libs"), own);
    world.ask(1, put("libs", "x", "one")).expect("its own repository again");
    assert_eq!(world.versions(1, "libs", "z/mine").len(), 1);
    assert_eq!(world.versions(0, "libs", "a/mine").len(), 1, "what was put stays");

    let (mut world, into) = met();
    world.ask(1, adopt(into, 1)).expect("invited");
    world.ask(1, Command::DeleteRepository(repo("libs"))).expect("all of it");
    world.round(2);
    assert_eq!((world.repository(1, "libs"), world.sites[1].mind().adoptions().count()), (Some(into), 0));
    assert!(world.versions(1, "libs", "z/mine").is_empty());
}

#[test]
fn what_is_equal_but_for_its_properties_is_no_conflict_and_loses_none() {
    let (mut world, into) = met();
    world.ask(1, label("same", "stage", Some("test"))).expect("label");
    while world.ask(1, adopt(into, 2)).expect("invited").more {}
    world.round(2);
    let space = world.space(0, "libs");
    let versions = checks::oracle::catalog(&world.sites[0].disk, &space).remove(&path("same")).expect("live");
    assert_eq!(versions.len(), 2);
    assert!(versions.iter().any(|version| version.properties().as_map().contains_key("stage")));
    assert_eq!(conflicts(&world.sites[0].disk, &space, None, 100).expect("rows can be read").len(), 1);
}

#[test]
fn an_adoption_waits_while_its_site_may_not_write() {
    let (mut world, into) = met();
    world.ask(1, adopt(into, 1)).expect("invited");
    let hint = claim(&world, into, 1);
    world.handle(1, Input::Frame(world.node(0), hint), None);
    assert_eq!(world.ask(1, create("new", Vec::new())), Err(CommandError::Reconciling));
    let before = world.sites[1].mind().heads(&into);
    world.handle(1, Input::Tick { dice: 0, round: false }, None);
    assert_eq!(world.sites[1].mind().heads(&into), before, "its rows may be older than what it told others");
    assert_eq!(world.sites[1].mind().adoptions().count(), 1);
    for dice in 2..5 {
        world.round(dice);
    }
    assert_eq!(world.space(1, "libs"), into, "no proof came");
    check_that_both_have_all(&world, into);
}
