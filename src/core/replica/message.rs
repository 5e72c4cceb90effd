//! What two replicas say to each other. A message is one envelope; kinds that aren't known are passed over.

use serde::{Deserialize, Serialize};

use super::reconcile::{AskSnapshot, Compare, Compared, Fetch, Items, SignedState, Snapshot};
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{CircleId, Context, Digest, Envelope, Head, Heads, Incarnation, NodeId, Space};
use crate::trust::{Addresses, Statement};

/// The version of the control protocol; a node that speaks another refuses with a clear message.
pub const PROTOCOL: u32 = 2;

pub use crate::changelog::FEATURES;
use crate::changelog::ForkProof;

/// The first frame on every control stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What the sender can do beyond it.
    pub features: u64,
    /// The sender's circle.
    pub circle: CircleId,
    /// The sender, in its present life.
    pub incarnation: Incarnation,
    /// The sender's wall clock.
    pub wall: Timestamp,
    /// Where the sender listens now.
    pub addresses: Addresses,
    /// The sender's version, for people; at most 64 bytes.
    pub version: String,
}

impl Hello {
    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        Envelope { kind: 1, body: codec::encode(self) }.to_bytes()
    }

    /// Reads a hello; a body of a later kind is refused with its number.
    pub fn read(bytes: &[u8]) -> Result<Hello, String> {
        let envelope = one(bytes)?;
        if envelope.kind != 1 {
            return Err(format!("hello of unknown kind {}", envelope.kind));
        }
        let hello: Hello = codec::decode(&envelope.body).map_err(|error| error.to_string())?;
        if !hello.addresses.are_bounded() || hello.version.len() > 64 {
            return Err("hello out of bounds".into());
        }
        Ok(hello)
    }
}

fn one(bytes: &[u8]) -> Result<Envelope, String> {
    let mut all = Envelope::read_all(bytes, 1).map_err(|error| error.to_string())?;
    all.pop().ok_or_else(|| "empty message".to_owned())
}

/// The heads of one space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpaceHeads {
    /// Which.
    pub space: Space,
    /// What the sender has applied.
    pub heads: Heads,
}

/// Heads of some of the spaces that both share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeadsMessage {
    /// Trust first.
    pub spaces: Vec<SpaceHeads>,
    /// Hash over all statements that the sender knows.
    pub statements: Digest,
    /// Whether the sender wants the receiver's heads in return.
    pub reply: bool,
}

/// A wish for segments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WantMessage {
    /// Of which space.
    pub space: Space,
    /// What the asker has.
    pub since: Context,
}

/// Segments, oldest first per log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentsMessage {
    /// Of which space.
    pub space: Space,
    /// As their authors signed them.
    pub segments: Vec<Vec<u8>>,
    /// Whether there is more than fitted.
    pub more: bool,
}

/// The sender's wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClockMessage {
    /// When it was sent.
    pub wall: Timestamp,
    /// `None` asks for the receiver's; an answer repeats what was asked with.
    pub echo: Option<Timestamp>,
}

/// A question about one log, of which the asker and the asked hold different segments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Where.
    pub space: Space,
    /// Whose.
    pub incarnation: Incarnation,
    /// Where segments end at the asker's, latest first: not all of them.
    pub ends: Vec<Head>,
}

/// The entry by which a membership ended: for the node whose it was, or for a member that asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Farewell {
    /// In which federation.
    pub space: Space,
    /// A pruned segment with that entry alone.
    pub entry: Vec<u8>,
}

/// Asks for the entries that ended memberships.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskFarewells {
    /// In which federation.
    pub space: Space,
    /// Whose.
    pub of: Vec<NodeId>,
}

/// A message on a control stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// What I have.
    Heads(HeadsMessage),
    /// What I want.
    Want(WantMessage),
    /// What you wanted, or what you should know at once.
    Segments(SegmentsMessage),
    /// All statements that I know.
    Statements(Vec<Statement>),
    /// What time is it? Or: it is so late here.
    Clock(ClockMessage),
    /// Proof that a life was lived twice.
    Fork(ForkProof),
    /// Your log of this life isn't mine: send yours from where they part.
    Probe(Probe),
    /// What I keep beyond my heads, because my version can't apply it.
    Kept(Vec<SpaceHeads>),
    /// The log that you want is no longer whole, or not worth replaying: compare states.
    Truncated(Space),
    /// What my state is.
    State(SignedState),
    /// State sync: what I ask.
    AskSnapshot(AskSnapshot),
    /// What you asked.
    Snapshot(Box<Snapshot>),
    /// What I ask.
    Compare(Compare),
    /// What you asked.
    Compared(Compared),
    /// What I ask.
    Fetch(Fetch),
    /// What you asked.
    Items(Items),
    /// You, or who you asked about, is no member any more.
    Farewell(Farewell),
    /// What ended these memberships?
    AskFarewells(AskFarewells),
    /// Of a later version; passed over.
    Unknown(u16),
}

