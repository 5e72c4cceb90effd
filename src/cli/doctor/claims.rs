//! Whether the checksums that other nodes claim are those of their bytes, as the running node knows.

use serde_json::Value;

use super::check::Check;
use crate::cli::output::{field, items};

/// So many are named.
const NAMED_MAX: usize = 5;

/// Of the status of the node that runs; an older one says nothing of it.
pub(super) fn checks(status: &Value) -> Option<Check> {
    let name = "claimed checksums";
    let claims = &status["claims"];
    let count = claims["false"].as_u64()?;
    if count == 0 {
        let detail = format!("{} were confirmed since the start, none is false", field(claims, "confirmed_blobs"));
        return Some(Check::ok(name, detail));
    }
    let named = items(claims, "first").iter().take(NAMED_MAX).map(|claim| {
        let sums: Vec<&str> = items(claim, "sums").iter().filter_map(Value::as_str).collect();
        let (repository, path, author) = (field(claim, "repository"), field(claim, "path"), field(claim, "name"));
        format!("{} of {repository}/{path} as '{author}' put it", sums.join(", "))
    });
    let named: Vec<String> = named.collect();
    let more = if count > named.len() as u64 { ", and others" } else { "" };
    let detail = format!("{count} artifacts have other sums than was claimed: {}{more}", named.join("; "));
    let remedy = "find out which bytes were meant, and put them again; revoke the node if it did not err";
    Some(Check::warn(name, detail, remedy))
}
