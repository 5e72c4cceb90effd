//! Laws that hold for all values: the codec, envelopes, versions, heads and contexts.

use std::collections::BTreeMap;

use artimesh_core::catalog::{EDITED_NAMES_MAX, Edit, Edits, Put, Register, Version, Versions};
use artimesh_core::changelog::{Change, Sealed};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Context, Digest, Dot, Envelope, Head, Heads, Incarnation, NodeId, codec};
use artimesh_core::replica::message::{Announcement, Hello, Message};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::world::{content, path};

fn incarnation() -> impl Strategy<Value = Incarnation> {
    (0..4_u8, 0..3_u64).prop_map(|(node, number)| Incarnation { node: NodeId([node; 32]), number })
}

fn dot() -> impl Strategy<Value = Dot> {
    (incarnation(), 1..6_u64).prop_map(|(incarnation, sequence)| Dot { incarnation, sequence })
}

fn context() -> impl Strategy<Value = Context> {
    btree_map(incarnation(), 1..9_u64, 0..8).prop_map(Context)
}

fn heads() -> impl Strategy<Value = Heads> {
    let head = |(_, sequence): (Incarnation, u64)| Head { sequence, chain: Digest::of(&sequence.to_le_bytes()) };
    context().prop_map(move |context| Heads(context.0.into_iter().map(|(i, s)| (i, head((i, s)))).collect()))
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (any::<u16>(), vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| Envelope { kind, body })
}

fn put(timestamp: u64, kills: Vec<Dot>) -> Put {
    let timestamp = Timestamp(timestamp);
    let (created_by, modified_by) = ("a".into(), "b".into());
    let content = content("x");
    Put { path: path("a/b"), content, timestamp, kills, created: timestamp, created_by, modified_by, moved_from: None }
}

fn version() -> impl Strategy<Value = Version> {
    (dot(), 0..4_u64).prop_map(|(dot, _)| {
        // A dot names one version for ever, so its timestamp follows from it.
        let timestamp = dot.sequence % 3 + dot.incarnation.number % 2;
        Version::of(dot, Digest::of(&dot.sequence.to_le_bytes()), &put(timestamp, Vec::new()))
    })
}

/// Edits of many names, so that the bound bites. A dot edits a name to one value for ever.
fn edits() -> impl Strategy<Value = Vec<(String, Edit)>> {
    vec((0..400_u32, 0..4_u64, dot()), 0..150).prop_map(|all| {
        let edit = |(name, ms, dot): (u32, u64, Dot)| {
            let values = (ms > 0).then(|| vec![format!("{name} {ms} {dot:?}")]);
            (format!("{name:03}"), Edit { timestamp: Timestamp(ms), dot, values })
        };
        all.into_iter().map(edit).collect()
    })
}

fn of(versions: &[Version]) -> Versions {
    let mut all = Versions::default();
    versions.iter().for_each(|version| all.put(version.clone()));
    all
}

