//! A member whose release speaks another protocol: nothing is exchanged, and both can read why.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artimesh::config::Keys;
use artimesh::swarm::{Event, Member, Options, Swarm};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::Incarnation;
use artimesh_core::model::{Context, NodeId, Space};
use artimesh_core::replica::Hello;
use artimesh_core::replica::message::{Message, PROTOCOL, WantMessage};
use artimesh_core::trust::Addresses;
use tokio::task::JoinHandle;

use super::put;
use crate::harness::{Circle, Node, Setup, until};

/// Has a member's keys, and says of itself that it speaks another protocol.
struct Foreigner {
    swarm: Swarm,
    frames: Arc<AtomicUsize>,
    events: JoinHandle<()>,
}

impl Foreigner {
    async fn in_place_of(member: &Node, towards: &Node, protocol: u32) -> Foreigner {
        let (keys, peer) = (keys(member), keys(towards).transport.public());
        let status = towards.status().await.expect("a status");
        let incarnation = Incarnation { node: NodeId::of(&keys.log.public()), number: 1 };
        let hello = Hello {
            protocol,
            features: 0,
            circle: status["node"]["circle"].as_str().and_then(|text| text.parse().ok()).expect("a circle"),
            incarnation,
            wall: Timestamp(0),
            addresses: Addresses { control: Vec::new(), bulk: Vec::new() },
            version: "0.0.1".into(),
        };
        let options = Options { hello: hello.to_bytes(), ..Options::default() };
        let (swarm, mut events) = Swarm::start(&keys.transport, options).await.expect("a swarm");
        let control = vec![format!("/ip4/{}/tcp/8083", towards.address)];
        swarm.set_members(vec![Member { peer, control, bulk: Vec::new() }]).await;
        let (frames, asking) = (Arc::new(AtomicUsize::new(0)), swarm.clone());
        let counted = frames.clone();
        let events = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Connected { peer, .. } => {
                        // Whoever knows the node may ask it for everything; it doesn't answer.
                        let want = WantMessage { space: Space::Trust, since: Context::default() };
                        let _ = asking.send(&peer, Message::Want(want).to_bytes().into()).await;
                    }
                    Event::Frame { .. } => drop(counted.fetch_add(1, Ordering::SeqCst)),
                    _ => {}
                }
            }
        });
        Foreigner { swarm, frames, events }
    }
}

fn keys(node: &Node) -> Keys {
    Keys::load(&node.folder).expect("its keys")
}

async fn says(node: &Node, what: &str) {
    until(&format!("its status says '{what}'"), || async {
        let status = node.status().await?;
        let members = status["members"].as_array().into_iter().flatten();
        let errors: Vec<String> = members.map(|member| member["last_error"]["message"].to_string()).collect();
        if errors.iter().any(|error| error.contains(what)) { Ok(()) } else { Err(format!("{errors:?}")) }
    })
    .await;
    let shown = node.cli(&["status"], "");
    assert!(shown.contains(what), "{shown}");
    let log = std::fs::read_to_string(node.log_path()).expect("a log");
    assert!(log.contains(what), "{}", node.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_protocol_is_refused_with_what_to_do_about_it() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    circle.converged().await;
    circle.nodes[1].stop();
    put(&circle.nodes[0], "/meanwhile", "it isn't told").await;
    let turns = [(PROTOCOL - 1, "upgrade it"), (PROTOCOL + 1, "upgrade this node")];
    for (protocol, turn) in turns {
        let foreigner = Foreigner::in_place_of(&circle.nodes[1], &circle.nodes[0], protocol).await;
        let what = format!("speaks protocol {protocol}, this node speaks {PROTOCOL}: {turn}");
        says(&circle.nodes[0], &what).await;
        assert_eq!(foreigner.frames.load(Ordering::SeqCst), 0, "frames for protocol {protocol}");
        foreigner.swarm.close().await;
        foreigner.events.abort();
    }
    circle.nodes[1].start();
    assert_eq!(circle.converged().await.len(), 1);
    let status = circle.nodes[0].status().await.expect("a status");
    let errors: Vec<_> =
        status["members"].as_array().into_iter().flatten().map(|member| &member["last_error"]).collect();
    assert!(errors.iter().all(|error| error.is_null()), "{errors:?}");
}
