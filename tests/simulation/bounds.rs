//! Bounds and edges of values, to the byte and the millisecond: one more is refused, one less is fine.

use artimesh_core::catalog::{ConfigChange, EditProperties, Put};
use artimesh_core::changelog::{Change, Header, Sealed, SegmentError};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, Context, Digest, Dot, Incarnation, KeyPair, NodeId, Space, TokenId};
use artimesh_core::replica::{Command, Event, Hello, Input};
use artimesh_core::trust::{
    Addresses, BadToken, Capabilities, Capability, Grant, GrantBody, PairingToken, Role, Root, Standing, State,
    TrustRefusal,
};

use super::forge::frame;
use super::scenarios::{circle, federated, forgery, lie};
use super::site::Site;
use super::world::{World, path, put, repo, writer};

#[test]
fn addresses_are_at_most_16_of_256_bytes_each() {
    let long = |length: usize, count: usize| vec!["a".repeat(length); count];
    for (length, count, fine) in [(256, 16, true), (257, 1, false), (1, 17, false), (0, 0, true)] {
        for (control, bulk) in [(long(length, count), Vec::new()), (Vec::new(), long(length, count))] {
            assert_eq!(Addresses { control, bulk }.are_bounded(), fine, "{count} of {length} bytes");
        }
    }
}

#[test]
fn a_hello_is_as_long_as_its_parts_may_be() {
    let hello = |version: usize, addresses: usize| {
        let world = World::new(1);
        let addresses = Addresses { control: vec!["a".into(); addresses], bulk: Vec::new() };
        Hello::read(&Hello { version: "v".repeat(version), addresses, ..world.hello(0) }.to_bytes()).is_ok()
    };
    assert!(hello(64, 16));
    assert!(!hello(65, 16));
    assert!(!hello(64, 17));
}

#[test]
fn a_line_too_long_for_a_token_is_not_even_decoded() {
    let line = |length: usize| format!("artimesh-pair-1.{}", "A".repeat(length));
    assert_eq!(PairingToken::from_line(&line(8 * 1024)).map(drop), Err(BadToken::Altered));
    assert_eq!(PairingToken::from_line(&line(8 * 1024 + 1)).map(drop), Err(BadToken::NotAToken));
    assert_eq!(PairingToken::from_line(&line(10 * 1024)).map(drop), Err(BadToken::NotAToken));
}

#[test]
fn whoever_may_sign_all_bundles_may_hand_out_each_and_nobody_else() {
    let sign = |pattern: &str| Capability::SignBundles(pattern.into());
    assert!(Capabilities(vec![sign("*")]).include(&sign("app-*")));
    assert!(Capabilities(vec![sign("app-*")]).include(&sign("app-*")));
    assert!(!Capabilities(vec![sign("app-*")]).include(&sign("lib-*")));
    assert!(!Capabilities(vec![sign("app-*")]).include(&sign("*")));
}

#[test]
fn a_segment_begins_between_1_and_half_of_all_numbers() {
    let (site, circle) = (Site::new("alice"), CircleId([1; 32]));
    let read = |first_sequence: u64| {
        let header = Header {
            space: Space::Trust,
            incarnation: Incarnation { node: site.node(), number: 1 },
            key: site.identity.keys.log,
            first_sequence,
            entries: 0,
            previous: Digest::ZERO,
            context: Context::default(),
            needs: Context::default(),
            root: Digest::ZERO,
            written_at: Timestamp(1),
        };
        let entries = vec![Change::Leave.to_envelope()];
        Sealed::read(Sealed::sign(header, entries, &site.identity.log_key, &circle).bytes()).map(drop)
    };
    let out = |first| Err(SegmentError::Count { claimed: 1, first, found: 1 });
    assert_eq!(read(1), Ok(()));
    assert_eq!(read(u64::MAX / 2), Ok(()));
    assert_eq!(read(0), out(0));
    assert_eq!(read(u64::MAX / 2 + 1), out(u64::MAX / 2 + 1));
}

