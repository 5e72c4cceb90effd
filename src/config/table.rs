//! The key table: every setting there is.

use std::time::Duration;

use super::key::{Key, Kind};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// `ARTIMESH_*` variables that aren't keys: the command line's own.
pub const OTHER_VARIABLES: &[&str] =
    &["ARTIMESH_DATA", "ARTIMESH_URL", "ARTIMESH_PROFILE", "ARTIMESH_TOKEN_FILE", "ARTIMESH_CA_FILE", "ARTIMESH_LOG"];

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Time { min: Duration::from_secs(min), max: Duration::from_secs(max) }
}

/// An optional key without a flag: what the rows below differ from.
const fn key(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { name, kind, default, required: false, doc: "", example: "", flag: None }
}

/// All keys, section by section, in the order of the commented file.
pub const KEYS: &[Key] = &[
    Key {
        required: true,
        doc: "What people call this node. Unique in its circle. Its identity is its key, so the name may change.",
        example: "berlin",
        ..key("node.name", Kind::Name, None)
    },
    Key {
        doc: "Where HTTP is served: artifacts, the REST API, the console and metrics. Port 0 takes any free port; the \
              one that is served stands in the file http.addr of the data folder.",
        example: "0.0.0.0:8082",
        flag: Some("http"),
        ..key("http.listen", Kind::Address, Some("127.0.0.1:8082"))
    },
    Key {
        doc: "How many threads serve HTTP; 0 is one for each processor. A connection stays on the thread that took it.",
        example: "4",
        ..key("http.threads", Kind::Count { min: 0, max: 1024 }, Some("0"))
    },
    Key {
        doc: "The address under which users reach this node, when it isn't the one that is listened on: behind a \
              reverse proxy, for instance. It is written into links such as downloadUri.",
        example: "https://artifacts.example",
        flag: Some("public-url"),
        ..key("http.public_url", Kind::Url, None)
    },
    Key {
        doc: "The certificate for HTTPS, in PEM: this node's first, then those that lead to one that clients know. With \
              it, HTTPS (HTTP/1.1 and HTTP/2) is what http.listen speaks; plain HTTP is for this machine's loopback only, \
              where the command line uses it.",
        example: "tls/cert.pem",
        ..key("http.tls_certificate", Kind::File, None)
    },
    Key {
        doc: "The private key of that certificate, in PEM.",
        example: "tls/key.pem",
        ..key("http.tls_key", Kind::File, None)
    },
    Key {
        doc: "Whether whoever can reach this node may read artifacts without a token. Without it only this node's \
              administrator reads, from this machine.",
        example: "true",
        flag: Some("anonymous-read"),
        ..key("http.anonymous_read", Kind::Truth, Some("false"))
    },
    Key {
        doc: "How long a client may take to send the head of a request before its connection is closed.",
        example: "5s",
        ..key("http.header_timeout", seconds(1, 300), Some("10s"))
    },
    Key {
        doc: "How long the body of a request or an answer may stand still before its connection is closed. A slow \
              transfer is fine as long as bytes move.",
        example: "5m",
        ..key("http.idle_timeout", seconds(1, 3600), Some("60s"))
    },
    Key {
        doc: "The largest head of a request (its line and header fields) that is read. Larger ones get 431.",
        example: "128KiB",
        ..key("http.max_header_bytes", Kind::Size { min: 8 * KIB, max: MIB }, Some("64KiB"))
    },
    Key {
        doc: "How many HTTP connections are served at once. Each costs a file descriptor and some memory; more wait.",
        example: "4096",
        ..key("http.max_connections", Kind::Count { min: 1, max: 1_000_000 }, Some("1024"))
    },
    Key {
        doc: "The largest artifact that is taken in one upload. Larger ones get 413.",
        example: "50GiB",
        ..key("http.max_upload", Kind::Size { min: 1, max: 16 * TIB }, Some("1TiB"))
    },
    Key {
        doc: "Requests that take as long as this are told in the log, under the target slow: with what they waited for \
              (queue, index, disk, hash, sync, peer), and how long for their client, which may just be slow. At most 60 in a \
              minute; 0s for none.",
        example: "2s",
        ..key("http.slow_log", seconds(0, 3600), Some("10s"))
    },
    Key {
        doc: "Who is told by a Server-Timing header what an answer waited for: off (nobody), admin (the administrator) or \
              all. It tells what is in memory here and what isn't, and so what others have asked for.",
        example: "admin",
        ..key("http.server_timing", Kind::Choice(&["off", "admin", "all"]), Some("off"))
    },
    Key {
        doc: "Whether each download is a line of the audit log in the data folder's audit/: who, what, when, how much, from \
              where, with which outcome. Changes always are. `artimesh audit` shows them.",
        example: "false",
        ..key("audit.downloads", Kind::Truth, Some("true"))
    },
    Key {
        doc: "How large a file of the audit log gets before the next is begun.",
        example: "256MiB",
        ..key("audit.file_size", Kind::Size { min: MIB, max: TIB }, Some("64MiB"))
    },
    Key {
        doc: "How many of these files are kept; the oldest goes when there is one more.",
        example: "100",
        ..key("audit.files", Kind::Count { min: 1, max: 100_000 }, Some("8"))
    },
    Key {
        doc: "When the MD5 of an upload of more than 1 MiB is computed: inline (with the other checksums; MD5 is the slowest) \
              or deferred (behind the upload, while nobody waits). Until then answers leave it out, and its .md5 isn't \
              found. One that the client names is always checked at once. Members that run a release without this setting \
              show an MD5 of zeros for such artifacts, for good.",
        example: "deferred",
        ..key("ingest.md5", Kind::Choice(&["inline", "deferred"]), Some("inline"))
    },
    Key {
        doc: "Where other nodes connect for control: trust, change logs, announcements. Multiaddrs of TCP sockets. An \
              empty list means that this node only dials out, which suffices behind NAT.",
        example: "/ip4/0.0.0.0/tcp/8083",
        flag: Some("swarm"),
        ..key("swarm.listen", Kind::Listen, Some("/ip4/127.0.0.1/tcp/8083"))
    },
    Key {
        doc: "Where other nodes connect for bulk: the bytes of artifacts. It is a port of its own so that control \
              never waits behind a large file.",
        example: "/ip4/0.0.0.0/tcp/8084",
        flag: Some("bulk"),
        ..key("swarm.bulk_listen", Kind::Listen, Some("/ip4/127.0.0.1/tcp/8084"))
    },
    Key {
        doc: "The control addresses that this node tells others, where they differ from what it listens on: behind \
              port forwarding, or with a DNS name. Empty: the addresses that it listens on.",
        example: "/dns4/berlin.example/tcp/8083",
        flag: Some("advertise"),
        ..key("swarm.advertise", Kind::Dial, Some(""))
    },
    Key {
        doc: "The bulk addresses that this node tells others. Empty: the addresses that it listens on.",
        example: "/dns4/berlin.example/tcp/8084",
        flag: Some("advertise-bulk"),
        ..key("swarm.advertise_bulk", Kind::Dial, Some(""))
    },
    Key {
        doc: "Whether changes are announced by gossip. Without it nothing is lost: members still tell each other their \
              heads once a second when something changed, and compare them every replication.heads_interval.",
        example: "false",
        flag: Some("gossip"),
        ..key("swarm.gossip", Kind::Truth, Some("true"))
    },
    Key {
        doc: "Whose invitations to a federation this node follows by itself: any (every member that may invite), none \
              (an operator decides each time), or the names or ids of nodes.",
        example: "paris,oslo",
        flag: Some("accept-federations"),
        ..key("replication.accept_federations", Kind::Nodes, Some("any"))
    },
    Key {
        doc: "Which bytes this node holds: mirror (all, fetched as soon as a change is known), on-demand (those that \
              somebody asked for), or by-role (full members mirror, edges fetch on demand). It applies to \
              repositories that appear here from now on.",
        example: "mirror",
        flag: Some("placement"),
        ..key("replication.placement", Kind::Choice(&["mirror", "on-demand", "by-role"]), Some("by-role"))
    },
    Key {
        doc: "How often heads are compared with one connected member, chosen by lot; every new connection begins with a \
              comparison too. It is what makes replication certain; gossip only makes it quick.",
        example: "10s",
        ..key(
            "replication.heads_interval",
            Kind::Time { min: Duration::from_millis(100), max: Duration::from_secs(86_400) },
            Some("30s"),
        )
    },
    Key {
        doc: "How long the change log keeps what was replaced or deleted. A member that was away for longer compares \
              whole states instead of replaying the log; nothing comes back by that.",
        example: "90d",
        ..key("replication.log_whole", seconds(0, 10 * 365 * 86_400), Some("30d"))
    },
    Key {
        doc: "How long the change log keeps deletes, which say more than an absence does.",
        example: "730d",
        ..key("replication.log_deletes", seconds(0, 10 * 365 * 86_400), Some("365d"))
    },
    Key {
        doc: "How many blobs are fetched at the same time.",
        example: "16",
        ..key("replication.fetches", Kind::Count { min: 1, max: 256 }, Some("8"))
    },
    Key {
        doc: "How many other mirrors must have confirmed that they hold what was written at this node before it may do \
              without its own copy. It matters where this node doesn't mirror; a mirror keeps its copy anyway.",
        example: "2",
        ..key("replication.min_copies", Kind::Count { min: 1, max: 100 }, Some("1"))
    },
    Key {
        doc: "How many bytes of artifacts this node receives from all others together in a second. Control traffic isn't \
              limited, and what a reader waits for comes first.",
        example: "20MiB,08:00-18:00 2MiB",
        ..key("transfer.receive_max", Kind::Rates, Some("none"))
    },
    Key {
        doc: "How many bytes of artifacts this node sends to all others together in a second.",
        example: "20MiB,08:00-18:00 2MiB",
        ..key("transfer.send_max", Kind::Rates, Some("none"))
    },
    Key {
        doc: "How many bytes of artifacts this node receives from any one other in a second.",
        example: "10MiB",
        ..key("transfer.peer_receive_max", Kind::Rates, Some("none"))
    },
    Key {
        doc: "How many bytes of artifacts this node sends to any one other in a second.",
        example: "10MiB",
        ..key("transfer.peer_send_max", Kind::Rates, Some("none"))
    },
    Key {
        doc: "The clock by which the hours of the limits above are told. Daylight saving isn't followed.",
        example: "+01:00",
        ..key("transfer.time_zone", Kind::Zone, Some("UTC"))
    },
    Key {
        doc: "Whether a blob that is fetched because somebody reads it is fetched to its end when nobody waits for it any \
              more. What has arrived is kept for the next reader either way.",
        example: "false",
        ..key("cache.finish_fetches", Kind::Truth, Some("true"))
    },
    Key {
        doc: "What artifacts may take that are here because somebody read them, where a repository is kept on demand: \
              bytes, or a share of store.quota (without a quota: of what the store takes and what is free). Beyond it \
              those that were read least lately go, and are fetched again when they are asked for. `artimesh cache \
              pin` keeps some; `artimesh cache status` shows what is held.",
        example: "200GiB",
        ..key("cache.max_size", Kind::Share { min: MIB }, Some("80%"))
    },
    Key {
        doc: "For how long such artifacts stay when nobody reads them.",
        example: "30d",
        ..key("cache.max_age", Kind::Age { min: Duration::from_secs(1) }, Some("none"))
    },
    Key {
        doc: "How many bytes the data folder may take, or none. Uploads beyond it get 507.",
        example: "500GiB",
        flag: Some("quota"),
        ..key("store.quota", Kind::Limit { min: 16 * MIB }, Some("none"))
    },
    Key {
        doc: "How many bytes of the quota and of the disk stay free for what must go on when uploads no longer can: \
              deletes, revocations, garbage collection.",
        example: "1GiB",
        flag: Some("reserve"),
        ..key("store.reserve", Kind::Size { min: MIB, max: 16 * TIB }, Some("256MiB"))
    },
    Key {
        doc: "How large a pack file gets before the next is begun. Larger artifacts get packs of their own.",
        example: "64MiB",
        ..key("store.pack_size", Kind::Size { min: MIB, max: 4 * GIB }, Some("256MiB"))
    },
    Key {
        doc: "How long a stored group of bytes counts as verified. One that wasn't hashed for as long is hashed before it \
              leaves, so that what rotted on the disk is an error and never an answer.",
        example: "1d",
        ..key("store.verify_max_age", seconds(0, 3650 * 86_400), Some("7d"))
    },
    Key {
        doc: "How often garbage is collected: artifacts that no version and no history names any more are removed, and \
              packs that hold little are compacted. `artimesh gc` does it at once.",
        example: "6h",
        ..key("store.gc_interval", seconds(1, 365 * 86_400), Some("24h"))
    },
    Key {
        doc: "How long garbage stays after a collection has first seen it, as a help for whoever deleted the wrong thing \
              and finds out late.",
        example: "7d",
        ..key("store.gc_grace", seconds(0, 365 * 86_400), Some("24h"))
    },
    Key {
        doc: "A pack of which fewer per cent than this are in use is compacted. More saves disk space and costs writing.",
        example: "75",
        ..key("store.compact_below", Kind::Count { min: 1, max: 100 }, Some("50"))
    },
    Key {
        doc: "How long this node keeps what was replaced or deleted, bytes and all, so that it can be restored or rolled \
              back, to the minute. Each node has a history of its own; what has left it is garbage unless something else \
              names it.",
        example: "90d",
        ..key("store.history", seconds(0, 3650 * 86_400), Some("30d"))
    },
    Key {
        doc: "How often everything at rest is read and hashed again. What rotted is taken out of use, reported, and fetched \
              from other members; `artimesh scrub` does it at once.",
        example: "30d",
        ..key("store.scrub_interval", seconds(1, 10 * 365 * 86_400), Some("7d"))
    },
    Key {
        doc: "How many bytes a second such a scrub reads at most, and the check of the checksums that other sites claim. Both \
              step aside while requests wait, too.",
        example: "100MiB",
        ..key("store.scrub_rate", Kind::Size { min: 64 * KIB, max: TIB }, Some("32MiB"))
    },
    Key {
        doc: "The shape of log lines on standard error: text for people, json for machines.",
        example: "json",
        flag: Some("log-format"),
        ..key("log.format", Kind::Choice(&["text", "json"]), Some("text"))
    },
    Key {
        doc: "What is logged: a level (error, warn, info, debug, trace), or directives for single rooms. The variable \
              ARTIMESH_LOG replaces it for one run.",
        example: "info,artimesh::swarm=debug",
        flag: Some("log-level"),
        ..key("log.level", Kind::Filter, Some("info"))
    },
    Key {
        doc: "How long transfers in flight may take to finish when the node is told to stop.",
        example: "5m",
        ..key("shutdown.grace", seconds(0, 3600), Some("30s"))
    },
];
