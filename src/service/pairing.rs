//! The circle: pairing, members, revocation.

use std::time::Duration;

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, Dot, FederationId, NodeId, NodeName, PublicKey, RepoKey, Space, TokenId};
use artimesh_core::replica::{Command, CommandError, Replica};
use artimesh_core::trust::{Capabilities, Capability, PairingToken, Role, Standing, TrustRefusal};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::engine::JoinError;

/// How often it is looked whether members have confirmed a revocation.
const CONFIRM_POLL: Duration = Duration::from_millis(50);

/// What a new token should open.
#[derive(Clone, Debug)]
pub struct PairingWish {
    /// Full member or edge.
    pub role: Role,
    /// Only these repositories' federations; empty for all.
    pub repositories: Vec<RepoKey>,
    /// Extra capabilities by name: `admit`, `revoke`, `accounts`, `issue-tokens`.
    pub can: Vec<String>,
    /// How long the token holds, in seconds; 1 to 86,400.
    pub ttl_s: u64,
    /// The revoked node, by name or id, that it brings back: for that one only.
    pub readmit: Option<String>,
}

/// A token, to be shown once.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The one line.
    pub line: String,
    /// Its id.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What was joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The circle.
    pub circle: CircleId,
    /// As what.
    pub role: Role,
    /// Who admitted this node.
    pub issuer: NodeId,
    /// Its name.
    pub issuer_name: NodeName,
}

/// One node of the circle as seen from here.
#[derive(Clone, Debug)]
pub struct CircleMember {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Full or edge.
    pub role: Role,
    /// `self`, `connected`, `unreachable` or `revoked`.
    pub state: &'static str,
    /// Names of its capabilities.
    pub capabilities: Vec<String>,
    /// Who admitted it; `None` for the root.
    pub granted_by: Option<NodeId>,
}

/// The circle as seen from here.
#[derive(Clone, Debug)]
pub struct CircleView {
    /// Its id; `None` when this node is in none.
    pub circle: Option<CircleId>,
    /// Its root key.
    pub root: Option<PublicKey>,
    /// Every node ever granted.
    pub members: Vec<CircleMember>,
}

/// A revocation and who has heard of it.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Whose.
    pub node: NodeId,
    /// Members that confirmed that they applied it.
    pub acknowledged: Vec<NodeName>,
    /// Members that didn't within the time asked for.
    pub pending: Vec<NodeName>,
}

impl Service {
    /// Makes a signed single-use token.
    pub async fn create_pairing(&self, caller: &Caller, wish: PairingWish) -> Result<Issued, ServiceError> {
        self.administer(caller)?;
        if !(1..=86_400).contains(&wish.ttl_s) {
            let reason = format!("{} is not between 1 and 86400", wish.ttl_s);
            return Err(ServiceError::BadField { field: "ttl_s", reason });
        }
        let capabilities = self.capabilities_of(caller, &wish)?;
        let root = self.engine().inspect(may_admit(capabilities.clone())).await??;
        let readmits = match wish.readmit {
            Some(text) => Some(self.engine().inspect(move |replica, _| revoked_named(replica, &text)).await??),
            None => None,
        };
        let engine = self.engine();
        let identity = engine.identity();
        let circle = self.snapshot().circle.ok_or(CommandError::NoCircle)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        let expires_at = Timestamp(engine.clock().now().0 + wish.ttl_s * 1000);
        let token = PairingToken {
            id: TokenId(id),
            circle,
            root,
            issuer: identity.node,
            issuer_name: identity.name.clone(),
            issuer_keys: identity.keys,
            addresses: engine.addresses(),
            role: wish.role,
            capabilities,
            expires_at,
            readmits,
        };
        let line = token.to_line(engine.pairing_key());
        self.audit().record(caller, "create pairing token", &token.id.to_string(), "done");
        Ok(Issued { line, id: token.id, expires_at })
    }

    fn capabilities_of(&self, caller: &Caller, wish: &PairingWish) -> Result<Capabilities, ServiceError> {
        let mut scopes: Vec<Option<FederationId>> = Vec::new();
        for key in &wish.repositories {
            let Space::Federation(id) = self.readable(caller, key)?.space else { continue };
            scopes.push(Some(id));
        }
        if scopes.is_empty() {
            scopes.push(None);
        }
        let mut capabilities: Vec<Capability> = scopes.iter().map(|scope| Capability::Follow(*scope)).collect();
        if wish.role == Role::Full {
            capabilities.extend(scopes.iter().map(|scope| Capability::Write(*scope)));
            if wish.repositories.is_empty() {
                capabilities.push(Capability::Found);
            }
        }
        for name in &wish.can {
            let bad = |reason: String| ServiceError::BadField { field: "can", reason };
            if wish.role == Role::Edge {
                return Err(bad("an edge can have no capability over the circle".into()));
            }
            capabilities.push(match name.as_str() {
                "admit" => Capability::Admit,
                "revoke" => Capability::Revoke,
                "accounts" => Capability::Accounts,
                "issue-tokens" => Capability::IssueTokens,
                other => return Err(bad(format!("'{other}' is not one of admit, revoke, accounts, issue-tokens"))),
            });
        }
        Ok(Capabilities(capabilities))
    }

