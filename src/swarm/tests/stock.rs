//! A node on stock libp2p: its own TLS upgrade and Yamux, no rules. It speaks the same wire, and tries everything.

use artimesh_core::model::{KeyPair, PublicKey};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder,
    swarm::{
        ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp,
};
use tokio::{sync::oneshot, time::timeout};

use super::{DEADLINE, key};
use crate::swarm::{
    identity,
    streams::{Accepted, BULK, CONTROL, Inbound, OpenFailure, PAIR, Streams},
};

pub(super) struct Stock {
    key: KeyPair,
    swarm: libp2p::Swarm<Streams>,
}

impl Stock {
    pub(super) fn new(seed: u8) -> Stock {
        Stock::with_key(key(seed))
    }

    pub(super) fn with_key(key: KeyPair) -> Stock {
        let accepted: Vec<Accepted> =
            [CONTROL, BULK, PAIR].into_iter().map(|protocol| Accepted { protocol, streams_max: 8 }).collect();
        let swarm = SwarmBuilder::with_existing_identity(identity::keypair(&key))
            .with_tokio()
            .with_tcp(tcp::Config::default(), libp2p::tls::Config::new, libp2p::yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Streams::new(Default::default(), Default::default(), Vec::new(), accepted))
            .unwrap()
            .build();
        Stock { key, swarm }
    }

    pub(super) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Listens, and says where.
    pub(super) async fn listen(&mut self) -> String {
        self.swarm.listen_on(super::ANY_PORT.parse().unwrap()).unwrap();
        self.until(|event| match event {
            SwarmEvent::NewListenAddr { address, .. } => Some(address.to_string()),
            _ => None,
        })
        .await
    }

    /// Dials; the connection, or nothing when it failed.
    pub(super) async fn dial(&mut self, peer: PublicKey, address: &str) -> Option<ConnectionId> {
        let address: Multiaddr = address.parse().unwrap();
        let options = DialOpts::peer_id(identity::peer_id(&peer).unwrap())
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let id = options.connection_id();
        self.swarm.dial(options).unwrap();
        self.until(|event| match event {
            SwarmEvent::ConnectionEstablished { connection_id, .. } if *connection_id == id => Some(Some(id)),
            SwarmEvent::OutgoingConnectionError { connection_id, .. } if *connection_id == id => Some(None),
            _ => None,
        })
        .await
    }

    /// Waits until a connection has ended.
    pub(super) async fn closed(&mut self, id: ConnectionId) {
        self.until(|event| match event {
            SwarmEvent::ConnectionClosed { connection_id, .. } if *connection_id == id => Some(()),
            _ => None,
        })
        .await;
    }

    /// Tries to open a stream.
    pub(super) async fn open(
        &mut self,
        peer: PublicKey,
        id: ConnectionId,
        protocol: StreamProtocol,
    ) -> Result<Stream, OpenFailure> {
        let (opened, mut answer) = oneshot::channel();
        let peer: PeerId = identity::peer_id(&peer).unwrap();
        self.swarm.behaviour_mut().open(peer, id, protocol, opened);
        let opening = async {
            loop {
                tokio::select! {
                    answer = &mut answer => return answer.unwrap_or(Err(OpenFailure::Unavailable)),
                    _ = self.swarm.select_next_some() => {}
                }
            }
        };
        timeout(DEADLINE, opening).await.unwrap()
    }

    /// The next stream that somebody opens.
    pub(super) async fn inbound(&mut self) -> Inbound {
        let next = async {
            loop {
                if let SwarmEvent::Behaviour(inbound) = self.swarm.select_next_some().await {
                    return inbound;
                }
            }
        };
        timeout(DEADLINE, next).await.unwrap()
    }

    async fn until<T>(&mut self, mut test: impl FnMut(&SwarmEvent<Inbound>) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = test(&self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, found).await.unwrap()
    }
}
