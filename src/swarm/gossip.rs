//! Gossip: verdicts on what arrives, and sealing, so that members outside a space can pass on what they can't read.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use libp2p::{
    PeerId,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId},
};
use tokio::sync::mpsc;

/// The largest message that gossipsub carries, bytes, its own envelope included.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Messages whose verdict is outstanding; more are dropped.
pub(super) const UNJUDGED_MAX: usize = 256;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The bytes weren't sealed with this key, or were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed with another key, or damaged")]
pub struct NotSealed;

/// The system gave no randomness, or the message is absurdly long; nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("can't seal: no randomness, or too long")]
pub struct CannotSeal;

/// Encrypts `plain` for holders of `key`: AES-256-GCM, a random nonce of 12 bytes first, the tag last. `context` (such
/// as the topic) is authenticated and not sent. A key is good for 2³² messages.
pub fn seal(key: &[u8; 32], context: &[u8], plain: &[u8]) -> Result<Vec<u8>, CannotSeal> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| CannotSeal)?;
    let mut sealed = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed[NONCE_BYTES..])
        .map_err(|_| CannotSeal)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Undoes [`seal`].
pub fn open(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealed> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(NotSealed)?;
    let mut body = body.to_vec();
    let plain = cipher(key)
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut body)
        .map_err(|_| NotSealed)?
        .len();
    body.truncate(plain);
    Ok(body)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes every 32 bytes as a key"))
}

/// What a verdict says, on its way to the swarm.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) message: MessageId,
    pub(super) source: PeerId,
    pub(super) acceptance: MessageAcceptance,
}

/// Decides once what becomes of a message. Dropped without a word it means *ignore*.
pub struct Verdict {
    message: MessageId,
    source: PeerId,
    /// The place that is kept for the answer, so that answering never waits.
    slot: Option<mpsc::OwnedPermit<Judged>>,
}

impl Verdict {
    pub(super) fn new(message: MessageId, source: PeerId, slot: mpsc::OwnedPermit<Judged>) -> Verdict {
        Verdict { message, source, slot: Some(slot) }
    }

    /// It is good: pass it on.
    pub fn accept(mut self) {
        self.judge(MessageAcceptance::Accept);
    }

    /// It is of no use here (old, unknown, can't be checked): don't pass it on, blame nobody.
    pub fn ignore(mut self) {
        self.judge(MessageAcceptance::Ignore);
    }

    /// It is invalid: don't pass it on, whoever sent it is at fault.
    pub fn reject(mut self) {
        self.judge(MessageAcceptance::Reject);
    }

    fn judge(&mut self, acceptance: MessageAcceptance) {
        if let Some(slot) = self.slot.take() {
            let _ = slot.send(Judged { message: self.message.clone(), source: self.source, acceptance });
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        self.judge(MessageAcceptance::Ignore);
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verdict on {}", self.message)
    }
}

/// A topic's name on the wire: 64 hexadecimal digits.
pub(super) fn topic(topic: &[u8; 32]) -> IdentTopic {
    IdentTopic::new(data_encoding::HEXLOWER.encode(topic))
}

/// The topic of a wire name; `None` for one that isn't ours.
pub(super) fn topic_of(hash: &gossipsub::TopicHash) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(hash.as_str().as_bytes()).ok()?.try_into().ok()
}

/// gossipsub as measured: anonymous messages (they are signed inside), judged before they go on, no flooding.
pub(super) fn behaviour() -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .flood_publish(false)
        .max_transmit_size(MESSAGE_BYTES_MAX)
        .message_id_fn(|message| MessageId::from(blake3::hash(&message.data).as_bytes().to_vec()))
        .build()
        .expect("these settings agree with each other");
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)
        .expect("anonymous messages agree with anonymous validation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context_only() {
        let sealed = seal(&[1; 32], b"topic", b"hello").unwrap();
        assert_eq!(open(&[1; 32], b"topic", &sealed).unwrap(), b"hello");
        assert_eq!(open(&[2; 32], b"topic", &sealed), Err(NotSealed));
        assert_eq!(open(&[1; 32], b"other", &sealed), Err(NotSealed));
        assert_eq!(open(&[1; 32], b"topic", &sealed[..11]), Err(NotSealed));
        assert_ne!(seal(&[1; 32], b"topic", b"hello").unwrap(), sealed, "nonces differ");
    }

    #[test]
    fn a_sealed_message_with_any_bit_changed_does_not_open() {
        let sealed = seal(&[1; 32], b"", b"hello").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&[1; 32], b"", &damaged), Err(NotSealed));
        }
    }
}
