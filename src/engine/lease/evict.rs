//! Letting go of what is here of a repository, or of a part of it: what an operator does who would have room.
//!
//! A part is taken after the other, so that what others promise for one of them is used before they promise more. What goes
//! is fetched again when somebody reads it, and not before: at a mirror it stays then, elsewhere it is of the cache.

use std::collections::{BTreeMap, HashSet};

use artimesh_core::catalog::Versions;
use artimesh_core::model::{ArtifactPath, Digest, Space};
use artimesh_core::replica::rows;
use tokio::task::spawn_blocking;

use super::let_go::Kept;
use super::needs;
use crate::engine::cache;
use crate::engine::gc::{CollectError, Tally};
use crate::engine::handle::Engine;
use crate::engine::shared::Shared;
use crate::store::Tree;

/// So many blobs are let go at once.
const TOGETHER: usize = 2048;
/// Rows read at once.
const PAGE_ROWS: usize = 512;

/// Why what is pinned stays.
const PIN: Kept = Kept::InUse("a pin");

/// What of a repository is let go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Eviction {
    /// Which repository's.
    pub space: Space,
    /// A file or folder in it; `None`: all.
    pub prefix: Option<ArtifactPath>,
    /// Nobody is asked, and nothing goes: what could is counted.
    pub is_dry: bool,
}

/// What came of it. What several paths name may be counted for each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evicted {
    /// What was here.
    pub held: Tally,
    /// What went, or could go if others promise to keep it.
    pub gone: Tally,
    /// What stays, by the reason.
    pub kept: BTreeMap<String, Tally>,
}

impl Evicted {
    fn keep(&mut self, why: &Kept, bytes: u64) {
        self.kept.entry(why.to_string()).or_default().add(bytes);
    }
}

/// Blobs that are here, and their sizes.
type Part = BTreeMap<Digest, u64>;

/// A part of a place.
struct Found {
    part: Part,
    /// What of it is pinned.
    pinned: HashSet<Digest>,
    /// Where the next one begins.
    next: Option<Vec<u8>>,
}

impl Engine {
    /// Lets go of the bytes that live versions in a place name, as far as [`Engine::let_go`] does. Compacts the packs behind
    /// it, in the background. A dropped call ends behind the part that is under way.
    pub async fn evict(&self, eviction: Eviction) -> Result<Evicted, CollectError> {
        let mut done = Evicted::default();
        let mut from = Some(start(&eviction));
        while let Some(start) = from.take() {
            let (shared, wanted) = (self.shared.clone(), eviction.clone());
            let found = spawn_blocking(move || part(&shared, &wanted, start)).await;
            let Found { part, pinned, next } = found.map_err(|_| CollectError::Stopping)??;
            part.values().for_each(|bytes| done.held.add(*bytes));
            let (stay, go): (Part, Part) = part.into_iter().partition(|(digest, _)| pinned.contains(digest));
            stay.values().for_each(|bytes| done.keep(&PIN, *bytes));
            match eviction.is_dry {
                true => self.weigh(go, &mut done).await?,
                false => self.let_part_go(&go, &mut done).await?,
            }
            from = next;
        }
        if done.gone.blobs > 0 && !eviction.is_dry {
            let shared = self.shared.clone();
            self.shared.tracker.spawn_blocking(move || cache::compact(&shared));
        }
        Ok(done)
    }

    async fn let_part_go(&self, part: &Part, done: &mut Evicted) -> Result<(), CollectError> {
        let came = self.let_go(part.keys().copied().collect()).await;
        if self.shared.stop.is_cancelled() {
            return Err(CollectError::Stopping);
        }
        came.gone.keys().filter_map(|digest| part.get(digest)).for_each(|bytes| done.gone.add(*bytes));
        for (digest, why) in &came.kept {
            done.keep(why, part.get(digest).copied().unwrap_or_default());
        }
        Ok(())
    }

    /// What of a part could go, if others promised to keep it.
    async fn weigh(&self, part: Part, done: &mut Evicted) -> Result<(), CollectError> {
        let shared = self.shared.clone();
        let blobs: HashSet<Digest> = part.keys().copied().collect();
        let named = spawn_blocking(move || {
            let snapshot = shared.snapshot.borrow().clone();
            needs::find(&shared.store, &snapshot, shared.identity.node, shared.options.min_copies, &blobs)
        });
        let named = named.await.map_err(|_| CollectError::Stopping)??;
        for (digest, bytes) in part {
            match named.get(&digest).and_then(|naming| naming.stays_for) {
                Some(root) => done.keep(&Kept::InUse(root), bytes),
                None => done.gone.add(bytes),
            }
        }
        Ok(())
    }
}

