//! What a grant allows. Each capability travels in an envelope, so that a later one can pass through older nodes.

use serde::{Deserialize, Serialize};

use crate::model::codec::{self, DecodeError};
use crate::model::{Envelope, FederationId};

/// One right over the circle or over a federation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Capability {
    /// Admit nodes by pairing.
    Admit,
    /// Revoke nodes of lower rank.
    Revoke,
    /// Keep accounts.
    Accounts,
    /// Issue access tokens that edges and members accept.
    IssueTokens,
    /// Sign release bundles whose names match the pattern.
    SignBundles(String),
    /// Found federations.
    Found,
    /// Author artifacts and configuration in one federation, or (`None`) in any that invited the node.
    Write(Option<FederationId>),
    /// Follow one federation, or (`None`) every one, without ever authoring.
    Follow(Option<FederationId>),
    /// One that this version doesn't know: kept, passed on, and good for nothing here.
    Unknown(Envelope),
}

impl Capability {
    fn to_envelope(&self) -> Envelope {
        let plain = |kind| Envelope { kind, body: Vec::new() };
        match self {
            Capability::Admit => plain(1),
            Capability::Revoke => plain(2),
            Capability::Accounts => plain(3),
            Capability::IssueTokens => plain(4),
            Capability::SignBundles(pattern) => Envelope { kind: 5, body: codec::encode(pattern) },
            Capability::Found => plain(6),
            Capability::Write(federation) => Envelope { kind: 7, body: codec::encode(federation) },
            Capability::Follow(federation) => Envelope { kind: 8, body: codec::encode(federation) },
            Capability::Unknown(envelope) => envelope.clone(),
        }
    }

    fn from_envelope(envelope: Envelope) -> Result<Capability, DecodeError> {
        Ok(match envelope.kind {
            1 => Capability::Admit,
            2 => Capability::Revoke,
            3 => Capability::Accounts,
            4 => Capability::IssueTokens,
            5 => Capability::SignBundles(codec::decode(&envelope.body)?),
            6 => Capability::Found,
            7 => Capability::Write(codec::decode(&envelope.body)?),
            8 => Capability::Follow(codec::decode(&envelope.body)?),
            _ => Capability::Unknown(envelope),
        })
    }

    /// The name that operators type and read; scoped ones carry the federation's short id.
    pub fn name(&self) -> String {
        let scope = |federation: &Option<FederationId>| federation.map_or("*".to_owned(), |id| id.short());
        match self {
            Capability::Admit => "admit".into(),
            Capability::Revoke => "revoke".into(),
            Capability::Accounts => "accounts".into(),
            Capability::IssueTokens => "issue-tokens".into(),
            Capability::SignBundles(pattern) => format!("sign-bundles:{pattern}"),
            Capability::Found => "found".into(),
            Capability::Write(federation) => format!("write:{}", scope(federation)),
            Capability::Follow(federation) => format!("follow:{}", scope(federation)),
            Capability::Unknown(envelope) => format!("unknown:{}", envelope.kind),
        }
    }

    /// Whether holding `self` is enough to hand out `other`.
    fn includes(&self, other: &Capability) -> bool {
        match (self, other) {
            (Capability::Write(None), Capability::Write(_) | Capability::Follow(_)) => true,
            (Capability::Write(mine), Capability::Follow(theirs)) => mine == theirs,
            (Capability::Follow(None), Capability::Follow(_)) => true,
            (Capability::SignBundles(mine), Capability::SignBundles(_)) if mine == "*" => true,
            _ => self == other,
        }
    }
}

/// The capabilities of one grant, at most 256.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Envelope>", into = "Vec<Envelope>")]
pub struct Capabilities(pub Vec<Capability>);

impl Capabilities {
    /// What a circle's first node gets from the root: everything.
    pub fn all() -> Capabilities {
        Capabilities(vec![
            Capability::Admit,
            Capability::Revoke,
            Capability::Accounts,
            Capability::IssueTokens,
            Capability::SignBundles("*".into()),
            Capability::Found,
            Capability::Write(None),
            Capability::Follow(None),
        ])
    }

    /// Whether every one of `wanted` may be handed out by a holder of `self`.
    pub fn include_all(&self, wanted: &Capabilities) -> bool {
        wanted.0.iter().all(|other| self.0.iter().any(|mine| mine.includes(other)))
    }

    /// Whether one of them includes `capability`.
    pub fn include(&self, capability: &Capability) -> bool {
        self.0.iter().any(|mine| mine.includes(capability))
    }
}

impl TryFrom<Vec<Envelope>> for Capabilities {
    type Error = String;

    fn try_from(envelopes: Vec<Envelope>) -> Result<Self, String> {
        if envelopes.len() > 256 {
            return Err("more than 256 capabilities".into());
        }
        let parsed: Result<Vec<_>, _> = envelopes.into_iter().map(Capability::from_envelope).collect();
        parsed.map(Capabilities).map_err(|error| error.to_string())
    }
}

impl From<Capabilities> for Vec<Envelope> {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.0.iter().map(Capability::to_envelope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_hands_out_more_than_they_hold() {
        let one = FederationId([1; 32]);
        let holder = Capabilities(vec![Capability::Write(Some(one)), Capability::Admit]);
        assert!(holder.include(&Capability::Follow(Some(one))));
        assert!(!holder.include(&Capability::Write(None)));
        assert!(!holder.include(&Capability::Revoke));
        assert!(Capabilities::all().include_all(&holder));
    }

    #[test]
    fn an_unknown_capability_passes_through_and_grants_nothing() {
        let unknown = Envelope { kind: 900, body: vec![1, 2, 3] };
        let bytes = codec::encode(&vec![unknown]);
        let read: Capabilities = codec::decode(&bytes).expect("well formed");
        assert_eq!(codec::encode(&read), bytes);
        assert!(!read.include(&Capability::Admit));
    }
}
