//! A transport key as libp2p sees it.

use artimesh_core::model::{KeyPair, PublicKey};
use libp2p::{
    PeerId,
    identity::{self, ed25519},
    multihash::Multihash,
};

/// The multihash code of "the digest is the thing itself".
const IDENTITY: u64 = 0;

/// The peer id of a transport key; `None` when its bytes are no point of the curve.
pub(super) fn peer_id(key: &PublicKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The transport key of a peer; `None` when it isn't an Ed25519 key.
pub(super) fn public_key(peer: &PeerId) -> Option<PublicKey> {
    let hash: &Multihash<64> = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(PublicKey(key.try_into_ed25519().ok()?.to_bytes()))
}

/// libp2p's form of a key pair.
pub(super) fn keypair(key: &KeyPair) -> identity::Keypair {
    identity::Keypair::ed25519_from_bytes(key.secret()).expect("any 32 bytes are an Ed25519 secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_key_survives_the_way_to_a_peer_id_and_back() {
        let key = KeyPair::from_secret(&[3; 32]);
        let peer = peer_id(&key.public()).unwrap();
        assert_eq!(peer, keypair(&key).public().to_peer_id());
        assert_eq!(public_key(&peer), Some(key.public()));
    }

    #[test]
    fn a_peer_that_is_only_a_hash_has_no_transport_key() {
        assert_eq!(public_key(&PeerId::random()), None);
    }
}
