//! The rows at rest: their keys and values. One path parser for keys, one list of prefixes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::brake::{Burst, Hold};
use super::forks::Fork;
use super::io::{Table, View, ViewFault};
use crate::catalog::{Dispute, Federation, FederationV1, Historic, Version, Versions, VersionsV1};
use crate::clock::Timestamp;
use crate::model::codec::{self, DecodeError};
use crate::model::{
    ArtifactPath, Checksums, CircleId, Context, Digest, Dot, Head, Incarnation, NodeId, PublicKey, RepoKey, Space,
};
use crate::trust::{Addresses, NodeKeys, Statement, StatementKind};

/// How a node keeps a repository's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Placement {
    /// All of them.
    Mirror,
    /// Those that were read.
    OnDemand,
}

/// A repository of this node: the key under which it shows a federation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repository {
    /// As it was given.
    pub key: RepoKey,
    /// What it shows.
    pub space: Space,
    /// Mirror or on demand.
    pub placement: Placement,
    /// When it appeared here.
    pub created: Timestamp,
}

/// A blob that a version names and this mirror still lacks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Want {
    /// Fetch it inside this space.
    pub space: Space,
    /// The version.
    pub dot: Dot,
    /// Its path.
    pub path: ArtifactPath,
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Claimed by the author.
    pub checksums: Checksums,
}

/// What is known of one log: row `head`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct LogRow {
    /// Last applied.
    pub head: Option<Head>,
    /// All that its author had applied in this space when it wrote that.
    pub context: Context,
    /// All that its author had applied of Trust.
    pub needs: Context,
}

/// The circle that this node belongs to: row `circle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct CircleRow {
    /// Its id.
    pub circle: CircleId,
    /// Its root key.
    pub root: PublicKey,
    /// Who admitted this node: trusted to be the peer until the Trust space says more.
    pub issuer: Option<Introducer>,
}

/// Who admitted this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Introducer {
    /// Its id.
    pub node: NodeId,
    /// Its keys.
    pub keys: NodeKeys,
    /// Where it listens.
    pub addresses: Addresses,
}

/// Meta key of the circle row.
pub const CIRCLE: &[u8] = b"circle";
/// Meta key of the incarnation's number, 8 bytes little-endian.
pub const INCARNATION: &[u8] = b"incarnation";
/// Meta key of the number of the rows' layout: 2 from the release on that keeps a trie. A `u32`.
pub const LAYOUT: &[u8] = b"layout";
/// Meta key of how old the history is.
pub const AGE: &[u8] = b"age";
/// Prefix of the heads.
pub const HEADS: &[u8] = b"head/";
/// Prefix of the federations.
pub const FEDERATIONS: &[u8] = b"fed/";
/// Prefix of the repositories.
pub const REPOSITORIES: &[u8] = b"repo/";
/// Prefix of the statements (seals) that are known, each a [`crate::trust::Statement`].
pub const STATEMENTS: &[u8] = b"seal/";
/// Prefix of the wanted blobs.
pub const WANTS: &[u8] = b"want/";
/// Prefix of the addresses that peers told.
pub const ADDRESSES: &[u8] = b"addr/";

/// Prefix of the proofs that lives were lived twice.
pub const FORKS: &[u8] = b"fork/";
/// Prefix of the lives that their nodes have ended by an entry.
pub const ENDED: &[u8] = b"ended/";
/// Meta keys of forked lives that this node stands wrong in: space, then incarnation.
pub const ASTRAY: &[u8] = b"astray/";
/// Meta keys of own versions that are to be put again when a state sync is done, or this node is a member again: space,
/// then a number.
pub const AGAIN: &[u8] = b"again/";
/// Prefix of the alarms about versions stamped far ahead.
pub const ALARMS: &[u8] = b"ahead/";
/// Prefix of what removed members may still know.
pub const REMOVED: &[u8] = b"removed/";
/// Prefix of entries that ended a membership, with their proof, where the log doesn't hold them.
pub const FAREWELLS: &[u8] = b"farewell/";

