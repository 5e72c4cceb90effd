//! Connections: from the handshake to the end, and what time does to them.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, swarm::ConnectionId};
use tokio::time::Instant;

use super::run::{Dialling, Net, Waiting};
use crate::swarm::{fault::Fault, resolve, session::HELLO_TIMEOUT, streams::OpenFailure};

/// How long a second connection stays a standby before the first, if it lives, makes it superfluous.
const STANDBY: Duration = Duration::from_secs(10);

/// How long the loop sleeps at most.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// One established connection.
pub(super) struct Connection {
    pub(super) peer: PeerId,
    /// Its role, fixed when it was made.
    pub(super) is_member: bool,
    pub(super) is_dialled: bool,
    /// Made for pairing, or used for it: no session is put on it by this side.
    pub(super) is_pairing: bool,
    /// The peer takes us for a stranger on it.
    pub(super) is_refused: bool,
    pub(super) address: Multiaddr,
    pub(super) since: Instant,
    /// When it last answered.
    pub(super) alive: Instant,
    /// Streams that this side opened on it.
    pub(super) streams_opened: u64,
    /// When it ends if it hasn't proved its worth: a stranger's always, a member's without a session.
    pub(super) deadline: Option<Instant>,
}

impl Net {
    pub(super) fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let is_member = self.peers.contains_key(&peer) && self.parts.members.contains(&peer);
        let deadline = match (is_member, self.is_control()) {
            (true, false) => None,
            (true, true) => Some(now + HELLO_TIMEOUT),
            (false, _) => Some(now + self.parts.stranger_lifetime),
        };
        let dialled = self.pairings.remove(&id);
        let connection = Connection {
            peer,
            is_member,
            is_dialled: endpoint.is_dialer(),
            is_pairing: dialled.is_some(),
            is_refused: false,
            address: endpoint.get_remote_address().clone(),
            since: now,
            alive: now,
            streams_opened: 0,
            deadline,
        };
        self.parts.context.counters.connections.increment();
        self.connections.insert(id, connection);
        self.wake_at(deadline.unwrap_or(now + SLEEP_MAX).min(now + self.parts.silence_max));
        if let Some(dialled) = dialled {
            if dialled.send(Ok(id)).is_err() {
                self.hang_up(id, &Fault::Closed);
            }
            return;
        }
        if let Some(known) = self.peers.get_mut(&peer)
            && known.dialling == Dialling::Connecting(id)
        {
            known.dialling = Dialling::No;
        }
        if is_member {
            self.open_waiting(&peer, id);
            self.consider(peer);
            self.count_bulk(&peer);
        }
    }

    /// Tells how many bulk connections a member has.
    fn count_bulk(&self, peer: &PeerId) {
        let Some(known) = self.peers.get(peer).filter(|_| !self.is_control()) else { return };
        let count = self.connections.values().filter(|connection| connection.peer == *peer).count();
        self.parts.context.vitals.of(&known.key).set_bulk_connections(count);
    }

    /// Dials a member that is connected, for one connection more. Behind NAT only the other side can.
    pub(super) fn widen(&mut self, id: PeerId, connections_max: usize) {
        let count =
            self.connections.values().filter(|connection| connection.peer == id && connection.is_member).count();
        let Some(peer) = self.peers.get(&id) else { return };
        let is_name = peer.addresses.iter().any(resolve::is_name);
        if count == 0 || count >= connections_max || peer.dialling != Dialling::No || peer.addresses.is_empty() {
            return;
        }
        // An address by name was looked up for the first connection; where that went is good for the next.
        let dialled = |connection: &&Connection| connection.peer == id && connection.is_dialled;
        let addresses = match self.connections.values().find(dialled) {
            Some(known) => vec![known.address.clone()],
            None if is_name => return,
            None => peer.addresses.clone(),
        };
        self.connect(id, addresses);
    }

    /// The connection ended by itself or by the peer.
    pub(super) fn on_closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.lost(&connection, id, &Fault::Closed);
    }

    /// Ends a connection. For this loop it is over at once, however long the goodbye takes.
    pub(super) fn hang_up(&mut self, id: ConnectionId, fault: &Fault) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.parts.swarm.close_connection(id);
        self.end_session_on(&connection.peer, id, fault);
        self.lost(&connection, id, fault);
    }

    pub(super) fn hang_up_where(&mut self, fault: &Fault, test: impl Fn(&Connection) -> bool) {
        let doomed: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connection)| test(connection)).map(|(id, _)| *id).collect();
        for id in doomed {
            self.hang_up(id, fault);
        }
    }

    fn lost(&mut self, connection: &Connection, id: ConnectionId, fault: &Fault) {
        let is_control = self.is_control();
        self.count_bulk(&connection.peer);
        let has_another = self.usable(&connection.peer).is_some();
        let Some(peer) = self.peers.get_mut(&connection.peer) else { return };
        let key = peer.key;
        if !has_another {
            let wait = peer.backoff.next();
            peer.dial_at = Instant::now() + wait;
            let at = peer.dial_at;
            self.wake_at(at);
        }
        if connection.is_member && is_control {
            // A session that has both hellos reads what arrived before the end; one that hasn't can only wait in vain.
            self.end_unfinished_session_on(&connection.peer, id);
            if connection.deadline.is_some() && !connection.is_pairing {
                self.note(&key, fault.clone());
            }
        }
        self.consider(connection.peer);
    }

    /// A ping was answered.
    pub(super) fn on_alive(&mut self, id: ConnectionId, took: Duration) {
        let is_control = self.is_control();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.alive = Instant::now();
        let Some(peer) = self.peers.get_mut(&connection.peer) else { return };
        if is_control {
            self.parts.context.vitals.of(&peer.key).answered(took);
        } else {
            peer.backoff.reset();
        }
    }

    /// Ends a member's connections that have been silent for a third of what is allowed otherwise.
    pub(super) fn doubt(&mut self, peer: &PeerId) {
        let since = self.parts.silence_max / 3;
        let now = Instant::now();
        self.hang_up_where(&Fault::Silent, |connection| connection.peer == *peer && connection.alive + since <= now);
    }

    /// A member's connection that is good for streams, the newest first.
    pub(super) fn usable(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.peer == *peer && connection.is_member)
            .filter(|(_, connection)| !connection.is_refused && !connection.is_pairing)
            .max_by_key(|(_, connection)| connection.since)
            .map(|(id, _)| *id)
    }

    /// Where the next stream goes: of a member's bulk connections the one that has had the fewest.
    pub(super) fn least_used(&self, peer: &PeerId) -> Option<ConnectionId> {
        if self.is_control() {
            return self.usable(peer);
        }
        self.connections
            .iter()
            .filter(|(_, connection)| connection.peer == *peer && connection.is_member)
            .min_by_key(|(_, connection)| (connection.streams_opened, connection.since))
            .map(|(id, _)| *id)
    }

    /// Does all that is due, and finds out when the next is.
    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        let silence_max = self.parts.silence_max;
        self.hang_up_where(&Fault::Silent, |connection| {
            connection.deadline.is_some_and(|deadline| deadline <= now)
                || (connection.is_member && connection.alive + silence_max <= now)
        });
        self.end_standbys(now);
        self.dial_due(now);
        for Waiting { opened, .. } in self.waiting.extract_if(.., |waiting| waiting.until <= now) {
            let _ = opened.send(Err(OpenFailure::Unavailable));
        }
        self.departing.retain(|_, task| !task.is_finished());
        let deadlines = self.connections.values().filter_map(|connection| connection.deadline);
        let dials = self.peers.iter().filter(|(peer, _)| self.wants_dial(peer)).map(|(_, peer)| peer.dial_at);
        let waits = self.waiting.iter().map(|waiting| waiting.until);
        let members = self.connections.values().filter(|connection| connection.is_member);
        let silences = members.map(|connection| connection.alive + silence_max);
        let next = deadlines.chain(silences).chain(dials).chain(waits).min().unwrap_or(now + SLEEP_MAX);
        self.due = next.clamp(now + Duration::from_millis(1), now + SLEEP_MAX);
    }

    /// Ends what simultaneous dials left over, once the session's connection has answered since.
    fn end_standbys(&mut self, now: Instant) {
        let standbys: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(id, standby)| {
                let session = self.peers.get(&standby.peer).and_then(|peer| peer.session.as_ref());
                let session = session.filter(|session| session.is_up && session.leads && session.connection != **id);
                let first = session.and_then(|session| self.connections.get(&session.connection));
                !standby.is_pairing
                    && standby.since + STANDBY <= now
                    && first.is_some_and(|first| first.alive > standby.since + STANDBY / 2)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in standbys {
            self.hang_up(id, &Fault::Closed);
        }
    }
}
