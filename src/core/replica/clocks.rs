//! Other nodes' clocks as seen from here, and whether this node's own is so far ahead that it must not write.
//!
//! Whoever connects is asked for its wall clock, and one more each round; all are, when this node's own clock jumped or is
//! wrong. Half of the round trip is taken off. A node that is
//! ahead of the lower median of the full members, itself counted, by more than [`AHEAD_MS_MAX`] takes no writes until it is
//! right. Behind is harmless: a write beats what it replaces whatever the clock says.
//!
//! # Why
//! What a clock that is ahead has stamped wins over concurrent writes for as long as it was ahead. The lower median, and two
//! peers at least where there are two: so that one liar stops nobody.

use serde::{Deserialize, Serialize};

use super::draft::stored;
use super::io::{Command, CommandError, Event, Output, Table, View, ViewFault};
use super::message::{ClockMessage, Message};
use super::rows;
use super::state::{Replica, Work, each_row};
use crate::catalog::Versions;
use crate::clock::{AHEAD_MS_MAX, Timestamp};
use crate::model::{ArtifactPath, Dot, NodeId, Space};
use crate::trust::Role;

/// A round trip longer than this measures nothing. Milliseconds.
const ROUND_TRIP_MS_MAX: u64 = 30_000;

/// Between two ticks so much time doesn't pass: the clock jumped, or the machine slept. Milliseconds.
const JUMP_MS: u64 = 60_000;

/// The most alarms that are kept.
const ALARMS_MAX: usize = 1_000;

/// How a peer's clock differs from ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    /// Its clock minus ours, in milliseconds.
    pub ms: i64,
    /// How long the question and the answer took, in milliseconds.
    pub round_trip_ms: u64,
    /// When it was measured, by our wall clock.
    pub at: Timestamp,
}

/// This node's clock among the others'.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockReport {
    /// By how much ours is ahead of the lower median of the full members (negative: behind). Milliseconds.
    pub ahead_ms: i64,
    /// Since when it is so far ahead that no writes are taken, by our wall clock.
    pub stopped_since: Option<Timestamp>,
    /// The connected full members that were measured.
    pub peers: Vec<(NodeId, Offset)>,
}

/// A version that was stamped far ahead of our clock, shown until it is overwritten.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Where.
    pub space: Space,
    /// Which path.
    pub path: ArtifactPath,
    /// Which version, and so whose.
    pub dot: Dot,
    /// What it is stamped.
    pub timestamp: Timestamp,
    /// How far that was ahead of our wall clock when it came. Milliseconds.
    pub ahead_ms: u64,
}

impl Replica {
    /// Asks a peer for the time.
    pub(super) fn ask_time<V: View>(&mut self, work: &mut Work<'_, V>, peer: NodeId) {
        self.peers.entry(peer).or_default().asked_time = Some(work.now);
        let message = Message::Clock(ClockMessage { wall: work.now, echo: None });
        work.out.push(Output::Send(peer, message.to_bytes()));
    }

    /// A peer asks for the time, or says it.
    pub(super) fn take_time<V: View>(&mut self, work: &mut Work<'_, V>, from: NodeId, message: &ClockMessage) {
        let now = work.now;
        let Some(echo) = message.echo else {
            let answer = Message::Clock(ClockMessage { wall: now, echo: Some(message.wall) });
            work.out.push(Output::Send(from, answer.to_bytes()));
            return;
        };
        let peer = self.peers.entry(from).or_default();
        let round_trip_ms = now.ms_since(echo);
        if peer.asked_time.take() != Some(echo) || echo > now || round_trip_ms > ROUND_TRIP_MS_MAX {
            return;
        }
        let middle = i128::from(echo.0) + i128::from(round_trip_ms / 2);
        let ms = i64::try_from(i128::from(message.wall.0) - middle).unwrap_or(i64::MAX);
        peer.offset = Some(Offset { ms, round_trip_ms, at: now });
        self.judge_clock(work);
    }

    /// Once a second: measurements of a clock that jumped since say nothing any more.
    pub(super) fn watch_clock<V: View>(&mut self, work: &mut Work<'_, V>, round: bool) {
        let before = self.ticked.replace(work.now);
        let jumped = before.is_some_and(|before| work.now < before || work.now.ms_since(before) > JUMP_MS);
        if jumped {
            self.peers.values_mut().for_each(|peer| peer.offset = None);
        }
        if jumped || round && self.stopped_since.is_some() {
            for peer in self.connected_peers() {
                self.ask_time(work, peer);
            }
        }
        self.judge_clock(work);
    }

    fn full_others(&self) -> Vec<NodeId> {
        let Some(trust) = &self.trust else { return Vec::new() };
        let is_full = |node: &NodeId| trust.good(node).is_some_and(|member| member.role() == Role::Full);
        trust.members().map(|(node, _)| *node).filter(|node| *node != self.me.node && is_full(node)).collect()
    }