/// How far ahead the first site finds a put that says it was made so many milliseconds after the first site's own time.
fn found_ahead(ahead_ms: u64) -> Option<u64> {
    let mut world = federated();
    let space = world.space(0, "libs");
    let wall = world.sites[0].wall(world.now);
    let mut change = lie("x", Vec::new());
    if let Change::Put(Put { timestamp, .. }) = &mut change {
        *timestamp = Timestamp(wall.0 + ahead_ms);
    }
    let segment = forgery(&world, 1, space).says(&change).signed(&world.sites[1], &circle(&world));
    let from = world.node(1);
    world.handle(0, Input::Frame(from, frame(space, &[segment.bytes()])), None);
    assert!(world.refusals(0).is_empty(), "an alarm decides nothing");
    let far = |event: &Event| if let Event::FarAhead { ahead_ms, .. } = event { Some(*ahead_ms) } else { None };
    world.sites[0].notes.iter().find_map(far)
}

#[test]
fn an_entry_more_than_five_minutes_ahead_raises_an_alarm() {
    assert_eq!(found_ahead(300_000), None);
    assert_eq!(found_ahead(300_001), Some(300_001));
}

#[test]
fn a_first_grant_is_for_the_key_that_the_node_is_named_after_and_a_later_one_may_change_it() {
    let root = KeyPair::from_secret(&[42; 32]);
    let circle = CircleId::of(&root.public());
    let (alice, bob) = (Site::new("alice"), Site::new("bob"));
    let founding = artimesh_core::trust::Founding::new(&root, alice.identity.name.clone(), alice.identity.keys);
    let mut body = founding.grant.read().expect("its own");
    let dot = |sequence| Dot { incarnation: Incarnation { node: alice.node(), number: 1 }, sequence };
    let mut trust = State::new(circle);
    trust.apply_root(&Root { key: root.public() }).expect("the circle's");
    body.node = bob.node();
    let foreign = Grant::by_root(&body, &root, &circle);
    let refused = trust.apply_grant(dot(2), &foreign, &Context::default());
    assert!(matches!(refused, Err(TrustRefusal::Malformed(_))), "{refused:?}");

    body.node = alice.node();
    trust.apply_grant(dot(2), &Grant::by_root(&body, &root, &circle), &Context::default()).expect("a first grant");
    body.keys = bob.identity.keys;
    let seen = Context([(dot(2).incarnation, 2)].into());
    trust.apply_grant(dot(3), &Grant::by_root(&body, &root, &circle), &seen).expect("new keys for a known node");
    let keys = trust.member(&alice.node()).expect("a member").grant().keys;
    assert_eq!(keys, bob.identity.keys);
    assert_ne!(NodeId::of(&keys.log), alice.node());
}

#[test]
fn members_are_who_was_granted() {
    let world = World::circle_where(3, 1, |_| writer());
    let trust = world.sites[0].mind().trust().expect("in a circle");
    assert_eq!(trust.members().count(), 4);
}

#[test]
fn an_edit_takes_4_kib_of_name_and_values() {
    let check = |value_bytes: usize| {
        let set = [("name".to_owned(), Some(vec!["v".repeat(2_000), "v".repeat(value_bytes - 2_000)]))].into();
        let version = Dot { incarnation: Incarnation { node: NodeId([1; 32]), number: 1 }, sequence: 1 };
        EditProperties { path: path("x"), version, set, timestamp: Timestamp(1), by: "tester".into() }
            .check(|_| true)
            .is_ok()
    };
    assert!(check(4096 - 4));
    assert!(!check(4096 - 3));
}

#[test]
fn a_setting_beats_what_its_author_had_seen_however_slow_its_clock_is() {
    let mut world = federated();
    let describe = |text: &str| {
        let set = ConfigChange { description: Some(text.into()), ..ConfigChange::default() };
        Command::Configure { key: repo("libs"), set, by: "tester".into() }
    };
    world.sites[1].skew_ms = -240_000;
    world.ask(0, describe("first")).expect("may write");
    world.settle();
    world.ask(1, describe("second")).expect("may write");
    world.settle();
    let space = world.space(0, "libs");
    for site in 0..3 {
        let federation = world.sites[site].mind().federation(&space).expect("a federation");
        assert_eq!(federation.configuration.config().description, "second", "at site {site}");
    }
}

