//! Who asks whom, when, and how much is said at once.

use std::collections::BTreeMap;

use artimesh_core::model::{Context, Digest, NodeId, Properties, Space};
use artimesh_core::replica::message::{HeadsMessage, Hello, Probe, SegmentsMessage, SpaceHeads, WantMessage};
use artimesh_core::replica::{Command, Input, Message, Output, Refusal, Table, rows};
use artimesh_core::trust::{Addresses, TrustRefusal};

use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, content, delete, path, put, repo};

/// How long a peer that is asked has before another is: milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// The messages among what a site does, and to whom.
fn sent(outputs: &[Output]) -> Vec<(NodeId, Message)> {
    let message = |output: &Output| match output {
        Output::Send(to, bytes) => Some((*to, Message::read(bytes).expect("its own message"))),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

/// Whom a site asks for segments as it ticks now.
fn asked_at_tick(world: &mut World, site: usize) -> Vec<NodeId> {
    let outputs = world.sites[site].handle(world.now, Input::Tick { dice: 0, round: false });
    let asked: Vec<_> = sent(&outputs).into_iter().filter(|(_, message)| matches!(message, Message::Want(_))).collect();
    asked.into_iter().map(|(to, _)| to).collect()
}

/// Site 2 missed a put, has asked site 0 for it just now, and knows that site 1 has it too.
fn asking() -> World {
    let mut world = federated();
    world.network.gossip_is_off = true;
    for other in [0, 1, 3] {
        world.disconnect(2, other);
    }
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.round(1);
    world.connect(2, 0);
    world.drain(0, 2);
    world.connect(2, 1);
    world.drain(1, 2);
    world
}

#[test]
fn nobody_else_is_asked_while_one_has_time_to_answer() {
    let mut world = asking();
    assert!(asked_at_tick(&mut world, 2).is_empty());
    world.now += PATIENCE_MS - 1;
    assert!(asked_at_tick(&mut world, 2).is_empty());
    world.now += 1;
    let other = world.node(1);
    assert_eq!(asked_at_tick(&mut world, 2), [other]);
}

#[test]
fn when_the_one_that_was_asked_goes_another_is_asked_at_once() {
    let mut world = asking();
    world.disconnect(2, 0);
    let other = world.node(1);
    assert_eq!(asked_at_tick(&mut world, 2), [other]);
}

#[test]
fn when_another_goes_the_one_that_was_asked_keeps_its_time() {
    let mut world = asking();
    world.disconnect(2, 1);
    assert!(asked_at_tick(&mut world, 2).is_empty());
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_the_wait() {
    let mut world = asking();
    world.sites[2].skew_ms = -3_600_000;
    let other = world.node(1);
    assert_eq!(asked_at_tick(&mut world, 2), [other]);
}

#[test]
fn a_peer_that_was_asked_in_vain_is_asked_again_once_it_says_anew_what_it_has() {
    let mut world = asking();
    world.now += PATIENCE_MS;
    world.handle(2, Input::Tick { dice: 0, round: false }, None);
    world.now += PATIENCE_MS;
    assert!(asked_at_tick(&mut world, 2).is_empty(), "both were asked in vain");
    let space = world.space(0, "libs");
    let heads = world.sites[0].mind().heads(&space);
    let told = HeadsMessage { spaces: vec![SpaceHeads { space, heads }], statements: Digest::ZERO, reply: false };
    let from = world.node(0);
    let outputs = world.sites[2].handle(world.now, Input::Frame(from, Message::Heads(told).to_bytes()));
    let asked = sent(&outputs).into_iter().any(|(to, message)| to == from && matches!(message, Message::Want(_)));
    assert!(asked);
}

fn long_put(at: &str, what: &str) -> Command {
    let mut content = content(what);
    let long = BTreeMap::from([("notes".to_owned(), vec!["n".repeat(2_000); 16])]);
    content.properties = Properties::try_from(long).expect("within the bounds");
    Command::Put { key: repo("libs"), path: path(at), content, by: "tester".into() }
}

/// What `of` answers to whoever wants everything after `since`.
fn answer(world: &mut World, of: usize, to: usize, space: Space, since: Context) -> SegmentsMessage {
    let want = Message::Want(WantMessage { space, since }).to_bytes();
    let from = world.node(to);
    let outputs = world.sites[of].handle(world.now, Input::Frame(from, want));
    let answers: Vec<_> = sent(&outputs)
        .into_iter()
        .filter_map(|(_, message)| if let Message::Segments(segments) = message { Some(segments) } else { None })
        .collect();
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    answer.clone()
}

#[test]
fn an_answer_says_whether_there_is_more_whichever_log_it_is_of() {
    for busy in [0, 1] {
        let mut world = federated();
        let space = world.space(0, "libs");
        for number in 0..40 {
            world.ask(busy, long_put(&format!("p{number}"), "long")).expect("put");
        }
        world.ask(1 - busy, put("libs", "short", "short")).expect("put");
        world.settle();
        let mut since = Context::default();
        let mut rounds = 0;
        loop {
            let answer = answer(&mut world, 0, 1, space, since.clone());
            for bytes in &answer.segments {
                let header = artimesh_core::changelog::Sealed::read(bytes).expect("its own").header;
                since.0.insert(header.incarnation, header.last_sequence());
            }
            rounds += 1;
            let all = world.sites[0].mind().heads(&space).to_context();
            assert_eq!(answer.more, since != all, "after answer {rounds}, with the long log at site {busy}");
            if !answer.more {
                break;
            }
        }
        assert!(rounds > 2, "1.3 MB came in {rounds} answers");
    }
}

#[test]
fn an_answer_to_whoever_has_all_is_empty() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let all = world.sites[0].mind().heads(&space).to_context();
    let answer = answer(&mut world, 0, 1, space, all);
    assert!(answer.segments.is_empty() && !answer.more);
}

#[test]
fn statements_travel_together_in_one_message() {
    let mut world = federated();
    let target = world.node(2);
    world.ask(0, Command::Revoke(target, "gone".into())).expect("may revoke");
    for dice in 0..3 {
        world.round(dice);
    }
    let known = world.sites[0].mind().trust().expect("in a circle").statements().count();
    assert!(known > 1, "every member sealed it");
    let (peer, hello) = (world.node(1), world.hello(1));
    let outputs = world.sites[0].handle(world.now, Input::Connected(peer, hello));
    let statements: Vec<usize> = sent(&outputs)
        .into_iter()
        .filter_map(|(_, message)| if let Message::Statements(all) = message { Some(all.len()) } else { None })
        .collect();
    assert_eq!(statements, [known]);
}

#[test]
fn a_member_wants_the_bytes_of_what_was_put_and_an_edge_does_not() {
    let mut world = federated();
    world.sites.iter_mut().for_each(|site| site.disk.has_blobs = false);
    let wants = |world: &World, site: usize| {
        world.sites[site].disk.table(Table::Meta).filter(|(key, _)| key.starts_with(rows::WANTS)).count()
    };
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    assert_eq!([0, 1, 2, 3].map(|site| wants(&world, site)), [0, 1, 1, 0]);
    world.ask(0, delete("libs", "x")).expect("delete");
    world.settle();
    assert_eq!([0, 1, 2, 3].map(|site| wants(&world, site)), [0, 0, 0, 0]);
}

#[test]
fn what_a_revoked_author_wrote_above_its_seals_does_not_even_wait() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let target = world.node(1);
    let mut gap = forgery(&world, 1, space);
    gap.after.sequence += 1_000;
    let segment = gap.says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    world.ask(0, Command::Revoke(target, "gone".into())).expect("may revoke");
    for dice in 0..3 {
        world.round(dice);
    }
    world.sites[0].notes.clear();
    let from = world.node(2);
    world.handle(0, Input::Frame(from, frame(space, &[segment.bytes()])), None);
    assert_eq!(world.refusals(0), [Refusal::Trust(TrustRefusal::Sealed(target))]);
    assert_eq!((world.sites[0].mind().parked(), world.sites[0].mind().parked_bytes()), (0, 0));
}

#[test]
fn what_waits_is_counted_and_forgotten_once_it_is_applied() {
    let mut world = federated();
    let space = world.space(0, "libs");
    world.network.gossip_is_off = true;
    let mut own = Vec::new();
    for what in ["one", "two", "three"] {
        world.ask(1, put("libs", what, what)).expect("put");
        own.push(world.truth.segments.last().expect("just written").clone());
    }
    let from = world.node(1);
    world.handle(0, Input::Frame(from, frame(space, &[own[2].bytes(), own[1].bytes()])), None);
    let mind = world.sites[0].mind();
    assert_eq!((mind.parked(), mind.parked_bytes()), (2, own[1].bytes().len() + own[2].bytes().len()));
    world.handle(0, Input::Frame(from, frame(space, &[own[0].bytes()])), None);
    let mind = world.sites[0].mind();
    assert_eq!((mind.parked(), mind.parked_bytes()), (0, 0));
    assert_eq!(world.versions(0, "libs", "three"), [Digest::of(b"three")]);
}

#[test]
fn an_answer_that_is_cut_by_its_size_says_that_there_is_more() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let begun = world.sites[0].mind().heads(&space).to_context();
    // Nine of 33 kB are the share of each of two logs, and a little more than it.
    for number in 0..9 {
        for author in [0, 1] {
            world.ask(author, long_put(&format!("p{number}"), "long")).expect("put");
            world.settle();
        }
    }
    let answer = answer(&mut world, 0, 1, space, begun);
    assert!(answer.segments.len() < 18, "{} segments", answer.segments.len());
    assert!(answer.more);
}

