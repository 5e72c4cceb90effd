//! One site: its keys, its rows, its mind while it is up, and its idea of the time.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Dot, KeyPair, NodeId, NodeName};
use artimesh_core::replica::message::FEATURES;
use artimesh_core::replica::{AcceptPolicy, Event, Identity, Input, Limits, Output, Replica, Retention, Waking};
use artimesh_core::trust::{Addresses, NodeKeys};

use super::disk::Disk;

#[derive(Clone)]
pub struct Site {
    pub identity: Identity,
    pub pairing_key: KeyPair,
    pub disk: Disk,
    /// `None` while it is down.
    pub replica: Option<Replica>,
    /// What its wall clock shows beyond the true time, in milliseconds.
    pub skew_ms: i64,
    /// What its wall clock shows all the time, if it stands still.
    pub stuck_at: Option<Timestamp>,
    pub accept: AcceptPolicy,
    /// How much one author may end here at a time.
    pub limits: Limits,
    /// Which kinds of entries its version knows.
    pub features: u64,
    pub retention: Retention,
    /// Whether it asks others before it writes.
    pub asks_first: bool,
    pub notes: Vec<Event>,
    /// Numbers its incarnations.
    pub lives: u64,
    /// Down for good: its key is in a thief's hands.
    pub stolen: bool,
    /// Down for good, and nobody has its key.
    pub lost: bool,
    /// Started from an old copy of its rows at some time.
    pub was_restored: bool,
}

fn key(name: &str, purpose: &str) -> KeyPair {
    KeyPair::from_secret(&artimesh_core::model::Digest::derived(purpose, name.as_bytes()).0)
}

impl Site {
    pub fn new(name: &str) -> Site {
        let (log_key, pairing_key) = (key(name, "sim/log"), key(name, "sim/pairing"));
        let transport = key(name, "sim/transport").public();
        let keys = NodeKeys { log: log_key.public(), transport, pairing: pairing_key.public() };
        let name: NodeName = name.parse().expect("a fine name");
        Site {
            identity: Identity { node: NodeId::of(&keys.log), name, log_key, keys },
            pairing_key,
            disk: Disk::new(),
            replica: None,
            skew_ms: 0,
            stuck_at: None,
            accept: AcceptPolicy::Any,
            limits: Limits::default(),
            features: FEATURES,
            retention: Retention::default(),
            asks_first: false,
            notes: Vec::new(),
            lives: 0,
            stolen: false,
            lost: false,
            was_restored: false,
        }
    }

    /// Where it left words of its own: in which space and life, and from which number on.
    pub fn left_own(&self) -> impl Iterator<Item = Dot> + use<'_> {
        self.notes.iter().filter_map(|note| match note {
            Event::TakenBack { incarnation, from, .. } if incarnation.node == self.node() => {
                Some(Dot { incarnation: *incarnation, sequence: *from })
            }
            _ => None,
        })
    }

    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    pub fn addresses(&self) -> Addresses {
        Addresses { control: vec![format!("/memory/{}", self.identity.name)], bulk: Vec::new() }
    }

    pub fn wall(&self, true_ms: u64) -> Timestamp {
        self.stuck_at.unwrap_or_else(|| Timestamp(true_ms.saturating_add_signed(self.skew_ms)))
    }

    /// The clock runs, so far off the true time.
    pub fn set_clock(&mut self, skew_ms: i64) {
        (self.skew_ms, self.stuck_at) = (skew_ms, None);
    }

    /// Wakes up from the rows at rest.
    pub fn start(&mut self) {
        self.lives += 1;
        let waking = Waking {
            accept: self.accept.clone(),
            placement: None,
            fresh: self.lives,
            features: self.features,
            retention: self.retention,
            asks_first: self.asks_first,
        };
        let (replica, outputs) =
            Replica::load(&self.disk, self.identity.clone(), waking).expect("our own rows are readable");
        self.replica = Some(replica.with_limits(self.limits));
        for output in outputs {
            if let Output::Persist(rows) = output {
                self.disk.apply(&rows);
            }
        }
    }

    pub fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// Whether it will never be up again.
    pub fn is_gone(&self) -> bool {
        self.stolen || self.lost
    }

    pub fn mind_or_none(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// The mind of a site that is up.
    pub fn mind(&self) -> &Replica {
        self.replica.as_ref().expect("the site is up")
    }

    /// Handles one input; nothing is performed yet.
    pub fn handle(&mut self, true_ms: u64, input: Input) -> Vec<Output> {
        let now = self.wall(true_ms);
        let replica = self.replica.as_mut().expect("the caller checked that the site is up");
        replica.handle(now, &self.disk, input).expect("rows in memory can be read")
    }
}
