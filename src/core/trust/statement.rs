//! Statements: signed, outside the log, last value per author and subject. Seals are statements.

use serde::{Deserialize, Serialize};

use crate::model::codec::{self, DecodeError};
use crate::model::{CircleId, Head, Incarnation, KeyPair, NodeId, PublicKey, Signature, Space, Use};

/// What a statement is about; the numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum StatementKind {
    /// A [`Seal`]; the subject is the revoked node.
    Seal,
    /// The features that the author's version knows, a `u64` of bits; the subject is the author.
    Features,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Body {
    author: NodeId,
    kind: StatementKind,
    subject: NodeId,
    serial: u64,
    content: Vec<u8>,
}

/// Who says what about whom, under which serial number: the greater serial replaces the lesser.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Statement {
    body: Vec<u8>,
    signature: Signature,
}

/// Why bytes aren't a statement that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It doesn't decode, or is of a kind that this version doesn't know.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A seal over more logs than any node has.
    #[error("the statement is over its bounds")]
    TooLarge,
    /// Its subject isn't one that its author may speak of.
    #[error("the statement speaks of a node that is not its author's to speak of")]
    Misplaced,
    /// Not signed by its author's log key.
    #[error("the statement's signature does not verify")]
    Signature,
}

/// How much of a revoked node's logs the author had applied: per space and incarnation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Seal {
    /// Sorted; one row per log of the revoked node.
    pub heads: Vec<(Space, Incarnation, Head)>,
}

impl Statement {
    /// Signs a seal about `subject`.
    pub fn seal(
        author: NodeId,
        subject: NodeId,
        serial: u64,
        seal: &Seal,
        key: &KeyPair,
        circle: &CircleId,
    ) -> Statement {
        let content = codec::encode(seal);
        Statement::sign(&Body { author, kind: StatementKind::Seal, subject, serial, content }, key, circle)
    }

    /// Signs what features the author's version knows.
    pub fn features(author: NodeId, serial: u64, features: u64, key: &KeyPair, circle: &CircleId) -> Statement {
        let content = codec::encode(&features);
        Statement::sign(&Body { author, kind: StatementKind::Features, subject: author, serial, content }, key, circle)
    }

    fn sign(body: &Body, key: &KeyPair, circle: &CircleId) -> Statement {
        let body = codec::encode(body);
        let signature = key.sign(Use::Statement, circle, &body);
        Statement { body, signature }
    }

    fn read(&self) -> Result<Body, StatementError> {
        Ok(codec::decode(&self.body)?)
    }

    /// Author, kind, subject and serial, unverified.
    pub fn head(&self) -> Result<(NodeId, StatementKind, NodeId, u64), StatementError> {
        let body = self.read()?;
        Ok((body.author, body.kind, body.subject, body.serial))
    }

    /// The seal it states.
    pub fn content(&self) -> Result<Seal, StatementError> {
        Ok(codec::decode(&self.read()?.content)?)
    }

    /// The features it states.
    pub fn stated_features(&self) -> Result<u64, StatementError> {
        Ok(codec::decode(&self.read()?.content)?)
    }

    /// Whether `key`, the author's log key, signed it for this circle.
    pub fn verify(&self, key: &PublicKey, circle: &CircleId) -> Result<(), StatementError> {
        key.verify(Use::Statement, circle, &self.body, &self.signature).map_err(|_| StatementError::Signature)
    }
}
