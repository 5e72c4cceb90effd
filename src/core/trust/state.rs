//! The state of the circle as a fold over the set of applied Trust entries and known seals.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::capability::Capability;
use super::grant::{Grant, GrantBody, Revocation, Role, Root};
use super::statement::{Seal, Statement, StatementError, StatementKind};

use crate::model::{CircleId, Context, Dot, Incarnation, NodeId, NodeName, PublicKey, Space, TokenId};

/// Distance from the root, then the grant's own dot: the lower ranks above the higher.
type Rank = (u32, Dot);

/// One node as the circle knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// Every grant it ever got, by the grant's dot, with the issuer's distance from the root plus one.
    grants: BTreeMap<Dot, (u32, GrantBody)>,
    /// Every revocation of it, by its dot.
    revocations: BTreeMap<Dot, Revocation>,
}

/// Whether a node's word counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Granted and not revoked.
    Good,
    /// Revoked, and no grant lifts that.
    Revoked,
}

impl Member {
    /// The grant with the greatest dot: what counts for name, role, keys and addresses.
    pub fn grant(&self) -> &GrantBody {
        let (_, (_, body)) = self.grants.last_key_value().expect("a member has a grant");
        body
    }

    /// The node's role.
    pub fn role(&self) -> Role {
        self.grant().role
    }

    /// Whether it is revoked.
    pub fn standing(&self) -> Standing {
        let lifted: BTreeSet<&Dot> = self.grants.values().flat_map(|(_, body)| &body.overrides).collect();
        if self.revocations.keys().all(|dot| lifted.contains(dot)) { Standing::Good } else { Standing::Revoked }
    }

    /// The revocations in force, for those who grant anew.
    pub fn revocations(&self) -> impl Iterator<Item = (&Dot, &Revocation)> {
        self.revocations.iter()
    }

    /// The dot of the grant that the node has now.
    pub fn granted_by(&self) -> Dot {
        *self.grants.last_key_value().expect("a member has a grant").0
    }

    fn rank(&self) -> Rank {
        self.grants.iter().map(|(dot, (distance, _))| (*distance, *dot)).min().expect("a member has a grant")
    }

    /// Whether a grant that `needs` covers (all grants, when `None`) includes `capability`.
    fn holds(&self, capability: &Capability, needs: Option<&Context>) -> bool {
        let known = |dot: &Dot| needs.is_none_or(|needs| needs.cover(dot));
        self.grants.iter().any(|(dot, (_, body))| known(dot) && body.capabilities.include(capability))
    }
}

/// Why a Trust entry, or an entry anywhere, isn't its author's to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRefusal {
    /// The author isn't in the circle, as far as its own segment could know.
    #[error("node {0} is not in the circle")]
    NotAMember(NodeId),
    /// The segment's key isn't one of the author's.
    #[error("node {0} signed with a key that is not its own")]
    WrongKey(NodeId),
    /// The author lacks a capability.
    #[error("node {0} may not {1}")]
    NotAllowed(NodeId, String),
    /// The target ranks above the author.
    #[error("node {0} may not revoke a node that ranks above it")]
    Outranked(NodeId),
    /// The root entry or a root signature doesn't fit the circle.
    #[error("the entry does not belong to this circle's root")]
    WrongRoot,
    /// The entry's own fields are broken.
    #[error("malformed trust entry: {0}")]
    Malformed(&'static str),
    /// Written after its author was revoked, above every seal.
    #[error("node {0} is revoked, and this was not applied anywhere before")]
    Sealed(NodeId),
}

/// Everything that the applied Trust entries and statements say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    circle: CircleId,
    root: Option<PublicKey>,
    members: BTreeMap<NodeId, Member>,
    used_tokens: BTreeMap<TokenId, (Dot, NodeId)>,
    statements: BTreeMap<(NodeId, StatementKind, NodeId), (u64, Statement)>,
    seals: BTreeMap<(Space, Incarnation), BTreeMap<NodeId, u64>>,
}

impl State {
    /// A circle of which only the id is known.
    pub fn new(circle: CircleId) -> State {
        State {
            circle,
            root: None,
            members: BTreeMap::new(),
            used_tokens: BTreeMap::new(),
            statements: BTreeMap::new(),
            seals: BTreeMap::new(),
        }
    }

    /// The circle.
    pub fn circle(&self) -> CircleId {
        self.circle
    }

