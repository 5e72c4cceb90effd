//! An MD5 that is computed behind the upload: left out until it is there, and there in the end, whatever happens.

use hyper::{Method, StatusCode};
use md5::{Digest as _, Md5};

use crate::harness::{Circle, Client, Dice, REPO, Setup, until};

const MIB: usize = 1 << 20;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

fn md5(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Md5::digest(bytes))
}

fn deferred() -> Setup {
    Setup::default().with("ARTIMESH_INGEST_MD5", "deferred")
}

/// Waits until a node tells the MD5 of an artifact; until then it says nothing of it, and never anything else.
async fn told(client: &Client, name: &str, expected: &str) {
    until("the MD5 is told", || async {
        let got = client.send(Method::HEAD, &path(name), &[], "").await?;
        match got.header("x-checksum-md5") {
            "" => Err("not yet".to_owned()),
            sum => {
                assert_eq!(sum, expected);
                Ok(())
            }
        }
    })
    .await;
    let sidecar = client.get(&path(&format!("{name}.md5"))).await.expect("an answer");
    assert_eq!((sidecar.status, sidecar.text().as_str()), (StatusCode::OK, expected));
    let info = client.get(&format!("/artifactory/api/storage/{REPO}/{name}")).await.expect("an answer").json();
    assert_eq!((&info["checksums"]["md5"], &info["originalChecksums"]["md5"]), (&expected.into(), &expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_left_out_and_then_told_at_every_member() {
    let circle = Circle::new(2, 0, deferred()).await;
    let client = circle.nodes[0].client();
    let (large, small) = (Dice(21).bytes(5 * MIB), Dice(22).bytes(20_000));
    let put = client.put(&path("large"), large.clone()).await.expect("an answer");
    assert_eq!((put.status, put.header("x-checksum-md5")), (StatusCode::CREATED, ""));
    assert!(put.json()["checksums"]["md5"].is_null() && put.json()["checksums"]["sha1"].is_string(), "{}", put.text());
    let put = client.put(&path("small"), small.clone()).await.expect("an answer");
    assert_eq!(put.header("x-checksum-md5"), md5(&small), "what is small isn't put off");
    let unknown = client.get(&path("none.md5")).await.expect("an answer");
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    circle.converged().await;
    for node in &circle.nodes {
        told(&node.client(), "large", &md5(&large)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_client_names_is_checked_at_once() {
    let circle = Circle::new(1, 0, deferred()).await;
    let client = circle.nodes[0].client();
    let bytes = Dice(23).bytes(3 * MIB);
    let (right, wrong) = (md5(&bytes), md5(b"other"));
    let named = |sum: &str| [("x-checksum-md5", sum.to_owned())];
    for (sum, status) in [(&wrong, StatusCode::CONFLICT), (&right, StatusCode::CREATED)] {
        let headers = named(sum);
        let headers = headers.each_ref().map(|(name, sum)| (*name, sum.as_str()));
        let put = client.send(Method::PUT, &path("named"), &headers, bytes.clone()).await.expect("an answer");
        assert_eq!(put.status, status, "{}", put.text());
        assert!(status != StatusCode::CREATED || put.header("x-checksum-md5") == right);
    }
    let other = Dice(24).bytes(3 * MIB);
    assert_eq!(client.put(&path("x"), other.clone()).await.expect("an answer").header("x-checksum-md5"), "");
    let refused = client.put(&path("x.md5"), right).await.expect("an answer");
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    assert!(refused.text().contains(&md5(&other)), "{}", refused.text());
    let taken = client.put(&path("x.md5"), md5(&other)).await.expect("an answer");
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_computes_it_later() {
    let mut circle = Circle::new(1, 0, deferred()).await;
    let node = &mut circle.nodes[0];
    let bytes: Vec<Vec<u8>> = (0..3).map(|seed| Dice(30 + seed).bytes(8 * MIB)).collect();
    for (number, bytes) in bytes.iter().enumerate() {
        let put = node.client().put(&path(&number.to_string()), bytes.clone()).await.expect("an answer");
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    }
    node.kill();
    node.start();
    for (number, bytes) in bytes.iter().enumerate() {
        told(&node.client(), &number.to_string(), &md5(bytes)).await;
    }
}