#[test]
fn heads_name_each_space_once() {
    let mut world = federated();
    let (peer, hello) = (world.node(1), world.hello(1));
    let outputs = world.sites[0].handle(world.now, Input::Connected(peer, hello));
    let told = sent(&outputs).into_iter().find_map(|(_, message)| match message {
        Message::Heads(heads) => Some(heads.spaces.iter().map(|space| space.space).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(told, Some(vec![Space::Trust, world.space(0, "libs")]));
}

#[test]
fn a_node_that_has_not_told_where_it_listens_is_looked_for_where_its_grant_says() {
    let mut world = World::new(3);
    for newcomer in [1, 2] {
        world.pair(0, newcomer, artimesh_core::trust::Role::Full, crate::world::writer()).expect("in fair weather");
        world.settle();
    }
    let peers = world.sites[2].mind().admitted_peers();
    for other in [0, 1] {
        let told = peers.iter().find(|(node, _, _)| *node == world.node(other)).map(|(_, _, addresses)| addresses);
        assert_eq!(told, Some(&world.sites[other].addresses()));
    }
}

#[test]
fn where_each_peer_listens_is_known_after_a_restart() {
    let mut world = federated();
    let moved = |site: usize| Addresses { control: vec![format!("/memory/{site}/moved")], bulk: Vec::new() };
    for site in [1, 2] {
        let (peer, hello) = (world.node(site), Hello { addresses: moved(site), ..world.hello(site) });
        world.handle(0, Input::Connected(peer, hello), None);
    }
    world.crash(0);
    world.restart(0);
    let peers = world.sites[0].mind().admitted_peers();
    for site in [1, 2] {
        let told = peers.iter().find(|(node, _, _)| *node == world.node(site)).map(|(_, _, addresses)| addresses);
        assert_eq!(told, Some(&moved(site)));
    }
}

#[test]
fn what_is_written_together_is_signed_in_segments_that_others_take() {
    let mut world = federated();
    let commands = (0..60).map(|number| (number, long_put(&format!("p{number}"), "long"))).collect();
    world.handle(0, Input::Local(commands), None);
    for dice in 0..4 {
        world.round(dice);
    }
    let space = world.space(0, "libs");
    assert_eq!(world.sites[0].mind().heads(&space), world.sites[1].mind().heads(&space));
    assert_eq!(world.versions(1, "libs", "p59"), [Digest::of(b"long")]);
    let segments = world.truth.segments.iter().filter(|segment| segment.header.entries > 1);
    let largest = segments.map(|segment| segment.bytes().len()).max().expect("several entries share one");
    assert!(largest <= 512 * 1024, "{largest} bytes");
}

#[test]
fn an_author_is_asked_for_what_it_announced_beyond_what_is_here_and_for_nothing_else() {
    let mut world = federated();
    let space = world.space(0, "libs");
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let incarnation = world.sites[1].mind().incarnation();
    let head = world.sites[0].mind().heads(&space).of(&incarnation);
    let asked = |world: &mut World, sequence: u64| {
        let head = artimesh_core::model::Head { sequence, ..head };
        let gossip = artimesh_core::replica::message::Announcement::Head(incarnation, head).to_bytes();
        let outputs = world.sites[0].handle(world.now, Input::Gossip(space, gossip));
        sent(&outputs).into_iter().any(|(_, message)| matches!(message, Message::Want(_)))
    };
    assert!(!asked(&mut world, head.sequence));
    assert!(asked(&mut world, head.sequence + 1));
}

#[test]
fn a_prefix_delete_ends_more_paths_than_are_read_at_once() {
    let mut world = federated();
    for batch in 0..3 {
        let commands = (0..200).map(|number| (number, put("libs", &format!("d/{batch}/{number}"), "x"))).collect();
        world.handle(0, Input::Local(commands), None);
    }
    for dice in 0..3 {
        world.round(dice);
    }
    let command = Command::DeleteUnder { key: repo("libs"), prefix: "d/".into(), most: 5_000, by: "tester".into() };
    assert!(!world.ask(1, command).expect("there are some").more);
    for dice in 0..3 {
        world.round(dice);
    }
    for site in 0..4 {
        let left = (0..3).flat_map(|batch| (0..200).map(move |number| format!("d/{batch}/{number}")));
        let left = left.filter(|path| !world.versions(site, "libs", path).is_empty()).count();
        assert_eq!(left, 0, "at site {site}");
    }
}

#[test]
fn heads_of_very_many_logs_travel_in_several_messages() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let (heads, trust) = (world.sites[0].mind().heads(&space), world.sites[0].mind().heads(&Space::Trust));
    let (circle, from) = (circle(&world), world.node(1));
    for number in 0..6_100 {
        let change = lie(&format!("x/{number}"), Vec::new());
        let life = artimesh_core::model::Incarnation { node: from, number: 1_000_000 + number };
        let first = crate::forge::Forgery::of(&world.sites[1], life, space, &heads, &trust);
        let segment = first.says(&change).signed(&world.sites[1], &circle);
        world.handle(0, Input::Frame(from, frame(space, &[segment.bytes()])), None);
    }
    let known = world.sites[0].mind().heads(&space).0.len();
    assert!(known > 6_100, "{known} logs: {:?}", world.refusals(0).first());
    let (peer, hello) = (world.node(2), world.hello(2));
    let outputs = world.sites[0].handle(world.now, Input::Connected(peer, hello));
    let sizes: Vec<usize> = sent(&outputs)
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::Heads(heads) => Some(heads.spaces.iter().map(|space| space.heads.0.len()).sum()),
            _ => None,
        })
        .collect();
    assert!(sizes.len() > 1, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), known + trust.0.len());
}

#[test]
fn what_is_shown_of_a_log_that_parted_fits_a_message() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    for number in 0..4_000 {
        world.ask(1, put("libs", &format!("{}/{number}", "x".repeat(200)), "one")).expect("put");
    }
    let space = world.space(1, "libs");
    let written: usize = world.truth.segments.iter().map(|segment| segment.bytes().len()).sum();
    let incarnation = world.sites[1].mind().incarnation();
    let probe = Message::Probe(Probe { space, incarnation, ends: Vec::new() });
    let (now, carol) = (world.now, world.node(2));
    let outputs = world.sites[1].handle(now, Input::Frame(carol, probe.to_bytes()));
    let [(_, Message::Segments(shown))] = &sent(&outputs)[..] else { panic!("{} answers", outputs.len()) };
    let bytes: usize = shown.segments.iter().map(Vec::len).sum();
    assert!(bytes > 256 * 1024 && bytes < 1024 * 1024 && written > 2 * bytes, "{bytes} of {written}");
}
