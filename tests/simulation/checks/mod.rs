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
