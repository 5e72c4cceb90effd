//! Seals: what every full member owes the circle about revoked nodes.

use super::io::{Event, Output, Refusal, View};
use super::message::Message;
use super::state::{Replica, Work};
use crate::model::{Digest, NodeId, codec};
use crate::trust::{Role, Seal, Standing, Statement, StatementKind};

impl Replica {
    /// States how much of each revoked node's logs is applied here, when that is more than was stated before.
    pub(super) fn write_seals<V: View>(&mut self, work: &mut Work<'_, V>) {
        let Some(trust) = &self.trust else { return };
        let counts = trust.good(&self.me.node).is_some_and(|me| me.role() == Role::Full);
        if !counts {
            return;
        }
        let revoked: Vec<NodeId> =
            trust.members().filter(|(_, m)| m.standing() == Standing::Revoked).map(|(node, _)| *node).collect();
        let mut news = false;
        for target in revoked {
            let seal = self.seal_of(&target);
            news |= self.state_seal(target, &seal);
        }
        if news {
            work.trust_changed = true;
            for peer in self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node) {
                self.send_statements(work, peer);
            }
        }
    }

    fn seal_of(&self, target: &NodeId) -> Seal {
        let mut heads = Vec::new();
        for (space, state) in &self.spaces {
            let logs = state.heads.0.iter().filter(|(incarnation, _)| incarnation.node == *target);
            heads.extend(logs.map(|(incarnation, head)| (*space, *incarnation, *head)));
        }
        Seal { heads }
    }

    fn state_seal(&mut self, target: NodeId, seal: &Seal) -> bool {
        let Some(circle) = self.circle.as_ref().map(|row| row.circle) else { return false };
        let me = self.me.node;
        let Some(trust) = &mut self.trust else { return false };
        if trust.stated_seal(me, target).as_ref() == Some(seal) {
            return false;
        }
        let serial = trust.statement_serial(me, StatementKind::Seal, target) + 1;
        let statement = Statement::seal(me, target, serial, seal, &self.me.log_key, &circle);
        trust.apply_statement(&statement).is_ok_and(|news| news)
    }

    /// The hash over all statements known, which two peers compare.
    pub(super) fn statements_digest(&self) -> Digest {
        let all: Vec<&Statement> = self.trust.iter().flat_map(|trust| trust.statements()).collect();
        Digest::derived("artimesh/statements/v1", &codec::encode(&all))
    }

    pub(super) fn send_statements<V: View>(&self, work: &mut Work<'_, V>, to: NodeId) {
        let Some(trust) = &self.trust else { return };
        let all: Vec<Statement> = trust.statements().cloned().collect();
        if !all.is_empty() && trust.good(&to).is_some() {
            work.out.push(Output::Send(to, Message::Statements(all).to_bytes()));
        }
    }

    pub(super) fn take_statements<V: View>(&mut self, work: &mut Work<'_, V>, from: NodeId, statements: &[Statement]) {
        let Some(trust) = &mut self.trust else { return };
        for statement in statements {
            match trust.apply_statement(statement) {
                Ok(news) => work.trust_changed |= news,
                Err(error) => {
                    let refusal = Refusal::Message(error.to_string());
                    work.out.push(Output::Note(Event::Refused { from: Some(from), refusal }));
                }
            }
        }
    }
}
