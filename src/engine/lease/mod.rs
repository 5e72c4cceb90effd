//! Leases: a possible last copy goes only when another mirror has promised to keep the blob.
//!
//! Whoever would remove bytes that something here still names calls [`Engine::let_go`](super::Engine::let_go), and nothing
//! else; for an operator [`Engine::evict`](super::Engine::evict) does. It finds out what each blob takes ([`needs`]), asks mirrors for signed leases ([`ask`], [`statement`]), and has the
//! mind remove what has them. What it takes, for each space in which a live version names the blob:
//!
//! - **What this node wrote** takes leases of `max(1, replication.min_copies)` mirrors, whatever its own placement: a lease is
//!   a mirror's word that it has the bytes durable, so they are the confirmations that the author waits for. They are kept
//!   for a while behind the removal, for people who look for the bytes later.
//! - **What a mirror holds of others** takes one.
//! - **What was fetched on demand** takes none: caches never count, and nobody relies on them.
//! - What the history, or anything else among the [roots](super::Roots), names stays.
//!
//! # The rules, and why no blob is lost
//! They are a state machine without I/O, [`rules::Rules`], so that the races in `races.rs` are races of what runs.
//!
//! - **Who asks has declared its intention**: from before it asks until the removal is durable, or given up, it grants no
//!   lease on that blob. Who has granted one begins no such attempt before it ends. So of all leases that removals ever rest
//!   upon, take the one that was granted last: its holder neither intended to remove the blob then, nor has it got a lease
//!   of anybody since. It still holds the blob. That needs no clock, and holds however late messages are.
//! - **Of two that ask each other, one gives way**: the one whose turn it isn't, by a hash over blob and node. So one wins,
//!   and neither waits for the other.
//! - **A promise is durable before it is told**, and read again at the next start; an intention needn't be, for what a crash
//!   leaves of a removal is decided by the next open of the store. A store that was set back, or restored, may have
//!   forgotten promises: it removes nothing for as long as one may last.
//! - **Terms are short** (at most 10 minutes), and measured by each side's own running clock, by the asker from when it
//!   asked: nobody's wall clock matters, except over a restart of the holder. They say how long a promise binds its holder
//!   when the asker is gone; that nothing is lost doesn't rest on them.
//! - **A lease is worth as much as the copy behind it.** The holder proves to have the bytes, as of now, by BLAKE3 over groups
//!   that the asker's nonce chooses: all of a small blob, sixteen of a large one. What rots later no promise can keep.
//! - **Removals are messages to the mind**, which notes what is named from before the first row was read: what is written
//!   meanwhile and names the blob ends the attempt.
//!
//! # Hostile members
//! A request is answered within a space that the asker shares, and for a blob that is live there; otherwise with the same
//! `Unknown` as for anything unheard of. Leases go to full members only, 16,384 in force to one and 65,536 to all, and never
//! on what is garbage here, so that a member can keep bytes from being removed only while they are in use. A member that
//! grants and doesn't keep its word can lose what rests on it alone: `replication.min_copies` is the remedy.

mod answer;
mod ask;
mod evict;
mod kept;
mod let_go;
mod needs;
#[cfg(test)]
mod races;
mod rules;
mod statement;
#[cfg(test)]
pub(super) mod tests;

pub(super) use answer::answer;
pub(super) use ask::{NOTHING_PROMISED, terms, words};
pub use evict::{Evicted, Eviction};
pub(super) use kept::{sweep, wake};
pub use let_go::{Kept, LetGo};
pub(super) use rules::{Removal, Rules, Ticket};
#[cfg(test)]
pub(super) use statement::tests::sample;
pub(super) use statement::{Terms, Word};
