//! Sessions between members.

use std::time::Duration;

use artimesh_core::model::KeyPair;
use bytes::Bytes;
use futures::AsyncWriteExt;

use super::{Node, connected_pair, leader_and_follower, options, stock::Stock};
use crate::swarm::{
    Event, FRAME_BYTES_MAX, Fault, Member, Options, SendError,
    session::{introduce, welcome},
    streams::CONTROL,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_members_connect_by_one_address_and_exchange_frames_both_ways() {
    for reversed in [false, true] {
        let (leader, follower) = leader_and_follower();
        let (dialler, dialled) = if reversed { (follower, leader) } else { (leader, follower) };
        let mut one = Node::start(dialler, Options { listen: Vec::new(), ..options() }).await;
        let mut other = Node::start(dialled, Options { hello: b"other".to_vec(), ..options() }).await;
        one.swarm.set_members(vec![other.member()]).await;
        other.swarm.set_members(vec![one.unreachable_member()]).await;
        assert_eq!(one.connected(other.public()).await, b"other");
        assert_eq!(other.connected(one.public()).await, b"hello");
        assert_eq!(one.swarm.connected(), [other.public()]);

        one.swarm.send(&other.public(), Bytes::from_static(b"ping")).await.unwrap();
        assert_eq!(other.frame(one.public()).await, b"ping");
        let large = Bytes::from(vec![9; FRAME_BYTES_MAX]);
        other.swarm.send(&one.public(), large.clone()).await.unwrap();
        assert_eq!(one.frame(other.public()).await, large);
        assert_eq!(one.swarm.counters().frames_out.get(), 1);
        assert_eq!(one.swarm.counters().control_bytes_in.get(), FRAME_BYTES_MAX as u64);
        one.swarm.close().await;
        other.swarm.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_dials_give_one_session_each_and_lose_no_frame() {
    for round in 0..6 {
        let (mut one, mut other) = (Node::new(1).await, Node::new(2).await);
        let (as_one, as_other) = (one.member(), other.member());
        tokio::join!(one.swarm.set_members(vec![as_other]), other.swarm.set_members(vec![as_one]));
        one.connected(other.public()).await;
        other.connected(one.public()).await;
        for number in 0..100_u32 {
            let frame = Bytes::from(number.to_le_bytes().to_vec());
            one.swarm.send(&other.public(), frame.clone()).await.unwrap();
            other.swarm.send(&one.public(), frame).await.unwrap();
        }
        for number in 0..100_u32 {
            assert_eq!(one.frame(other.public()).await, number.to_le_bytes(), "round {round}");
            assert_eq!(other.frame(one.public()).await, number.to_le_bytes(), "round {round}");
        }
        assert_eq!((one.swarm.counters().sessions.get(), other.swarm.counters().sessions.get()), (1, 1));
        one.swarm.close().await;
        other.swarm.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_told_nothing_and_cut_off() {
    let (mut one, mut other) = connected_pair().await;
    one.swarm.set_members(Vec::new()).await;
    assert_eq!(one.disconnected(other.public()).await, Fault::Removed);
    assert_eq!(other.disconnected(one.public()).await, Fault::Closed);
    let gone = SendError::NotConnected { peer: other.public() };
    assert_eq!(one.swarm.send(&other.public(), Bytes::new()).await, Err(gone));
    assert!(one.swarm.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_added_again_gets_a_new_session() {
    let (mut one, mut other) = connected_pair().await;
    one.swarm.set_members(Vec::new()).await;
    one.disconnected(other.public()).await;
    other.disconnected(one.public()).await;
    one.swarm.set_members(vec![other.member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_on_one_side_only_gets_no_session_until_the_other_agrees() {
    let (mut one, mut other) = (Node::new(1).await, Node::new(2).await);
    one.swarm.set_members(vec![other.member()]).await;
    // A pairing request shows that the other side is there and still takes us for a stranger.
    let (whom, addresses) = (other.public(), other.member().control);
    let (asked, _) = tokio::join!(one.swarm.pair(whom, &addresses, b"?"), other.answer_pairing(b"!"));
    assert_eq!(asked.unwrap(), b"!");
    assert!(one.swarm.connected().is_empty());
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_with_the_same_key_and_port_is_connected_again() {
    let (mut one, other) = connected_pair().await;
    let addresses = other.swarm.addresses();
    other.swarm.close().await;
    assert_eq!(one.disconnected(other.public()).await, Fault::Closed);
    let again = Options { listen: addresses.control, bulk_listen: addresses.bulk, ..options() };
    let mut other = Node::start(other.key, again).await;
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;
    other.swarm.send(&one.public(), Bytes::from_static(b"back")).await.unwrap();
    assert_eq!(one.frame(other.public()).await, b"back");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_at_a_members_address_is_refused() {
    let (one, other) = (Node::new(1).await, Node::new(2).await);
    let claimed = KeyPair::from_secret(&[3; 32]).public();
    one.swarm.set_members(vec![Member { peer: claimed, ..other.member() }]).await;
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    let expected = Some(other.public());
    let found = async {
        loop {
            if let Some(Fault::WrongKey { found, .. }) = one.swarm.last_error(&claimed) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(super::DEADLINE, found).await.unwrap(), expected);
    assert!(one.swarm.connected().is_empty());
    assert!(one.swarm.counters().dial_failures.get() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_ends_the_session() {
    let (leader, follower) = leader_and_follower();
    let (mut evil, mut node) = (Stock::with_key(leader), Node::start(follower, options()).await);
    let member = Member { peer: evil.public(), control: Vec::new(), bulk: Vec::new() };
    node.swarm.set_members(vec![member]).await;
    let connection = evil.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut out = evil.open(node.public(), connection, CONTROL).await.unwrap();
    introduce(&mut out, b"I lead").await.unwrap();
    let mut inbound = evil.inbound().await;
    assert_eq!(welcome(&mut inbound.stream, 4096).await.unwrap(), &b"hello"[..]);
    assert_eq!(node.connected(evil.public()).await, b"I lead");
    let bytes = FRAME_BYTES_MAX + 1;
    out.write_all(&u32::try_from(bytes).unwrap().to_le_bytes()).await.unwrap();
    out.flush().await.unwrap();
    assert_eq!(node.disconnected(evil.public()).await, Fault::FrameTooLarge { bytes });
    evil.closed(connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_gives_no_sign_of_life_is_given_up() {
    let (leader, follower) = leader_and_follower();
    let options = Options { silence_max: Duration::from_millis(600), ..options() };
    // It has a session, and answers no ping.
    let (mut silent, mut node) = (Stock::with_key(leader), Node::start(follower, options.clone()).await);
    let mut alive = Node::start(super::key(3), options).await;
    let member = Member { peer: silent.public(), control: Vec::new(), bulk: Vec::new() };
    node.swarm.set_members(vec![member, alive.member()]).await;
    alive.swarm.set_members(vec![node.unreachable_member()]).await;
    node.connected(alive.public()).await;
    alive.connected(node.public()).await;
    let connection = silent.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut out = silent.open(node.public(), connection, CONTROL).await.unwrap();
    introduce(&mut out, b"still here").await.unwrap();
    welcome(&mut silent.inbound().await.stream, 4096).await.unwrap();
    node.connected(silent.public()).await;
    assert_eq!(node.disconnected(silent.public()).await, Fault::Silent);
    assert_eq!(node.swarm.last_error(&silent.public()), Some(Fault::Silent));
    assert_eq!(node.swarm.connected(), [alive.public()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_hello_gives_no_session() {
    let (leader, follower) = leader_and_follower();
    let (mut evil, node) = (Stock::with_key(leader), Node::start(follower, options()).await);
    let member = Member { peer: evil.public(), control: Vec::new(), bulk: Vec::new() };
    node.swarm.set_members(vec![member]).await;
    let connection = evil.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut out = evil.open(node.public(), connection, CONTROL).await.unwrap();
    assert!(introduce(&mut out, &[0; 4097]).await.is_err());
    evil.closed(connection).await;
    assert!(node.swarm.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_slows_the_sender_down_and_loses_nothing() {
    let mut slow = Node::start(super::key(1), Options { event_queue: 1, ..options() }).await;
    let mut fast = Node::new(2).await;
    slow.swarm.set_members(vec![fast.member()]).await;
    fast.swarm.set_members(vec![slow.unreachable_member()]).await;
    fast.connected(slow.public()).await;
    // Until the queues on the way are full: one event, windows, socket buffers and the outbox.
    let mut sent = 0_u32;
    loop {
        let mut frame = vec![0; 256 << 10];
        frame[..4].copy_from_slice(&sent.to_le_bytes());
        match fast.swarm.try_send(&slow.public(), Bytes::from(frame)) {
            Ok(()) => sent += 1,
            Err(SendError::Full { .. }) if fast.swarm.counters().frames_out.get() > 0 => break,
            Err(SendError::Full { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
    slow.connected(fast.public()).await;
    for number in 0..sent {
        assert_eq!(slow.frame(fast.public()).await[..4], number.to_le_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_hello_is_said_when_the_next_session_begins() {
    let (mut one, mut other) = connected_pair().await;
    one.swarm.set_hello(b"moved".to_vec()).unwrap();
    assert!(one.swarm.set_hello(vec![0; 4097]).is_err());
    other.swarm.set_members(Vec::new()).await;
    other.disconnected(one.public()).await;
    one.disconnected(other.public()).await;
    other.swarm.set_members(vec![one.member()]).await;
    assert_eq!(other.connected(one.public()).await, b"moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_swarm_says_nothing_more() {
    let (one, mut other) = connected_pair().await;
    one.swarm.close().await;
    let Node { swarm, mut events, .. } = one;
    drop(swarm);
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
    other.disconnected(one.key.public()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_no_address_or_is_taken_is_refused_at_the_start() {
    let key = super::key(1);
    let bad = Options { listen: vec!["127.0.0.1:80".to_owned()], ..options() };
    let error = crate::swarm::Swarm::start(&key, bad).await.err().unwrap();
    assert!(matches!(error, crate::swarm::StartError::BadAddress { .. }), "{error}");
    // Another swarm of ours, because libp2p's sockets would share the port.
    let first = Node::new(2).await;
    let busy = Options { listen: first.swarm.addresses().control, ..options() };
    let error = crate::swarm::Swarm::start(&key, busy).await.err().unwrap();
    assert!(matches!(error, crate::swarm::StartError::Listen { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_send_at_full_speed_at_once() {
    const FRAMES: u32 = 128;
    let (one, other) = connected_pair().await;
    let flood = |from: &Node, to: &Node| {
        let (swarm, to) = (from.swarm.clone(), to.public());
        tokio::spawn(async move {
            for number in 0..FRAMES {
                let mut frame = vec![0; 256 << 10];
                frame[..4].copy_from_slice(&number.to_le_bytes());
                swarm.send(&to, Bytes::from(frame)).await.unwrap();
            }
        })
    };
    let (forth, back) = (flood(&one, &other), flood(&other, &one));
    let drain = |mut node: Node, peer| async move {
        for number in 0..FRAMES {
            assert_eq!(node.frame(peer).await[..4], number.to_le_bytes());
        }
        node
    };
    let peers = (other.public(), one.public());
    let _both = tokio::join!(drain(one, peers.0), drain(other, peers.1));
    forth.await.unwrap();
    back.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn six_nodes_that_all_dial_each_other_have_one_session_for_each_pair() {
    let mut nodes = Vec::new();
    for seed in 1..=6 {
        nodes.push(Node::new(seed).await);
    }
    let members: Vec<Member> = nodes.iter().map(Node::member).collect();
    futures::future::join_all(nodes.iter().map(|node| node.swarm.set_members(members.clone()))).await;
    for node in &mut nodes {
        let mut met = Vec::new();
        while met.len() < members.len() - 1 {
            match node.event().await {
                Event::Connected { peer, .. } => met.push(peer),
                other => panic!("expected a session, got {other:?}"),
            }
        }
        met.sort_unstable();
        assert_eq!(met, node.swarm.connected());
    }
    for node in &nodes {
        assert_eq!(node.swarm.counters().sessions.get(), members.len() as u64 - 1);
    }
}
