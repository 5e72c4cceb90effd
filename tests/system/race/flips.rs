//! Bits that flip on the disk: no reader is given them, and what they spoilt comes back from another site.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use hyper::StatusCode;
use serde_json::Value;

use super::load::{Body, uri};
use super::walker::{Spot, Walk};
use crate::harness::{Circle, Dice, Node, Setup, until};

/// At each of two sites.
const FLIPS: u64 = 500;

/// Flips a bit of every artifact, somewhere in its bytes.
fn flip_all(node: &Node, bodies: &BTreeMap<String, Body>, dice: &mut Dice) {
    let walk = Walk::of(&node.folder);
    for body in bodies.values() {
        let digest = artimesh_core::model::Digest(*blake3::hash(&body.bytes()).as_bytes());
        let (path, start) = match walk.blobs[&digest].spot {
            Spot::Pack { number, at } => (format!("packs/{number:016x}.pack"), at as u64),
            Spot::File(number) => (format!("large/{number:016x}.blob"), 4096),
        };
        let file = File::options().read(true).write(true).open(node.folder.join("store").join(path)).expect("a file");
        let at = start + dice.below(body.size as u64);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ (1 << dice.below(8))], at).expect("written");
    }
}

/// Reads everything once; how often there was an error instead of the bytes. Other bytes there never are.
async fn read_all(node: &Node, bodies: &BTreeMap<String, Body>) -> u64 {
    let mut refused = 0;
    for (name, body) in bodies {
        let Ok(answer) = node.client().get(&uri(name)).await else {
            // The head was sent before what rotted was found: then the connection ends early.
            refused += 1;
            continue;
        };
        match answer.status {
            StatusCode::OK => assert!(answer.body.as_ref() == body.bytes(), "{name}: a flipped bit was served"),
            status => {
                assert!(status.is_server_error(), "{name}: {status}: {}", answer.text());
                refused += 1;
            }
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_flipped_bits_are_never_served_and_all_healed() {
    let mut dice = Dice::fresh("flips");
    let setup = Setup::default().with("ARTIMESH_STORE_VERIFY_MAX_AGE", "0s").with("ARTIMESH_LOG", "info");
    let circle = Circle::new(2, 0, setup).await;
    let mut bodies = BTreeMap::new();
    for number in 0..FLIPS {
        // Not so small that the index holds them, nor, mostly, that the memory for small bodies does.
        let size = if number % 50 == 0 { (1 << 20) + dice.below(1 << 20) } else { 33_000 + dice.below(60_000) };
        let body = Body { seed: dice.next(), size: size as usize };
        let name = format!("{number}");
        let answer = circle.nodes[0].client().put(&uri(&name), body.bytes()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        bodies.insert(name, body);
    }
    for node in &circle.nodes {
        circle.converged().await;
        flip_all(node, &bodies, &mut dice);
        assert_eq!(read_all(node, &bodies).await, FLIPS, "at {}", node.name);
        let scrub = node.try_cli(&["scrub", "--json"], "");
        let found: Value = serde_json::from_slice(&scrub.stdout).expect("JSON");
        assert_eq!(found["rotten_blobs"], FLIPS, "{found}");
        until("all is healed", || async {
            let refused = read_all(node, &bodies).await;
            if refused == 0 { Ok(()) } else { Err(format!("{refused} are refused still")) }
        })
        .await;
        node.cli(&["scrub"], "");
        let status = node.status().await.expect("a status");
        assert_eq!(status["store"]["scrub"]["rotten_blobs"], 0, "{}", status["store"]);
    }
}
