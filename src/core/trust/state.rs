//! The state of the circle as a fold over the set of applied Trust entries and known seals.
//!
//! Every question about a past entry (who might write it, who ranks above whom) is answered from the grants that the
//! entry's own context covers, never from those that happen to be here: so all nodes answer alike.

use std::collections::{BTreeMap, BTreeSet};

use super::capability::Capability;
use super::grant::{Grant, GrantBody, Revocation, Role, Root};
use super::statement::{Seal, Statement, StatementError, StatementKind};

use crate::model::{CircleId, Context, Dot, Incarnation, NodeId, NodeName, PublicKey, Space, TokenId};

/// The most logs that one seal names.
const SEAL_HEADS_MAX: usize = 4096;

/// Distance from the root, then the grant's own dot: the lower ranks above the higher.
type Rank = (u32, Dot);

/// One grant as it was applied. Everything but `void` follows from the entry and what its author knew.
#[derive(Clone, Debug)]
struct Held {
    /// The issuer's distance from the root plus one; 0 when the root granted it.
    distance: u32,
    /// One more than that of the grants of this node that the issuer knew: later grants replace earlier ones,
    /// whatever their dots.
    generation: u32,
    /// Its token was consumed for another node by an entry with a lesser dot.
    void: bool,
    body: GrantBody,
}

