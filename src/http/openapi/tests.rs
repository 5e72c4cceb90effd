//! The document is the table's, and says all that can be said.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::document::{Readers, document, operation_id, template};
use super::problems::PROBLEMS;
use crate::http::routes::{Needs, routes};

fn known() -> Value {
    document(Readers::Known)
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of = |(path, methods): (&String, &'_ Value)| -> Vec<(String, String)> {
        methods.as_object().expect("methods").keys().map(|method| (method.clone(), path.clone())).collect()
    };
    let all = paths.iter().flat_map(of);
    all.map(|(method, path)| (method.clone(), path.clone(), &document["paths"][&path][&method])).collect()
}

/// Calls `look` with every value of the document, and where it is.
fn each<'a>(value: &'a Value, at: &str, look: &mut impl FnMut(&str, &'a Value)) {
    look(at, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(name, inner)| each(inner, &format!("{at}/{name}"), look)),
        Value::Array(list) => list.iter().for_each(|inner| each(inner, &format!("{at}[]"), look)),
        _ => {}
    }
}

#[test]
fn each_route_is_one_operation_and_nothing_else_is_there() {
    let document = known();
    let mut wanted = BTreeSet::new();
    for route in routes() {
        let path = template(route.pattern);
        let name = operation_id(route);
        if route.method == Method::GET {
            wanted.insert(("head".to_owned(), path.clone(), format!("{name}_head")));
        }
        wanted.insert((route.method.as_str().to_ascii_lowercase(), path, name));
    }
    let id = |operation: &Value| operation["operationId"].as_str().expect("an id").to_owned();
    let there: BTreeSet<_> = operations(&document).into_iter().map(|(m, path, of)| (m, path, id(of))).collect();
    assert_eq!(there, wanted);
    let names: BTreeSet<&String> = there.iter().map(|(_, _, name)| name).collect();
    assert_eq!(names.len(), there.len(), "each operation has a name of its own");
}

#[test]
fn each_operation_says_what_its_route_says_and_who_may() {
    let document = known();
    for route in routes() {
        let operation = &document["paths"][template(route.pattern)][route.method.as_str().to_ascii_lowercase()];
        assert_eq!(operation["summary"], route.doc);
        let ways = operation["security"].as_array().expect("a list").len();
        assert_eq!(ways, if route.needs == Needs::Open { 0 } else { 3 }, "{}", route.pattern);
        let of_path = route.pattern.matches('{').count();
        let there = operation["parameters"].as_array().into_iter().flatten().filter(|one| one.get("$ref").is_some());
        assert_eq!(there.count(), of_path, "{}", route.pattern);
    }
}

#[test]
fn where_anybody_may_read_the_document_says_so_of_reading_only() {
    let document = document(Readers::Anybody);
    for route in routes() {
        let operation = &document["paths"][template(route.pattern)][route.method.as_str().to_ascii_lowercase()];
        let may = operation["security"].as_array().expect("a list").iter().any(|way| *way == serde_json::json!({}));
        assert_eq!(may, matches!(route.needs, Needs::Read | Needs::Find), "{}", route.pattern);
    }
}

#[test]
fn no_answer_is_left_to_a_default_and_each_is_described() {
    let document = known();
    for (method, path, operation) in operations(&document) {
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|status| status.starts_with(['2', '3'])), "{method} {path}");
        for (status, answer) in answers {
            let code: u16 = status.parse().unwrap_or_else(|_| panic!("{method} {path} answers {status}"));
            assert!(StatusCode::from_u16(code).is_ok_and(|code| code.canonical_reason().is_some()), "{status}");
            assert!(
                answer.get("$ref").is_some() || answer["description"].as_str().is_some_and(|text| !text.is_empty())
            );
            assert!(method != "head" || answer.get("content").is_none(), "{path}: HEAD has no content");
        }
        assert!(operation["summary"].is_string() && operation["tags"].is_array());
    }
}

#[test]
fn every_object_is_closed_or_a_map() {
    let document = known();
    let mut objects = 0;
    each(&document, "", &mut |at, value| {
        if value["type"] == "object" && !at.ends_with("/properties") {
            objects += 1;
            let rest = &value["additionalProperties"];
            assert!(*rest == Value::Bool(false) || rest.is_object(), "{at} is open: {value}");
        }
    });
    assert!(objects > 80, "the test must see them: {objects}");
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = known();
    let mut used = BTreeSet::new();
    each(&document, "", &mut |at, value| {
        let Some(to) = value.get("$ref").and_then(Value::as_str) else { return };
        let pointer = to.strip_prefix('#').unwrap_or_else(|| panic!("{at} leads out of the document: {to}"));
        assert!(document.pointer(pointer).is_some(), "{at} leads nowhere: {to}");
        used.insert(pointer.to_owned());
    });
    for kind in ["parameters", "responses", "schemas"] {
        for name in document["components"][kind].as_object().expect("components").keys() {
            assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind}/{name} is of no use");
        }
    }
}

#[test]
fn every_pattern_of_text_is_anchored_where_it_begins() {
    each(&known(), "", &mut |at, value| {
        if let Some(pattern) = value.get("pattern").and_then(Value::as_str) {
            assert!(pattern.starts_with('^'), "{at}: {pattern}");
        }
    });
}

/// The one file that makes status codes is read as text: what it can give is what is described, and nothing else is.
#[test]
fn every_status_that_an_error_can_have_is_described() {
    let source = include_str!("../status.rs");
    let named = |status: u16| {
        let code = StatusCode::from_u16(status).ok()?;
        let name = code.canonical_reason()?.to_ascii_uppercase().replace(' ', "_");
        source.contains(&format!("StatusCode::{name}")).then_some(status)
    };
    let mut given: BTreeSet<u16> = (400..600).filter_map(named).collect();
    assert!(given.len() > 10, "the test must see them");
    // No operation answers so: it is the answer to methods that there is no operation for.
    given.remove(&405);
    // hyper answers so before a request is one.
    given.insert(431);
    assert_eq!(PROBLEMS.iter().map(|(status, _)| *status).collect::<BTreeSet<_>>(), given);
}

#[test]
fn the_document_is_always_the_same() {
    assert_eq!(known().to_string(), known().to_string());
}
