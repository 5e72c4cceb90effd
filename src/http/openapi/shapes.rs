//! The small words that schemas are made of.

use serde_json::{Value, json};

/// Of a repository's key: see [`RepoKey`](artimesh_core::model::RepoKey).
pub const KEY: &str = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}";

/// Of one segment of a path, that is neither `.` nor `..`: see [`ArtifactPath`](artimesh_core::model::ArtifactPath).
pub const SEGMENT: &str = r"(?:[^./\\\x00-\x1f\x7f-\x9f]|\.[^./\\\x00-\x1f\x7f-\x9f]|\.\.[^/\\\x00-\x1f\x7f-\x9f])[^/\\\x00-\x1f\x7f-\x9f]{0,250}";

/// Any text.
pub fn text() -> Value {
    json!({"type": "string"})
}

/// Text of a form.
pub fn matching(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// One of some words.
pub fn word(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// So many hexadecimal digits, as answers have them.
pub fn hex(digits: usize) -> Value {
    matching(&format!("^[0-9a-f]{{{digits}}}$"))
}

/// So many hexadecimal digits of either case, as requests may have them.
pub fn any_hex(digits: usize) -> Value {
    matching(&format!("^[0-9A-Fa-f]{{{digits}}}$"))
}

/// `2026-11-21T21:47:22.005Z`.
pub fn date() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// A date and time in a request. The server knows leap years, too; a pattern doesn't.
pub fn any_date() -> Value {
    let day = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
    let time = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-8]):[0-5][0-9])";
    matching(&format!("^(?:19[89][0-9]|[2-9][0-9]{{3}})-{day}T{time}$"))
}

/// True or false.
pub fn truth() -> Value {
    json!({"type": "boolean"})
}

/// A whole number from 0, of 64 bits.
pub fn count() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

/// A whole number within bounds.
pub fn between(minimum: u64, maximum: u64) -> Value {
    json!({"type": "integer", "minimum": minimum, "maximum": maximum})
}

/// A number that may be negative.
pub fn difference() -> Value {
    json!({"type": "integer", "format": "int64"})
}

/// Several of the same.
pub fn list(each: Value) -> Value {
    json!({"type": "array", "items": each})
}

/// An object whose names are data.
pub fn map(each: Value) -> Value {
    json!({"type": "object", "additionalProperties": each})
}

/// That, or null.
pub fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// A schema of the components.
pub fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A closed object. A name that ends in a question mark is of a property that may be missing.
pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    let name = |name: &str| name.trim_end_matches('?').to_owned();
    let required: Vec<&str> = properties.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["properties"] = properties.into_iter().map(|(known, of)| (name(known), of)).collect::<Value>();
    schema
}

/// A repository's key, as answers have it.
pub fn key() -> Value {
    matching(&format!("^{KEY}$"))
}

/// A path in a repository, as answers have it.
pub fn path() -> Value {
    json!({"type": "string", "minLength": 1})
}

/// The id of a node.
pub fn node() -> Value {
    hex(64)
}

/// A node by its name or id, as requests have it.
pub fn node_or_name() -> Value {
    text()
}

/// A version, as it is listed: `NODE.INCARNATION.SEQUENCE`.
pub fn version() -> Value {
    matching("^[0-9a-f]{64}\\.[0-9a-f]{16}\\.[1-9][0-9]{0,18}$")
}

/// Properties: each name with its values.
pub fn properties() -> Value {
    map(list(text()))
}
