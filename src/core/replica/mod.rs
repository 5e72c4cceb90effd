//! The node's mind: a state machine that decides everything and does nothing itself.
//!
//! [`Replica::handle`] takes the wall clock, a [`View`] of the rows at rest and one [`Input`], and returns
//! [`Output`]s to be performed in order. *Persist* comes before *reply*, *send* and *publish* of the same change; a caller
//! whose persist fails must stop the node, for the replica has already moved on.
//!
//! # Why
//! Convergence under partitions, crashes, skewed clocks and liars can't be tested on sockets. The seeded simulator and the
//! engine are the only two callers, so what the simulator proves is what runs. Time and randomness are arguments;
//! every map is ordered; so a seed replays. The replica holds members, heads and work in flight, never artifacts: those
//! are rows, read through the view.

mod adopt;
mod apply;
mod artifacts;
mod author;
mod brake;
mod clocks;
mod compact;
mod doubt;
mod draft;
mod farewell;
mod following;
mod forks;
mod inspect;
mod invitations;
mod io;
mod kept;
mod ledger;
mod limits;
pub mod message;
mod parking;
mod past;
mod receive;
mod reconcile;
mod rollback;
pub mod rows;
mod serve;
mod state;
mod sync;
mod take_back;
mod trie;
mod trust_duties;
mod upgrade;
mod versions;

pub use adopt::Adoption;
pub use brake::{Hold, holds};
pub use clocks::{Alarm, ClockReport, Offset};
pub use compact::Retention;
pub use farewell::FarewellFault;
pub use forks::Fork;
pub use inspect::{MemberLag, state_digest};
pub use invitations::Waiting;
pub use io::{
    AcceptPolicy, Command, CommandError, Event, Input, KeyValue, Output, Page, Receipt, Refusal, Row, Table, Verdict,
    View, ViewFault,
};
pub use limits::Limits;
pub use message::{Hello, Message};
pub use past::{conflict, conflicts, history, versions};
pub use reconcile::{Difference, DifferenceKind, MergeProgress, SignedState, StateBody, StateError, Why};
pub use rollback::{RollbackAction, RollbackFilter, rollback_step};
pub use rows::{Placement, Repository, Want};
pub use state::{Identity, LoadError, Peer, Replica, Waking};
