//! Lost blobs: what a live version names, and no mirror has.
//!
//! A blob that isn't here is *missing*: it is on its way, or who has it can't be reached now. It is *lost* when nothing is
//! left to wait for: every other full member of the federation is connected and has said, asked by name, that it knows the
//! version and hasn't the bytes; or there is no other member. That is a state, kept in a row, told in the journal and in the
//! status, and an answer to readers (410), who would else try again for ever.
//!
//! # Why it is decided as it is
//! - **It takes everybody's word.** A member that can't be reached, says nothing, is of an older release, or doesn't know the
//!   version (yet) leaves it at *missing*. A dead member that nobody removed does so too: its disk may still be read. Which
//!   members mirror is their own affair and may change, so all full members are asked; what one of them has only in its
//!   cache can be fetched all the same. Edges give nothing to anybody, and aren't asked. What has arrived of a blob in pieces
//!   doesn't count; should the pieces of several make a whole, whoever fetches it ends the state.
//! - **A lie does no harm that lasts.** Nothing is removed because of this state, and who says that it has nothing and has it
//!   only hides what it could have withheld anyway.
//! - **It ends by bytes:** as soon as they are here ([`Engine::lost`](super::Engine::lost) looks first), when a member that came
//!   back, or was asked again, has them, or when no live version names them any more. What is lost is asked about whenever
//!   a peer comes, and every [`REVIEW`](watch::REVIEW).
//! - **Who is suspected:** what the mirror's fetch was refused by all, and what a reader asked for and nobody had. So a
//!   blob that rotted, or can't be read, and that no one else has, is found to be lost within moments of its quarantine.
//!
//! # Memory
//! What is lost is rows; in memory there is their number, and at most [`SUSPECTS_MAX`](ledger::SUSPECTS_MAX) suspects.
//! Whoever isn't taken in is suspected again by the next try to fetch it.

mod examine;
mod ledger;
mod tally;
#[cfg(test)]
mod tests;
mod watch;

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Digest, NodeId, Space};
use artimesh_core::replica::rows;
use serde::{Deserialize, Serialize};

use super::bulk::Reference;
use super::handle::Engine;
use crate::store::ReadError;
pub(super) use ledger::{Ledger, Suspect};
pub use tally::Losses;
pub(super) use watch::watch;

/// A blob that a live version names and that exists nowhere, as far as anybody can tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lost {
    /// Where it is lost: through another space it may still be there.
    pub space: Space,
    /// A path whose version names it.
    pub path: ArtifactPath,
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Since when that is known.
    pub since: Timestamp,
    /// The members that said then that they haven't it: all others there were.
    pub asked: Vec<NodeId>,
}

impl rows::Stored for Lost {}

impl Lost {
    fn reference(&self) -> Reference {
        Reference { space: self.space, path: self.path.clone(), digest: self.digest }
    }
}

impl Engine {
    /// What is known of a blob that is lost; `None` for one that is here, or may be had.
    pub fn lost(&self, space: &Space, digest: &Digest) -> Result<Option<Lost>, ReadError> {
        self.shared.lost.find(&self.shared.store, space, digest)
    }

    /// The same of one that could not be fetched: all other members are asked, if that wasn't done just now.
    pub async fn examine(
        &self,
        space: Space,
        path: &ArtifactPath,
        digest: Digest,
        size: u64,
    ) -> Result<Option<Lost>, ReadError> {
        let suspect = Suspect { reference: Reference { space, path: path.clone(), digest }, size };
        if self.shared.lost.is_due(&suspect, self.shared.started.elapsed()) {
            examine::examine(&self.shared, vec![suspect]).await;
        }
        self.lost(&space, &digest)
    }
}
