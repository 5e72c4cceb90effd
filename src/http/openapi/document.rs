//! The whole document: the table of routes, each route with what its endpoint takes and gives.

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::operation::{Operation, object_of};
use super::shapes::{KEY, SEGMENT, matching};
use super::{
    circle, federation, operations, problems, repositories, search, status, storage, system, upkeep, versions,
};
use crate::http::routes::{Needs, Route, routes};

/// Who may read artifacts at this site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    /// Whoever can reach it.
    Anybody,
    /// Whoever is recognised.
    Known,
}

const ABOUT: &str = "Federated artifact repositories. Paths below /artifactory/api are as Artifactory's clients know \
    them; those below /artifactory/api/mesh are this product's own. A method that a path doesn't have is answered by 405 with an \
    Allow header. Every answer has an X-Request-Id, by which it is found in the logs.";

/// Describes every route.
pub fn document(readers: Readers) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Artimesh",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "security": credentials(),
        "tags": tags(),
        "paths": paths(readers),
        "components": {
            "parameters": path_parameters(),
            "responses": problems::responses(),
            "schemas": schemas(),
            "securitySchemes": schemes(),
        },
    })
}

/// The path of a route as the document writes it.
pub fn template(pattern: &str) -> String {
    pattern.replace("{*", "{")
}

/// The name of the operation that a route is: the route's, with a number where others had it before.
pub fn operation_id(route: &Route) -> String {
    let before = routes().iter().take_while(|other| !std::ptr::eq(*other, route));
    match before.filter(|other| other.name == route.name).count() {
        0 => route.name.to_owned(),
        earlier => format!("{}_{}", route.name, earlier + 1),
    }
}

fn paths(readers: Readers) -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let path = &mut paths.entry(template(route.pattern)).or_insert(json!({}));
        let operation = operations::of(route.endpoint);
        path[route.method.as_str().to_ascii_lowercase()] = get_or_other(route, &operation, readers);
        if route.method == Method::GET {
            path["head"] = head(route, &operation, readers);
        }
    }
    Value::Object(paths)
}

fn get_or_other(route: &Route, operation: &Operation, readers: Readers) -> Value {
    let mut described = common(route, operation, readers);
    described["operationId"] = json!(operation_id(route));
    described["summary"] = json!(route.doc);
    if let Some(body) = &operation.body {
        described["requestBody"] = body.clone();
    }
    let answers = operation.answers.iter().map(|(status, answer)| (status.to_string(), told(*status, answer)));
    let wrong = problems_of(route, operation).into_iter();
    let wrong = wrong.map(|status| (status.to_string(), problems::reference(status)));
    described["responses"] = object_of(answers.chain(wrong));
    described
}

/// What `HEAD` answers: what `GET` would, without a body. It takes no ranges (RFC 9110 section 14.2).
fn head(route: &Route, operation: &Operation, readers: Readers) -> Value {
    let mut described = common(route, operation, readers);
    described["operationId"] = json!(format!("{}_head", operation_id(route)));
    described["summary"] = json!(format!("The head of: {}", route.doc));
    let answers = operation.answers.iter().filter(|(status, _)| *status != 206).map(|(status, answer)| {
        let mut told = told(*status, answer);
        told.as_object_mut().and_then(|told| told.remove("content"));
        (status.to_string(), told)
    });
    let wrong = problems_of(route, operation).into_iter().filter(|status| *status != 416);
    let wrong = wrong.map(|status| (status.to_string(), problems::without_content(status)));
    described["responses"] = object_of(answers.chain(wrong));
    described
}

fn told(status: u16, answer: &Value) -> Value {
    let mut told = answer.clone();
    let reason = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    told["description"] = json!(reason.unwrap_or_default());
    told
}

fn common(route: &Route, operation: &Operation, readers: Readers) -> Value {
    let in_path =
        ["repo", "key", "path"].into_iter().filter(|name| template(route.pattern).contains(&format!("{{{name}}}")));
    let mut parameters: Vec<Value> =
        in_path.map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect();
    parameters.extend(operation.parameters.iter().cloned());
    let mut described = json!({"tags": [operation.tag], "security": security(route.needs, readers)});
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    described
}

/// What a route may answer when it doesn't do what it was asked for.
fn problems_of(route: &Route, operation: &Operation) -> Vec<u16> {
    let mut problems = vec![400, 414, 431];
    problems.extend(&operation.problems);
    if route.method != Method::GET {
        // A browser was made to send it by a page of another site.
        problems.push(403);
    }
    if route.needs != Needs::Open {
        problems.extend([401, 403, 503]);
    }
    if route.pattern.contains('{') {
        problems.push(404);
    }
    problems.sort_unstable();
    problems.dedup();
    problems
}

fn security(needs: Needs, readers: Readers) -> Value {
    let mut ways = credentials();
    match (needs, readers) {
        (Needs::Open, _) => json!([]),
        (Needs::Find | Needs::Read, Readers::Anybody) => {
            ways.push(json!({}));
            json!(ways)
        }
        _ => json!(ways),
    }
}

fn credentials() -> Vec<Value> {
    vec![json!({"bearer": []}), json!({"basic": []}), json!({"apiKey": []})]
}

fn schemes() -> Value {
    json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token."},
        "basic": {"type": "http", "scheme": "basic", "description": "A token as the password, with any user name."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-JFrog-Art-Api", "description": "A token."},
    })
}

fn path_parameters() -> Value {
    let key = || {
        let mut key = matching(&format!("^{KEY}$"));
        key["not"] = json!({"pattern": "^[Aa][Pp][Ii]$"});
        key
    };
    let tail = "A path in the repository: segments with slashes between them, that are sent as they are, never encoded. A segment has at \
        most 255 bytes of UTF-8, all of it 1024. With a slash at its end it means a folder.";
    let parameter = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "path", "required": true, "schema": schema, "description": description});
    json!({
        "repo": parameter("repo", key(), "A repository's key."),
        "key": parameter("key", key(), "A repository's key."),
        "path": parameter("path", matching(&format!("^{SEGMENT}(?:/{SEGMENT})*/?$")), tail),
    })
}

fn schemas() -> Value {
    let all = [
        circle::schemas(),
        federation::schemas(),
        problems::schemas(),
        repositories::schemas(),
        search::schemas(),
        status::schemas(),
        storage::schemas(),
        system::schemas(),
        upkeep::schemas(),
        versions::schemas(),
    ];
    object_of(all.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)))
}

fn tags() -> Value {
    let tag = |name: &str, description: &str| json!({"name": name, "description": description});
    json!([
        tag("system", "Is it there, can it work, and what does it serve?"),
        tag("upkeep", "What an administrator does with one node."),
        tag("circle", "The circle of trust: pairing, members, revocation."),
        tag("federation", "Who shares a repository, and whether all have the same."),
        tag("versions", "Conflicts, history, and undoing."),
        tag("repositories", "Repositories and how they are set."),
        tag("search", "Finding things."),
        tag("storage", "Metadata, properties, moving and copying."),
        tag("artifacts", "Downloads, uploads, deletes."),
    ])
}
