//! One seed, one history: sites that write while everything around them fails, then peace, then the checks.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use artimesh_core::model::{NodeId, Space};
use artimesh_core::replica::{AcceptPolicy, Command, CommandError, Event, Input, Receipt};
use artimesh_core::trust::{Capabilities, Role, VerifiedRequest};

use super::checks::acknowledged::Ack;
use super::checks::no_return::Graves;
use super::checks::{Fault, acknowledged, agreement, bounded, followers, oracle, seals, wants};
use super::dice::Dice;
use super::disk::Disk;
use super::faults::Faults;
use super::liars;
use super::world::{Mutation, World, create, delete, put, repo, writer};

const PATHS: [&str; 5] = ["a/x", "a/y", "b/x", "b/y/z", "c"];
const REPOSITORIES: [&str; 3] = ["libs", "apps", "docs"];

/// Rounds of anti-entropy after which everybody must agree.
const ROUNDS_MAX: u64 = 10;

pub struct History {
    pub world: World,
    pub dice: Dice,
    pub faults: Faults,
    pub acks: Vec<Ack>,
    graves: Graves,
    copies: Vec<Option<(Disk, u64)>>,
    /// Sites that are or were edges and never anything else.
    pub edges: Vec<usize>,
    /// The last site joins in the middle of the history, with this token.
    late: Option<(usize, Option<VerifiedRequest>)>,
    writes: u64,
}

