//! All that was ever written by anybody, never compacted: what the checkers compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artimesh_core::catalog::{Delete, EditProperties, Put, RepositoryConfig};
use artimesh_core::changelog::{Change, Sealed, Stored, entry_hash};
use artimesh_core::model::{ArtifactPath, Context, Digest, Dot, Heads, Incarnation, NodeId, Space};
use artimesh_core::replica::{Row, Table};

#[derive(Clone, Debug)]
pub struct Entry {
    pub hash: Digest,
    pub change: Option<Change>,
    /// All that its author had applied here, its own log apart.
    context: Arc<Context>,
    /// All that its author had applied of Trust; in Trust the same as its context.
    pub needs: Arc<Context>,
    /// Its author itself was seen to write it; else somebody else brought it, and only a signature says whose it is.
    pub is_witnessed: bool,
    /// The segment that holds it, by its place in [`Truth::segments`].
    pub segment: usize,
}

/// Of one property of one version: when it was changed last, by which entry, and to what.
pub type Edits = BTreeMap<String, (u64, Dot, Option<Vec<String>>)>;

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

    /// What it says of properties, if that is what it does.
    pub fn edit(&self) -> Option<&EditProperties> {
        if let Some(Change::EditProperties(edit)) = &self.change { Some(edit) } else { None }
    }

    /// The folder whose content it deletes.
    pub fn prefix(&self) -> Option<&str> {
        if let Some(Change::DeletePrefix(delete)) = &self.change { Some(&delete.prefix) } else { None }
    }

    /// Whether it says that the version `dot` of `path` is dead; of a prefix, whatever the author had seen there.
    pub fn ends(&self, path: &ArtifactPath, dot: &Dot) -> bool {
        let named = self.kills().is_some_and(|(at, kills)| at == path && kills.contains(dot));
        named || self.prefix().is_some_and(|prefix| path.as_str().starts_with(prefix))
    }

    /// All that its author had applied here, its own log apart.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether the author of this entry, which is `mine`, had applied `other` when it wrote.
    pub fn saw(&self, mine: &Dot, other: &Dot) -> bool {
        let own_earlier = mine.incarnation == other.incarnation && other.sequence < mine.sequence;
        own_earlier || self.context.cover(other)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// By dot; more than one where a life was lived twice.
    entries: BTreeMap<Space, BTreeMap<Dot, Vec<Entry>>>,
    pub segments: Vec<Sealed>,
    /// Where a segment of this hash is in [`Truth::segments`].
    places: BTreeMap<Digest, usize>,
    /// Hashes of the bytes of segments.
    seen: BTreeSet<Digest>,
    /// What the author of the segment of this hash had said of its knowledge by then: of its space, and of Trust.
    contexts: BTreeMap<Digest, (Arc<Context>, Arc<Context>)>,
    /// Lives that were lived twice: two different entries bear one of their dots.
    pub forked: BTreeSet<(Space, Incarnation)>,
}

impl Truth {
    /// Takes in the segments among the rows that `site` makes durable.
    pub fn record(&mut self, site: NodeId, rows: &[Row]) {
        for bytes in rows.iter().filter(|row| row.table == Table::Log).filter_map(|row| row.value.as_ref()) {
            // Reading and hashing it once is enough, however many sites apply it.
            if self.seen.insert(Digest::of(bytes)) {
                // What is left of a pruned segment was recorded when it was written.
                if let Stored::Whole(segment) = Stored::read(bytes).expect("what is persisted is well formed") {
                    self.take(site, segment);
                }
            }
        }
    }

    fn take(&mut self, site: NodeId, segment: Sealed) {
        let header = &segment.header;
        let (mut context, mut needs) = self.contexts.get(&header.previous).cloned().unwrap_or_default();
        Arc::make_mut(&mut context).merge(&header.context);
        Arc::make_mut(&mut needs).merge(&header.needs);
        self.contexts.insert(segment.hash, (context.clone(), needs.clone()));
        let needs = if header.space == Space::Trust { context.clone() } else { needs };
        let entries = self.entries.entry(header.space).or_default();
        for (index, envelope) in segment.entries.iter().enumerate() {
            let dot = header.dot(index);
            let entry = Entry {
                hash: entry_hash(envelope),
                change: Change::read(envelope).ok(),
                context: context.clone(),
                needs: needs.clone(),
                is_witnessed: site == header.incarnation.node,
                segment: self.segments.len(),
            };
            let bearers = entries.entry(dot).or_default();
            bearers.push(entry);
            if bearers.len() > 1 {
                self.forked.insert((header.space, header.incarnation));
            }
        }
        self.places.insert(segment.hash, self.segments.len());
        self.segments.push(segment);
    }

