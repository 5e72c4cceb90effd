//! Pairing: the signed single-use token, and the one question and answer that it buys.
//!
//! A token is one line of text, `artimesh-pair-1.` and base64url. It holds everything the newcomer needs to find and
//! recognise its issuer, and a one-time secret that proves the newcomer holds the token.

use serde::{Deserialize, Serialize};

use super::capability::Capabilities;
use super::grant::{Addresses, NodeKeys, Role};
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{CircleId, Digest, KeyPair, NodeId, NodeName, PublicKey, Signature, TokenId, Use};

const PREFIX: &str = "artimesh-pair-1.";

/// The most characters a token has.
const TOKEN_CHARS_MAX: usize = 8 * 1024;

/// 32 bytes that only the issuer and the token's holder know.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret(pub [u8; 32]);

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

impl TokenSecret {
    /// The secret of token `id`, derived from the issuer's pairing key: the issuer need not remember its tokens.
    pub fn derive(pairing_key: &KeyPair, id: &TokenId) -> TokenSecret {
        let key = blake3::derive_key("artimesh/pairing-secret/v1", &pairing_key.secret());
        TokenSecret(*blake3::keyed_hash(&key, &id.0).as_bytes())
    }

    fn proof(&self, request_core: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.0, request_core).as_bytes())
    }
}

/// What a token says, all of it signed by its issuer's pairing key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairingToken {
    /// Random.
    pub id: TokenId,
    /// The circle it opens.
    pub circle: CircleId,
    /// The circle's root key: what the newcomer pins.
    pub root: PublicKey,
    /// Who issued it and will answer.
    pub issuer: NodeId,
    /// The issuer's name, for people.
    pub issuer_name: NodeName,
    /// The issuer's keys.
    pub issuer_keys: NodeKeys,
    /// Where the issuer listens.
    pub addresses: Addresses,
    /// What the newcomer will be.
    pub role: Role,
    /// What it will be allowed.
    pub capabilities: Capabilities,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The revoked node that it may bring back, and nobody else. A token that doesn't name one brings no revoked node back:
    /// one that was made before the revocation, or for somebody else, must not undo it.
    pub readmits: Option<NodeId>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    token: Vec<u8>,
    signature: Signature,
    secret: TokenSecret,
}

/// Why a text isn't a token that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not the form of a token at all.
    #[error("this is not a pairing token: it should be one line that starts with '{PREFIX}'")]
    NotAToken,
    /// The form, but damaged, altered or not signed by the issuer it names.
    #[error("the pairing token is damaged or was altered")]
    Altered,
}

impl From<DecodeError> for BadToken {
    fn from(_: DecodeError) -> Self {
        BadToken::Altered
    }
}

impl PairingToken {
    /// The token's one line, signed with the issuer's pairing key.
    pub fn to_line(&self, pairing_key: &KeyPair) -> String {
        let token = codec::encode(self);
        let signature = pairing_key.sign(Use::Pairing, &self.circle, &token);
        let secret = TokenSecret::derive(pairing_key, &self.id);
        let wire = codec::encode(&Wire { token, signature, secret });
        format!("{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&wire))
    }

    /// Reads a line, and what its holder needs to send to the issuer.
    pub fn from_line(line: &str) -> Result<(PairingToken, HeldToken), BadToken> {
        let text = line.trim().strip_prefix(PREFIX).ok_or(BadToken::NotAToken)?;
        if text.len() > TOKEN_CHARS_MAX {
            return Err(BadToken::NotAToken);
        }
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BadToken::Altered)?;
        let wire: Wire = codec::decode(&bytes)?;
        let token = verified(&wire.token, &wire.signature)?;
        Ok((token, HeldToken { token: wire.token, signature: wire.signature, secret: wire.secret }))
    }
}

fn verified(bytes: &[u8], signature: &Signature) -> Result<PairingToken, BadToken> {
    let token: PairingToken = codec::decode(bytes)?;
    let good = token.issuer_keys.pairing.verify(Use::Pairing, &token.circle, bytes, signature).is_ok();
    let bounded = token.addresses.are_bounded();
    if good && bounded && CircleId::of(&token.root) == token.circle { Ok(token) } else { Err(BadToken::Altered) }
}

