//! Garbage collection over a running engine: what is in use stays, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use artimesh_core::catalog::{Content, RepositoryConfig, Versions};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Checksums, Digest, KeyPair, NodeId, Properties};
use artimesh_core::replica::{AcceptPolicy, Command, Identity, Retention, rows};
use artimesh_core::trust::{Addresses, Founding, NodeKeys};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::collector::Collector;
use super::*;
use crate::engine::mind::Message;
use crate::engine::removal::DropCause;
use crate::engine::{Limits, Options, Upkeep, WallClock};
use crate::store::{Batch, Derivation, Options as StoreOptions, RealFiles, RowWrite, Store, Tree, Verdict, Walk};
use crate::swarm::{self, Swarm};

const HOUR_MS: u64 = 3_600_000;

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl WallClock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// A node of its own, in this process.
pub(crate) struct Site {
    pub engine: Engine,
    pub store: Store,
    clock: Arc<SetClock>,
    folder: tempfile::TempDir,
}

fn key(purpose: &str) -> KeyPair {
    KeyPair::from_secret(&Digest::derived("test/gc", purpose.as_bytes()).0)
}

fn identity() -> Identity {
    let [log, transport, pairing] = ["log", "transport", "pairing"].map(|purpose| key(purpose).public());
    let keys = NodeKeys { log, transport, pairing };
    Identity { node: NodeId::of(&keys.log), name: "berlin".parse().unwrap(), log_key: key("log"), keys }
}

pub(in crate::engine) fn options() -> Options {
    Options {
        accept: AcceptPolicy::Any,
        placement: None,
        heads_interval: Duration::from_secs(30),
        retention: Retention::default(),
        fetches: 1,
        finishes_fetches: true,
        advertise: Addresses::default(),
        version: "test".into(),
        reborn: None,
        asks_first: false,
        upkeep: Upkeep { gc_interval: Duration::from_secs(86_400), ..Upkeep::default() },
        min_copies: 1,
        history: Duration::from_secs(30 * 86_400),
        cache: Limits::default(),
    }
}

pub(crate) fn noise(seed: u64, count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

impl Site {
    pub async fn new() -> Site {
        Site::with(options()).await
    }

    /// A node whose files are found by what they hold.
    pub async fn finding(derivation: Derivation) -> Site {
        Site::over(StoreOptions { derivation: Some(derivation), ..StoreOptions::default() }, options()).await
    }

    /// A node with these options.
    pub async fn with(options: Options) -> Site {
        Site::over(StoreOptions { pack_bytes: 1 << 20, ..StoreOptions::default() }, options).await
    }

    /// A node whose store is opened so.
    pub async fn over(store_options: StoreOptions, options: Options) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) =
            Store::open(&folder.path().join("store"), store_options, Arc::new(RealFiles), [3; 16]).unwrap();
        let quiet = swarm::Options { listen: Vec::new(), bulk_listen: Vec::new(), gossip: false, ..Default::default() };
        let (swarm, events) = Swarm::start(&key("transport"), quiet).await.unwrap();
        let clock = Arc::new(SetClock(AtomicU64::new(1_700_000_000_000)));
        let engine = Engine::start(identity(), key("pairing"), store.clone(), swarm, events, clock.clone(), options, 5)
            .await
            .unwrap();
        let identity = identity();
        let founding = Founding::new(&key("root"), identity.name, identity.keys);
        engine.command(Command::FoundCircle(founding), None).await.unwrap();
        let config = RepositoryConfig { package_type: "generic".into(), description: String::new() };
        let create =
            Command::CreateRepository { key: "libs".parse().unwrap(), config, invite: Vec::new(), secret: [9; 32] };
        engine.command(create, None).await.unwrap();
        Site { engine, store, clock, folder }
    }

    pub fn store_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// Much that nothing names, in one commit.
    async fn litter_much(&self, seeds: std::ops::Range<u64>) {
        let mut blobs = Vec::new();
        for seed in seeds {
            let mut ingest = self.store.ingest().unwrap();
            ingest.write(noise(seed, 40)).await.unwrap();
            blobs.push(ingest.finish().await.unwrap());
        }
        self.store.commit(Batch { blobs, ..Batch::default() }).await.unwrap();
    }

    /// Bytes that nothing names.
    pub async fn litter(&self, bytes: &Bytes) -> Digest {
        let mut ingest = self.store.ingest().unwrap();
        ingest.write(bytes.clone()).await.unwrap();
        let staged = ingest.finish().await.unwrap();
        let digest = staged.digest();
        self.store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
        digest
    }

    pub async fn put(&self, path: &str, bytes: &Bytes) -> Digest {
        put(&self.engine, path, bytes).await
    }

    async fn delete(&self, path: &str) {
        delete(&self.engine, path).await;
    }

    async fn collect(&self, grace_ms: u64, is_dry: bool) -> Result<Collected, CollectError> {
        let collection = options().upkeep.collection();
        self.engine.collect(Collection { is_dry, grace: Duration::from_millis(grace_ms), ..collection }).await
    }

    /// How many rows there are under a prefix.
    pub fn rows(&self, prefix: &[u8]) -> usize {
        self.store.range(Tree::Meta, prefix, &rows::end_of(prefix), usize::MAX).unwrap().len()
    }

    pub fn pass(&self, hours: u64) {
        self.clock.0.fetch_add(hours * HOUR_MS, Ordering::Relaxed);
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.store.blob(digest).unwrap().is_some()
    }

    pub async fn close(self) -> tempfile::TempDir {
        self.engine.stop().await;
        self.store.close().await;
        self.folder
    }

    /// The same store under another engine.
    pub async fn restarted(self, options: Options) -> Site {
        self.engine.stop().await;
        let quiet = swarm::Options { listen: Vec::new(), bulk_listen: Vec::new(), gossip: false, ..Default::default() };
        let (swarm, events) = Swarm::start(&key("transport"), quiet).await.unwrap();
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let engine = Engine::start(identity(), key("pairing"), store, swarm, events, clock, options, 6).await.unwrap();
        Site { engine, ..self }
    }
}