    fn measured(&self) -> Vec<(NodeId, Offset)> {
        let offset = |node: NodeId| {
            let peer = self.peers.get(&node).filter(|peer| peer.connected)?;
            Some((node, peer.offset?))
        };
        self.full_others().into_iter().filter_map(offset).collect()
    }

    fn ahead_ms(&self, measured: &[(NodeId, Offset)]) -> i64 {
        let mut all: Vec<i64> = measured.iter().map(|(_, offset)| offset.ms).chain([0]).collect();
        all.sort_unstable();
        all[(all.len() - 1) / 2].saturating_neg()
    }

    fn judge_clock<V: View>(&mut self, work: &mut Work<'_, V>) {
        let measured = self.measured();
        let ahead = self.ahead_ms(&measured);
        let limit = i64::try_from(AHEAD_MS_MAX).unwrap_or(i64::MAX);
        let is_off = measured.len() >= self.full_others().len().min(2) && ahead > limit;
        match (is_off, self.stopped_since) {
            (true, None) => {
                self.stopped_since = Some(work.now);
                work.note(Event::ClockAhead { ahead_ms: ahead.unsigned_abs() });
            }
            (false, Some(_)) => {
                self.stopped_since = None;
                work.note(Event::ClockRight);
            }
            _ => {}
        }
    }

    /// Whether a command must wait until this node's clock is right. What concerns the circle alone bears no timestamps.
    pub(super) fn check_clock(&self, command: &Command) -> Result<(), CommandError> {
        let exempt =
            matches!(command, Command::FoundCircle(_) | Command::Join(_) | Command::Admit(_) | Command::Revoke(..));
        if exempt || self.stopped_since.is_none() {
            return Ok(());
        }
        let measured = self.measured();
        let ahead_ms = self.ahead_ms(&measured).unsigned_abs();
        let name = |node: &NodeId| {
            let trust = self.trust.as_ref();
            trust.and_then(|trust| trust.member(node)).map_or_else(|| node.short(), |m| m.grant().name.to_string())
        };
        let against = measured.iter().take(5).map(|(node, _)| name(node)).collect::<Vec<_>>().join(", ");
        Err(CommandError::ClockAhead { ahead_ms, against })
    }

    /// This node's clock among the others'.
    pub fn clock(&self) -> ClockReport {
        let peers = self.measured();
        ClockReport { ahead_ms: self.ahead_ms(&peers), stopped_since: self.stopped_since, peers }
    }

    /// Keeps the alarm about a version that is stamped far ahead.
    pub(super) fn alarm<V: View>(&mut self, work: &mut Work<'_, V>, alarm: Alarm) {
        let author = alarm.dot.incarnation.node;
        work.note(Event::FarAhead { author, path: alarm.path.clone(), ahead_ms: alarm.ahead_ms });
        let key = rows::alarm_key(&alarm.space, &alarm.path);
        if self.alarms.len() >= ALARMS_MAX && !self.alarms.contains_key(&key) {
            return;
        }
        work.draft.set(Table::Meta, key.clone(), &alarm);
        self.alarms.insert(key, alarm);
    }

    /// Versions that were stamped far ahead of our clock and are live still.
    pub fn alarms(&self, view: &impl View) -> Result<Vec<Alarm>, ViewFault> {
        let mut live = Vec::new();
        for alarm in self.alarms.values() {
            if is_live(view.get(Table::Catalog, &rows::catalog_key(&alarm.space, &alarm.path))?, &alarm.dot)? {
                live.push(alarm.clone());
            }
        }
        Ok(live)
    }

    /// Once a round: forgets alarms about versions that are gone, some at a time.
    pub(super) fn settle_alarms<V: View>(&mut self, work: &mut Work<'_, V>, dice: u64) -> Result<(), ViewFault> {
        let count = self.alarms.len();
        if count == 0 {
            return Ok(());
        }
        let from = (dice % count as u64) as usize;
        let some: Vec<Vec<u8>> = self.alarms.keys().cycle().skip(from).take(count.min(50)).cloned().collect();
        for key in some {
            let Some(alarm) = self.alarms.get(&key) else { continue };
            let row = work.draft.get(Table::Catalog, &rows::catalog_key(&alarm.space, &alarm.path))?;
            if !is_live(row, &alarm.dot)? {
                self.alarms.remove(&key);
                work.draft.remove(Table::Meta, key);
            }
        }
        Ok(())
    }
}

fn is_live(row: Option<Vec<u8>>, dot: &Dot) -> Result<bool, ViewFault> {
    let versions: Versions = row.map_or(Ok(Versions::default()), |value| stored(&value))?;
    Ok(versions.iter().any(|version| version.dot == *dot))
}

/// Finds the alarms again.
pub(super) fn load_alarms(view: &impl View) -> Result<std::collections::BTreeMap<Vec<u8>, Alarm>, ViewFault> {
    let mut alarms = std::collections::BTreeMap::new();
    each_row(view, Table::Meta, rows::ALARMS, |key, value| {
        alarms.insert(key.to_vec(), stored(value)?);
        Ok(())
    })?;
    Ok(alarms)
}
