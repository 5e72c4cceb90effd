//! What the OpenAPI document says of the surface, held against a node by a tool that believes nothing: schemathesis makes
//! requests out of the document, right ones and wrong ones, and looks whether each answer is one that is described.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::python;
use crate::harness::{Setup, is_long};
use crate::http::Site;

/// A repository with files, folders and properties, another to be lost, and a path with a history.
fn furnished(setup: Setup) -> Site {
    let site = Site::new(setup);
    site.node.cli(&["repo", "create", "spare"], "");
    for (path, body) in [
        ("/artifactory/libs/a.txt;color=red;size=1,2", "first"),
        ("/artifactory/libs/a.txt;color=blue", "second"),
        ("/artifactory/libs/note.txt", "a note"),
        ("/artifactory/libs/org/x/lib-1.0.jar;kind=release", "a jar"),
        ("/artifactory/spare/note.txt", "another note"),
    ] {
        assert_eq!(site.put(path, body.as_bytes()).status, 201, "{path}");
    }
    site
}

/// Runs schemathesis with every check. Whatever it finds is in what it says.
fn try_all(site: &Site, words: &[String]) {
    let examples = if is_long() { "100" } else { "6" };
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(python().with_file_name("schemathesis"));
    command
        .arg("--no-color")
        .arg("--config-file")
        .arg(clients.join("schemathesis.toml"))
        .arg("run")
        .arg(site.url("/artifactory/api/openapi.json"))
        .args(["--checks", "all", "--generation-deterministic", "--suppress-health-check", "too_slow"])
        .args(["--max-examples", examples, "--request-timeout", "60", "--continue-on-failure", "--no-shrink"])
        .args(words)
        .current_dir(site.root.path())
        .env("NO_PROXY", "*")
        .env("SCHEMATHESIS_HOOKS", clients.join("slashes.py"));
    let output = command.output().expect("schemathesis runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success() && said.contains(" passed"), "schemathesis found something:\n{complained}");
    assert_eq!(site.stranger("/healthz", &[]).status, 200);
    let log = fs::read_to_string(site.node.log_path()).expect("a log");
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_the_administrator_is_one_that_the_document_describes() {
    let site = furnished(Setup::default());
    try_all(&site, &["--header".to_owned(), format!("Authorization: Bearer {}", site.node.token())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_a_stranger_is_one_that_the_document_describes() {
    let site = furnished(Setup::default().with("ARTIMESH_HTTP_ANONYMOUS_READ", "true"));
    try_all(&site, &[]);
}
