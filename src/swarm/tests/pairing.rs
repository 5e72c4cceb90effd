//! Pairing, from the newcomer's side and over to membership.

use super::{Node, connected_pair, leader_and_follower, options, stock::Stock};
use crate::swarm::{
    Event, Fault, PairError, frame,
    streams::{Inbound, PAIR},
};
use futures::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_pairs_and_becomes_a_member() {
    for reversed in [false, true] {
        let (leader, follower) = leader_and_follower();
        let (issuer, newcomer) = if reversed { (follower, leader) } else { (leader, follower) };
        let (mut issuer, mut newcomer) = (Node::start(issuer, options()).await, Node::start(newcomer, options()).await);
        let (addresses, whom) = (issuer.swarm.addresses().control, issuer.public());
        let admit = async {
            let Event::Pairing { peer, request, reply, .. } = issuer.event().await else { panic!("a pairing request") };
            assert_eq!((peer, request), (newcomer.key.public(), b"secret".to_vec()));
            // Admitted before it is told, as the durable order demands.
            issuer.swarm.set_members(vec![newcomer.unreachable_member()]).await;
            reply.send(b"grant".to_vec()).unwrap();
        };
        let (answer, ()) = tokio::join!(newcomer.swarm.pair(whom, &addresses, b"secret"), admit);
        assert_eq!(answer.unwrap(), b"grant");
        newcomer.swarm.set_members(vec![issuer.member()]).await;
        issuer.connected(newcomer.public()).await;
        newcomer.connected(issuer.public()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_pair_again_and_keeps_its_session() {
    let (one, mut other) = connected_pair().await;
    for _ in 0..2 {
        let addresses = other.swarm.addresses().control;
        let (whom, request) = (other.public(), vec![7; 16 << 10]);
        let (answer, asked) =
            tokio::join!(one.swarm.pair(whom, &addresses, &request), other.answer_pairing(&[8; 8 << 10]));
        assert_eq!(answer.unwrap(), [8; 8 << 10]);
        assert_eq!(asked, (one.public(), request));
    }
    assert_eq!(one.swarm.connected(), [other.public()]);
    assert_eq!(one.swarm.counters().sessions.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_messages_fit_into_a_strangers_budget() {
    let (newcomer, mut issuer) = (Node::new(1).await, Node::new(2).await);
    let (addresses, request) = (issuer.swarm.addresses().control, vec![7; 16 << 10]);
    let (answer, asked) = tokio::join!(
        newcomer.swarm.pair(issuer.key.public(), &addresses, &request),
        issuer.answer_pairing(&[8; 8 << 10])
    );
    assert_eq!(answer.unwrap(), [8; 8 << 10]);
    assert_eq!(asked, (newcomer.public(), request.clone()));
    let too_large = newcomer.swarm.pair(issuer.public(), &addresses, &[0; (16 << 10) + 1]).await;
    assert_eq!(too_large, Err(PairError::TooLarge { bytes: (16 << 10) + 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn pairing_with_another_key_at_the_address_is_refused() {
    let (newcomer, issuer) = (Node::new(1).await, Node::new(2).await);
    let addresses = issuer.swarm.addresses().control;
    let answer = newcomer.swarm.pair(super::key(3).public(), &addresses, b"secret").await;
    let found = Some(issuer.public());
    assert!(
        matches!(&answer, Err(PairError::Unreachable(Fault::WrongKey { found: other, .. })) if *other == found),
        "{answer:?}"
    );
    assert_eq!(issuer.swarm.counters().pairings.get(), 0);
    assert_eq!(newcomer.swarm.pair(issuer.public(), &[], b"").await, Err(PairError::NoAddress));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reply_is_no_answer() {
    let (newcomer, mut issuer) = (Node::new(1).await, Node::new(2).await);
    let addresses = issuer.swarm.addresses().control;
    let whom = issuer.public();
    let (answer, _) = tokio::join!(newcomer.swarm.pair(whom, &addresses, b"?"), async { drop(issuer.event().await) });
    assert_eq!(answer, Err(PairError::NoAnswer));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_tls_dials_stock_tls_and_is_dialled_by_it() {
    let (mut stock, mut node) = (Stock::new(3), Node::new(1).await);
    let connection = stock.dial(node.public(), &node.swarm.addresses().control[0]).await.unwrap();
    let mut stream = stock.open(node.public(), connection, PAIR).await.unwrap();
    frame::write(&mut stream, b"from stock").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(node.answer_pairing(b"yes").await.0, stock.public());
    assert_eq!(frame::read(&mut stream, 16).await.unwrap(), &b"yes"[..]);

    let (address, whom) = (stock.listen().await, stock.public());
    let serve = async {
        let Inbound { mut stream, .. } = stock.inbound().await;
        assert_eq!(frame::read(&mut stream, 16).await.unwrap(), &b"to stock"[..]);
        frame::write(&mut stream, b"welcome").await.unwrap();
        stream.close().await.unwrap();
    };
    let addresses = [address];
    let (answer, ()) = tokio::join!(node.swarm.pair(whom, &addresses, b"to stock"), serve);
    assert_eq!(answer.unwrap(), b"welcome");
}
