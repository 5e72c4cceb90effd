//! One state sync under way: where it stands and whom it asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::wire::{Hint, Prefix, Salt, Shown, Wanted};
use crate::catalog::Federation;
use crate::changelog::Pruned;
use crate::model::{ArtifactPath, Context, Heads, Incarnation, NodeId};

/// The most differences that are listed by name.
const LISTED_MAX: usize = 1000;

/// Why states are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Why {
    /// The source has no log any more, or none worth replaying, of what is missing here.
    Behind,
    /// An operator asked.
    Asked,
    /// An operator asked what would happen.
    DryRun,
    /// A follower's state is replaced by a member's.
    Follow,
    /// A branch that lost was applied here and can't be taken back: see the module `branch`.
    Branch,
}

/// What is to be done about a difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DifferenceKind {
    /// The source has it, and it is news here.
    Take,
    /// The source has it and hasn't heard that it was deleted here.
    DeletedHere,
    /// It is here, and the source deleted it.
    Drop,
    /// It is here, and news to the source.
    Give,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What is to be done.
    pub kind: DifferenceKind,
    /// Where.
    pub path: ArtifactPath,
}

/// How far a state sync has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MergeProgress {
    /// Questions answered.
    pub rounds: u64,
    /// Bytes of those answers.
    pub bytes: u64,
    /// Versions to take, as far as known.
    pub take: u64,
    /// Versions that the source hasn't heard were deleted here.
    pub deleted_here: u64,
    /// Versions to drop.
    pub drop: u64,
    /// Versions that are news to the source.
    pub give: u64,
    /// Rows committed so far.
    pub committed: u64,
    /// Paths at which something ended by that, since the start at least.
    pub ended: u64,
    /// The first of them by name.
    pub listed: Vec<Difference>,
    /// Whether nothing is left to do.
    pub is_done: bool,
}

impl MergeProgress {
    pub(super) fn count(&mut self, kind: DifferenceKind, path: &ArtifactPath) {
        *match kind {
            DifferenceKind::Take => &mut self.take,
            DifferenceKind::DeletedHere => &mut self.deleted_here,
            DifferenceKind::Drop => &mut self.drop,
            DifferenceKind::Give => &mut self.give,
        } += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Difference { kind, path: path.clone() });
        }
    }
}

/// A state sync in one space.
#[derive(Clone, Debug)]
pub(in super::super) struct Merge {
    pub(in super::super) source: NodeId,
    pub(super) why: Why,
    /// The last question's.
    pub(super) round: u32,
    /// Questions that wait for their answers, by round.
    pub(super) asked: BTreeMap<u32, Asked>,
    /// For the hints in the answers.
    pub(super) salt: Salt,
    /// Ticks since it last came further: a clock may stand still.
    pub(super) still: u32,
    /// What the source had applied when it last answered: what it deleted meanwhile is missing here until all of that is.
    pub(super) until: Context,
    /// Where the logs end that are here when the commit begins.
    pub(super) reach: Heads,
    pub(super) step: Step,
    pub(super) progress: MergeProgress,
}

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// For a part of the snapshot, and what is under these prefixes.
    Snapshot(Vec<Prefix>),
    /// What is under these.
    Compare(Vec<Prefix>),
    /// For these.
    Fetch(VecDeque<Wanted>),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// What an earlier attempt staged goes first.
    Clear,
    /// Collecting the snapshot.
    Snapshot(Box<Taken>),
    /// Finding and fetching differences.
    Descend(Box<Taken>, Box<Descent>),
    /// Fetching what the source applied meanwhile.
    Tail(Box<Taken>, Box<super::tail::Tail>),
    /// Applying what is staged; from here on there is no way back.
    Commit(Commit),
    /// A dry run's end.
    Listed,
}

/// The snapshot as far as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) state: Option<super::wire::StateBody>,
    pub(super) federation: Option<Federation>,
    pub(super) heads: Heads,
    pub(super) known: BTreeMap<Incarnation, (Context, Context)>,
    pub(super) ends: Vec<Pruned>,
    /// The top of the source's trie.
    pub(super) top: Vec<(Prefix, Shown)>,
    /// What was applied here when what is here was compared.
    pub(super) compared: Heads,
}