/// Prefix of the repositories that are on their way into a federation.
pub const ADOPTIONS: &[u8] = b"adopt/";

/// Prefix of the commits of state syncs that are under way.
pub(super) const MERGES: &[u8] = b"merge/";
/// Prefix of the source's logs in such a commit.
const MERGE_LOGS: &[u8] = b"merge-log/";
/// Prefix of what must be applied before a state that was taken over is what its heads say.
pub(super) const CATCHING_UP: &[u8] = b"catch-up/";
/// Prefix of the sequences up to which a log isn't whole at rest.
pub(super) const FLOORS: &[u8] = b"floor/";
/// Prefix of the spaces taken over from another member, on whose state others haven't yet given their word.
pub(super) const UNCONFIRMED: &[u8] = b"unconfirmed/";
/// Prefix of the spaces whose state was taken over, and no member has signed since that its own is the same.
pub(super) const ON_TRIAL: &[u8] = b"on-trial/";

/// The first key after all those that start with `prefix`.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; 64]
}

fn incarnation_bytes(incarnation: &Incarnation) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(&incarnation.node.0);
    bytes[32..].copy_from_slice(&incarnation.number.to_be_bytes());
    bytes
}

pub(super) fn incarnation_from(bytes: &[u8]) -> Option<Incarnation> {
    let node = NodeId(bytes.get(..32)?.try_into().ok()?);
    let number = u64::from_be_bytes(bytes.get(32..40)?.try_into().ok()?);
    Some(Incarnation { node, number })
}

pub(super) fn adoption_key(from: &Space) -> Vec<u8> {
    [ADOPTIONS, &from.key()].concat()
}

pub(super) fn merge_key(space: &Space) -> Vec<u8> {
    [MERGES, &space.key()].concat()
}

pub(super) fn merge_logs_prefix(space: &Space) -> Vec<u8> {
    [MERGE_LOGS, &space.key()].concat()
}

pub(super) fn merge_log_key(space: &Space, incarnation: &Incarnation) -> Vec<u8> {
    [MERGE_LOGS, &space.key()[..], &incarnation_bytes(incarnation)].concat()
}

pub(super) fn catching_up_key(space: &Space) -> Vec<u8> {
    [CATCHING_UP, &space.key()].concat()
}

pub(super) fn unconfirmed_key(space: &Space) -> Vec<u8> {
    [UNCONFIRMED, &space.key()].concat()
}

pub(super) fn floor_key(space: &Space, incarnation: &Incarnation) -> Vec<u8> {
    [FLOORS, &space.key()[..], &incarnation_bytes(incarnation)].concat()
}

pub(super) fn on_trial_key(space: &Space) -> Vec<u8> {
    [ON_TRIAL, &space.key()].concat()
}

/// Space and incarnation in a key of [`FLOORS`].
pub(super) fn floor_key_parts(key: &[u8]) -> Option<(Space, Incarnation)> {
    let rest = key.strip_prefix(FLOORS)?;
    Some((space_from(rest)?, incarnation_from(rest.get(33..)?)?))
}

pub(super) fn head_key(space: &Space, incarnation: &Incarnation) -> Vec<u8> {
    [HEADS, &space.key(), &incarnation_bytes(incarnation)].concat()
}

pub(super) fn space_from(key: &[u8]) -> Option<Space> {
    match key.first()? {
        1 => Some(Space::Trust),
        2 => Some(Space::Accounts),
        3 => Some(Space::Federation(crate::model::FederationId(key.get(1..33)?.try_into().ok()?))),
        _ => None,
    }
}

pub(super) fn head_key_parts(key: &[u8]) -> Option<(Space, Incarnation)> {
    let rest = key.strip_prefix(HEADS)?;
    Some((space_from(rest)?, incarnation_from(rest.get(33..)?)?))
}

pub(super) fn federation_key(space: &Space) -> Vec<u8> {
    [FEDERATIONS, &space.key()].concat()
}

