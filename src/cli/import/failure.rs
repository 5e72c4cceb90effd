//! Why something of an import didn't work, and what is done about it.

use std::time::Duration;

use crate::cli::client::CallError;

/// A file wasn't transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Failure {
    pub(in crate::cli) reason: String,
    pub(in crate::cli) remedy: Remedy,
}

/// What may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Remedy {
    /// Waiting. If it doesn't, nothing else will work either: the node is gone, or can't write.
    WaitOrStop,
    /// Waiting. If it doesn't, the next file may work.
    Wait,
    /// Another try at once, but only one: it changed, or got other on the way than it was.
    Again,
    /// Nothing: the node doesn't take this file.
    Refused,
    /// Nothing: the source doesn't give this file.
    Leave,
    /// Nothing: it isn't what it was when it was listed, which says nothing of the others.
    Changed,
    /// Nothing, for any file: the token is no good, or the disk is full.
    Stop,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Next {
    /// Another try, after this.
    Try(Duration),
    /// The next file.
    Leave,
    /// The end.
    Stop,
}

/// How often it is tried again after waiting: for about a minute, as long as a node takes to start, or a server to take more
/// requests.
const WAITS_MAX: u32 = 12;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(8);

impl Failure {
    pub(in crate::cli) fn new(remedy: Remedy, reason: impl ToString) -> Failure {
        Failure { reason: reason.to_string(), remedy }
    }

    /// Of a call to the node.
    pub(in crate::cli) fn of_node(error: CallError) -> Failure {
        let remedy = match error.status() {
            Some(401 | 507) => Remedy::Stop,
            None if matches!(error, CallError::Stranger(_)) => Remedy::Stop,
            Some(409) => Remedy::Again,
            _ => passing(&error).unwrap_or(Remedy::Refused),
        };
        Failure::new(remedy, error)
    }

    /// Of a call to the server that is imported from.
    pub(in crate::cli) fn of_origin(error: CallError) -> Failure {
        let remedy = match error.status() {
            Some(401) => Remedy::Stop,
            None if matches!(error, CallError::Stranger(_)) => Remedy::Stop,
            _ => passing(&error).unwrap_or(Remedy::Leave),
        };
        Failure::new(remedy, format!("at the source: {error}"))
    }

    /// What comes next when it was tried again `tries` times before.
    pub(in crate::cli) fn next(&self, tries: u32) -> Next {
        match self.remedy {
            Remedy::Wait | Remedy::WaitOrStop if tries < WAITS_MAX => Next::Try(pause(tries)),
            Remedy::Again if tries == 0 => Next::Try(PAUSE_FIRST),
            Remedy::Wait | Remedy::Again | Remedy::Refused | Remedy::Leave | Remedy::Changed => Next::Leave,
            Remedy::WaitOrStop | Remedy::Stop => Next::Stop,
        }
    }
}

/// What helps against an error that passes, if it is one.
fn passing(error: &CallError) -> Option<Remedy> {
    match error {
        CallError::Nobody(_) | CallError::Refused { status: 429, .. } => Some(Remedy::WaitOrStop),
        // Perhaps it is only this file that a proxy, or a bug, stumbles over, or whose bytes nobody has at the moment.
        CallError::Broken { .. } | CallError::Refused { status: 408 | 500 | 502..=504, .. } => Some(Remedy::Wait),
        CallError::Refused { .. } | CallError::Stranger(_) => None,
    }
}

/// Twice as long each time.
fn pause(tries: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << tries.min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> CallError {
        CallError::Refused { status, message: "no".into() }
    }

    #[test]
    fn what_passes_is_waited_for_but_not_for_ever() {
        let busy = Failure::of_node(refused(503));
        let pauses: Vec<Next> = (0..13).map(|tries| busy.next(tries)).collect();
        assert_eq!(pauses[0], Next::Try(Duration::from_millis(200)));
        assert_eq!(pauses[7], Next::Try(Duration::from_secs(8)));
        assert_eq!(pauses[12], Next::Leave, "it may be this file only");
        assert_eq!(Failure::of_node(refused(429)).next(12), Next::Stop);
        let total: Duration = (0..12).map(pause).sum();
        assert!(total > Duration::from_secs(55) && total < Duration::from_secs(70), "{total:?}");
        assert_eq!(Failure::of_origin(refused(502)).next(12), Next::Leave, "the source may give another");
        let broken = CallError::Broken { what: "PUT /a".into(), reason: "closed".into() };
        assert_eq!(Failure::of_node(broken).next(12), Next::Leave, "and the node take another");
        assert_eq!(Failure::of_node(CallError::Nobody("gone".into())).next(12), Next::Stop);
    }

    #[test]
    fn what_is_about_one_file_leaves_the_others_alone() {
        assert_eq!(Failure::of_node(refused(400)).next(0), Next::Leave);
        assert!(matches!(Failure::of_node(refused(409)).next(0), Next::Try(_)), "perhaps it was the line");
        assert_eq!(Failure::of_node(refused(409)).next(1), Next::Leave);
        assert_eq!(Failure::of_node(refused(507)).next(0), Next::Stop);
        assert_eq!(Failure::of_origin(refused(404)).next(0), Next::Leave);
    }
}
