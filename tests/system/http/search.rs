//! Searches, as clients send them.

use serde_json::Value;

use super::{BODY, Site};
use crate::harness::Setup;

const SHA1: &str = "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";

fn site() -> Site {
    let site = Site::new(Setup::default());
    for (path, body) in [
        ("org/acme/lib/1.0/lib-1.0.jar;arch=x86;arch=arm;build.name=nightly%20run", BODY),
        ("org/acme/lib/1.0/lib-1.0.pom", b"<project/>"),
        ("org/acme/app/app.jar;arch=x86", b"app"),
        ("top.jar", b"top"),
    ] {
        assert_eq!(site.put(&format!("/artifactory/libs/{path}"), body).status, 201, "{path}");
    }
    site
}

fn aql(site: &Site, query: &str) -> crate::harness::Got {
    site.curl("/artifactory/api/search/aql", &["-X", "POST", "-H", "Content-Type: text/plain", "--data-binary", query])
}

fn uris(document: &Value) -> Vec<&str> {
    let results = document["results"].as_array().expect("results");
    results.iter().map(|row| row["uri"].as_str().and_then(|uri| uri.split_once("/libs/")).expect("a link").1).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_tells_what_it_includes_and_its_range() {
    let site = site();
    let found = aql(
        &site,
        r#"items.find({"repo":"libs","@arch":"x86","name":{"$match":"*.jar"}}).include("name","path","size","actual_sha1","property")"#,
    );
    assert_eq!((found.status, found.header("content-type")), (200, "application/json"), "{}", found.text());
    let document = found.json();
    assert_eq!(document["range"], serde_json::json!({"start_pos": 0, "end_pos": 2, "total": 2, "rows_read": 4}));
    let lib = &document["results"][1];
    assert_eq!((lib["path"].as_str(), lib["name"].as_str()), (Some("org/acme/lib/1.0"), Some("lib-1.0.jar")));
    assert_eq!((lib["size"].as_u64(), lib["actual_sha1"].as_str()), (Some(BODY.len() as u64), Some(SHA1)));
    let pair = |key: &str, value: &str| serde_json::json!({"key": key, "value": value});
    let pairs = [pair("arch", "x86"), pair("arch", "arm"), pair("build.name", "nightly run")];
    assert_eq!(lib["properties"], serde_json::json!(pairs));
    assert!(lib.get("repo").is_none() && lib.get("created").is_none(), "{lib}");
    let usual = aql(&site, r#"items.find({"path":"."})"#).json();
    let names = ["created", "created_by", "modified", "modified_by", "name", "path", "repo", "size", "type", "updated"];
    let told = usual["results"][0].as_object().expect("a row");
    let mut keys: Vec<&str> = told.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, names);
    assert_eq!(told["path"], ".");
    let folders = aql(&site, r#"items.find({"type":"folder"}).sort({"$desc":["path","name"]}).limit(2)"#).json();
    let name = |number: usize| folders["results"][number]["name"].as_str().map(str::to_owned);
    assert_eq!((name(0), name(1)), (Some("1.0".into()), Some("lib".into())), "{folders}");
    assert_eq!(folders["range"]["limit"], 2);
    let none = aql(&site, r#"items.find({"repo":"other"})"#).json();
    assert_eq!((none["results"].as_array().map(Vec::len), &none["range"]["total"]), (Some(0), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_query_is_told_with_its_place() {
    let site = site();
    let refused = aql(&site, r#"items.find({"nom":"x"})"#);
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("at column 13: 'nom' is no field"), "{}", refused.text());
    for (path, named) in [
        ("artifact", "name"),
        ("artifact?name=", "name"),
        ("prop?repos=libs", "property"),
        ("checksum?sha1=xyz", "sha1"),
        ("checksum?repos=libs", "checksum"),
        ("pattern?pattern=libs", "pattern"),
    ] {
        let refused = site.curl(&format!("/artifactory/api/search/{path}"), &[]);
        assert!(refused.status == 400 && refused.message().contains(named), "{path}: {}", refused.text());
    }
    assert_eq!(site.curl("/artifactory/api/search/pattern?pattern=none:*", &[]).status, 404);
    let stranger = site.stranger("/artifactory/api/search/artifact?name=lib", &[]);
    assert_eq!(stranger.status, 401, "{}", stranger.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_searches_find_by_name_property_checksum_and_pattern() {
    let site = site();
    let search = |what: &str| site.curl(&format!("/artifactory/api/search/{what}"), &[]).json();
    let (app, lib, pom) = ("org/acme/app/app.jar", "org/acme/lib/1.0/lib-1.0.jar", "org/acme/lib/1.0/lib-1.0.pom");
    assert_eq!(uris(&search("artifact?name=lib-")), [lib, pom]);
    assert_eq!(uris(&search("artifact?name=*.jar&repos=libs")), [app, lib, "top.jar"]);
    assert!(uris(&search("artifact?name=*.jar&repos=other")).is_empty());
    assert_eq!(uris(&search("prop?arch=arm,sparc")), [lib]);
    assert_eq!(uris(&search("prop?arch=x86&build.name=nightly+run")), [lib]);
    assert_eq!(uris(&search("prop?arch")), [app, lib]);
    assert_eq!(uris(&search(&format!("checksum?sha1={SHA1}"))), [lib]);
    assert_eq!(uris(&search(&format!("checksum?sha1={}&repos=other", SHA1.to_uppercase()))), [""; 0]);
    let files = search("pattern?pattern=libs:org/**/*.jar");
    assert_eq!(files["files"], serde_json::json!([app, lib]));
    assert!(files["repoUri"].as_str().is_some_and(|uri| uri.ends_with("/artifactory/api/storage/libs")), "{files}");
    assert_eq!(search("pattern?pattern=libs:*.jar")["files"], serde_json::json!(["top.jar"]));
    let header = "X-Result-Detail: info, properties";
    let detailed = site.curl("/artifactory/api/search/artifact?name=app", &["-H", header]).json();
    let row = &detailed["results"][0];
    assert_eq!((row["size"].as_str(), &row["properties"]["arch"]), (Some("3"), &serde_json::json!(["x86"])), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_what_the_query_language_does() {
    let site = site();
    let found = |args: &[&str]| site.node.cli(&[&["artifact", "search"], args].concat(), "");
    let paths = |told: &str| {
        told.lines().skip(1).map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&found(&["libs/org/acme/lib", "--name", "*.jar"])), ["libs/org/acme/lib/1.0/lib-1.0.jar"]);
    assert_eq!(paths(&found(&["--property", "arch", "--property", "arch=arm"])), ["libs/org/acme/lib/1.0/lib-1.0.jar"]);
    assert_eq!(paths(&found(&["--aql", r#"items.find({"path":"."})"#])), ["libs/top.jar"]);
    let refused = site.node.try_cli(&["artifact", "search", "--aql", "items.look()"], "");
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("at column 7: 'find' was expected"), "{complaint}");
}
