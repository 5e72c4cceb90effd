//! Searches against an evaluator that looks at everything, and at how many rows they look.

use std::collections::BTreeSet;

use artimesh_core::catalog::Content;
use artimesh_core::model::{ArtifactPath, Checksums, Digest, Properties};
use artimesh_core::replica::Command;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::aql::Query;
use super::finding::derivation;
use super::search::Search;
use super::testing::{caller, repo, service};
use crate::engine::{Site, noise};
use crate::store::Staged;

const NOW: artimesh_core::clock::Timestamp = artimesh_core::clock::Timestamp(1_800_000_000_000);

/// Puts a file, or a folder where the path ends in a slash.
async fn put(site: &Site, path: &str, size: usize, properties: Value) {
    let properties: Properties = serde_json::from_value(properties).unwrap();
    let (content, staged) = if path.ends_with('/') {
        (Content::folder(properties), None)
    } else {
        let bytes = noise(path.bytes().map(u64::from).sum::<u64>() + size as u64, size);
        let sums = Checksums { sha256: [size as u8; 32], sha1: [path.len() as u8; 20], md5: [1; 16] };
        let staged = Staged::verified(Digest::of(&bytes), bytes, sums).unwrap();
        let (digest, size) = (staged.digest(), staged.size());
        (Content { digest, size, checksums: sums, media_type: "x/y".into(), properties }, Some(staged))
    };
    let (key, by) = (repo(), "eve".to_owned());
    let file: ArtifactPath = path.trim_end_matches('/').parse().unwrap();
    let path = if path.ends_with('/') { file.as_folder() } else { file };
    site.engine.command(Command::Put { key, path, content, by }, staged).await.unwrap();
}

const FILES: [(&str, usize); 14] = [
    ("x.jar", 10),
    ("y.pom", 20),
    ("a", 1),
    ("a-b/x.jar", 20),
    ("b/x.jar", 30),
    ("b/y.jar", 10),
    ("b/c/x.jar", 10),
    ("b/c/y.pom", 40),
    ("b/c/d/e/x.jar", 50),
    ("b/cc/x", 60),
    ("b/c.d/x", 60),
    ("d/e/f/g/h/x.jar", 5),
    ("made/in/", 0),
    ("made/", 0),
];

fn properties_of(number: usize) -> Value {
    match number % 4 {
        0 => json!({"k": ["v"], "l": ["v", "w"]}),
        1 => json!({"k": ["w", "x1"]}),
        2 => json!({"l": ["x1"]}),
        _ => json!({}),
    }
}

/// What the query language calls an item, as plain JSON.
fn facts() -> Vec<Value> {
    let mut facts = Vec::new();
    let mut folders = BTreeSet::new();
    for (number, (path, size)) in FILES.iter().enumerate() {
        folders.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        if !path.ends_with('/') {
            facts.push(fact(path, "file", *size, properties_of(number)));
        }
    }
    for folder in folders {
        let own = FILES.iter().position(|(path, _)| *path == format!("{folder}/"));
        facts.push(fact(&folder, "folder", 0, own.map_or(json!({}), properties_of)));
    }
    facts
}

fn fact(path: &str, kind: &str, size: usize, properties: Value) -> Value {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let depth = path.split('/').count();
    json!({"repo": "libs", "path": folder, "name": name, "type": kind, "size": size, "depth": depth, "properties": properties})
}

fn wild(text: &str, pattern: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| wild(&text[at..], rest)),
        '?' => text.chars().next().is_some_and(|c| wild(&text[c.len_utf8()..], rest)),
        _ => text.strip_prefix(first).is_some_and(|text| wild(text, rest)),
    }
}

fn compares(value: &Value, operator: &str, operand: &Value) -> bool {
    let order = match (value, operand) {
        (Value::Number(a), Value::Number(b)) => a.as_u64().cmp(&b.as_u64()),
        _ => value.as_str().unwrap().cmp(operand.as_str().unwrap()),
    };
    match operator {
        "$eq" => order.is_eq(),
        "$ne" => order.is_ne(),
        "$gt" => order.is_gt(),
        "$gte" => order.is_ge(),
        "$lt" => order.is_lt(),
        "$lte" => order.is_le(),
        "$match" => wild(value.as_str().unwrap(), operand.as_str().unwrap()),
        "$nmatch" => !wild(value.as_str().unwrap(), operand.as_str().unwrap()),
        other => panic!("{other}"),
    }
}

