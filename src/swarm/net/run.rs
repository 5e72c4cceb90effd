//! The loop itself and what it remembers.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use artimesh_core::model::PublicKey;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, ping,
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    command::{Command, Contact, Remote},
    connections::Connection,
    sessions::Running,
};
use crate::swarm::{
    backoff::Backoff,
    behaviour::{Behaviour, BehaviourEvent},
    bulk,
    event::Event,
    fault::Fault,
    gossip::Judged,
    identity,
    members::Members,
    pairing, session,
    streams::{BULK, CONTROL, Inbound, OpenFailure, Opened, PAIR},
};

/// Streams that wait for a connection, all peers together.
const WAITING_MAX: usize = 1024;

/// How long a stream waits for a connection.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which of the two swarms this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) enum Kind {
    Control,
    Bulk,
}

/// What a loop is made of.
pub(in crate::swarm) struct Parts {
    pub(in crate::swarm) kind: Kind,
    pub(in crate::swarm) swarm: libp2p::Swarm<Behaviour>,
    pub(in crate::swarm) commands: mpsc::Receiver<Command>,
    pub(in crate::swarm) remote: Remote,
    pub(in crate::swarm) members: Arc<Members>,
    pub(in crate::swarm) context: Arc<session::Context>,
    pub(in crate::swarm) tasks: TaskTracker,
    pub(in crate::swarm) addresses: Arc<RwLock<Vec<Multiaddr>>>,
    pub(in crate::swarm) stranger_lifetime: Duration,
    /// How long a member's connection may go without an answered ping.
    pub(in crate::swarm) silence_max: Duration,
}

/// A member, as this swarm sees it.
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) backoff: Backoff,
    /// When to dial, if there is no connection then.
    pub(super) dial_at: Instant,
    pub(super) dialling: Dialling,
    pub(super) session: Option<Running>,
}

/// Where a dial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialling {
    No,
    Resolving,
    Connecting(ConnectionId),
}

/// A stream that waits for a connection.
pub(super) struct Waiting {
    pub(super) peer: PeerId,
    pub(super) protocol: libp2p::StreamProtocol,
    pub(super) opened: Opened,
    pub(super) until: Instant,
}

/// The loop's state; nobody else has it.
pub(in crate::swarm) struct Net {
    pub(super) parts: Parts,
    pub(super) peers: HashMap<PeerId, Peer>,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// Dials for pairing, and who waits for them.
    pub(super) pairings: HashMap<ConnectionId, oneshot::Sender<Result<ConnectionId, Fault>>>,
    /// Sessions of peers that were removed; a new session waits for the old one's last event.
    pub(super) departing: HashMap<PeerId, JoinHandle<()>>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) sessions_begun: u64,
    pub(super) verdicts: (mpsc::Sender<Judged>, mpsc::Receiver<Judged>),
    pub(super) rumours: mpsc::Sender<Event>,
    /// When time itself has to be looked at next.
    pub(super) due: Instant,
}

impl Net {
    pub(in crate::swarm) fn new(parts: Parts) -> Net {
        let rumours = Net::spawn_rumours(&parts);
        Net {
            parts,
            peers: HashMap::new(),
            connections: HashMap::new(),
            pairings: HashMap::new(),
            departing: HashMap::new(),
            waiting: Vec::new(),
            sessions_begun: 0,
            verdicts: mpsc::channel(crate::swarm::gossip::UNJUDGED_MAX),
            rumours,
            due: Instant::now(),
        }
    }

    /// Runs until the root token is cancelled. Dropping the libp2p swarm then ends its connections.
    pub(in crate::swarm) async fn run(mut self) {
        let root = self.parts.context.root.clone();
        loop {
            tokio::select! {
                () = root.cancelled() => return,
                Some(command) = self.parts.commands.recv() => self.on_command(command),
                Some(judged) = self.verdicts.1.recv() => self.on_verdict(&judged),
                event = self.parts.swarm.select_next_some() => self.on_event(event),
                () = tokio::time::sleep_until(self.due) => self.on_time(),
            }
        }
    }

