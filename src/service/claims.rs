//! What operators are told of checksums that other nodes claim falsely.

use artimesh_core::model::NodeId;
use serde_json::{Value, json};

use super::attention::line;
use crate::engine::{Engine, FalseClaim};

/// What is known of claims, as JSON.
pub(super) fn of_claims(engine: &Engine) -> Value {
    let claims = engine.claims();
    let one = |claim: &FalseClaim| {
        json!({
            "repository": repository(engine, claim),
            "path": claim.path.as_str(),
            "node": claim.author.to_string(),
            "name": name(engine, &claim.author),
            "digest": claim.digest.to_string(),
            "sums": claim.sums(),
            "claimed_sha256": claim.claimed.sha256_hex(),
            "computed_sha256": claim.computed.sha256_hex(),
        })
    };
    json!({
        "confirmed_blobs": engine.claims_confirmed(),
        "unreadable_blobs": claims.unreadable,
        "walked_ms": claims.walked.map(|walked| walked.0),
        "false": claims.count,
        "first": claims.first.iter().map(one).collect::<Vec<_>>(),
    })
}

/// A line for each of the first false claims.
pub(super) fn attention(engine: &Engine) -> Vec<Value> {
    const REMEDY: &str = "answers say what was computed here: find out which bytes were meant, and put them again; revoke the \
                          node if it did not err";
    let claims = engine.claims();
    let told = |claim: &FalseClaim| {
        let (author, repository) = (name(engine, &claim.author), repository(engine, claim).unwrap_or_default());
        let message = format!(
            "'{}' of repository '{repository}' was put by '{author}' with another {} than its bytes have",
            claim.path,
            claim.sums().join(", ")
        );
        line("false_checksums", message, REMEDY)
    };
    let mut lines: Vec<Value> = claims.first.iter().map(told).collect();
    let more = claims.count.saturating_sub(claims.first.len() as u64);
    if more > 0 {
        lines.push(line("false_checksums", format!("{more} more artifacts were put with false checksums"), "as above"));
    }
    lines
}

fn repository(engine: &Engine, claim: &FalseClaim) -> Option<String> {
    engine.snapshot().repository_of(&claim.space).map(|repository| repository.key.to_string())
}

/// What a node is called, as far as it is a member still.
fn name(engine: &Engine, node: &NodeId) -> String {
    if engine.identity().node == *node {
        return engine.identity().name.to_string();
    }
    engine.snapshot().members.get(node).map_or_else(|| node.short(), |(name, ..)| name.to_string())
}
