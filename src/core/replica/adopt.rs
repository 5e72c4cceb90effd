//! A repository that joins a federation: what is live in the one becomes this node's entries in the other.
//!
//! ```text
//!  begin   the invitation is accepted under the repository's key; the federation stays unseen, for the key is in use
//!  step    the next paths: their live versions are put in the federation, beside what is there; a row says how far
//!  end     the old federation of one is left, and the repository shows the other: one atomic write with the last step
//! ```
//!
//! # Why
//! Nothing is displaced: what is put kills nothing, so contents that differ meet as siblings, and the newest is shown. Users
//! go on reading the repository as it was until the end. They can't write in it meanwhile: a version that is replaced
//! behind the row would live on in the federation. Therefore nothing may hold it up for long: each tick takes a step too,
//! whether or not whoever asked for it still does. Deleting the repository, or removing this node from the federation,
//! ends it; what was put until then stays there.
//!
//! A step that is lost in a crash is taken again. What a former member of the old federation still had to say may arrive
//! late: then the paths are gone through once more, and what the federation has already isn't repeated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::artifacts::read_page;
use super::author::{Failure, receipt};
use super::draft::stored;
use super::io::{CommandError, Receipt, Table, View, ViewFault};
use super::rows;
use super::state::{Replica, Work, each_row};
use crate::catalog::{Federation, Put, Version, Versions, check_user};
use crate::changelog::{Accept, Change, kind};
use crate::model::{ArtifactPath, Context, Dot, RepoKey, Space};

/// The most paths that one step takes.
pub(super) const STEP_PATHS_MAX: usize = 256;

/// A repository on its way into a federation: row `adopt`, under the space that it shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Adoption {
    /// The repository.
    pub key: RepoKey,
    /// The federation that it joins.
    pub into: Space,
    /// The last path that was gone through.
    pub after: Option<ArtifactPath>,
    /// The heads of the space that it shows, when the first path was.
    pub heads: Context,
    /// Who asked for it.
    pub by: String,
}

impl Replica {
    /// Repositories on their way into a federation, by the spaces that they show until then.
    pub fn adoptions(&self) -> impl Iterator<Item = (&Space, &Adoption)> {
        self.adoptions.iter()
    }

