//! A small world: sites, what connects them, and everything they ever wrote.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::catalog::{Content, RepositoryConfig};
use artimesh_core::model::{ArtifactPath, Checksums, Digest, KeyPair, NodeId, Properties, RepoKey, Space, TokenId};
use artimesh_core::replica::message::PROTOCOL;
use artimesh_core::replica::{
    Command, CommandError, Event, Hello, Input, Message, Output, Receipt, Refusal, Verdict, state_digest,
};
use artimesh_core::trust::{
    Capabilities, Capability, Founding, PairingReason, PairingRequest, PairingToken, Role, VerifiedRequest,
};

use super::liars::Lie;
use super::network::{Gossip, Network};
use super::site::Site;
use super::tracing;
use super::truth::Truth;

/// What is broken on purpose, to show that the checkers notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    Nothing,
    /// The oracle shows the lesser of two siblings.
    TieBreak,
    /// One catalog row is never written.
    DroppedWrite,
    /// The user hears of success before the rows are durable.
    ReplyBeforePersist,
    /// A backup is restored as if nothing had been written since.
    SameIncarnation,
    /// Disks forget with the power what they said was durable.
    LyingDisk,
}

#[derive(Clone)]
pub struct World {
    /// True time, in milliseconds.
    pub now: u64,
    pub sites: Vec<Site>,
    pub network: Network,
    pub truth: Truth,
    pub replies: Vec<(usize, u64, Result<Receipt, CommandError>)>,
    pub verdicts: Vec<Verdict>,
    pub tickets: u64,
    /// Commands and other inputs handled so far.
    pub handled: u64,
    pub mutation: Mutation,
    /// Who lies in what it sends, and how.
    pub lies: BTreeMap<usize, Lie>,
    /// How often each lie took effect.
    pub twisted: BTreeMap<&'static str, u64>,
    /// Connections that one end closes once what it sent is through: (that end, the other).
    closing: BTreeSet<(usize, usize)>,
    numbers: BTreeMap<NodeId, usize>,
    /// Sites that have more to do by themselves.
    pub continues: BTreeSet<usize>,
}

/// 2025-01-01, so that skewed clocks have room on both sides.
const START_MS: u64 = 1_735_689_600_000;

pub const NAMES: [&str; 9] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan"];

/// What full members get here, beside what pairing demands.
pub fn writer() -> Capabilities {
    Capabilities(vec![Capability::Found, Capability::Write(None), Capability::Follow(None)])
}

/// What edges get here.
pub fn follower() -> Capabilities {
    Capabilities(vec![Capability::Follow(None)])
}

pub fn path(text: &str) -> ArtifactPath {
    ArtifactPath::try_from(text.to_owned()).expect("a fine path")
}

pub fn repo(text: &str) -> RepoKey {
    text.parse().expect("a fine key")
}

/// Content that is told apart by `what`.
pub fn content(what: &str) -> Content {
    let digest = Digest::of(what.as_bytes());
    let checksums = Checksums { sha256: digest.0, sha1: [1; 20], md5: [2; 16] };
    let media_type = "application/octet-stream".to_owned();
    Content { digest, size: what.len() as u64, checksums, media_type, properties: Properties::default() }
}

pub fn put(key: &str, at: &str, what: &str) -> Command {
    Command::Put { key: repo(key), path: path(at), content: content(what), by: "tester".into() }
}

/// Makes a folder, whose path ends in a slash.
pub fn folder(key: &str, at: &str) -> Command {
    Command::Put {
        key: repo(key),
        path: path(at),
        content: Content::folder(Properties::default()),
        by: "tester".into(),
    }
}

pub fn delete(key: &str, at: &str) -> Command {
    Command::Delete { key: repo(key), path: path(at), only: None, by: "tester".into() }
}

pub fn create(key: &str, invite: Vec<NodeId>) -> Command {
    let config = RepositoryConfig { package_type: "generic".into(), description: String::new() };
    let secret = Digest::of(key.as_bytes()).0;
    Command::CreateRepository { key: repo(key), config, invite, secret }
}

