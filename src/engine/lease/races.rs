//! Races of nodes that let the same blob go, in virtual time: each seed is one history of messages that are late, out of
//! order, lost or doubled, of crashes between a promise and its being durable and between that and its being told, and of
//! disks that are slow to remove. After each step somebody still holds the blob, and who promised to keep it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use artimesh_core::model::{Digest, FederationId, NodeId, Space};

use super::rules::{Removal, Rules, Steady, TERM_MAX, Ticket, Verdict};

const BLOB: Digest = Digest([9; 32]);
const SPACE: Space = Space::Federation(FederationId([5; 32]));
const TERM_MS: u64 = 1000;
/// A lease is taken for so much shorter than it is: clocks differ in speed.
const MARGIN_MS: u64 = 50;
const RACES: u64 = 1000;
/// Faults happen up to here; then all is well, and the race must come to its end.
const CALM_FROM_MS: u64 = 60_000;
const END_MS: u64 = 120_000;

/// A rule that is left out, to see that the races would notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Who would let a blob go grants leases on it all the same.
    GrantsWhatItIntends,
    /// Promises are told before they are durable.
    TellsBeforeItIsDurable,
    /// What was promised is forgotten by a restart.
    ForgetsPromises,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Try(usize),
    GiveUp { at: usize, life: u32, ticket: Ticket },
    Asked { at: usize, by: usize, life: u32, ticket: Ticket },
    Durable { at: usize, life: u32, until_wall: u64, promise: Promise },
    Answered { by: usize, promise: Promise },
    Remove { at: usize, life: u32, ticket: Ticket },
    Removed { at: usize, life: u32, ticket: Ticket },
    Crash(usize),
    Start(usize),
}

/// A lease on its way to who asked for it.
#[derive(Clone, Copy, Debug)]
struct Promise {
    to: usize,
    life: u32,
    ticket: Ticket,
    /// In true time.
    until: u64,
}

struct Site {
    rules: Rules,
    has: bool,
    is_up: bool,
    life: u32,
    /// In true time.
    began: u64,
    wall_ahead: u64,
    /// Promises at rest, until when by its wall clock.
    rows: BTreeMap<NodeId, u64>,
    /// When the attempt that is under way asked the others.
    asked_at: BTreeMap<Ticket, u64>,
    /// Until when others rely on it, in true time.
    promised_until: u64,
}

struct Race {
    dice: Dice,
    now: u64,
    sites: Vec<Site>,
    queue: BTreeMap<(u64, u64), Step>,
    steps: u64,
    flaw: Option<Flaw>,
    went: u32,
    faults: BTreeSet<&'static str>,
}

