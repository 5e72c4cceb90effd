//! Repositories as Artifactory's clients write and read them.

use serde_json::{Value, json};

use super::operation::{Operation, Schemas};
use super::shapes::{key, list, map, matching, named, node, object, or_null, text, truth, word};

const TAG: &str = "repositories";

/// `GET /artifactory/api/repositories`
pub fn list_all() -> Operation {
    Operation::of(TAG)
        .query("type", text(), "Only those of this type: local or federated.")
        .query("packageType", text(), "Only those of this package type.")
        .json(200, list(named("RepositorySummary")))
}

/// `GET /artifactory/api/repositories/{key}`
pub fn get() -> Operation {
    Operation::of(TAG).json(200, named("Repository"))
}

/// `PUT /artifactory/api/repositories/{key}`
pub fn put() -> Operation {
    Operation::of(TAG)
        .takes_json(named("RepositoryToMake"))
        .text(200, matching("^Successfully created repository '"))
        .problem(&[409])
}

/// `POST /artifactory/api/repositories/{key}`
pub fn post() -> Operation {
    Operation::of(TAG)
        .takes_json(named("RepositoryChange"))
        .text(200, matching("^Repository .* update successfully\\.\n$"))
        .problem(&[409])
}

/// `DELETE /artifactory/api/repositories/{key}`
pub fn delete() -> Operation {
    Operation::of(TAG).text(200, matching("^Repository '")).problem(&[409])
}

/// What these take and answer with.
pub fn schemas() -> Schemas {
    let summary = object([
        ("key", key()),
        ("type", word(&["LOCAL", "FEDERATED"])),
        ("description", text()),
        ("url", text()),
        ("packageType", package_type()),
    ]);
    vec![
        ("RepositorySummary", summary),
        ("Repository", repository()),
        ("RepositoryMember", member()),
        ("RepositoryToMake", to_make()),
        ("RepositoryChange", change()),
        ("RepositoryMemberToInvite", to_invite()),
    ]
}

fn package_type() -> Value {
    matching("^[a-z0-9-]{1,32}$")
}

fn repository() -> Value {
    object([
        ("key", key()),
        ("rclass", word(&["local", "federated"])),
        ("packageType", package_type()),
        ("description", text()),
        ("notes", text()),
        ("includesPattern", text()),
        ("excludesPattern", text()),
        ("repoLayoutRef", text()),
        ("blackedOut", truth()),
        ("propertySets", list(text())),
        ("url", text()),
        ("placement", word(&["mirror", "on-demand"])),
        ("members?", list(named("RepositoryMember"))),
    ])
}

fn member() -> Value {
    object([
        ("url", text()),
        ("enabled", truth()),
        ("node", node()),
        ("name", or_null(text())),
        ("repoKey", key()),
        ("accepted", truth()),
    ])
}

/// What has no meaning here is accepted and dropped: clients send all that Artifactory has.
fn with_anything_else(properties: Value) -> Value {
    let mut schema = map(json!({}));
    schema["properties"] = properties;
    schema
}

fn typed_package() -> Value {
    or_null(matching("^[A-Za-z0-9-]{1,32}$"))
}

fn described() -> Value {
    or_null(json!({"type": "string", "maxLength": 1024, "description": "At most 1024 bytes of UTF-8."}))
}

fn to_make() -> Value {
    with_anything_else(json!({
        "key": {"description": "Left out, or as in the address.", "type": "null"},
        "rclass": or_null(word(&["local", "federated"])),
        "packageType": typed_package(),
        "description": described(),
        "members": list(named("RepositoryMemberToInvite")),
    }))
}

fn change() -> Value {
    with_anything_else(json!({
        "key": or_null(text()),
        "rclass": or_null(text()),
        "packageType": typed_package(),
        "description": described(),
        "members": list(named("RepositoryMemberToInvite")),
    }))
}

/// A node that isn't enabled can't be invited; the own URL may be listed.
fn to_invite() -> Value {
    let mut schema = with_anything_else(json!({
        "node": {"type": "string", "description": "A node of the circle, by its name or id."},
        "url": or_null(text()),
        "enabled": {"enum": [true, "true"]},
    }));
    schema["required"] = json!(["node"]);
    schema
}
