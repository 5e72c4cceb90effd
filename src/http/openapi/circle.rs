//! The circle of trust: pairing, members, revocation.

use serde_json::json;

use super::operation::{Operation, Schemas};
use super::shapes::{
    between, date, hex, key, list, matching, named, node, node_or_name, object, or_null, text, truth, word,
};

const TAG: &str = "circle";

/// `POST /artifactory/api/mesh/pairing`
pub fn create_pairing() -> Operation {
    let capabilities = list(word(&["admit", "revoke", "accounts", "issue-tokens"]));
    let wish = json!({"oneOf": [
        object([
            ("role", word(&["full"])),
            ("for?", list(key())),
            ("ttl_s?", between(1, 86_400)),
            ("can?", capabilities),
            ("readmit?", or_null(text())),
        ]),
        object([
            ("role", word(&["edge"])),
            ("for?", list(key())),
            ("ttl_s?", between(1, 86_400)),
            ("can?", json!({"type": "array", "maxItems": 0})),
            ("readmit?", or_null(text())),
        ]),
    ]});
    let issued = object([("pairing_token", matching("^artimesh-")), ("token_id", hex(32)), ("expires_at", date())]);
    Operation::of(TAG).takes_json(wish).json(200, issued).problem(&[404, 409])
}

/// `POST /artifactory/api/mesh/pairing/accept`
pub fn accept_pairing() -> Operation {
    let joined = object([
        ("circle", text()),
        ("role", word(&["full", "edge"])),
        ("issuer", object([("node", node()), ("name", text())])),
    ]);
    Operation::of(TAG).takes_json(object([("pairing_token", text())])).json(200, joined).problem(&[409, 429, 502])
}

/// `GET /artifactory/api/mesh/trust`
pub fn trust() -> Operation {
    Operation::of(TAG).json(200, named("Circle"))
}

/// `POST /artifactory/api/mesh/trust/revoke`
pub fn revoke() -> Operation {
    let wish = object([
        ("node", node_or_name()),
        ("reason?", json!({"type": "string", "maxLength": 1024, "description": "At most 1024 bytes of UTF-8."})),
        ("wait_s?", between(0, 300)),
    ]);
    let revoked = object([("node", node()), ("acknowledged", list(text())), ("pending", list(text()))]);
    Operation::of(TAG).takes_json(wish).json(200, revoked).problem(&[404, 409])
}

/// What these answer with.
pub fn schemas() -> Schemas {
    let member = object([
        ("node", node()),
        ("name", text()),
        ("role", word(&["full", "edge"])),
        ("state", word(&["self", "connected", "unreachable", "revoked"])),
        ("capabilities", list(text())),
        ("granted_by", or_null(node())),
        ("connected", truth()),
    ]);
    let circle =
        object([("circle", or_null(text())), ("root", or_null(text())), ("members", list(named("CircleMember")))]);
    vec![("Circle", circle), ("CircleMember", member)]
}