fn node(index: usize) -> NodeId {
    NodeId([index as u8 + 1; 32])
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Race {
    fn new(seed: u64, count: usize, flaw: Option<Flaw>) -> Race {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let site = |index| Site {
            rules: rules(index, flaw),
            has: true,
            is_up: true,
            life: 0,
            began: 0,
            wall_ahead: 1_000_000 + dice.below(100_000),
            rows: BTreeMap::new(),
            asked_at: BTreeMap::new(),
            promised_until: 0,
        };
        let sites = (0..count).map(site).collect();
        let (queue, faults) = (BTreeMap::new(), BTreeSet::new());
        let mut race = Race { dice, now: 0, sites, queue, steps: 0, flaw, went: 0, faults };
        for index in 0..count {
            // At once or nearly: that is the race.
            let at = race.dice.below(5);
            race.plan(at, Step::Try(index));
        }
        race
    }

    fn plan(&mut self, after: u64, step: Step) {
        self.steps += 1;
        self.queue.insert((self.now + after, self.steps), step);
    }

    fn is_calm(&self) -> bool {
        self.now >= CALM_FROM_MS
    }

    /// A message: lost, doubled, late by more than a lease lasts, or in time.
    fn send(&mut self, step: Step) {
        if self.is_calm() {
            let delay = 1 + self.dice.below(20);
            return self.plan(delay, step);
        }
        if self.dice.is_one_in(8) {
            self.faults.insert("lost");
            return;
        }
        let copies = if self.dice.is_one_in(8) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = match self.dice.below(6) {
                0 => self.dice.below(3 * TERM_MS),
                1 => self.dice.below(400),
                _ => self.dice.below(30),
            };
            self.plan(delay, step.clone());
        }
    }

    /// A crash now, sometimes.
    fn may_crash(&mut self, at: usize, one_in: u64, what: &'static str) -> bool {
        let crashes = !self.is_calm() && self.dice.is_one_in(one_in);
        if crashes {
            self.faults.insert(what);
            self.crash(at);
        }
        crashes
    }

    fn crash(&mut self, at: usize) {
        let longest = if self.dice.is_one_in(2) { 2 * TERM_MS } else { 50 };
        let down = self.dice.below(longest);
        let site = &mut self.sites[at];
        if site.is_up {
            site.is_up = false;
            site.life += 1;
            self.plan(down, Step::Start(at));
        }
    }

    fn steady(&self, at: usize) -> Steady {
        ms(self.now - self.sites[at].began)
    }

    fn is_alive(&self, at: usize, life: u32) -> bool {
        self.sites[at].is_up && self.sites[at].life == life
    }

    fn run(mut self) -> Result<Outcome, String> {
        while let Some(((at, _), step)) = self.queue.pop_first() {
            if at > END_MS {
                break;
            }
            self.now = at;
            self.step(step)?;
        }
        let left = self.sites.iter().filter(|site| site.has).count();
        Ok(Outcome { went: self.went, left, faults: self.faults })
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Try(at) => self.try_once(at),
            Step::GiveUp { at, life, ticket } => {
                if self.is_alive(at, life) && !self.sites[at].rules_going(ticket) {
                    self.sites[at].rules.end(ticket);
                }
            }
            Step::Asked { at, by, life, ticket } => self.asked(at, by, life, ticket),
            Step::Durable { at, life, until_wall, promise } => self.durable(at, life, until_wall, promise),
            Step::Answered { by, promise } => self.answered(by, promise),
            Step::Remove { at, life, ticket } => self.remove(at, life, ticket)?,
            Step::Removed { at, life, ticket } => self.removed(at, life, ticket)?,
            Step::Crash(at) => self.crash(at),
            Step::Start(at) => self.start(at),
        }
        Ok(())
    }

    fn try_once(&mut self, at: usize) {
        let again = 200 + self.dice.below(2500);
        self.plan(again, Step::Try(at));
        if !self.is_calm() && self.dice.is_one_in(10) {
            self.faults.insert("crash at any time");
            let after = self.dice.below(200);
            self.plan(after, Step::Crash(at));
        }
        let now = self.steady(at);
        let site = &mut self.sites[at];
        if !site.is_up || !site.has {
            return;
        }
        let ticket = site.rules.begin();
        if site.rules.intend(ticket, BLOB, now).is_err() {
            return;
        }
        site.rules.needs(ticket, &BLOB, BTreeMap::from([(SPACE, 1)]));
        site.asked_at.insert(ticket, self.now);
        let life = site.life;
        for other in (0..self.sites.len()).filter(|other| *other != at) {
            self.send(Step::Asked { at: other, by: at, life, ticket });
        }
        let patience = 100 + self.dice.below(2 * TERM_MS);
        self.plan(patience, Step::GiveUp { at, life, ticket });
    }

    fn asked(&mut self, at: usize, by: usize, life: u32, ticket: Ticket) {
        let now = self.steady(at);
        let site = &mut self.sites[at];
        if !site.is_up || !site.has {
            return;
        }
        let Verdict::Granted(until) = site.rules.request(node(by), BLOB, ms(TERM_MS), now) else { return };
        let until = site.began + until.as_millis() as u64;
        let (own_life, until_wall) = (site.life, until + site.wall_ahead);
        let promise = Promise { to: by, life, ticket, until };
        if self.flaw == Some(Flaw::TellsBeforeItIsDurable) {
            self.tell(at, promise);
        }
        let sync = 1 + self.dice.below(60);
        self.plan(sync, Step::Durable { at, life: own_life, until_wall, promise });
        self.may_crash(at, 12, "crash before a promise is durable");
    }

    fn durable(&mut self, at: usize, life: u32, until_wall: u64, promise: Promise) {
        if !self.is_alive(at, life) {
            return;
        }
        let row = self.sites[at].rows.entry(node(promise.to)).or_default();
        *row = until_wall.max(*row);
        if !self.may_crash(at, 12, "crash before a durable promise is told") {
            self.tell(at, promise);
        }
    }

    fn tell(&mut self, at: usize, promise: Promise) {
        let site = &mut self.sites[at];
        site.promised_until = site.promised_until.max(promise.until);
        self.send(Step::Answered { by: at, promise });
        self.may_crash(at, 6, "crash behind a promise that was told");
    }

    fn answered(&mut self, by: usize, promise: Promise) {
        let Promise { to, life, ticket, .. } = promise;
        if !self.is_alive(to, life) {
            return;
        }
        let now = self.steady(to);
        let site = &mut self.sites[to];
        let Some(asked_at) = site.asked_at.get(&ticket) else { return };
        let until = ms(asked_at - site.began + TERM_MS - MARGIN_MS);
        site.rules.leased(ticket, &BLOB, SPACE, node(by), until);
        if site.rules.lacks(ticket, &BLOB, &SPACE, now) == Some(0) {
            let longest = if self.dice.is_one_in(4) { TERM_MS } else { 20 };
            let work = self.dice.below(longest);
            self.plan(work, Step::Remove { at: to, life, ticket });
        }
    }

    fn remove(&mut self, at: usize, life: u32, ticket: Ticket) -> Result<(), String> {
        if !self.is_alive(at, life) || !self.sites[at].has {
            return Ok(());
        }
        let now = self.steady(at);
        if !self.sites[at].rules.may_remove(&BLOB, Removal::LetGo(ticket), now) {
            return Ok(());
        }
        // A disk may take longer than a lease lasts.
        let commit = if self.dice.is_one_in(6) { self.dice.below(4 * TERM_MS) } else { self.dice.below(40) };
        if !self.is_calm() && self.dice.is_one_in(10) {
            self.faults.insert("crash while it is removed");
            if self.dice.is_one_in(2) {
                self.gone(at)?;
            }
            self.crash(at);
            return Ok(());
        }
        self.plan(commit, Step::Removed { at, life, ticket });
        Ok(())
    }

    fn removed(&mut self, at: usize, life: u32, ticket: Ticket) -> Result<(), String> {
        if !self.is_alive(at, life) {
            return Ok(());
        }
        self.gone(at)?;
        self.sites[at].rules.removed(&BLOB);
        self.sites[at].rules.end(ticket);
        Ok(())
    }

    fn gone(&mut self, at: usize) -> Result<(), String> {
        if !std::mem::take(&mut self.sites[at].has) {
            return Ok(());
        }
        self.went += 1;
        if self.now < self.sites[at].promised_until {
            return Err(format!("at {} ms site {at} broke its promise", self.now));
        }
        match self.sites.iter().any(|site| site.has) {
            true => Ok(()),
            false => Err(format!("at {} ms the last copy went, at site {at}", self.now)),
        }
    }

    fn start(&mut self, at: usize) {
        let (now, flaw) = (self.now, self.flaw);
        let site = &mut self.sites[at];
        site.is_up = true;
        site.began = now;
        site.asked_at.clear();
        site.rules = rules(at, flaw);
        if flaw == Some(Flaw::ForgetsPromises) {
            return;
        }
        let wall = now + site.wall_ahead;
        for (to, until) in &site.rows {
            site.rules.promised(BLOB, *to, ms(until.saturating_sub(wall)).min(TERM_MAX));
        }
    }
}

