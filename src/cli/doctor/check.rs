//! The outcome of one check.

use serde_json::{Value, json};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should be.
    Ok,
    /// The node runs, but not as well or as safely as it could; or it couldn't be looked at.
    Warn,
    /// The node won't run, or not for long.
    Fail,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    /// What was found.
    pub(super) detail: String,
    /// What to do, unless all is well.
    pub(super) remedy: Option<String>,
}

impl Check {
    pub(super) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Check {
        Check { name: name.into(), outcome: Outcome::Ok, detail: detail.into(), remedy: None }
    }

    pub(super) fn warn(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name: name.into(), outcome: Outcome::Warn, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fail(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name: name.into(), outcome: Outcome::Fail, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn json(&self) -> Value {
        let outcome = self.outcome.word().to_ascii_lowercase();
        json!({"name": self.name, "outcome": outcome, "detail": self.detail, "remedy": self.remedy})
    }
}
