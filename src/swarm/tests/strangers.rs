//! What those who aren't members can do: pair, and nothing else.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::StreamProtocol;

use super::{Node, key, options, stock::Stock};
use crate::swarm::{
    Limits, Options, frame,
    streams::{BULK, CONTROL, OpenFailure, PAIR},
};

async fn node(limits: Limits) -> Node {
    Node::start(key(1), Options { limits, ..options() }).await
}

fn roomy() -> Limits {
    Limits { strangers_per_ip_max: 8, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_offered_the_pairing_protocol_and_nothing_else() {
    let (mut stranger, node) = (Stock::new(3), node(roomy()).await);
    let connection = stranger.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let others = [
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/ping/1.0.0",
        "/meshsub/1.0.0",
        "/meshsub/1.1.0",
        "/meshsub/1.2.0",
        "/meshsub/1.3.0",
        "/floodsub/1.0.0",
        "/artimesh/pair/2",
        "/artimesh/control/2",
    ];
    for protocol in [CONTROL, BULK].into_iter().chain(others.map(StreamProtocol::new)) {
        let refused = stranger.open(node.public(), connection, protocol.clone()).await;
        assert_eq!(refused.map(drop), Err(OpenFailure::Unsupported), "{protocol}");
    }
    stranger.open(node.public(), connection, PAIR).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_one_exchange_for_each_connection() {
    let (mut stranger, mut node) = (Stock::new(3), node(roomy()).await);
    let connection = stranger.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut stream = stranger.open(node.public(), connection, PAIR).await.unwrap();
    frame::write(&mut stream, b"let me in").await.unwrap();
    stream.flush().await.unwrap();
    let asked = node.answer_pairing(b"no").await;
    assert_eq!(asked, (stranger.public(), b"let me in".to_vec()));
    assert_eq!(frame::read(&mut stream, 16).await.unwrap(), &b"no"[..]);
    assert!(matches!(frame::read(&mut stream, 16).await, Err(frame::FrameError::Ended)));

    let mut second = stranger.open(node.public(), connection, PAIR).await.unwrap();
    let _ = second.write_all(b"\x01\0\0\0x").await;
    let mut answer = Vec::new();
    let _ = second.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    assert_eq!(node.swarm.counters().pairings.get(), 1);
    assert!(node.swarm.counters().stream_refusals.get() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_sends_more_than_its_budget_is_cut_off() {
    let (mut stranger, node) = (Stock::new(3), node(roomy()).await);
    let connection = stranger.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut stream = stranger.open(node.public(), connection, PAIR).await.unwrap();
    // The frame is short enough, so it is the connection that has to end.
    let _ = stream.write_all(&1_u32.to_le_bytes()).await;
    let _ = stream.write_all(&vec![0; 200 << 10]).await;
    let _ = stream.flush().await;
    stranger.closed(connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_pairing_request_is_not_answered() {
    let (mut stranger, node) = (Stock::new(3), node(roomy()).await);
    let connection = stranger.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut stream = stranger.open(node.public(), connection, PAIR).await.unwrap();
    stream.write_all(&((16_u32 << 10) + 1).to_le_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_connection_ends_by_itself() {
    let limits = Limits { stranger_lifetime: Duration::from_millis(200), ..roomy() };
    let (mut stranger, node) = (Stock::new(3), node(limits).await);
    let connection = stranger.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    stranger.closed(connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_few_from_one_address_and_members_do_not_count() {
    let mut node = node(Limits::default()).await;
    let address = node.swarm.addresses().control[0].clone();
    let mut admitted = Vec::new();
    for seed in 10..12 {
        let mut stranger = Stock::new(seed);
        let connection = stranger.dial(node.public(), &address).await.unwrap();
        let _stream = stranger.open(node.public(), connection, PAIR).await.unwrap();
        admitted.push((stranger, connection));
    }
    let mut third = Stock::new(12);
    if let Some(connection) = third.dial(node.public(), &address).await {
        let refused = third.open(node.public(), connection, PAIR).await;
        assert_eq!(refused.map(drop), Err(OpenFailure::Unavailable));
    }
    assert_eq!(node.swarm.counters().stranger_refusals.get(), 1);

    let mut member = Node::new(2).await;
    node.swarm.set_members(vec![member.unreachable_member()]).await;
    member.swarm.set_members(vec![node.member()]).await;
    node.connected(member.public()).await;
    member.connected(node.public()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_that_dials_again_is_a_stranger_that_may_pair() {
    let (mut removed, mut node) = (Node::new(2).await, node(roomy()).await);
    removed.swarm.set_members(vec![node.member()]).await;
    node.swarm.set_members(vec![removed.unreachable_member()]).await;
    removed.connected(node.public()).await;
    node.connected(removed.public()).await;
    node.swarm.set_members(Vec::new()).await;
    node.disconnected(removed.public()).await;
    removed.disconnected(node.public()).await;
    let (whom, addresses) = (node.public(), node.swarm.addresses().control);
    let (answer, asked) = tokio::join!(removed.swarm.pair(whom, &addresses, b"again"), node.answer_pairing(b"no"));
    assert_eq!((answer.unwrap(), asked.0), (b"no".to_vec(), removed.public()));
    assert!(node.swarm.connected().is_empty() && removed.swarm.connected().is_empty());
}