/// One node as the circle knows it.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Every grant it ever got, by the grant's dot.
    grants: BTreeMap<Dot, Held>,
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
    fn current(&self) -> (&Dot, &Held) {
        let newest = self.grants.iter().max_by_key(|(dot, held)| (!held.void, held.generation, **dot));
        newest.expect("a member has a grant")
    }

    /// The newest grant: what counts for name, role, keys and addresses.
    pub fn grant(&self) -> &GrantBody {
        &self.current().1.body
    }

    /// The node's role.
    pub fn role(&self) -> Role {
        self.grant().role
    }

    /// Whether it is revoked. A node whose every grant is void counts as revoked too: what it wrote meanwhile is
    /// admitted up to the seals, so that members that had applied different amounts of it still agree.
    pub fn standing(&self) -> Standing {
        let lifted: BTreeSet<&Dot> = self.grants.values().flat_map(|held| &held.body.overrides).collect();
        let revoked = self.revocations.keys().any(|dot| !lifted.contains(dot));
        if revoked || self.grants.values().all(|held| held.void) { Standing::Revoked } else { Standing::Good }
    }

    /// The revocations in force, for those who grant anew.
    pub fn revocations(&self) -> impl Iterator<Item = (&Dot, &Revocation)> {
        self.revocations.iter()
    }

    /// The dot of the grant that the node has now.
    pub fn granted_by(&self) -> Dot {
        *self.current().0
    }

    /// Whether it could author once and can't any more: its entries are admitted up to the seals only.
    fn is_sealed(&self) -> bool {
        let may_author = self.standing() == Standing::Good && self.role() == Role::Full;
        !may_author && self.grants.values().any(|held| held.body.role == Role::Full)
    }

    /// Its rank by the grants that `needs` covers.
    fn rank(&self, needs: &Context) -> Option<Rank> {
        let known = self.grants.iter().filter(|(dot, _)| needs.cover(dot));
        known.map(|(dot, held)| (held.distance, *dot)).min()
    }

    /// Whether a grant that `needs` covers (all grants, when `None`) includes `capability`.
    fn holds(&self, capability: &Capability, needs: Option<&Context>) -> bool {
        let known = |dot: &Dot| needs.is_none_or(|needs| needs.cover(dot));
        self.grants.iter().any(|(dot, held)| known(dot) && held.body.capabilities.include(capability))
    }

    /// Whether a grant as full member that `needs` covers (all such grants, when `None`) includes `capability`.
    fn may_author(&self, capability: &Capability, needs: Option<&Context>) -> bool {
        let counts =
            |dot: &Dot, held: &Held| held.body.role == Role::Full && needs.is_none_or(|needs| needs.cover(dot));
        self.grants.iter().any(|(dot, held)| counts(dot, held) && held.body.capabilities.include(capability))
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
#[derive(Clone, Debug)]
pub struct State {
    circle: CircleId,
    root: Option<PublicKey>,
    members: BTreeMap<NodeId, Member>,
    used_tokens: BTreeMap<TokenId, (Dot, NodeId)>,
    statements: BTreeMap<(NodeId, StatementKind, NodeId), (u64, Statement)>,
    seals: BTreeMap<(Space, Incarnation), BTreeMap<NodeId, u64>>,
    /// What each node last said that its version knows: follows from the statements.
    features: BTreeMap<NodeId, u64>,
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
            features: BTreeMap::new(),
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

    /// Whether `node` holds `capability` as a full member by a grant that `needs` covers.
    ///
    /// Law: the answer for given `needs` is the same at every node that has applied them, whatever else it has applied.
    /// That a grant has ended since is [`State::admitted`]'s business.
    pub fn holds(&self, node: &NodeId, capability: &Capability, needs: Option<&Context>) -> bool {
        self.members.get(node).is_some_and(|member| member.may_author(capability, needs))
    }

    /// The nodes whose entries are admitted up to the seals only: revoked ones, and full members that became edges.
    pub fn sealed_nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.members.iter().filter(|(_, member)| member.is_sealed()).map(|(node, _)| node)
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
        if known.any(|(_, held)| held.body.keys.log == *key) { Ok(()) } else { Err(TrustRefusal::WrongKey(*node)) }
    }

    /// Whether `key` is a log key of `node`, or may be one because `node` isn't known yet.
    pub fn may_be_key(&self, node: &NodeId, key: &PublicKey) -> bool {
        let known = self.members.get(node);
        known.is_none_or(|member| member.grants.values().any(|held| held.body.keys.log == *key))
    }

    /// Takes a root entry.
    pub fn apply_root(&mut self, root: &Root) -> Result<(), TrustRefusal> {
        if CircleId::of(&root.key) != self.circle {
            return Err(TrustRefusal::WrongRoot);
        }
        self.root = Some(root.key);
        Ok(())
    }

    /// Takes a grant that the author of `dot` wrote, knowing `context` of the Trust space.
    pub fn apply_grant(&mut self, dot: Dot, grant: &Grant, context: &Context) -> Result<(), TrustRefusal> {
        let author = dot.incarnation.node;
        let body = grant.read().map_err(|_| TrustRefusal::Malformed("grant"))?;
        let bounded = body.addresses.are_bounded() && body.overrides.len() <= 256;
        if !bounded {
            return Err(TrustRefusal::Malformed("grant out of bounds"));
        }
        let known = self.members.get(&body.node).map(|member| &member.grants);
        let generation = known.into_iter().flatten().filter(|(dot, _)| context.cover(dot));
        let generation = generation.map(|(_, held)| held.generation.saturating_add(1)).max().unwrap_or(0);
        if generation == 0 && NodeId::of(&body.keys.log) != body.node {
            return Err(TrustRefusal::Malformed("node id is not the hash of its first key"));
        }
        let root = self.root.ok_or(TrustRefusal::WrongRoot)?;
        let by_root = grant.verify_root(&root, &self.circle).map_err(|_| TrustRefusal::WrongRoot)?;
        let distance = if by_root {
            self.check_bearer(&dot, &body, context)?
        } else {
            self.check_issuer(&author, &body, context)?
        };
        let void = body.token.is_some_and(|token| self.consume(token, dot, body.node));
        let member = self.members.entry(body.node).or_default();
        member.grants.insert(dot, Held { distance, generation, void, body });
        Ok(())
    }

    /// Notes that the grant `dot` consumes `token` for `node`; says whether that grant is void. Only the consumption with
    /// the least dot counts, whichever arrived first.
    fn consume(&mut self, token: TokenId, dot: Dot, node: NodeId) -> bool {
        let first = self.used_tokens.entry(token).or_insert((dot, node));
        if first.0 < dot {
            return first.1 != node;
        }
        *first = (dot, node);
        for (other, member) in &mut self.members {
            let consumed = member.grants.values_mut().filter(|held| held.body.token == Some(token));
            consumed.for_each(|held| held.void = *other != node);
        }
        false
    }

    /// The root's grants are carried by full members, or by the very node that they admit (a founding).
    fn check_bearer(&self, dot: &Dot, body: &GrantBody, context: &Context) -> Result<u32, TrustRefusal> {
        let author = dot.incarnation.node;
        let is_full = self.members.get(&author).is_some_and(|member| {
            member.grants.iter().any(|(dot, held)| context.cover(dot) && held.body.role == Role::Full)
        });
        if is_full || body.node == author { Ok(0) } else { Err(TrustRefusal::NotAllowed(author, "admit nodes".into())) }
    }

    fn check_issuer(&self, author: &NodeId, body: &GrantBody, context: &Context) -> Result<u32, TrustRefusal> {
        let issuer = self.members.get(author).ok_or(TrustRefusal::NotAMember(*author))?;
        if !issuer.may_author(&Capability::Admit, Some(context)) {
            return Err(TrustRefusal::NotAllowed(*author, "admit nodes".into()));
        }
        let excess = body.capabilities.0.iter().find(|capability| !issuer.may_author(capability, Some(context)));
        if let Some(capability) = excess {
            return Err(TrustRefusal::NotAllowed(*author, format!("grant {}", capability.name())));
        }
        let (distance, _) = issuer.rank(context).ok_or(TrustRefusal::NotAMember(*author))?;
        Ok(distance.saturating_add(1))
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
        if !issuer.may_author(&Capability::Revoke, Some(context)) {
            return Err(TrustRefusal::NotAllowed(author, "revoke nodes".into()));
        }
        let issuer_rank = issuer.rank(context).ok_or(TrustRefusal::NotAMember(author))?;
        let target = self.members.get_mut(&revocation.node).ok_or(TrustRefusal::NotAMember(revocation.node))?;
        let target_rank = target.rank(context).ok_or(TrustRefusal::NotAMember(revocation.node))?;
        if issuer_rank >= target_rank {
            return Err(TrustRefusal::Outranked(author));
        }
        target.revocations.insert(dot, revocation.clone());
        Ok(())
    }

    /// Takes a statement; `Ok(true)` when it is news. Statements of nodes that aren't (yet) known are not taken.
    pub fn apply_statement(&mut self, statement: &Statement) -> Result<bool, StatementError> {
        let (author, kind, subject, serial) = statement.head()?;
        let Some(member) = self.members.get(&author) else { return Ok(false) };
        if !self.members.contains_key(&subject) {
            return Ok(false);
        }
        let slot = (author, kind, subject);
        // Equal serials come from an author that was restored from a backup: the greater one counts everywhere, and an
        // author that finds a word of its own which isn't true any more states the next.
        let known = self.statements.get(&slot).map(|(known, statement)| (*known, statement));
        if known.is_some_and(|known| known >= (serial, statement)) {
            return Ok(false);
        }
        let keys: BTreeSet<PublicKey> = member.grants.values().map(|held| held.body.keys.log).collect();
        if !keys.iter().any(|key| statement.verify(key, &self.circle).is_ok()) {
            return Err(StatementError::Signature);
        }
        match kind {
            StatementKind::Seal => self.take_seal(&slot, statement.content()?)?,
            StatementKind::Features if author != subject => return Err(StatementError::Misplaced),
            StatementKind::Features => {
                self.features.insert(author, statement.stated_features()?);
            }
        }
        self.statements.insert(slot, (serial, statement.clone()));
        Ok(true)
    }

    fn take_seal(&mut self, slot: &(NodeId, StatementKind, NodeId), seal: Seal) -> Result<(), StatementError> {
        if seal.heads.len() > SEAL_HEADS_MAX {
            return Err(StatementError::TooLarge);
        }
        self.forget_seals(slot);
        let (author, _, subject) = *slot;
        for (space, incarnation, head) in seal.heads.into_iter().filter(|(_, i, _)| i.node == subject) {
            self.seals.entry((space, incarnation)).or_default().insert(author, head.sequence);
        }
        Ok(())
    }

    /// What `node` last said that its version knows; nothing, before it said so.
    pub fn features_of(&self, node: &NodeId) -> Option<u64> {
        self.features.get(node).copied()
    }

    /// What an author stated before counts no more: the seals follow from the statements that are kept.
    fn forget_seals(&mut self, slot: &(NodeId, StatementKind, NodeId)) {
        let Some(Ok(seal)) = self.statements.get(slot).map(|(_, statement)| statement.content()) else { return };
        for (space, incarnation, _) in seal.heads {
            if let Some(seals) = self.seals.get_mut(&(space, incarnation)) {
                seals.remove(&slot.0);
                if seals.is_empty() {
                    self.seals.remove(&(space, incarnation));
                }
            }
        }
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

    /// Up to which sequence entries of this log are admitted: all, for a full member in good standing; else the
    /// greatest seal among full members in good standing.
    pub fn admitted(&self, space: Space, incarnation: &Incarnation) -> u64 {
        if !self.member(&incarnation.node).is_some_and(Member::is_sealed) {
            return u64::MAX;
        }
        self.sealed_at(space, incarnation)
    }

    /// The greatest seal of this log among full members in good standing, its author apart; 0 when there is none.
    pub fn sealed_at(&self, space: Space, incarnation: &Incarnation) -> u64 {
        let counts = |node: &NodeId| {
            *node != incarnation.node && self.good(node).is_some_and(|member| member.role() == Role::Full)
        };
        let seals = self.seals.get(&(space, *incarnation));
        seals.into_iter().flatten().filter(|(node, _)| counts(node)).map(|(_, sequence)| *sequence).max().unwrap_or(0)
    }
}
