//! Whether this node may write on: its rows may be older than what it has told others.
//!
//! Every exchange of heads says how much a peer has of this node's own present life. More than is here means that the rows
//! were set back: nothing is written from then on, until the proof has come (own segments, and with them a new life:
//! [`Replica::live_anew`]) or has not come in time.
//!
//! # Why
//! Sequence numbers that were used once must never be used again. A claim proves nothing, so a liar can stop a node for
//! a short time only, and not soon again.

use super::io::{CommandError, View};
use super::state::{Replica, Work};
use crate::clock::Timestamp;
use crate::model::{Heads, NodeId, Space};
use crate::trust::Role;

/// How long a claim without proof stops this node. Milliseconds.
const DOUBT_MS_MAX: u64 = 15_000;

/// The same in ticks, for a clock that stands still.
const DOUBT_TICKS_MAX: u32 = 15;

/// How long a peer's next claim counts for nothing after one that wasn't proved. Milliseconds.
const DISBELIEF_MS: u64 = 600_000;

impl Replica {
    /// Compares what a peer has of this very life with what is here.
    pub(super) fn doubt_oneself<V: View>(&mut self, work: &Work<'_, V>, from: NodeId, space: Space, theirs: &Heads) {
        let trust = self.trust.as_ref();
        if trust.and_then(|trust| trust.good(&from)).is_some_and(|member| member.role() == Role::Full) {
            self.heard.insert(space);
        }
        let mine = self.heads(&space).of(&self.incarnation).sequence;
        if theirs.of(&self.incarnation).sequence <= mine {
            return;
        }
        let now = work.now;
        let peer = self.peers.entry(from).or_default();
        let lately = |at: Timestamp| at <= now && now.ms_since(at) < DISBELIEF_MS;
        if !peer.doubted.is_some_and(lately) {
            peer.doubted = Some(now);
            self.doubt = Some((now, DOUBT_TICKS_MAX));
        }
    }

    /// Once a second.
    pub(super) fn pass_doubt(&mut self) {
        self.doubt = self.doubt.and_then(|(since, ticks)| Some((since, ticks.checked_sub(1)?)));
    }

    /// Whether commands must wait.
    pub(super) fn check_doubt(&self, now: Timestamp) -> Result<(), CommandError> {
        match self.doubt {
            Some((since, _)) if since <= now && now.ms_since(since) < DOUBT_MS_MAX => Err(CommandError::Reconciling),
            _ => Ok(()),
        }
    }

    /// The spaces in which nothing is written here before another member was heard.
    pub fn unheard(&self) -> impl Iterator<Item = &Space> {
        self.spaces.keys().filter(|space| self.check_heard(space).is_err())
    }

    /// Whether others of a space must be heard before this node writes in it.
    pub(super) fn check_heard(&self, space: &Space) -> Result<(), CommandError> {
        if !self.asks_first || self.heard.contains(space) {
            return Ok(());
        }
        let Some(trust) = &self.trust else { return Ok(()) };
        let counts = |node: &NodeId| {
            let federation = self.federation(space);
            *node != self.me.node
                && trust.good(node).is_some_and(|member| member.role() == Role::Full)
                && federation.is_none_or(|federation| federation.is_member(node))
        };
        if trust.members().any(|(node, _)| counts(node)) { Err(CommandError::AsksFirst(*space)) } else { Ok(()) }
    }
}