    /// Makes sure that [`Net::on_time`] runs no later than `at`.
    pub(super) fn wake_at(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    pub(super) fn is_control(&self) -> bool {
        self.parts.kind == Kind::Control
    }

    pub(super) fn note(&self, key: &PublicKey, fault: Fault) {
        self.parts.context.faults.note(key, fault);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Members { contacts, done } => {
                self.set_members(contacts);
                let _ = done.send(());
            }
            Command::Open { peer, connection, protocol, opened } => self.open(peer, connection, protocol, opened),
            Command::Dial { peer, addresses, dialled } => self.dial_for_pairing(peer, addresses, dialled),
            Command::Paired { connection } => self.end_pairing(connection),
            Command::Resolved { peer, addresses } => self.connect(peer, addresses),
            Command::Nudge { peer } => self.nudge(&peer),
            Command::Doubt { peer } => self.doubt(&peer),
            Command::Widen { peer, connections_max } => self.widen(peer, connections_max),
            Command::SessionUp { peer, session } => self.on_session_up(peer, session),
            Command::SessionDown { peer, session, fault } => self.on_session_down(peer, session, &fault),
            Command::Subscribe { topic, done } => {
                self.subscribe(&topic);
                let _ = done.send(());
            }
            Command::Unsubscribe { topic, done } => {
                self.unsubscribe(&topic);
                let _ = done.send(());
            }
            Command::Publish { topic, data, done } => {
                let _ = done.send(self.publish(&topic, data));
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(inbound)) => self.on_inbound(inbound),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result: Ok(took), .. })) => {
                self.on_alive(connection, took);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.on_closed(connection_id),
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failure(connection_id, peer_id, Fault::from(&error));
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!(%error, from = %send_back_addr, "an inbound connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let mut addresses = self.parts.addresses.write().unwrap_or_else(PoisonError::into_inner);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let mut addresses = self.parts.addresses.write().unwrap_or_else(PoisonError::into_inner);
                addresses.retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::error!(%error, "a listener ended: peers can't reach this node there any more");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a connection was not accepted"),
            _ => {}
        }
    }

    fn set_members(&mut self, contacts: Vec<Contact>) {
        let local = *self.parts.swarm.local_peer_id();
        let contacts: Vec<Contact> = contacts.into_iter().filter(|contact| contact.peer != local).collect();
        let stay: HashSet<PeerId> = contacts.iter().map(|contact| contact.peer).collect();
        let leave: Vec<PeerId> = self.peers.keys().filter(|peer| !stay.contains(peer)).copied().collect();
        for peer in leave {
            self.remove(&peer);
        }
        for Contact { peer, key, addresses } in contacts {
            match self.peers.get_mut(&peer) {
                Some(known) if known.addresses == addresses => {}
                Some(known) => {
                    known.addresses = addresses;
                    known.backoff.reset();
                    known.dial_at = Instant::now();
                }
                None => self.add(peer, key, addresses),
            }
        }
        self.wake_at(Instant::now());
    }

    fn add(&mut self, peer: PeerId, key: PublicKey, addresses: Vec<Multiaddr>) {
        let newcomer = Peer {
            key,
            addresses,
            backoff: Backoff::default(),
            dial_at: Instant::now(),
            dialling: Dialling::No,
            session: None,
        };
        self.peers.insert(peer, newcomer);
        // A connection made as a stranger stays one, so it has to come again; but let it finish pairing.
        self.hang_up_where(&Fault::Closed, |connection| {
            connection.peer == peer && !connection.is_member && !connection.is_pairing
        });
    }

    fn remove(&mut self, peer: &PeerId) {
        let Some(gone) = self.peers.remove(peer) else { return };
        if let Some(session) = gone.session {
            self.departing.insert(*peer, session.task);
        }
        self.note(&gone.key, Fault::Removed);
        self.waiting.retain(|waiting| waiting.peer != *peer);
        self.hang_up_where(&Fault::Closed, |connection| connection.peer == *peer);
    }

    fn on_inbound(&mut self, inbound: Inbound) {
        let Some(key) = identity::public_key(&inbound.peer) else { return };
        let Some(connection) = self.connections.get_mut(&inbound.connection) else { return };
        let events = self.parts.context.events.clone();
        if inbound.protocol == PAIR {
            connection.is_pairing |= !connection.is_member;
            let asker = pairing::Asker { peer: key, remote_address: connection.address.to_string() };
            self.parts.context.counters.pairings.increment();
            let rounds = if connection.is_member { pairing::Rounds::Many } else { pairing::Rounds::One };
            let serve = pairing::serve(inbound, asker, events, rounds);
            self.spawn(serve);
        } else if inbound.protocol == CONTROL {
            self.on_control_stream(inbound);
        } else if inbound.protocol == BULK
            && let Some(token) = self.parts.members.token(&inbound.peer)
        {
            let end = bulk::End::new(&self.parts.context, key, token);
            self.spawn(bulk::accept(inbound, end, events));
        }
    }

    /// Runs something until it or the swarm ends.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let root: CancellationToken = self.parts.context.root.clone();
        self.parts.tasks.spawn(async move {
            tokio::select! {
                () = root.cancelled() => {}
                () = work => {}
            }
        })
    }

    fn open(
        &mut self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: libp2p::StreamProtocol,
        opened: Opened,
    ) {
        if let Some(id) = connection.or_else(|| self.least_used(&peer)) {
            if let Some(known) = self.connections.get_mut(&id) {
                known.streams_opened += 1;
                self.parts.swarm.behaviour_mut().streams.open(peer, id, protocol, opened);
            } else {
                let _ = opened.send(Err(OpenFailure::Unavailable));
            }
        } else if self.peers.contains_key(&peer) && self.waiting.len() < WAITING_MAX {
            let until = Instant::now() + WAIT_TIMEOUT;
            self.waiting.push(Waiting { peer, protocol, opened, until });
            self.wake_at(until);
        } else {
            let _ = opened.send(Err(OpenFailure::Unavailable));
        }
    }

    /// Opens the streams that waited for a connection to this peer.
    pub(super) fn open_waiting(&mut self, peer: &PeerId, id: ConnectionId) {
        let (ready, still): (Vec<Waiting>, Vec<Waiting>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.peer == *peer);
        self.waiting = still;
        for Waiting { peer, protocol, opened, .. } in ready {
            self.parts.swarm.behaviour_mut().streams.open(peer, id, protocol, opened);
        }
    }
}
