//! The line to one peer: how much is asked of it at once, over which streams, and who comes first.
//!
//! Whoever wants something of a peer first gets a [`Permit`] for its bytes ([`Line::admit`]) and then asks
//! ([`Line::ask`]). Requests are pipelined on a few long-lived streams; readers have streams of their own.
//!
//! # Why
//! One window for all that goes on with a peer keeps what is under way near bandwidth times delay however many blobs are
//! fetched, so that a reader's request never finds a queue in front of it that its own node has made. What is under way
//! from all peers together, or here and not yet written, is bounded as well: it waits in memory where the disk is slower
//! than they are.

mod gain;
mod lane;
mod together;
mod widening;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use artimesh_core::model::PublicKey;
use tokio::sync::Semaphore;

pub(super) use lane::{Answers, Expected, LaneError};
pub(super) use window::{Urgency, Window};

use self::lane::Lane;
use self::together::Together;
use self::widening::Widening;
use super::bulk::Request;
use super::serve::SERVED_AT_ONCE;
use super::shared::Shared;
use crate::swarm::BULK_CONNECTIONS_MAX;

/// Streams for bulk on each connection: while the peer reads for one, the other sends.
const LANES_PER_CONNECTION: usize = 2;

/// Streams for what readers wait for, so that one slow answer doesn't hold up the next reader.
const URGENT_LANES: usize = 4;

/// What a round trip is taken for until one was measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(1);

/// The lines to all peers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<PublicKey, Arc<Line>>>,
    together: Arc<Together>,
}

impl Lines {
    /// The line to a peer; it costs nothing until something is asked.
    pub(super) fn of(&self, peer: &PublicKey) -> Arc<Line> {
        self.all().entry(*peer).or_insert_with(|| Arc::new(Line::new(*peer, self.together.clone()))).clone()
    }

    /// Drops the streams to a peer that is gone.
    pub(super) fn forget(&self, peer: &PublicKey) {
        self.all().remove(peer);
    }

    /// How fast bytes came from a peer when they did last, in bytes a second.
    pub(super) fn rate(&self, peer: &PublicKey) -> Option<u64> {
        let line = self.all().get(peer).cloned();
        line.map(|line| line.state().window.rate()).filter(|rate| *rate > 0)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PublicKey, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line to one peer.
#[derive(Debug)]
pub(super) struct Line {
    peer: PublicKey,
    start: Instant,
    state: Mutex<State>,
    together: Arc<Together>,
    lanes: tokio::sync::Mutex<Vec<Lane>>,
    /// For what the peer asks of us.
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    window: Window,
    /// What is under way, or here and [`Held`].
    held_bytes: u64,
    widening: Widening,
}

/// The right to have so many bytes under way. What doesn't arrive is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    line: Arc<Line>,
    urgency: Urgency,
    bytes: u64,
    left: u64,
}

impl Permit {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Gives back what is more than `bytes`: there was less to ask for.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let more = self.left.saturating_sub(bytes);
        self.bytes = self.bytes.min(bytes);
        self.settle(more);
    }

    /// So much of it isn't under way any more, and here.
    fn arrived(&mut self, bytes: u64) -> Held {
        let now = self.line.start.elapsed();
        self.line.state().window.arrived(bytes, now);
        self.settle(bytes.min(self.left))
    }

    fn settle(&mut self, bytes: u64) -> Held {
        self.left -= bytes;
        self.line.state().window.settled(bytes, self.urgency);
        self.line.together.wake();
        Held { line: self.line.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(self.left);
    }
}

/// Bytes that arrived and take memory until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    line: Arc<Line>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.line.state().held_bytes -= self.bytes;
        self.line.together.freed(self.bytes);
    }
}

