//! What was held against peers as sources of bytes. It neither waits nor looks at a clock.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use artimesh_core::model::{Digest, NodeId};

/// How long a peer isn't asked again for a blob of which it sent wrong bytes.
const BLAME: Duration = Duration::from_secs(600);

/// Wrong blobs within that time after which a peer is asked last for all others, too.
const DOUBTFUL: usize = 3;

/// How many such cases are remembered.
const CASES_MAX: usize = 4096;

/// Why a peer was last of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// Whether it sent something else than it was asked for; else it broke off or didn't answer.
    pub is_wrong: bool,
    /// What happened, for people.
    pub message: String,
}

/// All peers' standing.
#[derive(Debug, Default)]
pub struct Standings {
    /// Until when.
    wrong: HashMap<(NodeId, Digest), Duration>,
    errors: BTreeMap<NodeId, SourceError>,
}

impl Standings {
    /// A peer sent wrong bytes of a blob, at `now` since any fixed moment.
    pub fn blame(&mut self, node: NodeId, digest: Digest, message: String, now: Duration) {
        self.wrong.retain(|_, until| *until > now);
        if self.wrong.len() < CASES_MAX {
            self.wrong.insert((node, digest), now + BLAME);
        }
        self.errors.insert(node, SourceError { is_wrong: true, message });
    }

    /// A peer broke off, or didn't answer. What is held against it for wrong bytes stays.
    pub fn fault(&mut self, node: NodeId, message: String) {
        let is_wrong = self.errors.get(&node).is_some_and(|error| error.is_wrong);
        if !is_wrong {
            self.errors.insert(node, SourceError { is_wrong: false, message });
        }
    }

    /// It was of use again.
    pub fn praise(&mut self, node: &NodeId) {
        if self.errors.get(node).is_some_and(|error| !error.is_wrong) {
            self.errors.remove(node);
        }
    }

    /// Whether it may be asked for a blob.
    pub fn may_ask(&self, node: &NodeId, digest: &Digest, now: Duration) -> bool {
        self.wrong.get(&(*node, *digest)).is_none_or(|until| *until <= now)
    }

    /// Whether others are asked before it.
    pub fn is_doubtful(&self, node: &NodeId, now: Duration) -> bool {
        let cases = self.wrong.iter().filter(|((other, _), until)| other == node && **until > now);
        cases.count() >= DOUBTFUL
    }

    /// The last that is held against it.
    pub fn error(&self, node: &NodeId) -> Option<SourceError> {
        self.errors.get(node).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn who_sent_wrong_bytes_is_not_asked_for_them_for_a_while_but_for_others() {
        let mut standings = Standings::default();
        standings.blame(NODE, Digest([1; 32]), "group 3".into(), seconds(5));
        assert!(!standings.may_ask(&NODE, &Digest([1; 32]), seconds(604)));
        assert!(standings.may_ask(&NODE, &Digest([1; 32]), seconds(605)));
        assert!(standings.may_ask(&NODE, &Digest([2; 32]), seconds(6)));
        assert!(standings.may_ask(&NodeId([2; 32]), &Digest([1; 32]), seconds(6)));
        standings.fault(NODE, "it broke off".into());
        standings.praise(&NODE);
        let error = SourceError { is_wrong: true, message: "group 3".into() };
        assert_eq!(standings.error(&NODE), Some(error));
    }

    #[test]
    fn who_did_it_thrice_is_asked_last_until_it_is_forgotten() {
        let mut standings = Standings::default();
        for case in 1..=3 {
            assert!(!standings.is_doubtful(&NODE, seconds(10)));
            standings.blame(NODE, Digest([case; 32]), String::new(), seconds(u64::from(case)));
        }
        assert!(standings.is_doubtful(&NODE, seconds(10)));
        assert!(!standings.is_doubtful(&NODE, seconds(601)));
    }

    #[test]
    fn a_break_is_told_until_the_peer_is_of_use_again() {
        let mut standings = Standings::default();
        standings.fault(NODE, "it broke off".into());
        assert!(standings.error(&NODE).is_some_and(|error| !error.is_wrong));
        standings.praise(&NODE);
        assert_eq!(standings.error(&NODE), None);
    }
}
