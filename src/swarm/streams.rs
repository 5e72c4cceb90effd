//! Streams by connection: which protocols a peer may open, and how many streams of each at once.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{counters::Counters, members::Members};

/// The protocol of control streams.
pub(super) const CONTROL: StreamProtocol = StreamProtocol::new("/artimesh/control/1");
/// The protocol of bulk streams.
pub(super) const BULK: StreamProtocol = StreamProtocol::new("/artimesh/bulk/1");
/// The protocol of pairing.
pub(super) const PAIR: StreamProtocol = StreamProtocol::new("/artimesh/pair/1");

/// Streams that may wait to be opened on one connection.
const OPENING_MAX: usize = 64;

/// A protocol that is accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) protocol: StreamProtocol,
    /// Streams at once on one connection; a permit goes with each.
    pub(super) streams_max: usize,
}

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFailure {
    /// The peer doesn't speak the protocol (to us).
    Unsupported,
    /// The connection ended, is overloaded, or there is none.
    Unavailable,
}

/// Gets the stream or learns why not; dropped when the connection ends first.
pub(super) type Opened = oneshot::Sender<Result<Stream, OpenFailure>>;

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    pub(super) protocol: StreamProtocol,
    pub(super) stream: Stream,
    /// Held as long as the stream counts.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Offers protocols by role and hands streams over.
pub(super) struct Streams {
    members: Arc<Members>,
    counters: Arc<Counters>,
    for_members: Vec<Accepted>,
    for_strangers: Vec<Accepted>,
    queue: VecDeque<ToSwarm<Inbound, Open>>,
    waker: Option<Waker>,
}

impl Streams {
    pub(super) fn new(
        members: Arc<Members>,
        counters: Arc<Counters>,
        for_members: Vec<Accepted>,
        for_strangers: Vec<Accepted>,
    ) -> Streams {
        Streams { members, counters, for_members, for_strangers, queue: VecDeque::new(), waker: None }
    }

    /// Asks for a stream on one connection.
    pub(super) fn open(&mut self, peer: PeerId, id: ConnectionId, protocol: StreamProtocol, opened: Opened) {
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(id),
            event: Open { protocol, opened },
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        let accepted = if self.members.contains(&peer) { &self.for_members } else { &self.for_strangers };
        let accepted = accepted
            .iter()
            .map(|accepted| (accepted.protocol.clone(), Arc::new(Semaphore::new(accepted.streams_max))))
            .collect();
        Handler { accepted, opening: VecDeque::new(), arrived: VecDeque::new(), counters: self.counters.clone() }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        let Arrived { protocol, stream, permit } = event;
        self.queue.push_back(ToSwarm::GenerateEvent(Inbound { peer, connection: id, protocol, stream, permit }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Inbound, THandlerInEvent<Self>>> {
        if let Some(event) = self.queue.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A request to a connection's handler.
#[derive(Debug)]
pub(super) struct Open {
    protocol: StreamProtocol,
    opened: Opened,
}

/// A stream as its handler passes it on.
#[derive(Debug)]
pub(super) struct Arrived {
    protocol: StreamProtocol,
    stream: Stream,
    permit: OwnedSemaphorePermit,
}

/// One connection's streams.
pub(super) struct Handler {
    accepted: Vec<(StreamProtocol, Arc<Semaphore>)>,
    opening: VecDeque<Open>,
    arrived: VecDeque<Arrived>,
    counters: Arc<Counters>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Arrived;
    type InboundProtocol = Speak;
    type OutboundProtocol = Speak;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Speak> {
        SubstreamProtocol::new(Speak(self.accepted.iter().map(|(protocol, _)| protocol.clone()).collect()), ())
    }

    /// Connections end by decision, never for being idle.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: Open) {
        if self.opening.len() < OPENING_MAX {
            self.opening.push_back(event);
        } else {
            let _ = event.opened.send(Err(OpenFailure::Unavailable));
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Speak, Opened, Arrived>> {
        if let Some(arrived) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(arrived));
        }
        if let Some(Open { protocol, opened }) = self.opening.pop_front() {
            let protocol = SubstreamProtocol::new(Speak(vec![protocol]), opened);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // libp2p polls the handler again after each of the calls that fill these queues.
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Speak, Speak, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream), ..
            }) => {
                let slots = self.accepted.iter().find(|(accepted, _)| *accepted == protocol).map(|(_, slots)| slots);
                match slots.and_then(|slots| slots.clone().try_acquire_owned().ok()) {
                    Some(permit) => self.arrived.push_back(Arrived { protocol, stream, permit }),
                    // Dropped: the peer sees the end of a stream that was never acknowledged.
                    None => self.counters.stream_refusals.increment(),
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (_, stream), info }) => {
                let _ = info.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let failure = match error {
                    StreamUpgradeError::NegotiationFailed => OpenFailure::Unsupported,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => OpenFailure::Unavailable,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.send(Err(failure));
            }
            _ => {}
        }
    }
}

/// Agrees on one of the protocols and yields the bare stream.
#[derive(Clone, Debug)]
pub(super) struct Speak(Vec<StreamProtocol>);

impl UpgradeInfo for Speak {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Speak {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Speak {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
