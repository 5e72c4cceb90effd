//! Federations: who gets a repository, when, and how it ends.

use artimesh_core::model::Digest;
use artimesh_core::replica::message::{HeadsMessage, Message, SpaceHeads};
use artimesh_core::replica::{AcceptPolicy, Command, CommandError, Event, Input, Refusal};

use super::writing::federated;
use crate::world::{World, create, put, repo};

fn with_policy(accept: AcceptPolicy) -> World {
    let mut world = World::circle(2, 0);
    world.crash(1);
    world.sites[1].accept = accept;
    world.restart(1);
    world.connect_all();
    world.settle();
    let invite = vec![world.node(1)];
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world
}

#[test]
fn an_invited_member_that_accepts_any_gets_the_repository() {
    let world = with_policy(AcceptPolicy::Any);
    let space = world.space(1, "libs");
    assert!(world.sites[0].mind().federation(&space).expect("held").is_member(&world.node(1)));
}

#[test]
fn a_member_that_accepts_none_gets_nothing_and_holds_nothing() {
    let world = with_policy(AcceptPolicy::None);
    assert!(world.repository(1, "libs").is_none());
    assert_eq!(world.sites[1].mind().spaces().count(), 1);
    let founder = world.node(0);
    assert!(world.refusals(1).contains(&Refusal::NotAccepted(founder)));
}

#[test]
fn a_member_accepts_those_it_lists_by_name_or_id() {
    let alice = World::new(1).node(0).to_string();
    for list in [vec!["alice".to_owned()], vec![alice]] {
        assert!(with_policy(AcceptPolicy::Of(list)).repository(1, "libs").is_some());
    }
    assert!(with_policy(AcceptPolicy::Of(vec!["bob".into()])).repository(1, "libs").is_none());
}

#[test]
fn a_key_that_is_taken_leaves_both_repositories_alone() {
    let mut world = World::circle(2, 0);
    let own = world.ask(1, create("libs", Vec::new())).expect("a local repository").space;
    let invite = vec![world.node(1)];
    let mut theirs = create("LIBS", invite);
    if let Command::CreateRepository { secret, .. } = &mut theirs {
        *secret = [9; 32];
    }
    world.ask(0, theirs).expect("a free key there");
    world.settle();
    world.round(1);
    assert_eq!(world.space(1, "libs"), own);
    assert!(world.sites[1].notes.iter().any(|note| matches!(note, Event::KeyTaken { .. })));
}

#[test]
fn a_node_invited_later_gets_what_was_there_before() {
    let mut world = World::circle(2, 0);
    world.ask(0, create("libs", Vec::new())).expect("local");
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    assert!(world.repository(1, "libs").is_none());
    let node = world.node(1);
    world.ask(0, Command::Invite(repo("libs"), node)).expect("invited");
    world.settle();
    world.round(1);
    assert_eq!(world.versions(1, "libs", "x").len(), 1);
    assert_eq!(world.ask(0, Command::Invite(repo("libs"), node)), Err(CommandError::AlreadyMember(node)));
}

#[test]
fn who_leaves_keeps_nothing_in_sync_and_deletes_nothing_elsewhere() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    let space = world.space(1, "libs");
    world.ask(1, Command::DeleteRepository(repo("libs"))).expect("leaves");
    world.settle();
    world.round(1);
    let node = world.node(1);
    for site in [0, 2] {
        assert!(!world.sites[site].mind().federation(&space).expect("held").is_member(&node));
        assert_eq!(world.versions(site, "libs", "x").len(), 1);
    }
    let heads = world.sites[1].mind().heads(&space);
    world.ask(0, put("libs", "y", "two")).expect("put");
    world.network.gossip.clear();
    for dice in 0..4 {
        world.round(dice);
    }
    assert_eq!(world.sites[1].mind().heads(&space), heads);
    assert_eq!(world.ask(1, put("libs", "x", "three")), Err(CommandError::NoRepository(repo("libs"))));
}

#[test]
fn a_member_that_left_comes_back_by_a_new_invitation() {
    let mut world = federated();
    world.ask(1, Command::DeleteRepository(repo("libs"))).expect("leaves");
    world.settle();
    world.round(1);
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    let node = world.node(1);
    world.ask(0, Command::Invite(repo("libs"), node)).expect("invited again");
    world.settle();
    for dice in 0..4 {
        world.round(dice);
    }
    assert_eq!(world.versions(1, "libs", "x").len(), 1);
    world.ask(1, put("libs", "x", "two")).expect("a member again");
    world.settle();
    assert_eq!(world.versions(2, "libs", "x"), world.versions(1, "libs", "x"));
}

