//! The cache over a running engine: what may go goes, in order, and nothing else.

use std::time::Duration;

use artimesh_core::catalog::Versions;
use artimesh_core::model::{Checksums, Digest, FederationId, NodeId, Space};
use artimesh_core::replica::{Placement, rows};
use bytes::Bytes;

use super::list;
use super::*;
use crate::engine::Options;
use crate::engine::gc::tests::{Site, noise, options};
use crate::store::{Batch, RowWrite};

const SIZE: usize = 5000;

fn with_limits(max_size: Share, max_age: Option<Duration>) -> Options {
    Options { placement: Some(Placement::OnDemand), cache: Limits { max_size, max_age }, ..options() }
}

/// Room for so many blobs of [`SIZE`].
fn room_for(blobs: u64) -> Options {
    with_limits(Share::Bytes(blobs * stored_bytes(SIZE as u64)), None)
}

fn space(site: &Site) -> Space {
    site.engine.snapshot().repository(&"libs".parse().unwrap()).unwrap().space
}

/// The row of a version at `path` that another node wrote.
fn foreign_row(site: &Site, space: &Space, path: &str, digest: Digest) -> RowWrite {
    let (_, own) = site.store.range(Tree::Catalog, &[], &[255; 34], 1).unwrap().remove(0);
    let mut version = rows::read::<Versions>(&own).unwrap().shown().unwrap().clone();
    version.dot.incarnation.node = NodeId([7; 32]);
    version.content.digest = digest;
    let mut versions = Versions::default();
    versions.put(version);
    RowWrite::put(Tree::Catalog, rows::catalog_key(space, &path.parse().unwrap()), rows::write(&versions))
}

/// What another node wrote and somebody read here.
async fn fetched(site: &Site, path: &str, bytes: &Bytes) -> Digest {
    let digest = site.litter(bytes).await;
    let row = foreign_row(site, &space(site), path, digest);
    site.store.commit(Batch { rows: vec![row], ..Batch::default() }).await.unwrap();
    site.pass(1);
    site.engine.shared.cache.landed(digest, bytes.len() as u64, site.engine.clock().now().0);
    digest
}

/// Waits until the keeper has looked.
async fn kept(site: &Site) {
    site.engine.shared.cache.make_room().await;
}

/// A node with something of its own, and `count` blobs that were fetched one after the other.
async fn site_with(options: Options, count: u64) -> (Site, Digest, Vec<Digest>) {
    let site = Site::with(options).await;
    let own = site.put("own", &noise(1000, SIZE)).await;
    let mut digests = Vec::new();
    for seed in 0..count {
        digests.push(fetched(&site, &format!("a/{seed}"), &noise(seed, SIZE)).await);
    }
    kept(&site).await;
    (site, own, digests)
}