/// All pairs of names and values.
fn pairs(fact: &Value) -> Vec<(&str, &Value)> {
    let properties = fact["properties"].as_object().unwrap();
    properties
        .iter()
        .flat_map(|(name, values)| values.as_array().unwrap().iter().map(|value| (name.as_str(), value)))
        .collect()
}

fn meets(fact: &Value, criteria: &Value, only: Option<(&str, &Value)>) -> bool {
    criteria.as_object().unwrap().iter().all(|(name, wanted)| {
        let each = || wanted.as_array().unwrap().iter();
        match name.as_str() {
            "$and" => each().all(|part| meets(fact, part, only)),
            "$or" => each().any(|part| meets(fact, part, only)),
            "$msp" => pairs(fact).into_iter().any(|pair| each().all(|part| meets(fact, part, Some(pair)))),
            _ => {
                let operators = match wanted {
                    Value::Object(map) => map.clone(),
                    plain => [("$eq".to_owned(), plain.clone())].into_iter().collect(),
                };
                operators.iter().all(|(operator, operand)| meets_one(fact, name, operator, operand, only))
            }
        }
    })
}

fn meets_one(fact: &Value, name: &str, operator: &str, operand: &Value, only: Option<(&str, &Value)>) -> bool {
    let Some(property) = name.strip_prefix('@') else {
        let is_any = name == "type" && operand == "any";
        return if is_any { operator == "$eq" } else { compares(&fact[name], operator, operand) };
    };
    if let Some((known, value)) = only {
        let is_anything = operator == "$eq" && operand == "*";
        return (property == "*" || property == known) && (is_anything || compares(value, operator, operand));
    }
    let values: Vec<&Value> = pairs(fact)
        .into_iter()
        .filter(|(known, _)| property == "*" || property == *known)
        .map(|(_, value)| value)
        .collect();
    match operator {
        "$ne" | "$nmatch" => values.iter().all(|value| compares(value, operator, operand)),
        "$eq" if operand == "*" => !values.is_empty(),
        _ => values.iter().any(|value| compares(value, operator, operand)),
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    let select = prop::sample::select::<&'static str>;
    let compare = select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]);
    let text = select(vec!["$eq", "$eq", "$ne", "$lt", "$gte", "$match", "$match", "$nmatch"]);
    let folder = select(vec![".", "b", "b/c", "b/*", "*c*", "b/c*", "a*", "?", "made", "d/e/f/g/h", "none", "*", ".*"]);
    let name = select(vec!["x.jar", "x*", "*.jar", "y.???", "a", "c", "made", "in", "none", "*"]);
    let value = select(vec!["v", "w", "x1", "x*", "?", "*", "none"]);
    let property = select(vec!["@k", "@l", "@*", "@none"]);
    let of = |name: &'static str, operator: &str, operand: Value| json!({name: {operator: operand}});
    prop_oneof![
        (text.clone(), folder.clone()).prop_map(move |(operator, folder)| of("path", operator, json!(folder))),
        (text.clone(), name).prop_map(move |(operator, name)| of("name", operator, json!(name))),
        (compare.clone(), 0..70_u64).prop_map(move |(operator, size)| of("size", operator, json!(size))),
        (compare, 0..7_u64).prop_map(move |(operator, depth)| of("depth", operator, json!(depth))),
        (property, text, value).prop_map(|(name, operator, value)| json!({name: {operator: value}})),
        select(vec!["file", "folder", "any"]).prop_map(|kind| json!({"type": kind})),
        select(vec!["libs", "other"]).prop_map(|repo| json!({"repo": repo})),
        folder.prop_map(|folder| json!({"path": folder})),
    ]
}

fn about_properties() -> impl Strategy<Value = Value> {
    let select = prop::sample::select::<&'static str>;
    (select(vec!["@k", "@l", "@*"]), select(vec!["$eq", "$match"]), select(vec!["v", "w", "x*"]))
        .prop_map(|(name, operator, value)| json!({name: {operator: value}}))
}

fn criteria() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let several = prop::collection::vec(inner, 0..4);
        prop_oneof![
            several.clone().prop_map(|parts| json!({"$and": parts})),
            several.prop_map(|parts| json!({"$or": parts})),
            prop::collection::vec(about_properties(), 1..3).prop_map(|parts| json!({"$msp": parts})),
        ]
    })
}

