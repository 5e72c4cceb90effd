//! The settings of a node, checked: what the other rooms are built from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use artimesh_core::model::NodeName;

use super::rates;
use super::value::Value;
use crate::http::Audience;
use crate::store::Md5Turn;
use crate::swarm;

/// All settings. Each field is the key of its name in [`super::KEYS`], which says what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `node.*`
    pub node: Node,
    /// `http.*`
    pub http: Http,
    /// `audit.*`
    pub audit: Audit,
    /// `ingest.*`
    pub ingest: Ingest,
    /// `swarm.*`
    pub swarm: Swarm,
    /// `replication.*`
    pub replication: Replication,
    /// `transfer.*`
    pub transfer: swarm::Rates,
    /// `cache.*`
    pub cache: Cache,
    /// `store.*`
    pub store: Store,
    /// `log.*`
    pub log: Log,
    /// `shutdown.*`
    pub shutdown: Shutdown,
}

/// Who the node is.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What people call it.
    pub name: NodeName,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Threads that serve; 0: one for each processor.
    pub threads: usize,
    /// The base of links, without a slash at its end; `None`: where the request came in.
    pub public_url: Option<String>,
    /// Certificate and key for HTTPS, as given: absolute or as seen from the data folder.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether reading needs no token.
    pub anonymous_read: bool,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For a body without progress.
    pub idle_timeout: Duration,
    /// The largest head.
    pub max_header_bytes: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// The largest artifact in one upload, in bytes.
    pub max_upload: u64,
    /// Requests that take as long are told; zero for none.
    pub slow_log: Duration,
    /// Who is told what an answer waited for.
    pub server_timing: Audience,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// Whether downloads are in it.
    pub downloads: bool,
    /// Bytes of a file.
    pub file_size: u64,
    /// Files that are kept.
    pub files: u64,
}

/// How uploads are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingest {
    /// When their MD5 is computed.
    pub md5: Md5Turn,
}

/// The peer-to-peer side. All addresses are multiaddrs over TCP that were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarm {
    /// For control; may be empty.
    pub listen: Vec<String>,
    /// For bulk; may be empty.
    pub bulk_listen: Vec<String>,
    /// Control addresses to tell others; empty: those listened on.
    pub advertise: Vec<String>,
    /// Bulk addresses to tell others; empty: those listened on.
    pub advertise_bulk: Vec<String>,
    /// Whether changes are announced.
    pub gossip: bool,
}

/// How the node replicates.
#[derive(Debug, Clone, PartialEq)]
pub struct Replication {
    /// Whose invitations are followed without asking.
    pub accept_federations: Accept,
    /// Which bytes are held.
    pub placement: Placement,
    /// Between comparisons of heads.
    pub heads_interval: Duration,
    /// How long logs keep what is dead.
    pub log_whole: Duration,
    /// How long they keep deletes.
    pub log_deletes: Duration,
    /// Blobs fetched at once.
    pub fetches: usize,
    /// Mirrors beside this node that must have what it wrote before it may do without it.
    pub min_copies: usize,
}

/// Whose invitations to federations are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// Every member's that may invite.
    Any,
    /// Nobody's.
    None,
    /// Those of these nodes: names or ids, never empty.
    From(Vec<String>),
}

/// Which bytes a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// All.
    Mirror,
    /// Those that somebody asked for.
    OnDemand,
    /// Full members all, edges those that somebody asked for.
    ByRole,
}

/// What is kept of what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// Whether fetches go on when their readers have left.
    pub finish_fetches: bool,
    /// What it may take.
    pub max_size: Share,
    /// For how long it stays unread; `None`: as long as there is room.
    pub max_age: Option<Duration>,
}

/// A part of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All.
    All,
    /// So many bytes.
    Bytes(u64),
    /// So many per cent.
    Percent(u8),
}

/// Bytes at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Bytes of the data folder; `None`: no bound.
    pub quota: Option<u64>,
    /// Bytes kept free.
    pub reserve: u64,
    /// Bytes of a pack.
    pub pack_size: u64,
    /// For groups that leave without being hashed again.
    pub verify_max_age: Duration,
    /// Between collections of garbage.
    pub gc_interval: Duration,
    /// How long garbage stays.
    pub gc_grace: Duration,
    /// Packs of which fewer per cent are live are compacted.
    pub compact_below: u8,
    /// How long versions that ended can be restored.
    pub history: Duration,
    /// Between scrubs.
    pub scrub_interval: Duration,
    /// Bytes that a scrub reads in a second.
    pub scrub_rate: u64,
}

/// The log on standard error.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Its shape.
    pub format: LogFormat,
    /// A filter in the syntax of `tracing_subscriber::EnvFilter`, checked.
    pub level: String,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The end.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// For transfers in flight.
    pub grace: Duration,
}