    /// The spaces in which anything was written.
    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        self.entries.keys()
    }

    /// All that was ever written in a space, whichever branch it is of.
    pub fn all(&self, space: &Space) -> impl Iterator<Item = (&Dot, &Entry)> {
        let bearers = self.entries.get(space).into_iter().flatten();
        bearers.flat_map(|(dot, bearers)| bearers.iter().map(move |entry| (dot, entry)))
    }

    /// What who has these heads has applied: of a life that was lived twice, the branch that ends at its head.
    pub fn known(&self, space: &Space, heads: &Heads) -> BTreeMap<Dot, &Entry> {
        let twice: BTreeMap<&Incarnation, BTreeSet<usize>> = heads
            .0
            .iter()
            .filter(|(life, _)| self.forked.contains(&(*space, **life)))
            .map(|(life, head)| (life, self.branch(head.chain)))
            .collect();
        let is_known = |(dot, entry): &(&Dot, &Entry)| {
            heads.cover(dot) && twice.get(&dot.incarnation).is_none_or(|branch| branch.contains(&entry.segment))
        };
        self.all(space).filter(is_known).map(|(dot, entry)| (*dot, entry)).collect()
    }

    /// The places of the segment of this hash and of all before it.
    fn branch(&self, mut hash: Digest) -> BTreeSet<usize> {
        let mut branch = BTreeSet::new();
        while let Some(place) = self.places.get(&hash) {
            branch.insert(*place);
            hash = self.segments[*place].header.previous;
        }
        branch
    }

    /// Whether anybody ever applied a segment.
    pub fn has(&self, segment: &Sealed) -> bool {
        self.seen.contains(&Digest::of(segment.bytes()))
    }

    /// Versions that somebody ended, or edited, in a branch of a forked life that isn't among what who has these heads has
    /// applied. Who pruned them then has nothing to bring them back from when that branch turns out to have lost.
    pub fn touched_by_lost(&self, space: &Space, heads: &Heads) -> BTreeSet<Dot> {
        let known = self.known(space, heads);
        let is_lost = |(dot, entry): &(&Dot, &Entry)| {
            self.forked.contains(&(*space, dot.incarnation))
                && known.get(dot).is_none_or(|other| other.segment != entry.segment)
        };
        let lost: Vec<(&Dot, &Entry)> = self.all(space).filter(is_lost).collect();
        let is_touched = |(dot, entry): &(&Dot, &&Entry)| {
            let Some(put) = entry.put() else { return false };
            let ends = |by: &Dot, lost: &Entry| lost.ends(&put.path, dot) && lost.saw(by, dot);
            let edits = |lost: &Entry| lost.edit().is_some_and(|edit| edit.version == **dot);
            lost.iter().any(|(by, lost)| ends(by, lost) || edits(lost))
        };
        if lost.is_empty() {
            return BTreeSet::new();
        }
        known.iter().filter(is_touched).map(|(dot, _)| *dot).collect()
    }

    /// Those of what who has these heads has applied that end this version.
    pub fn ends_of(&self, space: &Space, heads: &Heads, path: &ArtifactPath, dot: &Dot) -> Vec<(Dot, &Entry)> {
        let mut known = self.known(space, heads);
        known.retain(|by, entry| entry.ends(path, dot) && entry.saw(by, dot));
        known.into_iter().collect()
    }

    /// The entries that bear this number.
    pub fn bearers(&self, space: &Space, dot: &Dot) -> impl Iterator<Item = &Entry> {
        self.entries.get(space).and_then(|entries| entries.get(dot)).into_iter().flatten()
    }

    /// How many entries admit, revoke, invite, accept or leave.
    pub fn memberships(&self) -> usize {
        let changes =
            self.entries.values().flat_map(BTreeMap::values).flatten().filter_map(|entry| entry.change.as_ref());
        let is_membership = |change: &&Change| {
            matches!(
                change,
                Change::Grant(_)
                    | Change::Revoke(_)
                    | Change::Invite(_)
                    | Change::Accept(_)
                    | Change::Leave
                    | Change::Remove(_)
            )
        };
        changes.filter(is_membership).count()
    }

    /// The rules on one page: of the entries that `heads` cover, the puts that none of them kills, by path, the shown
    /// one first.
    pub fn live(&self, space: &Space, heads: &Heads, ties: Ties) -> BTreeMap<ArtifactPath, Vec<Dot>> {
        let known = self.known(space, heads);
        let killed: BTreeSet<(&ArtifactPath, &Dot)> = known
            .values()
            .filter_map(|entry| entry.kills())
            .flat_map(|(path, kills)| kills.iter().map(move |dot| (path, dot)))
            .collect();
        let mut live: BTreeMap<ArtifactPath, Vec<(u64, Dot)>> = BTreeMap::new();
        let prefixes: Vec<_> = known.iter().filter_map(|(dot, entry)| Some((dot, *entry, entry.prefix()?))).collect();
        for (dot, put) in known.iter().filter_map(|(dot, entry)| Some((*dot, entry.put()?))) {
            let swept = |(by, entry, prefix): &(&Dot, &Entry, &str)| {
                put.path.as_str().starts_with(prefix) && entry.saw(by, &dot)
            };
            if !killed.contains(&(&put.path, &dot)) && !prefixes.iter().any(swept) {
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

    /// Of every version that was edited by then, dead or alive, each property's greatest edit at the version's own path;
    /// of the names only the least 256.
    pub fn edits(&self, space: &Space, heads: &Heads) -> BTreeMap<Dot, Edits> {
        let mut all: BTreeMap<Dot, Edits> = BTreeMap::new();
        let known = self.known(space, heads);
        for (dot, edit) in known.iter().filter_map(|(dot, entry)| Some((*dot, entry.edit()?))) {
            let put = known.get(&edit.version).and_then(|entry| entry.put());
            if put.is_none_or(|put| put.path != edit.path) {
                continue;
            }
            let edits = all.entry(edit.version).or_default();
            for (name, values) in &edit.set {
                let mine = (edit.timestamp.0, dot, values.clone());
                let last = edits.entry(name.clone()).or_insert_with(|| mine.clone());
                *last = (*last).clone().max(mine);
            }
        }
        all.values_mut().for_each(|edits| *edits = std::mem::take(edits).into_iter().take(256).collect());
        all
    }

    /// The live puts that a delete of their path, or of a folder above, would have ended had its author seen them, where
    /// neither author had seen the other's: put → the greatest such delete.
    pub fn survivors(&self, space: &Space, heads: &Heads) -> BTreeMap<Dot, Dot> {
        let (live, known) = (self.live(space, heads, Ties::Right), self.known(space, heads));
        let deletes = || {
            known.iter().filter_map(|(dot, entry)| match &entry.change {
                Some(Change::Delete(delete)) => Some((dot, entry, delete.path.as_str(), true)),
                Some(Change::DeletePrefix(delete)) => Some((dot, entry, delete.prefix.as_str(), false)),
                _ => None,
            })
        };
        let outlived = |path: &ArtifactPath, put: &Dot| {
            deletes()
                .filter(|(_, _, text, is_path)| path.as_str() == *text || !is_path && path.as_str().starts_with(text))
                .filter(|(dot, entry, ..)| !entry.saw(dot, put) && !known[put].saw(put, dot))
                .map(|(dot, ..)| *dot)
                .max()
        };
        live.iter()
            .flat_map(|(path, dots)| dots.iter().filter_map(move |dot| Some((*dot, outlived(path, dot)?))))
            .collect()
    }

    /// How often each of the rarer changes was written.
    pub fn written(&self) -> BTreeMap<&'static str, u64> {
        let mut written = BTreeMap::new();
        for change in
            self.entries.values().flat_map(BTreeMap::values).flatten().filter_map(|entry| entry.change.as_ref())
        {
            let what = match change {
                Change::Put(put) if put.path.is_folder() => "folders made",
                Change::Put(put) if put.moved_from.is_some() => "moved",
                Change::EditProperties(_) => "properties edited",
                Change::DeletePrefix(_) => "deleted by prefix",
                Change::Configure(_) => "settings changed",
                Change::Remove(_) => "member removed by another",
                _ => continue,
            };
            *written.entry(what).or_default() += 1;
        }
        written
    }

    /// What a repository is set to: each field's greatest write.
    pub fn config(&self, space: &Space, heads: &Heads) -> Option<RepositoryConfig> {
        let known = self.known(space, heads);
        let founding = known.iter().find_map(|(_, entry)| match &entry.change {
            Some(Change::Found(founding)) => Some(founding),
            _ => None,
        })?;
        let mut writes: Vec<_> = known
            .iter()
            .filter_map(|(dot, entry)| match &entry.change {
                Some(Change::Configure(configure)) => Some((configure.timestamp, *dot, &configure.set)),
                _ => None,
            })
            .filter(|(timestamp, ..)| *timestamp >= founding.founded)
            .collect();
        writes.sort_by_key(|(timestamp, dot, _)| (*timestamp, *dot));
        let last = |field: &dyn Fn(&artimesh_core::catalog::ConfigChange) -> Option<String>, first: &String| {
            writes.iter().rev().find_map(|(_, _, set)| field(set)).unwrap_or_else(|| first.clone())
        };
        Some(RepositoryConfig {
            package_type: last(&|set| set.package_type.clone(), &founding.config.package_type),
            description: last(&|set| set.description.clone(), &founding.config.description),
        })
    }
}

/// How the oracle breaks ties; swapped only to show that the checkers notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ties {
    Right,
    Swapped,
}
