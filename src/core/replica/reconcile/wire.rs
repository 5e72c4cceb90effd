//! What state sync says on the wire.

use serde::{Deserialize, Serialize};

use crate::catalog::Federation;
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{CircleId, Context, Digest, Heads, Incarnation, KeyPair, NodeId, PublicKey, Signature, Space, Use};

/// What a member says its state is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StateBody {
    /// Who.
    pub author: NodeId,
    /// Its log key.
    pub key: PublicKey,
    /// Of which space.
    pub space: Space,
    /// Hash of its heads.
    pub heads: Digest,
    /// Hash of its heads and of what each author knew.
    pub logs: Digest,
    /// Its state digest.
    pub state: Digest,
    /// How many versions are live.
    pub live: u64,
    /// Whether it was taken over, and no member has signed since that its own is the same: it may yet be put right.
    pub on_trial: bool,
    /// By its wall clock, for people.
    pub at: Timestamp,
}

/// A member's signed word on its state: whoever has the same heads must have the same digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedState {
    body: Vec<u8>,
    signature: Signature,
}

/// Why bytes aren't a state that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It doesn't decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not signed by the key it names.
    #[error("the signature of a state does not verify")]
    Signature,
}

impl SignedState {
    /// Signs `body`, whose key is filled in here.
    pub fn sign(mut body: StateBody, key: &KeyPair, circle: &CircleId) -> SignedState {
        body.key = key.public();
        let body = codec::encode(&body);
        let signature = key.sign(Use::Statement, circle, &body);
        SignedState { body, signature }
    }

    /// What it says, once the signature is verified. Whose key it is, is the caller's question.
    pub fn open(&self, circle: &CircleId) -> Result<StateBody, StateError> {
        let body: StateBody = codec::decode(&self.body)?;
        let verified = body.key.verify(Use::Statement, circle, &self.body, &self.signature);
        verified.map_err(|_| StateError::Signature)?;
        Ok(body)
    }
}

/// What hints are taken over besides a hash, so that nobody can write two states beforehand whose hints are alike: the
/// asker's choice, another one for each state sync.
pub type Salt = [u8; 16];

/// Stands for a hash: enough to look for differences by, for equality is claimed by whole state digests only.
pub type Hint = [u8; 8];

/// The hint of a hash, or of a key.
pub fn hint(salt: &Salt, hash: &[u8; 32]) -> Hint {
    let mut hint = [0; 8];
    let salted = Digest::derived("artimesh/hint/v1", &[&salt[..], &hash[..]].concat());
    hint.copy_from_slice(&salted.0[..8]);
    hint
}

/// Asks for a part of the snapshot of a space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskSnapshot {
    /// Which.
    pub space: Space,
    /// Pairs the answer with the question.
    pub round: u32,
    /// Logs after this one; all when `None`.
    pub after: Option<Incarnation>,
    /// Hash of the asker's heads, and its state digest: to who has the same, the signed state is the whole answer.
    pub has: Option<(Digest, Digest)>,
    /// For the hints of what is shown.
    pub salt: Salt,
    /// What is compared at once, if the states differ: the top of the trie.
    pub prefixes: Vec<Prefix>,
}

/// One log in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogState {
    /// The signed header that ends at the head, as a pruned segment, with what in it ended memberships.
    pub head: Vec<u8>,
    /// All that its author had applied in the space when it wrote that.
    pub context: Context,
    /// All that it had applied of Trust.
    pub needs: Context,
}

/// A part of the snapshot of a space: everything that isn't an item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which space.
    pub space: Space,
    /// The question's.
    pub round: u32,
    /// The source's signed state; `None` when it can't tell just now.
    pub state: Option<SignedState>,
    /// What the source has applied of Trust.
    pub trust: Context,
    /// Founding and members; `None` besides to who has the same state, and then nothing follows.
    pub federation: Option<Federation>,
    /// In the order of incarnations.
    pub logs: Vec<(Incarnation, LogState)>,
    /// Whether there are more logs than fitted.
    pub more: bool,
    /// As in [`Compared`], of that moment.
    pub shown: Vec<Shown>,
}

/// The nibbles from the root to a subtree.
pub type Prefix = Vec<u8>;

/// Asks what is under some prefixes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compare {
    /// In which space.
    pub space: Space,
    /// Pairs the answer with the question.
    pub round: u32,
    /// For the hints in the answer.
    pub salt: Salt,
    /// Where.
    pub prefixes: Vec<Prefix>,
}

