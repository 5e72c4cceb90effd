//! Cases, and a law: whatever sources do, all groups come, and none is under way twice from one source.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const A: SourceId = SourceId(1);
const B: SourceId = SourceId(2);
const ONE: ReaderId = ReaderId(1);
const OTHER: ReaderId = ReaderId(2);

fn at(ms: u64, most: u32) -> Ask {
    let patience = Duration::from_millis(100);
    Ask { most, now: Duration::from_millis(ms), patience, repeat_after: patience, dice: None }
}

fn fresh(count: u32, sources: &[SourceId]) -> Schedule {
    let mut schedule = Schedule::new(count, &[Range { start: 0, end: count }]);
    sources.iter().for_each(|source| schedule.join(*source));
    schedule
}

fn groups(schedule: &mut Schedule, source: SourceId, ask: Ask) -> Option<Range<u32>> {
    schedule.next(source, ask).map(|task| task.groups)
}

fn bits(count: u32, set: &[u32]) -> Bits {
    let mut bits = Bits::none(count);
    set.iter().for_each(|index| {
        bits.set(*index);
    });
    bits
}

#[test]
fn two_sources_get_different_ranges_and_only_what_is_missing() {
    let mut schedule = Schedule::new(20, &[2..5, 9..20]);
    schedule.join(A);
    schedule.join(B);
    assert_eq!(groups(&mut schedule, A, at(0, 4)), Some(2..5));
    assert_eq!(groups(&mut schedule, B, at(0, 4)), Some(9..13));
    assert_eq!(groups(&mut schedule, A, at(0, 4)), Some(13..17));
    assert_eq!(schedule.left(), 14);
}

#[test]
fn what_readers_wait_for_comes_first_in_turns() {
    let mut schedule = fresh(1000, &[A]);
    assert_eq!(schedule.next(A, at(0, 2)), Some(Task { groups: 0..2, urgency: Urgency::Bulk }));
    schedule.wait(ONE, 500);
    schedule.wait(OTHER, 900);
    let urgent: Vec<_> = (0..4).map(|_| schedule.next(A, at(0, 2)).unwrap()).collect();
    assert!(urgent.iter().all(|task| task.urgency == Urgency::Urgent));
    let starts: Vec<u32> = urgent.iter().map(|task| task.groups.start).collect();
    assert_eq!(starts, [500, 900, 502, 902]);
    schedule.stop_waiting(OTHER);
    schedule.wait(ONE, 996);
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(996..1000));
    schedule.stop_waiting(ONE);
    assert_eq!(schedule.next(A, at(0, 2)).unwrap().urgency, Urgency::Bulk);
}

#[test]
fn bulk_goes_on_behind_the_reader() {
    let mut schedule = fresh(100, &[A]);
    schedule.wait(ONE, 40);
    assert_eq!(schedule.next(A, at(0, 8)), Some(Task { groups: 40..48, urgency: Urgency::Urgent }));
    assert_eq!(schedule.next(A, at(0, 8)), Some(Task { groups: 48..56, urgency: Urgency::Bulk }));
}

#[test]
fn what_a_lost_source_had_under_way_is_asked_of_another() {
    let mut schedule = fresh(6, &[A, B]);
    assert_eq!(groups(&mut schedule, A, at(0, 4)), Some(0..4));
    schedule.arrived(0, A, Duration::ZERO);
    schedule.leave(A);
    assert_eq!(groups(&mut schedule, B, at(1, 4)), Some(1..5));
    assert_eq!(groups(&mut schedule, A, at(1, 4)), None, "it is gone");
}

#[test]
fn a_reader_waits_for_a_slow_source_no_longer_than_patience() {
    let mut schedule = fresh(100, &[A, B]);
    schedule.wait(ONE, 10);
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(10..18));
    assert_eq!(schedule.next(B, at(99, 8)).unwrap().urgency, Urgency::Bulk);
    assert_eq!(schedule.next(B, at(100, 8)), Some(Task { groups: 10..11, urgency: Urgency::Urgent }));
    schedule.arrived(10, B, Duration::ZERO);
    schedule.wait(ONE, 11);
    assert_eq!(groups(&mut schedule, B, at(101, 8)), Some(11..12));
    schedule.arrived(12, A, Duration::from_millis(250));
    assert_eq!(groups(&mut schedule, A, at(300, 8)), Some(18..19), "never twice of the same source");
}

