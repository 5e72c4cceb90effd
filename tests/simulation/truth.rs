//! All that was ever written by anybody, never compacted: what the checkers compare with.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::catalog::{Delete, Put};
use artimesh_core::changelog::{Change, Sealed, entry_hash};
use artimesh_core::model::{ArtifactPath, Digest, Dot, Heads, Space};
use artimesh_core::replica::{Row, Table};

#[derive(Clone, Debug)]
pub struct Entry {
    pub hash: Digest,
    pub change: Option<Change>,
}

impl Entry {
    pub fn put(&self) -> Option<&Put> {
        if let Some(Change::Put(put)) = &self.change { Some(put) } else { None }
    }

    pub fn kills(&self) -> Option<(&ArtifactPath, &[Dot])> {
        match &self.change {
            Some(Change::Put(Put { path, kills, .. }) | Change::Delete(Delete { path, kills, .. })) => {
                Some((path, kills))
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub entries: BTreeMap<Space, BTreeMap<Dot, Entry>>,
    pub segments: Vec<Sealed>,
    seen: BTreeSet<Digest>,
    /// Dots that two different entries bear.
    pub forked: BTreeSet<Dot>,
}

impl Truth {
    pub fn record(&mut self, rows: &[Row]) {
        for bytes in rows.iter().filter(|row| row.table == Table::Log).filter_map(|row| row.value.as_ref()) {
            let segment = Sealed::read(bytes).expect("what is persisted is well formed");
            if !self.seen.insert(segment.hash) {
                continue;
            }
            let entries = self.entries.entry(segment.header.space).or_default();
            for (index, envelope) in segment.entries.iter().enumerate() {
                let dot = segment.header.dot(index);
                let entry = Entry { hash: entry_hash(envelope), change: Change::read(envelope).ok() };
                let before = entries.insert(dot, entry);
                if before.is_some_and(|before| before.hash != entry_hash(envelope)) {
                    self.forked.insert(dot);
                }
            }
            self.segments.push(segment);
        }
    }

    /// Whether anybody ever applied a segment.
    pub fn has(&self, segment: &Sealed) -> bool {
        self.seen.contains(&segment.hash)
    }

    /// How many entries admit, revoke, invite, accept or leave.
    pub fn memberships(&self) -> usize {
        let changes = self.entries.values().flat_map(BTreeMap::values).filter_map(|entry| entry.change.as_ref());
        let is_membership = |change: &&Change| {
            matches!(
                change,
                Change::Grant(_) | Change::Revoke(_) | Change::Invite(_) | Change::Accept(_) | Change::Leave
            )
        };
        changes.filter(is_membership).count()
    }

    /// The rules on one page: of the entries that `heads` cover, the puts that none of them kills, by path, the shown
    /// one first.
    pub fn live(&self, space: &Space, heads: &Heads, ties: Ties) -> BTreeMap<ArtifactPath, Vec<Dot>> {
        let empty = BTreeMap::new();
        let all = self.entries.get(space).unwrap_or(&empty);
        let known: Vec<(&Dot, &Entry)> = all.iter().filter(|(dot, _)| heads.cover(dot)).collect();
        let killed: BTreeSet<(&ArtifactPath, &Dot)> = known
            .iter()
            .filter_map(|(_, entry)| entry.kills())
            .flat_map(|(path, kills)| kills.iter().map(move |dot| (path, dot)))
            .collect();
        let mut live: BTreeMap<ArtifactPath, Vec<(u64, Dot)>> = BTreeMap::new();
        for (dot, put) in known.iter().filter_map(|(dot, entry)| Some((**dot, entry.put()?))) {
            if !killed.contains(&(&put.path, &dot)) {
                live.entry(put.path.clone()).or_default().push((put.timestamp.0, dot));
            }
        }
        let sorted = |mut versions: Vec<(u64, Dot)>| {
            versions.sort_by(|a, b| b.cmp(a));
            if ties == Ties::Swapped && versions.len() > 1 {
                versions.swap(0, 1);
            }
            versions.into_iter().map(|(_, dot)| dot).collect()
        };
        live.into_iter().map(|(path, versions)| (path, sorted(versions))).collect()
    }
}

/// How the oracle breaks ties; swapped only to show that the checkers notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ties {
    Right,
    Swapped,
}
