//! Running a node until it is told to stop.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use artimesh_core::model::NodeId;
use artimesh_core::replica::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::build;
use super::founding;
use super::imprint;
use super::lock::FolderLock;
use super::moving;
use crate::config::{Keys, Settings, read_secret};
use crate::engine::{Engine, Life};
use crate::http::Server;
use crate::service::{Metrics, Service};
use crate::store::{IndexRecovery, Recovery};

/// How long the last commits may take to reach the index.
const CLOSE_WAIT: Duration = Duration::from_secs(60);

/// Whether a node whose store may be older than what it has told others asks one of them before it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// It does.
    AskPeers,
    /// It doesn't: there is nobody to ask any more, or the operator knows better.
    Alone,
}

/// Runs the node in `folder` until SIGTERM or SIGINT, or until its store fails.
///
/// # Errors
/// When it can't start, saying what to do; when its store failed.
pub fn run(settings: Settings, folder: PathBuf, start: Start) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(&settings, &folder, start));
    // Blocking reads of a slow disk may still run: nobody waits for them any more.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn serve(settings: &Settings, folder: &Path, start: Start) -> anyhow::Result<()> {
    let _lock = FolderLock::take(folder)?;
    let keys = Keys::load(folder)?;
    let admin_token = read_secret(&folder.join("admin.token"))?;
    let stop = stop_signal()?;
    let node = NodeId::of(&keys.log.public());
    let name = &settings.node.name;
    tracing::info!(%name, %node, version = env!("CARGO_PKG_VERSION"), "starting {name}");

    let location = moving::location(folder)?;
    let _store_lock = moving::lock_store(&location)?;
    let (store, recovery) = build::open_store(settings, &location.folder).await?;
    tell(&recovery);
    moving::settle(folder, &location);
    let doubts = build::doubts(folder, &store, &recovery, start)?;
    let asks_first = doubts.asks_first;
    let (swarm, events) = build::start_swarm(settings, &keys).await?;
    let engine = build::start_engine(settings, &keys, doubts, store.clone(), swarm.clone(), events).await?;
    // Not before the new incarnation is durable: a start that is cut short here is followed by one that sees the same.
    imprint::note(folder, store.folder(), store.usage().last_commit, asks_first)?;
    found_circle(&engine, folder).await?;

    let options = build::service_options(settings, folder, admin_token)?;
    let service = Service::new(engine.clone(), options, Metrics::default());
    let server = Server::bind(service.clone(), build::http_options(settings, folder));
    let server = server.with_context(|| format!("http.listen {} cannot be served", settings.http.listen))?;
    let address = server.local_addr();
    service.served_at(address);
    let address_file = folder.join("http.addr");
    write_address(&address_file, &address.to_string())?;
    let swarm_addresses = swarm.addresses();
    let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, swarm = ?swarm_addresses.control, bulk = ?swarm_addresses.bulk, "ready on {scheme}://{address}");

    let noting = tokio::spawn(service.clone().note_downloads());
    let stopping = Arc::new(Notify::new());
    let told = stopping.clone();
    let serving = server.run(async move { told.notified().await });
    let outcome = {
        tokio::pin!(serving);
        let outcome = tokio::select! {
            () = stop => Ok(()),
            failed = engine.failed() => Err(failed.into()),
            ended = &mut serving => ended.context("HTTP is not served any more"),
        };
        tracing::info!("stopping: no new requests, finishing those under way");
        stopping.notify_one();
        // Gone before the port is, so that nobody is sent to a port that somebody else may take.
        let _ = fs::remove_file(&address_file);
        if outcome.is_ok() {
            let _ = timeout(settings.shutdown.grace, serving).await;
        }
        outcome
    };
    noting.abort();
    service.note_downloads_now().await;
    let still_asks = engine.inspect(|replica, _| replica.unheard().next().is_some()).await.unwrap_or(asks_first);
    engine.stop().await;
    let audit = service.audit().clone();
    let _ = tokio::task::spawn_blocking(move || audit.close()).await;
    swarm.close().await;
    if timeout(CLOSE_WAIT, store.close()).await.is_err() {
        tracing::warn!("the index is not up to date yet; the next start catches up");
    }
    if let Err(error) = imprint::note(folder, store.folder(), store.usage().last_commit, still_asks) {
        tracing::warn!(%error, "what the store has reached was not noted");
    }
    tracing::info!("stopped");
    outcome
}

fn tell(recovery: &Recovery) {
    match &recovery.index {
        IndexRecovery::Current => {}
        IndexRecovery::Replayed => {
            tracing::info!(
                records = recovery.records_read,
                ms = recovery.elapsed_ms,
                "the index caught up with the packs"
            );
        }
        IndexRecovery::Rebuilt { fault } => {
            tracing::warn!(
                %fault,
                records = recovery.records_read,
                ms = recovery.elapsed_ms,
                "the index was rebuilt from the packs"
            );
        }
    }
    if recovery.truncated_bytes > 0 {
        tracing::info!(bytes = recovery.truncated_bytes, "an unfinished write at the end of the packs was cut off");
    }
    if recovery.damaged_blobs > 0 {
        tracing::error!(blobs = recovery.damaged_blobs, "blobs in the packs are damaged and count as missing");
    }
}

/// Founds the circle that `init --new-circle` prepared, once.
async fn found_circle(engine: &Engine, folder: &Path) -> anyhow::Result<()> {
    if engine.snapshot().life != Life::Alone {
        return Ok(());
    }
    let Some(founding) = founding::read(folder)? else { return Ok(()) };
    let circle = founding.circle();
    engine.command(Command::FoundCircle(founding), None).await.context("the circle cannot be founded")?;
    tracing::info!(%circle, "founded the circle");
    Ok(())
}

/// Ends at the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("told to stop twice: stopping at once");
            std::process::exit(1);
        });
    })
}

/// Whole or not at all: a reader never sees half an address.
fn write_address(path: &Path, address: &str) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let temporary = path.with_extension("addr.new");
    let mut file = fs::File::create(&temporary).with_context(shown)?;
    writeln!(file, "{address}").with_context(shown)?;
    fs::rename(&temporary, path).with_context(shown)
}