/// `prefix`, then a space, then a life.
pub(super) fn life_key(prefix: &[u8], space: &Space, incarnation: &Incarnation) -> Vec<u8> {
    [prefix, &space.key(), &incarnation_bytes(incarnation)].concat()
}

/// Space and life of such a key.
pub(super) fn life_from(key: &[u8], prefix: &[u8]) -> Option<(Space, Incarnation)> {
    let rest = key.strip_prefix(prefix)?;
    Some((space_from(rest)?, incarnation_from(rest.get(33..)?)?))
}

pub(super) fn alarm_key(space: &Space, path: &ArtifactPath) -> Vec<u8> {
    [ALARMS, &space.key(), path.as_str().as_bytes()].concat()
}

pub(super) fn removed_key(space: &Space, node: &NodeId) -> Vec<u8> {
    [REMOVED, &space.key(), &node.0].concat()
}

/// Meta key of a farewell.
pub(super) fn farewell_key(space: &Space, dot: &Dot) -> Vec<u8> {
    [FAREWELLS, &space.key(), &incarnation_bytes(&dot.incarnation), &dot.sequence.to_be_bytes()].concat()
}

/// Space and node of a row key that is `prefix`, then both.
pub(super) fn space_and_node(key: &[u8], prefix: &[u8]) -> Option<(Space, NodeId)> {
    let rest = key.strip_prefix(prefix)?;
    Some((space_from(rest)?, NodeId(rest.get(33..65)?.try_into().ok()?)))
}

/// Meta key of a repository.
pub fn repository_key(key: &RepoKey) -> Vec<u8> {
    [REPOSITORIES, key.folded().as_bytes()].concat()
}

/// Meta key of a wanted blob.
pub fn want_key(space: &Space, dot: &Dot) -> Vec<u8> {
    [WANTS, &space.key(), &incarnation_bytes(&dot.incarnation), &dot.sequence.to_be_bytes()].concat()
}

/// Meta key of what `author` stated of `subject`.
pub fn statement_key(author: &NodeId, kind: StatementKind, subject: &NodeId) -> Vec<u8> {
    let number = match kind {
        StatementKind::Seal => 0,
        StatementKind::Features => 1,
    };
    [STATEMENTS, &author.0, &[number], &subject.0].concat()
}

/// Meta key of the addresses that `node` told.
pub fn address_key(node: &NodeId) -> Vec<u8> {
    [ADDRESSES, &node.0].concat()
}

/// Catalog key of a path.
pub fn catalog_key(space: &Space, path: &ArtifactPath) -> Vec<u8> {
    [&space.key(), path.as_str().as_bytes()].concat()
}

/// Catalog key of the first path at or after `prefix`.
pub fn catalog_prefix(space: &Space, prefix: &str) -> Vec<u8> {
    [&space.key(), prefix.as_bytes()].concat()
}

fn path_from(bytes: &[u8]) -> Option<ArtifactPath> {
    ArtifactPath::try_from(String::from_utf8(bytes.to_vec()).ok()?).ok()
}

/// The path in a catalog key.
pub fn catalog_path(key: &[u8]) -> Option<ArtifactPath> {
    path_from(key.get(33..)?)
}

/// Trie key under which the items of a space begin that start with `prefix`, a part of an item's key.
pub(super) fn item_key(space: &Space, prefix: &[u8]) -> Vec<u8> {
    [&space.key()[..], &[1], prefix].concat()
}

/// Trie key of an inner node: `nibbles` lead to it from the root, each below 16.
pub(super) fn node_key(space: &Space, nibbles: &[u8]) -> Vec<u8> {
    [&space.key()[..], &[0, nibbles.len() as u8], nibbles].concat()
}

/// Trie key of the mark that says that items starting with `prefix` changed since the nodes above were computed.
pub(super) fn mark_key(space: &Space, prefix: &[u8]) -> Vec<u8> {
    [&space.key()[..], &[2], prefix].concat()
}