impl Message {
    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Message::Heads(heads) => (1, codec::encode(heads)),
            Message::Want(want) => (2, codec::encode(want)),
            Message::Segments(segments) => (3, codec::encode(segments)),
            Message::Statements(statements) => (4, codec::encode(statements)),
            Message::Kept(spaces) => (16, codec::encode(spaces)),
            Message::Truncated(space) => (32, codec::encode(space)),
            Message::State(state) => (33, codec::encode(state)),
            Message::AskSnapshot(ask) => (34, codec::encode(ask)),
            Message::Snapshot(snapshot) => (35, codec::encode(snapshot)),
            Message::Compare(ask) => (36, codec::encode(ask)),
            Message::Compared(answer) => (37, codec::encode(answer)),
            Message::Fetch(ask) => (38, codec::encode(ask)),
            Message::Items(answer) => (39, codec::encode(answer)),
            Message::Fork(proof) => (17, codec::encode(proof)),
            Message::Probe(probe) => (18, codec::encode(probe)),
            Message::Clock(clock) => (19, codec::encode(clock)),
            Message::Farewell(farewell) => (20, codec::encode(farewell)),
            Message::AskFarewells(ask) => (21, codec::encode(ask)),
            Message::Unknown(kind) => (*kind, Vec::new()),
        };
        Envelope { kind, body }.to_bytes()
    }

    /// Reads a message.
    pub fn read(bytes: &[u8]) -> Result<Message, String> {
        let envelope = one(bytes)?;
        let text = |error: DecodeError| error.to_string();
        Ok(match envelope.kind {
            1 => Message::Heads(codec::decode(&envelope.body).map_err(text)?),
            2 => Message::Want(codec::decode(&envelope.body).map_err(text)?),
            3 => Message::Segments(codec::decode(&envelope.body).map_err(text)?),
            4 => Message::Statements(codec::decode(&envelope.body).map_err(text)?),
            16 => Message::Kept(codec::decode(&envelope.body).map_err(text)?),
            32 => Message::Truncated(codec::decode(&envelope.body).map_err(text)?),
            33 => Message::State(codec::decode(&envelope.body).map_err(text)?),
            34 => Message::AskSnapshot(codec::decode(&envelope.body).map_err(text)?),
            35 => Message::Snapshot(codec::decode(&envelope.body).map_err(text)?),
            36 => Message::Compare(codec::decode(&envelope.body).map_err(text)?),
            37 => Message::Compared(codec::decode(&envelope.body).map_err(text)?),
            38 => Message::Fetch(codec::decode(&envelope.body).map_err(text)?),
            39 => Message::Items(codec::decode(&envelope.body).map_err(text)?),
            17 => Message::Fork(codec::decode(&envelope.body).map_err(text)?),
            18 => Message::Probe(codec::decode(&envelope.body).map_err(text)?),
            19 => Message::Clock(codec::decode(&envelope.body).map_err(text)?),
            20 => Message::Farewell(codec::decode(&envelope.body).map_err(text)?),
            21 => Message::AskFarewells(codec::decode(&envelope.body).map_err(text)?),
            kind => Message::Unknown(kind),
        })
    }
}

/// What is gossiped: the newest segment of a log, whole when it is small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Announcement {
    /// The segment itself.
    Segment(Vec<u8>),
    /// Only that it exists.
    Head(Incarnation, Head),
}

impl Announcement {
    /// The bytes that are gossiped.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Announcement::Segment(bytes) => (1, bytes.clone()),
            Announcement::Head(incarnation, head) => (2, codec::encode(&(*incarnation, *head))),
        };
        Envelope { kind, body }.to_bytes()
    }

    /// Reads an announcement; `None` for one of a later version.
    pub fn read(bytes: &[u8]) -> Result<Option<Announcement>, String> {
        let envelope = one(bytes)?;
        Ok(match envelope.kind {
            1 => Some(Announcement::Segment(envelope.body)),
            2 => {
                let (incarnation, head) = codec::decode(&envelope.body).map_err(|error| error.to_string())?;
                Some(Announcement::Head(incarnation, head))
            }
            _ => None,
        })
    }
}
