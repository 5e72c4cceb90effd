//! What a swarm is started with, and whom it is told to talk to.

use std::time::Duration;

use artimesh_core::model::PublicKey;

use super::rate::Rates;

/// The longest hello that either side may send, bytes.
pub const HELLO_BYTES_MAX: usize = 4 << 10;

/// How a swarm is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Multiaddrs that the control swarm listens on, such as `/ip4/0.0.0.0/tcp/8083`; port 0 takes a free one. May be
    /// empty for a node that only dials out.
    pub listen: Vec<String>,
    /// The same for the bulk swarm.
    pub bulk_listen: Vec<String>,
    /// Whether gossip is spoken at all.
    pub gossip: bool,
    /// What each member is told when a connection to it begins, at most 4 KiB.
    pub hello: Vec<u8>,
    /// What strangers may use up.
    pub limits: Limits,
    /// How many bytes of bulk may pass in a second.
    pub rates: Rates,
    /// How long a member's connection may go without a sign of life before it is given up: 15 s, three times that on
    /// bulk, where pings queue behind data. Pings go out three times as often.
    pub silence_max: Duration,
    /// How many events wait for a slow consumer before the network is slowed down.
    pub event_queue: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: Vec::new(),
            bulk_listen: Vec::new(),
            gossip: true,
            hello: Vec::new(),
            limits: Limits::default(),
            rates: Rates::default(),
            silence_max: Duration::from_secs(15),
            event_queue: 256,
        }
    }
}

/// What those who aren't members may use up. Members are exempt once they have proved their key.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of strangers at once, in all.
    pub strangers_max: usize,
    /// Connections of strangers at once from one IP address.
    pub strangers_per_ip_max: usize,
    /// How long a stranger's connection lives.
    pub stranger_lifetime: Duration,
    /// Handshakes in progress at once, in all: nobody has proved anything yet.
    pub handshakes_max: usize,
    /// Handshakes in progress at once from one IP address.
    pub handshakes_per_ip_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            strangers_max: 8,
            strangers_per_ip_max: 2,
            stranger_lifetime: Duration::from_secs(30),
            handshakes_max: 128,
            handshakes_per_ip_max: 32,
        }
    }
}

/// A peer that may talk, and where it can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its transport key.
    pub peer: PublicKey,
    /// Multiaddrs of its control swarm; none when it dials us.
    pub control: Vec<String>,
    /// Multiaddrs of its bulk swarm; none when it dials us.
    pub bulk: Vec<String>,
}
