//! Conflicts, history, and undoing.

use serde_json::{Value, json};

use super::operation::{Operation, Schemas};
use super::shapes::{
    SEGMENT, any_date, between, count, date, hex, key, list, matching, named, node, node_or_name, object, or_null,
    path, properties, text, truth, version, word,
};

const TAG: &str = "versions";

fn limit(operation: Operation) -> Operation {
    operation.query("limit", between(1, 1000), "At most so many; 100 unless it is said.")
}

/// A path, decoded.
fn whole_path() -> Value {
    matching(&format!("^{SEGMENT}(?:/{SEGMENT})*$"))
}

/// `GET /artifactory/api/mesh/conflicts/{repo}`
pub fn conflicts() -> Operation {
    let page = object([("repo", key()), ("conflicts", list(named("Conflict"))), ("next", or_null(path()))]);
    let after = matching(&format!("^(?:{SEGMENT}(?:/{SEGMENT})*)?$"));
    limit(Operation::of(TAG))
        .query("after", after, "The last page's `next`; of the first page nothing.")
        .json(200, page)
}

/// `GET /artifactory/api/mesh/conflicts/{repo}/{path}`
pub fn conflict() -> Operation {
    Operation::of(TAG).json(200, with(conflict_schema(), [("repo", key())]))
}

/// `GET /artifactory/api/mesh/history/{repo}/{path}`
pub fn history() -> Operation {
    let history = object([
        ("repo", key()),
        ("path", path()),
        ("live", list(named("LiveVersion"))),
        ("history", list(named("EndedVersion"))),
    ]);
    limit(Operation::of(TAG)).json(200, history)
}

/// `POST /artifactory/api/mesh/restore/{repo}/{path}`
pub fn restore() -> Operation {
    let restored = object([("repo", key()), ("path", path()), ("restored", version())]);
    Operation::of(TAG).takes_json(object([("version", version())])).json(200, restored).problem(&[409, 410, 507])
}

/// `POST /artifactory/api/mesh/dismiss/{repo}/{path}`
pub fn dismiss() -> Operation {
    Operation::of(TAG).takes_json(object([("versions?", list(version()))])).empty(204).problem(&[409, 507])
}

/// `POST /artifactory/api/mesh/rollback/{key}`
pub fn roll_back() -> Operation {
    let mut wish = object([
        ("author?", or_null(node_or_name())),
        ("user?", or_null(text())),
        (
            "since",
            json!({"anyOf": [any_date(), count()], "description": "A date and time, or milliseconds since 1970."}),
        ),
        ("dry_run?", truth()),
        ("after?", or_null(whole_path())),
    ]);
    let named_by = |name: &str| json!({"required": [name], "properties": {name: {"type": "string"}}});
    wish["anyOf"] = json!([named_by("author"), named_by("user")]);
    let done = object([("repo", key()), ("actions", list(named("RollbackAction"))), ("next", or_null(path()))]);
    Operation::of(TAG).takes_json(wish).json(200, done).problem(&[409, 507])
}

/// What these answer with.
pub fn schemas() -> Schemas {
    vec![
        ("Conflict", conflict_schema()),
        ("LiveVersion", object(of_version(["shown", "sibling"]))),
        ("EndedVersion", ended()),
        ("RollbackAction", action()),
    ]
}

fn of_version(states: [&str; 2]) -> [(&'static str, Value); 10] {
    [
        ("version", version()),
        ("state", word(&states)),
        ("size", count()),
        ("sha256", hex(64)),
        ("properties", properties()),
        ("modified", date()),
        ("modified_by", text()),
        ("node", node()),
        ("node_name", or_null(text())),
        ("moved_from", or_null(path())),
    ]
}

fn with<const N: usize>(mut schema: Value, more: [(&str, Value); N]) -> Value {
    for (name, of) in more {
        schema["properties"][name] = of;
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
    schema
}

fn ended() -> Value {
    let ended = object([
        ("how", word(&["replaced", "deleted", "dismissed", "moved", "unknown"])),
        ("to", or_null(path())),
        ("by", text()),
        ("node_name", or_null(text())),
        ("at", date()),
    ]);
    with(object(of_version(["lost", "ended"])), [("ended", ended)])
}

fn conflict_schema() -> Value {
    let live = with(
        object(of_version(["shown", "sibling"])),
        [("outlived_delete_of", or_null(text())), ("outlived_delete", or_null(version()))],
    );
    object([("path", path()), ("live", list(live)), ("lost", list(named("EndedVersion")))])
}

fn action() -> Value {
    let failed = || ("failed", or_null(text()));
    json!({"oneOf": [
        object([("action", word(&["restore"])), ("path", path()), ("version", version()), failed()]),
        object([("action", word(&["delete"])), ("path", path()), failed()]),
        object([("action", word(&["dismiss"])), ("path", path()), ("versions", list(version())), failed()]),
        object([
            ("action", word(&["leave"])),
            ("path", path()),
            ("changed_by", text()),
            ("changed_at_node", or_null(node())),
            ("changed", date()),
            failed(),
        ]),
    ]})
}