/// Trie key under which what a state sync staged begins: pruned segments.
pub(super) fn stage_prefix(space: &Space) -> Vec<u8> {
    [&space.key()[..], &[3]].concat()
}

/// Trie key of a staged segment.
pub(super) fn stage_key(space: &Space, incarnation: &Incarnation, first_sequence: u64) -> Vec<u8> {
    [&stage_prefix(space)[..], &incarnation_bytes(incarnation), &first_sequence.to_be_bytes()].concat()
}

/// Trie key under which the segments begin that a state sync brought beyond the state.
pub(super) fn tail_prefix(space: &Space) -> Vec<u8> {
    [&space.key()[..], &[5]].concat()
}

/// Trie key of such a segment.
pub(super) fn tail_key(space: &Space, incarnation: &Incarnation, first_sequence: u64) -> Vec<u8> {
    [&tail_prefix(space)[..], &incarnation_bytes(incarnation), &first_sequence.to_be_bytes()].concat()
}

/// Trie key under which the items begin that a state sync is to drop.
pub(super) fn drop_prefix(space: &Space) -> Vec<u8> {
    [&space.key()[..], &[4]].concat()
}

/// Trie key of an item that a state sync is to drop.
pub(super) fn drop_key(space: &Space, item: &[u8; 32]) -> Vec<u8> {
    [&drop_prefix(space)[..], item].concat()
}

/// Log key of the segment that starts with `first_sequence`.
pub fn segment_key(space: &Space, incarnation: &Incarnation, first_sequence: u64) -> Vec<u8> {
    [&space.key(), &incarnation_bytes(incarnation)[..], &first_sequence.to_be_bytes()].concat()
}

/// What a row of the history is, behind its space.
const PAST: u8 = 1;
const DELETE: u8 = 2;
const DELETE_PREFIX: u8 = 3;
const DISPUTE: u8 = 4;

/// First byte of the history's index by time: no space begins with it.
const EXPIRY: u8 = 0;

fn dot_bytes(dot: &Dot) -> Vec<u8> {
    [&incarnation_bytes(&dot.incarnation)[..], &dot.sequence.to_be_bytes()].concat()
}

/// The dot that a key of the history ends with.
pub(super) fn dot_at_end(key: &[u8]) -> Option<Dot> {
    let bytes = key.get(key.len().checked_sub(48)?..)?;
    let sequence = u64::from_be_bytes(bytes[40..].try_into().ok()?);
    Some(Dot { incarnation: incarnation_from(bytes)?, sequence })
}

/// History key under which a path's ended versions begin, newest first. No path has a byte below 32.
pub(super) fn ended_start(space: &Space, path: &ArtifactPath) -> Vec<u8> {
    [&space.key()[..], &[PAST], path.as_str().as_bytes(), &[0]].concat()
}

/// History key of the first version that ended at a path from `path` on.
pub(super) fn ended_from(space: &Space, path: &str) -> Vec<u8> {
    [&space.key()[..], &[PAST], path.as_bytes()].concat()
}

/// History key of the version `dot` of a path, whose end this node learnt `at`. The value is a [`Historic`]: its blob is
/// in use as long as the row is there, though nobody fetches it for the row's sake.
pub(super) fn ended_key(space: &Space, path: &ArtifactPath, at: Timestamp, dot: &Dot) -> Vec<u8> {
    [ended_at_start(space, path, at), dot_bytes(dot)].concat()
}

/// History key under which the versions of a path begin whose end this node learnt `at`.
pub(super) fn ended_at_start(space: &Space, path: &ArtifactPath, at: Timestamp) -> Vec<u8> {
    [ended_start(space, path), (!at.0).to_be_bytes().to_vec()].concat()
}

/// The space and path of a version that ended.
pub(super) fn ended_key_parts(key: &[u8]) -> Option<(Space, ArtifactPath)> {
    let (space, rest) = (space_from(key)?, key.get(33..)?.strip_prefix(&[PAST])?);
    let path = rest.split(|byte| *byte == 0).next()?;
    Some((space, path_from(path)?))
}