    /// Begins, or takes the next step. [`Receipt::more`] says whether paths are left.
    pub(super) fn adopt<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        into: Space,
        most: usize,
        by: String,
    ) -> Result<Receipt, Failure> {
        self.writer()?;
        check_user(&by)?;
        let missing = || CommandError::NoRepository(key.clone());
        let repository = self.repositories.get(&key.folded()).cloned().ok_or_else(missing)?;
        let (key, from) = (repository.key, repository.space);
        if from == into {
            // Asked again because the last answer was lost.
            return Ok(receipt(work.now, Dot { incarnation: self.incarnation, sequence: 0 }, into));
        }
        if !self.adoptions.contains_key(&from) {
            self.begin_adoption(work, from, Adoption { key, into, after: None, heads: Context::default(), by })?;
        } else if self.adoptions[&from].into != into {
            return Err(CommandError::Adopting(key).into());
        }
        self.adopt_step(work, from, most.clamp(1, STEP_PATHS_MAX))
    }

    fn begin_adoption<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Space,
        adoption: Adoption,
    ) -> Result<(), Failure> {
        let (me, key, into) = (self.me.node, &adoption.key, adoption.into);
        let is_shared =
            |federation: &Federation| federation.members.keys().any(|node| *node != me && federation.may_hold(node));
        if self.federation(&from).is_none_or(is_shared) {
            return Err(CommandError::SharedAlready(key.clone()).into());
        }
        let is_taken = self.repository_of(&into).is_some() || self.adoptions.values().any(|other| other.into == into);
        if is_taken || !self.own_membership(&into).is_some_and(|mine| mine.accepted().is_some() || mine.is_pending()) {
            return Err(CommandError::NotInvited(into).into());
        }
        self.check_whole(&from)?;
        self.check_whole(&into)?;
        // Whether there are folders isn't known before all paths were read, and in the middle it can't go back.
        self.check_feature(&into, kind::FOLDER)?;
        if !self.is_member(&into) {
            self.write(work, into, &Change::Accept(Accept { repo_key: key.clone() }))?;
            // At once: what this input applies next isn't part of what the acceptance had seen.
            self.seal_space(work, into);
        }
        self.save_adoption(work, from, adoption);
        Ok(())
    }

    fn save_adoption<V: View>(&mut self, work: &mut Work<'_, V>, from: Space, adoption: Adoption) {
        work.draft.set(Table::Meta, rows::adoption_key(&from), &adoption);
        self.adoptions.insert(from, adoption);
    }

    pub(super) fn forget_adoption<V: View>(&mut self, work: &mut Work<'_, V>, from: &Space) {
        if self.adoptions.remove(from).is_some() {
            work.draft.remove(Table::Meta, rows::adoption_key(from));
        }
    }

    fn adopt_step<V: View>(&mut self, work: &mut Work<'_, V>, from: Space, most: usize) -> Result<Receipt, Failure> {
        let mut adoption = self.adoptions[&from].clone();
        let into = adoption.into;
        if !self.is_member(&into) {
            self.forget_adoption(work, &from);
            return Err(CommandError::NotAMember(into).into());
        }
        self.check_whole(&into)?;
        let heads = self.spaces[&from].heads.to_context();
        if heads != adoption.heads {
            (adoption.after, adoption.heads) = (None, heads);
        }
        let start = rows::catalog_prefix(&from, "");
        let low = adoption.after.as_ref().map(|path| [&rows::catalog_key(&from, path)[..], &[0]].concat());
        let page = work.draft.range(Table::Catalog, low.as_ref().unwrap_or(&start), &rows::end_of(&start), most + 1);
        let mut found = read_page(page.map_err(Failure::Fault)?).map_err(Failure::Fault)?;
        let more = found.len() > most;
        found.truncate(most);
        let mut first = None;
        for (path, versions) in &found {
            first = first.or(self.adopt_path(work, into, path, versions, &adoption.by)?);
        }
        if more {
            adoption.after = found.pop().map(|(path, _)| path);
            self.save_adoption(work, from, adoption);
        } else {
            self.end_adoption(work, from, &adoption)?;
        }
        let dot = first.unwrap_or(Dot { incarnation: self.incarnation, sequence: 0 });
        Ok(Receipt { more, ..receipt(work.now, dot, into) })
    }

    /// Puts the live versions of a path beside those that the federation has; the first one's dot.
    fn adopt_path<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        into: Space,
        path: &ArtifactPath,
        versions: &Versions,
        by: &str,
    ) -> Result<Option<Dot>, Failure> {
        let mut first = None;
        for version in versions.iter() {
            let there = work.draft.versions(&into, path).map_err(Failure::Fault)?;
            if there.iter().any(|other| is_equal(other, version)) {
                continue;
            }
            let put = Put {
                path: path.clone(),
                content: version.content_now(),
                timestamp: version.timestamp,
                kills: Vec::new(),
                created: version.created,
                created_by: version.created_by.clone(),
                modified_by: by.to_owned(),
                moved_from: None,
            };
            let dot = self.write(work, into, &Change::Put(put))?;
            let after = work.draft.versions(&into, path).map_err(Failure::Fault)?;
            if let Some(put) = after.iter().find(|version| version.dot == dot) {
                self.want(work, into, path, put).map_err(Failure::Fault)?;
            }
            first = first.or(Some(dot));
        }
        Ok(first)
    }

    /// The repository leaves its federation of one and shows the other.
    fn end_adoption<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Space,
        adoption: &Adoption,
    ) -> Result<(), Failure> {
        let placement = self.repository_of(&from).map(|repository| repository.placement);
        self.write(work, from, &Change::Leave)?;
        self.forget_repository(work, &adoption.key);
        self.show(work, &adoption.key, adoption.into, placement);
        Ok(())
    }

    /// Each tick goes on with what was begun.
    pub(super) fn go_on_adopting<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        let may_write = self.stopped_since.is_none() && self.check_doubt(work.now).is_ok() && self.writer().is_ok();
        if self.adoptions.is_empty() || !may_write {
            return Ok(());
        }
        let begun: Vec<Space> = self.adoptions.keys().copied().collect();
        for from in begun {
            if let Err(Failure::Fault(fault)) = self.adopt_step(work, from, STEP_PATHS_MAX) {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Nobody writes where what is written might be left behind.
    pub(super) fn check_adoption(&self, space: &Space) -> Result<(), CommandError> {
        match self.adoptions.get(space) {
            Some(adoption) => Err(CommandError::Adopting(adoption.key.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a version says nothing that the other doesn't: the same bytes under the same properties.
fn is_equal(one: &Version, other: &Version) -> bool {
    one.content.digest == other.content.digest && one.properties() == other.properties()
}

pub(super) fn load_adoptions(view: &impl View) -> Result<BTreeMap<Space, Adoption>, ViewFault> {
    let mut adoptions = BTreeMap::new();
    each_row(view, Table::Meta, rows::ADOPTIONS, |key, value| {
        let space = rows::space_from(&key[rows::ADOPTIONS.len()..]);
        let space = space.ok_or_else(|| ViewFault("an adoption row has a broken key".into()))?;
        adoptions.insert(space, stored(value)?);
        Ok(())
    })?;
    Ok(adoptions)
}