#[test]
fn in_the_end_the_idle_repeat_what_has_been_under_way_longest_and_no_third_does() {
    const C: SourceId = SourceId(3);
    let mut schedule = fresh(4, &[A, B, C]);
    assert_eq!(groups(&mut schedule, A, at(0, 2)), Some(0..2));
    assert_eq!(groups(&mut schedule, A, at(50, 2)), Some(2..4));
    assert_eq!(groups(&mut schedule, B, at(99, 4)), None, "patience");
    assert_eq!(groups(&mut schedule, B, at(100, 4)), Some(0..1));
    assert_eq!(groups(&mut schedule, B, at(100, 4)), Some(1..2));
    assert_eq!(groups(&mut schedule, B, at(100, 4)), None);
    assert_eq!(groups(&mut schedule, C, at(160, 4)), Some(2..3), "0 and 1 are under way twice");
}

#[test]
fn what_nobody_waits_for_is_repeated_later_than_what_a_reader_does() {
    let mut schedule = fresh(2, &[A, B]);
    let ask = Ask { repeat_after: Duration::from_millis(500), ..at(200, 2) };
    assert_eq!(groups(&mut schedule, A, at(0, 2)), Some(0..2));
    assert_eq!(groups(&mut schedule, B, ask), None);
    schedule.wait(ONE, 1);
    assert_eq!(groups(&mut schedule, B, ask), Some(1..2));
    assert_eq!(groups(&mut schedule, B, Ask { now: Duration::from_millis(500), ..ask }), Some(0..1));
    schedule.arrived(0, B, Duration::from_millis(800));
    assert_eq!(schedule.typical(), Duration::from_millis(800));
}

#[test]
fn of_who_has_everything_first_what_nobody_else_has() {
    let mut schedule = fresh(8, &[A, B]);
    schedule.learn(B, bits(8, &[0, 1, 2, 3, 6]));
    assert!(schedule.is_shared() && schedule.is_partial(B) && !schedule.is_partial(A));
    assert_eq!(groups(&mut schedule, B, at(0, 8)), Some(0..4));
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(4..5));
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(5..6));
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(7..8));
    assert_eq!(groups(&mut schedule, A, at(0, 8)), Some(6..7), "nothing rarer is left");
    schedule.learn(B, Bits::all(8));
    assert!(!schedule.is_shared());
}

/// `own` groups of `count` that two share.
fn share(count: u32, own: &[u32]) -> Option<Share> {
    Some(Share::of_two(&bits(count, own), count))
}

#[test]
fn of_who_has_everything_each_takes_its_share_and_then_what_the_other_does_not_bring() {
    let mut schedule = fresh(6, &[A, B]);
    schedule.learn(A, Bits::all(6));
    schedule.learn(B, bits(6, &[2]));
    schedule.set_share(share(6, &[0, 2, 4]));
    assert!(schedule.is_whole(A) && !schedule.is_whole(B));
    let taken: Vec<_> = (0..3).map(|_| groups(&mut schedule, A, at(0, 8))).collect();
    assert_eq!(taken, [Some(0..1), Some(4..5), None], "2 comes from the other");
    schedule.reconsider(A, at(800, 8));
    [0, 4].into_iter().for_each(|index| schedule.arrived(index, A, Duration::from_millis(800)));
    schedule.reconsider(A, at(850, 8));
    schedule.reconsider(B, at(950, 8));
    schedule.reconsider(A, at(949, 8));
    assert_eq!(groups(&mut schedule, A, at(949, 8)), None, "only a source that has everything is idle");
    schedule.reconsider(A, at(950, 8));
    let taken: Vec<_> = (0..4).map(|_| groups(&mut schedule, A, at(950, 8))).collect();
    assert_eq!(taken, [Some(1..2), Some(3..4), Some(5..6), None], "what nobody has, though not what the other has");
    schedule.set_share(share(6, &[]));
    schedule.wait(ONE, 2);
    assert_eq!(groups(&mut schedule, A, at(951, 8)), Some(2..3), "a reader doesn't wait for anybody's share");
}

#[test]
fn what_others_have_is_waited_for_as_long_as_anything_comes() {
    let mut schedule = fresh(5, &[A, B]);
    schedule.learn(A, Bits::all(5));
    schedule.learn(B, bits(5, &[0, 1, 2, 3]));
    schedule.set_share(share(5, &[4]));
    for (index, ms) in (0..3).zip([0, 90, 180]) {
        schedule.reconsider(A, at(ms, 1));
        assert_eq!(groups(&mut schedule, B, at(ms, 1)), Some(index..index + 1));
        schedule.arrived(index, B, Duration::from_millis(ms + 5));
    }
    assert_eq!(groups(&mut schedule, A, at(180, 1)), Some(4..5), "nobody else has it");
    schedule.arrived(4, A, Duration::from_millis(190));
    schedule.reconsider(A, at(200, 1));
    schedule.reconsider(A, at(289, 1));
    schedule.arrived(2, B, Duration::from_millis(289));
    schedule.reconsider(A, at(300, 1));
    assert_eq!(groups(&mut schedule, A, at(300, 1)), Some(3..4), "nothing has come for a while");
}

