//! A lease as it is signed, sent and kept.

use artimesh_core::model::codec;
use artimesh_core::model::{CircleId, Digest, KeyPair, NodeId, PublicKey, Signature, Space, Use};
use artimesh_core::replica::rows;
use serde::{Deserialize, Serialize};

/// What is asked of a member about some blobs, beside which.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Never used before: proofs of possession are over it, so that none can be repeated.
    pub nonce: [u8; 32],
    /// How long the blobs are to be kept, in milliseconds; 0: nothing is to be promised.
    pub term_ms: u32,
}

/// What a member says of one blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// It can't or won't say: the space isn't shared, or nothing live there names the blob.
    Unknown,
    /// It knows the version, and hasn't the bytes, or not all of them yet.
    Absent,
    /// It has them, and promises nothing.
    Here,
    /// It is a mirror, has them durable, and keeps them.
    Leased(Lease),
}

/// What a lease says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseBody {
    /// Who keeps the blob.
    pub holder: NodeId,
    /// For whom.
    pub asker: NodeId,
    /// In which space it is a mirror.
    pub space: Space,
    /// The blob.
    pub digest: Digest,
    /// When it was granted, by the holder's wall clock, in milliseconds since 1970.
    pub granted_ms: u64,
    /// For how long, in milliseconds.
    pub term_ms: u32,
    /// Of the terms that it answers.
    pub nonce: [u8; 32],
    /// The proof over that nonce that the holder has the bytes: see [`crate::engine::proof`].
    pub proof: [u8; 32],
}

/// "I have this blob durable, and keep it until then": a signed lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    body: Vec<u8>,
    signature: Signature,
}

impl rows::Stored for Lease {}

/// What is signed: a digest of its own domain, so that no lease can pass for another statement of its holder.
fn signed(body: &[u8]) -> [u8; 32] {
    Digest::derived("artimesh/lease/v1", body).0
}

impl Lease {
    /// Signs a lease with the holder's log key.
    pub fn sign(body: &LeaseBody, key: &KeyPair, circle: &CircleId) -> Lease {
        let body = codec::encode(body);
        let signature = key.sign(Use::Statement, circle, &signed(&body));
        Lease { body, signature }
    }

    /// What it says, if `key`, the holder's log key, signed it for this circle.
    pub fn verify(&self, key: &PublicKey, circle: &CircleId) -> Option<LeaseBody> {
        key.verify(Use::Statement, circle, &signed(&self.body), &self.signature).ok()?;
        codec::decode(&self.body).ok()
    }

    /// What it says, unverified: of one that was verified before it was kept.
    pub fn body(&self) -> Option<LeaseBody> {
        codec::decode(&self.body).ok()
    }
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    use artimesh_core::model::FederationId;

    use super::*;

    const CIRCLE: CircleId = CircleId([1; 32]);

    fn key() -> KeyPair {
        KeyPair::from_secret(&[7; 32])
    }

    fn body() -> LeaseBody {
        LeaseBody {
            holder: NodeId([2; 32]),
            asker: NodeId([3; 32]),
            space: Space::Federation(FederationId([4; 32])),
            digest: Digest([5; 32]),
            granted_ms: 1_700_000_000_000,
            term_ms: 600_000,
            nonce: [6; 32],
            proof: [8; 32],
        }
    }

    /// A lease for golden files.
    pub fn sample() -> Lease {
        Lease::sign(&body(), &key(), &CIRCLE)
    }

    #[test]
    fn a_lease_is_its_holders_word_in_one_circle_and_of_nothing_else() {
        let lease = sample();
        assert_eq!(lease.verify(&key().public(), &CIRCLE), Some(body()));
        assert_eq!(lease.verify(&key().public(), &CircleId([2; 32])), None);
        assert_eq!(lease.verify(&KeyPair::from_secret(&[8; 32]).public(), &CIRCLE), None);
        let mut altered = lease.clone();
        altered.body[0] ^= 1;
        assert_eq!(altered.verify(&key().public(), &CIRCLE), None);
        let plain = key().public().verify(Use::Statement, &CIRCLE, &lease.body, &lease.signature);
        assert!(plain.is_err(), "its bytes are no statement of another kind");
    }
}
