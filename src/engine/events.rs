//! From the swarm's events and the clock to the mind's messages.

use std::sync::Arc;
use std::time::Duration;

use artimesh_core::replica::message::PROTOCOL;
use artimesh_core::replica::{Hello, Input};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::mind::Message;
use super::pairing;
use super::serve;
use super::shared::Shared;
use crate::swarm::{self, Event};

/// Pairing requests answered at once; more wait in the swarm.
const SERVED_AT_ONCE: usize = 256;

/// Hands events on until the swarm is closed.
pub(super) async fn pump(shared: Arc<Shared>, mut events: mpsc::Receiver<Event>) {
    let mut serving = JoinSet::new();
    loop {
        let event = tokio::select! {
            event = events.recv(), if serving.len() < SERVED_AT_ONCE => event,
            _ = serving.join_next(), if !serving.is_empty() => continue,
            () = shared.stop.cancelled() => return,
        };
        let Some(event) = event else { return };
        match event {
            Event::Pairing { peer, request, reply, remote_address } => {
                let shared = shared.clone();
                serving.spawn(async move {
                    let answer = pairing::answer(&shared, &peer, &request, &remote_address).await;
                    // The newcomer may have gone; it will ask again.
                    let _ = reply.send(answer);
                });
            }
            Event::Bulk { peer, stream } => {
                // It lives as long as the peer keeps it; the swarm bounds how many there are of each.
                shared.tracker.spawn(serve::serve(shared.clone(), peer, stream));
            }
            event => {
                let Some(message) = message_of(&shared, event) else { continue };
                if shared.inbox.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn message_of(shared: &Shared, event: Event) -> Option<Message> {
    match event {
        Event::Connected { peer, hello } => {
            let node = shared.node_of(&peer)?;
            shared.wanted.notify_one();
            shared.arrivals.send_modify(|count| *count += 1);
            match Hello::read(&hello) {
                Ok(hello) if hello.protocol == PROTOCOL && hello.incarnation.node == node => {
                    shared.set_protocol(&node, None);
                    Some(Message::Input(Input::Connected(node, hello)))
                }
                Ok(hello) if hello.protocol != PROTOCOL => {
                    let foreign = shared.set_protocol(&node, Some(hello.protocol));
                    let version = hello.version;
                    tracing::error!(
                        node = %node.short(), version,
                        "a peer speaks another version of the protocol: it {foreign}, and nothing is exchanged until then"
                    );
                    None
                }
                Ok(_) => {
                    tracing::warn!(node = %node.short(), "a peer's hello names another node");
                    None
                }
                Err(reason) => {
                    tracing::warn!(node = %node.short(), reason, "a peer's hello could not be understood");
                    None
                }
            }
        }
        Event::Disconnected { peer, reason } => {
            let node = shared.node_of(&peer)?;
            tracing::info!(node = %node.short(), %reason, "disconnected");
            shared.lines.forget(&peer);
            shared.arrivals.send_modify(|count| *count += 1);
            Some(Message::Input(Input::Disconnected(node)))
        }
        Event::Frame { peer, bytes } => Some(Message::Input(Input::Frame(shared.understood(&peer)?, bytes.to_vec()))),
        Event::Gossip { topic, data, verdict, .. } => gossip(shared, &topic, &data, verdict),
        Event::Pairing { .. } | Event::Bulk { .. } => None,
    }
}

fn gossip(shared: &Shared, topic: &[u8; 32], data: &[u8], verdict: swarm::Verdict) -> Option<Message> {
    let Some((space, key)) = shared.topics.load().get(topic).copied() else {
        verdict.ignore();
        return None;
    };
    match swarm::gossip::open(&key, topic, data) {
        Ok(bytes) => Some(Message::Gossip { space, bytes, verdict }),
        Err(_) => {
            verdict.reject();
            None
        }
    }
}

/// Once a second, and once a round; also renews what peers are told to dial when addresses were learnt.
pub(super) async fn tick(shared: Arc<Shared>) {
    let second = Duration::from_secs(1).min(shared.options.heads_interval);
    let mut ticks = interval(second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_round = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.addresses.notified() => {
                renew_members(&shared).await;
                continue;
            }
            () = shared.stop.cancelled() => return,
        }
        let round = last_round.elapsed() >= shared.options.heads_interval;
        if round {
            last_round = Instant::now();
        }
        let dice = getrandom::u64().unwrap_or_default();
        if shared.inbox.send(Message::Input(Input::Tick { dice, round })).await.is_err() {
            return;
        }
    }
}

/// A peer told where it listens now: the swarm must know, to dial it when it is gone.
async fn renew_members(shared: &Arc<Shared>) {
    let Ok(peers) = shared.inspect(|replica, _| replica.admitted_peers()).await else { return };
    shared.set_members(peers).await;
}
