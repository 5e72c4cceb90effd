//! Liars: what they send is refused with its reason, and changes nothing.

use artimesh_core::catalog::{EntryFault, Put};
use artimesh_core::changelog::{Change, Sealed, SegmentError};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, Dot, Envelope, Incarnation, KeyPair, Space};
use artimesh_core::replica::message::Announcement;
use artimesh_core::replica::{Command, Input, Refusal, Verdict};
use artimesh_core::trust::{Founding, Grant, GrantBody, Revocation, Role, TrustRefusal};

use super::writing::federated;
use crate::forge::{Forgery, frame};
use crate::world::{World, content, path, put, writer};

/// A put as a change, that kills these.
pub fn lie(at: &str, kills: Vec<Dot>) -> Change {
    Change::Put(Put {
        path: path(at),
        content: content("a lie"),
        timestamp: Timestamp(u64::MAX),
        kills,
        created: Timestamp(1),
        created_by: "liar".into(),
        modified_by: "liar".into(),
        moved_from: None,
    })
}

/// The forgery that `liar` begins in the life it has, knowing all that the first site knows.
pub fn forgery(world: &World, liar: usize, space: Space) -> Forgery {
    let heads = world.sites[0].mind().heads(&space);
    let trust = world.sites[0].mind().heads(&Space::Trust);
    Forgery::of(&world.sites[liar], world.sites[liar].mind().incarnation(), space, &heads, &trust)
}

pub fn circle(world: &World) -> artimesh_core::model::CircleId {
    world.sites[0].mind().circle().expect("the first site has a circle")
}

/// Sends `segment` to the first site as `from`; returns the refusals, after checking that nothing was written.
pub fn refused(world: &mut World, from: usize, segment: &[u8], space: Space) -> Vec<Refusal> {
    let (rows, heads) = (world.sites[0].disk.clone(), world.sites[0].mind().heads(&space));
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(world.node(from), frame(space, &[segment])), None);
    assert!(rows == world.sites[0].disk, "rows were written");
    assert_eq!(heads, world.sites[0].mind().heads(&space));
    world.refusals(0)
}

#[test]
fn an_edge_follows_and_a_segment_of_its_own_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let edge = world.node(3);
    let segment = forgery(&world, 3, space).says(&lie("x", Vec::new())).signed(&world.sites[3], &circle(&world));
    let refusals = refused(&mut world, 3, segment.bytes(), space);
    assert!(matches!(&refusals[..], [Refusal::Trust(TrustRefusal::NotAllowed(node, _))] if *node == edge));

    let target = world.node(1);
    let revocation = Change::Revoke(Revocation { node: target, reason: String::new() });
    let segment = forgery(&world, 3, Space::Trust).says(&revocation).signed(&world.sites[3], &circle(&world));
    let refusals = refused(&mut world, 3, segment.bytes(), Space::Trust);
    assert!(matches!(&refusals[..], [Refusal::Trust(TrustRefusal::NotAllowed(node, _))] if *node == edge));
}

#[test]
fn an_edge_does_not_write_trust_by_repeating_what_the_root_signed() {
    let mut world = federated();
    let root = KeyPair::from_secret(&[42; 32]);
    let founder = world.sites[0].identity.clone();
    let founding = Founding::new(&root, founder.name, founder.keys);
    let grant = Change::Grant(founding.grant);
    let alone = forgery(&world, 3, Space::Trust).says(&grant).signed(&world.sites[3], &circle(&world));
    assert!(!refused(&mut world, 3, alone.bytes(), Space::Trust).is_empty());
    let with_root = forgery(&world, 3, Space::Trust).says(&Change::Root(founding.root)).says(&grant);
    let with_root = with_root.signed(&world.sites[3], &circle(&world));
    assert!(!refused(&mut world, 3, with_root.bytes(), Space::Trust).is_empty());
    let root_alone = forgery(&world, 3, Space::Trust).says(&Change::Root(founding.root));
    let root_alone = root_alone.signed(&world.sites[3], &circle(&world));
    assert!(!refused(&mut world, 3, root_alone.bytes(), Space::Trust).is_empty());
}

#[test]
fn an_author_without_the_capability_is_refused() {
    let mut world = federated();
    let target = world.node(2);
    let author = world.node(1);
    let revocation = Change::Revoke(Revocation { node: target, reason: String::new() });
    let segment = forgery(&world, 1, Space::Trust).says(&revocation).signed(&world.sites[1], &circle(&world));
    let refusals = refused(&mut world, 1, segment.bytes(), Space::Trust);
    assert!(matches!(&refusals[..], [Refusal::Trust(TrustRefusal::NotAllowed(node, _))] if *node == author));
    assert!(world.ask(1, Command::Revoke(target, String::new())).is_err());
}

