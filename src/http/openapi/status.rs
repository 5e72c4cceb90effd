//! The schema of a node's status, part by part.

use serde_json::{Value, json};

use super::operation::Schemas;
use super::shapes::{count, difference, hex, key, list, map, named, node, object, or_null, path, text, truth, word};

/// The status and its parts.
pub fn schemas() -> Schemas {
    vec![
        ("Status", status()),
        ("StatusAttention", attention()),
        ("StatusNode", of_node()),
        ("StatusClock", clock()),
        ("StatusMember", member()),
        ("StatusRepository", repository()),
        ("StatusRepositoryMember", repository_member()),
        ("StatusTrust", trust()),
        ("StatusCache", cache()),
        ("StatusStore", store()),
        ("StatusClaims", claims()),
        ("StatusLatencies", latencies()),
    ]
}

fn status() -> Value {
    object([
        ("attention", list(named("StatusAttention"))),
        ("node", named("StatusNode")),
        ("clock", named("StatusClock")),
        ("members", list(named("StatusMember"))),
        ("repositories", list(named("StatusRepository"))),
        ("trust", named("StatusTrust")),
        ("parked_segments", count()),
        ("http", object([("address", text())])),
        ("swarm", object([("control", json!({})), ("bulk", json!({}))])),
        ("cache", or_null(named("StatusCache"))),
        ("store", named("StatusStore")),
        ("claims", named("StatusClaims")),
        ("syncs", map(named("StatusLatencies"))),
        ("audit", object([("recorded", count()), ("lost", count())])),
    ])
}

fn attention() -> Value {
    object([("code", text()), ("message", text()), ("remedy", text())])
}

fn role() -> Value {
    word(&["full", "edge"])
}

fn state() -> Value {
    word(&["self", "connected", "unreachable", "revoked"])
}

/// How much each author's log has of a space.
fn heads() -> Value {
    map(count())
}

fn of_node() -> Value {
    object([
        ("id", node()),
        ("name", text()),
        ("version", text()),
        ("incarnation", hex(16)),
        ("role", or_null(role())),
        ("circle", or_null(text())),
        ("uptime_ms", count()),
        ("folder", text()),
    ])
}

fn clock() -> Value {
    let peer = object([
        ("node", node()),
        ("name", or_null(text())),
        ("ahead_of_us_ms", difference()),
        ("round_trip_ms", count()),
    ]);
    object([
        ("ahead_ms", difference()),
        ("ahead_ms_max", count()),
        ("takes_writes", truth()),
        ("stopped_since", or_null(count())),
        ("peers", list(peer)),
    ])
}

fn member() -> Value {
    let traffic = object([
        ("round_trip_us", or_null(count())),
        ("received_bytes", count()),
        ("sent_bytes", count()),
        ("receiving_bytes_per_s", or_null(count())),
        ("bulk_connections", count()),
    ]);
    object([
        ("node", node()),
        ("name", text()),
        ("role", role()),
        ("state", state()),
        ("version", or_null(text())),
        ("addresses", list(text())),
        ("traffic", or_null(traffic)),
        ("last_error", or_null(named("StatusAttention"))),
    ])
}

fn repository() -> Value {
    let lost = object([
        ("path", path()),
        ("digest", hex(64)),
        ("bytes", count()),
        ("since_ms", count()),
        ("asked", list(text())),
    ]);
    object([
        ("key", key()),
        ("federation", text()),
        ("placement", word(&["mirror", "on-demand"])),
        ("members", list(named("StatusRepositoryMember"))),
        ("state_digest", or_null(hex(64))),
        ("artifacts", count()),
        ("folders", count()),
        ("siblings", count()),
        ("conflicts", count()),
        ("conflicts_are_more", truth()),
        ("holds", count()),
        ("heads", heads()),
        ("missing_blobs", count()),
        ("missing_bytes", count()),
        ("lost", object([("blobs", count()), ("bytes", count()), ("first", list(lost))])),
    ])
}

fn repository_member() -> Value {
    object([
        ("node", node()),
        ("name", or_null(text())),
        ("repo_key", or_null(key())),
        ("invited", truth()),
        ("connected", truth()),
        ("behind_entries", or_null(count())),
        ("behind_ms", or_null(count())),
        ("told_ms_ago", or_null(count())),
        ("lag_ms", or_null(count())),
        ("role", or_null(role())),
        ("state", or_null(state())),
        ("last_error", or_null(named("StatusAttention"))),
    ])
}

fn trust() -> Value {
    object([("digest", hex(64)), ("heads", heads()), ("used_tokens", list(text())), ("revoked", list(node()))])
}

fn cache() -> Value {
    object([
        ("limit_bytes", count()),
        ("held_bytes", count()),
        ("held_blobs", count()),
        ("pinned_bytes", count()),
        ("incoming_bytes", count()),
        ("hits", count()),
        ("misses", count()),
        ("evicted_blobs", count()),
        ("evicted_bytes", count()),
    ])
}

fn store() -> Value {
    let scrub = object([
        ("running", truth()),
        ("began_ms", count()),
        ("ended_ms", or_null(count())),
        ("bytes", count()),
        ("done_bytes", count()),
        ("rotten_blobs", count()),
        ("mended_blobs", count()),
        ("damaged_records", count()),
        ("oldest_verified_ms", or_null(count())),
    ]);
    let collected = object([
        ("ended_ms", count()),
        ("removed_blobs", count()),
        ("removed_bytes", count()),
        ("young_blobs", count()),
        ("packs_compacted", count()),
        ("pack_live_bytes", count()),
    ]);
    object([
        ("folder", text()),
        ("pack_bytes", count()),
        ("large_bytes", count()),
        ("index_bytes", count()),
        ("overlay_bytes", count()),
        ("blobs", count()),
        ("last_commit", count()),
        ("failed", or_null(text())),
        ("scrub", scrub),
        ("gc", or_null(collected)),
    ])
}

fn claims() -> Value {
    let one = object([
        ("repository", or_null(key())),
        ("path", path()),
        ("node", node()),
        ("name", text()),
        ("digest", hex(64)),
        ("sums", list(text())),
        ("claimed_sha256", hex(64)),
        ("computed_sha256", hex(64)),
    ]);
    object([
        ("confirmed_blobs", count()),
        ("unreadable_blobs", count()),
        ("walked_ms", or_null(count())),
        ("false", count()),
        ("first", list(one)),
    ])
}

fn latencies() -> Value {
    object([
        ("count", count()),
        ("mean_us", or_null(count())),
        ("half_within_us", or_null(count())),
        ("most_within_us", or_null(count())),
        ("classes", list(json!({"type": "array", "items": or_null(count()), "minItems": 2, "maxItems": 2}))),
    ])
}
