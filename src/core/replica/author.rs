//! The one write path: commands of this node's users become entries, and entries become signed segments.

use super::apply::{Entry, Stop};
use super::farewell::restated;
use super::io::{Command, CommandError, Output, Receipt, Refusal, Table, View, ViewFault};
use super::message::Announcement;
use super::reconcile::Merge;
use super::rows::{self, CircleRow, Introducer};
use super::state::{Replica, Work};
use crate::catalog::{
    ConfigChange, Configure, EntryFault, Federation, Founding, Invitation, Removal, RepositoryConfig,
};
use crate::changelog::{Accept, Change, ENTRIES_MAX, Header, Sealed, entry_hash};
use crate::clock::{AHEAD_MS_MAX, Timestamp};
use crate::model::{Context, Digest, Dot, Head, NodeId, RepoKey, Space};
use crate::trust::{
    Capability, Founding as CircleFounding, Grant, GrantBody, PairingReason, PairingToken, Revocation, Role, Standing,
    State as Trust, TrustRefusal, VerifiedRequest,
};

/// Own entries of one segment stay below this many bytes, so that a segment fits its bound with its largest entry.
pub(super) const OPEN_BYTES_MAX: usize = 256 * 1024;

/// Segments up to this size are gossiped whole.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// A refusal, or a fault of our own store.
pub(super) enum Failure {
    Refused(CommandError),
    Fault(ViewFault),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Refused(error.into())
    }
}

