//! One seed, one history: sites that write while everything around them fails, then peace, then the checks.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use artimesh_core::model::{Digest, Incarnation, NodeId, Space, codec};
use artimesh_core::replica::{AcceptPolicy, Command, CommandError, Event, Input, Limits, Receipt, Replica, Retention};
use artimesh_core::trust::{Capabilities, VerifiedRequest};

use super::acts;
use super::checks::acknowledged::Ack;
use super::checks::no_return::Graves;
use super::checks::{
    Fault, Rigour, acknowledged, agreement, bounded, followers, ledger, oracle, rights, seals, timestamps, wants,
};
use super::dice::Dice;
use super::disk::Disk;
use super::faults::Faults;
use super::liars::Lie;
use super::site::Site;
use super::tracing;
use super::weather::{Bias, Weather};
use super::world::{Mutation, World, create, follower, writer};

pub const PATHS: [&str; 5] = ["a/x", "a/y", "b/x", "b/y/z", "c"];
pub const REPOSITORIES: [&str; 3] = ["libs", "apps", "docs"];

/// A history has at least so many operations: commands, deliveries, ticks, faults.
const OPERATIONS_MIN: u64 = 200;

/// Rounds of anti-entropy after which everybody must agree.
const ROUNDS_MAX: u64 = 10;

/// The same where somebody goes on offering the dead: who believed it first has to find out.
const ROUNDS_AMONG_LIARS_MAX: u64 = 16;

pub struct History {
    pub world: World,
    pub dice: Dice,
    pub faults: Faults,
    pub acks: Vec<Ack>,
    pub graves: Graves,
    /// Backups that were made.
    pub copies: Vec<Option<Disk>>,
    /// Copies of folders that run by turns with the originals.
    pub clones: Vec<Option<Disk>>,
    /// Sites that are or were edges and never anything else.
    pub edges: Vec<usize>,
    /// Sites in whose name somebody lies with their own keys while they live.
    pub impersonated: BTreeSet<usize>,
    /// The site whose folder is copied and run in turns with the original, and nobody is told: its life is lived twice. It
    /// neither founds nor invites, for what is built on an invitation that is taken back is known to differ.
    pub copied: Option<usize>,
    /// Lives in which a thief signed what nobody will apply: who keeps it unread for later may find its number borne twice.
    pub babbled: BTreeSet<(Space, Incarnation)>,
    /// The last site joins in the middle of the history, with this token.
    pub late: Option<(usize, Option<VerifiedRequest>)>,
    pub writes: u64,
    /// Faults so far.
    troubles: u64,
    had_conflict: bool,
    lost_a_node: bool,
    /// How many entries about membership there were in the beginning.
    memberships_before: usize,
}

/// What a history came to.
pub struct Outcome {
    pub faults: Faults,
    /// As it was in the end, for who replays a seed.
    pub world: World,
    /// All that all sites know in the end.
    pub state: Digest,
    pub result: Result<(), Fault>,
}

/// Circles in fair weather, to begin from: making one costs more signatures than a history.
fn base(full: usize, edges: usize) -> World {
    static BASES: OnceLock<Vec<World>> = OnceLock::new();
    let shapes = || (2..=6).flat_map(|full| (0..=1).map(move |edges| (full, edges)));
    let make = || {
        shapes()
            .map(|(full, edges)| {
                let mut world = World::circle_where(full, edges, |site| match site {
                    1 => Capabilities::all(),
                    // Invited like the others, but may not write.
                    5 => follower(),
                    _ => writer(),
                });
                let invite: Vec<NodeId> = (1..full).map(|site| world.node(site)).collect();
                world.ask(0, create("libs", invite)).expect("a free key");
                world.settle();
                world.round(1);
                world
            })
            .collect()
    };
    BASES.get_or_init(make)[(full - 2) * 2 + edges].clone()
}

/// Runs the history of `seed`.
pub fn run(seed: u64, mutation: Mutation) -> Outcome {
    let mut history = History::begin(seed, mutation);
    let result = history.live().and_then(|()| history.heal()).and_then(|()| history.judge());
    Outcome { state: history.state(), faults: history.faults, world: history.world, result }
}

