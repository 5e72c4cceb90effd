//! Bulk streams.

use bytes::Bytes;
use futures::AsyncWriteExt;
use tokio::time::timeout;

use super::{DEADLINE, Node, connected_pair, stock::Stock};
use crate::swarm::{
    BulkError, BulkStream, Event, Member, OpenError,
    streams::{BULK, CONTROL, OpenFailure, PAIR},
};

const MEGABYTE: usize = 1 << 20;

async fn accepted(node: &mut Node) -> BulkStream {
    match node.event().await {
        Event::Bulk { stream, .. } => stream,
        other => panic!("expected a bulk stream, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_megabytes_arrive_as_they_were_sent_in_either_direction() {
    let (one, other) = connected_pair().await;
    // The connection was made by one side only; streams are opened by both.
    let (mut client, mut server) = (one, other);
    for _ in 0..2 {
        let asked = client.swarm.clone();
        let whom = server.public();
        let receiving = tokio::spawn(async move {
            let mut stream = asked.open_bulk(&whom).await.unwrap();
            stream.send(Bytes::from_static(b"64 please")).await.unwrap();
            stream.finish().await.unwrap();
            let mut hash = blake3::Hasher::new();
            let mut bytes = 0;
            while let Some(group) = stream.recv().await.unwrap() {
                bytes += group.len();
                hash.update(&group);
            }
            (bytes, hash.finalize())
        });
        let mut stream = accepted(&mut server).await;
        assert_eq!(stream.recv().await.unwrap().unwrap(), &b"64 please"[..]);
        assert!(stream.recv().await.unwrap().is_none());
        let mut hash = blake3::Hasher::new();
        for number in 0..64_u8 {
            let group = Bytes::from(vec![number; MEGABYTE]);
            hash.update(&group);
            stream.send(group).await.unwrap();
        }
        stream.finish().await.unwrap();
        assert_eq!(receiving.await.unwrap(), (64 * MEGABYTE, hash.finalize()));
        std::mem::swap(&mut client, &mut server);
    }
    assert!(client.swarm.counters().bulk_bytes_in.get() >= 64 * MEGABYTE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_cut_off_while_a_bulk_stream_runs() {
    let (one, mut other) = connected_pair().await;
    let (swarm, whom) = (one.swarm.clone(), other.public());
    let sending = tokio::spawn(async move {
        let mut stream = swarm.open_bulk(&whom).await.unwrap();
        loop {
            if let Err(error) = stream.send(Bytes::from(vec![0; MEGABYTE])).await {
                return error;
            }
        }
    });
    let mut stream = accepted(&mut other).await;
    stream.recv().await.unwrap().unwrap();
    one.swarm.set_members(Vec::new()).await;
    assert!(matches!(timeout(DEADLINE, sending).await.unwrap().unwrap(), BulkError::CutOff));
    // What had arrived may still be read; then it is over, and in the middle.
    let end = async { while stream.recv().await.is_ok_and(|frame| frame.is_some()) {} };
    timeout(DEADLINE, end).await.unwrap();
    let refused = one.swarm.open_bulk(&other.public()).await.unwrap_err();
    assert_eq!(refused, OpenError::NotMember { peer: other.public() });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bulk_swarm_offers_a_stranger_nothing() {
    let (mut stranger, node) = (Stock::new(3), Node::new(1).await);
    let address = node.swarm.addresses().bulk[0].clone();
    // The stranger's handshake may end before it learns that it is refused.
    if let Some(connection) = stranger.dial(node.public(), &address).await {
        for protocol in [BULK, CONTROL, PAIR] {
            let refused = stranger.open(node.public(), connection, protocol).await;
            assert_eq!(refused.map(drop), Err(OpenFailure::Unavailable));
        }
    }
    assert!(node.swarm.counters().stranger_refusals.get() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_sixteen_streams_and_another_when_one_is_dropped() {
    let (one, mut other) = connected_pair().await;
    let (mut held, whom) = (Vec::new(), other.public());
    for _ in 0..16 {
        let (opened, stream) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
        held.push((opened.unwrap(), stream));
    }
    let refused = one.swarm.open_bulk(&other.public()).await.unwrap_err();
    assert_eq!(refused, OpenError::Refused { peer: other.public() });
    assert!(other.swarm.counters().stream_refusals.get() >= 1);
    held.pop();
    let (opened, _stream) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
    opened.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_bulk_frame_is_refused_by_both_ends() {
    let (mut evil, mut node) = (Stock::new(3), Node::new(1).await);
    let member = Member { peer: evil.public(), control: Vec::new(), bulk: Vec::new() };
    node.swarm.set_members(vec![member]).await;
    let connection = evil.dial(node.public(), &node.swarm.addresses().bulk[0]).await.unwrap();
    let mut out = evil.open(node.public(), connection, BULK).await.unwrap();
    crate::swarm::session::introduce(&mut out, &[1]).await.unwrap();
    let mut stream = accepted(&mut node).await;
    out.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    out.flush().await.unwrap();
    assert!(matches!(stream.recv().await, Err(BulkError::TooLarge { .. })));
    let oversized = Bytes::from(vec![0; crate::swarm::FRAME_BYTES_MAX + 1]);
    assert!(matches!(stream.send(oversized).await, Err(BulkError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_up_to_four_connections_and_new_streams_go_to_the_least_used() {
    let (one, mut other) = connected_pair().await;
    let whom = other.public();
    let mut held = Vec::new();
    let (opened, stream) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
    held.push((opened.unwrap(), stream));
    let count = || one.swarm.vitals(&whom).unwrap().bulk_connections();
    let grown = async {
        while count() < 4 {
            one.swarm.widen_bulk(&whom, 9).await;
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, grown).await.unwrap();
    // Sixteen streams fit on one connection: more than that shows that they are spread.
    for _ in 1..64 {
        let (opened, stream) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
        held.push((opened.unwrap(), stream));
    }
    one.swarm.widen_bulk(&whom, 9).await;
    assert_eq!(one.swarm.open_bulk(&whom).await.unwrap_err(), OpenError::Refused { peer: whom });
    assert_eq!(count(), 4, "and no fifth");
    // Who can't be dialled isn't: the other side has to.
    other.swarm.widen_bulk(&one.public(), 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_out_while_answers_come_in_and_all_bytes_are_counted() {
    let (one, mut other) = connected_pair().await;
    let whom = other.public();
    let (opened, mut serving) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
    let served = tokio::spawn(async move {
        while let Some(request) = serving.recv().await.unwrap() {
            // Small frames are joined, large ones aren't.
            serving.send(request).await.unwrap();
            serving.send(Bytes::from(vec![7; MEGABYTE])).await.unwrap();
            serving.flush().await.unwrap();
        }
    });
    let (mut sender, mut receiver) = opened.unwrap().split();
    let asking = async move {
        for number in 0..40_u8 {
            sender.send(Bytes::from(vec![number; 100])).await.unwrap();
        }
        sender.finish().await.unwrap();
    };
    let reading = async {
        for number in 0..40_u8 {
            assert_eq!(receiver.recv_unless_idle(DEADLINE).await.unwrap().unwrap(), vec![number; 100]);
            assert_eq!(receiver.recv_unless_idle(DEADLINE).await.unwrap().unwrap().len(), MEGABYTE);
        }
    };
    tokio::join!(asking, reading);
    served.await.unwrap();
    let (asker, server) = (one.swarm.vitals(&whom).unwrap(), other.swarm.vitals(&one.public()).unwrap());
    assert_eq!(asker.bulk_bytes_in.get(), server.bulk_bytes_out.get());
    assert!(asker.bulk_bytes_in.get() > 40 * MEGABYTE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_which_nothing_comes_is_given_up() {
    let (one, mut other) = connected_pair().await;
    let whom = other.public();
    let (opened, _silent) = tokio::join!(one.swarm.open_bulk(&whom), accepted(&mut other));
    let (_sender, mut receiver) = opened.unwrap().split();
    let idle = receiver.recv_unless_idle(std::time::Duration::from_millis(50)).await;
    assert!(matches!(idle, Err(BulkError::Idle)), "{idle:?}");
}