/// How far a commit has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    pub(super) pass: Pass,
    /// The row after which it goes on.
    pub(super) cursor: Vec<u8>,
}

/// The passes of a commit, in order; each comes to the same when it is begun anew after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pass {
    /// Versions that are news.
    #[default]
    Puts,
    /// Edits of what is live then, and the proofs into the log.
    Edits,
    /// Versions that go.
    Drops,
    /// At a follower: what its log has beyond the source's.
    Logs,
    /// What the source applied meanwhile goes to what is kept.
    Tail,
    /// Heads, what authors knew, and the federation.
    Heads,
}

impl Commit {
    pub(super) fn begin(why: Why) -> Commit {
        let pass = if why == Why::Branch { Pass::Drops } else { Pass::default() };
        Commit { pass, cursor: Vec::new() }
    }
}

impl Pass {
    /// What goes with a branch goes first: what comes may bear the same numbers.
    pub(super) fn next(self, why: Why) -> Pass {
        match (self, why) {
            (Pass::Puts, _) => Pass::Edits,
            (Pass::Edits, Why::Branch) => Pass::Logs,
            (Pass::Edits, _) => Pass::Drops,
            (Pass::Drops, Why::Branch) => Pass::Puts,
            (Pass::Drops, _) => Pass::Logs,
            (Pass::Logs, _) => Pass::Tail,
            (Pass::Tail | Pass::Heads, _) => Pass::Heads,
        }
    }
}

/// What is still to be compared and fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Descent {
    /// Prefixes to ask about.
    pub(super) compare: VecDeque<Prefix>,
    /// Items to ask for.
    pub(super) fetch: VecDeque<Wanted>,
    /// Own items to look through for what the source lacks.
    pub(super) look: VecDeque<Look>,
}

impl Descent {
    pub(super) fn from_root() -> Descent {
        Descent { compare: VecDeque::from([Vec::new()]), ..Descent::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.compare.is_empty() && self.fetch.is_empty() && self.look.is_empty()
    }
}

/// Own items under a prefix, beside what the source has there.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) prefix: Prefix,
    /// Hints of the keys that the source has there.
    pub(super) theirs: BTreeSet<Hint>,
    /// The last key that was looked at.
    pub(super) after: Option<[u8; 32]>,
}

impl Merge {
    pub(super) fn new(source: NodeId, why: Why) -> Merge {
        let progress = MergeProgress::default();
        Merge {
            source,
            why,
            round: 0,
            asked: BTreeMap::new(),
            salt: Salt::default(),
            still: 0,
            until: Context::default(),
            reach: Heads::default(),
            step: Step::Clear,
            progress,
        }
    }

    /// Takes note of a question; its round.
    pub(super) fn ask(&mut self, asked: Asked) -> u32 {
        self.round = self.round.wrapping_add(1);
        self.asked.insert(self.round, asked);
        self.round
    }

    /// Whether what is live here is between two states.
    pub(in super::super) fn is_committing(&self) -> bool {
        matches!(self.step, Step::Commit(_))
    }

    /// Whether nothing of the space's logs may be applied meanwhile.
    pub(in super::super) fn keeps_still(&self) -> bool {
        let is_asking = matches!(self.step, Step::Clear | Step::Snapshot(_) | Step::Listed);
        self.is_committing() || self.why == Why::Branch && !is_asking
    }

    /// Whether its source's going away ends it.
    pub(in super::super) fn needs_source(&self) -> bool {
        matches!(self.step, Step::Clear | Step::Snapshot(_) | Step::Descend(..) | Step::Tail(..))
    }

    /// What it takes for the source's state must be one: whether who has applied `context` has still applied all that the
    /// snapshot says. Who takes a branch of a forked log back hasn't.
    pub(super) fn holds(&self, context: &Context) -> bool {
        let (Step::Descend(taken, _) | Step::Tail(taken, _)) = &self.step else { return true };
        taken.heads.0.iter().all(|(life, head)| context.0.get(life).is_some_and(|reach| *reach >= head.sequence))
    }

    /// How far it has come.
    pub(in super::super) fn progress(&self) -> &MergeProgress {
        &self.progress
    }
}
