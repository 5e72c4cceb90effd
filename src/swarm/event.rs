//! What a swarm tells its owner.

use artimesh_core::model::PublicKey;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{bulk::BulkStream, fault::Fault, gossip::Verdict};

/// What happened. For one peer, `Connected`, its `Frame`s and `Disconnected` arrive in that order and never overlap.
#[derive(Debug)]
pub enum Event {
    /// Both sides have admitted each other; frames can be sent.
    Connected {
        /// The other side.
        peer: PublicKey,
        /// What it said of itself, at most 4 KiB.
        hello: Vec<u8>,
    },
    /// The session ended; frames that were queued or under way may be lost.
    Disconnected {
        /// The other side.
        peer: PublicKey,
        /// Why.
        reason: Fault,
    },
    /// A control frame.
    Frame {
        /// Who sent it.
        peer: PublicKey,
        /// At most [`super::FRAME_BYTES_MAX`].
        bytes: Bytes,
    },
    /// A gossip message, seen for the first time. It goes on to others once the verdict is *accept*.
    Gossip {
        /// What it was published under.
        topic: [u8; 32],
        /// As published, at most 64 KiB.
        data: Bytes,
        /// The member that passed it on; not necessarily its author.
        from: PublicKey,
        /// What becomes of it.
        verdict: Verdict,
    },
    /// Somebody asks to pair. The key is proved, nothing else is.
    Pairing {
        /// The key of who asks; a member may ask again.
        peer: PublicKey,
        /// Where it asks from, as a multiaddr.
        remote_address: String,
        /// At most 16 KiB.
        request: Vec<u8>,
        /// Takes the answer, at most 8 KiB; dropped, the connection ends without one.
        reply: oneshot::Sender<Vec<u8>>,
    },
    /// A member opened a bulk stream.
    Bulk {
        /// Who opened it.
        peer: PublicKey,
        /// Receive the request first.
        stream: BulkStream,
    },
}
