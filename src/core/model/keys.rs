//! Ed25519 keys (RFC 8032), one per use, and signatures that can't be carried from one use or circle to another.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::CircleId;

/// What a key is for. A signature covers `artimesh/<use>/v1 ‖ circle id ‖ message`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// The circle's root: first grants, root revocations.
    Root,
    /// Log segments.
    Log,
    /// Statements outside the log: seals, addresses.
    Statement,
    /// Pairing tokens.
    Pairing,
    /// Release bundles.
    Bundle,
}

impl Use {
    fn domain(self) -> &'static str {
        match self {
            Use::Root => "artimesh/root/v1",
            Use::Log => "artimesh/log/v1",
            Use::Statement => "artimesh/statement/v1",
            Use::Pairing => "artimesh/pairing/v1",
            Use::Bundle => "artimesh/bundle/v1",
        }
    }

    fn message(self, circle: &CircleId, message: &[u8]) -> Vec<u8> {
        [self.domain().as_bytes(), &circle.0, message].concat()
    }
}

/// 32 bytes of an Ed25519 public key; whether they are a point is found out when something is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}…", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// 64 bytes of an Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signature {}…", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high) = self.0.split_at(32);
        let halves: ([u8; 32], [u8; 32]) =
            (low.try_into().expect("32 of 64 bytes"), high.try_into().expect("the other 32"));
        halves.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (low, high) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        Ok(Signature(bytes))
    }
}

/// The signature isn't this key's over this message, use and circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl PublicKey {
    /// Checks `signature` strictly (RFC 8032 with the checks against malleability and small-order keys).
    pub fn verify(
        &self,
        purpose: Use,
        circle: &CircleId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let message = purpose.message(circle, message);
        #[cfg(feature = "verify-once")]
        return remembered::or_else(self, &message, signature, || self.verify_strictly(&message, signature));
        #[cfg(not(feature = "verify-once"))]
        self.verify_strictly(&message, signature)
    }

    fn verify_strictly(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| BadSignature)
    }
}

/// What this thread has verified: in a simulation, whose sites share one, all verify the same signatures, and that takes
/// half of the time. It is the same function, only faster.
#[cfg(feature = "verify-once")]
mod remembered {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::{BadSignature, PublicKey, Signature};

    /// All is forgotten when so many are known.
    const KNOWN_MAX: usize = 1 << 16;

    type Known = BTreeMap<[u8; 32], Result<(), BadSignature>>;

    thread_local! {
        static KNOWN: RefCell<Known> = RefCell::default();
    }

    /// What `verify` said of these bytes before, else what it says now.
    pub(super) fn or_else(
        key: &PublicKey,
        message: &[u8],
        signature: &Signature,
        verify: impl FnOnce() -> Result<(), BadSignature>,
    ) -> Result<(), BadSignature> {
        let mut hasher = blake3::Hasher::new();
        let digest = *hasher.update(&key.0).update(&signature.0).update(message).finalize().as_bytes();
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            *known.entry(digest).or_insert_with(verify)
        })
    }
}

/// A private key and its public half. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The key pair of a 32-byte secret, which the caller drew from the system's randomness.
    pub fn from_secret(secret: &[u8; 32]) -> KeyPair {
        KeyPair(SigningKey::from_bytes(secret))
    }

    /// The secret, to be written to a file of mode 0600 and nowhere else.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for one use in one circle.
    pub fn sign(&self, purpose: Use, circle: &CircleId, message: &[u8]) -> Signature {
        Signature(self.0.sign(&purpose.message(circle, message)).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private half of {:?}", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_use_and_one_circle() {
        let pair = KeyPair::from_secret(&[7; 32]);
        let (home, other) = (CircleId([1; 32]), CircleId([2; 32]));
        let signature = pair.sign(Use::Log, &home, b"x");
        assert_eq!(pair.public().verify(Use::Log, &home, b"x", &signature), Ok(()));
        assert_eq!(pair.public().verify(Use::Statement, &home, b"x", &signature), Err(BadSignature));
        assert_eq!(pair.public().verify(Use::Log, &other, b"x", &signature), Err(BadSignature));
        assert_eq!(pair.public().verify(Use::Log, &home, b"y", &signature), Err(BadSignature));
    }
}
