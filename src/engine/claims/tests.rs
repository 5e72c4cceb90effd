//! Members that claim what isn't so, and others that find out.

use std::time::Duration;

use artimesh_core::catalog::Content;
use artimesh_core::model::Properties;
use artimesh_core::replica::Command;
use bytes::Bytes;

use super::*;
use crate::engine::gc::tests::{noise, options, put};
use crate::engine::lease::tests::{Member, circle, stop, until};
use crate::store::Batch;

/// Puts bytes, with what `lie` makes of their sums.
async fn put_lying(member: &Member, name: &str, bytes: &Bytes, lie: impl Fn(&mut Checksums)) -> Digest {
    let mut ingest = member.engine.store().ingest().unwrap();
    ingest.write(bytes.clone()).await.unwrap();
    let staged = ingest.finish().await.unwrap();
    let mut checksums = staged.checksums();
    lie(&mut checksums);
    let (digest, size) = (staged.digest(), staged.size());
    let content = Content { digest, size, checksums, media_type: "x/y".into(), properties: Properties::default() };
    let (key, path) = ("libs".parse().unwrap(), name.parse().unwrap());
    member.engine.command(Command::Put { key, path, content, by: "eve".into() }, Some(staged)).await.unwrap();
    digest
}

fn told(member: &Member) -> Vec<(String, NodeId, Vec<&'static str>)> {
    let claims = member.engine.claims();
    let mut told: Vec<_> =
        claims.first.iter().map(|claim| (claim.path.to_string(), claim.author, claim.sums())).collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_claims_is_confirmed_and_what_it_claims_falsely_is_told() {
    let members = circle(&["berlin", "paris"], options()).await;
    let (eve, other) = (&members[0], &members[1]);
    let (honest, large, tiny) = (noise(1, 2_500_000), noise(2, 2_500_000), noise(3, 40));
    let right = put(&eve.engine, "right", &honest).await;
    let wrong = put_lying(eve, "large", &large, |sums| sums.sha1[3] ^= 1).await;
    put_lying(eve, "tiny", &tiny, |sums| (sums.sha256, sums.md5) = ([1; 32], [1; 16])).await;
    // The bytes are there already: nothing is fetched for it.
    put_lying(eve, "again", &honest, |sums| sums.md5[0] ^= 1).await;
    put_lying(eve, "put-off", &noise(4, 2_000_000), |sums| sums.md5 = [0; 16]).await;
    put_lying(eve, "put-off too", &noise(5, 2_000_000), |sums| (sums.md5, sums.sha1) = ([0; 16], [7; 20])).await;
    let expected = [
        ("again".to_owned(), eve.node(), vec!["MD5"]),
        ("large".to_owned(), eve.node(), vec!["SHA-1"]),
        ("put-off too".to_owned(), eve.node(), vec!["SHA-1"]),
        ("tiny".to_owned(), eve.node(), vec!["SHA-256", "MD5"]),
    ];
    until("all is told", || told(other) == expected).await;
    let known = |digest: &Digest| other.engine.store().confirmed_sums(digest).unwrap().unwrap();
    for (digest, bytes) in [(right, &honest), (wrong, &large)] {
        assert_eq!(known(&digest), put_sums(bytes), "what was computed counts, whatever was claimed");
    }
    // Those of whoever lies are told there, too.
    until("it is told where it was put", || told(eve) == expected).await;

    // What is put again with its own sums isn't told any more.
    put(&eve.engine, "tiny", &tiny).await;
    until("it is not told any more", || told(other) == expected[..3]).await;
    stop(members).await;
}

/// The sums that bytes have.
fn put_sums(bytes: &Bytes) -> Checksums {
    use md5::Digest as _;
    let (sha256, sha1) = (sha2::Sha256::digest(bytes).into(), sha1::Sha1::digest(bytes).into());
    Checksums { sha256, sha1, md5: md5::Md5::digest(bytes).into() }
}

#[tokio::test]
async fn whoever_comes_upon_a_false_claim_has_it_told_once() {
    let (found, space, path) = (Found::default(), Space::Trust, "a/b".parse().unwrap());
    let (claimed, computed) = (put_sums(&noise(1, 10)), put_sums(&noise(2, 10)));
    let is_doubted = || async { tokio::time::timeout(Duration::ZERO, found.doubted.notified()).await.is_ok() };
    found.compare(&space, &path, &computed, &computed);
    found.compare(&space, &path, &Checksums { md5: [0; 16], ..computed }, &computed);
    assert!(!is_doubted().await, "an MD5 that was put off is no claim");
    found.compare(&space, &path, &claimed, &computed);
    assert!(is_doubted().await);
    let claim =
        FalseClaim { space, path: path.clone(), digest: Digest::ZERO, author: NodeId([1; 32]), claimed, computed };
    found.tell(Claims { count: 1, first: vec![claim], ..Claims::default() });
    found.compare(&space, &path, &claimed, &computed);
    assert!(!is_doubted().await, "it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_is_not_hashed_again() {
    let members = circle(&["berlin", "paris"], options()).await;
    let (eve, other) = (&members[0], &members[1]);
    for seed in 0..20 {
        put(&eve.engine, &format!("a/{seed}"), &noise(seed, 5000)).await;
    }
    until("all are confirmed", || other.engine.claims_confirmed() == 20).await;
    assert_eq!(eve.engine.claims_confirmed(), 0, "uploads are");
    let walked = other.engine.claims().walked;
    put(&eve.engine, "b", &noise(0, 5000)).await;
    until("another walk has ended", || other.engine.claims().walked > walked).await;
    assert_eq!(other.engine.claims_confirmed(), 20);
    // Bytes that are gone claim nothing.
    let mut blobs = vec![Digest::of(&noise(0, 5000)), Digest::ZERO];
    let batch = Batch { dropped: blobs.clone(), ..Batch::default() };
    other.engine.store().commit(batch).await.unwrap();
    let summed = other.engine.store().confirm_some(&mut blobs, 1 << 20).await.unwrap();
    assert_eq!((summed.confirmed, summed.failed.len(), blobs.len()), (0, 0, 0));
    stop(members).await;
}