#[test]
fn an_admission_beyond_the_issuers_own_rights_is_refused() {
    let mut world = federated();
    let stranger = crate::site::Site::new("mallory");
    let body = GrantBody {
        node: stranger.node(),
        name: stranger.identity.name.clone(),
        role: Role::Full,
        keys: stranger.identity.keys,
        capabilities: writer(),
        addresses: stranger.addresses(),
        token: None,
        overrides: Vec::new(),
    };
    let grant = Change::Grant(Grant::by_author(&body));
    let segment = forgery(&world, 1, Space::Trust).says(&grant).signed(&world.sites[1], &circle(&world));
    assert!(!refused(&mut world, 1, segment.bytes(), Space::Trust).is_empty());
}

#[test]
fn a_stranger_who_signs_with_its_own_key_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let stranger = crate::site::Site::new("mallory");
    let incarnation = Incarnation { node: stranger.node(), number: 1 };
    let heads = world.sites[0].mind().heads(&space);
    let trust = world.sites[0].mind().heads(&Space::Trust);
    let lie = Forgery::of(&stranger, incarnation, space, &heads, &trust).says(&lie("x", Vec::new()));
    let segment = lie.signed(&stranger, &circle(&world));
    let refusals = refused(&mut world, 1, segment.bytes(), space);
    assert_eq!(refusals, vec![Refusal::Trust(TrustRefusal::NotAMember(stranger.node()))]);
}

#[test]
fn a_segment_in_anothers_name_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let segment = forgery(&world, 2, space).says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    let victim = world.node(2);
    assert_eq!(refused(&mut world, 1, segment.bytes(), space), vec![Refusal::Trust(TrustRefusal::WrongKey(victim))]);
}

#[test]
fn an_altered_segment_is_refused_wherever_it_was_altered() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let segment = forgery(&world, 1, space).says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    for at in (0..segment.bytes().len()).step_by(5) {
        let mut bytes = segment.bytes().to_vec();
        bytes[at] ^= 0x10;
        assert!(!refused(&mut world, 1, &bytes, space).is_empty(), "byte {at}");
    }
}

#[test]
fn a_forked_log_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let fork = forgery(&world, 1, space).says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let (incarnation, first) = (fork.header.incarnation, fork.header.first_sequence);
    // The proof is kept, and nothing of it applied.
    let heads = world.sites[0].mind().heads(&space);
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(world.node(1), frame(space, &[fork.bytes()])), None);
    assert_eq!(world.refusals(0), vec![Refusal::Fork(incarnation, first)]);
    assert_eq!(world.sites[0].mind().forks().count(), 1);
    assert!(heads == world.sites[0].mind().heads(&space) || fork.hash < world.truth.segments.last().expect("one").hash);
    // A log that goes on from a past that never was.
    let mut onward = forgery(&world, 1, space);
    onward.after.chain = Digest::of(b"never");
    let onward = onward.says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    assert!(matches!(refused(&mut world, 1, onward.bytes(), space)[..], [Refusal::Fork(..)]));
}

#[test]
fn an_unsigned_contradiction_is_blamed_on_its_sender_not_on_the_author() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let fork = forgery(&world, 1, space).says(&lie("x", Vec::new())).signed(&world.sites[1], &CircleOther::id());
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let refusals = refused(&mut world, 2, fork.bytes(), space);
    assert_eq!(refusals, vec![Refusal::Segment(SegmentError::Signature)]);
}

struct CircleOther;

impl CircleOther {
    fn id() -> artimesh_core::model::CircleId {
        artimesh_core::model::CircleId([3; 32])
    }
}

#[test]
fn a_segment_of_another_circle_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let foreign = forgery(&world, 1, space).says(&lie("x", Vec::new())).signed(&world.sites[1], &CircleOther::id());
    assert_eq!(refused(&mut world, 1, foreign.bytes(), space), vec![Refusal::Segment(SegmentError::Signature)]);
}

#[test]
fn a_kill_of_what_its_author_had_not_seen_is_refused() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let before = forgery(&world, 1, space);
    let unseen = world.ask(2, put("libs", "x", "one")).expect("put").dot;
    world.settle();
    let segment = before.says(&lie("x", vec![unseen])).signed(&world.sites[1], &circle(&world));
    let refusals = refused(&mut world, 1, segment.bytes(), space);
    assert!(matches!(refusals[..], [Refusal::Entry(_, EntryFault::KillsUnseen(dot))] if dot == unseen));
}

#[test]
fn one_bad_entry_refuses_the_whole_segment_and_the_rest_of_the_message_goes_on() {
    let mut world = federated();
    let space = world.space(0, "libs");
    world.disconnect(0, 2);
    let good = world.ask(2, put("libs", "y", "two")).expect("put").dot;
    world.network.gossip.clear();
    let unseen = Dot { incarnation: good.incarnation, sequence: 9 };
    let bad = forgery(&world, 1, space).says(&lie("x", Vec::new())).says(&lie("z", vec![unseen]));
    let bad = bad.signed(&world.sites[1], &circle(&world));
    let fine = world.truth.segments.last().expect("just written").bytes().to_vec();
    world.handle(0, Input::Frame(world.node(1), frame(space, &[bad.bytes(), &fine])), None);
    assert!(world.versions(0, "libs", "x").is_empty());
    assert_eq!(world.versions(0, "libs", "y").len(), 1);
    assert!(crate::checks::oracle::check(&world).is_ok());
    assert!(matches!(world.refusals(0)[..], [Refusal::Entry(..)]));
}