impl History {
    fn begin(seed: u64, mutation: Mutation) -> History {
        let mut dice = Dice::new(seed);
        let edges = dice.below(2);
        let full = 3 - edges + dice.below(4);
        let mut world = base(full, edges);
        let late = dice.once_in(4).then(|| {
            let number = world.join_outside();
            (number, None)
        });
        world.mutation = mutation;
        world.network.gossip_is_off = dice.once_in(3);
        world.network.weather = Weather::drawn(&mut dice, world.sites.len());
        if dice.once_in(2) {
            // The first is asked most.
            let liar = if dice.once_in(2) { 0 } else { dice.below(world.sites.len()) };
            world.lies.insert(liar, Lie::Exhume);
        }
        let clocks_agree = dice.once_in(4);
        // Not one that writes in Trust.
        let copied = (full > 2 && dice.once_in(5)).then(|| 2 + dice.below(full - 2));
        let prunes = !dice.once_in(4);
        for site in 0..world.sites.len() {
            let skew_ms = if clocks_agree { 0 } else { acts::clocks::skew_ms(&mut dice) };
            world.sites[site].set_clock(skew_ms);
            // Policies and blobs are what a site wakes up with.
            let policies = [AcceptPolicy::Any, AcceptPolicy::Any, AcceptPolicy::Of(vec!["alice".into()])];
            // Some sites let hardly anything be deleted at once.
            if dice.once_in(4) {
                world.sites[site].limits = Limits { burst_least: 1, ..Limits::default() };
            }
            world.sites[site].accept = dice.pick(&policies).expect("three of them").clone();
            world.sites[site].disk.has_blobs = !dice.once_in(4);
            if prunes && dice.once_in(2) {
                // Logs are pruned while the history lasts.
                let whole_ms = 20_000 + dice.below(120_000) as u64;
                world.sites[site].retention = Retention { whole_ms, deletes_ms: whole_ms * 2 };
            }
            world.sites[site].disk.lies = mutation == Mutation::LyingDisk;
            if mutation == Mutation::DroppedWrite && site == 0 {
                world.sites[site].disk.drops_write_after = Some(dice.below(20) as u32);
            }
            world.crash(site);
            world.restart(site);
        }
        world.connect_all();
        world.handled = 0;
        let (copies, clones) = (vec![None; world.sites.len()], vec![None; world.sites.len()]);
        let edges = if edges == 1 { vec![full] } else { Vec::new() };
        History {
            memberships_before: world.truth.memberships(),
            world,
            dice,
            faults: Faults::default(),
            acks: Vec::new(),
            graves: Graves::default(),
            copies,
            clones,
            impersonated: edges.iter().copied().chain(copied).collect(),
            copied,
            babbled: BTreeSet::new(),
            edges,
            late,
            writes: 0,
            troubles: 0,
            had_conflict: false,
            lost_a_node: false,
        }
    }

    /// Something happened that isn't an input of any site.
    pub fn did(&mut self, fault: &'static str) {
        tracing::act(&self.world, fault);
        self.faults.count(fault, 1);
        self.troubles += 1;
    }

    /// The same, and a site is gone, or has forgotten.
    pub fn did_to_a_node(&mut self, fault: &'static str) {
        self.did(fault);
        self.lost_a_node = true;
    }

    /// A lie took effect, or came to nothing as it should.
    pub fn liar_acted(&mut self, lie: &'static str, took_effect: bool) {
        if took_effect {
            self.did(lie);
        }
    }

    pub fn lost_frames(&mut self, how: &'static str, lost: usize) {
        if lost > 0 {
            self.did(how);
            self.faults.count("frames lost", lost as u64);
        }
    }

    /// Full members that aren't gone for good.
    pub fn fulls_left(&self) -> usize {
        let is_full = |site: &usize| !self.edges.contains(site) && !self.world.sites[*site].is_gone();
        (0..self.world.sites.len()).filter(is_full).count()
    }

    pub fn some_site(&mut self) -> Option<usize> {
        let site = self.dice.below(self.world.sites.len());
        self.world.sites[site].is_up().then_some(site)
    }

    /// Where the power goes next time a site does something; mostly nowhere.
    pub fn crash_point(&mut self) -> Option<usize> {
        self.dice.once_in(40).then(|| self.dice.below(4))
    }

    /// Hands an input to a site, whose power goes before output number `crash_at`: what it persists is then wholly there
    /// or wholly absent.
    pub fn handle(&mut self, site: usize, input: Input, crash_at: Option<usize>) {
        let crashed = self.world.handle(site, input, crash_at);
        self.note_crash(crashed, crash_at);
    }

