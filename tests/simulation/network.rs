//! Connections and gossip: ordered streams that break, and a fast path that promises nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use artimesh_core::model::Space;

use super::weather::Weather;

/// Something gossiped, on its way to one site.
#[derive(Clone, Debug)]
pub struct Gossip {
    pub to: usize,
    pub space: Space,
    pub bytes: Vec<u8>,
    /// True time from which it may arrive, in milliseconds.
    pub due: u64,
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Parcel {
    frame: Vec<u8>,
    due: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Frames under way on each open connection, by (from, to); both directions open and close together.
    streams: BTreeMap<(usize, usize), VecDeque<Parcel>>,
    pub gossip: Vec<Gossip>,
    /// Pairs that can't reach each other now, lesser first.
    cut: BTreeSet<(usize, usize)>,
    /// (from, to): what the first sends doesn't come through now, and isn't lost.
    mute: BTreeSet<(usize, usize)>,
    /// (end, other): this end takes the connection for open, and it isn't.
    pub unnoticed: BTreeSet<(usize, usize)>,
    pub gossip_is_off: bool,
    pub weather: Weather,
}

fn ordered(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Network {
    pub fn is_open(&self, a: usize, b: usize) -> bool {
        self.streams.contains_key(&(a, b))
    }

    /// Whether a connection could be made.
    pub fn can_reach(&self, a: usize, b: usize) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// Whether what `from` sends comes through.
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&ordered(from, to)) && !self.mute.contains(&(from, to))
    }

    pub fn open(&mut self, a: usize, b: usize) {
        self.streams.insert((a, b), VecDeque::new());
        self.streams.insert((b, a), VecDeque::new());
    }

    /// Closes a connection; returns how many frames were lost with it.
    pub fn close(&mut self, a: usize, b: usize) -> usize {
        let lost = |stream: Option<VecDeque<Parcel>>| stream.map_or(0, |frames| frames.len());
        lost(self.streams.remove(&(a, b))) + lost(self.streams.remove(&(b, a)))
    }

    /// Frames of one connection arrive in order, so none before the one that was sent before it.
    pub fn send(&mut self, from: usize, to: usize, frame: Vec<u8>, now: u64) {
        let due = now + self.weather.stream_delay_ms(from, to);
        if let Some(frames) = self.streams.get_mut(&(from, to)) {
            let due = frames.back().map_or(due, |before| due.max(before.due));
            frames.push_back(Parcel { frame, due });
        }
    }

    pub fn gossip(&mut self, from: usize, to: usize, space: Space, bytes: &[u8], now: u64) {
        let due = now + self.weather.gossip_delay_ms(from, to);
        self.gossip.push(Gossip { to, space, bytes: bytes.to_vec(), due });
    }

    pub fn receive(&mut self, from: usize, to: usize) -> Option<Vec<u8>> {
        self.streams.get_mut(&(from, to))?.pop_front().map(|parcel| parcel.frame)
    }

    /// The connections with frames under way, by (from, to).
    pub fn busy(&self) -> Vec<(usize, usize)> {
        self.streams.iter().filter(|(_, frames)| !frames.is_empty()).map(|(ends, _)| *ends).collect()
    }

    /// The connections of which a frame may arrive now.
    pub fn arrivals(&self, now: u64) -> Vec<(usize, usize)> {
        let may = |(ends, frames): &(&(usize, usize), &VecDeque<Parcel>)| {
            frames.front().is_some_and(|parcel| parcel.due <= now) && self.passes(ends.0, ends.1)
        };
        self.streams.iter().filter(may).map(|(ends, _)| *ends).collect()
    }

    /// What was gossiped and may arrive now, by its place in the list.
    pub fn rumours(&self, now: u64) -> Vec<usize> {
        self.gossip.iter().enumerate().filter(|(_, gossip)| gossip.due <= now).map(|(place, _)| place).collect()
    }

    /// Open connections, each once.
    pub fn connections(&self) -> Vec<(usize, usize)> {
        self.streams.keys().filter(|(a, b)| a < b).copied().collect()
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(ordered(a, b));
    }

    pub fn mute(&mut self, from: usize, to: usize) {
        self.mute.insert((from, to));
    }

    pub fn mend(&mut self) {
        self.cut.clear();
        self.mute.clear();
    }
}
