//! Two and more swarms on loopback, and a stock libp2p node as the stranger among them.

mod bulk;
mod cuts;
mod gossip;
mod pairing;
mod sessions;
mod stock;
mod strangers;

use std::time::Duration;

use artimesh_core::model::{KeyPair, PublicKey};
use tokio::{sync::mpsc, time::timeout};

use super::{Event, Fault, Member, Options, Swarm};

/// Long enough for the busiest machine; no test waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);

const ANY_PORT: &str = "/ip4/127.0.0.1/tcp/0";

/// A swarm and what it tells.
struct Node {
    key: KeyPair,
    swarm: Swarm,
    events: mpsc::Receiver<Event>,
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_secret(&[seed; 32])
}

/// Two key pairs, the leading one first.
fn leader_and_follower() -> (KeyPair, KeyPair) {
    let (one, other) = (key(1), key(2));
    if one.public() < other.public() { (one, other) } else { (other, one) }
}

fn options() -> Options {
    Options {
        listen: vec![ANY_PORT.to_owned()],
        bulk_listen: vec![ANY_PORT.to_owned()],
        hello: b"hello".to_vec(),
        ..Options::default()
    }
}

impl Node {
    async fn start(key: KeyPair, options: Options) -> Node {
        let (swarm, events) = Swarm::start(&key, options).await.unwrap();
        Node { key, swarm, events }
    }

    async fn new(seed: u8) -> Node {
        Node::start(key(seed), options()).await
    }

    fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// This node as a member that others can dial.
    fn member(&self) -> Member {
        let addresses = self.swarm.addresses();
        Member { peer: self.public(), control: addresses.control, bulk: addresses.bulk }
    }

    /// This node as a member that dials others.
    fn unreachable_member(&self) -> Member {
        Member { peer: self.public(), control: Vec::new(), bulk: Vec::new() }
    }

    async fn event(&mut self) -> Event {
        timeout(DEADLINE, self.events.recv()).await.expect("an event in time").expect("a running swarm")
    }

    /// The next event, which must be that a session with `peer` began; its hello.
    async fn connected(&mut self, peer: PublicKey) -> Vec<u8> {
        match self.event().await {
            Event::Connected { peer: found, hello } if found == peer => hello,
            other => panic!("expected a session with {peer:?}, got {other:?}"),
        }
    }

    /// The next event, which must be that the session with `peer` ended; why.
    async fn disconnected(&mut self, peer: PublicKey) -> Fault {
        match self.event().await {
            Event::Disconnected { peer: found, reason } if found == peer => reason,
            other => panic!("expected the end of a session with {peer:?}, got {other:?}"),
        }
    }

    /// The next event, which must be a frame of `peer`.
    async fn frame(&mut self, peer: PublicKey) -> Vec<u8> {
        match self.event().await {
            Event::Frame { peer: found, bytes } if found == peer => bytes.to_vec(),
            other => panic!("expected a frame of {peer:?}, got {other:?}"),
        }
    }

    /// The next event, which must be a pairing request; answers it.
    async fn answer_pairing(&mut self, answer: &[u8]) -> (PublicKey, Vec<u8>) {
        match self.event().await {
            Event::Pairing { peer, request, reply, remote_address } => {
                assert!(remote_address.starts_with("/ip4/127.0.0.1/tcp/"), "{remote_address}");
                // Whoever asked may be gone.
                let _ = reply.send(answer.to_vec());
                (peer, request)
            }
            other => panic!("expected a pairing request, got {other:?}"),
        }
    }
}

/// Two nodes with a session.
async fn connected_pair() -> (Node, Node) {
    let (mut one, mut other) = (Node::new(1).await, Node::new(2).await);
    one.swarm.set_members(vec![other.member()]).await;
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;
    (one, other)
}