    fn note_crash(&mut self, crashed: bool, at: Option<usize>) {
        if crashed {
            self.did(if at == Some(0) { "crash before persist" } else { "crash after persist" });
        }
    }

    // The time of troubles.

    fn live(&mut self) -> Result<(), Fault> {
        let steps = 60 + self.dice.below(91);
        let mut step = 0;
        while step < steps || self.operations() < OPERATIONS_MIN {
            // Often two sites act at the same time, and with clocks that agree only the dots tell their writes apart.
            self.world.now += if self.dice.once_in(3) { 0 } else { self.dice.below(3_000) as u64 };
            acts::act(self);
            self.chat();
            for _ in 0..self.dice.below(6) {
                self.deliver_something();
            }
            self.take_replies();
            step += 1;
            if step % 10 == 0 {
                self.check_always()?;
            }
        }
        self.faults.count("operations", self.operations());
        Ok(())
    }

    fn operations(&self) -> u64 {
        self.world.handled + self.troubles
    }

    fn check_always(&mut self) -> Result<(), Fault> {
        self.faults.count("states compared", agreement::check_digests(&self.world)?);
        self.had_conflict |= oracle::check(&self.world)? > 0;
        self.graves.check(&self.world)?;
        acknowledged::check_here(&self.world, &self.acks)?;
        followers::check(&self.world, &self.edges)?;
        wants::check(&self.world)?;
        let survivors = ledger::check(&self.world)?;
        self.faults.count("put that outlived a delete seen", survivors);
        bounded::check(&self.world)
    }

    /// One site may have its rounds all the time.
    fn chat(&mut self) {
        let chatty = self.world.network.weather.chatty.filter(|site| self.world.sites[*site].is_up());
        if let Some(site) = chatty {
            let dice = self.dice.bits();
            self.handle(site, Input::Tick { dice, round: true }, None);
            self.did("a round of a chatty site");
        }
    }

    fn deliver_something(&mut self) {
        let at = self.crash_point();
        if let Some(site) = self.world.continues.first().copied().filter(|_| self.dice.once_in(2)) {
            let crashed = self.world.go_on(site, at);
            return self.note_crash(crashed, at);
        }
        let rumours = self.world.network.rumours(self.world.now);
        if self.dice.once_in(3) && !rumours.is_empty() {
            return self.hear(&rumours, at);
        }
        let arrivals = self.world.network.arrivals(self.world.now);
        let Some((from, to)) = self.dice.pick(&arrivals).copied() else { return };
        if self.world.network.weather.breaks_after.is_some_and(|frames| self.dice.once_in(frames)) {
            let lost = self.world.disconnect(from, to);
            return self.lost_frames("a bad link gave way", lost);
        }
        let weather = &self.world.network.weather;
        if weather.slow == Some((from.min(to), from.max(to))) {
            self.faults.count("frame over a slow link", 1);
        }
        if weather.bias == Bias::HeadsFirst && self.world.network.gossip.iter().any(|gossip| gossip.to == to) {
            self.faults.count("frame ahead of gossip", 1);
        }
        let crashed = self.world.deliver(from, to, at);
        self.note_crash(crashed, at);
    }

    fn hear(&mut self, rumours: &[usize], at: Option<usize>) {
        let which = *self.dice.pick(rumours).expect("the caller has some");
        let network = &mut self.world.network;
        let is_older = |other: &crate::network::Gossip| other.to == network.gossip[which].to;
        if network.gossip[..which].iter().any(is_older) {
            self.faults.count("gossip reordered", 1);
        }
        if network.weather.bias == Bias::EntriesFirst {
            let ahead = network.busy().iter().any(|(_, to)| *to == network.gossip[which].to);
            self.faults.count("gossip ahead of streams", u64::from(ahead));
        }
        let gossip = if self.dice.once_in(6) {
            self.faults.count("gossip duplicated", 1);
            network.gossip[which].clone()
        } else {
            network.gossip.remove(which)
        };
        if self.dice.once_in(5) {
            return self.did("gossip lost");
        }
        let crashed = self.world.deliver_gossip(&gossip, at);
        self.note_crash(crashed, at);
    }

