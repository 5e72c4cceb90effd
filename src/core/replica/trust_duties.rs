//! Statements: what a node owes the circle about revoked nodes and about itself.

use std::collections::BTreeSet;

use super::io::{CommandError, Event, Output, Refusal, Table, View};
use super::message::Message;
use super::rows;
use super::state::{Replica, Work};
use super::sync::MESSAGE_BYTES_MAX;
use crate::changelog::feature_of;
use crate::model::{Digest, Incarnation, NodeId, Space, codec};
use crate::trust::{Role, Seal, Statement, StatementKind};

impl Replica {
    /// States how much of each revoked node's logs is applied here, when that is more than was stated before.
    pub(super) fn write_seals<V: View>(&mut self, work: &mut Work<'_, V>) {
        let Some(trust) = &self.trust else { return };
        // Revoked or not in our own eyes: whether our word counts is for those to decide who hear it. Who revoked us may be
        // revoked itself, and what it wrote known to us alone.
        if self.role() != Some(Role::Full) {
            return;
        }
        let revoked: BTreeSet<NodeId> = trust.sealed_nodes().copied().collect();
        let forked = self.spaces.values().flat_map(|state| state.forks.keys()).map(|life| life.node);
        let targets: BTreeSet<NodeId> = revoked.iter().copied().chain(forked).collect();
        let mut news = false;
        let me = self.me.node;
        for target in targets.into_iter().filter(|node| *node != me) {
            let seal = self.seal_of(&target, revoked.contains(&target));
            news |= self.state_seal(work, target, &seal);
        }
        if news {
            for peer in self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node) {
                self.send_statements(work, peer);
            }
        }
    }

    /// States which kinds of entries this version knows, when that isn't what was stated before.
    pub(super) fn state_features<V: View>(&mut self, work: &mut Work<'_, V>) {
        let Some(circle) = self.circle.as_ref().map(|row| row.circle) else { return };
        let (me, features) = (self.me.node, self.features);
        let Some(trust) = &mut self.trust else { return };
        if trust.member(&me).is_none() || trust.features_of(&me) == Some(features) {
            return;
        }
        let serial = trust.statement_serial(me, StatementKind::Features, me) + 1;
        let statement = Statement::features(me, serial, features, &self.me.log_key, &circle);
        if trust.apply_statement(&statement).is_ok_and(|news| news) {
            work.draft.set(Table::Meta, rows::statement_key(&me, StatementKind::Features, &me), &statement);
            for peer in self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node) {
                self.send_statements(work, peer);
            }
        }
    }

    /// Whether all who would have to apply an entry of this kind can: this node, and the members of the federation.
    pub(super) fn check_feature(&self, space: &Space, kind: u16) -> Result<(), CommandError> {
        let Some(feature) = feature_of(kind) else { return Ok(()) };
        let Some(trust) = &self.trust else { return Err(CommandError::NoCircle) };
        let knows = |node: &NodeId| {
            let stated = if *node == self.me.node { Some(self.features) } else { trust.features_of(node) };
            stated.is_some_and(|features| features & feature.bit != 0)
        };
        let members = self.federation(space).into_iter().flat_map(|federation| {
            federation.members.keys().filter(|node| federation.is_member(node) && trust.good(node).is_some())
        });
        match members.chain([&self.me.node]).find(|node| !knows(node)) {
            None => Ok(()),
            Some(node) => {
                let name = trust.member(node).map(|member| member.grant().name.to_string()).unwrap_or_default();
                Err(CommandError::NeedsUpgrade { node: *node, name, feature: feature.name })
            }
        }
    }

    /// Of a revoked node all logs; else those that forked.
    fn seal_of(&self, target: &NodeId, is_revoked: bool) -> Seal {
        let mut heads = Vec::new();
        for (space, state) in &self.spaces {
            let counts = |life: &Incarnation| life.node == *target && (is_revoked || state.forks.contains_key(life));
            let logs = self.certain_heads(space, state).0.into_iter().filter(|(incarnation, _)| counts(incarnation));
            heads.extend(logs.map(|(incarnation, head)| (*space, incarnation, head)));
        }
        Seal { heads }
    }

    fn state_seal<V: View>(&mut self, work: &mut Work<'_, V>, target: NodeId, seal: &Seal) -> bool {
        let Some(circle) = self.circle.as_ref().map(|row| row.circle) else { return false };
        let me = self.me.node;
        let Some(trust) = &mut self.trust else { return false };
        if trust.stated_seal(me, target).as_ref() == Some(seal) {
            return false;
        }
        let serial = trust.statement_serial(me, StatementKind::Seal, target) + 1;
        let statement = Statement::seal(me, target, serial, seal, &self.me.log_key, &circle);
        let is_news = trust.apply_statement(&statement).is_ok_and(|news| news);
        if is_news {
            work.draft.set(Table::Meta, rows::statement_key(&me, StatementKind::Seal, &target), &statement);
        }
        is_news
    }

    /// The hash over all statements known, which two peers compare.
    pub(super) fn statements_digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("artimesh/statements/v1");
        for statement in self.trust.iter().flat_map(|trust| trust.statements()) {
            hasher.update(&codec::encode(statement));
        }
        Digest(*hasher.finalize().as_bytes())
    }

    pub(super) fn send_statements<V: View>(&self, work: &mut Work<'_, V>, to: NodeId) {
        let Some(trust) = &self.trust else { return };
        if trust.good(&to).is_none() {
            return;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for statement in trust.statements() {
            let size = codec::encode(statement).len();
            if bytes + size > MESSAGE_BYTES_MAX && !batch.is_empty() {
                work.out.push(Output::Send(to, Message::Statements(std::mem::take(&mut batch)).to_bytes()));
                bytes = 0;
            }
            bytes += size;
            batch.push(statement.clone());
        }
        if !batch.is_empty() {
            work.out.push(Output::Send(to, Message::Statements(batch).to_bytes()));
        }
    }

    pub(super) fn take_statements<V: View>(&mut self, work: &mut Work<'_, V>, from: NodeId, statements: &[Statement]) {
        let Some(trust) = &mut self.trust else { return };
        for statement in statements {
            match trust.apply_statement(statement) {
                Ok(true) => {
                    if let Ok((author, kind, subject, _)) = statement.head() {
                        work.draft.set(Table::Meta, rows::statement_key(&author, kind, &subject), statement);
                    }
                    // What was refused as sealed may be admitted now.
                    self.peers.values_mut().for_each(|peer| peer.spent.clear());
                }
                Ok(false) => {}
                Err(error) => {
                    let refusal = Refusal::Message(error.to_string());
                    work.out.push(Output::Note(Event::Refused { from: Some(from), refusal }));
                }
            }
        }
    }
}
