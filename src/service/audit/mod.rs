//! The one audit writer: who did what, with which outcome.

use super::caller::Caller;

/// Writes audit records to the log under the target `audit`.
#[derive(Clone, Debug, Default)]
pub struct Audit;

impl Audit {
    /// One record. `what` is a verb, `object` names what it was done to, `outcome` is `done` or the reason why not.
    pub fn record(&self, caller: &Caller, what: &str, object: &str, outcome: &str) {
        let (who, request) = (caller.principal.name(), &caller.request.0);
        tracing::info!(target: "audit", who, request, what, object, outcome, "{who} {what} {object}: {outcome}");
    }
}