impl World {
    /// A world of so many sites, the first of which has founded a circle.
    pub fn new(count: usize) -> World {
        let sites: Vec<Site> = NAMES[..count].iter().map(|name| Site::new(name)).collect();
        let numbers = sites.iter().enumerate().map(|(number, site)| (site.node(), number)).collect();
        let mut world = World {
            now: START_MS,
            sites,
            network: Network::default(),
            truth: Truth::default(),
            replies: Vec::new(),
            verdicts: Vec::new(),
            tickets: 0,
            handled: 0,
            mutation: Mutation::Nothing,
            lies: BTreeMap::new(),
            twisted: BTreeMap::new(),
            closing: BTreeSet::new(),
            numbers,
            continues: BTreeSet::new(),
        };
        world.sites.iter_mut().for_each(Site::start);
        let root = KeyPair::from_secret(&[42; 32]);
        let me = world.sites[0].identity.clone();
        let founding = Founding::new(&root, me.name, me.keys);
        world.ask(0, Command::FoundCircle(founding)).expect("the first site founds the circle");
        world
    }

    /// A circle of `full` members and `edges` edges, all paired with the first and connected with each other.
    pub fn circle(full: usize, edges: usize) -> World {
        World::circle_where(full, edges, |_| writer())
    }

    /// The same, where full members get these rights by their number.
    pub fn circle_where(full: usize, edges: usize, rights: impl Fn(usize) -> Capabilities) -> World {
        let mut world = World::new(full + edges);
        for number in 1..full + edges {
            let (role, rights) = if number < full { (Role::Full, rights(number)) } else { (Role::Edge, follower()) };
            world.pair(0, number, role, rights).expect("pairing in fair weather");
        }
        world.settle();
        world.connect_all();
        world.settle();
        world
    }

    /// One more site, outside the circle.
    pub fn join_outside(&mut self) -> usize {
        let number = self.sites.len();
        let mut site = Site::new(NAMES[number]);
        self.numbers.insert(site.node(), number);
        site.start();
        self.sites.push(site);
        number
    }

    pub fn node(&self, site: usize) -> NodeId {
        self.sites[site].node()
    }

    pub fn number(&self, node: &NodeId) -> Option<usize> {
        self.numbers.get(node).copied()
    }

    /// Two sites about to pair have clocks that show the same.
    pub fn agree_on_time(&mut self, a: usize, b: usize) {
        let skew_ms = self.sites[a].wall(self.now).0.cast_signed() - self.now.cast_signed();
        self.sites[b].set_clock(skew_ms);
    }

    // Pairing.

    /// A token that `issuer` signed now.
    pub fn token(&mut self, issuer: usize, role: Role, capabilities: Capabilities) -> String {
        self.token_for(issuer, role, capabilities, None)
    }