impl Site {
    /// Whether the attempt removes the blob at this moment: nobody gives up then.
    fn rules_going(&mut self, ticket: Ticket) -> bool {
        let asked = self.asked_at.contains_key(&ticket);
        asked && self.rules.is_going(&BLOB)
    }
}

fn rules(index: usize, flaw: Option<Flaw>) -> Rules {
    let mut rules = Rules::new(node(index));
    rules.flaw = flaw;
    rules
}

struct Outcome {
    went: u32,
    left: usize,
    faults: BTreeSet<&'static str>,
}

/// How many of the races lost the blob or broke a promise.
fn broken(count: usize, flaw: Flaw) -> usize {
    (0..RACES).filter(|seed| Race::new(*seed, count, Some(flaw)).run().is_err()).count()
}

#[test]
fn a_thousand_races_of_two_nodes_lose_no_blob_and_one_of_them_wins_each() {
    let mut faults = BTreeSet::new();
    for seed in 0..RACES {
        let outcome = Race::new(seed, 2, None).run().unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
        assert_eq!((outcome.went, outcome.left), (1, 1), "seed {seed}: neither could let it go");
        faults.extend(outcome.faults);
    }
    assert_eq!(faults.len(), 6, "each kind of fault has happened: {faults:?}");
}

#[test]
fn a_thousand_races_of_three_nodes_lose_no_blob_and_two_of_them_win_each() {
    for seed in 0..RACES {
        let outcome = Race::new(seed, 3, None).run().unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
        assert_eq!((outcome.went, outcome.left), (2, 1), "seed {seed}: one could not let it go");
    }
}

#[test]
fn races_notice_each_rule_that_is_left_out() {
    for flaw in [Flaw::GrantsWhatItIntends, Flaw::TellsBeforeItIsDurable, Flaw::ForgetsPromises] {
        let (two, three) = (broken(2, flaw), broken(3, flaw));
        assert!(two > 0 && three > 0, "{flaw:?} was noticed in {two} races of two nodes and {three} of three");
    }
}
