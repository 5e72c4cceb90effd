//! Applying one entry: who may write it, and what it does to state and rows. Own entries and others' go through here.

use super::io::{Event, Output, Refusal, Table, View, ViewFault};
use super::rows::{self, Placement, Repository};
use super::state::{Replica, Work};
use super::versions::{apply_delete, apply_delete_prefix, apply_edit};
use crate::catalog::{EntryFault, Federation, check_user};
use crate::changelog::Change;
use crate::model::{Context, Digest, Dot, Envelope, FederationId, NodeId, RepoKey, Space};
use crate::trust::{Capability, Role, State as Trust, TrustRefusal};

/// One entry and what its author knew.
pub(super) struct Entry<'a> {
    pub(super) dot: Dot,
    pub(super) hash: Digest,
    pub(super) envelope: &'a Envelope,
    /// All that its author had applied in the space, its own earlier entries apart.
    pub(super) context: &'a Context,
    /// All that its author had applied of Trust.
    pub(super) needs: &'a Context,
}

impl Entry<'_> {
    pub(super) fn author(&self) -> NodeId {
        self.dot.incarnation.node
    }

    pub(super) fn saw(&self, dot: &Dot) -> bool {
        let own_earlier = dot.incarnation == self.dot.incarnation && dot.sequence < self.dot.sequence;
        own_earlier || self.context.cover(dot)
    }

    pub(super) fn misplaced(&self, why: &str) -> Stop {
        Stop::Refused(Refusal::Misplaced(self.dot, why.to_owned()))
    }

    pub(super) fn at_fault(&self, fault: EntryFault) -> Stop {
        Stop::Refused(Refusal::Entry(self.dot, fault))
    }
}

/// Why an entry isn't applied: its author's fault, or our store's.
pub(super) enum Stop {
    Refused(Refusal),
    Fault(ViewFault),
}

impl From<ViewFault> for Stop {
    fn from(fault: ViewFault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<TrustRefusal> for Stop {
    fn from(refusal: TrustRefusal) -> Self {
        Stop::Refused(Refusal::Trust(refusal))
    }
}

impl Replica {
    pub(super) fn apply<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        entry: &Entry<'_>,
        change: &Change,
    ) -> Result<(), Stop> {
        match space {
            Space::Trust => self.apply_trust(work, entry, change),
            Space::Federation(id) => self.apply_federation(work, id, entry, change),
            Space::Accounts => Err(Stop::Refused(Refusal::NotShared(space))),
        }
    }

    fn apply_trust<V: View>(&mut self, work: &mut Work<'_, V>, entry: &Entry<'_>, change: &Change) -> Result<(), Stop> {
        let trust = self.trust.as_mut().ok_or(Stop::Refused(Refusal::NotShared(Space::Trust)))?;
        let mut knew = entry.context.clone();
        knew.0.insert(entry.dot.incarnation, entry.dot.sequence - 1);
        if !fold_trust(trust, entry.dot, change, &knew)? {
            return Err(entry.misplaced("not an entry of the trust space"));
        }
        if let Change::Revoke(revocation) = change {
            work.out.push(Output::Note(Event::Revoked(revocation.node)));
            if revocation.node == self.me.node {
                work.out.push(Output::Note(Event::SelfRevoked));
            }
        }
        work.trust_changed = true;
        Ok(())
    }

    fn apply_federation<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        id: FederationId,
        entry: &Entry<'_>,
        change: &Change,
    ) -> Result<(), Stop> {
        let space = Space::Federation(id);
        let trust = self.trust.as_ref().ok_or(Stop::Refused(Refusal::NotShared(space)))?;
        if let Change::Found(founding) = change {
            check_right(trust, entry, &Capability::Found)?;
            founding.config.check().map_err(|fault| entry.at_fault(fault))?;
            let state = self.spaces.entry(space).or_default();
            if state.federation.is_some() || Federation::id_of(entry.envelope) != id || entry.dot.sequence != 1 {
                return Err(entry.misplaced("not the founding of this federation"));
            }
            state.federation = Some(Federation::found(entry.dot, founding.clone()));
            self.save_federation(work, space);
            return Ok(());
        }
        check_right(trust, entry, &Capability::Write(Some(id)))?;
        let federation = self.spaces.get_mut(&space).and_then(|state| state.federation.as_mut());
        let federation = federation.ok_or_else(|| entry.misplaced("before the federation's founding"))?;
        let saw = |dot: &Dot| entry.saw(dot);
        let author_is_member = federation.was_member(&entry.author(), saw);
        if !author_is_member && !matches!(change, Change::Accept(_)) {
            return Err(entry.misplaced("its author is not a member of the federation"));
        }
        match change {
            Change::Put(put) => return self.apply_put(work, space, entry, put),
            Change::Delete(delete) => return apply_delete(work, space, entry, delete),
            Change::EditProperties(edit) => return apply_edit(work, space, entry, edit),
            Change::DeletePrefix(delete) => return apply_delete_prefix(work, space, entry, delete),
            Change::Configure(configure) => {
                configure.check().map_err(|fault| entry.at_fault(fault))?;
                federation.configuration.apply(entry.dot, configure);
            }
            Change::Invite(invitation) => federation.invite(entry.dot, invitation),
            Change::Accept(accept) => {
                let taken = federation.accept(entry.dot, &accept.repo_key, saw);
                taken.map_err(|why| entry.misplaced(&why.to_string()))?;
            }
            Change::Leave => {
                federation.leave(entry.dot, saw);
            }
            Change::Reborn(old) => {
                if old.node != entry.author() || *old == entry.dot.incarnation {
                    return Err(entry.misplaced("not an earlier life of its author"));
                }
                self.spaces.entry(space).or_default().ended.insert(*old);
                work.draft.set(Table::Meta, rows::life_key(rows::ENDED, &space, old), &entry.dot);
                return Ok(());
            }
            Change::Remove(removal) => {
                check_user(&removal.by).map_err(|fault| Stop::Refused(Refusal::Entry(entry.dot, fault)))?;
                let founder = federation.founder;
                if founder != entry.author() {
                    check_right(trust, entry, &Capability::Revoke)?;
                }
                federation.remove(entry.dot, &removal.node, saw);
                self.remember_removal(work, space, entry, removal.node);
            }
            _ => return Err(entry.misplaced("not an entry of a federation")),
        }
        self.save_federation(work, space);
        Ok(())
    }