impl Settings {
    /// Builds the settings out of one checked value per key.
    pub(super) fn from_values(values: BTreeMap<&'static str, Value>) -> Settings {
        let mut values = Values(values);
        let settings = Settings {
            node: Node { name: values.name("node.name") },
            http: values.http(),
            audit: Audit {
                downloads: values.truth("audit.downloads"),
                file_size: values.number("audit.file_size"),
                files: values.number("audit.files"),
            },
            ingest: Ingest {
                md5: match values.text("ingest.md5").as_deref() {
                    Some("deferred") => Md5Turn::Deferred,
                    _ => Md5Turn::Inline,
                },
            },
            swarm: Swarm {
                listen: values.list("swarm.listen"),
                bulk_listen: values.list("swarm.bulk_listen"),
                advertise: values.list("swarm.advertise"),
                advertise_bulk: values.list("swarm.advertise_bulk"),
                gossip: values.truth("swarm.gossip"),
            },
            replication: values.replication(),
            transfer: values.transfer(),
            cache: Cache {
                finish_fetches: values.truth("cache.finish_fetches"),
                max_size: values.share("cache.max_size"),
                max_age: values.age("cache.max_age"),
            },
            store: Store {
                quota: values.limit("store.quota"),
                reserve: values.number("store.reserve"),
                pack_size: values.number("store.pack_size"),
                verify_max_age: values.time("store.verify_max_age"),
                gc_interval: values.time("store.gc_interval"),
                gc_grace: values.time("store.gc_grace"),
                scrub_interval: values.time("store.scrub_interval"),
                scrub_rate: values.number("store.scrub_rate"),
                compact_below: u8::try_from(values.number("store.compact_below")).unwrap_or(100),
                history: values.time("store.history"),
            },
            log: Log {
                format: match values.text("log.format").as_deref() {
                    Some("json") => LogFormat::Json,
                    _ => LogFormat::Text,
                },
                level: values.text("log.level").unwrap_or_default(),
            },
            shutdown: Shutdown { grace: values.time("shutdown.grace") },
        };
        assert!(values.0.is_empty(), "keys of the table that no setting uses: {:?}", values.0.keys());
        settings
    }
}

/// Values that are taken out once each. A key that is missing or of another kind is a mistake in the table, which every
/// start would show: hence the panics.
struct Values(BTreeMap<&'static str, Value>);

impl Values {
    fn http(&mut self) -> Http {
        Http {
            listen: match self.take("http.listen") {
                Value::Address(address) => address,
                other => wrong("http.listen", &other),
            },
            threads: self.count("http.threads"),
            public_url: self.text("http.public_url"),
            tls: {
                let (certificate, key) = (self.text("http.tls_certificate"), self.text("http.tls_key"));
                certificate.zip(key).map(|(certificate, key)| (certificate.into(), key.into()))
            },
            anonymous_read: self.truth("http.anonymous_read"),
            header_timeout: self.time("http.header_timeout"),
            idle_timeout: self.time("http.idle_timeout"),
            max_header_bytes: self.count("http.max_header_bytes"),
            max_connections: self.count("http.max_connections"),
            max_upload: self.number("http.max_upload"),
            slow_log: self.time("http.slow_log"),
            server_timing: match self.text("http.server_timing").as_deref() {
                Some("admin") => Audience::Administrator,
                Some("all") => Audience::Everybody,
                _ => Audience::Nobody,
            },
        }
    }

    fn replication(&mut self) -> Replication {
        let accepted = self.list("replication.accept_federations");
        Replication {
            accept_federations: match accepted.first().map(String::as_str) {
                Some("any") => Accept::Any,
                Some("none") | None => Accept::None,
                Some(_) => Accept::From(accepted),
            },
            placement: match self.text("replication.placement").as_deref() {
                Some("mirror") => Placement::Mirror,
                Some("on-demand") => Placement::OnDemand,
                _ => Placement::ByRole,
            },
            heads_interval: self.time("replication.heads_interval"),
            log_whole: self.time("replication.log_whole"),
            log_deletes: self.time("replication.log_deletes"),
            fetches: self.count("replication.fetches"),
            min_copies: self.count("replication.min_copies"),
        }
    }

    fn transfer(&mut self) -> swarm::Rates {
        let zone = self.text("transfer.time_zone");
        let zone = zone.and_then(|text| rates::parse_zone(&text)).unwrap_or_default();
        let mut plan = |key: &str| {
            let items = self.list(key);
            rates::parse_plan(&items, zone).unwrap_or_else(|| wrong(key, &Value::List(items)))
        };
        swarm::Rates {
            node_in: plan("transfer.receive_max"),
            node_out: plan("transfer.send_max"),
            peer_in: plan("transfer.peer_receive_max"),
            peer_out: plan("transfer.peer_send_max"),
        }
    }

    fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or_else(|| panic!("the key table has no {key}, or it was taken twice"))
    }

    fn name(&mut self, key: &str) -> NodeName {
        match self.take(key) {
            Value::Name(name) => name,
            other => wrong(key, &other),
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key) {
            Value::Text(text) => Some(text),
            Value::Absent => None,
            other => wrong(key, &other),
        }
    }

    fn truth(&mut self, key: &str) -> bool {
        match self.take(key) {
            Value::Truth(truth) => truth,
            other => wrong(key, &other),
        }
    }

    fn number(&mut self, key: &str) -> u64 {
        match self.take(key) {
            Value::Size(number) | Value::Count(number) => number,
            other => wrong(key, &other),
        }
    }

    fn count(&mut self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    fn limit(&mut self, key: &str) -> Option<u64> {
        match self.take(key) {
            Value::Size(bytes) => Some(bytes),
            Value::Unbounded | Value::Absent => None,
            other => wrong(key, &other),
        }
    }

    fn share(&mut self, key: &str) -> Share {
        match self.take(key) {
            Value::Size(bytes) => Share::Bytes(bytes),
            Value::Percent(percent) => Share::Percent(percent),
            Value::Unbounded => Share::All,
            other => wrong(key, &other),
        }
    }

    fn age(&mut self, key: &str) -> Option<Duration> {
        match self.take(key) {
            Value::Time(time) => Some(time),
            Value::Unbounded => None,
            other => wrong(key, &other),
        }
    }

    fn time(&mut self, key: &str) -> Duration {
        match self.take(key) {
            Value::Time(time) => time,
            other => wrong(key, &other),
        }
    }

    fn list(&mut self, key: &str) -> Vec<String> {
        match self.take(key) {
            Value::List(items) => items,
            other => wrong(key, &other),
        }
    }
}

fn wrong(key: &str, value: &Value) -> ! {
    panic!("the key table gives {key} a kind that its setting doesn't have: {value:?}")
}
