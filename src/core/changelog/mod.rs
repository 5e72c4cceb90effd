//! Logs of signed segments: how they are written, verified and counted.
//!
//! An author's log in a space is a chain of segments; each is a batch of entries under one signature. What a node has
//! applied of every log of a space is its [`Heads`](crate::model::Heads).
//!
//! # Why
//! Verifying an Ed25519 signature costs as much as hashing a hundred entries, so batches are signed, not entries. The
//! Merkle root over a batch lets single entries be proved later, when the others have been compacted away.

mod change;
mod claim;
mod feature;
mod merkle;
mod pruned;
mod segment;

pub use change::{Accept, Change, ChangeError, kind};
pub use claim::{Claim, ForkProof};
pub use feature::{FEATURES, Feature, feature_of};
pub use merkle::root as merkle_root;
pub use pruned::{PRUNED, Pruned, Stored};
pub use segment::{ENTRIES_MAX, FORMAT, Header, SEGMENT_BYTES_MAX, Sealed, SegmentError, entry_hash, header_hash};