pub(in crate::engine) async fn put(engine: &Engine, path: &str, bytes: &Bytes) -> Digest {
    let mut ingest = engine.store().ingest().unwrap();
    ingest.write(bytes.clone()).await.unwrap();
    let staged = ingest.finish().await.unwrap();
    let digest = staged.digest();
    let content = Content {
        digest,
        size: staged.size(),
        checksums: staged.checksums(),
        media_type: "application/octet-stream".into(),
        properties: Properties::default(),
    };
    let command =
        Command::Put { key: "libs".parse().unwrap(), path: path.parse().unwrap(), content, by: "alice".into() };
    engine.command(command, Some(staged)).await.unwrap();
    digest
}

async fn delete(engine: &Engine, path: &str) {
    let (key, path) = ("libs".parse().unwrap(), path.parse().unwrap());
    engine.command(Command::Delete { key, path, only: None, by: "alice".into() }, None).await.unwrap();
}

/// What rows at rest name.
fn named(store: &Store) -> BTreeSet<Digest> {
    let mut named = BTreeSet::new();
    for (_, value) in store.range(Tree::Catalog, &[], &[255; 34], usize::MAX).unwrap() {
        named.extend(rows::read::<Versions>(&value).unwrap().iter().map(|version| version.content.digest));
    }
    for (key, value) in store.range(Tree::History, &[], &[255; 34], usize::MAX).unwrap() {
        named.extend(rows::historic(&key, &value).unwrap().map(|past| past.version.content.digest));
    }
    named
}