    /// A removed member may go on asking for what was known when it was removed, so that it hears of that.
    fn remember_removal<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, entry: &Entry<'_>, node: NodeId) {
        let Some(state) = self.spaces.get_mut(&space) else { return };
        let known = state.removed.entry(node).or_default();
        known.merge(entry.context);
        known.merge(&Context([(entry.dot.incarnation, entry.dot.sequence)].into()));
        work.draft.set(Table::Meta, rows::removed_key(&space, &node), known);
        if node == self.me.node {
            work.note(Event::Removed { space, by: entry.author() });
        }
    }

    pub(super) fn save_federation<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        if let Some(federation) = &self.spaces[&space].federation {
            work.draft.set(Table::Meta, rows::federation_key(&space), federation);
        }
        work.membership_changed.insert(space);
    }

    /// Whether this node keeps all bytes of a space: as its repository says, or as the next one will. Versions applied
    /// while no repository shows the space (not yet, or not until a new invitation) are wanted as well; they are fetched
    /// once one does.
    pub(super) fn mirrors(&self, space: &Space) -> bool {
        let shown = self.repository_of(space).map(|repository| repository.placement);
        shown.unwrap_or_else(|| self.default_placement()) == Placement::Mirror
    }

    fn default_placement(&self) -> Placement {
        let by_role = if self.role() == Some(Role::Edge) { Placement::OnDemand } else { Placement::Mirror };
        self.placement.unwrap_or(by_role)
    }

    /// The repository that shows a space here.
    pub(super) fn repository_of(&self, space: &Space) -> Option<&Repository> {
        self.repositories.values().find(|repository| repository.space == *space)
    }

    /// Makes a repository for a space under `key`, if the key is free.
    pub(super) fn add_repository<V: View>(&mut self, work: &mut Work<'_, V>, key: &RepoKey, space: Space) -> bool {
        !self.repositories.contains_key(&key.folded()) && self.show(work, key, space, None)
    }

    /// Makes `key` show a space, and keep its bytes as it is told or as is usual here.
    pub(super) fn show<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        space: Space,
        placement: Option<Placement>,
    ) -> bool {
        let placement = placement.unwrap_or_else(|| self.default_placement());
        let repository = Repository { key: key.clone(), space, placement, created: work.now };
        work.draft.set(Table::Meta, rows::repository_key(key), &repository);
        self.repositories.insert(key.folded(), repository);
        work.repositories_changed = true;
        true
    }
}

/// Takes one entry of the Trust space into the circle's state; `Ok(false)` when it has no place there.
pub(super) fn fold_trust(trust: &mut Trust, dot: Dot, change: &Change, knew: &Context) -> Result<bool, TrustRefusal> {
    match change {
        Change::Root(root) if dot.sequence == 1 => trust.apply_root(root)?,
        Change::Grant(grant) => trust.apply_grant(dot, grant, knew)?,
        Change::Revoke(revocation) => trust.apply_revocation(dot, revocation, knew)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn check_right(trust: &Trust, entry: &Entry<'_>, capability: &Capability) -> Result<(), TrustRefusal> {
    if trust.holds(&entry.author(), capability, Some(entry.needs)) {
        Ok(())
    } else {
        Err(TrustRefusal::NotAllowed(entry.author(), capability.name()))
    }
}
