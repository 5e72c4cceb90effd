//! Which connection carries a member's session.

use libp2p::{PeerId, swarm::ConnectionId};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::run::Net;
use crate::swarm::{
    fault::Fault,
    identity,
    session::{Part, Session},
    streams::Inbound,
};

/// Control streams of the peer that wait for its session.
const STREAMS_MAX: usize = 2;

/// A session that runs.
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) connection: ConnectionId,
    pub(super) leads: bool,
    pub(super) is_up: bool,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) end: Option<oneshot::Sender<Fault>>,
    pub(super) task: JoinHandle<()>,
}

impl Running {
    fn end(&mut self, fault: &Fault) {
        if let Some(end) = self.end.take() {
            // It may have ended by itself.
            let _ = end.send(fault.clone());
        }
    }
}

impl Net {
    /// Begins a session if this side leads and there is a connection without one.
    pub(super) fn consider(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get(&peer) else { return };
        if !self.is_control() || known.session.is_some() || !self.leads(&peer) {
            return;
        }
        if let Some(connection) = self.usable(&peer) {
            self.begin(peer, connection, Part::Leads);
        }
    }

    /// The peer with the smaller key leads.
    fn leads(&self, peer: &PeerId) -> bool {
        identity::public_key(self.parts.swarm.local_peer_id()) < identity::public_key(peer)
    }

    fn begin(&mut self, id: PeerId, connection: ConnectionId, part: Part) {
        let Some(member) = self.parts.members.token(&id) else { return };
        let departing = self.departing.remove(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let previous = match peer.session.take() {
            Some(mut old) => {
                old.end(&Fault::Replaced);
                Some(old.task)
            }
            None => departing,
        };
        self.sessions_begun += 1;
        let (inbound, streams) = mpsc::channel(STREAMS_MAX);
        let (end, told) = oneshot::channel();
        let session = Session {
            id: self.sessions_begun,
            peer: id,
            key: peer.key,
            connection,
            part,
            context: self.parts.context.clone(),
            remote: self.parts.remote.clone(),
            inbound: streams,
            end: told,
            member,
            previous,
        };
        peer.session = Some(Running {
            id: self.sessions_begun,
            connection,
            leads: part == Part::Leads,
            is_up: false,
            inbound,
            end: Some(end),
            task: self.parts.tasks.spawn(session.run()),
        });
    }

    /// The peer opened a control stream: the answer to ours if we lead, the beginning of a session if it leads.
    pub(super) fn on_control_stream(&mut self, inbound: Inbound) {
        let (id, connection) = (inbound.peer, inbound.connection);
        if !self.leads(&id) {
            self.begin(id, connection, Part::Follows);
        }
        let Some(session) = self.peers.get_mut(&id).and_then(|peer| peer.session.as_mut()) else { return };
        if session.connection != connection {
            return;
        }
        if session.is_up {
            // The peer thinks that its first stream was lost: begin anew, so that nothing is lost unnoticed.
            session.end(&Fault::Replaced);
        } else {
            // Full means that the peer opens streams faster than it greets; they are dropped.
            let _ = session.inbound.try_send(inbound);
        }
    }

    pub(super) fn on_session_up(&mut self, id: PeerId, session: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(running) = peer.session.as_mut().filter(|running| running.id == session) else { return };
        running.is_up = true;
        peer.backoff.reset();
        if let Some(connection) = self.connections.get_mut(&running.connection) {
            connection.deadline = None;
        }
    }

    pub(super) fn on_session_down(&mut self, id: PeerId, session: u64, fault: &Fault) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(running) = peer.session.take_if(|running| running.id == session) else { return };
        match self.connections.get_mut(&running.connection) {
            // Whoever dialled us may be about to learn that we have admitted it; let it decide.
            Some(connection) if *fault == Fault::NotAdmitted && !connection.is_dialled => connection.is_refused = true,
            _ => self.hang_up(running.connection, fault),
        }
        self.departing.insert(id, running.task);
        // A dial that came due while the session lasted was passed over.
        if let Some(due) = self.peers.get(&id).map(|peer| peer.dial_at) {
            self.wake_at(due);
        }
        self.consider(id);
    }

    /// Ends the session on this connection, if there is one.
    pub(super) fn end_session_on(&mut self, id: &PeerId, connection: ConnectionId, fault: &Fault) {
        let session = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut());
        if let Some(session) = session.filter(|session| session.connection == connection) {
            session.end(fault);
        }
    }

    /// Ends the session on this connection if it hasn't both hellos yet.
    pub(super) fn end_unfinished_session_on(&mut self, id: &PeerId, connection: ConnectionId) {
        let session = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut());
        if let Some(session) = session.filter(|session| session.connection == connection && !session.is_up) {
            session.end(&Fault::Closed);
        }
    }
}