#[test]
fn deleting_a_few_under_a_prefix_ends_these_few_and_tells_when() {
    let mut world = federated();
    for name in ["a", "b", "c", "d/1", "d/2", "e"] {
        world.ask(0, put("libs", name, name)).expect("put");
    }
    world.settle();
    let ahead = world.sites[0].wall(world.now);
    world.sites[1].skew_ms = -240_000;
    let few = |most| Command::DeleteUnder { key: repo("libs"), prefix: String::new(), most, by: "tester".into() };
    let left = |world: &World| -> Vec<&str> {
        let names = ["a", "b", "c", "d/1", "d/2", "e"];
        names.into_iter().filter(|name| !world.versions(1, "libs", name).is_empty()).collect()
    };
    let receipt = world.ask(1, few(2)).expect("there are some");
    assert_eq!((left(&world), receipt.more), (vec!["c", "d/1", "d/2", "e"], true));
    assert_eq!(receipt.timestamp, Timestamp(ahead.0 + 1), "later than what it ends, not when its slow clock says");
    let receipt = world.ask(1, few(3)).expect("there are some");
    assert_eq!((left(&world), receipt.more), (vec!["e"], true));
    let receipt = world.ask(1, few(5)).expect("there is one");
    assert_eq!((left(&world), receipt.more), (vec![], false));
}

#[test]
fn a_node_says_what_it_can_do() {
    let world = World::new(1);
    assert_eq!(world.sites[0].mind().features(), artimesh_core::replica::message::FEATURES);
    assert_ne!(artimesh_core::replica::message::FEATURES, 1);
}

#[test]
fn capabilities_have_the_names_that_operators_type() {
    let one = artimesh_core::model::FederationId([0xab; 32]);
    let names: Vec<String> = Capabilities::all().0.iter().map(Capability::name).collect();
    let expected = ["admit", "revoke", "accounts", "issue-tokens", "sign-bundles:*", "found", "write:*", "follow:*"];
    assert_eq!(names, expected);
    assert_eq!(Capability::Write(Some(one)).name(), "write:abababab");
}

/// What the root granted, in this order, each knowing those before; without a token.
fn granted(bodies: Vec<GrantBody>) -> State {
    let root = KeyPair::from_secret(&[42; 32]);
    let circle = CircleId::of(&root.public());
    let author = Incarnation { node: Site::new("alice").node(), number: 1 };
    let mut trust = State::new(circle);
    trust.apply_root(&Root { key: root.public() }).expect("the circle's");
    let founder = GrantBody { capabilities: Capabilities::all(), ..body("alice", Role::Full, None) };
    for (sequence, body) in (1..).zip([founder].into_iter().chain(bodies)) {
        let seen = Context([(author, sequence - 1)].into());
        let dot = Dot { incarnation: author, sequence };
        trust.apply_grant(dot, &Grant::by_root(&body, &root, &circle), &seen).expect("by the root");
    }
    trust
}

fn body(name: &str, role: Role, token: Option<TokenId>) -> GrantBody {
    let site = Site::new(name);
    GrantBody {
        node: site.node(),
        name: site.identity.name.clone(),
        role,
        keys: site.identity.keys,
        capabilities: writer(),
        addresses: site.addresses(),
        token,
        overrides: Vec::new(),
    }
}

#[test]
fn a_grant_on_a_spent_token_counts_for_nothing_beside_one_that_is_good() {
    let token = Some(TokenId([5; 16]));
    let (first, spent) = (body("bob", Role::Full, token), body("carol", Role::Full, token));
    let trust = granted(vec![first, spent.clone(), body("carol", Role::Edge, None)]);
    let carol = trust.member(&spent.node).expect("granted");
    assert_eq!((carol.role(), carol.standing()), (Role::Edge, Standing::Good));
    let trust = granted(vec![body("bob", Role::Full, token), spent.clone()]);
    assert_eq!(trust.member(&spent.node).expect("granted").standing(), Standing::Revoked);
}

#[test]
fn what_an_edge_was_granted_does_not_make_it_an_author() {
    let trust = granted(vec![body("bob", Role::Full, None), body("carol", Role::Edge, None)]);
    let knowing = Context([(Incarnation { node: Site::new("alice").node(), number: 1 }, 9)].into());
    for needs in [None, Some(&knowing)] {
        assert!(trust.holds(&Site::new("bob").node(), &Capability::Write(None), needs));
        assert!(!trust.holds(&Site::new("carol").node(), &Capability::Write(None), needs));
    }
    assert!(!trust.holds(&Site::new("bob").node(), &Capability::Write(None), Some(&Context::default())));
}
