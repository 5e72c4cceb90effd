//! A member whose network is cut, without anybody being told: packets just don't arrive.

use std::process::{Command, Stdio};

use hyper::StatusCode;

use crate::harness::{Circle, Dice, Node, REPO, Setup, repository, until};

const FIRST_USER: u32 = 61_100;

/// Drops what the node's user sends from or to swarm ports. Mended when dropped.
struct Cut {
    table: String,
}

fn nft(args: &[&str]) -> bool {
    let status = Command::new("nft").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Cut {
    /// `None` where there is no firewall to do it with: not root, or no `nft`.
    fn off(node: &Node) -> Option<Cut> {
        let user = node.user().expect("it has a user of its own").to_string();
        let cut = Cut { table: format!("artimesh_{}_{user}", std::process::id()) };
        let table = cut.table.as_str();
        let chain = "{ type filter hook output priority 0 ; }";
        let made = nft(&["add", "table", "inet", table])
            && nft(&["add", "chain", "inet", table, "out", chain])
            && ["sport", "dport"].iter().all(|end| {
                nft(&[
                    "add",
                    "rule",
                    "inet",
                    table,
                    "out",
                    "meta",
                    "skuid",
                    &user,
                    "tcp",
                    end,
                    "{ 8083, 8084 }",
                    "drop",
                ])
            });
        made.then_some(cut)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        nft(&["delete", "table", "inet", &self.table]);
    }
}

fn can_cut() -> bool {
    let table = format!("artimesh_probe_{}", std::process::id());
    nft(&["add", "table", "inet", &table]) && nft(&["delete", "table", "inet", &table])
}

async fn put(node: &Node, name: &str, bytes: Vec<u8>) {
    let answer = node.client().put(&format!("/artifactory/{REPO}/{name}"), bytes).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_were_cut_apart_while_both_wrote_agree_again() {
    if !can_cut() {
        println!("not tried: cutting a network needs root and nft");
        return;
    }
    let circle = Circle::new(3, 1, Setup { user: Some(FIRST_USER), ..Setup::default() }).await;
    put(&circle.nodes[0], "both", b"before".to_vec()).await;
    circle.converged().await;
    for victim in [1, 3] {
        let cut = Cut::off(&circle.nodes[victim]).expect("tried above");
        put(&circle.nodes[0], &format!("apart-{victim}"), Dice(victim as u64).bytes(3_000_000)).await;
        put(&circle.nodes[0], "both", format!("at 0 without {victim}").into_bytes()).await;
        if victim < circle.fulls {
            put(&circle.nodes[victim], "both", format!("at {victim}, alone").into_bytes()).await;
            put(&circle.nodes[victim], "alone", Dice(9).bytes(2_000_000)).await;
        }
        until("the others see that it is unreachable", || async {
            let status = circle.nodes[0].status().await?;
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let name = circle.nodes[victim].name.as_str();
            let state = members.iter().find(|member| member["name"] == name).map(|member| member["state"].clone());
            if state == Some("unreachable".into()) { Ok(()) } else { Err(format!("{state:?}")) }
        })
        .await;
        drop(cut);
        circle.converged().await;
    }
    let status = circle.nodes[2].status().await.expect("a status");
    assert_eq!(repository(&status, REPO).expect("libs")["siblings"], 0, "the second round replaced both of the first");
    assert_eq!(circle.converged().await.len(), 4);
}