/// A token in the hands of the newcomer.
#[derive(Clone, Debug)]
pub struct HeldToken {
    token: Vec<u8>,
    signature: Signature,
    secret: TokenSecret,
}

/// What the newcomer tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Newcomer {
    name: NodeName,
    keys: NodeKeys,
    addresses: Addresses,
    wall: Timestamp,
}

/// The newcomer's one question: the token without its secret, who asks, and the proof of the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairingRequest {
    token: Vec<u8>,
    signature: Signature,
    newcomer: Vec<u8>,
    proof: Digest,
}

/// A request whose token and proof were verified against the issuer's own key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRequest {
    /// The token it holds. Whether it is expired or used is still to be asked.
    pub token: PairingToken,
    /// The newcomer's name.
    pub name: NodeName,
    /// The newcomer's keys.
    pub keys: NodeKeys,
    /// Where the newcomer listens.
    pub addresses: Addresses,
    /// The newcomer's wall clock.
    pub wall: Timestamp,
}

impl PairingRequest {
    /// The question of the holder of `held`.
    pub fn new(held: &HeldToken, name: NodeName, keys: NodeKeys, addresses: Addresses, wall: Timestamp) -> Self {
        let newcomer = codec::encode(&Newcomer { name, keys, addresses, wall });
        let proof = held.secret.proof(&[held.token.as_slice(), &newcomer].concat());
        PairingRequest { token: held.token.clone(), signature: held.signature, newcomer, proof }
    }

    /// Checks at the issuer that the token is its own and unaltered, that the asker holds its secret, and that the asker
    /// is the one at the other end of the connection (`remote` is the connection's transport key).
    pub fn verify(
        &self,
        issuer: NodeId,
        pairing_key: &KeyPair,
        remote: &PublicKey,
    ) -> Result<VerifiedRequest, PairingReason> {
        let token = verified(&self.token, &self.signature).map_err(|_| PairingReason::Altered)?;
        if token.issuer != issuer || token.issuer_keys.pairing != pairing_key.public() {
            return Err(PairingReason::Foreign);
        }
        let expected =
            TokenSecret::derive(pairing_key, &token.id).proof(&[self.token.as_slice(), &self.newcomer].concat());
        // Comparing through `blake3::Hash` takes the same time whatever differs.
        if blake3::Hash::from_bytes(expected.0) != blake3::Hash::from_bytes(self.proof.0) {
            return Err(PairingReason::Altered);
        }
        let newcomer: Newcomer = codec::decode(&self.newcomer).map_err(|_| PairingReason::Altered)?;
        if newcomer.keys.transport != *remote || !newcomer.addresses.are_bounded() {
            return Err(PairingReason::Altered);
        }
        let Newcomer { name, keys, addresses, wall } = newcomer;
        Ok(VerifiedRequest { token, name, keys, addresses, wall })
    }
}

/// Why the issuer refuses the holder of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum PairingReason {
    /// Damaged, altered, or asked by somebody who doesn't hold it.
    #[error("the pairing token is damaged or was altered")]
    Altered,
    /// Issued by another node.
    #[error("the pairing token was issued by another node")]
    Foreign,
    /// Too late.
    #[error("the pairing token has expired: ask for a new one")]
    Expired,
    /// Another node has used it.
    #[error("the pairing token was already used: ask for a new one")]
    Used,
    /// The newcomer's wall clock is more than five minutes off.
    #[error("this node's clock is more than 5 minutes off the issuer's: set it right and try again")]
    ClockOff,
    /// A node of that name, with other keys, is in the circle.
    #[error("the circle already has another node of that name")]
    NameTaken,
    /// The issuer may not admit nodes, or not with those capabilities (any more).
    #[error("the issuer may not admit this node")]
    NotAllowed,
    /// Too many attempts.
    #[error("too many pairing attempts: wait a minute")]
    RateLimited,
    /// The newcomer was revoked, and the token isn't made to bring it back.
    #[error(
        "this node was revoked from the circle: only a token made for it can bring it back (pair create --readmit NODE)"
    )]
    Revoked,
    /// The token brings one revoked node back, and the newcomer is another.
    #[error("the pairing token was made to bring another node back")]
    NotYours,
}

/// The issuer's one answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PairingAnswer {
    /// Admitted: connect again as a member, and the Trust space follows.
    Admitted,
    /// Refused.
    Refused(PairingReason),
}