    fn take_replies(&mut self) {
        for (site, _, reply) in std::mem::take(&mut self.world.replies) {
            match reply {
                Ok(Receipt { dot, space: space @ Space::Federation(_), .. }) if dot.sequence > 0 => {
                    self.acks.push(Ack { site, space, dot });
                    self.faults.count("acknowledged", 1);
                }
                Err(CommandError::SelfRevoked) => self.faults.count("write of a revoked node refused", 1),
                Err(CommandError::Follower) => self.faults.count("write at an edge refused", 1),
                _ => {}
            }
        }
    }

    // Peace.

    fn heal(&mut self) -> Result<(), Fault> {
        self.world.network.mend();
        self.world.network.gossip.clear();
        // Who offers the dead goes on with it: it keeps nobody from what lives.
        self.world.lies.retain(|_, lie| *lie == Lie::Exhume);
        for site in 0..self.world.sites.len() {
            acts::wake(self, site);
        }
        for (a, b) in self.world.network.connections() {
            self.world.disconnect(a, b);
        }
        for (a, b) in self.world.network.unnoticed.clone() {
            self.world.notice(a, b);
        }
        // A liar's claim to know more of the founder than it does itself stops it for a while; a start ends that.
        self.world.crash(0);
        acts::wake(self, 0);
        acts::upgrade_all(self);
        acts::pair_who_forgot(self);
        let mut last = Ok(());
        let rounds_max = if self.world.lies.is_empty() { ROUNDS_MAX } else { ROUNDS_AMONG_LIARS_MAX };
        for round in 0..rounds_max {
            self.world.connect_all();
            self.world.settle();
            // A leave that its author alone knows leaves nothing to disagree about, and is to be heard all the same.
            last = self.check_agreed(Rigour::Strict);
            if last.is_ok() {
                self.faults.count("rounds until all agreed", round);
                break;
            }
            self.release();
            let dice = self.dice.bits();
            self.world.round(dice);
        }
        // Only what stays so for all this time is a limit that the core's docs tell.
        last.or_else(|_| self.check_agreed(Rigour::WithinLimits))
    }

    fn check_agreed(&self, rigour: Rigour) -> Result<(), Fault> {
        agreement::check_heads(&self.world, rigour)?;
        acknowledged::check_everywhere(&self.world, &self.acks, rigour)
    }

    /// Every operator lets through what is held.
    fn release(&mut self) {
        for site in 0..self.world.sites.len() {
            let Some(mind) = &self.world.sites[site].replica else { continue };
            let keys: Vec<_> = mind.repositories().values().map(|repository| repository.key.clone()).collect();
            for key in keys {
                let released = self.world.ask(site, Command::Release { key, author: None });
                self.faults.count("mass delete released", u64::from(released.is_ok()));
            }
        }
    }

    fn judge(&mut self) -> Result<(), Fault> {
        agreement::check_heads(&self.world, Rigour::WithinLimits)?;
        self.check_always()?;
        acknowledged::check_everywhere(&self.world, &self.acks, Rigour::WithinLimits)?;
        self.faults.count("acknowledged, and dead by right", acknowledged::check_fate(&self.world, &self.acks)?);
        acknowledged::check_kills(&self.world)?;
        timestamps::check(&self.world)?;
        self.faults.count("entries whose rights were looked at", rights::check(&self.world)?);
        let parted = self.world.truth.spaces().filter(|space| agreement::parted_for_good(&self.world, space)).count();
        self.faults.count("repository parted for good", parted as u64);
        let unproved = self.world.truth.spaces().filter(|space| agreement::parted_unproved(&self.world, space)).count();
        self.faults.count("fork that is past proving", unproved as u64);
        let sealed = seals::check(&self.world)?;
        self.faults.count("sealed logs", sealed);
        self.faults.count("blobs wanted", wants::check(&self.world)?);
        let is_sane = |log: &&(Space, Incarnation)| {
            self.copied.is_none_or(|site| self.world.node(site) != log.1.node) && !self.babbled.contains(*log)
        };
        if let Some((space, life)) = self.world.truth.forked.iter().find(is_sane) {
            return Err(format!("two entries bear one number of {life:?} in {space}"));
        }
        for (what, times) in &self.world.twisted {
            self.faults.count(what, *times);
        }
        for (what, times) in self.world.truth.written() {
            self.faults.count(what, times);
        }
        let farewells = self.world.sites.iter().filter_map(Site::mind_or_none).map(Replica::farewells).sum::<usize>();
        self.faults.count("shown by a proof that it is no member", farewells as u64);
        self.count_events()?;
        let changed_membership = self.world.truth.memberships() > self.memberships_before;
        self.faults.count("history with a true conflict", u64::from(self.had_conflict));
        self.faults.count("history with a lost or restored node", u64::from(self.lost_a_node));
        self.faults.count("history with a membership change", u64::from(changed_membership));
        Ok(())
    }

