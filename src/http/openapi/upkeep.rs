//! What an administrator does with one node: its status, its log, its disk and its cache.

use serde_json::{Value, json};

use super::operation::{Operation, Schemas};
use super::shapes::{
    any_date, between, count, date, key, list, map, matching, named, object, or_null, path, text, truth,
};

const TAG: &str = "upkeep";

/// `GET /artifactory/api/mesh/status`
pub fn status() -> Operation {
    Operation::of(TAG).json(200, named("Status"))
}

/// `GET /artifactory/api/mesh/audit`
pub fn audit() -> Operation {
    let since = "Lines since a date and time, such as 2026-11-21T21:47:00Z, or since so many milliseconds after 1970.";
    Operation::of(TAG)
        .query("since", json!({"anyOf": [any_date(), count()]}), since)
        .query("user", text(), "Lines of this user.")
        .query("path", text(), "Lines of objects that begin so: REPOSITORY/PATH.")
        .query("limit", count(), "At most so many, the newest, and never more than 10000; 100 unless it is said.")
        .json(200, named("AuditRecords"))
}

/// `GET /artifactory/api/mesh/backup`
pub fn backup() -> Operation {
    Operation::of(TAG).gives(200, "application/x-tar", json!({})).with_header(
        200,
        "Content-Disposition",
        matching("^attachment; filename="),
        "A name for the file.",
    )
}

/// `POST /artifactory/api/mesh/gc`
pub fn collect_garbage() -> Operation {
    let wish = object([("dry_run?", truth()), ("grace_s?", or_null(count()))]);
    Operation::of(TAG).takes_json(wish).json(200, named("Collected")).problem(&[409])
}

/// `POST /artifactory/api/mesh/scrub`
pub fn begin_scrub() -> Operation {
    let wish = object([("bytes_per_s?", or_null(count()))]);
    let begun = object([("begun", truth())]);
    Operation::of(TAG).takes_json(wish).json(202, begun).problem(&[409])
}

/// `GET /artifactory/api/mesh/scrub`
pub fn scrub() -> Operation {
    let progress = object([
        ("running", truth()),
        ("bytes", count()),
        ("done_bytes", count()),
        ("files", count()),
        ("rotten_blobs", count()),
        ("mended_blobs", count()),
        ("damaged_records", count()),
    ]);
    Operation::of(TAG).json(200, progress)
}

/// `GET /artifactory/api/mesh/cache`
pub fn cache() -> Operation {
    Operation::of(TAG).json(200, named("Cache"))
}

/// `PUT /artifactory/api/mesh/cache/pins/{repo}/{path}`
pub fn pin() -> Operation {
    Operation::of(TAG).json(200, object([("pinned", named("Pin"))]))
}

/// `DELETE /artifactory/api/mesh/cache/pins/{repo}/{path}`
pub fn unpin() -> Operation {
    Operation::of(TAG).json(200, object([("unpinned", named("Pin"))]))
}

/// `POST /artifactory/api/mesh/cache/evict/{repo}/{path}`
pub fn evict() -> Operation {
    let wish = object([("dry_run?", truth())]);
    let evicted = object([
        ("dry_run", truth()),
        ("held", named("Blobs")),
        ("gone", named("Blobs")),
        ("kept", map(named("Blobs"))),
    ]);
    Operation::of(TAG).takes_json(wish).json(200, evicted)
}

/// What these answer with.
pub fn schemas() -> Schemas {
    vec![
        ("Blobs", object([("blobs", count()), ("bytes", count())])),
        ("Pin", object([("repo", key()), ("path", or_null(path()))])),
        ("AuditRecords", object([("records", list(named("AuditRecord")))])),
        ("AuditRecord", audit_record()),
        ("Cache", cache_schema()),
        ("Collected", collected()),
    ]
}

fn audit_record() -> Value {
    object([
        ("at", count()),
        ("time", date()),
        ("who", text()),
        ("what", text()),
        ("object", text()),
        ("result", text()),
        ("status?", between(0, 599)),
        ("bytes?", count()),
        ("from?", text()),
        ("request?", text()),
        ("ms?", count()),
    ])
}

fn cache_schema() -> Value {
    object([
        ("used", truth()),
        ("max_size", json!({"oneOf": [count(), matching("^(?:none|[0-9]+%)$")]})),
        ("max_age_s", or_null(count())),
        ("limit_bytes", count()),
        ("held", named("Blobs")),
        ("pinned", named("Blobs")),
        ("partial", named("Blobs")),
        ("incoming_bytes", count()),
        ("hits", count()),
        ("misses", count()),
        ("evicted", named("Blobs")),
        ("evicted_ms", or_null(count())),
        ("pins", list(named("Pin"))),
    ])
}

fn collected() -> Value {
    let packs = object([
        ("bytes", count()),
        ("live_bytes", count()),
        ("compacted", count()),
        ("freed_bytes", count()),
        ("repeated_bytes", count()),
        ("merged_files", count()),
        ("damaged", count()),
        ("waits_for_backup", truth()),
    ]);
    object([
        ("dry_run", truth()),
        ("stored", named("Blobs")),
        ("in_use", map(named("Blobs"))),
        ("young", named("Blobs")),
        ("named_meanwhile", named("Blobs")),
        ("removed", named("Blobs")),
        ("unfinished", named("Blobs")),
        ("packs", packs),
    ])
}