    /// Joins the circle of a token; returns once this node is a member.
    pub async fn accept_pairing(&self, caller: &Caller, line: &str) -> Result<Joined, ServiceError> {
        self.administer(caller)?;
        let result = self.engine().join(line).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        self.audit().record(caller, "accept pairing", "token", &outcome);
        let token = result.map_err(|error| match error {
            JoinError::Token(error) => ServiceError::Token(error),
            JoinError::Refused(reason) => ServiceError::PairingRefused(reason),
            JoinError::Command(failure) => failure.into(),
            JoinError::Swarm(_) | JoinError::Answer | JoinError::NotYet => ServiceError::Pairing(error.to_string()),
        })?;
        let PairingToken { circle, role, issuer, issuer_name, .. } = token;
        Ok(Joined { circle, role, issuer, issuer_name })
    }

    /// The circle as seen from here.
    pub async fn circle(&self, caller: &Caller) -> Result<CircleView, ServiceError> {
        self.administer(caller)?;
        Ok(self.engine().inspect(|replica, _| circle_of(replica)).await?)
    }

    /// Ends a node's membership. Connected members are told at once; waits up to `wait` for them to confirm.
    pub async fn revoke(
        &self,
        caller: &Caller,
        node: &str,
        reason: &str,
        wait: Duration,
    ) -> Result<Revoked, ServiceError> {
        self.administer(caller)?;
        let target = self.node_named(node)?;
        let command = Command::Revoke(target, reason.to_owned());
        let dot = self.done(caller, "revoke", &target.to_string(), command, None).await?.dot;
        let deadline = Instant::now() + wait;
        loop {
            let confirmed = move |replica: &Replica, _: &_| confirmations(replica, &dot);
            let (acknowledged, pending) = self.engine().inspect(confirmed).await?;
            if pending.is_empty() || Instant::now() >= deadline {
                return Ok(Revoked { node: target, acknowledged, pending });
            }
            sleep(CONFIRM_POLL).await;
        }
    }
}

fn may_admit<V>(wanted: Capabilities) -> impl FnOnce(&Replica, &V) -> Result<PublicKey, ServiceError> {
    move |replica, _| {
        let trust = replica.trust().ok_or(CommandError::NoCircle)?;
        let me = replica.identity().node;
        let member = trust.good(&me).ok_or(CommandError::NotGranted)?;
        if member.role() == Role::Edge {
            return Err(ServiceError::Edge);
        }
        let mut needed = std::iter::once(&Capability::Admit).chain(&wanted.0);
        match needed.find(|capability| !trust.holds(&me, capability, None)) {
            Some(capability) => {
                let refusal = TrustRefusal::NotAllowed(me, format!("grant {}", capability.name()));
                Err(CommandError::Trust(refusal).into())
            }
            None => Ok(trust.root().ok_or(CommandError::NotGranted)?),
        }
    }
}

/// The one revoked node that `text` names, by name or id.
fn revoked_named(replica: &Replica, text: &str) -> Result<NodeId, ServiceError> {
    let revoked = replica.trust().into_iter().flat_map(|trust| trust.members());
    let revoked = revoked.filter(|(_, member)| member.standing() == Standing::Revoked);
    let mut named = revoked
        .filter(|(node, member)| member.grant().name.as_str() == text || node.to_string() == text)
        .map(|(node, _)| *node);
    match (named.next(), named.next()) {
        (Some(node), None) => Ok(node),
        _ => {
            let name: String = text.chars().take(80).collect();
            Err(ServiceError::Absent(format!("no single revoked node is called '{name}'")))
        }
    }
}

fn circle_of(replica: &Replica) -> CircleView {
    let members = replica.trust().into_iter().flat_map(|trust| trust.members()).map(|(node, member)| {
        let grant = member.grant();
        let issuer = member.granted_by().incarnation.node;
        CircleMember {
            node: *node,
            name: grant.name.clone(),
            role: grant.role,
            state: state_of(replica, node, member.standing()),
            capabilities: grant.capabilities.0.iter().map(Capability::name).collect(),
            granted_by: (issuer != *node).then_some(issuer),
        }
    });
    CircleView { circle: replica.circle(), root: replica.root(), members: members.collect() }
}

/// How a node stands, as operators read it.
pub(super) fn state_of(replica: &Replica, node: &NodeId, standing: Standing) -> &'static str {
    match standing {
        Standing::Revoked => "revoked",
        Standing::Good if *node == replica.identity().node => "self",
        Standing::Good if replica.peers().get(node).is_some_and(|peer| peer.connected) => "connected",
        Standing::Good => "unreachable",
    }
}

/// Who of the members in good standing has told that it applied the entry, and who hasn't.
fn confirmations(replica: &Replica, dot: &Dot) -> (Vec<NodeName>, Vec<NodeName>) {
    let Some(trust) = replica.trust() else { return Default::default() };
    let me = replica.identity().node;
    let (mut acknowledged, mut pending) = (Vec::new(), Vec::new());
    for (node, member) in trust.members().filter(|(node, _)| **node != me && trust.good(node).is_some()) {
        let told = replica.peers().get(node).and_then(|peer| peer.heads.get(&Space::Trust));
        let list = if told.is_some_and(|heads| heads.cover(dot)) { &mut acknowledged } else { &mut pending };
        list.push(member.grant().name.clone());
    }
    (acknowledged, pending)
}