#[test]
fn a_refused_trust_segment_leaves_the_trust_as_it_was_even_within_one_message() {
    let mut world = federated();
    let founder_only = world.digest(0, &Space::Trust);
    let target = world.node(2);
    let body = world.sites[0].mind().trust().expect("trust").member(&target).expect("member").grant().clone();
    let bad = forgery(&world, 1, Space::Trust)
        .says(&Change::Grant(Grant::by_author(&body)))
        .says(&Change::Revoke(Revocation { node: target, reason: String::new() }));
    let bad = bad.signed(&world.sites[1], &circle(&world));
    assert!(!refused(&mut world, 1, bad.bytes(), Space::Trust).is_empty());
    assert_eq!(world.digest(0, &Space::Trust), founder_only);
    assert!(world.sites[0].mind().trust().expect("trust").good(&target).is_some());
}

#[test]
fn gossip_is_judged_by_what_it_carries() {
    let mut world = federated();
    let space = world.space(0, "libs");
    world.ask(1, put("libs", "x", "one")).expect("put");
    let segment = world.truth.segments.last().expect("just written").clone();
    world.network.gossip.clear();
    let mut heard = |space: Space, bytes: Vec<u8>| {
        world.verdicts.clear();
        world.handle(0, Input::Gossip(space, bytes), None);
        world.verdicts.clone()
    };
    let whole = |segment: &Sealed| Announcement::Segment(segment.bytes().to_vec()).to_bytes();
    assert_eq!(heard(Space::Trust, whole(&segment)), vec![Verdict::Reject], "the wrong space");
    assert_eq!(heard(space, whole(&segment)), vec![Verdict::Accept]);
    assert_eq!(heard(space, whole(&segment)), vec![Verdict::Ignore], "an echo");
    assert_eq!(heard(space, vec![1, 2, 3]), vec![Verdict::Reject]);
    let mut altered = whole(&segment);
    *altered.last_mut().expect("not empty") ^= 1;
    assert_eq!(heard(space, altered), vec![Verdict::Reject]);
    let later = Envelope { kind: 77, body: vec![0; 9] }.to_bytes();
    assert_eq!(heard(space, later), vec![Verdict::Accept], "of a later version");
}

#[test]
fn frames_that_are_no_messages_are_refused_and_messages_of_later_versions_passed_over() {
    let mut world = federated();
    let rows = world.sites[0].disk.clone();
    for bytes in [vec![], vec![1], vec![3, 0, 255, 255, 255, 255], vec![3, 0, 2, 0, 0, 0, 1, 1], vec![9; 4000]] {
        world.sites[0].notes.clear();
        world.handle(0, Input::Frame(world.node(1), bytes), None);
        assert!(matches!(world.refusals(0)[..], [Refusal::Message(_)]));
    }
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(world.node(1), Envelope { kind: 500, body: vec![7; 80] }.to_bytes()), None);
    assert!(world.refusals(0).is_empty());
    assert!(rows == world.sites[0].disk);
}

#[test]
fn nothing_is_taken_from_or_told_to_a_node_outside_the_circle() {
    use artimesh_core::replica::message::{HeadsMessage, Message, WantMessage};
    let mut world = federated();
    let stranger = crate::site::Site::new("mallory").node();
    let space = world.space(0, "libs");
    let want = Message::Want(WantMessage { space, since: Default::default() }).to_bytes();
    let heads = HeadsMessage { spaces: Vec::new(), statements: Digest::ZERO, reply: true };
    for frame in [want, Message::Heads(heads).to_bytes()] {
        let now = world.now;
        let outputs = world.sites[0].handle(now, Input::Frame(stranger, frame));
        assert!(outputs.iter().all(|output| matches!(output, artimesh_core::replica::Output::Note(_))), "{outputs:?}");
    }
}

#[test]
fn a_peer_that_promises_spaces_without_end_is_not_believed_without_end() {
    use artimesh_core::model::{FederationId, Head, Heads};
    use artimesh_core::replica::Output;
    use artimesh_core::replica::message::{HeadsMessage, Message, SpaceHeads};
    let mut world = federated();
    let head = Head { sequence: 1, chain: Digest::ZERO };
    let log = Incarnation { node: world.node(1), number: 1 };
    let promise = |n: u32| {
        let space = Space::Federation(FederationId(Digest::of(&n.to_le_bytes()).0));
        SpaceHeads { space, heads: Heads([(log, head)].into()) }
    };
    let spaces = (0..5_000).map(promise).collect();
    let message = Message::Heads(HeadsMessage { spaces, statements: Digest::ZERO, reply: false });
    let (now, from) = (world.now, world.node(1));
    let outputs = world.sites[0].handle(now, Input::Frame(from, message.to_bytes()));
    assert!(outputs.iter().filter(|output| matches!(output, Output::Send(..))).count() < 100);
    assert!(world.sites[0].mind().peers()[&from].heads.len() < 100);
}