/// Ends the history at once, as its time would; nothing else that the mind writes is touched by that.
pub(in crate::engine) async fn end_history(store: &Store) {
    let rows = store.range(Tree::History, &[], &[255; 34], usize::MAX).unwrap();
    let is_past = |(key, value): &&(Vec<u8>, Vec<u8>)| matches!(rows::historic(key, value), Ok(Some(_)));
    let rows: Vec<RowWrite> =
        rows.iter().filter(is_past).map(|(key, _)| RowWrite::delete(Tree::History, key.clone())).collect();
    store.commit(Batch { rows, ..Batch::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_written_again_is_in_use() {
    let site = Site::new().await;
    let digest = site.put("a/own", &noise(1, 5000)).await;
    let key = site.store.range(Tree::Catalog, &[], &[255; 34], 1).unwrap().remove(0);
    let versions: Versions = rows::read(&key.1).unwrap();
    let version = versions.shown().unwrap().clone();
    let unwritten = rows::write(&rows::Unwritten { path: "a/own".parse().unwrap(), version });
    // As if it had gone with a branch of this node's own log.
    let waiting = RowWrite::put(Tree::Meta, [rows::AGAIN, b"1"].concat(), unwritten);
    let gone = RowWrite::delete(Tree::Catalog, key.0);
    site.store.commit(Batch { rows: vec![waiting, gone], ..Batch::default() }).await.unwrap();
    let collected = site.collect(0, false).await.unwrap();
    assert_eq!((collected.removed.blobs, collected.in_use["to be written again"].blobs), (0, 1));
    assert!(site.has(&digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_when_its_time_is_over_and_what_is_in_use_stays() {
    let site = Site::new().await;
    let live = site.put("a/live", &noise(1, 5000)).await;
    let replaced = site.put("a/other", &noise(2, 100)).await;
    let other = site.put("a/other", &noise(3, 2_500_000)).await;
    let deleted = site.put("a/deleted", &noise(4, 700)).await;
    site.delete("a/deleted").await;
    let litter = [site.litter(&noise(5, 900)).await, site.litter(&noise(6, 1_500_000)).await];

    let first = site.collect(HOUR_MS, false).await.unwrap();
    assert_eq!((first.removed.blobs, first.young, first.stored.blobs), (0, Tally { blobs: 2, bytes: 1_500_900 }, 6));
    assert_eq!(first.in_use["live"], Tally { blobs: 2, bytes: 2_505_000 });
    assert_eq!(first.in_use["history"], Tally { blobs: 2, bytes: 800 });
    site.pass(1);
    let dry = site.collect(HOUR_MS, true).await.unwrap();
    assert_eq!((dry.removed, dry.young.blobs), (Tally { blobs: 2, bytes: 1_500_900 }, 0));
    assert!(site.has(&litter[0]), "a dry run changes nothing");
    let again = site.litter(&noise(7, 10)).await;
    let second = site.collect(HOUR_MS, false).await.unwrap();
    assert_eq!((second.removed, second.young.blobs), (Tally { blobs: 2, bytes: 1_500_900 }, 1));
    for digest in [live, replaced, other, deleted, again] {
        assert!(site.has(&digest));
    }
    assert!(!litter.iter().any(|digest| site.has(digest)));

    end_history(&site.store).await;
    site.pass(1);
    let third = site.collect(HOUR_MS, false).await.unwrap();
    assert_eq!((third.removed.blobs, third.young.blobs), (1, 2), "what ended now has its own time");
    let journal = std::fs::read_to_string(site.store_folder().join("gc.log")).unwrap();
    assert_eq!(journal.lines().count(), 3);
    assert!(journal.contains(&litter[1].to_string()) && journal.contains(r#""bytes":1500000"#), "{journal}");

    let folder = site.close().await;
    let walk = Walk::of(&folder.path().join("store"), &RealFiles).unwrap();
    assert_eq!(walk.judge(&BTreeSet::from([live, replaced, other, deleted])), Verdict::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_of_a_blob_goes_when_nothing_names_it_any_more() {
    let site = Site::new().await;
    let [unnamed, named, held] = [1, 2, 3].map(|seed| noise(seed, 2_500_000));
    site.put("a", &named).await;
    let sums = Checksums { sha256: [0; 32], sha1: [0; 20], md5: [0; 16] };
    let fill_of = async |bytes: &Bytes| site.store.fill(Digest::of(bytes), bytes.len() as u64, sums).await.unwrap();
    let fills = [fill_of(&unnamed).await, fill_of(&named).await];
    let someone = fill_of(&held).await;
    drop(fills);
    let rest = || -> BTreeSet<Digest> { site.store.fills_at_rest().into_iter().map(|(digest, _)| digest).collect() };
    let before = rest();
    assert!(before.contains(&Digest::of(&unnamed)), "{before:?}");
    let dry = site.collect(HOUR_MS, true).await.unwrap();
    assert_eq!(rest(), before, "a dry run changes nothing");
    assert!(dry.unfinished.blobs >= 1);
    site.collect(HOUR_MS, false).await.unwrap();
    assert!(!rest().contains(&Digest::of(&unnamed)) && !rest().contains(&Digest::of(&named)), "{:?}", rest());
    drop(someone);
    site.collect(HOUR_MS, false).await.unwrap();
    assert_eq!(rest(), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_while_a_collection_runs_stays() {
    let site = Site::new().await;
    let (taken, left) = (noise(1, 3000), noise(2, 3000));
    let digests = [site.litter(&taken).await, site.litter(&left).await];
    let drop_both = |answer| Message::Drop { blobs: digests.to_vec(), cause: DropCause::Garbage, answer };
    let inbox = &site.engine.shared.inbox;

    let (answer, dropped) = oneshot::channel();
    inbox.send(drop_both(answer)).await.unwrap();
    assert_eq!(dropped.await.unwrap().unwrap().len(), 0, "nobody noted what is named");

    let (answer, begun) = oneshot::channel();
    inbox.send(Message::CollectionBegins(answer)).await.unwrap();
    begun.await.unwrap();
    site.put("a/taken", &taken).await;
    site.delete("a/taken").await;
    end_history(&site.store).await;
    let (answer, dropped) = oneshot::channel();
    inbox.send(drop_both(answer)).await.unwrap();
    assert_eq!(dropped.await.unwrap().unwrap(), std::collections::HashSet::from([digests[1]]));
    assert!(site.has(&digests[0]) && !site.has(&digests[1]));
    inbox.send(Message::CollectionEnds).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_ends_the_collection_and_nothing_goes() {
    let site = Site::new().await;
    let litter = site.litter(&noise(1, 100)).await;
    let space = site.engine.snapshot().repository(&"libs".parse().unwrap()).unwrap().space;
    let row = RowWrite::put(Tree::Catalog, rows::catalog_key(&space, &"x".parse().unwrap()), [99, 1, 2]);
    site.store.commit(Batch { rows: vec![row], ..Batch::default() }).await.unwrap();
    let refused = site.collect(0, false).await;
    assert!(matches!(refused, Err(CollectError::Unreadable { roots: "live", .. })), "{refused:?}");
    assert!(site.has(&litter));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_passes_over_few_digests_each_come_to_the_same() {
    let site = Site::new().await;
    let mut kept = BTreeSet::new();
    for seed in 0..60 {
        kept.insert(site.put(&format!("p/{seed}"), &noise(seed, 50)).await);
    }
    for seed in 100..400 {
        site.litter(&noise(seed, 60)).await;
    }
    let collection = Collection { grace: Duration::ZERO, ..options().upkeep.collection() };
    let shared = site.engine.shared.clone();
    let collect = move || Collector::new(&shared, collection).with_room(9).run();
    let done = tokio::task::spawn_blocking(collect).await.unwrap().unwrap();
    assert!(done.passes > 5, "{}", done.passes);
    assert_eq!((done.stored.blobs, done.in_use["live"].blobs, done.removed.blobs), (360, 60, 300));
    assert_eq!(site.store.usage().blobs, 60);
    assert!(kept.iter().all(|digest| site.has(digest)));
}

/// Contents are few, so that what is uploaded is often just being removed.
fn content(dice: u64) -> Bytes {
    let seed = dice % 23;
    noise(seed, if seed == 0 { (1 << 20) + 77 } else { 300 + 400 * seed as usize })
}

async fn upload_and_delete(engine: Engine, uploader: u64, rounds: u64) {
    for round in 0..rounds {
        let dice = u64::from_le_bytes(noise(uploader << 32 | round, 8).as_ref().try_into().unwrap());
        let path = format!("u{uploader}/{}", dice % 7);
        put(&engine, &path, &content(dice >> 8)).await;
        if dice.is_multiple_of(3) {
            delete(&engine, &path).await;
        }
        if dice.is_multiple_of(5) {
            end_history(engine.store()).await;
        }
    }
}

/// Reads what is live, over and over: it must be whole as long as the row that named it is still there.
async fn download(engine: Engine, ended: Arc<AtomicBool>) -> u64 {
    let (store, mut reads) = (engine.store().clone(), 0);
    while !ended.load(Ordering::Relaxed) {
        for (key, value) in store.range(Tree::Catalog, &[], &[255; 34], 1000).unwrap() {
            let Ok(versions) = rows::read::<Versions>(&value) else { continue };
            let Some(digest) = versions.shown().map(|version| version.content.digest) else { continue };
            match store.reader(&digest).unwrap() {
                Some(reader) => {
                    for group in 0..reader.group_count() {
                        reader.verify_group(group).await.unwrap();
                    }
                    reads += 1;
                }
                None => assert_ne!(store.get(Tree::Catalog, &key).unwrap(), Some(value), "a live blob is missing"),
            }
        }
        tokio::task::yield_now().await;
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collections_race_uploads_and_downloads_and_nothing_is_missing_or_leaked() {
    let site = Site::new().await;
    let ended = Arc::new(AtomicBool::new(false));
    let rounds = if std::env::var("ARTIMESH_LONG").is_ok_and(|value| value == "1") { 20_000 } else { 500 };
    let uploads: Vec<_> =
        (0..4).map(|uploader| tokio::spawn(upload_and_delete(site.engine.clone(), uploader, rounds))).collect();
    let downloads = tokio::spawn(download(site.engine.clone(), ended.clone()));
    let (mut removed, mut saved, mut seed) = (0, 0, 1000);
    while removed < 3000 || !uploads.iter().all(tokio::task::JoinHandle::is_finished) {
        site.litter_much(seed..seed + 400).await;
        seed += 400;
        let done = site.collect(0, false).await.unwrap();
        removed += done.removed.blobs;
        saved += done.named_meanwhile.blobs;
    }
    for upload in uploads {
        upload.await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let reads = downloads.await.unwrap();
    removed += site.collect(0, false).await.unwrap().removed.blobs;
    println!("{removed} removed, {saved} saved because they were named meanwhile, {reads} read");
    assert!(removed >= 3000 && reads > 0);
    let named = named(&site.store);
    let folder = site.close().await;
    assert_holds(&folder.path().join("store"), &named);
}

fn assert_holds(store: &Path, named: &BTreeSet<Digest>) {
    let walk = Walk::of(store, &RealFiles).unwrap();
    assert_eq!(walk.judge(named), Verdict::default());
}
