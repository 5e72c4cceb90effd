//! Several nodes of one circle.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;

use super::node::{Node, Setup};
use super::wait::until;

/// Full members first, then edges; the first founded the circle.
pub struct Circle {
    pub nodes: Vec<Node>,
    pub fulls: usize,
    pub root: TempDir,
}

pub const REPO: &str = "libs";

impl Circle {
    /// Starts and pairs them; all have the federated repository `libs`.
    pub async fn new(fulls: usize, edges: usize, setup: Setup) -> Circle {
        let root = tempfile::tempdir().expect("a folder");
        let mut nodes = Vec::new();
        for index in 0..fulls + edges {
            let name = if index < fulls { format!("site-{index}") } else { format!("edge-{}", index - fulls) };
            let user = setup.user.map(|first| first + index as u32);
            let setup = Setup { new_circle: index == 0, user, ..setup.clone() };
            nodes.push(Node::init(root.path(), &name, setup));
        }
        Circle::of(nodes, fulls, root).await
    }

    /// The same of nodes that were only initialised, the first with a new circle.
    pub async fn of(mut nodes: Vec<Node>, fulls: usize, root: TempDir) -> Circle {
        for node in &mut nodes {
            node.start();
        }
        let circle = Circle { nodes, fulls, root };
        for (index, node) in circle.nodes.iter().enumerate().skip(1) {
            let role = if index < fulls { "full" } else { "edge" };
            circle.pair(node, role);
        }
        let members: Vec<String> = circle.nodes[1..fulls].iter().map(|node| node.name.clone()).collect();
        let mut args = vec!["repo", "create", REPO, "--federated"];
        for member in &members {
            args.extend(["--member", member]);
        }
        circle.nodes[0].cli(&args, "");
        circle.have_repository(REPO).await;
        circle
    }

    /// Pairs `node` by a token of the first.
    pub fn pair(&self, node: &Node, role: &str) {
        let token = self.nodes[0].cli(&["pair", "create", "--role", role], "");
        node.cli(&["pair", "accept"], &token);
    }

    async fn have_repository(&self, key: &str) {
        for node in &self.nodes {
            until(&format!("{} gets the repository {key}", node.name), || async {
                let answer = node.client().get(&format!("/artifactory/api/repositories/{key}")).await?;
                if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
            })
            .await;
        }
    }

    /// Waits until all running nodes that hold `libs` have equal heads and state digests, and mirrors lack nothing; then
    /// compares whole listings. Returns the listing: path → SHA-1.
    pub async fn converged(&self) -> BTreeMap<String, String> {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.is_running()).collect();
        until("all members have the same state", || async {
            let mut seen: Vec<(String, Value, Value)> = Vec::new();
            for node in &running {
                let repo = repository(&node.status().await?, REPO)?;
                if repo["state_digest"].is_null() {
                    return Err(format!("{} still changes", node.name));
                }
                if repo["missing_blobs"].as_u64() != Some(0) {
                    return Err(format!("{} lacks {} blobs", node.name, repo["missing_blobs"]));
                }
                seen.push((node.name.clone(), repo["heads"].clone(), repo["state_digest"].clone()));
            }
            let differs = |other: &&(String, Value, Value)| other.1 != seen[0].1 || other.2 != seen[0].2;
            match seen.iter().find(differs) {
                Some(other) => Err(format!("{:?} and {other:?}", seen[0])),
                None => Ok(()),
            }
        })
        .await;
        let mut listings = Vec::new();
        for node in &running {
            listings.push(listing(node).await);
        }
        for (node, other) in running.iter().zip(&listings).skip(1) {
            assert_eq!(other, &listings[0], "{} lists something else than {}", node.name, running[0].name);
        }
        listings.swap_remove(0)
    }
}

/// A repository's part of a status.
pub fn repository(status: &Value, key: &str) -> Result<Value, String> {
    let repositories = status["repositories"].as_array().ok_or_else(|| status.to_string())?;
    let found = repositories.iter().find(|repository| repository["key"] == key);
    found.cloned().ok_or_else(|| format!("no repository {key}"))
}

/// path → SHA-1 of every file.
pub async fn listing(node: &Node) -> BTreeMap<String, String> {
    let answer = node.client().get(&format!("/artifactory/api/storage/{REPO}?list&deep=1")).await.expect("an answer");
    assert!(answer.status.is_success(), "{}", answer.text());
    let files = answer.json()["files"].as_array().expect("files").clone();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    files.iter().map(|file| (text(&file["uri"]), text(&file["sha1"]))).collect()
}