async fn all(mut search: Search) -> (Vec<String>, u64) {
    let mut found = Vec::new();
    while let Some(page) = search.next_page().await.unwrap() {
        found.extend(page.iter().map(|hit| format!("{}{}", hit.path, if hit.is_folder { "/" } else { "" })));
    }
    assert_eq!(search.told(), found.len() as u64);
    (found, search.rows_read())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_finds_what_looking_at_everything_finds() {
    let site = Site::finding(derivation()).await;
    let service = service(&site);
    for (number, (path, size)) in FILES.iter().enumerate() {
        put(&site, path, *size, properties_of(number)).await;
    }
    let facts = facts();
    let mut runner = TestRunner::deterministic();
    for _ in 0..2000 {
        let criteria = criteria().new_tree(&mut runner).unwrap().current();
        let text = format!("items.find({criteria})");
        let asks_for_type = text.contains("\"type\"");
        let expected: BTreeSet<String> = facts
            .iter()
            .filter(|fact| (asks_for_type || fact["type"] == "file") && meets(fact, &criteria, None))
            .map(|fact| {
                let slash = if fact["type"] == "folder" { "/" } else { "" };
                format!("{}/{}{slash}", fact["path"].as_str().unwrap(), fact["name"].as_str().unwrap())
            })
            .map(|path| path.strip_prefix("./").map_or(path.clone(), str::to_owned))
            .collect();
        let run = |rest: &str| all(service.search(&caller(), Query::parse(&format!("{text}{rest}"), NOW).unwrap()));
        let (found, _) = run("").await;
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected, "{text}");
        assert_eq!(found.len(), expected.len(), "nothing twice: {text}");
        let page = run(".offset(1).limit(3)").await.0;
        assert_eq!(page, found.iter().skip(1).take(3).cloned().collect::<Vec<_>>(), "{text}");
        let (mut up, down) = (
            run(".sort({\"$asc\":[\"size\",\"name\"]})").await.0,
            run(".sort({\"$desc\":[\"path\",\"name\",\"type\"]})").await.0,
        );
        let size = |path: &String| FILES.iter().find(|(known, _)| known == path).map_or(0, |(_, size)| *size);
        assert!(up.is_sorted_by_key(size), "{text}: {up:?}");
        let few = run(".sort({\"$asc\":[\"size\",\"name\"]}).limit(2)").await.0;
        assert_eq!(few, up[..up.len().min(2)], "{text}");
        let folder = |path: &String| {
            let path = path.trim_end_matches('/');
            path.rsplit_once('/').map_or(".".to_owned(), |(folder, _)| folder.to_owned())
        };
        assert!(down.iter().rev().is_sorted_by_key(folder), "{text}: {down:?}");
        up.sort();
        assert_eq!(up, expected.into_iter().collect::<Vec<_>>(), "{text}");
        assert_eq!(down.len(), up.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_the_rows_that_it_may_find_and_few_others() {
    let site = Site::finding(derivation()).await;
    let service = service(&site);
    for folder in 0..20 {
        for file in 0..100 {
            put(&site, &format!("f{folder:02}/deep/er/x{file:03}"), 1, json!({})).await;
        }
        put(&site, &format!("f{folder:02}/y"), 1, json!({})).await;
    }
    for (query, hits, rows_most) in [
        (r#"{"repo":"libs","path":"f07/deep/er","name":"x011"}"#, 1, 1),
        (r#"{"path":"f07/deep/er"}"#, 100, 100),
        (r#"{"path":{"$match":"f07/*"},"name":"x011"}"#, 1, 101),
        (r#"{"$or":[{"path":"f07"},{"path":"f09"}]}"#, 2, 20),
        (r#"{"path":".","type":"folder"}"#, 20, 160),
        (r#"{"depth":2}"#, 20, 340),
        (r#"{"repo":"none"}"#, 0, 0),
        (r#"{"$and":[{"path":"f07"},{"path":"f08"}]}"#, 0, 0),
    ] {
        let query = Query::parse(&format!("items.find({query})"), NOW).unwrap();
        let (found, rows) = all(service.search(&caller(), query.clone())).await;
        assert_eq!(found.len(), hits, "{query:?}: {found:?}");
        assert!(rows <= rows_most, "{rows} rows for {query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_property_or_a_sum_is_looked_up() {
    let site = Site::finding(derivation()).await;
    let service = service(&site);
    for number in 0..300 {
        let place = format!("f{:02}/x{number:03}", number % 7);
        put(&site, &place, 1, json!({"ten": [format!("{}", number / 10)], "many": ["a", "b"]})).await;
    }
    put(&site, "made/", 0, json!({"ten": ["5"]})).await;
    let upload = |path: &'static str, bytes: &'static [u8]| {
        let service = service.clone();
        async move {
            let path = path.parse().unwrap();
            let expected = super::Expected::default();
            let mut upload = service.upload(&caller(), &repo(), &path, None, &expected).await.unwrap();
            upload.write(Bytes::from_static(bytes)).await.unwrap();
            upload.finish(&expected, "x/y", Properties::default()).await.unwrap()
        }
    };
    let item = upload("sum/one", b"known").await;
    upload("sum/two", b"known").await;
    upload("sum/other", b"other").await;
    let sums = item.checksums;
    let of = |field: &str, sum: String| format!(r#"{{"{field}":"{sum}"}}"#);
    let old = r#"{"@ten":"7"}"#.to_owned();
    let queries = [
        (old.clone(), 10, 20),
        (r#"{"@ten":"5","type":"any"}"#.into(), 11, 22),
        (r#"{"$or":[{"@ten":"5"},{"@ten":"6"}]}"#.into(), 20, 42),
        (r#"{"@ten":"5","@many":"a","path":"f01"}"#.into(), 2, 4),
        (r#"{"@ten":"none"}"#.into(), 0, 0),
        (r#"{"@many":{"$eq":"b"},"$or":[{"@many":"a"},{"name":"x"}]}"#.into(), 300, 600),
        (r#"{"$msp":[{"@ten":{"$eq":"4"}},{"@ten":{"$ne":"5"}}]}"#.into(), 10, 20),
        (of("actual_sha1", sums.sha1_hex()), 2, 5),
        (of("actual_md5", sums.md5_hex()), 2, 5),
        (of("sha256", sums.sha256_hex()), 2, 5),
        (of("sha256", "0".repeat(64)), 0, 0),
    ];
    for (query, hits, rows_most) in queries {
        let query = Query::parse(&format!("items.find({query})"), NOW).unwrap();
        let (found, rows) = all(service.search(&caller(), query.clone())).await;
        assert_eq!(found.len(), hits, "{query:?}: {found:?}");
        assert!(found.is_sorted(), "{found:?}");
        assert!(rows <= rows_most, "{rows} rows for {query:?}");
    }
    // What isn't so any more isn't found, whatever the index says yet.
    let path: ArtifactPath = "f00/x070".parse().unwrap();
    service.delete(&caller(), &repo(), &path, None).await.unwrap();
    put(&site, "f01/x071", 1, json!({"ten": ["8"]})).await;
    let query = Query::parse(&format!("items.find({old})"), NOW).unwrap();
    assert_eq!(all(service.search(&caller(), query)).await.0.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_thousands_of_properties_is_found_by_each_of_them() {
    let site = Site::finding(derivation()).await;
    let service = service(&site);
    let many: serde_json::Map<String, Value> =
        (0..120).map(|name| (format!("n{name}"), (0..60).map(|value| json!(format!("{value}"))).collect())).collect();
    let folders = vec!["long".repeat(60); 4].join("/");
    let paths: Vec<String> = (0..20).map(|number| format!("{folders}/{number:02}")).collect();
    for path in &paths {
        put(&site, path, 1, Value::Object(many.clone())).await;
    }
    put(&site, "few", 1, json!({"n7": ["3"]})).await;
    let run = |text: &str| all(service.search(&caller(), Query::parse(text, NOW).unwrap()));
    let (found, read) = run(r#"items.find({"@n7":"3"})"#).await;
    assert_eq!(found.len(), 21);
    assert!(read <= 50, "{read}");
    // They are looked at, and have nothing of this.
    let (found, read) = run(r#"items.find({"@n7":"none"})"#).await;
    assert!(found.is_empty() && read <= 50, "{read}");
    let keys = site.engine.store().derived(b"", b"~", usize::MAX).unwrap();
    let bytes: usize = keys.iter().map(Vec::len).sum();
    assert!(bytes < 21 * 20_000, "{bytes}");
}
