//! Every call that changes something, made twice: the second says what it is, and changes nothing that it need not.

use serde_json::Value;

use super::{BODY, Site};
use crate::harness::{REPO, Setup};

/// What the second call does to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Second {
    /// Nothing changed, and nothing is written.
    Nothing,
    /// What is put is put again: whoever deletes the first at another site hasn't seen the second.
    Writes,
}

async fn heads(site: &Site) -> Value {
    let status = site.node.status().await.expect("a status");
    let repositories = status["repositories"].as_array().cloned().unwrap_or_default();
    repositories.into_iter().find(|repository| repository["key"] == REPO).expect("it is there")["heads"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_can_be_asked_for_twice() {
    use Second::{Nothing, Writes};
    let site = Site::new(Setup::default());
    for name in ["a/x", "a/y", "b/z", "gone/1", "gone/2"] {
        assert_eq!(site.put(&format!("/artifactory/libs/{name}"), BODY).status, 201);
    }
    let props = r#"{"props":{"k":["v"],"l":null}}"#;
    let repo = r#"{"rclass":"local","packageType":"generic"}"#;
    let (api, file) = ("/artifactory/api", site.file(BODY));
    let deploy = [
        "-X",
        "PUT",
        "-H",
        "X-Checksum-Deploy: true",
        "-H",
        "X-Checksum-Sha1: 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
    ];
    let json = "Content-Type: application/json";
    let calls: Vec<(String, Vec<&str>, [u16; 2], Second)> = vec![
        ("/artifactory/libs/a/new".into(), vec!["-T", &file], [201, 201], Writes),
        ("/artifactory/libs/a/by-sum".into(), deploy.to_vec(), [201, 201], Writes),
        ("/artifactory/libs/a/x.sha1".into(), vec!["-T", &file], [409, 409], Nothing),
        ("/artifactory/libs/made/".into(), vec!["-X", "PUT"], [201, 201], Nothing),
        (format!("{api}/copy/libs/a/x?to=/libs/copied"), vec!["-X", "POST"], [200, 200], Writes),
        (format!("{api}/move/libs/a/y?to=/libs/moved"), vec!["-X", "POST"], [200, 404], Nothing),
        (format!("{api}/move/libs/b?to=/libs/c"), vec!["-X", "POST"], [200, 404], Nothing),
        (format!("{api}/storage/libs/a/x?properties=k=v;m=1,2"), vec!["-X", "PUT"], [204, 204], Nothing),
        (format!("{api}/metadata/libs/a/x"), vec!["-X", "PATCH", "-H", json, "-d", props], [204, 204], Nothing),
        (format!("{api}/storage/libs/a/x?properties=m"), vec!["-X", "DELETE"], [204, 204], Nothing),
        (format!("{api}/storage/libs/a?properties=k=w"), vec!["-X", "PUT"], [204, 204], Nothing),
        ("/artifactory/libs/a/new".into(), vec!["-X", "DELETE"], [204, 404], Nothing),
        ("/artifactory/libs/gone".into(), vec!["-X", "DELETE"], [204, 404], Nothing),
        (format!("{api}/repositories/other"), vec!["-X", "PUT", "-H", json, "-d", repo], [200, 400], Nothing),
        (format!("{api}/repositories/other"), vec!["-X", "POST", "-H", json, "-d", repo], [200, 200], Nothing),
        (format!("{api}/repositories/other"), vec!["-X", "DELETE"], [200, 404], Nothing),
        (format!("{api}/mesh/dismiss/libs/a/x"), vec!["-X", "POST", "-d", "{}"], [404, 404], Nothing),
    ];
    for (target, args, statuses, second) in calls {
        let first = site.curl(&target, &args);
        let between = heads(&site).await;
        let again = site.curl(&target, &args);
        assert_eq!([first.status, again.status], statuses, "{target} {args:?}: {} {}", first.text(), again.text());
        assert_eq!(heads(&site).await != between, second == Writes, "{target} {args:?}");
    }
}
