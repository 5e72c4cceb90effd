//! What it takes to let blobs go: who names them here, and in which spaces.

use std::collections::{BTreeMap, HashMap, HashSet};

use artimesh_core::catalog::Versions;
use artimesh_core::model::{Digest, NodeId, Space};
use artimesh_core::replica::{Placement, rows};

use crate::engine::bulk::Reference;
use crate::engine::gc::{CollectError, every_root};
use crate::engine::snapshot::Snapshot;
use crate::store::{Store, Tree};

/// Rows read at once.
const PAGE_ROWS: usize = 512;

/// What names a blob.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Naming {
    /// By space: as what it can be asked for there, how large it is, and how many mirrors must promise to keep it.
    pub spaces: BTreeMap<Space, (Reference, usize)>,
    /// Its size in bytes.
    pub size: u64,
    /// This node wrote one of the versions.
    pub is_own: bool,
    /// What else names it, for which it stays.
    pub stays_for: Option<&'static str>,
}

/// Goes through everything that names blobs. Blocks.
pub(super) fn find(
    store: &Store,
    snapshot: &Snapshot,
    me: NodeId,
    min_copies: usize,
    blobs: &HashSet<Digest>,
) -> Result<HashMap<Digest, Naming>, CollectError> {
    let mut found: HashMap<Digest, Naming> = blobs.iter().map(|blob| (*blob, Naming::default())).collect();
    for space in snapshot.federations.keys() {
        let shown = snapshot.repository_of(space);
        let is_mirror = shown.is_some_and(|shown| shown.placement == Placement::Mirror);
        live(store, space, &mut |path, version| {
            let content = &version.content;
            let Some(naming) = found.get_mut(&content.digest) else { return };
            let is_own = version.dot.incarnation.node == me;
            let count = if is_own { min_copies.max(1) } else { usize::from(is_mirror) };
            naming.is_own |= is_own;
            naming.size = content.size;
            let reference = || Reference { space: *space, path: path.clone(), digest: content.digest };
            let (_, needed) = naming.spaces.entry(*space).or_insert_with(|| (reference(), count));
            *needed = count.max(*needed);
        })?;
    }
    for roots in every_root().iter().filter(|roots| roots.name() != "live") {
        roots.visit(store, &mut |digest| {
            if let Some(naming) = found.get_mut(digest) {
                naming.stays_for.get_or_insert(roots.name());
            }
            true
        })?;
    }
    Ok(found)
}

fn live(
    store: &Store,
    space: &Space,
    see: &mut dyn FnMut(&artimesh_core::model::ArtifactPath, &artimesh_core::catalog::Version),
) -> Result<(), CollectError> {
    let mut from = rows::catalog_prefix(space, "");
    let end = rows::end_of(&from);
    loop {
        let page = store.range(Tree::Catalog, &from, &end, PAGE_ROWS)?;
        for (key, value) in &page {
            let unreadable = |reason| CollectError::Unreadable { roots: "live", reason };
            let path = rows::catalog_path(key).ok_or_else(|| unreadable("a broken key".into()))?;
            let versions = rows::read::<Versions>(value).map_err(|error| unreadable(error.to_string()))?;
            versions.iter().for_each(|version| see(&path, version));
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE_ROWS => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
