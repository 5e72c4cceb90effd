//! A member that lies: it has another's key and speaks the bulk protocol; its bytes are wrong, or it hasn't what it says.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artimesh::store::groups;
use artimesh::swarm::{BulkStream, Event, Member, Options, Swarm};
use artimesh_core::model::{ArtifactPath, Digest, Envelope, KeyPair, PublicKey, Space, codec, parse_hex};
use bytes::Bytes;

use crate::harness::Node;

const GROUP: usize = groups::GROUP_BYTES;

type Reference = (Space, ArtifactPath, Digest);

fn key(folder: &Path) -> KeyPair {
    let text = std::fs::read_to_string(folder.join("keys/transport.key")).expect("a key file");
    KeyPair::from_secret(&parse_hex(text.trim()).expect("64 digits"))
}

fn member(node: &Node) -> (PublicKey, Member) {
    let peer = key(&node.folder).public();
    let [control, bulk] = [8083, 8084].map(|port| vec![listen(node.address, port)]);
    (peer, Member { peer, control, bulk })
}

fn listen(address: Ipv4Addr, port: u16) -> String {
    format!("/ip4/{address}/tcp/{port}")
}

/// What about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It flips a bit in each group.
    Bytes,
    /// It says that it has all groups but the last, and gives none.
    Possession,
}

/// Runs until it is dropped.
pub struct Liar {
    _swarm: Swarm,
    /// Requests for groups that it lied about.
    pub lies: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Liar {
    /// Takes the place of a node that doesn't run, towards `victim`, and lies about `content`.
    pub async fn start(place: &Node, victim: &Node, content: Arc<Vec<u8>>, lie: Lie) -> Liar {
        let options = Options {
            listen: vec![listen(place.address, 8083)],
            bulk_listen: vec![listen(place.address, 8084)],
            hello: b"who knows".to_vec(),
            ..Options::default()
        };
        let (swarm, mut events) = Swarm::start(&key(&place.folder), options).await.expect("the ports are free");
        swarm.set_members(vec![member(victim).1]).await;
        let lies = Arc::new(AtomicU64::new(0));
        let told = lies.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Bulk { stream, .. } = event {
                    tokio::spawn(serve(stream, content.clone(), told.clone(), lie));
                }
            }
        });
        Liar { _swarm: swarm, lies, task }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(kind: u16, body: &[u8]) -> Bytes {
    Envelope { kind, body: body.to_vec() }.to_bytes().into()
}

async fn serve(mut stream: BulkStream, content: Arc<Vec<u8>>, lies: Arc<AtomicU64>, lie: Lie) {
    while let Ok(Some(frame)) = stream.recv().await {
        let request = Envelope::read_all(&frame, 1).expect("an envelope").pop().expect("one");
        let answers = match request.kind {
            2 => vec![answer(3, &values(&content).concat())],
            3 => {
                let asked: (Reference, u32, u32) = codec::decode(&request.body).expect("groups");
                lies.fetch_add(1, Ordering::SeqCst);
                match lie {
                    Lie::Bytes => {
                        (asked.1..asked.1 + asked.2).map(|index| answer(4, &wrong(&content, index))).collect()
                    }
                    Lie::Possession => vec![answer(1, &[])],
                }
            }
            4 if lie == Lie::Possession => vec![answer(5, &all_but_the_last(&content))],
            // As a node of an older release answers what it doesn't know.
            _ => vec![answer(1, &[])],
        };
        for answer in answers {
            if stream.send(answer).await.is_err() {
                return;
            }
        }
        if stream.flush().await.is_err() {
            return;
        }
    }
}

fn values(content: &[u8]) -> Vec<[u8; 32]> {
    (0..).zip(content.chunks(GROUP)).map(|(index, group)| groups::chaining_value(index, [group])).collect()
}

fn all_but_the_last(content: &[u8]) -> Vec<u8> {
    let count = content.len().div_ceil(GROUP);
    let mut bits = vec![0; count.div_ceil(8)];
    (0..count - 1).for_each(|index| bits[index / 8] |= 1 << (index % 8));
    bits
}

fn wrong(content: &[u8], index: u32) -> Vec<u8> {
    let mut group = content.chunks(GROUP).nth(index as usize).expect("a group").to_vec();
    group[77] ^= 1;
    group
}
