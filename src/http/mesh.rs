//! The circle of trust over HTTP: what the command line talks to.

use std::time::Duration;

use crate::service::Role;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::dates::iso8601;
use super::error::HttpError;
use super::whole::whole;
use crate::service::{CircleMember, PairingWish};

/// How long a revocation may wait for confirmations, in seconds.
const WAIT_S_MAX: u64 = 300;

/// `GET /artifactory/api/mesh/status`
pub async fn status(ask: Ask) -> Result<Answer, HttpError> {
    let status = ask.service().status(&ask.caller).await?;
    answer::json(StatusCode::OK, &status)
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Wish {
    role: String,
    #[serde(default, rename = "for")]
    repositories: Vec<String>,
    #[serde(default = "five_minutes", deserialize_with = "whole")]
    ttl_s: u64,
    #[serde(default)]
    can: Vec<String>,
    #[serde(default)]
    readmit: Option<String>,
}

fn five_minutes() -> u64 {
    300
}

impl Wish {
    fn checked(self) -> Result<PairingWish, HttpError> {
        let role = match self.role.as_str() {
            "full" => Role::Full,
            "edge" => Role::Edge,
            _ => return Err(HttpError::Field { field: "role", reason: "use 'full' or 'edge'".into() }),
        };
        let keys: Result<_, _> = self.repositories.iter().map(|key| key.parse()).collect();
        Ok(PairingWish { role, repositories: keys?, can: self.can, ttl_s: self.ttl_s, readmit: self.readmit })
    }
}

/// `POST /artifactory/api/mesh/pairing`
pub async fn create_pairing(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Wish>().await?.checked()?;
    let issued = site.service.create_pairing(&caller, wish).await?;
    let document = json!({
        "pairing_token": issued.line,
        "token_id": issued.id.to_string(),
        "expires_at": iso8601(issued.expires_at),
    });
    let mut answer = answer::json(StatusCode::OK, &document)?;
    // The token is a secret: no cache may keep it.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    pairing_token: String,
}

/// `POST /artifactory/api/mesh/pairing/accept`
pub async fn accept_pairing(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let held = body.json::<Held>().await?;
    let joined = site.service.accept_pairing(&caller, &held.pairing_token).await?;
    let document = json!({
        "circle": joined.circle.to_string(),
        "role": joined.role.name(),
        "issuer": {"node": joined.issuer.to_string(), "name": joined.issuer_name},
    });
    answer::json(StatusCode::OK, &document)
}

/// `GET /artifactory/api/mesh/trust`
pub async fn trust(ask: Ask) -> Result<Answer, HttpError> {
    let circle = ask.service().circle(&ask.caller).await?;
    let document = json!({
        "circle": circle.circle.map(|id| id.to_string()),
        "root": circle.root.map(|key| key.to_string()),
        "members": circle.members.iter().map(member).collect::<Vec<_>>(),
    });
    answer::json(StatusCode::OK, &document)
}

fn member(member: &CircleMember) -> Value {
    json!({
        "node": member.node.to_string(),
        "name": member.name,
        "role": member.role.name(),
        "state": member.state,
        "capabilities": member.capabilities,
        "granted_by": member.granted_by.map(|node| node.to_string()),
        "connected": matches!(member.state, "self" | "connected"),
    })
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Revoke {
    node: String,
    #[serde(default)]
    reason: String,
    #[serde(default, deserialize_with = "whole")]
    wait_s: u64,
}

/// `POST /artifactory/api/mesh/trust/revoke`
pub async fn revoke(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Revoke>().await?;
    if wish.wait_s > WAIT_S_MAX {
        return Err(HttpError::Field { field: "wait_s", reason: format!("wait at most {WAIT_S_MAX} seconds") });
    }
    let wait = Duration::from_secs(wish.wait_s);
    let revoked = site.service.revoke(&caller, &wish.node, &wish.reason, wait).await?;
    let document = json!({
        "node": revoked.node.to_string(),
        "acknowledged": revoked.acknowledged,
        "pending": revoked.pending,
    });
    answer::json(StatusCode::OK, &document)
}

#[cfg(test)]
mod tests {
    use artimesh_core::model::NodeId;

    use super::*;

    fn wish(text: &str) -> Result<PairingWish, HttpError> {
        serde_json::from_str::<Wish>(text)?.checked()
    }

    #[test]
    fn a_wish_for_a_token_is_read_with_its_defaults() {
        let full = wish(r#"{"role":"full"}"#).expect("well formed");
        assert_eq!((full.role, full.ttl_s, full.repositories.len(), full.can.len()), (Role::Full, 300, 0, 0));
        let edge = wish(r#"{"role":"edge","for":["libs"],"ttl_s":60,"can":["admit"]}"#).expect("well formed");
        assert_eq!((edge.role, edge.ttl_s, edge.can), (Role::Edge, 60, vec!["admit".to_owned()]));
        for bad in
            [r#"{"role":"king"}"#, "{}", r#"{"role":"full","for":["a/b"]}"#, r#"{"role":"full","tll_s":1}"#, "[]"]
        {
            assert!(wish(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_member_reads_as_the_command_line_expects() {
        let shown = member(&CircleMember {
            node: NodeId([0xab; 32]),
            name: "berlin".parse().expect("a name"),
            role: Role::Edge,
            state: "connected",
            capabilities: vec!["follow:*".into()],
            granted_by: None,
        });
        let expected = json!({"node": "ab".repeat(32), "name": "berlin", "role": "edge", "state": "connected",
            "capabilities": ["follow:*"], "granted_by": null, "connected": true});
        assert_eq!(shown, expected);
    }
}
