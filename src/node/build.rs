//! From settings to the options of each room.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use artimesh_core::model::NodeId;
use artimesh_core::replica::{AcceptPolicy, Identity, Placement, Retention, rows};
use artimesh_core::trust::Addresses;

use super::backup::OWN_FILES;
use super::founding::public_keys;
use super::imprint;
use super::run::Start;
use crate::config::{self, Keys, Settings};
use crate::engine::{self, Engine, SystemClock};
use crate::service::{Audit, AuditOptions};
use crate::store::files::RealFiles;
use crate::store::{self, IndexFault, IndexRecovery, Recovery, Store, Tree};
use crate::swarm::{self, Swarm};
use crate::{http, service};

pub(super) fn identity(settings: &Settings, keys: &Keys) -> Identity {
    Identity {
        node: NodeId::of(&keys.log.public()),
        name: settings.node.name.clone(),
        log_key: keys.log.clone(),
        keys: public_keys(keys),
    }
}

/// What every open of a node's store has in common: others would keep another index.
pub(super) fn store_options() -> store::Options {
    store::Options { derivation: Some(service::derivation()), ..store::Options::default() }
}

/// Opens the store in `folder`.
pub(super) async fn open_store(settings: &Settings, folder: &Path) -> anyhow::Result<(Store, Recovery)> {
    let options = store::Options {
        pack_bytes: settings.store.pack_size,
        reserve_bytes: settings.store.reserve,
        quota_bytes: settings.store.quota,
        verify_max_age: settings.store.verify_max_age,
        ..store_options()
    };
    let folder = folder.to_owned();
    let mut fresh_id = [0; 16];
    getrandom::fill(&mut fresh_id)?;
    let open = move || Store::open(&folder, options, Arc::new(RealFiles), fresh_id);
    tokio::task::spawn_blocking(open).await?.context("the store cannot be opened")
}

/// What the folder leaves in doubt.
pub(super) struct Doubts {
    /// Why this node can't go on in the incarnation that the store names: it may have written on elsewhere.
    reborn: Option<String>,
    /// Whether a peer is asked before anything is written where others are members.
    pub(super) asks_first: bool,
}

/// Compares the folder with what the last start noted. An index that had to be built anew is a doubt too: whoever restores
/// packs by hand leaves the index out. An earlier release noted nothing: its folder goes on in a new incarnation, which no
/// other can have written in, and nobody is asked, for the others may not be upgraded yet.
pub(super) fn doubts(folder: &Path, store: &Store, recovery: &Recovery, start: Start) -> anyhow::Result<Doubts> {
    if recovery.is_created {
        return Ok(Doubts { reborn: None, asks_first: false });
    }
    let seen = imprint::look(folder, store.folder(), recovery.last_commit)?;
    let (reborn, is_rebuilt) = match &recovery.index {
        IndexRecovery::Rebuilt { fault: IndexFault::Ahead } => {
            (Some("the packs were set back: the index knew more commits".to_owned()), true)
        }
        IndexRecovery::Rebuilt { fault: IndexFault::Outdated } => (seen.changed, false),
        IndexRecovery::Rebuilt { .. } => (seen.changed, true),
        IndexRecovery::Current | IndexRecovery::Replayed => (seen.changed, false),
    };
    let is_upgraded = !imprint::is_noted(folder) && store.get(Tree::Meta, rows::LAYOUT)?.is_none();
    let is_unknown = !is_upgraded && (reborn.is_some() || seen.asks);
    let asks_first = start == Start::AskPeers && (is_unknown || is_rebuilt);
    if asks_first {
        tracing::info!(
            "a peer is asked before anything is written where others are members; `serve --alone` does not ask"
        );
    }
    Ok(Doubts { reborn, asks_first })
}

pub(super) async fn start_swarm(
    settings: &Settings,
    keys: &Keys,
) -> anyhow::Result<(Swarm, tokio::sync::mpsc::Receiver<swarm::Event>)> {
    let options = swarm::Options {
        listen: settings.swarm.listen.clone(),
        bulk_listen: settings.swarm.bulk_listen.clone(),
        gossip: settings.swarm.gossip,
        rates: settings.transfer.clone(),
        ..swarm::Options::default()
    };
    Swarm::start(&keys.transport, options).await.context("the swarm cannot start")
}