#[test]
fn an_edge_is_not_invited_and_follows_all_the_same() {
    let mut world = federated();
    let edge = world.node(3);
    assert_eq!(world.ask(0, Command::Invite(repo("libs"), edge)), Err(CommandError::IsEdge(edge)));
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    assert_eq!(world.versions(3, "libs", "x").len(), 1);
}

#[test]
fn a_circle_and_a_repository_can_be_founded_in_one_input() {
    use artimesh_core::model::KeyPair;
    use artimesh_core::replica::Input;
    use artimesh_core::trust::Founding;
    let mut world = World::new(1);
    world.crash(0);
    world.sites[0].disk = crate::disk::Disk::new();
    world.restart(0);
    let me = world.sites[0].identity.clone();
    let founding = Founding::new(&KeyPair::from_secret(&[42; 32]), me.name, me.keys);
    let commands =
        vec![(1, Command::FoundCircle(founding)), (2, create("libs", Vec::new())), (3, put("libs", "x", "one"))];
    world.handle(0, Input::Local(commands), None);
    assert!(world.replies.iter().all(|(_, _, reply)| reply.is_ok()), "{:?}", world.replies);
    assert_eq!(world.versions(0, "libs", "x").len(), 1);
}

#[test]
fn an_invitation_that_only_the_invited_heard_counts_though_who_wrote_it_was_revoked_or_is_lost() {
    for is_revoked in [true, false] {
        let mut world = World::circle(4, 0);
        let invite = vec![world.node(1), world.node(2)];
        world.ask(0, create("libs", invite)).expect("a free key");
        world.settle();
        world.round(1);
        world.network.gossip_is_off = true;
        for (a, b) in [(0, 2), (1, 2), (0, 3), (1, 3)] {
            world.disconnect(a, b);
        }
        let (carol, dave) = (world.node(2), world.node(3));
        world.ask(2, Command::Invite(repo("libs"), dave)).expect("a member invites");
        world.settle();
        world.round(2);
        let space = world.space(3, "libs");
        world.ask(3, put("libs", "x", "one")).expect("a member in its own eyes");
        world.crash(2);
        if is_revoked {
            world.ask(0, Command::Revoke(carol, String::new())).expect("may revoke");
        }
        world.connect_all();
        for dice in 0..3 {
            world.round(dice);
        }
        for site in [0, 1] {
            assert!(world.sites[site].mind().federation(&space).expect("held").is_member(&dave), "site {site}");
            assert_eq!(world.versions(site, "libs", "x").len(), 1, "site {site}");
            assert_eq!(world.digest(site, &space), world.digest(3, &space));
        }
    }
}

#[test]
fn a_stranger_to_a_federation_that_claims_to_have_more_of_it_gets_and_changes_nothing() {
    let mut world = World::circle(3, 0);
    let invite = vec![world.node(1)];
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    let space = world.space(0, "libs");
    let (mut claimed, stranger) = (world.sites[0].mind().heads(&space), world.node(2));
    claimed.0.values_mut().for_each(|head| head.sequence += 5);
    let spaces = vec![SpaceHeads { space, heads: claimed }];
    let lie = Message::Heads(HeadsMessage { spaces, statements: Digest::ZERO, reply: true });
    world.handle(0, Input::Frame(stranger, lie.to_bytes()), None);
    world.settle();
    world.ask(1, put("libs", "x", "one")).expect("put");
    for dice in 0..3 {
        world.round(dice);
    }
    assert_eq!(world.versions(0, "libs", "x").len(), 1, "it goes on with those who do have more");
    assert!(world.sites[2].mind().heads(&space).0.is_empty() && world.sites[2].mind().federation(&space).is_none());
}

#[test]
fn an_invitation_waits_for_its_key_and_is_taken_when_that_is_free() {
    let mut world = World::circle(2, 0);
    world.ask(1, create("libs", Vec::new())).expect("a free key");
    let (mine, bob) = (world.space(1, "libs"), world.node(1));
    // Founded at another time, and so another federation.
    world.now += 1;
    let space = world.ask(0, create("libs", vec![bob])).expect("free there").space;
    world.settle();
    world.round(1);
    let waiting = world.sites[1].mind().waiting_invitations();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].space, waiting[0].taken_by), (space, Some(mine)));
    world.crash(1);
    world.restart(1);
    assert_eq!(world.sites[1].mind().waiting_invitations(), waiting, "kept");
    world.ask(1, Command::DeleteRepository(repo("libs"))).expect("its own");
    world.connect_all();
    world.round(2);
    assert_eq!(world.repository(1, "libs"), Some(space));
    assert!(world.sites[1].mind().waiting_invitations().is_empty());
    world.ask(1, put("libs", "x", "one")).expect("a member");
    world.round(3);
    assert_eq!(world.versions(0, "libs", "x").len(), 1);
}
