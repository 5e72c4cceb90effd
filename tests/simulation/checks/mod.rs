//! The checkers: one property, one file. Each returns what is wrong, in words.

pub mod acknowledged;
pub mod agreement;
pub mod bounded;
pub mod followers;
pub mod ledger;
pub mod no_return;
pub mod oracle;
pub mod rights;
pub mod seals;
pub mod timestamps;
pub mod wants;

/// What is wrong.
pub type Fault = String;

/// How much is asked of what members agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rigour {
    /// All that can be had: as long as this fails, a history goes on.
    Strict,
    /// What is left when nothing changes any more: but for the limits that the core's docs tell.
    WithinLimits,
}
