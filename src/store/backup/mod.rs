//! A node's folder as one stream: a tar archive that is consistent as of one commit, and that proves itself.
//!
//! ```text
//! about.json            whose it is, as of which commit, how much follows
//! artimesh.toml, …      the folder's own small files, as the caller gives them
//! store/packs/*.pack    the packs: all but the newest whole, that one up to the end of the commit
//! store/large/*.blob    the large files that a commit up to there refers to
//! manifest.jsonl        path, bytes and BLAKE3 of every file before it
//! ```
//!
//! [`Plan`] decides what goes in, [`write`] streams it, [`read`] verifies it and, if wanted, unpacks it.
//!
//! # Why
//! - **While writes go on:** packs only ever grow, and a large file is never changed once it has its final name; so a commit
//!   number, the length of the newest pack and a list of names are a snapshot. Nobody's write waits for a backup; files that
//!   are to be removed, and packs that are to be compacted, wait until it is done.
//! - **The index is left out.** It can be built anew from the packs, and is the one thing that changes in place.
//! - **The manifest comes last,** so that the archive is made in one pass; and without it a backup is none: one that was cut
//!   off is noticed, whatever carried it. Its length is known before, so that the whole stream's is.
//! - **A tar,** for `tar t` and every backup system understand it.

mod manifest;
mod plan;
mod read;
mod write;

pub use manifest::{About, FORMAT};
pub(in crate::store) use plan::Mark;
pub use plan::{OwnFile, Plan, PlanError};
pub use read::{Contents, Failure, read};
pub use write::write;
