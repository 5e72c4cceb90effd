//! Invitations that wait because their repository key is in use here: they are taken once it is free.

use super::io::{View, ViewFault};
use super::state::{Replica, Work};
use crate::model::{RepoKey, Space};
use crate::trust::Role;

/// A federation that this node is invited to, or belongs to, and doesn't show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Which.
    pub space: Space,
    /// The key that it would have here.
    pub key: RepoKey,
    /// What has that key here now. The remedies: adopt that repository into the federation, delete it, or have the node
    /// invited under another key.
    pub taken_by: Option<Space>,
}

impl Replica {
    /// Federations that wait for their key, or for the next tick.
    pub fn waiting_invitations(&self) -> Vec<Waiting> {
        if self.role() != Some(Role::Full) || self.writer().is_err() {
            return Vec::new();
        }
        let waiting = |space: &Space| {
            let own = self.own_membership(space)?;
            let accepted = own.accepted().map(|(_, key)| key);
            let key = accepted.or_else(|| own.pending()).filter(|_| self.repository_of(space).is_none())?;
            let taken_by = self.repositories.get(&key.folded()).map(|repository| repository.space);
            Some(Waiting { space: *space, key: key.clone(), taken_by })
        };
        self.spaces.keys().filter_map(waiting).collect()
    }

    /// Once a second: takes what waited for a key that is free now.
    pub(super) fn take_invitations<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        for waiting in self.waiting_invitations().into_iter().filter(|waiting| waiting.taken_by.is_none()) {
            work.membership_changed.insert(waiting.space);
            self.welcome(work, waiting.space)?;
        }
        Ok(())
    }
}