    /// A token that brings the revoked node `readmits` back.
    pub fn token_for(
        &mut self,
        issuer: usize,
        role: Role,
        capabilities: Capabilities,
        readmits: Option<usize>,
    ) -> String {
        let readmits = readmits.map(|index| self.sites[index].node());
        self.tickets += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.tickets.to_le_bytes());
        let site = &self.sites[issuer];
        let token = PairingToken {
            id: TokenId(id),
            circle: site.mind().circle().expect("the issuer is in a circle"),
            root: site.mind().root().expect("the issuer knows the root"),
            issuer: site.node(),
            issuer_name: site.identity.name.clone(),
            issuer_keys: site.identity.keys,
            addresses: site.addresses(),
            role,
            capabilities,
            expires_at: artimesh_core::clock::Timestamp(site.wall(self.now).0 + 300_000),
            readmits,
        };
        token.to_line(&site.pairing_key)
    }

    /// The newcomer's question as the issuer verified it.
    pub fn request(&self, issuer: usize, newcomer: usize, line: &str) -> Result<VerifiedRequest, PairingReason> {
        let (site, new) = (&self.sites[issuer], &self.sites[newcomer]);
        let (_, held) = PairingToken::from_line(line).map_err(|_| PairingReason::Altered)?;
        let (name, keys) = (new.identity.name.clone(), new.identity.keys);
        let request = PairingRequest::new(&held, name, keys, new.addresses(), new.wall(self.now));
        request.verify(site.node(), &site.pairing_key, &keys.transport)
    }

    /// The newcomer presents `line` to the issuer, and joins when it is admitted.
    pub fn present(&mut self, issuer: usize, newcomer: usize, line: &str) -> Result<(), PairingReason> {
        let request = self.request(issuer, newcomer, line)?;
        let token = request.token.clone();
        match self.ask(issuer, Command::Admit(request)) {
            Ok(_) => {}
            Err(CommandError::Pairing(reason)) => return Err(reason),
            Err(_) => return Err(PairingReason::NotAllowed),
        }
        self.ask(newcomer, Command::Join(token)).expect("a newcomer joins");
        Ok(())
    }

    pub fn pair(
        &mut self,
        issuer: usize,
        newcomer: usize,
        role: Role,
        rights: Capabilities,
    ) -> Result<(), PairingReason> {
        let line = self.token(issuer, role, rights);
        self.present(issuer, newcomer, &line)?;
        self.connect(issuer, newcomer);
        Ok(())
    }

    // Doing.

    /// One command, performed to its reply.
    pub fn ask(&mut self, site: usize, command: Command) -> Result<Receipt, CommandError> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.handle(site, Input::Local(vec![(ticket, command)]), None);
        let (_, _, reply) = self.replies.iter().rfind(|(_, t, _)| *t == ticket).expect("every command gets a reply");
        reply.clone()
    }

    /// Handles an input and performs its outputs, up to a crash before output number `crash_at`. Says whether it crashed.
    pub fn handle(&mut self, site: usize, input: Input, crash_at: Option<usize>) -> bool {
        self.handled += if let Input::Local(commands) = &input { commands.len() as u64 } else { 1 };
        let mut outputs = self.sites[site].handle(self.now, input);
        if self.mutation == Mutation::ReplyBeforePersist {
            outputs.sort_by_key(|output| !matches!(output, Output::Reply(..)));
        }
        let persists = outputs.iter().filter(|output| matches!(output, Output::Persist(_))).count();
        assert!(persists <= 1, "one input, one atomic write");
        let mut outputs = outputs.into_iter().enumerate();
        let mut is_durable = false;
        while let Some((index, output)) = outputs.next() {
            if crash_at == Some(index) {
                self.crash(site);
                // What is durable has happened, whether it still said so or not.
                let unsaid = std::iter::once(output).chain(outputs.map(|(_, output)| output)).filter(|_| is_durable);
                self.sites[site].notes.extend(unsaid.filter_map(|output| match output {
                    Output::Note(event) => Some(event),
                    _ => None,
                }));
                return true;
            }
            is_durable |= matches!(output, Output::Persist(_));
            self.perform(site, output);
        }
        false
    }

    fn perform(&mut self, site: usize, output: Output) {
        match output {
            Output::Persist(rows) => {
                self.truth.record(self.sites[site].node(), &rows);
                self.sites[site].disk.apply(&rows);
            }
            Output::Reply(ticket, result) => self.replies.push((site, ticket, result)),
            Output::Send(node, frame) => {
                assert!(frame.len() <= 1024 * 1024, "a frame of {} bytes", frame.len());
                let frame = match self.lies.get(&site) {
                    Some(lie) => lie.twist(frame, &self.truth.segments, &mut self.twisted),
                    None => frame,
                };
                if let Some(to) = self.number(&node) {
                    self.network.send(site, to, frame, self.now);
                }
            }
            Output::Publish(space, bytes) => self.publish(site, space, &bytes),
            Output::Judge(verdict) => self.verdicts.push(verdict),
            Output::Members => self.close_to_outsiders(site),
            Output::Note(event) => {
                tracing::note(self, site, &event);
                self.sites[site].notes.push(event);
            }
            Output::Continue => {
                self.continues.insert(site);
            }
            Output::Spaces | Output::Wanted { .. } => {}
        }
    }

    fn publish(&mut self, from: usize, space: Space, bytes: &[u8]) {
        if self.network.gossip_is_off {
            return;
        }
        let holds = |site: &Site| site.replica.as_ref().is_some_and(|mind| mind.federation(&space).is_some());
        let hears = |to: &usize| *to != from && holds(&self.sites[*to]) && self.network.passes(from, *to);
        let hearers: Vec<usize> = (0..self.sites.len()).filter(hears).collect();
        for to in hearers {
            self.network.gossip(from, to, space, bytes, self.now);
        }
    }

    pub fn admits(&self, site: usize, other: usize) -> bool {
        let node = self.node(other);
        let mind = self.sites[site].replica.as_ref();
        mind.is_some_and(|mind| mind.admitted_peers().iter().any(|(peer, _, _)| *peer == node))
    }

    fn close_to_outsiders(&mut self, site: usize) {
        for other in 0..self.sites.len() {
            if self.network.is_open(site, other) && !self.admits(site, other) {
                self.closing.insert((site, other));
            }
        }
    }

    /// Connects two sites if both are up, admit each other and can reach each other.
    pub fn connect(&mut self, a: usize, b: usize) -> bool {
        let ready = a != b && self.sites[a].is_up() && self.sites[b].is_up() && !self.network.is_open(a, b);
        if !ready || !self.network.can_reach(a, b) || !self.admits(a, b) || !self.admits(b, a) {
            return false;
        }
        self.closing.remove(&(a, b));
        self.closing.remove(&(b, a));
        self.notice(a, b);
        self.network.open(a, b);
        for (site, other) in [(a, b), (b, a)] {
            let hello = self.hello(other);
            self.handle(site, Input::Connected(self.node(other), hello), None);
        }
        true
    }

    pub fn hello(&self, site: usize) -> Hello {
        let mind = self.sites[site].mind();
        Hello {
            protocol: PROTOCOL,
            features: mind.features(),
            circle: mind.circle().expect("peers have a circle"),
            incarnation: mind.incarnation(),
            wall: self.sites[site].wall(self.now),
            addresses: self.sites[site].addresses(),
            version: "sim".into(),
        }
    }

    pub fn connect_all(&mut self) {
        for a in 0..self.sites.len() {
            for b in a + 1..self.sites.len() {
                self.connect(a, b);
            }
        }
    }

    /// Breaks a connection; what was under way on it is lost.
    pub fn disconnect(&mut self, a: usize, b: usize) -> usize {
        if !self.network.is_open(a, b) {
            return 0;
        }
        let lost = self.network.close(a, b);
        for (site, other) in [(a, b), (b, a)] {
            if self.sites[site].is_up() {
                self.handle(site, Input::Disconnected(self.node(other)), None);
            }
        }
        lost
    }

    /// Breaks a connection of which only `a` notices the end; `b` goes on sending until it connects anew, or much later.
    pub fn disconnect_unnoticed(&mut self, a: usize, b: usize) -> usize {
        let lost = self.network.close(a, b);
        self.network.unnoticed.insert((b, a));
        self.handle(a, Input::Disconnected(self.node(b)), None);
        lost
    }

    /// Both ends know by now that their last connection has ended.
    pub fn notice(&mut self, a: usize, b: usize) {
        for (site, other) in [(a, b), (b, a)] {
            if self.network.unnoticed.remove(&(site, other)) && self.sites[site].is_up() {
                self.handle(site, Input::Disconnected(self.node(other)), None);
            }
        }
    }

    pub fn crash(&mut self, site: usize) {
        self.sites[site].replica = None;
        self.continues.remove(&site);
        self.sites[site].disk.lose_power();
        self.network.unnoticed.retain(|(end, _)| *end != site);
        for other in 0..self.sites.len() {
            self.disconnect(site, other);
        }
        self.network.gossip.retain(|gossip| gossip.to != site);
    }

    pub fn restart(&mut self, site: usize) {
        self.sites[site].start();
    }

    /// Delivers all that is under way from one site to another.
    pub fn drain(&mut self, from: usize, to: usize) {
        while self.network.busy().contains(&(from, to)) {
            self.deliver(from, to, None);
        }
    }

    /// Delivers between two sites what state sync says; anything else is lost.
    pub fn drain_sync(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            while let Some(frame) = self.network.receive(from, to) {
                let kind = u16::from_le_bytes([frame[0], frame[1]]);
                if kind >= 34 {
                    tracing::frame(self, from, to, &frame);
                    self.handle(to, Input::Frame(self.node(from), frame), None);
                }
            }
        }
    }

    /// Delivers all that is under way from one site to another, but for what is lost.
    pub fn drain_but(&mut self, from: usize, to: usize, lost: &impl Fn(usize, &Message) -> bool) {
        while let Some(frame) = self.network.receive(from, to) {
            if Message::read(&frame).is_ok_and(|message| !lost(from, &message)) {
                self.handle(to, Input::Frame(self.node(from), frame), None);
            }
        }
    }

    /// Delivers everything that is under way, but for what is lost of what a site says, until nothing is.
    pub fn settle_but(&mut self, lost: impl Fn(usize, &Message) -> bool) {
        for _ in 0..100_000 {
            if let Some((from, to)) = self.network.busy().first().copied() {
                self.drain_but(from, to, &lost);
            } else if let Some(site) = self.continues.first().copied() {
                self.go_on(site, None);
            } else {
                return;
            }
        }
        panic!("the network never falls silent");
    }

    /// Delivers the next frame of a connection, if any; says whether the receiver crashed over it.
    pub fn deliver(&mut self, from: usize, to: usize, crash_at: Option<usize>) -> bool {
        let Some(frame) = self.network.receive(from, to) else { return false };
        tracing::frame(self, from, to, &frame);
        let crashed = self.handle(to, Input::Frame(self.node(from), frame), crash_at);
        self.close_what_is_through();
        crashed
    }

    /// Delivers what was gossiped; says whether the receiver crashed over it.
    pub fn deliver_gossip(&mut self, gossip: &Gossip, crash_at: Option<usize>) -> bool {
        tracing::gossip(self, gossip.to, &gossip.bytes);
        self.sites[gossip.to].is_up()
            && self.handle(gossip.to, Input::Gossip(gossip.space, gossip.bytes.clone()), crash_at)
    }

    fn close_what_is_through(&mut self) {
        let busy = self.network.busy();
        let through: Vec<_> = self.closing.iter().filter(|ends| !busy.contains(ends)).copied().collect();
        for (a, b) in through {
            self.closing.remove(&(a, b));
            self.disconnect(a, b);
        }
    }

    /// Delivers everything that is under way until nothing is.
    pub fn settle(&mut self) {
        for _ in 0..200_000 {
            self.close_what_is_through();
            if let Some(gossip) = self.network.gossip.pop() {
                self.deliver_gossip(&gossip, None);
                continue;
            }
            if let Some((from, to)) = self.network.busy().first().copied() {
                self.deliver(from, to, None);
            } else if let Some(site) = self.continues.first().copied() {
                self.go_on(site, None);
            } else {
                return;
            }
        }
        let mut last = Vec::new();
        for _ in 0..6 {
            let Some((from, to)) = self.network.busy().first().copied() else { break };
            let frame = self.network.receive(from, to).unwrap_or_default();
            last.push(format!("{from} to {to}: {:.300}", format!("{:?}", Message::read(&frame))));
            self.handle(to, Input::Frame(self.node(from), frame), None);
        }
        panic!("the network never falls silent: {last:#?}, going on at {:?}", self.continues);
    }

    /// Lets a site do more of what it has begun; says whether it crashed over it.
    pub fn go_on(&mut self, site: usize, crash_at: Option<usize>) -> bool {
        self.continues.remove(&site) && self.handle(site, Input::Continue, crash_at)
    }

    /// Time passes, and every site that is up has a round of anti-entropy.
    pub fn round(&mut self, dice: u64) {
        self.now += 15_000;
        for site in 0..self.sites.len() {
            if self.sites[site].is_up() {
                let dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(site as u64);
                self.handle(site, Input::Tick { dice: dice >> 7, round: true }, None);
            }
        }
        self.settle();
    }

    // Looking.

    pub fn space(&self, site: usize, key: &str) -> Space {
        self.repository(site, key).expect("the repository is here")
    }

    pub fn repository(&self, site: usize, key: &str) -> Option<Space> {
        self.sites[site].mind().repositories().get(key).map(|repository| repository.space)
    }

    pub fn digest(&self, site: usize, space: &Space) -> Digest {
        let mind = self.sites[site].mind();
        match space {
            Space::Trust => mind.trust_digest(),
            _ => state_digest(&self.sites[site].disk, space, mind.federation(space)).expect("rows can be read"),
        }
    }

    /// What readers of a path see at a site: the digests of all live versions, the shown one first.
    pub fn versions(&self, site: usize, key: &str, at: &str) -> Vec<Digest> {
        let Some(space) = self.repository(site, key) else { return Vec::new() };
        let live = super::checks::oracle::catalog(&self.sites[site].disk, &space);
        let versions = live.get(&path(at)).map(|versions| versions.iter().map(|v| v.content.digest).collect());
        versions.unwrap_or_default()
    }

    pub fn refusals(&self, site: usize) -> Vec<Refusal> {
        let refused =
            |event: &Event| if let Event::Refused { refusal, .. } = event { Some(refusal.clone()) } else { None };
        self.sites[site].notes.iter().filter_map(refused).collect()
    }
}
