//! When a blob is lost, when it is only missing, and when that ends.

use std::time::Duration;

use artimesh_core::model::{ArtifactPath, Digest};
use tokio::sync::oneshot;

use super::*;
use crate::engine::gc::tests::{Site, noise, options, put};
use crate::engine::lease::tests::{Member, circle, stop, until};
use crate::engine::mind::Message;
use crate::engine::removal::DropCause;

fn path(name: &str) -> ArtifactPath {
    name.parse().unwrap()
}

/// Takes the bytes of a blob out of a node, as a disk does that rots.
async fn take(engine: &Engine, digest: Digest) {
    let (answer, done) = oneshot::channel();
    let drop = Message::Drop { blobs: vec![digest], cause: DropCause::Rotten, answer };
    engine.shared.inbox.send(drop).await.map_err(|_| ()).unwrap();
    done.await.unwrap().unwrap();
}

async fn examined(member: &Member, name: &str, digest: Digest, size: u64) -> Option<Lost> {
    member.engine.examine(member.space(), &path(name), digest, size).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_that_shares_with_nobody_loses_is_lost_until_it_is_put_again() {
    let site = Site::new().await;
    let bytes = noise(1, 3000);
    let digest = site.put("a", &bytes).await;
    let space = site.engine.snapshot().repositories.values().next().unwrap().space;
    assert_eq!(site.engine.lost(&space, &digest).unwrap(), None);
    take(&site.engine, digest).await;
    let lost = site.engine.examine(space, &path("a"), digest, 3000).await.unwrap().expect("lost");
    assert_eq!((lost.digest, lost.size, lost.asked.len()), (digest, 3000, 0));
    assert_eq!(site.engine.lost(&space, &digest).unwrap().as_ref(), Some(&lost));
    let losses = Losses::of(&site.engine.view(), &space).unwrap();
    assert_eq!((losses.blobs, losses.bytes, losses.first), (1, 3000, vec![lost]));
    let journal = || std::fs::read_to_string(site.store_folder().join("gc.log")).unwrap();
    assert!(journal().contains("\"event\":\"lost\"") && journal().contains("\"path\":\"a\""), "{}", journal());
    site.put("b", &bytes).await;
    assert_eq!(site.engine.lost(&space, &digest).unwrap(), None);
    assert_eq!(Losses::of(&site.engine.view(), &space).unwrap(), Losses::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_the_word_of_every_other_member() {
    let mut members = circle(&["berlin", "paris", "oslo"], options()).await;
    let (bytes, other) = (noise(1, 3000), noise(2, 2_000_000));
    let blobs = [put(&members[0].engine, "a", &bytes).await, put(&members[0].engine, "b", &other).await];
    until("all have them", || members.iter().all(|member| blobs.iter().all(|blob| member.has(blob)))).await;
    take(&members[0].engine, blobs[0]).await;
    take(&members[1].engine, blobs[0]).await;
    assert_eq!(examined(&members[0], "a", blobs[0], 3000).await, None, "oslo has it");
    take(&members[2].engine, blobs[0]).await;
    let space = members[0].space();
    let lost = loop {
        if let Some(lost) = examined(&members[0], "a", blobs[0], 3000).await {
            break lost;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(lost.asked.len(), 2);
    // It comes back to all of them by a put at another; and it isn't lost any more.
    put(&members[1].engine, "again", &bytes).await;
    until("berlin has it again", || members[0].has(&blobs[0])).await;
    assert_eq!(members[0].engine.lost(&space, &blobs[0]).unwrap(), None);

    // A member that can't be asked may have it.
    let oslo = members.pop().unwrap();
    let key = oslo.engine.identity().keys.transport;
    oslo.stop().await;
    until("oslo is gone", || members.iter().all(|member| !member.engine.swarm().connected().contains(&key))).await;
    take(&members[1].engine, blobs[1]).await;
    take(&members[0].engine, blobs[1]).await;
    assert_eq!(examined(&members[0], "b", blobs[1], 2_000_000).await, None);
    stop(members).await;
}
