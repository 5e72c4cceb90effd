//! Why there is no connection to a peer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use artimesh_core::model::PublicKey;
use libp2p::swarm::DialError;

use super::identity;

/// Why a session ended or a dial failed; the last one of each peer is kept for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No address answered.
    #[error("not reachable: {detail}")]
    Unreachable {
        /// The addresses and what each said.
        detail: String,
    },
    /// Somebody else answers at the peer's address.
    #[error("another key answers at {address}")]
    WrongKey {
        /// Who answers, when its key is of a kind we know.
        found: Option<PublicKey>,
        /// Where.
        address: String,
    },
    /// An address that was given can't be dialled.
    #[error("`{address}` is not an address that can be dialled")]
    BadAddress {
        /// As it was given.
        address: String,
    },
    /// The peer answers but takes us for a stranger.
    #[error("the peer does not admit this node")]
    NotAdmitted,
    /// The peer opened no session, or didn't answer, in time.
    #[error("the peer does not answer")]
    Silent,
    /// The connection ended.
    #[error("the connection ended")]
    Closed,
    /// The peer sent a frame of this many bytes.
    #[error("the peer sent a frame of {bytes} bytes")]
    FrameTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The peer began a new session in place of this one.
    #[error("the peer began a new session")]
    Replaced,
    /// It is no member any more.
    #[error("removed from the members")]
    Removed,
    /// This swarm closes.
    #[error("the swarm closes")]
    Closing,
}

/// The last fault of each peer.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<HashMap<PublicKey, Fault>>);

impl Faults {
    pub(super) fn note(&self, peer: &PublicKey, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*peer, fault);
    }

    pub(super) fn forget(&self, peer: &PublicKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }

    pub(super) fn last(&self, peer: &PublicKey) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }
}

impl From<&DialError> for Fault {
    fn from(error: &DialError) -> Fault {
        match error {
            DialError::WrongPeerId { obtained, address } => {
                Fault::WrongKey { found: identity::public_key(obtained), address: address.to_string() }
            }
            DialError::LocalPeerId { address } => Fault::WrongKey { found: None, address: address.to_string() },
            DialError::Transport(attempts) => {
                let attempts = attempts.iter().map(|(address, error)| format!("{address}: {}", root_cause(error)));
                Fault::Unreachable { detail: attempts.collect::<Vec<_>>().join("; ") }
            }
            other => Fault::Unreachable { detail: other.to_string() },
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
