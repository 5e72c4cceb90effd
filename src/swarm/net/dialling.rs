//! Dialling: members again and again, issuers once.

use libp2p::{
    Multiaddr, PeerId,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    command::Command,
    run::{Dialling, Net},
};
use crate::swarm::{fault::Fault, resolve};

impl Net {
    /// Whether this member is to be dialled when its time comes.
    pub(super) fn wants_dial(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| {
            peer.dialling == Dialling::No
                && peer.session.is_none()
                && !peer.addresses.is_empty()
                && !self.connections.values().any(|connection| connection.peer == *id && !connection.is_pairing)
        })
    }

    pub(super) fn dial_due(&mut self, now: Instant) {
        let due: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.dial_at <= now && self.wants_dial(id))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let addresses = peer.addresses.clone();
            if addresses.iter().any(resolve::is_name) {
                peer.dialling = Dialling::Resolving;
                let remote = self.parts.remote.clone();
                self.spawn(async move {
                    let addresses = resolve::resolve(addresses).await;
                    remote.tell(Command::Resolved { peer: id, addresses }).await;
                });
            } else {
                self.connect(id, addresses);
            }
        }
    }

    /// Dials a member without further waiting, because it is known to be there.
    pub(super) fn nudge(&mut self, id: &PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.backoff.reset();
            peer.dial_at = Instant::now();
            self.wake_at(Instant::now());
        }
    }

    /// Dials a member at these addresses, all at once; the first that answers with its key wins.
    pub(super) fn connect(&mut self, id: PeerId, addresses: Vec<Multiaddr>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let options = options(id, addresses);
        let connection = options.connection_id();
        peer.dialling = Dialling::Connecting(connection);
        if let Err(error) = self.parts.swarm.dial(options) {
            self.on_dial_failure(connection, Some(id), Fault::from(&error));
        }
    }

    pub(super) fn dial_for_pairing(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        dialled: oneshot::Sender<Result<ConnectionId, Fault>>,
    ) {
        let options = options(peer, addresses);
        let connection = options.connection_id();
        self.pairings.insert(connection, dialled);
        if let Err(error) = self.parts.swarm.dial(options) {
            self.on_dial_failure(connection, Some(peer), Fault::from(&error));
        }
    }

    /// Ends the connection that was made for a pairing, unless the peer has put a session on it.
    pub(super) fn end_pairing(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let session = self.peers.get(&connection.peer).and_then(|peer| peer.session.as_ref());
        if session.is_some_and(|session| session.connection == id) {
            connection.is_pairing = false;
        } else {
            self.hang_up(id, &Fault::Closed);
        }
    }

    pub(super) fn on_dial_failure(&mut self, connection: ConnectionId, peer: Option<PeerId>, fault: Fault) {
        self.parts.context.counters.dial_failures.increment();
        if let Some(dialled) = self.pairings.remove(&connection) {
            let _ = dialled.send(Err(fault));
            return;
        }
        let Some(peer) = peer.and_then(|peer| self.peers.get_mut(&peer)) else { return };
        if peer.dialling != Dialling::Connecting(connection) {
            return;
        }
        peer.dialling = Dialling::No;
        let wait = peer.backoff.next();
        peer.dial_at = Instant::now() + wait;
        let (key, at) = (peer.key, peer.dial_at);
        tracing::debug!(peer = %key, %fault, "a dial failed");
        self.note(&key, fault);
        self.wake_at(at);
    }
}

/// A dial from a port of its own: two nodes that dial each other from their listening ports would meet in one socket.
fn options(peer: PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).allocate_new_port().build()
}
