//! The circle of trust: roots, pairing tokens, grants with capabilities, revocations, seals.
//!
//! The state of the Trust space is a function of the *set* of its applied entries: grants and revocations only add up,
//! and every order of arrival gives the same answer to every question.
//!
//! # Why
//! A revocation must not split the circle: two members that had heard different amounts of the revoked node's log must
//! still end with the same state. So nobody refuses "whatever I don't have yet"; each member *seals* what it had
//! applied, and entries up to the greatest seal of the members in good standing are admitted everywhere
//! ([`State::admitted`]).
//!
//! Who might write an entry is asked of the grants that the entry's own context covers; that a grant has ended since is
//! asked of the seals alone. So three ends are one rule: a revoked node, a full member that was made an edge, and a node
//! whose token turns out to have been spent on another before, are all sealed. A grant that overrides the revocation
//! lifts the seals: the node is in good standing, and all its entries are admitted again, those between too.
//! Nothing has to be taken back for that, and anybody may hear of it late.

mod capability;
mod grant;
mod pairing;
mod state;
mod statement;

pub use capability::{Capabilities, Capability};
pub use grant::{Addresses, Founding, Grant, GrantBody, NodeKeys, Revocation, Role, Root};
pub use pairing::{
    BadToken, HeldToken, PairingAnswer, PairingReason, PairingRequest, PairingToken, TokenSecret, VerifiedRequest,
};
pub use state::{Member, Standing, State, TrustRefusal};
pub use statement::{Seal, Statement, StatementError, StatementKind};
