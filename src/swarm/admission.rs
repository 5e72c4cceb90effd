//! How many may connect, before and after they have proved their key.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

use super::{counters::Counters, identity, members::Members, options::Limits};

/// Connections of one member at once on one swarm. Two is what simultaneous dials make, up to four are made for bulk at a
/// distance, more is for slow deaths.
const MEMBER_CONNECTIONS_MAX: usize = 8;

/// What a swarm does with those who aren't members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// They may connect, few at a time.
    Limited,
    /// They are refused.
    Denied,
}

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("too many handshakes")]
    Handshakes,
    #[error("not a member")]
    NotMember,
    #[error("too many strangers")]
    Strangers,
    #[error("too many connections of this member")]
    MemberConnections,
    #[error("not an Ed25519 key")]
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Handshake(Option<IpAddr>),
    Stranger(Option<IpAddr>),
    Member(PeerId),
}

/// Counts connections by what they have proved.
pub(super) struct Admission {
    members: Arc<Members>,
    counters: Arc<Counters>,
    limits: Limits,
    strangers: Strangers,
    holders: HashMap<ConnectionId, Holder>,
}

impl Admission {
    pub(super) fn new(
        members: Arc<Members>,
        counters: Arc<Counters>,
        limits: Limits,
        strangers: Strangers,
    ) -> Admission {
        Admission { members, counters, limits, strangers, holders: HashMap::new() }
    }

    fn count(&self, test: impl Fn(&Holder) -> bool) -> usize {
        self.holders.values().filter(|holder| test(holder)).count()
    }

    fn refuse(&self, refusal: Refusal) -> ConnectionDenied {
        match refusal {
            Refusal::Handshakes => self.counters.handshake_refusals.increment(),
            _ => self.counters.stranger_refusals.increment(),
        }
        ConnectionDenied::new(refusal)
    }

    /// `ip` is that of an inbound connection; whom we dial ourselves isn't counted as a stranger.
    fn admit(&mut self, id: ConnectionId, peer: PeerId, inbound: Option<Option<IpAddr>>) -> Result<(), Refusal> {
        self.holders.remove(&id);
        if identity::public_key(&peer).is_none() {
            return Err(Refusal::Key);
        }
        if self.members.contains(&peer) {
            if self.count(|holder| *holder == Holder::Member(peer)) >= MEMBER_CONNECTIONS_MAX {
                return Err(Refusal::MemberConnections);
            }
            self.holders.insert(id, Holder::Member(peer));
            return Ok(());
        }
        if self.strangers == Strangers::Denied {
            return Err(Refusal::NotMember);
        }
        if let Some(ip) = inbound {
            let total = self.count(|holder| matches!(holder, Holder::Stranger(_)));
            let from_here = self.count(|holder| *holder == Holder::Stranger(ip));
            if total >= self.limits.strangers_max || from_here >= self.limits.strangers_per_ip_max {
                return Err(Refusal::Strangers);
            }
            self.holders.insert(id, Holder::Stranger(ip));
        }
        Ok(())
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let ip = ip(remote);
        let total = self.count(|holder| matches!(holder, Holder::Handshake(_)));
        let from_here = self.count(|holder| *holder == Holder::Handshake(ip));
        if total >= self.limits.handshakes_max || from_here >= self.limits.handshakes_per_ip_max {
            return Err(self.refuse(Refusal::Handshakes));
        }
        self.holders.insert(id, Holder::Handshake(ip));
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, Some(ip(remote))).map_err(|refusal| self.refuse(refusal))?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, None).map_err(|refusal| self.refuse(refusal))?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let over = match event {
            FromSwarm::ConnectionClosed(closed) => closed.connection_id,
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            _ => return,
        };
        self.holders.remove(&over);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
