//! Gossip among three nodes, and without it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{DEADLINE, Node, key, options};
use crate::swarm::{Event, Options, PublishError, Verdict, gossip};

const TOPIC: [u8; 32] = [5; 32];
const SPACE_KEY: [u8; 32] = [6; 32];

/// A line of three: the ends don't know each other.
async fn line() -> (Node, Node, Node) {
    let (mut left, mut middle, mut right) = (Node::new(1).await, Node::new(2).await, Node::new(3).await);
    left.swarm.set_members(vec![middle.member()]).await;
    right.swarm.set_members(vec![middle.member()]).await;
    middle.swarm.set_members(vec![left.unreachable_member(), right.unreachable_member()]).await;
    left.connected(middle.public()).await;
    right.connected(middle.public()).await;
    for _ in 0..2 {
        assert!(matches!(middle.event().await, Event::Connected { .. }));
    }
    for node in [&left, &middle, &right] {
        node.swarm.subscribe(TOPIC).await;
    }
    (left, middle, right)
}

/// Publishes numbered messages until `heard` ends: subscriptions travel in their own time.
async fn publish_until<T>(node: &Node, heard: impl Future<Output = T>) -> T {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let publishing = async {
        for number in 0_u64.. {
            let sealed = gossip::seal(&SPACE_KEY, &TOPIC, &number.to_le_bytes()).unwrap();
            match node.swarm.publish(TOPIC, sealed).await {
                Ok(()) | Err(PublishError::NobodyListens | PublishError::Busy) => {}
                Err(other) => panic!("{other}"),
            }
            pace.tick().await;
        }
    };
    tokio::select! {
        () = publishing => unreachable!("it never ends"),
        heard = timeout(DEADLINE, heard) => heard.unwrap(),
    }
}

async fn rumour(node: &mut Node) -> (Bytes, Verdict) {
    match node.event().await {
        Event::Gossip { topic: TOPIC, data, verdict, .. } => (data, verdict),
        other => panic!("expected gossip, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_middle_accepts_reaches_the_far_end_sealed() {
    let (left, mut middle, mut right) = line().await;
    let (from, data) = publish_until(&left, async {
        let passing_on = async {
            loop {
                rumour(&mut middle).await.1.accept();
            }
        };
        tokio::select! {
            () = passing_on => unreachable!("it never ends"),
            event = right.event() => match event {
                Event::Gossip { from, data, verdict, .. } => {
                    verdict.ignore();
                    (from, data)
                }
                other => panic!("expected gossip, got {other:?}"),
            },
        }
    })
    .await;
    assert_eq!(from, middle.public());
    assert_eq!(gossip::open(&SPACE_KEY, &TOPIC, &data).unwrap().len(), 8);
    assert!(middle.swarm.counters().gossip_accepted.get() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_middle_does_not_accept_goes_no_further() {
    let (left, mut middle, mut right) = line().await;
    publish_until(&left, async {
        for number in 0..10 {
            let (_, verdict) = rumour(&mut middle).await;
            if number % 2 == 0 { verdict.ignore() } else { drop(verdict) }
        }
    })
    .await;
    // The middle's own message comes after all that it might have passed on.
    let first = publish_until(&middle, rumour(&mut right)).await.0;
    assert_eq!(middle.swarm.counters().gossip_accepted.get(), 0);
    assert_eq!(gossip::open(&SPACE_KEY, &TOPIC, &first).unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_gossip_off_nothing_is_published_and_frames_still_go() {
    let off = Options { gossip: false, ..options() };
    let (mut one, mut other) = (Node::start(key(1), off).await, Node::new(2).await);
    one.swarm.set_members(vec![other.member()]).await;
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;
    one.swarm.subscribe(TOPIC).await;
    assert_eq!(one.swarm.publish(TOPIC, b"x".to_vec()).await, Err(PublishError::Off));
    other.swarm.subscribe(TOPIC).await;
    assert_eq!(other.swarm.publish(TOPIC, b"x".to_vec()).await, Err(PublishError::NobodyListens));
    one.swarm.send(&other.public(), Bytes::from_static(b"frame")).await.unwrap();
    assert_eq!(other.frame(one.public()).await, b"frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_for_gossip_is_refused() {
    let (left, mut middle, _right) = line().await;
    publish_until(&left, rumour(&mut middle)).await.1.ignore();
    let refused = left.swarm.publish(TOPIC, vec![0; 65 << 10]).await;
    assert_eq!(refused, Err(PublishError::TooLarge { bytes: 65 << 10 }));
}
