//! A signed header without its entries: enough to prove that its author wrote it.

use serde::{Deserialize, Serialize};

use super::segment::{Header, SegmentError, header_hash};
use crate::model::codec;
use crate::model::{CircleId, Digest, Signature, Use};

/// What its author said of one segment, with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    header: Vec<u8>,
    signature: Signature,
}

impl Claim {
    pub(super) fn new(header: Vec<u8>, signature: Signature) -> Claim {
        Claim { header, signature }
    }

    /// The header.
    pub fn header(&self) -> Result<Header, SegmentError> {
        Ok(codec::decode(&self.header)?)
    }

    /// The chain hash of the segment.
    pub fn hash(&self) -> Digest {
        header_hash(&self.header)
    }

    /// Whether the key that the header names signed it for this circle. Whose key it is, is the caller's question.
    pub fn verify(&self, circle: &CircleId) -> Result<(), SegmentError> {
        Ok(self.header()?.key.verify(Use::Log, circle, &self.header, &self.signature)?)
    }
}

/// Two successors of one segment, both properly signed: proof that one life of a node was lived twice. Nothing less is a
/// proof, so that everybody who holds one knows where the two part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForkProof {
    /// The one with the lesser hash: it is the log's next segment, everywhere.
    pub winner: Claim,
    /// The other.
    pub loser: Claim,
}

impl ForkProof {
    /// The proof that two claims make, if they do: signatures apart.
    pub fn of(one: Claim, other: Claim) -> Option<ForkProof> {
        let (winner, loser) = if one.hash() <= other.hash() { (one, other) } else { (other, one) };
        let proof = ForkProof { winner, loser };
        proof.is_fork().then_some(proof)
    }

    fn is_fork(&self) -> bool {
        let (Ok(winner), Ok(loser)) = (self.winner.header(), self.loser.header()) else { return false };
        let place = |header: &Header| (header.space, header.incarnation, header.first_sequence, header.previous);
        place(&winner) == place(&loser) && self.winner.hash() < self.loser.hash()
    }

    /// Checks what a peer sent: two different successors of one segment, signed by the keys they name. Returns the
    /// winner's header and the loser's.
    pub fn verify(&self, circle: &CircleId) -> Result<(Header, Header), SegmentError> {
        self.winner.verify(circle)?;
        self.loser.verify(circle)?;
        if self.is_fork() { Ok((self.winner.header()?, self.loser.header()?)) } else { Err(SegmentError::NoFork) }
    }
}
