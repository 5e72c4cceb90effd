//! This node's clock among the others', as operators read it.

use artimesh_core::clock::AHEAD_MS_MAX;
use artimesh_core::replica::{ClockReport, Replica};
use serde_json::{Value, json};

/// The part of the status about clocks.
pub(super) fn of(replica: &Replica) -> Value {
    let ClockReport { ahead_ms, stopped_since, peers } = replica.clock();
    let name =
        |node| replica.trust().and_then(|trust| trust.member(node)).map(|member| member.grant().name.to_string());
    let peers: Vec<Value> = peers
        .iter()
        .map(|(node, offset)| {
            json!({
                "node": node.to_string(),
                "name": name(node),
                "ahead_of_us_ms": offset.ms,
                "round_trip_ms": offset.round_trip_ms,
            })
        })
        .collect();
    json!({
        "ahead_ms": ahead_ms,
        "ahead_ms_max": AHEAD_MS_MAX,
        "takes_writes": stopped_since.is_none(),
        "stopped_since": stopped_since,
        "peers": peers,
    })
}
