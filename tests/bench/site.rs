//! A node's mind with its rows, driven by hand: what the engine does, without its tasks.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, KeyPair, NodeId, Space};
use artimesh_core::replica::message::{FEATURES, PROTOCOL};
use artimesh_core::replica::{AcceptPolicy, Command, Hello, Identity, Input, Output, Receipt, Replica, Waking};
use artimesh_core::trust::{Addresses, NodeKeys};

use super::rows::Rows;

pub struct Site {
    pub identity: Identity,
    pub transport: KeyPair,
    pub pairing_key: KeyPair,
    pub replica: Replica,
    pub rows: Rows,
}

fn key(name: &str, purpose: &str) -> KeyPair {
    KeyPair::from_secret(&Digest::derived(purpose, name.as_bytes()).0)
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(since.as_millis() as u64)
}

impl Site {
    pub async fn new(name: &str, mut rows: Rows) -> Site {
        let (log_key, pairing_key) = (key(name, "bench/log"), key(name, "bench/pairing"));
        let transport = key(name, "bench/transport");
        let keys = NodeKeys { log: log_key.public(), transport: transport.public(), pairing: pairing_key.public() };
        let name = name.parse().expect("a fine name");
        let identity = Identity { node: NodeId::of(&keys.log), name, log_key, keys };
        let waking = Waking {
            accept: AcceptPolicy::Any,
            placement: None,
            fresh: 1,
            features: FEATURES,
            retention: Default::default(),
            asks_first: false,
        };
        let (replica, outputs) = Replica::load(&rows, identity.clone(), waking).expect("no rows are no fault");
        for output in outputs {
            if let Output::Persist(written) = output {
                rows.persist(written).await;
            }
        }
        Site { identity, transport, pairing_key, replica, rows }
    }

    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    pub fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            features: FEATURES,
            circle: self.replica.circle().expect("in a circle"),
            incarnation: self.replica.incarnation(),
            wall: now(),
            addresses: Addresses::default(),
            version: "bench".into(),
        }
    }

    /// Handles an input and all that follows from it here; persists, and gives the frames to send.
    pub async fn handle(&mut self, input: Input) -> Vec<(NodeId, Vec<u8>)> {
        let (mut frames, mut next) = (Vec::new(), Some(input));
        while let Some(input) = next.take() {
            for output in self.replica.handle(now(), &self.rows, input).expect("rows can be read") {
                match output {
                    Output::Persist(rows) => self.rows.persist(rows).await,
                    Output::Send(to, frame) => frames.push((to, frame)),
                    Output::Continue => next = Some(Input::Continue),
                    Output::Reply(_, Err(refusal)) => panic!("{refusal}"),
                    _ => {}
                }
            }
        }
        frames
    }

    /// One command, to its receipt.
    pub async fn ask(&mut self, command: Command) -> Receipt {
        let outputs = self.replica.handle(now(), &self.rows, Input::Local(vec![(0, command)]));
        let mut receipt = None;
        for output in outputs.expect("rows can be read") {
            match output {
                Output::Persist(rows) => self.rows.persist(rows).await,
                Output::Reply(_, reply) => receipt = Some(reply.expect("nothing is refused here")),
                _ => {}
            }
        }
        receipt.expect("every command has a reply")
    }

    /// The state digest of a space, once it is settled.
    pub async fn digest(&mut self, space: &Space) -> Digest {
        loop {
            if let Some(digest) = self.replica.digest(space) {
                return digest;
            }
            self.handle(Input::Tick { dice: 0, round: false }).await;
        }
    }
}