    fn count_events(&mut self) -> Result<(), Fault> {
        let was_deceived = self.world.twisted.contains_key("dead items offered");
        for (number, site) in self.world.sites.iter().enumerate() {
            for (index, event) in site.notes.iter().enumerate() {
                // What it applies again may be told in between.
                let told_again = |before: &&Event| !matches!(before, Event::FarAhead { .. });
                let after = site.notes[..index].iter().rev().find(told_again);
                match event {
                    Event::Applied { gossip: true, .. } => self.faults.count("applied from gossip", 1),
                    Event::Applied { .. } => self.faults.count("applied from streams", 1),
                    Event::Parked { .. } => self.faults.count("parked", 1),
                    Event::FarAhead { .. } => self.faults.count("far ahead", 1),
                    Event::Refused { .. } => self.faults.count("refused", 1),
                    Event::Held { .. } => self.faults.count("held", 1),
                    Event::TookOver { .. } => self.faults.count("much taken over", 1),
                    Event::KeyTaken { .. } => self.faults.count("key taken", 1),
                    Event::Revoked(_) => self.faults.count("revocation heard", 1),
                    Event::SelfRevoked => self.faults.count("own revocation heard", 1),
                    // Only those to whom their own lies are brought may find words of theirs that they forgot.
                    Event::RolledBack { .. } if self.impersonated.contains(&number) => {
                        self.faults.count("own lie brought back", 1);
                    }
                    // Its words had seen what it has just left.
                    Event::RolledBack { .. } if matches!(after, Some(Event::TakenBack { .. })) => {
                        self.faults.count("own words left", 1);
                    }
                    Event::RolledBack { old, .. } => {
                        return Err(format!("{} gave up {old:?} for no reason", site.identity.name));
                    }
                    Event::Pruned { .. } => self.faults.count("log pruned", 1),
                    Event::Reconciled { .. } => self.faults.count("state taken over", 1),
                    // Who may not write yet, and was shown the dead, says so and asks again.
                    Event::Diverged { .. } if self.edges.contains(&number) || site.was_restored || was_deceived => {
                        self.faults.count("divergence noticed", 1);
                    }
                    Event::Diverged { space, .. }
                        if agreement::parted_for_good(&self.world, space)
                            || agreement::parted_unproved(&self.world, space) =>
                    {
                        self.faults.count("fork that nobody can prove", 1);
                    }
                    // They do, and say so.
                    Event::Diverged { space, peer }
                        if self.world.number(peer).is_some_and(|other| {
                            agreement::agree_on_who_is_in(&self.world, space, [number, other])
                        }) =>
                    {
                        self.faults.count("divergence noticed", 1);
                    }
                    Event::Diverged { space, peer } => {
                        return Err(format!("{} differs from {} in {space}", site.identity.name, peer.short()));
                    }
                    Event::Removed { .. } => self.faults.count("removal heard", 1),
                    Event::Forked { .. } => self.faults.count("fork proved", 1),
                    Event::TakenBack { .. } => self.faults.count("branch taken back", 1),
                    Event::ClockAhead { .. } => self.faults.count("own clock found ahead", 1),
                    Event::ClockRight => self.faults.count("own clock found right again", 1),
                    Event::Kept { .. } => self.faults.count("kept for an upgrade", 1),
                    Event::Addresses(..) => {}
                }
            }
        }
        Ok(())
    }

    /// All that all sites know: heads, catalogs and trust of those that are up, and who is.
    fn state(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("artimesh/simulated-history/v1");
        for (number, site) in self.world.sites.iter().enumerate() {
            hasher.update(&[u8::from(site.is_up())]);
            let Some(mind) = site.mind_or_none() else { continue };
            hasher.update(&mind.trust_digest().0);
            for (space, heads, _) in mind.spaces() {
                hasher.update(&codec::encode(&(space, heads, self.world.digest(number, space))));
            }
        }
        Digest(*hasher.finalize().as_bytes())
    }
}
