//! The entries of the Trust space: the root, grants, revocations.

use serde::{Deserialize, Serialize};

use super::capability::Capabilities;
use crate::model::codec::{self, DecodeError};
use crate::model::{BadSignature, CircleId, Dot, KeyPair, NodeId, NodeName, PublicKey, Signature, TokenId, Use};

/// What a node is to the circle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Authors, offers, is counted.
    Full,
    /// Follows and serves; never authors.
    Edge,
}

impl Role {
    /// As operators type it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Full => "full",
            Role::Edge => "edge",
        }
    }
}

/// A node's public keys, one per use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeKeys {
    /// Signs segments and statements. The first one ever makes the [`NodeId`].
    pub log: PublicKey,
    /// Authenticates connections (the libp2p identity).
    pub transport: PublicKey,
    /// Signs pairing tokens.
    pub pairing: PublicKey,
}

/// Where a node can be reached: multiaddr texts, each at most 256 bytes, at most 16 of each class.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// For control streams, gossip and pairing.
    pub control: Vec<String>,
    /// For blobs.
    pub bulk: Vec<String>,
}

impl Addresses {
    /// Whether they keep the bounds.
    pub fn are_bounded(&self) -> bool {
        [&self.control, &self.bulk].iter().all(|list| list.len() <= 16 && list.iter().all(|text| text.len() <= 256))
    }
}

/// What is granted to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GrantBody {
    /// The node admitted.
    pub node: NodeId,
    /// What it is called.
    pub name: NodeName,
    /// Full member or edge.
    pub role: Role,
    /// Its keys.
    pub keys: NodeKeys,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Where it said it can be reached when it was admitted.
    pub addresses: Addresses,
    /// The pairing token that it consumed, if any.
    pub token: Option<TokenId>,
    /// Revocations of this node that this grant lifts.
    pub overrides: Vec<Dot>,
}

/// The end of one node's grants: it is revoked unless a grant that overrides this very entry exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose.
    pub node: NodeId,
    /// For people, at most 1,024 bytes.
    pub reason: String,
}

/// The circle's root key, stated in the log so that all can check it against the circle's id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Root {
    /// `CircleId::of` this is the circle.
    pub key: PublicKey,
}

/// A grant as an entry: the body's bytes, and the root's signature when the root granted it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// `codec` bytes of a [`GrantBody`].
    pub body: Vec<u8>,
    /// Over `body`, by the circle's root; `None` when the entry's author is the issuer.
    pub root: Option<Signature>,
}

impl Grant {
    /// A grant by the author of the entry that will carry it.
    pub fn by_author(body: &GrantBody) -> Grant {
        Grant { body: codec::encode(body), root: None }
    }

    /// A grant by the root.
    pub fn by_root(body: &GrantBody, root: &KeyPair, circle: &CircleId) -> Grant {
        let body = codec::encode(body);
        let signature = root.sign(Use::Root, circle, &body);
        Grant { body, root: Some(signature) }
    }

    /// What it says.
    pub fn read(&self) -> Result<GrantBody, DecodeError> {
        codec::decode(&self.body)
    }

    /// Checks the root's signature, when it claims one. `Ok(true)` means the root granted it.
    pub fn verify_root(&self, root: &PublicKey, circle: &CircleId) -> Result<bool, BadSignature> {
        match &self.root {
            None => Ok(false),
            Some(signature) => root.verify(Use::Root, circle, &self.body, signature).map(|()| true),
        }
    }
}

/// What `init --new-circle` leaves for the node's first start: all that its first Trust segment holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Founding {
    /// The new circle's root.
    pub root: Root,
    /// The first grant, by that root.
    pub grant: Grant,
}

impl Founding {
    /// Makes a circle: `root` grants everything to the node with these keys.
    pub fn new(root: &KeyPair, name: NodeName, keys: NodeKeys) -> Founding {
        let circle = CircleId::of(&root.public());
        let body = GrantBody {
            node: NodeId::of(&keys.log),
            name,
            role: Role::Full,
            keys,
            capabilities: Capabilities::all(),
            addresses: Addresses::default(),
            token: None,
            overrides: Vec::new(),
        };
        Founding { root: Root { key: root.public() }, grant: Grant::by_root(&body, root, &circle) }
    }

    /// The circle it founds.
    pub fn circle(&self) -> CircleId {
        CircleId::of(&self.root.key)
    }
}