#[test]
fn another_share_begins_anew() {
    let mut schedule = fresh(4, &[A, B]);
    schedule.learn(A, Bits::all(4));
    schedule.learn(B, Bits::none(4));
    schedule.set_share(share(4, &[3]));
    [0, 1000].into_iter().for_each(|ms| schedule.reconsider(A, at(ms, 1)));
    assert_eq!(groups(&mut schedule, A, at(1000, 1)), Some(3..4), "its own comes first, or it isn't idle");
    schedule.arrived(3, A, Duration::from_millis(1000));
    [1000, 1100].into_iter().for_each(|ms| schedule.reconsider(A, at(ms, 1)));
    schedule.set_share(share(4, &[2]));
    assert_eq!(groups(&mut schedule, A, at(1100, 1)), Some(2..3));
    assert_eq!(groups(&mut schedule, A, at(1100, 1)), None);
}

#[test]
fn who_owes_something_for_too_long_is_not_asked_for_more_and_what_it_claims_counts_no_more() {
    let mut schedule = fresh(6, &[A, B]);
    schedule.learn(A, Bits::all(6));
    schedule.learn(B, bits(6, &[0, 1, 2, 3]));
    schedule.set_share(share(6, &[0, 1, 2, 3]));
    assert_eq!(groups(&mut schedule, B, at(0, 1)), Some(0..1));
    assert_eq!(groups(&mut schedule, A, at(99, 1)), None, "the other has them");
    assert_eq!(schedule.next(B, at(100, 1)), None, "it hasn't sent what it was asked for");
    assert_eq!(groups(&mut schedule, A, at(100, 1)), Some(1..2));
    assert_eq!(groups(&mut schedule, A, at(100, 1)), Some(2..3));
    schedule.arrived(0, A, Duration::from_millis(110));
    assert_eq!(groups(&mut schedule, B, at(120, 1)), None, "that the group came from another isn't to its credit");
    schedule.arrived(0, B, Duration::from_millis(130));
    assert_eq!(groups(&mut schedule, B, at(140, 1)), Some(3..4), "it does send after all");
}

#[test]
fn what_was_asked_long_ago_of_who_has_sent_all_since_is_not_owed() {
    let mut schedule = fresh(6, &[A, B]);
    schedule.learn(B, bits(6, &[]));
    assert_eq!(groups(&mut schedule, A, at(0, 1)), Some(0..1));
    schedule.arrived(0, A, Duration::from_millis(10));
    assert_eq!(groups(&mut schedule, A, at(900, 1)), Some(1..2), "it owed nothing");
    assert_eq!(groups(&mut schedule, A, at(999, 1)), Some(2..3));
    assert_eq!(groups(&mut schedule, A, at(1000, 1)), None, "as long as there is another one");
    schedule.leave(B);
    assert_eq!(groups(&mut schedule, A, at(1000, 1)), Some(3..4));
    assert!(!schedule.has_told(A));
    schedule.learn(A, Bits::all(6));
    assert!(schedule.has_told(A));
}

#[test]
fn how_long_is_waited_follows_from_what_is_expected_and_what_is_typical() {
    let ms = Duration::from_millis;
    let ask = |expected: Option<u64>, typical| Ask::of(3, ms(7), expected.map(ms), ms(typical), Some(5));
    assert_eq!((ask(None, 0).most, ask(None, 0).now, ask(None, 0).dice), (3, ms(7), Some(5)));
    let waits = |ask: Ask| (ask.patience.as_millis(), ask.repeat_after.as_millis());
    assert_eq!(waits(ask(None, 0)), (1000, 1000));
    assert_eq!(waits(ask(Some(100), 500)), (400, 1500));
    assert_eq!(waits(ask(Some(1), 0)), (250, 250));
    assert_eq!(waits(ask(Some(60_000), 60_000)), (30_000, 30_000));
}

#[test]
fn dice_say_where_to_begin() {
    let mut schedule = fresh(10, &[A]);
    let from = |dice| Ask { dice: Some(dice), ..at(0, 3) };
    assert_eq!(groups(&mut schedule, A, from(18)), Some(8..10));
    assert_eq!(groups(&mut schedule, A, from(9)), Some(0..3));
}