/// What is under a prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Shown {
    /// Hints of the hashes of those of 16 children that aren't empty: bit n stands for child n.
    Node(u16, Vec<Hint>),
    /// Hints of the key and of the hash of each item, in the order of keys.
    Leaf(Vec<(Hint, Hint)>),
}

/// The answer to [`Compare`]: to as many of its prefixes, from the first on, as fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// In which space.
    pub space: Space,
    /// The question's.
    pub round: u32,
    /// What the source has applied by now.
    pub heads: Context,
    /// One for each prefix answered; none when the source can't tell just now.
    pub shown: Vec<Shown>,
}

/// Some of what is live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// All, in the order of the log, after the segment of this log that begins there: for who has nothing.
    All(Option<(Incarnation, u64)>),
    /// All under a prefix whose keys come after this one.
    Under(Prefix, Option<[u8; 32]>),
    /// Those under a prefix whose keys have these hints.
    Some(Prefix, Vec<Hint>),
}

impl Wanted {
    /// Whether the item of this key is asked for.
    pub(super) fn covers(&self, salt: &Salt, key: &[u8; 32]) -> bool {
        let nibble = |at: usize| key[at / 2] >> (4 * (1 - at % 2)) & 15;
        let is_under = |prefix: &Prefix| prefix.iter().enumerate().all(|(at, wanted)| at < 64 && nibble(at) == *wanted);
        match self {
            Wanted::All(_) => true,
            Wanted::Under(prefix, after) => is_under(prefix) && after.is_none_or(|after| *key > after),
            Wanted::Some(prefix, keys) => is_under(prefix) && keys.contains(&hint(salt, key)),
        }
    }

    /// Whether `rest` can be what is left of this wish.
    pub(super) fn goes_on_as(&self, rest: &Wanted) -> bool {
        match (self, rest) {
            (Wanted::All(after), Wanted::All(rest)) => rest > after,
            (Wanted::Under(prefix, after), Wanted::Under(rest, from)) => rest == prefix && from > after,
            (Wanted::Some(prefix, _), Wanted::Under(rest, _)) => rest == prefix,
            _ => false,
        }
    }
}

/// Asks for what makes some live versions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// In which space.
    pub space: Space,
    /// Pairs the answer with the question.
    pub round: u32,
    /// Of the hints in the wishes.
    pub salt: Salt,
    /// Which.
    pub wanted: Vec<Wanted>,
}

/// The answer to [`Fetch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Items {
    /// In which space.
    pub space: Space,
    /// The question's.
    pub round: u32,
    /// What the source has applied by now.
    pub heads: Context,
    /// Pruned segments: the puts of live versions, and the edits of their properties that count.
    pub segments: Vec<Vec<u8>>,
    /// How many of the wishes are answered in full.
    pub done: u32,
    /// What is left of the next one.
    pub rest: Option<Wanted>,
}

/// The hash that stands for heads in a signed state.
pub fn hash_of_heads(heads: &Heads) -> Digest {
    Digest::derived("artimesh/heads/v1", &codec::encode(heads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_wish_is_of_the_same_kind_and_lies_beyond_what_was_answered() {
        let life = Incarnation { node: NodeId([1; 32]), number: 0 };
        let all = |from: u64| Wanted::All(Some((life, from)));
        let under = |prefix: u8, after: Option<u8>| Wanted::Under(vec![prefix], after.map(|after| [after; 32]));
        let some = Wanted::Some(vec![1], Vec::new());
        for (wish, rest) in [
            (Wanted::All(None), all(1)),
            (all(1), all(2)),
            (under(1, None), under(1, Some(3))),
            (under(1, Some(3)), under(1, Some(4))),
            (some.clone(), under(1, None)),
        ] {
            assert!(wish.goes_on_as(&rest), "{rest:?} is left of {wish:?}");
            assert!(!rest.goes_on_as(&rest), "{rest:?} is no progress");
            assert!(rest == under(1, None) || !rest.goes_on_as(&wish), "{wish:?} was before {rest:?}");
        }
        for (wish, rest) in [(under(1, None), under(2, Some(3))), (some, under(2, None)), (under(1, None), all(1))] {
            assert!(!wish.goes_on_as(&rest), "{rest:?} isn't part of {wish:?}");
        }
    }
}