fn start(eviction: &Eviction) -> Vec<u8> {
    rows::catalog_prefix(&eviction.space, eviction.prefix.as_ref().map_or("", |prefix| file_name(prefix)))
}

/// Without the slash at its end that a folder may have.
fn file_name(prefix: &ArtifactPath) -> &str {
    prefix.as_str().trim_end_matches('/')
}

/// Whether a path is the one that was named, or below it.
fn is_below(path: &ArtifactPath, prefix: Option<&ArtifactPath>) -> bool {
    let Some(prefix) = prefix else { return true };
    let rest = path.as_str().strip_prefix(file_name(prefix));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The next blobs that are here. Blocks.
fn part(shared: &Shared, eviction: &Eviction, mut from: Vec<u8>) -> Result<Found, CollectError> {
    let end = rows::end_of(&start(eviction));
    let mut part = Part::new();
    let next = loop {
        let page = shared.store.range(Tree::Catalog, &from, &end, PAGE_ROWS)?;
        for (key, value) in &page {
            take(shared, eviction, key, value, &mut part)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE_ROWS => from = [last.as_slice(), &[0]].concat(),
            _ => break None,
        }
        if part.len() >= TOGETHER {
            break Some(from);
        }
    };
    let pinned = cache::pinned(shared, &part.keys().copied().collect())?;
    Ok(Found { part, pinned, next })
}

fn take(shared: &Shared, eviction: &Eviction, key: &[u8], value: &[u8], part: &mut Part) -> Result<(), CollectError> {
    let unreadable = |reason: String| CollectError::Unreadable { roots: "live", reason };
    let path = rows::catalog_path(key).ok_or_else(|| unreadable("a broken key".into()))?;
    if !is_below(&path, eviction.prefix.as_ref()) {
        return Ok(());
    }
    let versions = rows::read::<Versions>(value).map_err(|error| unreadable(error.to_string()))?;
    for version in versions.iter() {
        let digest = version.content.digest;
        if !part.contains_key(&digest)
            && let Some(info) = shared.store.blob(&digest)?
        {
            part.insert(digest, info.size);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Pin;
    use crate::engine::gc::tests::{noise, put};
    use crate::engine::lease::tests::{circle, on_demand, stop, until};

    fn paths(count: u64) -> impl Iterator<Item = (u64, String)> {
        (0..count).map(|number| (number, format!("{}/{number}", ["a", "a/deeper", "ab"][number as usize % 3])))
    }

    fn of(space: Space, prefix: &str, is_dry: bool) -> Eviction {
        Eviction { space, prefix: Some(prefix.parse().unwrap()), is_dry }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_at_and_below_a_path_goes_when_others_keep_it_and_what_is_pinned_stays() {
        let members = circle(&["berlin", "paris"], on_demand(1)).await;
        let [berlin, paris] = &members[..] else { unreachable!() };
        let mut blobs = Vec::new();
        for (number, path) in paths(12) {
            blobs.push(put(&berlin.engine, &path, &noise(number, 1000)).await);
        }
        until("the mirror has them", || blobs.iter().all(|blob| paris.has(blob))).await;
        let pin = Pin { repo: "libs".parse().unwrap(), prefix: Some("a/deeper/1".parse().unwrap()) };
        berlin.engine.pin(pin).await.unwrap();
        let told = |is_dry| {
            let (engine, eviction) = (berlin.engine.clone(), of(berlin.space(), "a", is_dry));
            async move { engine.evict(eviction).await.unwrap() }
        };
        let dry = told(true).await;
        assert!(blobs.iter().all(|blob| berlin.has(blob)), "a dry run changes nothing");
        let done = told(false).await;
        assert_eq!(done, dry);
        assert_eq!((done.held.blobs, done.gone, done.kept.len()), (8, Tally { blobs: 7, bytes: 7000 }, 1), "{done:?}");
        for (number, blob) in blobs.iter().enumerate() {
            assert_eq!(berlin.has(blob), number % 3 == 2 || number == 1, "{number}");
        }
        assert_eq!(told(false).await.held.blobs, 1);
        stop(members).await;
    }
}