proptest! {
    #[test]
    fn a_dot_is_read_as_it_is_written(dot in dot()) {
        prop_assert_eq!(dot.to_string().parse(), Ok(dot));
    }

    #[test]
    fn values_read_back_from_their_bytes(heads in heads(), context in context()) {
        prop_assert_eq!(&codec::decode::<Heads>(&codec::encode(&heads)).expect("its own bytes"), &heads);
        prop_assert_eq!(&codec::decode::<Context>(&codec::encode(&context)).expect("its own bytes"), &context);
    }

    #[test]
    fn envelopes_read_back_and_their_bytes_are_theirs_alone(all in vec(envelope(), 0..6)) {
        let bytes: Vec<u8> = all.iter().flat_map(Envelope::to_bytes).collect();
        prop_assert_eq!(Envelope::read_all(&bytes, 6).expect("its own bytes"), all);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Message::read(&bytes);
        let _ = Hello::read(&bytes);
        let _ = Announcement::read(&bytes);
        let _ = Sealed::read(&bytes);
        for kind in 0..80 {
            let _ = Change::read(&Envelope { kind, body: bytes.clone() });
            let _ = Message::read(&Envelope { kind, body: bytes.clone() }.to_bytes());
        }
    }

    #[test]
    fn what_reads_as_an_entry_is_written_as_the_same_bytes(at in 0..400_usize, bit in 0..8_u8) {
        let mut envelope = Change::Put(put(7, vec![])).to_envelope();
        let at = at % envelope.body.len();
        envelope.body[at] ^= 1 << bit;
        if let Ok(change) = Change::read(&envelope) {
            prop_assert_eq!(change.to_envelope(), envelope);
        }
    }

    #[test]
    fn versions_are_a_set_whatever_the_order(mut all in vec(version(), 0..9), seed in any::<u64>()) {
        let forwards = of(&all);
        let mut dice = super::dice::Dice::new(seed);
        for at in (1..all.len()).rev() {
            all.swap(at, dice.below(at + 1));
        }
        let shuffled = of(&all);
        prop_assert_eq!(codec::encode(&forwards), codec::encode(&shuffled));
        let greatest = all.iter().map(|version| (version.timestamp, version.dot)).max();
        prop_assert_eq!(forwards.shown().map(|version| (version.timestamp, version.dot)), greatest);
    }

    #[test]
    fn kills_take_out_what_they_name_and_nothing_else(all in vec(version(), 0..9), kills in vec(dot(), 0..9)) {
        let before = of(&all);
        let mut after = before.clone();
        let dead = after.kill(&kills);
        prop_assert!(dead.iter().all(|version| kills.contains(&version.dot)));
        prop_assert!(after.dots().iter().all(|dot| !kills.contains(dot)));
        prop_assert_eq!(dead.len() + after.dots().len(), before.dots().len());
        let mut twice = after.clone();
        prop_assert!(twice.kill(&kills).is_empty());
        prop_assert_eq!(twice, after);
    }

    #[test]
    fn edits_merge_to_the_same_whatever_the_order_and_stay_bounded(all in vec(edits(), 0..5), seed in any::<u64>()) {
        let merged = |all: &[Vec<(String, Edit)>]| {
            let mut edits = Edits::default();
            all.iter().for_each(|more| edits.merge(more.clone()));
            edits
        };
        let mut shuffled = all.clone();
        let mut dice = super::dice::Dice::new(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, dice.below(at + 1));
        }
        let whole = merged(&all);
        prop_assert_eq!(&whole, &merged(&shuffled));
        let halves = all.split_at(all.len() / 2);
        let (mut left, right) = (merged(halves.0), merged(halves.1));
        left.merge(right);
        prop_assert_eq!(&whole, &left);
        left.merge(whole.clone());
        prop_assert_eq!(&whole, &left);
        prop_assert!(whole.iter().count() <= EDITED_NAMES_MAX);
    }

    #[test]
    fn registers_merge_to_the_same_whatever_the_order(all in vec((0..4_u64, dot()), 1..6), seed in any::<u64>()) {
        let register = |(ms, dot): &(u64, Dot)| Register { value: (*ms, *dot), timestamp: Timestamp(*ms), dot: *dot };
        let merged = |all: &[(u64, Dot)]| {
            let mut first = register(&all[0]);
            all.iter().for_each(|next| first.merge(&register(next)));
            first
        };
        let mut shuffled = all.clone();
        let mut dice = super::dice::Dice::new(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, dice.below(at + 1));
        }
        prop_assert_eq!(merged(&all), merged(&shuffled));
    }

    #[test]
    fn merging_contexts_is_a_least_upper_bound(a in context(), b in context(), c in context()) {
        let join = |x: &Context, y: &Context| { let mut x = x.clone(); x.merge(y); x };
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(&join(&a, &a), &a);
        let both = join(&a, &b);
        for (incarnation, sequence) in both.0.iter() {
            let dot = Dot { incarnation: *incarnation, sequence: *sequence };
            prop_assert!(a.cover(&dot) || b.cover(&dot));
        }
    }

    #[test]
    fn a_difference_merged_into_the_earlier_gives_the_later(a in context(), b in context()) {
        let mut later = a.clone();
        later.merge(&b);
        let mut again = a.clone();
        again.merge(&later.since(&a));
        prop_assert_eq!(again, later);
    }

    #[test]
    fn heads_cover_what_their_context_covers(heads in heads(), context in context(), dot in dot()) {
        prop_assert_eq!(heads.cover(&dot), heads.to_context().cover(&dot));
        let all = context.0.iter().all(|(i, s)| heads.cover(&Dot { incarnation: *i, sequence: *s }));
        prop_assert_eq!(heads.cover_context(&context), all);
        prop_assert!(heads.cover_context(&heads.to_context()));
    }

    #[test]
    fn a_write_is_later_than_all_that_it_replaces(wall in any::<u32>(), seen in vec(any::<u32>(), 0..5)) {
        let written = Timestamp::of_write(Timestamp(wall.into()), seen.iter().map(|ms| Timestamp((*ms).into())));
        prop_assert!(seen.iter().all(|ms| written > Timestamp((*ms).into())));
        prop_assert!(written >= Timestamp(wall.into()));
    }

    #[test]
    fn trailing_bytes_are_never_taken(context in context(), extra in vec(any::<u8>(), 1..4), _unit in Just(())) {
        let bytes = [codec::encode(&context), extra].concat();
        prop_assert!(codec::decode::<Context>(&bytes).is_err());
    }
}

#[test]
fn two_maps_of_equal_pairs_have_equal_bytes() {
    let pairs = |order: [u8; 3]| order.iter().map(|n| (*n, *n)).collect::<BTreeMap<u8, u8>>();
    assert_eq!(codec::encode(&pairs([1, 2, 3])), codec::encode(&pairs([3, 1, 2])));
}
