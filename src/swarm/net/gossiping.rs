//! Gossip through the loop.

use bytes::Bytes;
use libp2p::gossipsub::{self, PublishError as Error};
use tokio::sync::mpsc;

use super::run::{Net, Parts};
use crate::swarm::{
    error::PublishError,
    event::Event,
    gossip::{self, Judged, UNJUDGED_MAX, Verdict},
    identity,
};

impl Net {
    /// Passes gossip on to the caller, so that a slow one holds up neither the loop nor anything but gossip.
    pub(super) fn spawn_rumours(parts: &Parts) -> mpsc::Sender<Event> {
        let (sender, mut rumours) = mpsc::channel(UNJUDGED_MAX);
        let (events, root) = (parts.context.events.clone(), parts.context.root.clone());
        parts.tasks.spawn(async move {
            let pass_on = async {
                while let Some(rumour) = rumours.recv().await {
                    if events.send(rumour).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = root.cancelled() => {}
                () = pass_on => {}
            }
        });
        sender
    }

    fn gossip(&mut self) -> Option<&mut gossipsub::Behaviour> {
        self.parts.swarm.behaviour_mut().gossip.as_mut().map(|gated| gated.inner_mut())
    }

    pub(super) fn subscribe(&mut self, topic: &[u8; 32]) {
        if let Some(gossip) = self.gossip() {
            gossip.subscribe(&gossip::topic(topic)).expect("no subscription filter is set");
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: &[u8; 32]) {
        if let Some(gossip) = self.gossip() {
            gossip.unsubscribe(&gossip::topic(topic));
        }
    }

    pub(super) fn publish(&mut self, topic: &[u8; 32], data: Vec<u8>) -> Result<(), PublishError> {
        let bytes = data.len();
        let gossip = self.gossip().ok_or(PublishError::Off)?;
        gossip.publish(gossip::topic(topic), data).map(drop).map_err(|error| match error {
            Error::Duplicate => PublishError::Duplicate,
            Error::NoPeersSubscribedToTopic => PublishError::NobodyListens,
            Error::MessageTooLarge => PublishError::TooLarge { bytes },
            Error::AllQueuesFull(_) => PublishError::Busy,
            // Neither signing nor transforming is configured.
            Error::SigningError(_) | Error::TransformFailed(_) => PublishError::Off,
        })
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        let counters = self.parts.context.counters.clone();
        counters.gossip_received.increment();
        let (Some(topic), Some(from)) = (gossip::topic_of(&message.topic), identity::public_key(&propagation_source))
        else {
            return;
        };
        // Whoever isn't judged within the bound is dropped: gossip is a hint, and memory isn't.
        let Ok(slot) = self.verdicts.0.clone().try_reserve_owned() else {
            counters.gossip_dropped.increment();
            let acceptance = gossipsub::MessageAcceptance::Ignore;
            self.on_verdict(&Judged { message: message_id, source: propagation_source, acceptance });
            return;
        };
        let verdict = Verdict::new(message_id, propagation_source, slot);
        let rumour = Event::Gossip { topic, data: Bytes::from(message.data), from, verdict };
        if self.rumours.try_send(rumour).is_err() {
            counters.gossip_dropped.increment();
        }
    }

    pub(super) fn on_verdict(&mut self, judged: &Judged) {
        if matches!(judged.acceptance, gossipsub::MessageAcceptance::Accept) {
            self.parts.context.counters.gossip_accepted.increment();
        }
        if let Some(gossip) = self.gossip() {
            let Judged { message, source, .. } = judged;
            gossip.report_message_validation_result(message, source, judged.acceptance);
        }
    }
}
