//! Promises at rest: what this node has granted, and the leases on which its own bytes have left.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, NodeId};
use artimesh_core::replica::rows;

use super::rules::{Rules, Steady, TERM_MAX};
use super::statement::{Lease, LeaseBody};
use crate::engine::shared::Shared;
use crate::store::{Batch, CommitError, Priority, ReadError, RowWrite, Store, Tree};

/// Prefix of the promises: digest and asker → until when, by the wall clock, in milliseconds since 1970.
const GRANTED: &[u8] = b"lease/";
/// Prefix of the leases on which bytes that this node wrote have left: digest and holder → the lease.
const RECEIPTS: &[u8] = b"receipt/";

/// How long those are kept.
const RECEIPT_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Rows read at once.
const PAGE_ROWS: usize = 512;

fn key(prefix: &[u8], digest: &Digest, node: &NodeId) -> Vec<u8> {
    [prefix, &digest.0, &node.0].concat()
}

fn read_key(prefix: &[u8], key: &[u8]) -> Option<(Digest, NodeId)> {
    let (digest, node) = key.strip_prefix(prefix)?.split_first_chunk::<32>()?;
    Some((Digest(*digest), NodeId(node.try_into().ok()?)))
}

/// Rows under a prefix, page by page.
fn each(store: &Store, prefix: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), ReadError> {
    let (mut from, end) = (prefix.to_vec(), rows::end_of(prefix));
    loop {
        let page = store.range(Tree::Meta, &from, &end, PAGE_ROWS)?;
        page.iter().for_each(|(key, value)| take(key, value));
        match page.last() {
            Some((last, _)) if page.len() == PAGE_ROWS => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// Makes promises durable: until when each counts, by the wall clock.
pub(super) async fn promise(shared: &Shared, promises: &[(Digest, NodeId, u64)]) -> Result<(), CommitError> {
    // A sweep must not take a row away that is written anew.
    let _turn = shared.promises.read().await;
    let row = |(digest, node, until_ms): &(Digest, NodeId, u64)| {
        RowWrite::put(Tree::Meta, key(GRANTED, digest, node), rows::write(until_ms))
    };
    let batch = Batch { rows: promises.iter().map(row).collect(), priority: Priority::Vital, ..Batch::default() };
    shared.store.commit(batch).await.map(|_| ())
}

/// The rules of a node that wakes up: it keeps what it promised. `now` is the wall's time, and the process has just begun.
pub(in crate::engine) fn wake(
    me: NodeId,
    store: &Store,
    now: Timestamp,
    was_set_back: bool,
) -> Result<Rules, ReadError> {
    let mut rules = Rules::new(me);
    each(store, GRANTED, |row_key, value| {
        let Some((digest, node)) = read_key(GRANTED, row_key) else { return };
        // A row that makes no sense is taken for the longest promise there is.
        let left =
            rows::read::<u64>(value).map_or(TERM_MAX, |until_ms| Duration::from_millis(until_ms.saturating_sub(now.0)));
        // A clock that was set back must not make it last for ever.
        rules.promised(digest, node, left.min(TERM_MAX));
    })?;
    if was_set_back {
        rules.keep_all(TERM_MAX);
    }
    Ok(rules)
}

/// The rows that keep leases as receipts.
pub(super) fn receipts<'a>(leases: impl IntoIterator<Item = (&'a LeaseBody, &'a Lease)>) -> Vec<RowWrite> {
    let row = |(body, lease): (&LeaseBody, &Lease)| {
        RowWrite::put(Tree::Meta, key(RECEIPTS, &body.digest, &body.holder), rows::write(lease))
    };
    leases.into_iter().map(row).collect()
}

/// Who said, when this node let its own copy of a blob go, that it keeps one; and when that was. Blocks.
pub(super) fn confirmed_by(store: &Store, digest: &Digest) -> Result<Vec<(NodeId, u64)>, ReadError> {
    let mut found = Vec::new();
    each(store, &[RECEIPTS, &digest.0].concat(), |_, value| {
        let body = rows::read::<Lease>(value).ok().and_then(|lease| lease.body());
        found.extend(body.map(|body| (body.holder, body.granted_ms)));
    })?;
    Ok(found)
}

/// Removes the rows of what is over. What can't be removed now is so the next time.
pub(in crate::engine) async fn sweep(shared: &Arc<Shared>, now: Steady) {
    let _turn = shared.promises.write().await;
    shared.leases.lock().unwrap_or_else(PoisonError::into_inner).expire(now);
    let task = shared.clone();
    let found = tokio::task::spawn_blocking(move || over(&task)).await;
    let rows = match found {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => return tracing::warn!(%error, "promises at rest can't be read"),
        // The runtime is ending.
        Err(_) => return,
    };
    for some in rows.chunks(PAGE_ROWS) {
        let batch = Batch { rows: some.to_vec(), priority: Priority::Vital, ..Batch::default() };
        if let Err(error) = shared.store.commit(batch).await {
            return tracing::debug!(%error, "promises that are over stay listed");
        }
    }
}

/// Deletes for the rows of promises that the rules have forgotten, and of old receipts. Blocks.
fn over(shared: &Shared) -> Result<Vec<RowWrite>, ReadError> {
    let mut rows = Vec::new();
    let delete = |key: &[u8]| RowWrite::delete(Tree::Meta, key.to_vec());
    each(&shared.store, GRANTED, |key, _| {
        let rules = shared.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = read_key(GRANTED, key).is_some_and(|(digest, node)| rules.has_promised(&digest, &node));
        rows.extend((!is_kept).then(|| delete(key)));
    })?;
    let (wall_ms, kept_ms) = (shared.clock.now().0, RECEIPT_KEPT.as_millis() as u64);
    each(&shared.store, RECEIPTS, |key, value| {
        let body = rows::read::<Lease>(value).ok().and_then(|lease| lease.body());
        let is_old = body.is_none_or(|body| body.granted_ms.saturating_add(kept_ms) < wall_ms);
        rows.extend(is_old.then(|| delete(key)));
    })?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gc::tests::{Site, noise};
    use crate::engine::lease::rules::Removal;
    use crate::engine::lease::sample;

    const NODE: NodeId = NodeId([7; 32]);

    #[tokio::test(flavor = "multi_thread")]
    async fn promises_outlive_the_process_and_their_rows_go_when_they_are_over() {
        let site = Site::new().await;
        let (shared, now) = (&site.engine.shared, site.engine.clock().now());
        let blobs = [1, 2, 3].map(|seed| Digest::of(&noise(seed, 40)));
        let far = u64::MAX;
        let minute = now.0 + 60_000;
        promise(shared, &[(blobs[0], NODE, minute), (blobs[1], NODE, now.0 - 1), (blobs[2], NODE, far)]).await.unwrap();
        let me = shared.identity.node;
        let mut rules = wake(me, &shared.store, now, false).unwrap();
        let mut may =
            |blob: usize, after_s| rules.may_remove(&blobs[blob], Removal::Unneeded, Duration::from_secs(after_s));
        assert_eq!([may(0, 59), may(0, 60), may(1, 0), may(2, 599), may(2, 600)], [false, true, true, false, true]);
        let mut set_back = wake(me, &shared.store, now, true).unwrap();
        assert!(!set_back.may_remove(&blobs[1], Removal::Unneeded, TERM_MAX - Duration::from_secs(1)));
        *shared.leases.lock().unwrap() = wake(me, &shared.store, now, false).unwrap();
        let left = |rows: usize| assert_eq!(site.rows(GRANTED), rows);
        sweep(shared, Duration::from_secs(59)).await;
        left(2);
        sweep(shared, Duration::from_secs(60)).await;
        left(1);
        sweep(shared, TERM_MAX).await;
        left(0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn receipts_tell_who_confirmed_and_are_kept_for_a_month() {
        let site = Site::new().await;
        let (shared, lease) = (&site.engine.shared, sample());
        let body = lease.body().unwrap();
        let rows = receipts([(&body, &lease)]);
        shared.store.commit(Batch { rows, ..Batch::default() }).await.unwrap();
        assert_eq!(confirmed_by(&shared.store, &body.digest).unwrap(), [(body.holder, body.granted_ms)]);
        // The site's clock stands at the moment of the lease.
        site.pass(30 * 24);
        sweep(shared, Duration::ZERO).await;
        assert_eq!(site.rows(RECEIPTS), 1);
        site.pass(1);
        sweep(shared, Duration::ZERO).await;
        assert_eq!(site.rows(RECEIPTS), 0);
    }
}