fn present(site: &Site, digests: &[Digest]) -> Vec<usize> {
    (0..digests.len()).filter(|at| site.has(&digests[*at])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_least_lately_goes_and_what_this_node_wrote_stays() {
    let (site, own, digests) = site_with(room_for(10), 10).await;
    assert_eq!(present(&site, &digests).len(), 10);
    drop(site.engine.shared.cache.hit(&digests[0], site.engine.clock().now().0 + 1));
    let more = fetched(&site, "b", &noise(50, SIZE)).await;
    kept(&site).await;
    assert_eq!(present(&site, &digests), [0, 3, 4, 5, 6, 7, 8, 9]);
    assert!(site.has(&own) && site.has(&more));
    let status = site.engine.cache_status();
    assert_eq!((status.held.blobs, status.evicted_blobs, status.hits), (9, 2, 1));
    let journal = std::fs::read_to_string(site.store_folder().join("gc.log")).unwrap();
    assert_eq!(journal.matches("\"evicted\"").count(), 2, "{journal}");
    // It may be fetched again.
    assert_eq!(fetched(&site, "a/1", &noise(1, SIZE)).await, digests[1]);
    assert!(site.has(&digests[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_be_needed_is_no_cache_any_more() {
    let (site, _, digests) = site_with(room_for(10), 10).await;
    // Written here with bytes that a cache has.
    site.put("mine", &noise(0, SIZE)).await;
    // In a space that no repository shows.
    let other = Space::Federation(FederationId([9; 32]));
    let row = foreign_row(&site, &other, "x", digests[1]);
    site.store.commit(Batch { rows: vec![row], ..Batch::default() }).await.unwrap();
    site.engine.shared.cache.ledger().doubt();
    for seed in 20..30 {
        fetched(&site, &format!("b/{seed}"), &noise(seed, SIZE)).await;
    }
    kept(&site).await;
    assert_eq!(present(&site, &digests[..4]), [0, 1]);
    assert!((9..=10).contains(&site.engine.cache_status().held.blobs));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_or_being_read_stays_and_a_reader_reads_on() {
    let (site, _, digests) = site_with(room_for(10), 10).await;
    let pin = |path: &str| Pin { repo: "libs".parse().unwrap(), prefix: Some(path.parse().unwrap()) };
    site.engine.pin(pin("a/0")).await.unwrap();
    let held = site.engine.shared.cache.hit(&digests[1], 0).unwrap();
    let reader = site.store.reader(&digests[2]).unwrap().unwrap();
    for seed in 20..30 {
        fetched(&site, &format!("b/{seed}"), &noise(seed, SIZE)).await;
    }
    kept(&site).await;
    assert_eq!(present(&site, &digests), [0, 1]);
    assert_eq!(reader.read_at(0, SIZE).await.unwrap(), noise(2, SIZE));
    assert_eq!(site.engine.cache_status().held.pinned_blobs, 1);
    assert_eq!(site.engine.pins().len(), 1);
    drop(held);
    site.engine.unpin(&pin("a/0")).await.unwrap();
    assert!(matches!(site.engine.unpin(&pin("a/0")).await, Err(PinError::NoPin)));
    for seed in 30..40 {
        fetched(&site, &format!("c/{seed}"), &noise(seed, SIZE)).await;
    }
    kept(&site).await;
    assert_eq!(present(&site, &digests), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_there_after_a_restart_and_so_is_the_order() {
    let (site, own, digests) = site_with(room_for(10), 10).await;
    site.engine.pin(Pin { repo: "libs".parse().unwrap(), prefix: Some("a/3".parse().unwrap()) }).await.unwrap();
    drop(site.engine.shared.cache.hit(&digests[0], site.engine.clock().now().0 + 1));
    let site = site.restarted(room_for(5)).await;
    kept(&site).await;
    assert_eq!(present(&site, &digests), [0, 3, 8, 9]);
    assert!(site.has(&own));
    assert!(!site.engine.shared.cache.must_count.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_what_is_here_is_found_and_what_is_not_is_forgotten() {
    let (site, own, digests) = site_with(room_for(100), 5).await;
    let bytes = site.engine.cache_status().held.bytes;
    for lines in [None, Some(vec![]), Some(vec![digests[1], Digest::of(b"gone")])] {
        // What a node leaves that is killed: a list of earlier, or none.
        let line = |digest| Line { digest, bytes: stored_bytes(SIZE as u64), read_ms: 1, is_partial: false };
        let site = &site;
        match lines {
            Some(lines) => {
                let lines: Vec<Line> = lines.into_iter().map(line).collect();
                list::write(&site.store, &lines, State::Running).unwrap();
            }
            None => drop(std::fs::remove_file(site.store_folder().join("cache"))),
        }
        let cache =
            Cache::open(&site.store, site.engine.cache_limits(), site.engine.identity().node, &site.engine.snapshot());
        let cache = cache.unwrap();
        assert!(cache.must_count.load(Ordering::Relaxed));
        site.engine
            .shared
            .cache
            .ledger()
            .lines()
            .iter()
            .for_each(|l| site.engine.shared.cache.ledger().remove(&l.digest));
        cache.ledger().lines().into_iter().for_each(|line| site.engine.shared.cache.ledger().insert(line));
        site.engine.shared.cache.must_count.store(true, Ordering::Relaxed);
        kept(site).await;
        let held = site.engine.cache_status().held;
        assert_eq!((held.blobs, held.bytes), (5, bytes));
    }
    assert!(site.has(&own));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_read_for_too_long_goes() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let (site, _, digests) = site_with(with_limits(Share::All, hours(5)), 10).await;
    // The keeper looks by itself; an hour passed between each.
    assert_eq!(present(&site, &digests), [4, 5, 6, 7, 8, 9]);
    site.pass(3);
    kept(&site).await;
    assert_eq!(present(&site, &digests), [7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_blob_goes_too_unless_somebody_goes_on_with_it() {
    let (site, _, digests) = site_with(room_for(10), 1).await;
    let whole = noise(77, 2_500_000);
    let digest = Digest::of(&whole);
    let fill =
        site.store.fill(digest, whole.len() as u64, Checksums { sha256: [0; 32], sha1: [0; 20], md5: [0; 16] }).await;
    let fill = fill.unwrap();
    site.engine.shared.cache.broke_off(&site.store, digest, 5);
    kept(&site).await;
    assert_eq!(site.store.fills_at_rest().len(), 1, "somebody holds it");
    drop(fill);
    site.engine.shared.cache.broke_off(&site.store, digest, 5);
    kept(&site).await;
    assert_eq!(site.store.fills_at_rest().len(), 0);
    assert_eq!(present(&site, &digests), [0], "it made room for nothing but itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_has_room_made_for_it() {
    let (site, _, digests) = site_with(room_for(10), 10).await;
    let (cache, store) = (&site.engine.shared.cache, &site.store);
    let incoming = cache.admit(store, &space(&site), Digest::of(b"new"), 4 * SIZE as u64).await.unwrap();
    assert!(present(&site, &digests).len() <= 6);
    let status = site.engine.cache_status();
    assert!(status.held.bytes + status.incoming_bytes <= status.limit_bytes, "{status:?}");
    drop(incoming);
    assert_eq!(site.engine.cache_status().incoming_bytes, 0);
    let before = present(&site, &digests);
    let large = cache.admit(store, &space(&site), Digest::of(b"large"), 1 << 30).await.unwrap();
    assert_eq!(present(&site, &digests), before, "no room is made for what isn't kept");
    assert!(!cache.would_keep(store, &space(&site), 1 << 30));
    drop(large);
    let elsewhere = Space::Federation(FederationId([9; 32]));
    assert!(cache.admit(store, &elsewhere, Digest::of(b"x"), 5).await.is_none(), "no cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_here_while_its_bytes_are_evicted_is_here_afterwards() {
    let site = Site::with(with_limits(Share::Bytes(1), None)).await;
    site.put("own", &noise(1000, SIZE)).await;
    let mut kept_by_writes = Vec::new();
    for seed in 0..40 {
        // Larger than all the cache may be: it goes as soon as anybody looks.
        let bytes = noise(seed, SIZE);
        let digest = fetched(&site, &format!("a/{seed}"), &bytes).await;
        let path = format!("mine/{seed}");
        tokio::join!(kept(&site), site.put(&path, &bytes), kept(&site));
        assert!(site.has(&digest), "{seed}");
        kept_by_writes.push(digest);
    }
    kept(&site).await;
    assert_eq!(present(&site, &kept_by_writes).len(), 40);
    assert_eq!(site.engine.cache_status().held.blobs, 0);
    let only_read = fetched(&site, "b", &noise(77, SIZE)).await;
    kept(&site).await;
    assert!(!site.has(&only_read));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_garbage_collection_takes_is_not_counted_any_more() {
    let (site, _, digests) = site_with(room_for(10), 3).await;
    let key = rows::catalog_key(&space(&site), &"a/1".parse().unwrap());
    site.store.commit(Batch { rows: vec![RowWrite::delete(Tree::Catalog, key)], ..Batch::default() }).await.unwrap();
    let collection = options().upkeep.collection();
    site.engine.collect(crate::engine::Collection { grace: Duration::ZERO, ..collection }).await.unwrap();
    assert_eq!(present(&site, &digests), [0, 2]);
    assert_eq!(site.engine.cache_status().held.blobs, 2);
}
