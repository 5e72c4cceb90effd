//! Answers that tell an error: one description for each status code, wherever it comes from.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::operation::{Schemas, object_of};
use super::shapes::{between, list, matching, named, object, text};

/// Why each of them is given.
pub const PROBLEMS: [(u16, &str); 16] = [
    (400, "The request can't be understood, or names something that can't be."),
    (401, "Nobody was recognised, or whoever was may not do that."),
    (403, "This site doesn't do that, not for this caller, or not from there."),
    (404, "There is no such thing, as far as the caller may know."),
    (408, "The body stopped coming."),
    (409, "Something else stands in the way, or isn't what the request says."),
    (410, "The bytes are lost: no site has them any more."),
    (412, "A condition of the request doesn't hold."),
    (413, "The body is longer than what is taken here."),
    (414, "The target is longer than 8 KiB."),
    (416, "No byte of the range exists."),
    (429, "That was asked too often: wait."),
    (431, "The head of the request is longer than what is read."),
    (502, "Another node didn't answer as it should."),
    (503, "The node can't do that now."),
    (507, "No space is left for artifacts at this site."),
];

/// The name of the component that describes a status.
pub fn name(status: u16) -> String {
    let code = StatusCode::from_u16(status).ok();
    code.and_then(|code| code.canonical_reason()).unwrap_or_default().replace(' ', "")
}

/// All of them, as components.
pub fn responses() -> Value {
    object_of(PROBLEMS.map(|(status, why)| (name(status), response(status, why))))
}

/// A reference to one of them; without content for what answers to HEAD, which has none.
pub fn reference(status: u16) -> Value {
    json!({"$ref": format!("#/components/responses/{}", name(status))})
}

/// The same for HEAD: nothing but the head.
pub fn without_content(status: u16) -> Value {
    let why = PROBLEMS.iter().find(|(known, _)| *known == status).map_or("", |(_, why)| why);
    let mut response = response(status, why);
    response.as_object_mut().and_then(|response| response.remove("content"));
    response
}

fn response(status: u16, why: &str) -> Value {
    let mut response = json!({"description": why});
    // Heads that are too long are refused before anything knows what to say of it.
    if status != 431 {
        response["content"] = json!({"application/json": {"schema": named("Error")}});
    }
    let header = match status {
        401 => Some(("WWW-Authenticate", matching("^Basic realm="), "How to say who one is.")),
        416 => Some(("Content-Range", matching(r"^bytes \*/[0-9]+$"), "How long the artifact is.")),
        503 => Some(("Retry-After", between(0, 3600), "Seconds until it is worth asking again.")),
        _ => None,
    };
    if let Some((name, schema, description)) = header {
        response["headers"] = json!({name: {"required": true, "schema": schema, "description": description}});
    }
    response
}

/// What they all look like.
pub fn schemas() -> Schemas {
    let error = object([("status", between(400, 599)), ("message", text())]);
    let mut errors = list(error);
    errors["minItems"] = json!(1);
    vec![("Error", object([("errors", errors)]))]
}
