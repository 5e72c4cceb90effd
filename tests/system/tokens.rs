//! Who has no good pairing token gets nothing: tried with nodes of our own kind, as a second binary.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Node, Setup, until};

struct World {
    issuer: Node,
    root: TempDir,
}

/// What a refused pairing must leave as it was.
async fn trust_of(node: &Node) -> Value {
    let status = node.status().await.expect("a status");
    let listed = node.client().get("/artifactory/api/mesh/trust").await.expect("an answer").json();
    let names: Vec<Value> =
        listed["members"].as_array().expect("members").iter().map(|one| one["node"].clone()).collect();
    json!([status["trust"], listed["circle"], names, status["node"]["role"]])
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().expect("a folder");
        let mut issuer = Node::init(root.path(), "issuer", Setup { new_circle: true, ..Setup::default() });
        issuer.start();
        issuer.cli(&["repo", "create", "libs"], "");
        World { issuer, root }
    }

    fn node(&self, name: &str, setup: Setup) -> Node {
        let mut node = Node::init(self.root.path(), name, setup);
        node.start();
        node
    }

    fn token(&self, args: &[&str]) -> String {
        self.issuer.cli(&[&["pair", "create", "--role", "full"], args].concat(), "").trim().to_owned()
    }

    /// `node` tries `token`, is told `reason`, and nothing changes anywhere.
    async fn refused(&self, node: &Node, token: &str, reason: &str) {
        let before = (trust_of(&self.issuer).await, trust_of(node).await);
        let output = node.try_cli(&["pair", "accept"], token);
        assert_eq!(output.status.code(), Some(1), "{}: {}", node.name, said(&output));
        assert!(said(&output).contains(reason), "{}: {reason:?} isn't in {:?}", node.name, said(&output));
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(before, (trust_of(&self.issuer).await, trust_of(node).await), "{reason}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_door_once_and_for_one_node() {
    let world = World::new();
    let (first, second) = (world.node("first", Setup::default()), world.node("second", Setup::default()));
    let token = world.token(&[]);
    first.cli(&["pair", "accept"], &token);
    let before = trust_of(&world.issuer).await;
    world.refused(&second, &token, "already used").await;
    world.refused(&second, &token, "already used").await;
    let again = first.cli(&["pair", "accept"], &token);
    assert!(again.contains("joined circle"), "{again}");
    assert_eq!(before, trust_of(&world.issuer).await, "the same newcomer gets the same grant");
    let used = trust_of(&world.issuer).await[0]["used_tokens"].as_array().map(Vec::len);
    assert_eq!(used, Some(1));
    second.cli(&["pair", "accept"], &world.token(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused_by_both_sides() {
    let world = World::new();
    let late = world.node("late", Setup::default());
    let token = world.token(&["--ttl", "1s"]);
    // The time it takes to expire is what is waited for; whoever is early would be let in.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    world.refused(&late, &token, "expired").await;
    late.cli(&["pair", "accept"], &world.token(&["--ttl", "1m"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_token_is_refused_wherever_it_was_altered() {
    let world = World::new();
    let node = world.node("node", Setup::default());
    let token = world.token(&[]);
    let prefix = "artimesh-pair-1.".len();
    let letters = token.as_bytes();
    let step = (letters.len() - prefix) / 24;
    for at in (prefix..letters.len() - 1).step_by(step).chain([letters.len() - 2]) {
        let mut altered = letters.to_vec();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        world.refused(&node, &altered, "damaged or was altered").await;
    }
    for cut in [&token[..token.len() - 4], &token[..prefix + 10], &format!("{token}AAAA")] {
        world.refused(&node, cut, "damaged or was altered").await;
    }
    for other in ["rubbish", "artimesh-pair-2.AAAA", "Bearer x"] {
        world.refused(&node, other, "not a pairing token").await;
    }
    let empty = node.try_cli(&["pair", "accept"], "\n");
    assert_eq!(empty.status.code(), Some(1), "{}", said(&empty));
    node.cli(&["pair", "accept"], &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_circle_is_neither_captured_nor_let_in() {
    let world = World::new();
    let other = world.node("other", Setup { new_circle: true, ..Setup::default() });
    let token = world.token(&[]);
    world.refused(&other, &token, "circle").await;
    let captured = other.cli(&["pair", "create", "--role", "full"], "");
    let before = trust_of(&world.issuer).await;
    let output = world.issuer.try_cli(&["pair", "accept"], &captured);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(before, trust_of(&world.issuer).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_issuer_was_replaced_or_is_gone_is_refused() {
    let mut world = World::new();
    let node = world.node("node", Setup::default());
    let token = world.token(&[]);
    let port = |status: &Value| status["swarm"]["control"][0].as_str().expect("an address").to_owned();
    let address = port(&world.issuer.status().await.expect("a status"));
    world.issuer.stop();
    let gone = node.try_cli(&["pair", "accept"], &token);
    assert_eq!(gone.status.code(), Some(1), "{}", said(&gone));
    assert!(said(&gone).contains("pairing failed"), "{}", said(&gone));

    // Another node answers at the issuer's address: it can't prove the issuer's key.
    let setup = Setup { new_circle: true, ..Setup::default() }.with("ARTIMESH_SWARM_LISTEN", &address);
    let impostor = world.node("impostor", setup);
    let before = (trust_of(&impostor).await, trust_of(&node).await);
    let fooled = node.try_cli(&["pair", "accept"], &token);
    assert_eq!(fooled.status.code(), Some(1), "{}", said(&fooled));
    assert_eq!(before, (trust_of(&impostor).await, trust_of(&node).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_pairing_has_no_say_and_no_circle() {
    let world = World::new();
    let stranger = world.node("stranger", Setup::default());
    for args in [&["trust", "list"][..], &["repo", "list"], &["status"]] {
        let output = stranger.try_cli(args, "");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("libs"), "{args:?}");
    }
    for args in [&["pair", "create", "--role", "full"][..], &["repo", "create", "x"], &["trust", "revoke", "issuer"]] {
        let output = stranger.try_cli(args, "");
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(!said(&output).is_empty());
    }
    let put = stranger.client().put("/artifactory/libs/x", "x").await.expect("an answer");
    assert_eq!(put.status, 404, "{}", put.text());
    until("the issuer knows of nobody", || async {
        let members = world.issuer.status().await?["members"].clone();
        if members.as_array().map(Vec::len) == Some(1) { Ok(()) } else { Err(members.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_and_a_member_without_the_right_admit_nobody() {
    let world = World::new();
    let (edge, plain) = (world.node("edge", Setup::default()), world.node("plain", Setup::default()));
    edge.cli(&["pair", "accept"], &world.issuer.cli(&["pair", "create", "--role", "edge"], ""));
    plain.cli(&["pair", "accept"], &world.token(&[]));
    let before = trust_of(&world.issuer).await;
    for node in [&edge, &plain] {
        let output = node.try_cli(&["pair", "create", "--role", "edge"], "");
        assert_eq!(output.status.code(), Some(1), "{}: {}", node.name, said(&output));
        let output = node.try_cli(&["trust", "revoke", "issuer"], "");
        assert_eq!(output.status.code(), Some(1), "{}: {}", node.name, said(&output));
    }
    let output = world.issuer.try_cli(&["pair", "create", "--role", "edge", "--can", "admit"], "");
    assert_eq!(output.status.code(), Some(1), "an edge can have no such right");
    assert_eq!(before, trust_of(&world.issuer).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_comes_back_with_no_token_that_was_used() {
    let world = World::new();
    let (node, other) = (world.node("node", Setup::default()), world.node("other", Setup::default()));
    let (own, others) = (world.token(&[]), world.token(&[]));
    node.cli(&["pair", "accept"], &own);
    other.cli(&["pair", "accept"], &others);
    world.issuer.cli(&["trust", "revoke", "node", "--wait", "10s"], "");
    let before = trust_of(&world.issuer).await;
    for token in [&own, &others] {
        let output = node.try_cli(&["pair", "accept"], token);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(said(&output).contains("already used"), "{}", said(&output));
    }
    assert_eq!(before, trust_of(&world.issuer).await);
    assert_eq!(before[0]["revoked"].as_array().map(Vec::len), Some(1), "{before}");
}
