//! What the loop is asked to do.

use artimesh_core::model::PublicKey;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, swarm::ConnectionId};
use tokio::sync::{mpsc, oneshot};

use crate::swarm::{
    error::PublishError,
    fault::Fault,
    streams::{OpenFailure, Opened},
};

/// Commands that wait for the loop, which never waits for those who send them.
pub(in crate::swarm) const COMMANDS_MAX: usize = 256;

/// A peer as one swarm sees it.
#[derive(Debug)]
pub(in crate::swarm) struct Contact {
    pub(in crate::swarm) peer: PeerId,
    pub(in crate::swarm) key: PublicKey,
    pub(in crate::swarm) addresses: Vec<Multiaddr>,
}

/// A request to the loop. Whoever waits for an answer learns from a dropped sender that the loop has ended.
pub(in crate::swarm) enum Command {
    /// These are the members now; others are disconnected.
    Members { contacts: Vec<Contact>, done: oneshot::Sender<()> },
    /// Open a stream; without a connection, on any that there is or comes about in time.
    Open { peer: PeerId, connection: Option<ConnectionId>, protocol: StreamProtocol, opened: Opened },
    /// Make a connection for pairing.
    Dial { peer: PeerId, addresses: Vec<Multiaddr>, dialled: oneshot::Sender<Result<ConnectionId, Fault>> },
    /// A pairing exchange is over; its connection isn't needed any more.
    Paired { connection: ConnectionId },
    /// The names of a member's addresses were looked up.
    Resolved { peer: PeerId, addresses: Vec<Multiaddr> },
    /// A member was met on the other swarm: dial it now, if it has to be dialled.
    Nudge { peer: PeerId },
    /// A member doesn't answer on the other swarm: end its connections here that don't either.
    Doubt { peer: PeerId },
    /// One connection with this member is the limit: make another, up to so many.
    Widen { peer: PeerId, connections_max: usize },
    /// A session has both hellos.
    SessionUp { peer: PeerId, session: u64 },
    /// A session has ended.
    SessionDown { peer: PeerId, session: u64, fault: Fault },
    /// Listen to a topic.
    Subscribe { topic: [u8; 32], done: oneshot::Sender<()> },
    /// Stop listening to a topic.
    Unsubscribe { topic: [u8; 32], done: oneshot::Sender<()> },
    /// Publish a message.
    Publish { topic: [u8; 32], data: Vec<u8>, done: oneshot::Sender<Result<(), PublishError>> },
}

/// The way to a loop.
#[derive(Clone)]
pub(in crate::swarm) struct Remote(mpsc::Sender<Command>);

impl Remote {
    pub(in crate::swarm) fn new() -> (Remote, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
        (Remote(sender), receiver)
    }

    /// Sends a command; a loop that has ended doesn't need it.
    pub(in crate::swarm) async fn tell(&self, command: Command) {
        let _ = self.0.send(command).await;
    }

    /// Sends a command and waits for its answer; `None` when the loop has ended.
    pub(in crate::swarm) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.tell(command(sender)).await;
        receiver.await.ok()
    }

    /// Opens a stream.
    pub(in crate::swarm) async fn open(
        &self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: StreamProtocol,
    ) -> Result<Stream, OpenFailure> {
        self.ask(|opened| Command::Open { peer, connection, protocol, opened })
            .await
            .unwrap_or(Err(OpenFailure::Unavailable))
    }
}
