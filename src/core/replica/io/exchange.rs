//! One turn of the replica: what happens to a node, and what it wants done.

use super::super::message::Hello;
use super::command::{Command, CommandError, Receipt};
use super::event::Event;
use super::view::Row;
use crate::model::{ArtifactPath, Checksums, Digest, Dot, NodeId, Space};

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Changes that this node's users ask for, each under a ticket for its reply; they share segments.
    Local(Vec<(u64, Command)>),
    /// An admitted peer is connected and has said hello.
    Connected(NodeId, Hello),
    /// It is gone.
    Disconnected(NodeId),
    /// A frame of a connected peer's control stream.
    Frame(NodeId, Vec<u8>),
    /// What was gossiped in a space, whoever passed it on.
    Gossip(Space, Vec<u8>),
    /// About once a second. `dice` are fresh random bits.
    Tick {
        /// Chooses the peer of this round.
        dice: u64,
        /// Whether it is time for a round of anti-entropy.
        round: bool,
    },
    /// The answer to [`Output::Continue`], as soon as nothing more pressing waits.
    Continue,
}

/// Whose federations become repositories here by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AcceptPolicy {
    /// Every member's.
    Any,
    /// Nobody's.
    None,
    /// Those of these nodes, by name or id.
    Of(Vec<String>),
}

/// What the transport should do with a gossiped message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Neither pass on nor blame.
    Ignore,
    /// Its source is at fault.
    Reject,
}

/// What the replica wants done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make these rows durable, atomically.
    Persist(Vec<Row>),
    /// Tell the user.
    Reply(u64, Result<Receipt, CommandError>),
    /// Send a frame on the peer's control stream; if it can't be sent, anti-entropy will make up for it.
    Send(NodeId, Vec<u8>),
    /// Gossip this in a space.
    Publish(Space, Vec<u8>),
    /// The answer to [`Input::Gossip`].
    Judge(Verdict),
    /// There is more to do than fitted one input: hand in [`Input::Continue`] soon. Once is enough for several.
    Continue,
    /// Who is a member, or where members can be reached, has changed.
    Members,
    /// Which spaces and repositories are held has changed.
    Spaces,
    /// Fetch a blob that an applied entry names; also at rest as a [`super::super::rows::Want`].
    Wanted {
        /// Fetch it inside this space.
        space: Space,
        /// The version that names it.
        dot: Dot,
        /// Its path, by which the asked node finds the reference.
        path: ArtifactPath,
        /// The blob.
        digest: Digest,
        /// Its length.
        size: u64,
        /// Claimed by the author.
        checksums: Checksums,
    },
    /// A fact for the operator.
    Note(Event),
}