    /// The root key, once the log has stated it.
    pub fn root(&self) -> Option<PublicKey> {
        self.root
    }

    /// All nodes that ever were granted, revoked ones too.
    pub fn members(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    /// One node.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// A node in good standing.
    pub fn good(&self, node: &NodeId) -> Option<&Member> {
        self.member(node).filter(|member| member.standing() == Standing::Good)
    }

    /// Whether the node was revoked and not admitted again.
    pub fn is_revoked(&self, node: &NodeId) -> bool {
        self.member(node).is_some_and(|member| member.standing() == Standing::Revoked)
    }

    /// The node with this transport key.
    pub fn by_transport(&self, key: &PublicKey) -> Option<NodeId> {
        self.members.iter().find(|(_, member)| member.grant().keys.transport == *key).map(|(node, _)| *node)
    }

    /// The nodes of this name (more than one only after a clash at a partition).
    pub fn by_name(&self, name: &NodeName) -> Vec<NodeId> {
        self.members.iter().filter(|(_, member)| member.grant().name == *name).map(|(node, _)| *node).collect()
    }

    /// Who consumed a token.
    pub fn token_user(&self, token: &TokenId) -> Option<NodeId> {
        self.used_tokens.get(token).map(|(_, node)| *node)
    }

    /// All consumed tokens.
    pub fn used_tokens(&self) -> impl Iterator<Item = &TokenId> {
        self.used_tokens.keys()
    }

    /// Whether `node` holds `capability` by a grant that `needs` covers.
    pub fn holds(&self, node: &NodeId, capability: &Capability, needs: Option<&Context>) -> bool {
        self.members.get(node).is_some_and(|member| member.role() == Role::Full && member.holds(capability, needs))
    }

    /// Whether `node` may follow the federation that `capability` names; edges ask this, and full members too.
    pub fn follows(&self, node: &NodeId, capability: &Capability) -> bool {
        self.good(node).is_some_and(|member| member.holds(capability, None))
    }

    /// Checks that `key` is a log key of `node` by a grant that `needs` covers.
    pub fn check_key(&self, node: &NodeId, key: &PublicKey, needs: &Context) -> Result<(), TrustRefusal> {
        let member = self.members.get(node).ok_or(TrustRefusal::NotAMember(*node))?;
        let mut known = member.grants.iter().filter(|(dot, _)| needs.cover(dot)).peekable();
        if known.peek().is_none() {
            return Err(TrustRefusal::NotAMember(*node));
        }
        if known.any(|(_, (_, body))| body.keys.log == *key) { Ok(()) } else { Err(TrustRefusal::WrongKey(*node)) }
    }

    /// Takes a root entry.
    pub fn apply_root(&mut self, root: &Root) -> Result<(), TrustRefusal> {
        if CircleId::of(&root.key) != self.circle {
            return Err(TrustRefusal::WrongRoot);
        }
        self.root = Some(root.key);
        Ok(())
    }

    /// Takes a grant that `author` wrote as entry `dot`, knowing `context` of the Trust space.
    pub fn apply_grant(&mut self, dot: Dot, grant: &Grant, context: &Context) -> Result<(), TrustRefusal> {
        let author = dot.incarnation.node;
        let body = grant.read().map_err(|_| TrustRefusal::Malformed("grant"))?;
        let bounded = body.addresses.are_bounded() && body.overrides.len() <= 256;
        if !bounded {
            return Err(TrustRefusal::Malformed("grant out of bounds"));
        }
        let first_of_node = !self.members.contains_key(&body.node);
        if first_of_node && NodeId::of(&body.keys.log) != body.node {
            return Err(TrustRefusal::Malformed("node id is not the hash of its first key"));
        }
        let root = self.root.ok_or(TrustRefusal::WrongRoot)?;
        let by_root = grant.verify_root(&root, &self.circle).map_err(|_| TrustRefusal::WrongRoot)?;
        let distance = if by_root { 0 } else { self.check_issuer(&author, &body, context)? };
        if let Some(token) = body.token {
            match self.used_tokens.get(&token).copied() {
                Some((earlier, _)) if earlier < dot => return Ok(()),
                Some((later, node)) => self.void(&node, &later),
                None => {}
            }
            self.used_tokens.insert(token, (dot, body.node));
        }
        let member = self.members.entry(body.node).or_default();
        member.grants.insert(dot, (distance, body));
        Ok(())
    }

    /// Takes back a grant whose token an entry of a lesser dot consumed: only the first counts, whichever arrived first.
    fn void(&mut self, node: &NodeId, dot: &Dot) {
        let Some(member) = self.members.get_mut(node) else { return };
        member.grants.remove(dot);
        if member.grants.is_empty() {
            self.members.remove(node);
        }
    }

    fn check_issuer(&self, author: &NodeId, body: &GrantBody, context: &Context) -> Result<u32, TrustRefusal> {
        let issuer = self.members.get(author).ok_or(TrustRefusal::NotAMember(*author))?;
        if issuer.role() != Role::Full || !issuer.holds(&Capability::Admit, Some(context)) {
            return Err(TrustRefusal::NotAllowed(*author, "admit nodes".into()));
        }
        let excess = body.capabilities.0.iter().find(|capability| !issuer.holds(capability, Some(context)));
        match excess {
            Some(capability) => Err(TrustRefusal::NotAllowed(*author, format!("grant {}", capability.name()))),
            None => Ok(issuer.rank().0.saturating_add(1)),
        }
    }

    /// Takes a revocation that the author of `dot` wrote, knowing `context` of the Trust space.
    pub fn apply_revocation(
        &mut self,
        dot: Dot,
        revocation: &Revocation,
        context: &Context,
    ) -> Result<(), TrustRefusal> {
        let author = dot.incarnation.node;
        if revocation.reason.len() > 1024 {
            return Err(TrustRefusal::Malformed("reason over 1024 bytes"));
        }
        let issuer = self.members.get(&author).ok_or(TrustRefusal::NotAMember(author))?;
        if issuer.role() != Role::Full || !issuer.holds(&Capability::Revoke, Some(context)) {
            return Err(TrustRefusal::NotAllowed(author, "revoke nodes".into()));
        }
        let issuer_rank = issuer.rank();
        let target = self.members.get_mut(&revocation.node).ok_or(TrustRefusal::NotAMember(revocation.node))?;
        if issuer_rank >= target.rank() {
            return Err(TrustRefusal::Outranked(author));
        }
        target.revocations.insert(dot, revocation.clone());
        Ok(())
    }

    /// Takes a statement; `Ok(true)` when it is news. Statements of nodes that aren't (yet) known are not taken.
    pub fn apply_statement(&mut self, statement: &Statement) -> Result<bool, StatementError> {
        let (author, kind, subject, serial) = statement.head()?;
        let Some(member) = self.members.get(&author) else { return Ok(false) };
        let slot = (author, kind, subject);
        if self.statements.get(&slot).is_some_and(|(known, _)| *known >= serial) {
            return Ok(false);
        }
        let keys: BTreeSet<PublicKey> = member.grants.values().map(|(_, body)| body.keys.log).collect();
        if !keys.iter().any(|key| statement.verify(key, &self.circle).is_ok()) {
            return Err(StatementError::Signature);
        }
        for (space, incarnation, head) in statement.content()?.heads {
            if incarnation.node == subject {
                let sealed = self.seals.entry((space, incarnation)).or_default().entry(author).or_default();
                *sealed = (*sealed).max(head.sequence);
            }
        }
        self.statements.insert(slot, (serial, statement.clone()));
        Ok(true)
    }

    /// All statements, in a fixed order.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.statements.values().map(|(_, statement)| statement)
    }

    /// The seal that `author` last stated about `subject`.
    pub fn stated_seal(&self, author: NodeId, subject: NodeId) -> Option<Seal> {
        let (_, statement) = self.statements.get(&(author, StatementKind::Seal, subject))?;
        statement.content().ok()
    }

    /// The serial of the newest statement in a slot; 0 when there is none.
    pub fn statement_serial(&self, author: NodeId, kind: StatementKind, subject: NodeId) -> u64 {
        self.statements.get(&(author, kind, subject)).map_or(0, |(serial, _)| *serial)
    }

    /// Up to which sequence entries of this log are admitted: all, for an author in good standing; else the
    /// greatest seal among full members in good standing.
    pub fn admitted(&self, space: Space, incarnation: &Incarnation) -> u64 {
        if !self.is_revoked(&incarnation.node) {
            return u64::MAX;
        }
        let counts = |node: &NodeId| self.good(node).is_some_and(|member| member.role() == Role::Full);
        let seals = self.seals.get(&(space, *incarnation));
        seals.into_iter().flatten().filter(|(node, _)| counts(node)).map(|(_, sequence)| *sequence).max().unwrap_or(0)
    }
}
