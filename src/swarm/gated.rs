//! A behaviour that only members' connections see.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
        derive_prelude::Either,
        dummy,
    },
};

use super::members::Members;

/// Gives members' connections the inner behaviour's handler and all others a dummy, and lets the inner behaviour
/// believe that the others don't exist.
pub(super) struct Gated<B> {
    inner: B,
    members: Arc<Members>,
    /// The connections that have an inner handler.
    open: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<B: NetworkBehaviour> Gated<B> {
    pub(super) fn new(inner: B, members: Arc<Members>) -> Gated<B> {
        Gated { inner, members, open: HashMap::new() }
    }

    pub(super) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    fn is_open(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.open.get(peer).is_some_and(|open| open.contains(&connection))
    }

    /// How many connections of this peer remain besides `connection`.
    fn others(&self, peer: &PeerId, connection: ConnectionId) -> usize {
        self.open.get(peer).map_or(0, |open| open.iter().filter(|other| **other != connection).count())
    }

    fn forget(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(open) = self.open.get_mut(peer) {
            open.retain(|other| *other != connection);
            if open.is_empty() {
                self.open.remove(peer);
            }
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.members.contains(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let handler = self.inner.handle_established_inbound_connection(id, peer, local, remote)?;
        self.open.entry(peer).or_default().push(id);
        Ok(Either::Left(handler))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.members.contains(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let handler = self.inner.handle_established_outbound_connection(id, peer, address, role, port)?;
        self.open.entry(peer).or_default().push(id);
        Ok(Either::Left(handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                if self.is_open(&event.peer_id, event.connection_id) {
                    let other_established = self.others(&event.peer_id, event.connection_id);
                    let event = ConnectionEstablished { other_established, ..event };
                    self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                if self.is_open(&event.peer_id, event.connection_id) {
                    self.forget(&event.peer_id, event.connection_id);
                    let remaining_established = self.others(&event.peer_id, event.connection_id);
                    let event = ConnectionClosed { remaining_established, ..event };
                    self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
                }
            }
            FromSwarm::AddressChange(event) => {
                if self.is_open(&event.peer_id, event.connection_id) {
                    self.inner.on_swarm_event(FromSwarm::AddressChange(event));
                }
            }
            FromSwarm::ListenFailure(event) => {
                if let Some(peer) = event.peer_id {
                    self.forget(&peer, event.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::ListenFailure(event));
            }
            FromSwarm::DialFailure(event) => {
                if let Some(peer) = event.peer_id {
                    self.forget(&peer, event.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::DialFailure(event));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(event) => match event {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let command = std::task::ready!(self.inner.poll(cx));
            let ToSwarm::NotifyHandler { peer_id, handler, event } = command else {
                // A gated behaviour doesn't dial and doesn't decide about connections it can't see.
                let closes_all = matches!(
                    command,
                    ToSwarm::Dial { .. } | ToSwarm::CloseConnection { connection: CloseConnection::All, .. }
                );
                if closes_all {
                    continue;
                }
                return Poll::Ready(command.map_in(Either::Left));
            };
            // A dummy handler panics on an event for the inner one, so it must never get any.
            let connection = match handler {
                NotifyHandler::One(id) if self.is_open(&peer_id, id) => id,
                NotifyHandler::One(_) => continue,
                NotifyHandler::Any => match self.open.get(&peer_id).and_then(|open| open.last()) {
                    Some(id) => *id,
                    None => continue,
                },
            };
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event: Either::Left(event) });
        }
    }
}
