//! Networks that fall silent without saying so.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{DEADLINE, Node, key, options};
use crate::swarm::{BulkError, Event, Fault, Member, Options};

/// A wire that can be cut: both ends then hold open connections on which nothing moves any more.
struct Wire {
    address: String,
}

fn socket_address(multiaddr: &str) -> String {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    format!("{}:{}", parts[2], parts[4])
}

impl Wire {
    async fn to(target: &str, is_cut: watch::Receiver<bool>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let target = socket_address(target);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut is_cut) = (target.clone(), is_cut.clone());
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        // A dial into the cut fails when it is mended, not by its long timeout.
                        let _ = is_cut.wait_for(|cut| !*cut).await;
                        return;
                    }
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        Wire { address }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_wire_is_noticed_on_both_swarms_and_mended_by_a_new_connection() {
    let options = Options { silence_max: Duration::from_millis(900), ..options() };
    let mut one = Node::start(key(1), options.clone()).await;
    let mut other = Node::start(key(2), options).await;
    let (cut, is_cut) = watch::channel(false);
    let addresses = other.swarm.addresses();
    let control = Wire::to(&addresses.control[0], is_cut.clone()).await;
    let bulk = Wire::to(&addresses.bulk[0], is_cut).await;
    let member = Member { peer: other.public(), control: vec![control.address], bulk: vec![bulk.address] };
    one.swarm.set_members(vec![member]).await;
    other.swarm.set_members(vec![one.unreachable_member()]).await;
    one.connected(other.public()).await;
    other.connected(one.public()).await;

    // Data is under way in both directions, so that a polite goodbye would wait for the peer.
    let mut near = one.swarm.open_bulk(&other.key.public()).await.unwrap();
    let Event::Bulk { stream: mut far, .. } = other.event().await else { panic!("a bulk stream") };
    let sending = tokio::spawn(async move {
        loop {
            if let Err(error) = near.send(Bytes::from(vec![0; 1 << 20])).await {
                return error;
            }
        }
    });
    far.recv().await.unwrap().unwrap();
    for _ in 0..64 {
        let _ = one.swarm.try_send(&other.public(), Bytes::from(vec![0; 64 << 10]));
    }
    cut.send(true).unwrap();
    assert_eq!(one.disconnected(other.public()).await, Fault::Silent);
    assert!(matches!(timeout(DEADLINE, sending).await.unwrap().unwrap(), BulkError::Broken(_)));
    loop {
        match other.event().await {
            Event::Frame { .. } => {}
            Event::Disconnected { reason, .. } => {
                assert_eq!(reason, Fault::Silent);
                break;
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }
    let end = async { while far.recv().await.is_ok_and(|frame| frame.is_some()) {} };
    timeout(DEADLINE, end).await.unwrap();

    cut.send(false).unwrap();
    one.connected(other.public()).await;
    other.connected(one.public()).await;
    let (whom, opening) = (other.public(), one.swarm.clone());
    let (opened, _) = tokio::join!(opening.open_bulk(&whom), other.event());
    opened.unwrap();
}
