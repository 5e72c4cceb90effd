//! What is told of checksums that somebody claims.

use artimesh_core::catalog::Content;
use artimesh_core::model::{ArtifactPath, Checksums, Digest, Properties};
use artimesh_core::replica::Command;
use bytes::Bytes;
use md5::Digest as _;

use super::artifacts::Item;
use super::relocation::{Destination, Effect, Relocation};
use super::testing::{caller, repo, service};
use crate::engine::{Site, noise};
use crate::store::Staged;

fn sums_of(bytes: &Bytes) -> Checksums {
    let (sha256, sha1) = (sha2::Sha256::digest(bytes).into(), sha1::Sha1::digest(bytes).into());
    Checksums { sha256, sha1, md5: md5::Md5::digest(bytes).into() }
}

/// A version as it comes from another node: its bytes are here, and its sums are that node's word.
async fn arrives(site: &Site, path: &str, bytes: &Bytes, claimed: Checksums) {
    let staged = Staged::verified(Digest::of(bytes), bytes.clone(), claimed).unwrap();
    let (digest, size) = (staged.digest(), staged.size());
    let content =
        Content { digest, size, checksums: claimed, media_type: "x/y".into(), properties: Properties::default() };
    let (key, path) = (repo(), path.parse().unwrap());
    site.engine.command(Command::Put { key, path, content, by: "eve".into() }, Some(staged)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_was_claimed_until_it_is_computed_and_then_that() {
    let site = Site::new().await;
    let service = service(&site);
    let (bytes, path) = (noise(1, 5000), "a/b.jar".parse::<ArtifactPath>().unwrap());
    let (lied, right) = (Checksums { sha1: [1; 20], md5: [2; 16], ..sums_of(&bytes) }, sums_of(&bytes));
    arrives(&site, "a/b.jar", &bytes, lied).await;
    let told = |item: &Item| (item.checksums, item.claimed, item.is_confirmed);
    let shown = || service.file(&caller(), &repo(), &path).unwrap().unwrap().item;
    for _ in 0..2 {
        assert_eq!(told(&shown()), (lied, lied, false));
    }
    let item = service.item(&caller(), &repo(), &path).await.unwrap();
    assert_eq!(told(&service.with_confirmed(item.clone(), 4999).await.unwrap()), (lied, lied, false), "it is too long");
    let confirmed = service.with_confirmed(item, 5000).await.unwrap();
    assert_eq!(told(&confirmed), (right, lied, true));
    for _ in 0..2 {
        assert_eq!(told(&shown()), (right, lied, true), "and from then on everybody is told that");
    }
    let listed = service.list(&caller(), &repo(), None, None, 10).await.unwrap();
    assert_eq!(told(&listed[0]), (right, lied, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_names_what_was_computed() {
    let site = Site::new().await;
    let service = service(&site);
    let bytes = noise(1, 5000);
    arrives(&site, "a", &bytes, Checksums { sha256: [3; 32], ..sums_of(&bytes) }).await;
    let (from, target) = ("a".parse().unwrap(), "b".parse::<ArtifactPath>().unwrap());
    let to = Destination { repo: repo(), path: Some(target.clone()), is_folder: false };
    service.relocate(&caller(), Relocation::Copy, &repo(), Some(&from), to, Effect::Real).await.unwrap();
    let copy = service.item(&caller(), &repo(), &target).await.unwrap();
    assert_eq!((copy.claimed, copy.checksums), (sums_of(&bytes), sums_of(&bytes)));
}