pub(super) fn engine_options(settings: &Settings) -> engine::Options {
    let replication = &settings.replication;
    engine::Options {
        accept: match &replication.accept_federations {
            config::Accept::Any => AcceptPolicy::Any,
            config::Accept::None => AcceptPolicy::None,
            config::Accept::From(nodes) => AcceptPolicy::Of(nodes.clone()),
        },
        placement: match replication.placement {
            config::Placement::Mirror => Some(Placement::Mirror),
            config::Placement::OnDemand => Some(Placement::OnDemand),
            config::Placement::ByRole => None,
        },
        heads_interval: replication.heads_interval,
        fetches: replication.fetches,
        finishes_fetches: settings.cache.finish_fetches,
        retention: Retention {
            whole_ms: u64::try_from(replication.log_whole.as_millis()).unwrap_or(u64::MAX),
            deletes_ms: u64::try_from(replication.log_deletes.as_millis()).unwrap_or(u64::MAX),
        },
        advertise: Addresses { control: settings.swarm.advertise.clone(), bulk: settings.swarm.advertise_bulk.clone() },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        reborn: None,
        asks_first: false,
        upkeep: engine::Upkeep {
            gc_interval: settings.store.gc_interval,
            gc_grace: settings.store.gc_grace,
            compact_below_percent: settings.store.compact_below,
            scrub_interval: settings.store.scrub_interval,
            scrub_bytes_per_s: settings.store.scrub_rate,
        },
        min_copies: replication.min_copies,
        history: settings.store.history,
        cache: engine::Limits {
            max_size: match settings.cache.max_size {
                config::Share::All => engine::Share::All,
                config::Share::Bytes(bytes) => engine::Share::Bytes(bytes),
                config::Share::Percent(percent) => engine::Share::Percent(percent),
            },
            max_age: settings.cache.max_age,
        },
    }
}

pub(super) async fn start_engine(
    settings: &Settings,
    keys: &Keys,
    doubts: Doubts,
    store: Store,
    swarm: Swarm,
    events: tokio::sync::mpsc::Receiver<swarm::Event>,
) -> anyhow::Result<Engine> {
    let identity = identity(settings, keys);
    let Doubts { reborn, asks_first } = doubts;
    let options = engine::Options { reborn, asks_first, ..engine_options(settings) };
    let fresh = getrandom::u64()?;
    let clock = Arc::new(SystemClock);
    Ok(Engine::start(identity, keys.pairing.clone(), store, swarm, events, clock, options, fresh).await?)
}

pub(super) fn http_options(settings: &Settings, folder: &Path) -> http::Options {
    let file = |path: &Path| folder.join(path);
    http::Options {
        listen: settings.http.listen,
        threads: settings.http.threads,
        header_timeout: settings.http.header_timeout,
        idle_timeout: settings.http.idle_timeout,
        max_header_bytes: settings.http.max_header_bytes,
        max_connections: settings.http.max_connections,
        max_upload: settings.http.max_upload,
        grace: settings.shutdown.grace,
        tls: settings
            .http
            .tls
            .as_ref()
            .map(|(certificate, key)| http::TlsFiles { certificate: file(certificate), key: file(key) }),
        slow_log: settings.http.slow_log,
        server_timing: settings.http.server_timing,
        public_url: settings.http.public_url.clone(),
    }
}

pub(super) fn service_options(
    settings: &Settings,
    folder: &Path,
    admin_token: String,
) -> anyhow::Result<service::Options> {
    let config::Audit { downloads, file_size: file_bytes, files } = settings.audit;
    let log = folder.join("audit");
    let audit = Audit::open(&log, AuditOptions { downloads, file_bytes, files });
    Ok(service::Options {
        anonymous_read: settings.http.anonymous_read,
        admin_token,
        folder: folder.to_owned(),
        own_files: OWN_FILES,
        md5: settings.ingest.md5,
        audit: audit.with_context(|| format!("the audit log in {} cannot be written", log.display()))?,
    })
}
