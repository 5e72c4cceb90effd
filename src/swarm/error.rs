//! What can go wrong, by what the caller can do about it.

use std::io;

use artimesh_core::model::PublicKey;

use super::fault::Fault;

/// The swarm didn't start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address isn't a multiaddr with an IP address and a TCP port.
    #[error("`{address}` is not an address to listen on, such as /ip4/0.0.0.0/tcp/8083")]
    BadAddress {
        /// As it was given.
        address: String,
    },
    /// The system refused the address: in use, not ours, or not permitted.
    #[error("can't listen on {address}")]
    Listen {
        /// As it was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The hello is longer than 4 KiB.
    #[error("the hello has {bytes} bytes, more than 4096")]
    HelloTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The certificate that carries the transport key could not be made.
    #[error("can't make a certificate for the transport key: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
}

/// A frame wasn't queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no session with this peer, or it ended while the frame waited for room. Wait for `Connected`.
    #[error("{peer:?} is not connected")]
    NotConnected {
        /// Whom the frame was for.
        peer: PublicKey,
    },
    /// The frame is larger than [`super::FRAME_BYTES_MAX`]; no peer would take it.
    #[error("a frame of {bytes} bytes is too large")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The queue to this peer is full (`try_send` only).
    #[error("the queue to {peer:?} is full")]
    Full {
        /// Whom the frame was for.
        peer: PublicKey,
    },
}

/// A message wasn't published. Gossip is a hint: anti-entropy will carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Gossip is switched off, or the swarm is closed.
    #[error("gossip is off")]
    Off,
    /// No connected peer listens to this topic.
    #[error("nobody listens to this topic")]
    NobodyListens,
    /// The same bytes were published or received before.
    #[error("this message was published before")]
    Duplicate,
    /// More than 64 KiB with its envelope.
    #[error("a message of {bytes} bytes is too large for gossip")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Every peer's queue is full.
    #[error("all gossip queues are full")]
    Busy,
}

/// No bulk stream was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The peer isn't a member.
    #[error("{peer:?} is not a member")]
    NotMember {
        /// Whom the stream was for.
        peer: PublicKey,
    },
    /// No bulk connection came about in time; try another peer.
    #[error("there is no bulk connection to {peer:?}")]
    NotConnected {
        /// Whom the stream was for.
        peer: PublicKey,
    },
    /// The peer took no stream: it has too many already, or doesn't answer.
    #[error("{peer:?} takes no bulk stream")]
    Refused {
        /// Whom the stream was for.
        peer: PublicKey,
    },
}

/// A bulk stream is of no use any more; drop it.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The connection ended, or the peer reset the stream.
    #[error("the bulk stream broke")]
    Broken(#[source] io::Error),
    /// The peer is no member any more, or the swarm is closed.
    #[error("the peer was cut off")]
    CutOff,
    /// Not a byte came for as long as the caller would wait.
    #[error("nothing came for too long")]
    Idle,
    /// A frame is larger than [`super::FRAME_BYTES_MAX`]: the peer's fault when receiving, the caller's when sending
    /// (then nothing was sent and the stream is still good).
    #[error("a frame of {bytes} bytes is too large")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// The pairing exchange didn't happen; nothing is left connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// None of the addresses is a multiaddr that can be dialled.
    #[error("no address of the issuer can be dialled")]
    NoAddress,
    /// Nobody answered, or somebody with another key did.
    #[error("the issuer was not reached: {0}")]
    Unreachable(Fault),
    /// The request is longer than 16 KiB.
    #[error("a request of {bytes} bytes is too large")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The issuer ended the connection without an answer: it is busy, or refuses.
    #[error("the issuer gave no answer")]
    NoAnswer,
    /// There was no answer within 30 s.
    #[error("the issuer didn't answer in time")]
    TimedOut,
    /// This swarm is closed.
    #[error("the swarm is closed")]
    Closed,
}