/// What a history came to.
pub struct Outcome {
    pub faults: Faults,
    /// What each site noted, for who replays a seed.
    pub notes: Vec<(String, Vec<Event>)>,
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
    let notes = history.world.sites.iter().map(|site| (site.identity.name.to_string(), site.notes.clone())).collect();
    Outcome { faults: history.faults, notes, result }
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
        for site in 0..world.sites.len() {
            world.sites[site].skew_ms = dice.below(1_200_001) as i64 - 600_000;
            // Policies and blobs are what a site wakes up with.
            let policies = [AcceptPolicy::Any, AcceptPolicy::Any, AcceptPolicy::Of(vec!["alice".into()])];
            world.sites[site].accept = dice.pick(&policies).expect("three of them").clone();
            world.sites[site].disk.has_blobs = !dice.once_in(4);
            if mutation == Mutation::DroppedWrite && site == 0 {
                world.sites[site].disk.drops_write_after = Some(dice.below(20) as u32);
            }
            world.crash(site);
            world.restart(site);
        }
        world.connect_all();
        let copies = vec![None; world.sites.len()];
        let edges = if edges == 1 { vec![full] } else { Vec::new() };
        let (faults, acks, graves) = (Faults::default(), Vec::new(), Graves::default());
        History { world, dice, faults, acks, graves, copies, edges, late, writes: 0 }
    }

    // The time of troubles.

    fn live(&mut self) -> Result<(), Fault> {
        let steps = 60 + self.dice.below(91);
        for step in 0..steps {
            self.world.now += self.dice.below(3_000) as u64;
            self.act();
            for _ in 0..self.dice.below(6) {
                self.deliver_something();
            }
            self.take_replies();
            if step % 10 == 9 {
                self.check_always()?;
            }
        }
        Ok(())
    }

    fn check_always(&mut self) -> Result<(), Fault> {
        self.faults.count("states compared", agreement::check_digests(&self.world)?);
        oracle::check(&self.world)?;
        self.graves.check(&self.world)?;
        acknowledged::check_here(&self.world, &self.acks)?;
        followers::check(&self.world, &self.edges)?;
        wants::check(&self.world)?;
        bounded::check(&self.world)
    }

    fn act(&mut self) {
        match self.dice.below(100) {
            0..=37 => self.write(),
            38..=39 => self.found(),
            40..=41 => self.change_membership(),
            42..=53 => self.tick(),
            54..=58 => self.break_connection(),
            59..=67 => self.connect_some(),
            68..=70 => self.partition(),
            71..=72 => self.mend(),
            73..=76 => self.crash_some(),
            77..=84 => self.restart_some(),
            85..=87 => self.jump_clock(),
            88..=89 => self.revoke(),
            90..=91 => self.copy_or_restore(),
            92..=93 => self.pair_late(),
            94..=95 => self.admit_again(),
            _ => liars::act(self),
        }
    }

    pub fn some_site(&mut self) -> Option<usize> {
        let site = self.dice.below(self.world.sites.len());
        self.world.sites[site].is_up().then_some(site)
    }

    /// Where the power goes next time this site does something; mostly nowhere.
    fn crash_point(&mut self) -> Option<usize> {
        self.dice.once_in(40).then(|| self.dice.below(4))
    }

    fn crashed(&mut self, crashed: bool, at: Option<usize>) {
        if crashed {
            self.faults.count(if at == Some(0) { "crash before persist" } else { "crash after persist" }, 1);
        }
    }

    fn command(&mut self, site: usize, commands: Vec<Command>) {
        let first = self.world.tickets + 1;
        self.world.tickets += commands.len() as u64;
        let commands = (first..).zip(commands).collect();
        // A mind that replies before it is durable is only found out by a crash in between.
        let often = if self.world.mutation == Mutation::ReplyBeforePersist { 4 } else { 40 };
        let at = self.dice.once_in(often).then(|| self.dice.below(4));
        let crashed = self.world.handle(site, Input::Local(commands), at);
        self.crashed(crashed, at);
    }

    fn write(&mut self) {
        let Some(site) = self.some_site() else { return };
        let mut commands = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            self.writes += 1;
            let key = REPOSITORIES[self.dice.below(4).saturating_sub(1)];
            let at = PATHS[self.dice.below(PATHS.len())];
            let what = if self.dice.once_in(8) { "same".to_owned() } else { format!("{}", self.writes) };
            commands.push(if self.dice.once_in(4) { delete(key, at) } else { put(key, at, &what) });
        }
        self.command(site, commands);
    }

    fn found(&mut self) {
        let Some(site) = self.some_site() else { return };
        let key = REPOSITORIES[1 + self.dice.below(2)];
        let others: Vec<NodeId> = (0..self.world.sites.len())
            .filter(|other| *other != site && !self.edges.contains(other))
            .map(|other| self.world.node(other))
            .collect();
        let invite = others.into_iter().filter(|_| !self.dice.once_in(3)).collect();
        let mut command = create(key, invite);
        if let Command::CreateRepository { secret, .. } = &mut command {
            *secret = self.dice.bytes32();
        }
        self.command(site, vec![command]);
    }

    fn change_membership(&mut self) {
        let Some(site) = self.some_site() else { return };
        let key = REPOSITORIES[self.dice.below(REPOSITORIES.len())];
        if self.dice.once_in(3) && site != 0 {
            self.command(site, vec![Command::DeleteRepository(repo(key))]);
            return;
        }
        let other = self.dice.below(self.world.sites.len());
        let node = self.world.node(other);
        self.command(site, vec![Command::Invite(repo(key), node)]);
    }

    fn tick(&mut self) {
        let Some(site) = self.some_site() else { return };
        let (dice, round, at) = (self.dice.bits(), !self.dice.once_in(3), self.crash_point());
        let crashed = self.world.handle(site, Input::Tick { dice, round }, at);
        self.crashed(crashed, at);
    }

    fn break_connection(&mut self) {
        let open = self.world.network.connections();
        if let Some((a, b)) = self.dice.pick(&open).copied() {
            let lost = self.world.disconnect(a, b);
            self.faults.count("connection broken with frames under way", u64::from(lost > 0));
            self.faults.count("frames lost", lost as u64);
        }
    }

    fn connect_some(&mut self) {
        let count = self.world.sites.len();
        for _ in 0..4 {
            let (a, b) = (self.dice.below(count), self.dice.below(count));
            self.world.connect(a, b);
        }
    }

    fn partition(&mut self) {
        let sides: Vec<bool> = self.world.sites.iter().map(|_| self.dice.once_in(2)).collect();
        let mut cut = false;
        for a in 0..sides.len() {
            for b in (a + 1..sides.len()).filter(|b| sides[a] != sides[*b]) {
                cut |= self.world.network.is_open(a, b);
                self.world.network.cut(a, b);
                self.world.disconnect(a, b);
            }
        }
        self.faults.count("partition", u64::from(cut));
    }

    fn mend(&mut self) {
        self.world.network.cut.clear();
    }

    fn crash_some(&mut self) {
        if let Some(site) = self.some_site() {
            self.world.crash(site);
            self.faults.count("crash between inputs", 1);
        }
    }

    fn restart_some(&mut self) {
        for site in 0..self.world.sites.len() {
            if !self.world.sites[site].is_up() && !self.world.sites[site].stolen && self.dice.once_in(2) {
                self.world.restart(site);
                self.faults.count("restart", 1);
            }
        }
        self.connect_some();
    }

    fn jump_clock(&mut self) {
        let site = self.dice.below(self.world.sites.len());
        self.world.sites[site].skew_ms = self.dice.below(1_200_001) as i64 - 600_000;
        self.faults.count("clock jump", 1);
    }

    fn revoke(&mut self) {
        let Some(site) = self.some_site() else { return };
        let target = 1 + self.dice.below(self.world.sites.len() - 1);
        let node = self.world.node(target);
        // Two members at least must stay to agree with each other.
        let trust = self.world.sites[0].replica.as_ref().and_then(|mind| mind.trust());
        let left = trust.map_or(0, |trust| trust.members().filter(|(node, _)| trust.good(node).is_some()).count());
        let by = if self.dice.once_in(2) { self.dice.below(2) } else { site };
        if left > 3 && self.world.sites[by].is_up() {
            self.command(by, vec![Command::Revoke(node, "simulated".into())]);
        }
    }

    fn copy_or_restore(&mut self) {
        let site = self.dice.below(self.world.sites.len());
        if self.world.sites[site].stolen {
            return;
        }
        match self.copies[site].take() {
            None => self.copies[site] = Some((self.world.sites[site].disk.clone(), self.world.sites[site].lives)),
            // The first site's word on who is good is what the checkers go by: it isn't set back.
            Some(_) if site == 0 => {}
            Some((copy, _)) => {
                self.world.crash(site);
                let lost = self.world.sites[site].disk != copy;
                self.world.sites[site].disk = copy;
                if self.world.mutation != Mutation::SameIncarnation {
                    self.world.sites[site].disk.forget_incarnation();
                }
                self.world.sites[site].was_restored = true;
                self.graves.forget(site);
                self.world.restart(site);
                self.faults.count("set back to an old copy", u64::from(lost));
            }
        }
    }

    fn pair_late(&mut self) {
        let Some((newcomer, request)) = self.late.clone() else { return };
        if !self.world.sites[0].is_up() || !self.world.sites[newcomer].is_up() {
            return;
        }
        let request = match request {
            Some(request) => request,
            None => {
                self.world.sites[newcomer].skew_ms = self.world.sites[0].skew_ms;
                let rights = if self.dice.once_in(2) { writer() } else { Capabilities::all() };
                let line = self.world.token(0, Role::Full, rights);
                let request = self.world.request(0, newcomer, &line).expect("a fresh token");
                self.late = Some((newcomer, Some(request.clone())));
                request
            }
        };
        let token = request.token.clone();
        let before = self.world.replies.len();
        self.command(0, vec![Command::Admit(request)]);
        let admitted = self.world.replies[before..].iter().any(|(_, _, reply)| reply.is_ok());
        // The answer may be lost; the newcomer asks again with the same token.
        if admitted && !self.dice.once_in(3) {
            self.command(newcomer, vec![Command::Join(token)]);
            self.world.connect(0, newcomer);
            self.faults.count("joined in the middle", 1);
        } else if admitted {
            self.faults.count("pairing answer lost", 1);
        } else {
            // Expired meanwhile, perhaps: the next attempt has a new token.
            self.late = Some((newcomer, None));
        }
    }

    fn admit_again(&mut self) {
        let Some(trust) = self.world.sites[0].replica.as_ref().and_then(|mind| mind.trust()) else { return };
        let revoked: Vec<usize> = (1..self.world.sites.len())
            .filter(|site| trust.is_revoked(&self.world.node(*site)) && !self.edges.contains(site))
            .collect();
        let Some(site) = self.dice.pick(&revoked).copied() else { return };
        if self.world.sites[site].stolen || !self.world.sites[site].is_up() {
            return;
        }
        self.world.sites[site].skew_ms = self.world.sites[0].skew_ms;
        let line = self.world.token_for(0, Role::Full, writer(), Some(site));
        let request = self.world.request(0, site, &line).expect("a fresh token");
        self.command(0, vec![Command::Admit(request)]);
        self.faults.count("admitted again", 1);
    }

    fn deliver_something(&mut self) {
        let at = self.crash_point();
        if self.dice.once_in(3) && !self.world.network.gossip.is_empty() {
            let which = self.dice.below(self.world.network.gossip.len());
            if which + 1 < self.world.network.gossip.len() {
                self.faults.count("gossip reordered", 1);
            }
            let gossip = if self.dice.once_in(6) {
                self.faults.count("gossip duplicated", 1);
                self.world.network.gossip[which].clone()
            } else {
                self.world.network.gossip.swap_remove(which)
            };
            if self.dice.once_in(5) {
                self.faults.count("gossip lost", 1);
                return;
            }
            let crashed = self.world.deliver_gossip(&gossip, at);
            self.crashed(crashed, at);
            return;
        }
        let busy = self.world.network.busy();
        if let Some((from, to)) = self.dice.pick(&busy).copied() {
            let crashed = self.world.deliver(from, to, at);
            self.crashed(crashed, at);
        }
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
        self.world.network.cut.clear();
        self.world.network.gossip.clear();
        for site in 0..self.world.sites.len() {
            if !self.world.sites[site].is_up() && !self.world.sites[site].stolen {
                self.world.restart(site);
            }
        }
        for (a, b) in self.world.network.connections() {
            self.world.disconnect(a, b);
        }
        self.finish_pairing();
        let mut last = Ok(());
        for round in 0..ROUNDS_MAX {
            self.world.connect_all();
            self.world.settle();
            // A leave that its author alone knows leaves nothing to disagree about, and is to be heard all the same.
            last = agreement::check_heads(&self.world)
                .and_then(|()| acknowledged::check_everywhere(&self.world, &self.acks));
            if last.is_ok() {
                self.faults.count("rounds until all agreed", round);
                break;
            }
            let dice = self.dice.bits();
            self.world.round(dice);
        }
        last
    }

    /// A newcomer that was admitted and never heard the answer, or forgot it with its rows, asks again.
    fn finish_pairing(&mut self) {
        let Some((newcomer, _)) = self.late.take() else { return };
        let node = self.world.node(newcomer);
        let site = &self.world.sites[newcomer];
        let trust = self.world.sites[0].mind().trust().expect("the founder has a circle");
        if trust.good(&node).is_some() && site.is_up() && site.mind().circle().is_none() {
            self.world.sites[newcomer].skew_ms = self.world.sites[0].skew_ms;
            let line = self.world.token(0, Role::Full, writer());
            self.world.present(0, newcomer, &line).expect("it may have another grant");
        }
    }

    fn judge(&mut self) -> Result<(), Fault> {
        agreement::check_heads(&self.world)?;
        self.check_always()?;
        acknowledged::check_everywhere(&self.world, &self.acks)?;
        let sealed = seals::check(&self.world)?;
        self.faults.count("sealed logs", sealed);
        self.faults.count("blobs wanted", wants::check(&self.world)?);
        if self.world.mutation != Mutation::SameIncarnation && !self.world.truth.forked.is_empty() {
            return Err(format!("two entries bear {:?}", self.world.truth.forked));
        }
        self.count_events()
    }

    fn count_events(&mut self) -> Result<(), Fault> {
        let mut conflicts = BTreeSet::new();
        for (number, site) in self.world.sites.iter().enumerate() {
            for event in &site.notes {
                match event {
                    Event::Applied { gossip: true, .. } => self.faults.count("applied from gossip", 1),
                    Event::Applied { .. } => self.faults.count("applied from streams", 1),
                    Event::Parked { .. } => self.faults.count("parked", 1),
                    Event::FarAhead { .. } => self.faults.count("far ahead", 1),
                    Event::Refused { .. } => self.faults.count("refused", 1),
                    Event::KeyTaken { .. } => self.faults.count("key taken", 1),
                    Event::Revoked(_) => self.faults.count("revocation heard", 1),
                    Event::SelfRevoked => self.faults.count("own revocation heard", 1),
                    // Only edges, to which their own lies are brought, may find words of theirs that they forgot.
                    Event::RolledBack { .. } if self.edges.contains(&number) => {
                        self.faults.count("own lie brought back", 1);
                    }
                    Event::RolledBack { old, .. } if self.world.mutation != Mutation::SameIncarnation => {
                        return Err(format!("{} gave up {old:?} for no reason", site.identity.name));
                    }
                    Event::RolledBack { .. } => {}
                    Event::Removed { .. } => self.faults.count("removal heard", 1),
                    Event::Forked { .. } => self.faults.count("fork proved", 1),
                    Event::TakenBack { .. } => self.faults.count("branch taken back", 1),
                    Event::Kept { .. } => self.faults.count("kept for an upgrade", 1),
                    Event::Addresses(..) => {}
                }
            }
            if site.is_up() {
                for (space, _, _) in site.mind().spaces().filter(|(_, _, federation)| federation.is_some()) {
                    let catalog = oracle::catalog(&site.disk, space);
                    conflicts
                        .extend(catalog.into_iter().filter(|(_, v)| v.len() > 1).map(|(p, _)| (number, *space, p)));
                }
            }
        }
        self.faults.count("siblings in the end", conflicts.len() as u64);
        Ok(())
    }
}