impl Line {
    fn new(peer: PublicKey, together: Arc<Together>) -> Line {
        Line {
            peer,
            start: Instant::now(),
            state: Mutex::default(),
            together,
            lanes: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(SERVED_AT_ONCE)),
        }
    }

    /// The places for requests of the peer.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        self.places.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round_trip(&self, shared: &Shared) -> Duration {
        let vitals = shared.swarm.vitals(&self.peer);
        vitals.and_then(|vitals| vitals.round_trip()).unwrap_or(ROUND_TRIP_UNKNOWN)
    }

    /// How much had better be asked for at once: a quarter of the window, so that four requests are on their way.
    pub(super) fn request_bytes(&self, shared: &Shared) -> u64 {
        let round_trip = self.round_trip(shared);
        self.state().window.size_bytes(round_trip) / 4
    }

    /// How long it takes until so many bytes more are here, if they are asked for now; `None` before anything came.
    pub(super) fn expected_wait(&self, shared: &Shared, bytes: u64) -> Option<Duration> {
        let round_trip = self.round_trip(shared);
        let state = self.state();
        let rate = state.window.rate();
        let ahead = state.window.outstanding_bytes() + bytes;
        (rate > 0).then(|| round_trip + Duration::from_secs_f64(ahead as f64 / rate as f64))
    }

    /// Waits until so many bytes more may be under way. May be cancelled.
    pub(super) async fn admit(self: &Arc<Line>, shared: &Arc<Shared>, bytes: u64, urgency: Urgency) -> Permit {
        loop {
            let settled = self.together.next_change();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if let Some(permit) = self.try_admit(shared, bytes, urgency) {
                return permit;
            }
            settled.await;
        }
    }

    fn try_admit(self: &Arc<Line>, shared: &Arc<Shared>, bytes: u64, urgency: Urgency) -> Option<Permit> {
        let round_trip = self.round_trip(shared);
        let mut state = self.state();
        let is_busy = state.window.outstanding_bytes() * 2 >= state.window.size_bytes(round_trip);
        let rate = state.window.rate();
        let widens =
            urgency == Urgency::Bulk && state.widening.wants_more(self.start.elapsed(), is_busy, round_trip, rate);
        if widens {
            let (swarm, peer) = (shared.swarm.clone(), self.peer);
            shared.tracker.spawn(async move { swarm.widen_bulk(&peer, BULK_CONNECTIONS_MAX).await });
        }
        // A question whose answer brings no bytes of a blob is always in place.
        let has_room = bytes == 0 || self.together.has_room(state.held_bytes, urgency);
        if !has_room {
            return None;
        }
        if !state.window.may_ask(bytes, urgency, round_trip) {
            state.window.held_back(round_trip);
            return None;
        }
        state.window.asked(bytes, urgency);
        state.held_bytes += bytes;
        self.together.asked(bytes);
        drop(state);
        Some(Permit { line: self.clone(), urgency, bytes, left: bytes })
    }

    /// Asks on the stream that has least to do; opens another while there are fewer than the connections bear.
    pub(super) async fn ask(
        &self,
        shared: &Arc<Shared>,
        request: &Request,
        expected: Expected,
        mut permit: Permit,
    ) -> Result<Answers, LaneError> {
        let frame = request.to_frame();
        loop {
            let lane = self.lane(shared, permit.urgency()).await?;
            match lane.ask(frame.clone(), expected, permit) {
                Ok(answers) => return Ok(answers),
                // It has just ended; the next is another one.
                Err(refused) => permit = refused,
            }
        }
    }

    async fn lane(&self, shared: &Arc<Shared>, urgency: Urgency) -> Result<Lane, LaneError> {
        let mut lanes = self.lanes.lock().await;
        lanes.retain(Lane::is_open);
        let connections = shared.swarm.vitals(&self.peer).map_or(1, |vitals| vitals.bulk_connections().max(1));
        let most = match urgency {
            Urgency::Urgent => URGENT_LANES,
            Urgency::Bulk => LANES_PER_CONNECTION * (connections as usize).min(BULK_CONNECTIONS_MAX),
        };
        let fitting: Vec<&Lane> = lanes.iter().filter(|lane| lane.urgency() == urgency).collect();
        let least = fitting.iter().min_by_key(|lane| lane.waiting_bytes()).map(|lane| (*lane).clone());
        match least {
            Some(lane) if lane.waiting_bytes() == 0 || fitting.len() >= most => return Ok(lane),
            _ => {}
        }
        match (shared.swarm.open_bulk(&self.peer).await, least) {
            (Ok(stream), _) => {
                let (lane, work) = Lane::new(stream, urgency);
                let stop = shared.stop.clone();
                shared.tracker.spawn(async move {
                    tokio::select! {
                        () = work => {}
                        () = stop.cancelled() => {}
                    }
                });
                lanes.push(lane.clone());
                Ok(lane)
            }
            (Err(_), Some(lane)) => Ok(lane),
            (Err(error), None) => Err(LaneError::Broken(error.to_string())),
        }
    }
}
