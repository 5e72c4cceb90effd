//! Artimesh: federated artifact repositories and read-only edges, peer to peer, in one binary per site.
//!
//! This page is the plan of the house. A *room* is a folder of `src/`; a room imports only rooms that stand above it
//! here, and `tests/architecture.rs` holds that. The words are defined where they live: start at
//! [`artimesh_core::model`].
//!
//! ```text
//!            clients (curl, Maven, pip, a browser)              the other nodes of the circle
//!                           │  HTTP                                  ▲  TCP, TLS 1.3, Yamux
//!   face    cli ──▶ http ── console, formats                         │
//!                     │                                              │
//!                  service   what a node does for its user           │
//!                     │                                              │
//!   shell          engine ─── performs what the replica decides ─── swarm   bytes in flight
//!                   │   │
//!                   │  store                                                 bytes at rest
//!                   ▼
//!   core         replica ◀── changelog ◀── catalog, trust, access, bundle ◀── clock, model
//!
//!   node builds all of it from config's settings, runs it, and shuts it down
//! ```
//!
//! # The rooms, in reading order
//!
//! | room | one idea |
//! |---|---|
//! | [`artimesh_core`] | the rules, a package of its own: no I/O, no async, no clock, no dice |
//! | – [`model`](artimesh_core::model), [`clock`](artimesh_core::clock) | the nouns; timestamps |
//! | – [`trust`](artimesh_core::trust), [`access`](artimesh_core::access) | who belongs to the circle and may do what; may X do Y? |
//! | – [`catalog`](artimesh_core::catalog) | path → live versions, and how they merge |
//! | – [`changelog`](artimesh_core::changelog) | logs of signed segments |
//! | – [`replica`](artimesh_core::replica) | the node's mind: [`handle`](artimesh_core::replica::Replica::handle) turns one input into outputs |
//! | [`store`] | bytes at rest: packs are the truth, sled is their index |
//! | [`swarm`] | bytes in flight: libp2p, and nothing that must be proved |
//! | [`engine`] | performs the replica's outputs in order; fetches blobs |
//! | [`service`] | put, get, pair, revoke, status: every call takes a [`Caller`](service::Caller) |
//! | [`formats`], [`console`] | views over paths; the page at `/ui/` |
//! | [`http`] | requests become service calls, and errors status codes; one static table of [`routes`](http::routes()) |
//! | [`config`] | file, environment and flags become checked settings, out of one key table |
//! | [`node`] | the composition root |
//! | [`cli`] | the words an operator types; a client of HTTP like any other |
//!
//! # Invariants
//!
//! - **One write path.** Whatever changes a repository is an entry in its log, authored by `Replica::local` or received by
//!   `Replica::take`. No room writes a catalog row by itself: rows come out of the replica as `Output::Persist`. A local
//!   repository is a federation of one.
//! - **Persist before reply, before send, before publish.** A failed commit stops the node; only a full disk is an answer.
//! - **The state of a space is a function of the set of applied entries.** Nothing in the core reads a clock, rolls dice
//!   or walks an unordered map, so a seed replays a history.
//! - **No byte is trusted.** A segment is verified against its author's key and rights whoever relayed it, a group of a
//!   blob against its BLAKE3 chaining value before it is written.
//! - **An address is no capability.** A blob is served to a peer that shares a space in which a live version names it.
//! - **What something names goes only when others have promised to keep it:** [`engine::Engine::let_go`] is the one way.
//! - **Strangers see the pairing protocol and nothing else.**
//! - **Everything is bounded:** frames, queues, bodies in memory, connections, retries. Every task has an owner who ends it.
//!
//! Deliberately absent: a leader or a quorum (no site waits for another), tombstones (heads remember deletes), a DHT
//! (addresses come from tokens, settings and the nodes themselves), a second way to talk to a node (the command line has
//! no privileges that HTTP hasn't), a database server, and any order between sites that a clock decides alone.
//!
//! # A walk: an upload
//!
//! 1. `http::dispatch` finds the route, authenticates by [`Service::authenticate`](service::Service::authenticate) and
//!    calls the endpoint `http::artifact::put`.
//! 2. [`Service::upload`](service::Service::upload) admits it before the body is read: not on an edge, rights, the
//!    repository, room on the disk. It opens a [`store::Ingest`].
//! 3. [`Upload::write`](service::Upload::write) takes the body piece by piece; `Ingest` hashes four ways on the way (or
//!    three, and `engine::summing` computes MD5 later), and holds up to 1 MiB in memory, more in a file of its own.
//! 4. [`Upload::finish`](service::Upload::finish) compares the sums that the client named (a difference is 409, and the
//!    bytes go), and hands [`Command::Put`](artimesh_core::replica::Command::Put) and the [`store::Staged`] blob to
//!    [`Engine::command`](engine::Engine::command).
//! 5. The engine's *mind*, the one task that owns the replica, takes it with whatever else has queued up.
//!    `Replica::put` lists the versions that it kills, gives it its timestamp, and `Replica::write` its dot and its rows;
//!    `Replica::seal_space` signs the segment.
//! 6. `Mind::persist` commits segment, rows and blob as one batch: the store's `Committer::commit` appends it to the pack and
//!    issues one fdatasync for all that waited.
//! 7. Only then the replica's other outputs: the answer (201), frames to connected members, gossip.
//!
//! # A walk: a download
//!
//! 1. One of the threads of `http::threads` has accepted the connection and keeps it. `http::dispatch` finds the route and
//!    the caller, as for an upload; what the request waits for goes on in the node's runtime (`http::within`).
//! 2. [`Service::file`](service::Service::file) finds what is shown at the path: the item that it read before, if no row of
//!    the catalog has changed since, else the row. `http::artifact::get` evaluates conditions and ranges.
//! 3. [`Service::download`](service::Service::download) takes a small body out of memory. Bytes that aren't here come from
//!    peers (below). All others are a [`store::BlobStream`].
//! 4. The stream has a blocking thread hash each group that wasn't verified lately and read what isn't in memory, some MiB
//!    ahead; then it hands out the piece as a slice of the mapped file ([`store::mapping`]), without touching it.
//! 5. hyper writes head and piece; `http::wire` recognises the piece by its address and has the kernel send it from the file
//!    (sendfile). Inside of TLS pieces are read instead, encrypted and written.
//! 6. What it waited for is on the request's [`Account`](service::Account). At its end `http::endings` writes its line of the
//!    audit log, and one of the slow log if it took long.
//!
//! # A walk: a change arrives
//!
//! 1. Gossip brings a segment (`engine::events::gossip`) or a peer sends it, because an exchange of heads showed that it
//!    was missing here (`Replica::take_heads` there asked, `Replica::serve` here answered): every connection begins
//!    with one, and every `replication.heads_interval` has one with a member chosen by lot.
//! 2. `Replica::take_one`: is the space held here, is it a duplicate, a fork? If it needs something that isn't here yet it
//!    is parked; else `Replica::verify_and_apply` checks the signature, the author's key and standing, and applies all its
//!    entries or none.
//! 3. `Replica::apply_put` kills what the author had seen and puts the version beside what it hadn't: what is left beside
//!    the shown one are siblings. On a mirror a blob that isn't here becomes a row in the list of wanted blobs.
//! 4. Rows and segment are committed as one batch; from now on the path is visible here.
//! 5. `engine::fetch::mirror` reads that list: small blobs travel many to a request, a larger one becomes a *flight*
//!    (`engine::fetch::flight`), filled group by group from members that have it, and committed.
//! 6. A reader who comes earlier, or on an edge, gets there by [`Service::download`](service::Service::download):
//!    [`Engine::source`](engine::Engine::source) joins the flight or starts one, and what the reader waits for comes first.
//!    Where the repository is kept on demand it stays for the next reader, as long as the cache has room (`engine::cache`).
//!
//! # A walk: a member comes back after a year
//!
//! 1. It exchanges heads with a member and asks for what it lacks; `Replica::serve` there finds that its log isn't whole
//!    so far back (`replica::compact` has pruned what was killed) and says so.
//! 2. `replica::reconcile` asks for a snapshot: the source's heads, each with the signed header that ends there, what its
//!    authors knew, and its state digest, signed. Nothing is believed that its author, or a full member, hasn't signed.
//! 3. Both hold a Merkle trie over what is live (`replica::trie`), settled between inputs. It descends where nodes differ;
//!    items that are news come with their authors' proofs (`changelog::pruned`) and are staged.
//! 4. What it has and the source hasn't was deleted there if the source's heads cover it; else it is its own news. So
//!    nothing deleted returns, and nothing written here is lost.
//! 5. What the source applied meanwhile is fetched as well, so that nobody is needed any more. Then one commit, redone after
//!    a crash, makes it visible; the heads are taken over, that log is applied, and heads and digests say the same again.
//! 6. The state is *on trial* until a member signs that its own is the same; should one differ, that one's is taken over,
//!    for whoever showed this one lied, or erred. What ended is in the history.

pub mod cli;
pub mod config;
pub mod console;
pub mod engine;
pub mod formats;
pub mod http;
pub mod node;
pub mod service;
pub mod store;
pub mod swarm;
