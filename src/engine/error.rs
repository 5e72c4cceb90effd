//! What can go wrong, as decisions the service can take.

use artimesh_core::model::ArtifactPath;
use artimesh_core::replica::CommandError;
use artimesh_core::trust::{BadToken, PairingReason};

use crate::store;
use crate::swarm;

/// The node must stop: its store failed, and what it knows in memory may be ahead of what is durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed, so this node stops: {reason}")]
pub struct EngineFailed {
    /// The store's own words.
    pub reason: String,
}

/// A command wasn't done.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// A rule forbids it; nothing was changed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// There is no space for it; nothing was changed.
    #[error("{0}")]
    NoSpace(String),
    /// The bytes that a path was to have have gone from here meanwhile; nothing was changed.
    #[error("the bytes for {0} are not here any more")]
    BytesGone(ArtifactPath),
    /// The node is stopping or failed; whether it was done is unknown.
    #[error("the node is stopping: {0}")]
    Stopped(String),
}

/// A blob couldn't be had from anybody now. What arrived is kept for the next try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No member that may have it is connected.
    #[error("no member that holds this repository is connected")]
    NobodyConnected,
    /// All that were asked don't have it, or failed.
    #[error("{0}")]
    NobodyHasIt(String),
    /// Our own disk.
    #[error("the bytes could not be stored here: {0}")]
    Store(String),
}

/// Joining a circle failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text isn't a usable token.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The issuer refuses.
    #[error(transparent)]
    Refused(#[from] PairingReason),
    /// The issuer wasn't reached, or gave no answer.
    #[error(transparent)]
    Swarm(#[from] swarm::PairError),
    /// The issuer's answer can't be understood: it is of another version.
    #[error("the issuer's answer could not be understood: is it of another version?")]
    Answer,
    /// The command to join wasn't done.
    #[error(transparent)]
    Command(#[from] CommandFailure),
    /// Admitted, but the circle's log hasn't arrived; it will when the issuer can be reached.
    #[error("admitted, but the circle's log has not arrived yet; it will when the issuer can be reached")]
    NotYet,
}

impl From<store::CommitError> for FetchError {
    fn from(error: store::CommitError) -> Self {
        FetchError::Store(error.to_string())
    }
}

impl From<store::ReadError> for FetchError {
    fn from(error: store::ReadError) -> Self {
        FetchError::Store(error.to_string())
    }
}
