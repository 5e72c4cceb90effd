//! State sync: members that can't (or needn't) replay logs compare what is live, and take over the difference.
//!
//! ```text
//!  asker                                                   source
//!    AskSnapshot(heads, digest) ──────────────────────────▶  the same? its signed state, and that is all
//!                                                            else heads, what authors knew, the federation, signed;
//!                                                            and the top of its trie
//!    Compare(prefixes) ───────────────────────────────────▶  children's hints; hints of a leaf's items
//!    Fetch(subtrees, items) ──────────────────────────────▶  items, each with its author's signed proof
//!    … staged, until nothing differs; then committed as one: items, absences, heads
//! ```
//!
//! Several questions wait for their answers at a time (`descend`), each answered by one message of bounded size: what a
//! state sync takes on a long link is the depth of the trie in round trips, not the number of questions.
//!
//! # Why
//! A log that was compacted can't be replayed, and one of a year needn't be. What differs is found by descending the two
//! tries (`trie`); what to do about it follows from the heads: a version that the source has and we don't is news unless
//! our heads cover it, for then it was deleted here; one that we have and the source hasn't was deleted there if the
//! source's heads cover it, else it is our news. So deletes stay deleted without tombstones, whoever was away for however long.
//!
//! The source's state may move on meanwhile. Everything is therefore judged by the heads of the snapshot, H0, taken
//! before anything was compared: items beyond H0 aren't taken, absences beyond H0 don't count, and what the source
//! deleted since is deleted here too when its log is replayed from H0 on. That log is fetched before the commit (`tail`),
//! so that nobody is needed for it. What logs bring here while the two compare is compared in its turn, as far as H0 covers
//! it: the source may have ended it before H0, in words that the commit passes over. A source that takes a branch of a forked
//! log back goes behind its snapshot: then all is compared anew, and so it is when the asker does that. Nothing is visible
//! before the commit, which is redone from its rows after a crash; a source that vanishes before leaves only staged rows
//! behind.
//!
//! Heads say what was deleted only as long as all that they cover counts: who applied a branch of a forked log that lost
//! goes by the source's state instead ([`branch`]). And only between logs that can be one: a source whose segments contradict
//! those here is compared with no further ([`parting`]).
//!
//! # What is believed
//! An item only with its author's signature over it, by a key that the circle knows, for a right that its author was
//! granted, up to the seals. Heads only with the signed header that ends there. Absence, what authors knew of each other, and the
//! federation's membership only from a full member in good standing, over its signature ([`SignedState`]); a joiner
//! doesn't author before its digest equals one that two such members signed.
//!
//! What was signed once may be dead long since. So only what was asked for is taken, and what was taken over is held against
//! other members' signed words (`agreement`): at equal heads the digests must be equal, or the state is taken anew from
//! whoever differs. While it is on trial a node says so, and nobody goes by it or is alarmed by it. Two on trial that agree
//! end it for each other only when all members say the same: one liar may have told them both, and who is away may know
//! better. Where all who could tell are on trial the least name is gone by, lied to or not; but a source at the same heads
//! that shows what is known here to have ended isn't believed at all: if it is on trial, it goes by this node. Should it bear
//! the least name it doesn't, and both stay on trial, which their status says, until somebody comes who isn't, or an
//! operator has one of them take over the other's state.

mod agreement;
mod branch;
mod commit;
mod descend;
mod merge;
mod parting;
mod proof;
mod snapshot;
mod source;
mod sweep;
mod tail;
mod wire;

pub(super) use agreement::Said;
pub(super) use commit::MergeRow;
pub(super) use merge::Merge;
pub use merge::{Difference, DifferenceKind, MergeProgress, Why};
pub(super) use source::{live_entries, segment_at};
pub(super) use wire::{AskSnapshot, Compare, Compared, Fetch, Items, Snapshot};
pub use wire::{SignedState, StateBody, StateError};
