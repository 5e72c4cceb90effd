//! Bytes in flight: who is connected, over what, and how fast. Frames are opaque; who may talk is told from outside.
//!
//! A [`Swarm`] is one node's presence on the network. It keeps one authenticated connection to each [`Member`] whose
//! addresses it knows, carries frames both ways in order, announces by gossip, opens bulk streams, and answers
//! everybody else with the pairing protocol and nothing more. All that happens arrives as an [`Event`].
//!
//! | protocol | who | what |
//! |---|---|---|
//! | `/artimesh/control/1` | members, control swarm | frames, one stream for each direction |
//! | `/artimesh/bulk/1` | members, bulk swarm | request, then response, in frames |
//! | `/artimesh/pair/1` | everybody, control swarm | one request frame, one response frame |
//! | gossipsub, identify, ping | members, control swarm (ping on bulk too) | |
//!
//! A frame is its length (u32, little endian) and its bytes, at most [`FRAME_BYTES_MAX`].
//!
//! # Why
//!
//! - **Two libp2p swarms with one key.** A Yamux connection is one queue: behind a bulk transfer a control frame waits
//!   31 ms in the median and 71 ms at p99, on its own connection 0.4 ms. Both swarms run the same loop (`net`).
//! - **Own TLS upgrade and own Yamux shim.** The stock upgrade prefers ChaCha20 and 16 KiB pieces; AES-128-GCM first
//!   and 64 KiB pieces are 2.4 times as fast and the same on the wire.
//! - **Own stream handler instead of libp2p-stream.** That one picks a connection at random when there are several,
//!   drops inbound streams silently in bursts and can't offer different protocols to different peers. `streams` names
//!   the connection, counts what it refuses, and offers strangers the pairing protocol only.
//! - **A role is fixed when the connection is made.** Who becomes a member has to connect again. So nothing has to be
//!   switched on or off under a running connection.
//! - **One side leads.** Of two peers the one with the smaller key chooses the connection on which both open their
//!   control streams; the other follows. So two simultaneous dials can't make two sessions, whatever the timing, and the
//!   spare connection is a standby until the first is proved alive, then closed.
//! - **Up to four bulk connections with a distant member.** One is bounded by what the kernels keep in flight (4 MB by
//!   default: 444 of 1000 Mbit/s over 50 ms); its streams go to the connection that has had the fewest.
//! - **A stranger's connection has a byte budget below Yamux**, because Yamux would buffer 256 KiB for each of many
//!   streams before any protocol has seen a byte.
//! - **A removed member becomes a stranger, not a ghost.** It is cut off at once and denied on the bulk swarm, but it
//!   can pair again, and from outside it can't tell whether it is unknown, revoked or at the wrong circle.
//! - **A connection lives as long as its pings are answered**, and ends abruptly. libp2p's ping reports only the second
//!   failure, and Yamux's goodbye on a dead link waits until TCP gives up.
//! - **Gossip may be lost, frames may not.** A slow consumer of the events stops the reading of frames and so the sender;
//!   gossip over its bound is dropped and counted, because anti-entropy replicates anyway.

mod admission;
mod backoff;
mod behaviour;
mod bulk;
mod counters;
mod early;
mod error;
mod event;
mod fault;
mod frame;
mod gated;
mod gathering;
pub mod gossip;
mod handle;
mod identity;
mod landing;
mod members;
mod metered;
mod muxer;
mod net;
mod options;
mod outbox;
mod pairing;
mod rate;
mod resolve;
mod session;
mod streams;
mod tls;
mod transport;
mod vitals;

#[cfg(test)]
mod tests;

pub use bulk::{BulkReceiver, BulkSender, BulkStream};
pub use counters::Counters;
pub use error::{BulkError, OpenError, PairError, PublishError, SendError, StartError};
pub use event::Event;
pub use fault::Fault;
pub use frame::FRAME_BYTES_MAX;
pub use gossip::Verdict;
pub use handle::{Addresses, BULK_CONNECTIONS_MAX, Swarm};
pub use landing::{ENVELOPE_HEAD_BYTES, Landed, Landing};
pub use options::{Limits, Member, Options};
pub use rate::{Class, Hours, Plan, Rates, Zone};
pub use vitals::Vitals;
