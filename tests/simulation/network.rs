//! Connections and gossip: ordered streams that break, and a fast path that promises nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use artimesh_core::model::Space;

/// Something gossiped, on its way to one site.
#[derive(Clone, Debug)]
pub struct Gossip {
    pub to: usize,
    pub space: Space,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Frames under way on each open connection, by (from, to); both directions open and close together.
    streams: BTreeMap<(usize, usize), VecDeque<Vec<u8>>>,
    pub gossip: Vec<Gossip>,
    /// Pairs that can't reach each other now, lesser first.
    pub cut: BTreeSet<(usize, usize)>,
    pub gossip_is_off: bool,
}

fn ordered(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Network {
    pub fn is_open(&self, a: usize, b: usize) -> bool {
        self.streams.contains_key(&(a, b))
    }

    pub fn can_reach(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&ordered(a, b))
    }

    pub fn open(&mut self, a: usize, b: usize) {
        self.streams.insert((a, b), VecDeque::new());
        self.streams.insert((b, a), VecDeque::new());
    }

    /// Closes a connection; returns how many frames were lost with it.
    pub fn close(&mut self, a: usize, b: usize) -> usize {
        let lost = |stream: Option<VecDeque<Vec<u8>>>| stream.map_or(0, |frames| frames.len());
        lost(self.streams.remove(&(a, b))) + lost(self.streams.remove(&(b, a)))
    }

    pub fn send(&mut self, from: usize, to: usize, frame: Vec<u8>) -> bool {
        let stream = self.streams.get_mut(&(from, to));
        stream.map(|frames| frames.push_back(frame)).is_some()
    }

    pub fn receive(&mut self, from: usize, to: usize) -> Option<Vec<u8>> {
        self.streams.get_mut(&(from, to))?.pop_front()
    }

    /// The connections with frames under way, by (from, to).
    pub fn busy(&self) -> Vec<(usize, usize)> {
        self.streams.iter().filter(|(_, frames)| !frames.is_empty()).map(|(ends, _)| *ends).collect()
    }

    /// Open connections, each once.
    pub fn connections(&self) -> Vec<(usize, usize)> {
        self.streams.keys().filter(|(a, b)| a < b).copied().collect()
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(ordered(a, b));
    }
}
