//! What can be done to artifacts that are there: properties, moves, whole folders, versions that lost; and to repositories.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Circle, Node, REPO, Setup, repository, until};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, text: &str) {
    let answer = node.client().put(&path(name), text.as_bytes().to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn call(node: &Node, method: &str, target: &str, body: Option<Value>) -> (u16, String) {
    let method: Method = method.parse().expect("a method");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let answer = node.client().send(method, &format!("/artifactory/api/{target}"), &[], body).await;
    let answer = answer.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

/// Waits until a node shows these properties of an artifact.
async fn has_properties(node: &Node, name: &str, expected: &Value) {
    until(&format!("{} shows {expected}", node.name), || async {
        let target = format!("/artifactory/api/storage/{REPO}/{name}?properties");
        let shown = node.client().get(&target).await?.json();
        if shown["properties"] == *expected { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
}

/// Waits until a node has an artifact with this text, or (`None`) none.
async fn reads(node: &Node, name: &str, text: Option<&str>) {
    until(&format!("{} has {text:?} at {name}", node.name), || async {
        let answer = node.client().get(&path(name)).await?;
        let found = answer.status.is_success().then(|| answer.text());
        if found.as_deref() == text { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_set_and_removed_as_clients_do_it_and_reach_the_others() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    put(berlin, "a/x;kept=yes", "x").await;
    put(berlin, "a/y", "y").await;
    let set = format!("storage/{REPO}/a/x?recursive=1&properties=arch%3Darm%2Cx86%3Bos=linux;");
    assert_eq!(call(berlin, "PUT", &set, None).await.0, 204);
    let all = json!({"arch": ["arm", "x86"], "kept": ["yes"], "os": ["linux"]});
    has_properties(tokyo, "a/x", &all).await;

    let patch = json!({"props": {"os": null, "note": "new", "arch": ["arm"]}});
    assert_eq!(call(tokyo, "PATCH", &format!("metadata/{REPO}/a/x?recursiveProperties=1"), Some(patch)).await.0, 204);
    has_properties(berlin, "a/x", &json!({"arch": ["arm"], "kept": ["yes"], "note": ["new"]})).await;
    assert_eq!(call(berlin, "DELETE", &format!("storage/{REPO}/a/x?properties=arch,note"), None).await.0, 204);
    has_properties(tokyo, "a/x", &json!({"kept": ["yes"]})).await;

    let told = tokyo.cli(&["artifact", "properties", &format!("{REPO}/a"), "--set", "all=1"], "");
    assert!(told.contains("all"), "a folder is labelled, too: {told}");
    for name in ["a", "a/y"] {
        has_properties(berlin, name, &json!({"all": ["1"]})).await;
    }
    // A property belongs to its version.
    put(berlin, "a/y", "newer").await;
    assert_eq!(call(berlin, "GET", &format!("storage/{REPO}/a/y?properties"), None).await.0, 404);

    put(berlin, "b/c/z", "z").await;
    reads(tokyo, "b/c/z", Some("z")).await;
    for _ in 0..2 {
        assert_eq!(call(tokyo, "PUT", &format!("storage/{REPO}/b?recursive=0&properties=team=red"), None).await.0, 204);
        tokyo.cli(&["artifact", "prop", &format!("{REPO}/b/c/"), "--set", "team=blue", "--no-recursive"], "");
    }
    for (name, team) in [("b", "red"), ("b/c", "blue")] {
        has_properties(berlin, name, &json!({ "team": [team] })).await;
        let history = json_of(tokyo, &["artifact", "history", &format!("{REPO}/{name}/")]);
        assert_eq!(history["live"].as_array().map(Vec::len), Some(1), "{history}");
    }
    assert_eq!(call(tokyo, "GET", &format!("storage/{REPO}/b/c/z?properties"), None).await.0, 404);
    // All that is in a folder: the made folders, too.
    assert_eq!(call(tokyo, "PUT", &format!("storage/{REPO}/b?properties=team=all"), None).await.0, 204);
    for name in ["b", "b/c", "b/c/z"] {
        has_properties(berlin, name, &json!({"team": ["all"]})).await;
    }
    assert_eq!(call(tokyo, "DELETE", &format!("storage/{REPO}/b?recursive=0&properties=team"), None).await.0, 204);
    has_properties(berlin, "b/c", &json!({"team": ["all"]})).await;
    until("the folder has none", || async {
        let (status, text) = call(berlin, "GET", &format!("storage/{REPO}/b?properties"), None).await;
        if status == 404 { Ok(()) } else { Err(text) }
    })
    .await;

    let refused = [
        ("a/none?properties=k=v", 404),
        ("a/x?properties=k", 400),
        ("a/x", 400),
        ("a?recursive=0&properties=%3Ck=v", 400),
        ("?recursive=0&properties=k=v", 405),
    ];
    for (target, status) in refused {
        let (found, text) = call(berlin, "PUT", &format!("storage/{REPO}/{target}"), None).await;
        assert_eq!(found, status, "{target}: {text}");
    }
    circle.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_folders_are_moved_copied_and_deleted_everywhere() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    for name in ["d/1", "d/2", "d/e/3", "dx"] {
        put(berlin, name, name).await;
    }
    // As clients send it: encoded, and without the first slash.
    let (status, text) =
        call(berlin, "POST", &format!("move/{REPO}/dx?to={REPO}%2Fmoved%2Fdx&suppressLayouts=0&dry=0"), None).await;
    assert_eq!(status, 200, "{text}");
    reads(tokyo, "moved/dx", Some("dx")).await;
    reads(tokyo, "dx", None).await;
    let dry = circle.nodes[0].cli(&["artifact", "move", &format!("{REPO}/d"), &format!("{REPO}/f"), "--dry-run"], "");
    assert!(dry.contains("3 files"), "{dry}");
    reads(berlin, "d/e/3", Some("d/e/3")).await;
    tokyo.cli(&["artifact", "copy", &format!("{REPO}/d"), &format!("{REPO}/f")], "");
    reads(berlin, "f/e/3", Some("d/e/3")).await;
    for side in ["d/e/3", "f/e/3"] {
        let told = tokyo.cli(&["audit", "--path", &format!("{REPO}/{side}")], "");
        assert!(told.contains(&format!("{REPO}/d/e/3 to {REPO}/f/e/3")), "{told}");
    }
    let refused = berlin.try_cli(&["artifact", "rm", &format!("{REPO}/d")], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--recursive"));
    berlin.cli(&["artifact", "rm", "--recursive", &format!("{REPO}/d")], "");
    for name in ["d/1", "d/2", "d/e/3"] {
        reads(tokyo, name, None).await;
    }
    reads(tokyo, "f/1", Some("d/1")).await;
    // Onto itself, into itself, from nowhere, to nowhere.
    for (target, status) in [("f?to=/libs/f/g", 400), ("moved/dx?to=/libs/moved/dx", 400), ("none?to=/libs/x", 404)] {
        assert_eq!(call(berlin, "POST", &format!("move/{REPO}/{target}"), None).await.0, status, "{target}");
    }
    // Up into what it is in: what has its name in it would land in it on the way.
    for name in ["up/up/main", "up/main"] {
        put(berlin, name, name).await;
    }
    for kind in ["move", "copy"] {
        let (status, text) = call(berlin, "POST", &format!("{kind}/{REPO}/up?to=/{REPO}/"), None).await;
        assert!(status == 400 && text.contains("'libs/up/up/'"), "{text}");
    }
    berlin.cli(&["artifact", "rm", &format!("{REPO}/up/up/main")], "");
    assert_eq!(call(berlin, "POST", &format!("move/{REPO}/up?to=/{REPO}/"), None).await.0, 200);
    reads(tokyo, "main", Some("up/main")).await;
    reads(tokyo, "up/main", None).await;
    berlin.cli(&["artifact", "move", &format!("{REPO}/main"), &format!("{REPO}/f/main")], "");
    // A base URL with properties, to which a build tool adds paths.
    let base = format!("/artifactory/{REPO};build=7");
    let answer = berlin.client().put(&format!("{base}/f/built;by=a+b"), "x").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    has_properties(tokyo, "f/built", &json!({"build": ["7"], "by": ["a b"]})).await;
    let answer = tokyo.client().get(&format!("{base}/f/built")).await.expect("an answer");
    assert_eq!(answer.text(), "x");
    let other = "repo create other";
    berlin.cli(&other.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(call(berlin, "POST", &format!("move/{REPO}/f/?to=/other"), None).await.0, 200);
    let answer = berlin.client().get("/artifactory/other/e/3").await.expect("an answer");
    assert_eq!(answer.text(), "d/e/3");
    reads(tokyo, "f/e/3", None).await;
    let listing = circle.converged().await;
    assert_eq!(listing.keys().map(String::as_str).collect::<Vec<_>>(), ["/moved/dx"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_made_as_one_stays_without_files_and_is_the_same_everywhere() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    let about = |node, folder: &str| {
        let target = format!("storage/{REPO}/{folder}");
        async move { call(node, "GET", &target, None).await }
    };
    assert_eq!(about(berlin, "a/b").await.0, 404);
    for _ in 0..2 {
        let answer = berlin.client().send(Method::PUT, &path("a/b/"), &[], "").await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        assert_eq!((&answer.json()["path"], &answer.json()["createdBy"]), (&json!("/a/b"), &json!("admin")));
    }
    put(berlin, "a/b/x", "x").await;
    reads(tokyo, "a/b/x", Some("x")).await;
    tokyo.cli(&["artifact", "rm", &format!("{REPO}/a/b/x")], "");
    reads(berlin, "a/b/x", None).await;
    let (status, text) = about(berlin, "a/b").await;
    let folder: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &folder["children"], &folder["createdBy"]), (200, &json!([]), &json!("admin")), "{text}");
    let parent: Value = serde_json::from_str(&about(tokyo, "a").await.1).expect("JSON");
    assert_eq!(parent["children"], json!([{"uri": "/b", "folder": true}]));
    let page = tokyo.client().get(&path("a/")).await.expect("an answer");
    assert!(page.text().contains("b/"), "{}", page.text());
    let listed = json_of(tokyo, &["artifact", "ls", REPO]);
    assert_eq!(listed["files"], json!([]), "a folder is no file");
    let (_, text) = call(tokyo, "GET", &format!("storage/{REPO}?list&deep=1&listFolders=1"), None).await;
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let rows =
        listed["files"].as_array().expect("a list").iter().map(|row| (row["uri"].clone(), row["folder"].clone()));
    assert_eq!(rows.collect::<Vec<_>>(), [(json!("/a"), json!(true)), (json!("/a/b"), json!(true))]);

    // Properties of its own, a move, a copy elsewhere.
    let labelled = berlin.client().send(Method::PUT, &path("a/b/;team=red"), &[], "").await.expect("an answer");
    assert_eq!(labelled.status, StatusCode::CREATED);
    has_properties(tokyo, "a/b", &json!({"team": ["red"]})).await;
    tokyo.cli(&["artifact", "move", &format!("{REPO}/a"), &format!("{REPO}/c/d")], "");
    has_properties(berlin, "c/d/b", &json!({"team": ["red"]})).await;
    assert_eq!(about(berlin, "a").await.0, 404);
    berlin.cli(&["repo", "create", "other"], "");
    berlin.cli(&["artifact", "copy", REPO, "other"], "");
    assert_eq!(call(berlin, "GET", "storage/other/c/d/b", None).await.0, 200);
    let history = json_of(tokyo, &["artifact", "history", &format!("{REPO}/c/d/b/")]);
    assert_eq!(history["live"].as_array().map(Vec::len), Some(1), "{history}");

    berlin.cli(&["artifact", "mkdir", &format!("{REPO}/c/e")], "");
    berlin.cli(&["artifact", "rm", "--recursive", &format!("{REPO}/c/d")], "");
    assert_eq!((about(berlin, "c/d").await.0, about(berlin, "c/e").await.0), (404, 200));
    circle.converged().await;
    assert_eq!((about(tokyo, "c/d").await.0, about(tokyo, "c/e").await.0), (404, 200));
    // A file is no folder, and a folder has no body.
    put(berlin, "file", "x").await;
    for (target, body, status) in [("file/", "", 409), ("f/", "bytes", 400)] {
        let answer = berlin.client().send(Method::PUT, &path(target), &[], body).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), status, "{target}: {}", answer.text());
    }
    let counted = repository(&berlin.status().await.expect("it runs"), REPO).expect("a repository");
    assert_eq!((&counted["artifacts"], &counted["folders"]), (&json!(1), &json!(1)), "a folder is no artifact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_repositorys_contents_are_copied_moved_and_deleted() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    let names: Vec<String> = (0..150).map(|n| format!("{}/{n}", n % 7)).collect();
    for name in &names {
        put(berlin, name, name).await;
    }
    circle.converged().await;
    for key in ["other", "third"] {
        berlin.cli(&["repo", "create", key], "");
    }
    let told = berlin.cli(&["artifact", "copy", REPO, "third/copy/"], "");
    assert!(told.contains("150 files"), "{told}");
    let inside = berlin.try_cli(&["artifact", "move", REPO, &format!("{REPO}/inside")], "");
    assert!(String::from_utf8_lossy(&inside.stderr).contains("into itself"), "{inside:?}");
    // A move that was broken off in the middle is asked for again: what is there already is left alone.
    berlin.cli(&["artifact", "move", &format!("{REPO}/3"), "other/3"], "");
    let told = berlin.cli(&["artifact", "move", REPO, "other"], "");
    assert!(told.contains(&format!("{} files", 150 - names.iter().filter(|name| name.starts_with("3/")).count())));
    let nothing = berlin.cli(&["artifact", "move", REPO, "other"], "");
    assert!(nothing.contains("0 files"), "{nothing}");
    assert_eq!(circle.converged().await.len(), 0);
    for name in &names {
        let answer = berlin.client().get(&format!("/artifactory/other/{name}")).await.expect("an answer");
        assert_eq!(answer.text(), *name);
    }
    berlin.cli(&["artifact", "copy", "other", REPO], "");
    assert_eq!(circle.converged().await.len(), 150);

    let refused = tokyo.try_cli(&["artifact", "rm", REPO], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--recursive"), "{refused:?}");
    let answer = tokyo.client().send(Method::DELETE, &path(""), &[], "").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(circle.converged().await.len(), 0);
    // It is empty, and that is no error; it is there, and takes artifacts.
    tokyo.cli(&["artifact", "rm", "--recursive", REPO], "");
    put(berlin, "again", "again").await;
    reads(tokyo, "again", Some("again")).await;
    let missing = tokyo.client().send(Method::DELETE, "/artifactory/none/", &[], "").await.expect("an answer");
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_configured_for_all_its_members_and_a_member_is_removed() {
    let circle = Circle::new(3, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    put(berlin, "x", "x").await;
    circle.converged().await;
    tokyo.cli(&["repo", "configure", REPO, "--description", "for all of us"], "");
    let (status, text) =
        call(berlin, "POST", &format!("repositories/{REPO}"), Some(json!({"packageType": "Maven"}))).await;
    assert_eq!(status, 200, "{text}");
    for node in &circle.nodes {
        until(&format!("{} is configured", node.name), || async {
            let shown = node.client().get(&format!("/artifactory/api/repositories/{REPO}")).await?.json();
            let is_so = shown["description"] == "for all of us" && shown["packageType"] == "maven";
            if is_so { Ok(()) } else { Err(shown.to_string()) }
        })
        .await;
    }
    berlin.cli(&["federation", "remove", REPO, "site-2"], "");
    until("the removed member shows it no more", || async {
        let answer = circle.nodes[2].client().get(&path("x")).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    reads(tokyo, "x", Some("x")).await;
    berlin.cli(&["federation", "invite", REPO, "site-2"], "");
    reads(&circle.nodes[2], "x", Some("x")).await;
    circle.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_are_dismissed_or_restored_once_for_everybody() {
    let circle = apart().await;
    let siblings = async |node: &Node| {
        let status = node.status().await.expect("a status");
        repository(&status, REPO).expect("libs")["siblings"].as_u64()
    };
    assert_eq!(siblings(&circle.nodes[0]).await, Some(2));
    circle.nodes[0].cli(&["conflict", "dismiss", &format!("{REPO}/x")], "");
    circle.converged().await;
    assert_eq!(siblings(&circle.nodes[1]).await, Some(1));
    reads(&circle.nodes[1], "x", Some("tokyo")).await;
    let again = circle.nodes[1].try_cli(&["conflict", "dismiss", &format!("{REPO}/x")], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("has no conflict"));
}

/// Two nodes that wrote two paths apart, then met: tokyo's are shown.
async fn apart() -> Circle {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    for name in ["x", "y"] {
        put(&circle.nodes[0], name, "first").await;
    }
    circle.converged().await;
    circle.nodes[1].stop();
    for name in ["x", "y"] {
        put(&circle.nodes[0], name, "berlin").await;
    }
    circle.nodes[0].stop();
    circle.nodes[1].start();
    for name in ["x", "y"] {
        put(&circle.nodes[1], name, "tokyo").await;
    }
    circle.nodes[0].start();
    circle.converged().await;
    circle
}

fn json_of(node: &Node, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&node.cli(&args, "")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_listed_shown_and_settled_and_nothing_is_lost() {
    let circle = apart().await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    let x = format!("{REPO}/x");
    for node in [berlin, tokyo] {
        let listed = json_of(node, &["conflict", "list", REPO]);
        let paths: Vec<_> = listed["conflicts"].as_array().expect("a list").iter().map(|c| c["path"].clone()).collect();
        assert_eq!(paths, ["x", "y"], "at {}", node.name);
    }
    let shown = json_of(berlin, &["conflict", "show", &x]);
    assert_eq!((&shown["live"][0]["node_name"], &shown["live"][0]["state"]), (&json!("site-1"), &json!("shown")));
    assert_eq!((&shown["live"][1]["node_name"], &shown["live"][1]["state"]), (&json!("site-0"), &json!("sibling")));
    let human = berlin.cli(&["conflict", "show", &x], "");
    assert!(human.contains("sibling") && human.contains("conflict restore"), "{human}");

    // The version as the table shows it, short.
    let lost = shown["live"][1]["version"].as_str().expect("a version");
    let parts: Vec<&str> = lost.split('.').collect();
    let short = format!("{}.{}.{}", &parts[0][..8], &parts[1][..8], parts[2]);
    assert!(human.contains(&short), "{human}");
    berlin.cli(&["conflict", "restore", &x, &short], "");
    reads(tokyo, "x", Some("berlin")).await;
    circle.converged().await;
    assert_eq!(json_of(tokyo, &["conflict", "list", REPO])["conflicts"].as_array().map(Vec::len), Some(1));
    let again = tokyo.try_cli(&["conflict", "show", &x], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("has no conflict"));

    // What was shown before is in the history, and comes back from there; from a delete as well.
    tokyo.cli(&["artifact", "rm", &x], "");
    reads(berlin, "x", None).await;
    let history = json_of(berlin, &["artifact", "history", &x]);
    let ended = history["history"].as_array().expect("a list");
    assert_eq!(ended[0]["ended"]["how"], "deleted", "{history}");
    let of_tokyo = ended.iter().find(|past| past["node_name"] == "site-1").expect("tokyo's version");
    berlin.cli(&["artifact", "restore", &x, of_tokyo["version"].as_str().expect("a version")], "");
    reads(tokyo, "x", Some("tokyo")).await;
    let unknown = berlin.try_cli(&["artifact", "restore", &x, "00.00.1"], "");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("is no version of it"));
    circle.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_did_is_undone_without_touching_what_others_did() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    for name in ["kept", "overwritten", "deleted", "later"] {
        put(berlin, name, "good").await;
    }
    circle.converged().await;
    for (name, text) in [("overwritten", "bad"), ("added", "bad"), ("later", "bad")] {
        put(tokyo, name, text).await;
    }
    tokyo.cli(&["artifact", "rm", &format!("{REPO}/deleted")], "");
    circle.converged().await;
    put(berlin, "later", "repaired").await;
    circle.converged().await;

    let words = ["rollback", "--author", "site-1", "--since", "1h", "--repo", REPO];
    let dry = berlin.cli(&[&words[..], &["--dry-run"]].concat(), "");
    for line in ["restore  libs/deleted", "restore  libs/overwritten", "delete   libs/added", "3 paths would be undone"]
    {
        assert!(dry.contains(line), "{line}: {dry}");
    }
    reads(berlin, "added", Some("bad")).await;
    let done = json_of(berlin, &words);
    assert_eq!((&done["undone"], &done["failed"]), (&json!(3), &json!(0)), "{done}");
    for (name, text) in
        [("kept", Some("good")), ("overwritten", Some("good")), ("deleted", Some("good")), ("added", None)]
    {
        reads(tokyo, name, text).await;
    }
    reads(tokyo, "later", Some("repaired")).await;
    let nothing = json_of(berlin, &["rollback", "--user", "nobody", "--since", "1h"]);
    assert_eq!(nothing["undone"], 0);
    circle.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_says_who_lacks_what_and_a_sync_compares_states() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    put(&circle.nodes[0], "x", "x").await;
    let words = ["federation", "checkpoint", REPO, "--wait"];
    let all = json_of(&circle.nodes[0], &words);
    assert_eq!((&all["confirmed"], &all["members"][0]["name"]), (&json!(true), &json!("site-1")), "{all}");
    let same = json_of(&circle.nodes[1], &["federation", "sync", REPO, "--dry-run"]);
    assert_eq!((&same["progress"]["take"], &same["progress"]["give"]), (&json!(0), &json!(0)), "{same}");

    circle.nodes[1].stop();
    put(&circle.nodes[0], "y", "y").await;
    let output = circle.nodes[0].try_cli(&["federation", "checkpoint", REPO, "--wait", "--timeout", "1s"], "");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let lagging = told.lines().find(|line| line.contains("lacks 1 entries"));
    assert!(lagging.is_some_and(|line| line.trim_start().starts_with("site-1") && line.contains(" no ")), "{told}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("not all members of libs have confirmed it"), "{error}");
    let told = circle.nodes[0].try_cli(&["federation", "checkpoint", REPO, "--json"], "");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((&told["confirmed"], &told["members"][0]["behind_entries"]), (&json!(false), &json!(1)), "{told}");
    let told = json_of(&circle.nodes[0], &["federation", "status", REPO]);
    let [me, other] = &told["federations"][0]["members"].as_array().expect("members")[..] else { panic!("{told}") };
    assert_eq!((&me["name"], &me["state"]), (&json!("site-0"), &json!("self")), "{told}");
    let shown = (&other["name"], &other["role"], &other["connected"], &other["behind_entries"]);
    assert_eq!(shown, (&json!("site-1"), &json!("full"), &json!(false), &json!(1)), "{told}");
    assert!(other["behind_ms"].is_u64() && other["told_ms_ago"].is_u64(), "{told}");
    let told = circle.nodes[0].cli(&["federation", "status"], "");
    let lagging = told.lines().find(|line| line.trim_start().starts_with("site-1"));
    assert!(lagging.is_some_and(|line| line.contains("no, seen ") && line.contains("1 entries")), "{told}");
    let none = circle.nodes[0].try_cli(&["federation", "status", "none"], "");
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no repository 'none' here"));
    let alone = circle.nodes[0].try_cli(&["federation", "sync", REPO], "");
    assert!(String::from_utf8_lossy(&alone.stderr).contains("no full member"));

    circle.nodes[1].start();
    circle.nodes[0].cli(&words, "");
    let done = json_of(&circle.nodes[1], &["federation", "sync", REPO, "--member", "site-0"]);
    assert_eq!(done["progress"]["done"], true, "{done}");
    circle.converged().await;
}