#[test]
fn no_more_than_the_bound_is_under_way_from_one_source() {
    let mut schedule = fresh(1000, &[A]);
    let mut under_way = 0;
    while let Some(range) = groups(&mut schedule, A, at(0, 10)) {
        under_way += range.len();
    }
    assert_eq!(under_way, UNDER_WAY_MAX);
    schedule.arrived(0, A, Duration::ZERO);
    assert_eq!(groups(&mut schedule, A, at(0, 10)), Some(64..65));
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Ask { source: u64, most: u32, dice: Option<u32> },
    Deliver { which: usize },
    Leave { source: u64 },
    Join { source: u64, has: Option<Vec<u32>> },
    Wait { reader: u64, index: u32 },
    Stop { reader: u64 },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let part = proptest::option::of(proptest::collection::vec(0_u32..70, 0..40));
    prop_oneof![
        6 => (0_u64..4, 1_u32..9, proptest::option::of(any::<u32>()))
            .prop_map(|(source, most, dice)| Step::Ask { source, most, dice }),
        5 => any::<usize>().prop_map(|which| Step::Deliver { which }),
        1 => (0_u64..4).prop_map(|source| Step::Leave { source }),
        2 => (0_u64..4, part).prop_map(|(source, has)| Step::Join { source, has }),
        2 => (0_u64..3, 0_u32..70).prop_map(|(reader, index)| Step::Wait { reader, index }),
        1 => (0_u64..3).prop_map(|reader| Step::Stop { reader }),
        2 => (1_u64..200).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// What a history knows beside the schedule.
#[derive(Default)]
struct World {
    here: BTreeSet<u32>,
    under_way: Vec<(SourceId, u32)>,
    parts: BTreeMap<SourceId, Option<Bits>>,
    now: Duration,
}

impl World {
    fn ask(&mut self, schedule: &mut Schedule, source: SourceId, ask: Ask) -> Result<bool, TestCaseError> {
        let outlook = schedule.outlook(source, ask);
        let Some(task) = schedule.next(source, ask) else {
            prop_assert_eq!(outlook, None);
            return Ok(false);
        };
        prop_assert_eq!(outlook, Some(task.urgency));
        prop_assert!(!task.groups.is_empty() && task.groups.len() <= ask.most as usize);
        for index in task.groups {
            let others = self.under_way.iter().filter(|(_, asked)| *asked == index).count();
            prop_assert!(!self.here.contains(&index), "{} is here", index);
            prop_assert!(!self.under_way.contains(&(source, index)), "{} twice of one source", index);
            prop_assert!(others < ASKED_MAX);
            let has = self.parts.get(&source).expect("a source");
            prop_assert!(has.as_ref().is_none_or(|has| has.has(index)), "it hasn't {}", index);
            self.under_way.push((source, index));
        }
        Ok(true)
    }

    fn deliver(&mut self, schedule: &mut Schedule, which: usize) {
        let (source, index) = self.under_way[which % self.under_way.len()];
        schedule.arrived(index, source, self.now);
        self.here.insert(index);
        self.under_way.retain(|(_, other)| *other != index);
    }

    fn leave(&mut self, schedule: &mut Schedule, source: SourceId) {
        schedule.leave(source);
        self.parts.remove(&source);
        self.under_way.retain(|(other, _)| *other != source);
    }

    fn take(&mut self, schedule: &mut Schedule, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask { source, most, dice } => {
                let patience = Duration::from_millis(100);
                let ask = Ask { most, now: self.now, patience, repeat_after: patience * 2, dice };
                self.ask(schedule, SourceId(source), ask)?;
            }
            Step::Deliver { which } if !self.under_way.is_empty() => self.deliver(schedule, which),
            Step::Deliver { .. } => {}
            Step::Leave { source } => self.leave(schedule, SourceId(source)),
            Step::Join { source, has } => {
                let source = SourceId(source);
                self.leave(schedule, source);
                schedule.join(source);
                let has = has.map(|has| bits(70, &has));
                if let Some(has) = &has {
                    schedule.learn(source, has.clone());
                }
                self.parts.insert(source, has);
            }
            Step::Wait { reader, index } => schedule.wait(ReaderId(reader), index),
            Step::Stop { reader } => schedule.stop_waiting(ReaderId(reader)),
            Step::Pass { ms } => self.now += Duration::from_millis(ms),
        }
        prop_assert_eq!(schedule.left() as usize, 70 - self.here.len());
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_sources_do_a_good_one_brings_all_the_rest(steps in proptest::collection::vec(step(), 0..200)) {
        let mut schedule = fresh(70, &[]);
        let mut world = World::default();
        for step in steps {
            world.take(&mut schedule, step)?;
        }
        for source in 0..4 {
            world.leave(&mut schedule, SourceId(source));
        }
        let good = SourceId(9);
        schedule.join(good);
        world.parts.insert(good, None);
        let ask = Ask { now: world.now, dice: Some(33), ..at(0, 5) };
        loop {
            while world.ask(&mut schedule, good, ask)? {}
            if world.under_way.is_empty() {
                break;
            }
            world.deliver(&mut schedule, 7);
        }
        prop_assert!(schedule.is_complete() && world.here.len() == 70);
    }
}
