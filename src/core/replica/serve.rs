//! Serving logs: what an asker lacks, as far as it may know it and as far as it is whole here, in causal order.

use std::collections::VecDeque;

use super::io::{Event, Output, Refusal, Table, View, ViewFault};
use super::message::{Message, SegmentsMessage, WantMessage};
use super::rows;
use super::state::{Replica, SpaceState, Work};
use super::sync::MESSAGE_BYTES_MAX;
use crate::changelog::{Sealed, Stored};
use crate::model::{Context, Incarnation, NodeId, Space};

/// Entries that a newcomer replays gladly, however few of them are live.
const REPLAYED_MAX: u64 = 1000;

impl Replica {
    /// Streams segments that the asker lacks, a fair share of each log, oldest first.
    pub(super) fn serve<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        to: NodeId,
        want: &WantMessage,
    ) -> Result<(), ViewFault> {
        let space = want.space;
        let Some(mut visible) = self.visible_to(&space, &to) else {
            // Answered all the same, so that the asker turns to somebody else.
            work.note(Event::Refused { from: Some(to), refusal: Refusal::NotShared(space) });
            let message = Message::Segments(SegmentsMessage { space, segments: Vec::new(), more: false });
            work.out.push(Output::Send(to, message.to_bytes()));
            return Ok(());
        };
        let applied = visible.clone();
        if self.shares(&space, &to) {
            visible = self.spaces.get(&space).map(SpaceState::reach).unwrap_or_default();
        }
        let behind: Vec<_> = visible
            .0
            .iter()
            .map(|(incarnation, head)| {
                (*incarnation, want.since.0.get(incarnation).copied().unwrap_or(0), head.sequence)
            })
            .filter(|(_, has, head)| has < head)
            .collect();
        if self.shares(&space, &to) && self.is_truncated(&space, &behind, &want.since) {
            work.out.push(Output::Send(to, Message::Truncated(space).to_bytes()));
            return Ok(());
        }
        let share = MESSAGE_BYTES_MAX / behind.len().max(1);
        let mut found: Vec<Sealed> = Vec::new();
        let mut more = false;
        for (incarnation, has, head) in behind {
            let (mut from, mut bytes) = (self.start_of(work, &space, &incarnation, has)?, 0);
            while from <= head && bytes < share {
                let is_applied = from <= applied.of(&incarnation).sequence;
                let key = if is_applied { rows::segment_key } else { rows::kept_key };
                let (low, high) = (key(&space, &incarnation, from), key(&space, &incarnation, u64::MAX));
                let Some((_, stored)) = work.draft.view().range(Table::Log, &low, &high, 1)?.pop() else { break };
                let segment = match Stored::read(&stored) {
                    Ok(Stored::Whole(segment)) => segment,
                    // Pruned: who may compare states is told to; a former member is shown why it is one (`farewell`).
                    Ok(Stored::Pruned(_)) => break,
                    Err(error) => return Err(ViewFault(format!("a stored segment of {space} is unreadable: {error}"))),
                };
                from = segment.header.last_sequence() + 1;
                if from > head + 1 {
                    // A former member's knowledge ends at the ends of segments, as everybody's.
                    break;
                }
                bytes += stored.len();
                found.push(segment);
            }
            more |= from <= head;
        }
        let has = want.since.clone();
        // What is built on a forked log counts by its numbers, whether they were admitted or not.
        let forked: Vec<Incarnation> =
            self.spaces.get(&space).into_iter().flat_map(|s| s.forks.keys()).copied().collect();
        let (batch, left_out) = in_causal_order_but(found, has, MESSAGE_BYTES_MAX, &forked);
        let batch = batch.iter().map(|segment| segment.bytes().to_vec()).collect();
        more |= left_out;
        let message = Message::Segments(SegmentsMessage { space, segments: batch, more });
        work.out.push(Output::Send(to, message.to_bytes()));
        Ok(())
    }

    /// Where to begin with what follows `has` of a log: at the segment that holds it, when it doesn't end there. Then the
    /// asker has another log of that life, and these words show it.
    fn start_of<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        incarnation: &Incarnation,
        has: u64,
    ) -> Result<u64, ViewFault> {
        let (low, high) =
            (rows::segment_key(space, incarnation, 0), rows::segment_key(space, incarnation, has.saturating_add(1)));
        let before = work.draft.view().last(Table::Log, &low, &high)?;
        Ok(match before.as_ref().map(|(_, stored)| Stored::read(stored)) {
            Some(Ok(Stored::Whole(segment))) if segment.header.last_sequence() > has => segment.header.first_sequence,
            _ => has.saturating_add(1),
        })
    }

    /// Whether what is missing at an asker can't be replayed from the log here, or had better not be.
    fn is_truncated(&self, space: &Space, behind: &[(Incarnation, u64, u64)], since: &Context) -> bool {
        let Some(state) = self.spaces.get(space).filter(|state| state.federation.is_some()) else { return false };
        let is_gone = |(incarnation, has, _): &(Incarnation, u64, u64)| {
            state.floors.get(incarnation).is_some_and(|floor| has < floor)
        };
        let entries: u64 = state.heads.0.values().map(|head| head.sequence).sum();
        let is_long = |live: u64| since.0.is_empty() && entries > 2 * live + REPLAYED_MAX;
        behind.iter().any(is_gone) || state.live.is_some_and(|live| is_long(live.count))
    }
}

/// As many of `found` as fit into `bytes_max`, none before what it depends on; and whether some are left out.
///
/// `found` holds of each log a run that begins where the asker's knowledge `has` ends. A log's order is not its clock's:
/// what is sent before its dependencies only waits at the asker, and a batch of nothing else would be sent for ever.
pub(super) fn in_causal_order(found: Vec<Sealed>, has: Context, bytes_max: usize) -> (Vec<Sealed>, bool) {
    in_causal_order_but(found, has, bytes_max, &[])
}

/// The same, where dependence on these logs doesn't count.
fn in_causal_order_but(
    found: Vec<Sealed>,
    mut has: Context,
    bytes_max: usize,
    but: &[Incarnation],
) -> (Vec<Sealed>, bool) {
    let mut waiting: VecDeque<Sealed> = found.into();
    let (mut batch, mut bytes, mut skipped) = (Vec::new(), 0_usize, 0);
    while let Some(segment) = waiting.pop_front() {
        let header = &segment.header;
        let next = has.0.get(&header.incarnation).copied().unwrap_or(0) + 1;
        let covered = |(log, sequence): (&Incarnation, &u64)| {
            *sequence == 0 || has.0.get(log) >= Some(sequence) || but.contains(log)
        };
        if header.first_sequence > next || !header.context.0.iter().all(covered) {
            skipped += 1;
            waiting.push_back(segment);
            if skipped == waiting.len() {
                break;
            }
            continue;
        }
        if bytes > 0 && bytes + segment.bytes().len() > bytes_max {
            return (batch, true);
        }
        skipped = 0;
        bytes += segment.bytes().len();
        has.0.insert(header.incarnation, header.last_sequence());
        batch.push(segment);
    }
    (batch, !waiting.is_empty())
}
