//! Using a command wrongly, as far as only the command can tell.

/// What was asked makes no sense: exit code 2. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub &'static str);