/// A version of this node's own that went with a branch: a row under [`AGAIN`] until it is written again. A garbage collector
/// must go through them: what they name is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unwritten {
    /// Where it was.
    pub path: ArtifactPath,
    /// What it was.
    pub version: Version,
}

impl Stored for Unwritten {}

/// The [`Historic`] version in a row of the history; `None` for rows of another purpose. A garbage collector must go
/// through them all: what they name is in use.
pub fn historic(key: &[u8], value: &[u8]) -> Result<Option<Historic>, DecodeError> {
    if key.first() == Some(&EXPIRY) || key.get(33) != Some(&PAST) { Ok(None) } else { read(value).map(Some) }
}

/// History key under which the deletes of one path begin.
pub(super) fn delete_key_start(space: &Space, path: &ArtifactPath) -> Vec<u8> {
    [&space.key()[..], &[DELETE], path.as_str().as_bytes(), &[0]].concat()
}

/// History key of the delete `dot` of one path. The value is empty.
pub(super) fn delete_key(space: &Space, path: &ArtifactPath, dot: &Dot) -> Vec<u8> {
    [delete_key_start(space, path), dot_bytes(dot)].concat()
}

/// History key under which all prefix deletes begin.
pub(super) fn delete_prefixes(space: &Space) -> Vec<u8> {
    [&space.key()[..], &[DELETE_PREFIX]].concat()
}

/// History key under which the deletes of one prefix begin.
pub(super) fn delete_prefix_start(space: &Space, prefix: &str) -> Vec<u8> {
    [&delete_prefixes(space)[..], prefix.as_bytes(), &[0]].concat()
}

/// History key of the prefix delete `dot`. The value is empty.
pub(super) fn delete_prefix_key(space: &Space, prefix: &str, dot: &Dot) -> Vec<u8> {
    [delete_prefix_start(space, prefix), dot_bytes(dot)].concat()
}

/// The prefix in the key of a prefix delete.
pub(super) fn prefix_in(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(34..key.len().checked_sub(49)?)?).ok()
}

/// History key of what is in dispute at a path; of the first such path for the beginning of one.
pub(super) fn dispute_key(space: &Space, path: &str) -> Vec<u8> {
    [&space.key()[..], &[DISPUTE], path.as_bytes()].concat()
}

/// The path in such a key.
pub(super) fn dispute_path(key: &[u8]) -> Option<ArtifactPath> {
    path_from(key.get(34..)?)
}

/// History key by which the row `key`, written when the history was `age_ms` old, is found when its time is over.
pub(super) fn expiry_key(age_ms: u64, key: &[u8]) -> Vec<u8> {
    [&[EXPIRY], &age_ms.to_be_bytes()[..], key].concat()
}

/// Meta key of when this node began to hold a space that others had founded.
pub(super) fn joined_key(space: &Space) -> Vec<u8> {
    [&b"joined/"[..], &space.key()].concat()
}

/// Meta key of what an author ended lately in a space.
pub(super) fn burst_key(space: &Space, author: &NodeId) -> Vec<u8> {
    [&b"burst/"[..], &space.key(), &author.0].concat()
}

/// Meta key of the hold on an author in a space; of all of them for the beginning of an id.
pub(super) fn hold_key(space: &Space, author: &[u8]) -> Vec<u8> {
    [&b"hold/"[..], &space.key(), author].concat()
}

/// Meta key of how many paths of a space are live.
pub(super) fn count_key(space: &Space) -> Vec<u8> {
    [&b"count/"[..], &space.key()].concat()
}

/// How many paths of a space are live.
pub fn live_paths(view: &impl View, space: &Space) -> Result<u64, ViewFault> {
    view.get(Table::Meta, &count_key(space))?.map_or(Ok(0), |value| read(&value).map_err(|e| ViewFault(e.to_string())))
}

/// First byte of the log keys of segments that are kept and not applied: no space begins with it.
pub const KEPT: &[u8] = &[9];

