//! Two sites that would both do without the same bytes at the same time: one of them keeps them.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::load::{Body, uri};
use super::walker::Walk;
use crate::harness::{Circle, Client, Dice, REPO, Setup};

const FOLDERS: u64 = 25;
const FILES: u64 = 40;

/// Lets folders go one after the other, in an order of its own; how many blobs went.
async fn evict(client: Client, mut dice: Dice) -> u64 {
    let mut folders: Vec<u64> = (0..FOLDERS).collect();
    let mut gone = 0;
    while !folders.is_empty() {
        let folder = folders.swap_remove(dice.below(folders.len() as u64) as usize);
        let path = format!("/artifactory/api/mesh/cache/evict/{REPO}/{folder}");
        let answer = client.send(Method::POST, &path, &[], "{}").await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        gone += answer.json()["gone"]["blobs"].as_u64().expect("a number");
    }
    gone
}

fn told(output: &str) -> Value {
    serde_json::from_str(output).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_blobs_that_two_sites_let_go_at_once_are_all_kept_by_one() {
    let mut dice = Dice::fresh("evict");
    let mut circle = Circle::new(2, 0, Setup::default().with("ARTIMESH_LOG", "info")).await;
    let mut bodies = BTreeMap::new();
    for number in 0..FOLDERS * FILES {
        let (name, body) = (format!("{}/{number}", number % FOLDERS), Body { seed: dice.next(), size: 1_200 });
        let answer =
            circle.nodes[number as usize % 2].client().put(&uri(&name), body.bytes()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        bodies.insert(name, body);
    }
    circle.converged().await;
    let dry = told(&circle.nodes[0].cli(&["cache", "evict", REPO, "--dry-run", "--json"], ""));
    assert_eq!((&dry["held"]["blobs"], &dry["gone"]["blobs"]), (&1000.into(), &1000.into()), "{dry}");

    let [one, other] = [0, 1].map(|index| circle.nodes[index].client());
    let (dice_of_one, dice_of_other) = (Dice(dice.next()), Dice(dice.next()));
    let (one, other) = tokio::join!(evict(one, dice_of_one), evict(other, dice_of_other));
    // What stays is promised, or its last copy.
    let again = told(&circle.nodes[0].cli(&["cache", "evict", REPO, "--json"], ""));
    assert_eq!(again["held"]["blobs"], 1000 - one, "{again}");
    let page = circle.nodes[1].cli(&["cache", "evict", REPO], "");
    assert!(page.starts_with("held "), "{page}");
    circle.nodes[0].stop();
    circle.nodes[1].kill();
    let walks = [0, 1].map(|index: usize| Walk::of(&circle.nodes[index].folder));
    let named = walks[0].named();
    let holders = |digest| walks.iter().filter(|walk| walk.blobs.get(digest).is_some_and(|held| held.is_whole)).count();
    let lost = named.live.iter().filter(|digest| holders(digest) == 0).count();
    println!("of {} blobs one site let {one} go and the other {other}; {lost} are lost", named.live.len());
    assert_eq!((named.live.len(), lost), (1000, 0));
    assert!(one + other > 0, "nobody let anything go: {page}");
    for (walk, node) in walks.iter().zip(&circle.nodes) {
        let journal = std::fs::read_to_string(node.folder.join("store/gc.log")).unwrap_or_default();
        assert_eq!(journal.matches("\"let go\"").count(), 1000 - walk.blobs.len(), "{} has a line for each", node.name);
    }
    for node in &mut circle.nodes {
        node.start();
    }
    circle.converged().await;
    for node in &circle.nodes {
        for (name, body) in &bodies {
            let answer = node.client().get(&uri(name)).await.expect("an answer");
            assert!(answer.body.as_ref() == body.bytes(), "{name} at {}: {}", node.name, answer.text());
        }
    }
}