impl Replica {
    pub(super) fn local<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        commands: Vec<(u64, Command)>,
    ) -> Result<(), ViewFault> {
        let mut replies = Vec::with_capacity(commands.len());
        for (ticket, command) in commands {
            let result = match self.perform(work, command) {
                Ok(receipt) => Ok(receipt),
                Err(Failure::Refused(error)) => Err(error),
                Err(Failure::Fault(fault)) => return Err(fault),
            };
            replies.push(Output::Reply(ticket, result));
        }
        work.out.splice(0..0, replies);
        Ok(())
    }

    fn perform<V: View>(&mut self, work: &mut Work<'_, V>, command: Command) -> Result<Receipt, Failure> {
        if !matches!(command, Command::Release { .. }) {
            // A release writes nothing that others see: no reason to wait for a clock or a doubt.
            self.check_doubt(work.now)?;
            self.check_clock(&command)?;
        }
        match command {
            Command::FoundCircle(founding) => self.found_circle(work, &founding),
            Command::Join(token) => self.join(work, token),
            Command::Admit(request) => self.admit(work, request),
            Command::Revoke(node, reason) => self.revoke(work, node, reason),
            Command::CreateRepository { key, config, invite, secret } => {
                self.create_repository(work, &key, config, &invite, secret)
            }
            Command::Invite(key, node) => self.invite(work, &key, node),
            Command::Adopt { key, into, most, by } => self.adopt(work, &key, into, most, by),
            Command::Sync { key, member, dry_run } => Ok(self.sync(work, &key, member, dry_run)?),
            Command::Remove { key, node, by } => self.remove_member(work, &key, node, by),
            Command::DeleteRepository(key) => self.delete_repository(work, &key),
            Command::Release { key, author } => self.release(work, &key, author),
            Command::Configure { key, set, by } => self.configure(work, &key, set, by),
            Command::Put { key, path, content, by } => self.put(work, &key, path, content, by),
            Command::Delete { key, path, only, by } => self.delete(work, &key, path, only, by),
            Command::SetProperties { key, path, set, by } => self.set_properties(work, &key, path, set, by),
            Command::DeleteUnder { key, prefix, most, by } => self.delete_under(work, &key, &prefix, most, &by),
            Command::Move { key, from, to, by } => self.move_version(work, &key, from, to, by),
            Command::Restore { key, path, version, by } => self.restore(work, &key, path, version, by),
            Command::Dismiss { key, path, versions, by } => self.dismiss(work, &key, path, &versions, by),
        }
    }

    /// This node's circle, if it may author in it.
    pub(super) fn writer(&self) -> Result<&Trust, CommandError> {
        let trust = self.trust.as_ref().ok_or(CommandError::NoCircle)?;
        let member = trust.member(&self.me.node).ok_or(CommandError::NotGranted)?;
        match (member.standing(), member.role()) {
            (Standing::Revoked, _) => Err(CommandError::SelfRevoked),
            (Standing::Good, Role::Edge) => Err(CommandError::Follower),
            (Standing::Good, Role::Full) => Ok(trust),
        }
    }

    pub(super) fn writable(&self, key: &RepoKey) -> Result<Space, CommandError> {
        self.writer()?;
        let repository = self.repositories.get(&key.folded());
        let space = repository.map(|repository| repository.space);
        let space = space.ok_or_else(|| CommandError::NoRepository(key.clone()))?;
        self.check_whole(&space)?;
        self.check_adoption(&space)?;
        Ok(space)
    }

    /// Compares states with a member, this node's whole repository at once.
    fn sync<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        member: Option<NodeId>,
        dry_run: bool,
    ) -> Result<Receipt, CommandError> {
        let repository = self.repositories.get(&key.folded());
        let space = repository.map(|repository| repository.space);
        let space = space.ok_or_else(|| CommandError::NoRepository(key.clone()))?;
        let source = self.source_of(&space, member).ok_or_else(|| CommandError::NoSource(key.clone()))?;
        if !self.sync_with(work, space, source, dry_run) {
            return Err(CommandError::Merging(space));
        }
        Ok(receipt(work.now, Dot { incarnation: self.incarnation, sequence: 0 }, space))
    }

    /// Nobody writes between two states, nor on one that no other member has confirmed.
    pub(super) fn check_whole(&self, space: &Space) -> Result<(), CommandError> {
        let is_committing = self.merges.get(space).is_some_and(Merge::is_committing);
        if is_committing || self.unconfirmed.contains(space) { Err(CommandError::Merging(*space)) } else { Ok(()) }
    }

    fn found_circle<V: View>(&mut self, work: &mut Work<'_, V>, founding: &CircleFounding) -> Result<Receipt, Failure> {
        if self.circle.is_some() {
            return Err(CommandError::InCircle.into());
        }
        let circle = founding.circle();
        let row = CircleRow { circle, root: founding.root.key, issuer: None };
        let mut trust = Trust::new(circle);
        // Tried on a copy first, so that a broken founding file changes nothing.
        trust.apply_root(&founding.root)?;
        let dot = Dot { incarnation: self.incarnation, sequence: 2 };
        trust.apply_grant(dot, &founding.grant, &Context::default())?;
        if trust.good(&self.me.node).is_none() {
            return Err(CommandError::NotGranted.into());
        }
        work.draft.set(Table::Meta, rows::CIRCLE.into(), &row);
        self.circle = Some(row);
        self.trust = Some(Trust::new(circle));
        self.write(work, Space::Trust, &Change::Root(founding.root))?;
        let dot = self.write(work, Space::Trust, &Change::Grant(founding.grant.clone()))?;
        Ok(receipt(work.now, dot, Space::Trust))
    }

    fn join<V: View>(&mut self, work: &mut Work<'_, V>, token: PairingToken) -> Result<Receipt, Failure> {
        if self.circle.as_ref().is_some_and(|row| row.circle != token.circle) {
            return Err(CommandError::InCircle.into());
        }
        if self.circle.is_none() {
            let introducer =
                Introducer { node: token.issuer, keys: token.issuer_keys, addresses: token.addresses.clone() };
            let row = CircleRow { circle: token.circle, root: token.root, issuer: Some(introducer) };
            work.draft.set(Table::Meta, rows::CIRCLE.into(), &row);
            self.circle = Some(row);
            self.trust = Some(Trust::new(token.circle));
        }
        work.trust_changed = true;
        let dot = Dot { incarnation: self.incarnation, sequence: 0 };
        Ok(receipt(work.now, dot, Space::Trust))
    }

    fn admit<V: View>(&mut self, work: &mut Work<'_, V>, request: VerifiedRequest) -> Result<Receipt, Failure> {
        let trust = self.writer()?;
        let node = NodeId::of(&request.keys.log);
        if let Some(user) = trust.token_user(&request.token.id) {
            // The same newcomer asking again, because our answer got lost, gets the same answer.
            return match trust.good(&user) {
                Some(member) if user == node => Ok(receipt(work.now, member.granted_by(), Space::Trust)),
                _ => Err(PairingReason::Used.into()),
            };
        }
        if work.now >= request.token.expires_at {
            return Err(PairingReason::Expired.into());
        }
        if work.now.0.abs_diff(request.wall.0) > AHEAD_MS_MAX {
            return Err(PairingReason::ClockOff.into());
        }
        if trust.by_name(&request.name).iter().any(|other| *other != node && !trust.is_revoked(other)) {
            return Err(PairingReason::NameTaken.into());
        }
        match request.token.readmits {
            None if trust.is_revoked(&node) => return Err(PairingReason::Revoked.into()),
            Some(other) if other != node => return Err(PairingReason::NotYours.into()),
            _ => {}
        }
        let overrides =
            trust.member(&node).map(|member| member.revocations().map(|(dot, _)| *dot).collect()).unwrap_or_default();
        let body = GrantBody {
            node,
            name: request.name,
            role: request.token.role,
            keys: request.keys,
            capabilities: request.token.capabilities,
            addresses: request.addresses,
            token: Some(request.token.id),
            overrides,
        };
        let written = self.write(work, Space::Trust, &Change::Grant(Grant::by_author(&body)));
        match written {
            Ok(dot) => Ok(receipt(work.now, dot, Space::Trust)),
            Err(Failure::Refused(CommandError::Trust(_))) => Err(PairingReason::NotAllowed.into()),
            Err(other) => Err(other),
        }
    }

    fn revoke<V: View>(&mut self, work: &mut Work<'_, V>, node: NodeId, reason: String) -> Result<Receipt, Failure> {
        let trust = self.writer()?;
        if node == self.me.node {
            return Err(CommandError::Oneself.into());
        }
        if reason.len() > 1024 {
            return Err(TrustRefusal::Malformed("reason over 1024 bytes").into());
        }
        trust.good(&node).ok_or(CommandError::NoSuchNode(node))?;
        let dot = self.write(work, Space::Trust, &Change::Revoke(Revocation { node, reason }))?;
        Ok(receipt(work.now, dot, Space::Trust))
    }

    fn check_invitee(&self, node: &NodeId) -> Result<(), CommandError> {
        let member = self.writer()?.good(node).ok_or(CommandError::NoSuchNode(*node))?;
        if member.role() == Role::Edge { Err(CommandError::IsEdge(*node)) } else { Ok(()) }
    }

    fn create_repository<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        config: RepositoryConfig,
        invite: &[NodeId],
        secret: [u8; 32],
    ) -> Result<Receipt, Failure> {
        let trust = self.writer()?;
        config.check()?;
        if self.repositories.contains_key(&key.folded()) {
            return Err(CommandError::RepositoryExists(key.clone()).into());
        }
        for right in [Capability::Found, Capability::Write(None)] {
            if !trust.holds(&self.me.node, &right, None) {
                return Err(TrustRefusal::NotAllowed(self.me.node, right.name()).into());
            }
        }
        for node in invite {
            self.check_invitee(node)?;
        }
        let founding = Change::Found(Founding { repo_key: key.clone(), config, founded: work.now, secret });
        let space = Space::Federation(Federation::id_of(&founding.to_envelope()));
        let dot = self.write(work, space, &founding)?;
        self.add_repository(work, key, space);
        let me = self.me.node;
        for node in invite.iter().filter(|node| **node != me) {
            self.write(work, space, &Change::Invite(Invitation { node: *node, repo_key: key.clone() }))?;
        }
        Ok(receipt(work.now, dot, space))
    }

    fn invite<V: View>(&mut self, work: &mut Work<'_, V>, key: &RepoKey, node: NodeId) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        self.check_invitee(&node)?;
        let federation = self.spaces.get(&space).and_then(|state| state.federation.as_ref());
        if federation.is_some_and(|federation| federation.may_hold(&node)) {
            return Err(CommandError::AlreadyMember(node).into());
        }
        let dot = self.write(work, space, &Change::Invite(Invitation { node, repo_key: key.clone() }))?;
        Ok(receipt(work.now, dot, space))
    }

    fn remove_member<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        node: NodeId,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        if node == self.me.node {
            return Err(CommandError::Oneself.into());
        }
        if !self.federation(&space).is_some_and(|federation| federation.may_hold(&node)) {
            return Err(CommandError::NoSuchNode(node).into());
        }
        let dot = self.write(work, space, &Change::Remove(Removal { node, by }))?;
        // The last of its segment: who was removed may know all up to here.
        self.seal_space(work, space);
        Ok(receipt(work.now, dot, space))
    }

    /// Accepts an invitation to `space` under `key`, which is free.
    pub(super) fn accept_invitation<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        key: &RepoKey,
    ) -> Result<(), ViewFault> {
        if self.writer().is_err() || self.merges.get(&space).is_some_and(Merge::is_committing) {
            return Ok(());
        }
        match self.write(work, space, &Change::Accept(Accept { repo_key: key.clone() })) {
            Ok(_) => {
                self.add_repository(work, key, space);
                // At once: what this input applies next isn't part of what the acceptance had seen.
                self.seal_space(work, space);
                Ok(())
            }
            Err(Failure::Refused(_)) => Ok(()),
            Err(Failure::Fault(fault)) => Err(fault),
        }
    }

    fn delete_repository<V: View>(&mut self, work: &mut Work<'_, V>, key: &RepoKey) -> Result<Receipt, Failure> {
        let missing = || CommandError::NoRepository(key.clone());
        let repository = self.repositories.get(&key.folded()).cloned().ok_or_else(missing)?;
        let space = repository.space;
        let mut dot = Dot { incarnation: self.incarnation, sequence: 0 };
        let is_member = self.is_member(&space);
        if self.merges.get(&space).is_some_and(Merge::is_committing) {
            return Err(CommandError::Merging(space).into());
        }
        if is_member && self.writer().is_ok() {
            dot = self.write(work, space, &Change::Leave)?;
        }
        self.forget_repository(work, &repository.key);
        Ok(receipt(work.now, dot, space))
    }

    pub(super) fn forget_repository<V: View>(&mut self, work: &mut Work<'_, V>, key: &RepoKey) {
        if let Some(gone) = self.repositories.remove(&key.folded()) {
            self.forget_adoption(work, &gone.space);
        }
        work.draft.remove(Table::Meta, rows::repository_key(key));
        work.repositories_changed = true;
    }

    fn configure<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        set: ConfigChange,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        let federation = self.spaces.get(&space).and_then(|state| state.federation.as_ref());
        let configuration = &federation.ok_or(CommandError::NotAMember(space))?.configuration;
        let timestamp = Timestamp::of_write(work.now, configuration.written(&set));
        let configure = Configure { set, timestamp, by };
        configure.check()?;
        let dot = self.write(work, space, &Change::Configure(configure))?;
        Ok(Receipt { timestamp, ..receipt(work.now, dot, space) })
    }

    /// Gives `change` its dot, applies it here, and puts it into the space's open segment.
    pub(super) fn write<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        change: &Change,
    ) -> Result<Dot, Failure> {
        if space != Space::Trust {
            // What it needs of Trust must have its place in the log before it.
            self.seal_space(work, Space::Trust);
        }
        let envelope = change.to_envelope();
        self.check_feature(&space, envelope.kind)?;
        self.check_heard(&space)?;
        let state = self.spaces.entry(space).or_default();
        let open = work.open.entry(space).or_default();
        let sequence = state.heads.of(&self.incarnation).sequence + 1 + open.len() as u64;
        let dot = Dot { incarnation: self.incarnation, sequence };
        let context = self.context_here(&space);
        let needs = self.needs_here(&space);
        let hash = entry_hash(&envelope);
        let entry = Entry { dot, hash, envelope: &envelope, context: &context, needs: &needs };
        match self.apply(work, space, &entry, change) {
            Ok(()) => {}
            Err(Stop::Fault(fault)) => return Err(Failure::Fault(fault)),
            Err(Stop::Refused(Refusal::Trust(refusal))) => return Err(refusal.into()),
            Err(Stop::Refused(Refusal::Entry(_, fault))) => return Err(fault.into()),
            Err(Stop::Refused(Refusal::Crowded(..))) => {
                return Err(EntryFault::Bounds("all that is beside each other at that path").into());
            }
            // A repository that is shown here without a membership: an edge's, or one that was left elsewhere.
            Err(Stop::Refused(_)) => return Err(CommandError::NotAMember(space).into()),
        }
        let open = work.open.entry(space).or_default();
        open.push(envelope);
        let bytes: usize = open.iter().map(|entry| entry.body.len()).sum();
        if open.len() >= ENTRIES_MAX || bytes >= OPEN_BYTES_MAX {
            self.seal_space(work, space);
        }
        Ok(dot)
    }

    /// All that this node has applied in a space, its own present log apart.
    fn context_here(&self, space: &Space) -> Context {
        let mut context = self.spaces.get(space).map(|state| state.heads.to_context()).unwrap_or_default();
        // What was taken back since stays in it: readers add up what they were told.
        if let Some((told, _)) = self.spaces.get(space).and_then(|state| state.known.get(&self.incarnation)) {
            context.merge(told);
        }
        context.0.remove(&self.incarnation);
        context
    }

    /// All that this node has applied of Trust, for a segment in `space`.
    fn needs_here(&self, space: &Space) -> Context {
        match space {
            Space::Trust => Context::default(),
            _ => self.spaces.get(&Space::Trust).map(|trust| trust.heads.to_context()).unwrap_or_default(),
        }
    }

    pub(super) fn seal_open<V: View>(&mut self, work: &mut Work<'_, V>) {
        // Trust first: entries in other spaces of the same input may need it.
        let spaces: Vec<Space> = work.open.keys().copied().collect();
        for space in spaces {
            self.seal_space(work, space);
        }
    }

    pub(super) fn seal_space<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        let entries = work.open.remove(&space).unwrap_or_default();
        let Some(circle) = self.circle.as_ref().map(|row| row.circle).filter(|_| !entries.is_empty()) else { return };
        let (context, needs) = (self.context_here(&space), self.needs_here(&space));
        let (incarnation, now) = (self.incarnation, work.now);
        let state = self.spaces.get_mut(&space).expect("entries were written in it");
        let before = state.heads.of(&incarnation);
        let (context_before, needs_before) = state.known.get(&incarnation).cloned().unwrap_or_default();
        let mut told = context.since(&context_before);
        told.merge(&restated(&context, &entries, incarnation.node));
        let header = Header {
            space,
            incarnation,
            key: self.me.keys.log,
            first_sequence: before.sequence + 1,
            entries: 0,
            previous: before.chain,
            context: told,
            needs: needs.since(&needs_before),
            root: Digest::ZERO,
            written_at: now,
        };
        let segment = Sealed::sign(header, entries, &self.me.log_key, &circle);
        let head = Head { sequence: segment.header.last_sequence(), chain: segment.hash };
        state.heads.0.insert(incarnation, head);
        state.known.insert(incarnation, (context, needs));
        self.save_log(work, &space, &incarnation);
        let first = segment.header.first_sequence;
        work.draft.set_bytes(Table::Log, rows::segment_key(&space, &incarnation, first), segment.bytes().to_vec());
        let announcement = if segment.bytes().len() <= INLINE_BYTES_MAX {
            Announcement::Segment(segment.bytes().to_vec())
        } else {
            Announcement::Head(incarnation, head)
        };
        let publish = Output::Publish(space, announcement.to_bytes());
        work.sealed.push((space, segment.bytes().to_vec(), publish));
        self.dirty.insert(space);
    }
}

pub(super) fn receipt(now: Timestamp, dot: Dot, space: Space) -> Receipt {
    Receipt { dot, timestamp: now, space, replaced: false, created: now, created_by: String::new(), more: false }
}
