//! Who and where: nodes, circles, federations, tokens, and the dots that number every entry ever written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, NotHex, parse_hex};
use super::keys::PublicKey;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The first eight hexadecimal digits, for messages to people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}…", self.short())
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                parse_hex(text).map($name)
            }
        }
    };
}

hex_id!(
    /// A node for ever: the hash of its first log key. Keys rotate, the id stays.
    NodeId, 32
);
hex_id!(
    /// A circle of trust: the hash of its first root key.
    CircleId, 32
);
hex_id!(
    /// A federation: the hash of its founding entry.
    FederationId, 32
);
hex_id!(
    /// One pairing token.
    TokenId, 16
);

impl NodeId {
    /// The id of the node whose first log key is `key`.
    pub fn of(key: &PublicKey) -> NodeId {
        NodeId(Digest::derived("artimesh/node-id/v1", &key.0).0)
    }
}

impl CircleId {
    /// The id of the circle whose first root key is `key`.
    pub fn of(key: &PublicKey) -> CircleId {
        CircleId(Digest::derived("artimesh/circle-id/v1", &key.0).0)
    }
}

/// The scope of a log. A node holds only the spaces it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Space {
    /// Grants, revocations, keys: held by every node of the circle.
    Trust,
    /// Users, groups and permissions: held by full members with that right.
    Accounts,
    /// The artifacts of one federation.
    Federation(FederationId),
}

impl Space {
    /// 33 bytes that sort like the space: a row key's first part.
    pub fn key(&self) -> [u8; 33] {
        let mut key = [0; 33];
        match self {
            Space::Trust => key[0] = 1,
            Space::Accounts => key[0] = 2,
            Space::Federation(id) => {
                key[0] = 3;
                key[1..].copy_from_slice(&id.0);
            }
        }
        key
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Space::Trust => f.write_str("trust"),
            Space::Accounts => f.write_str("accounts"),
            Space::Federation(id) => write!(f, "federation {}", id.short()),
        }
    }
}

/// One life of a node's store: made anew (64 random bits) for each store, restore, clone or detected rollback,
/// so that a sequence number is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Whose.
    pub node: NodeId,
    /// Random.
    pub number: u64,
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:08x}", self.node.short(), self.number >> 32)
    }
}

/// One entry: the `sequence`-th (from 1) that its author wrote in a space in one incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Its author's life.
    pub incarnation: Incarnation,
    /// From 1, without gaps.
    pub sequence: u64,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.incarnation, self.sequence)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}.{}", self.incarnation.node, self.incarnation.number, self.sequence)
    }
}

/// The text can't be a dot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version: write NODE.INCARNATION.SEQUENCE, as it is listed")]
pub struct BadDot(pub String);

impl FromStr for Dot {
    type Err = BadDot;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, BadDot> {
        let parse = || {
            let mut parts = text.splitn(3, '.');
            let node = parts.next()?.parse().ok()?;
            let number = u64::from_str_radix(parts.next()?, 16).ok()?;
            let dot = Dot { incarnation: Incarnation { node, number }, sequence: parts.next()?.parse().ok()? };
            (dot.to_string() == text).then_some(dot)
        };
        parse().ok_or_else(|| BadDot(text.chars().take(120).collect()))
    }
}

/// What people call a node: 1–63 of `a–z 0–9 -`, starting and ending with a letter or digit (a DNS label, RFC 1123).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// The text can't be a node's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a node name: use 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends")]
pub struct BadName(pub String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let ends = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
        if bytes.len() <= 63 && bytes.iter().all(allowed) && ends(bytes.first()) && ends(bytes.last()) {
            Ok(NodeName(text.to_owned()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for NodeName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
