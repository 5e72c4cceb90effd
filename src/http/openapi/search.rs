//! Finding things.

use serde_json::{Value, json};

use super::operation::{Operation, Schemas};
use super::shapes::{
    KEY, any_hex, count, date, hex, key, list, map, matching, named, object, path, properties, text, word,
};

const TAG: &str = "search";

/// `POST /artifactory/api/search/aql`
pub fn aql() -> Operation {
    let example = "items.find({\"repo\": \"libs\", \"name\": {\"$match\": \"*.jar\"}}).include(\"*\")";
    Operation::of(TAG).takes("text/plain", json!({"schema": text(), "example": example})).json(200, named("AqlResults"))
}

fn found(operation: Operation) -> Operation {
    operation
        .query("repos", text(), "Only in these repositories: keys with commas between them.")
        .header("X-Result-Detail", text(), "What is told of each: info, properties, or both with a comma between them.")
        .json(200, object([("results", list(named("SearchResult")))]))
}

/// `GET /artifactory/api/search/artifact`
pub fn artifact() -> Operation {
    let name = json!({"type": "string", "minLength": 1});
    found(Operation::of(TAG).needs_query("name", name, "A part of the file's name, or a pattern of it with * and ?."))
}

/// `GET /artifactory/api/search/prop`
pub fn property() -> Operation {
    let mut names = map(text());
    names["minProperties"] = json!(1);
    let description = "Each parameter is a property with the values that it may have: NAME=VALUE,VALUE.";
    found(Operation::of(TAG).needs_queries("properties", names, description))
}

/// `GET /artifactory/api/search/checksum`
pub fn checksum() -> Operation {
    let mut sums = object([("sha1?", any_hex(40)), ("sha256?", any_hex(64)), ("md5?", any_hex(32))]);
    sums["minProperties"] = json!(1);
    found(Operation::of(TAG).needs_queries(
        "sums",
        sums,
        "The parameters sha1, sha256 and md5: one of them, or several.",
    ))
}

/// `GET /artifactory/api/search/pattern`
pub fn pattern() -> Operation {
    let files = object([("repoUri", text()), ("sourcePattern", text()), ("files", list(path()))]);
    Operation::of(TAG)
        .needs_query("pattern", matching(&format!("^{KEY}:")), "REPOSITORY:PATTERN, with *, ? and ** for any folders.")
        .json(200, files)
        .problem(&[404])
}

/// What these answer with.
pub fn schemas() -> Schemas {
    let range = object([
        ("start_pos", count()),
        ("end_pos", count()),
        ("total", count()),
        ("limit?", count()),
        ("rows_read?", count()),
    ]);
    vec![
        ("AqlResults", object([("results", list(named("AqlRow"))), ("range", range)])),
        ("AqlRow", row()),
        ("SearchResult", result()),
    ]
}

/// What is included.
fn row() -> Value {
    object([
        ("repo?", key()),
        ("path?", text()),
        ("name?", text()),
        ("type?", word(&["file", "folder"])),
        ("size?", count()),
        ("depth?", count()),
        ("created?", date()),
        ("created_by?", text()),
        ("modified?", date()),
        ("modified_by?", text()),
        ("updated?", date()),
        ("actual_sha1?", hex(40)),
        ("actual_md5?", hex(32)),
        ("original_sha1?", hex(40)),
        ("original_md5?", hex(32)),
        ("sha256?", hex(64)),
        ("properties?", list(object([("key", text()), ("value", text())]))),
        ("stats?", list(object([("downloads", count()), ("downloaded", date()), ("downloaded_by", text())]))),
    ])
}

/// A link, and where `X-Result-Detail` asks for it what the storage API tells, or the properties.
fn result() -> Value {
    let mut schema = super::storage::file();
    schema["required"] = json!(["uri"]);
    schema["properties"]["properties"] = json!({"anyOf": [properties(), {"type": "null"}]});
    schema
}