/// Log key of a segment that is kept until this node is upgraded.
pub fn kept_key(space: &Space, incarnation: &Incarnation, first_sequence: u64) -> Vec<u8> {
    [KEPT, &segment_key(space, incarnation, first_sequence)].concat()
}

/// First byte of the log keys of segments that were taken back.
pub const TAKEN_BACK: &[u8] = &[10];

/// Log key of a segment that was applied once and lost to another with the same place.
pub fn taken_back_key(space: &Space, incarnation: &Incarnation, first_sequence: u64, hash: &Digest) -> Vec<u8> {
    [TAKEN_BACK, &segment_key(space, incarnation, first_sequence), &hash.0].concat()
}

/// What is stored as a row's value: a version byte, then the codec's bytes.
pub trait Stored: Serialize + DeserializeOwned {
    /// The version that is written.
    const VERSION: u8 = 1;

    /// Reads the bytes of an earlier version.
    fn upgrade(version: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        let _ = bytes;
        Err(DecodeError::Malformed { what: "row", reason: format!("version {version} is of no known Artimesh") })
    }
}

impl Stored for () {}
impl Stored for (Head, Context, Context) {}
impl Stored for super::reconcile::MergeRow {}
impl Stored for super::adopt::Adoption {}
impl Stored for u32 {}
impl Stored for u64 {}
impl Stored for Context {}
impl Stored for Burst {}
impl Stored for Historic {}
impl Stored for Hold {}
impl Stored for Timestamp {}
impl Stored for Dispute {}
impl Stored for Repository {}
impl Stored for Want {}
impl Stored for LogRow {}
impl Stored for CircleRow {}
impl Stored for Statement {}
impl Stored for Addresses {}
impl Stored for Dot {}
impl Stored for Fork {}
impl Stored for super::clocks::Alarm {}

impl Stored for Versions {
    const VERSION: u8 = 2;

    fn upgrade(_: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode::<VersionsV1>(bytes).map(Versions::from)
    }
}

impl Stored for Federation {
    const VERSION: u8 = 2;

    fn upgrade(_: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode::<FederationV1>(bytes).map(Federation::from)
    }
}

/// A value as it is stored.
pub fn write<T: Stored>(value: &T) -> Vec<u8> {
    let mut bytes = vec![T::VERSION];
    bytes.extend(codec::encode(value));
    bytes
}

/// A value that was stored by this version or an earlier one.
pub fn read<T: Stored>(value: &[u8]) -> Result<T, DecodeError> {
    match value.split_first() {
        Some((&version, bytes)) if version == T::VERSION => codec::decode_row(bytes),
        Some((&version, bytes)) if (1..T::VERSION).contains(&version) => T::upgrade(version, bytes),
        Some((version, _)) => {
            Err(DecodeError::Malformed { what: "row", reason: format!("version {version} is of a later Artimesh") })
        }
        None => Err(DecodeError::Malformed { what: "row", reason: "empty".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FederationId, NodeId};

    type SegmentKey = fn(&Space, &Incarnation, u64) -> Vec<u8>;

    #[test]
    fn each_segment_that_a_state_sync_brings_has_a_row_of_its_own_under_its_prefix() {
        let (one, other) = (Space::Federation(FederationId([1; 32])), Space::Federation(FederationId([2; 32])));
        let (first, second) =
            (Incarnation { node: NodeId([3; 32]), number: 1 }, Incarnation { node: NodeId([3; 32]), number: 2 });
        for (prefix, key) in [(stage_prefix as fn(&Space) -> Vec<u8>, stage_key as SegmentKey), (tail_prefix, tail_key)]
        {
            let keys = [key(&one, &first, 1), key(&one, &first, 2), key(&one, &second, 1), key(&other, &first, 1)];
            assert!(keys[..3].is_sorted() && keys[..3].iter().all(|key| key.starts_with(&prefix(&one))));
            assert!(keys[3].starts_with(&prefix(&other)));
            assert_eq!(std::collections::BTreeSet::from(keys).len(), 4);
        }
    }
}
