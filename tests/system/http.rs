//! The HTTP surface as existing clients use it, asked with the real curl.

mod artifacts;
mod search;
mod secured;
mod serving;
mod twice;

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Address, Client, Dice, Got, Node, Raw, Setup, curl, exchange, sha256_hex, status_of};

/// One node with the repository `libs`.
pub struct Site {
    pub node: Node,
    pub root: TempDir,
}

impl Site {
    pub fn new(setup: Setup) -> Site {
        let root = tempfile::tempdir().expect("a folder");
        let mut node = Node::init(root.path(), "site", Setup { new_circle: true, ..setup });
        node.start();
        node.cli(&["repo", "create", "libs"], "");
        Site { node, root }
    }

    pub fn client(&self) -> Client {
        self.node.client()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.client().address)
    }

    /// As the administrator.
    pub fn curl(&self, path: &str, args: &[&str]) -> Got {
        let bearer = format!("Authorization: Bearer {}", self.node.token());
        let mut all = vec![self.url(path), "-H".to_owned(), bearer];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        curl(&all)
    }

    /// As nobody.
    pub fn stranger(&self, path: &str, args: &[&str]) -> Got {
        let mut all = vec![self.url(path)];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        curl(&all)
    }

    pub fn file(&self, bytes: &[u8]) -> String {
        let path = self.root.path().join("body");
        fs::write(&path, bytes).expect("written");
        path.to_string_lossy().into_owned()
    }

    pub fn put(&self, path: &str, bytes: &[u8]) -> Got {
        let file = self.file(bytes);
        self.curl(path, &["-T", &file])
    }

    /// The line that shows the administrator's token on a raw socket.
    pub fn bearer(&self) -> String {
        format!("Host: x\r\nAuthorization: Bearer {}\r\n", self.node.token())
    }
}

const BODY: &[u8] = b"hello world";

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_made_shown_and_refused_as_clients_expect() {
    let site = Site::new(Setup::default());
    let api = "/artifactory/api/repositories";
    let put = |key: &str, body: &str| site.curl(&format!("{api}/{key}"), &["-X", "PUT", "-d", body]);
    let made = put("maven", r#"{"rclass":"local","packageType":"maven","description":"d","xyz":1}"#);
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(made.text().starts_with("Successfully created repository"));
    let shown = site.curl(&format!("{api}/maven"), &[]).json();
    for (name, value) in [("key", "maven"), ("rclass", "local"), ("packageType", "maven"), ("description", "d")] {
        assert_eq!(shown[name], value, "{shown}");
    }
    for (key, body, reason) in [
        ("maven", "{}", "maven"),
        ("MAVEN", "{}", "MAVEN"),
        ("other", r#"{"rclass":"virtual"}"#, "virtual"),
        ("other", r#"{"key":"another"}"#, "another"),
        ("other", "{", "not usable"),
        ("a%20b", "{}", "a%20b"),
        (".x", "{}", ".x"),
        ("other", r#"{"rclass":"federated","members":[{"node":"nobody"}]}"#, "nobody"),
    ] {
        let refused = put(key, body);
        assert!(matches!(refused.status, 400 | 404), "{key} {body}: {}", refused.text());
        assert!(refused.message().contains(reason), "{key} {body}: {}", refused.text());
    }
    let unknown = site.curl(&format!("{api}/none"), &[]);
    assert_eq!((unknown.status, unknown.message().contains("none")), (400, true));
    let rows = site.curl(api, &[]).json();
    assert_eq!(rows[1]["key"], "maven");
    assert_eq!((&rows[1]["type"], &rows[1]["packageType"]), (&json!("LOCAL"), &json!("maven")));
    assert_eq!(rows[1]["url"], site.url("/artifactory/maven"));
    assert_eq!(site.curl(&format!("{api}/?packageType=maven"), &[]).json().as_array().map(Vec::len), Some(1));
    assert_eq!(site.curl(&format!("{api}/maven"), &["-X", "DELETE"]).status, 200);
    assert_eq!(site.curl(&format!("{api}/maven"), &[]).status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_tells_how_it_is() {
    let site = Site::new(Setup::default());
    assert_eq!(site.stranger("/artifactory/api/system/ping", &[]).text(), "OK");
    let version = site.stranger("/artifactory/api/system/version", &[]).json();
    assert!(version["version"].is_string() && version["addons"].is_array(), "{version}");
    for path in ["/healthz", "/readyz", "/artifactory/api/v1/system/readiness", "/artifactory/api/v1/system/liveness"] {
        assert_eq!(site.stranger(path, &[]).status, 200, "{path}");
    }
    let metrics = site.stranger("/metrics", &[]);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.text().ends_with("# EOF\n"));
    let kept = site.stranger("/healthz", &["-H", "X-Request-Id: build-7.a_b"]);
    assert_eq!(kept.header("x-request-id"), "build-7.a_b");
    let replaced = site.stranger("/healthz", &["-H", "X-Request-Id: a b\"<c>"]);
    assert_eq!(replaced.header("x-request-id").len(), 16);
    let mut alone = Node::init(site.root.path(), "alone", Setup::default());
    alone.start();
    let not_ready = curl(&[format!("http://{}/readyz", alone.client().address)]);
    assert_eq!((not_ready.status, not_ready.message().contains("pair accept")), (503, true));
    let live = curl(&[format!("http://{}/healthz", alone.client().address)]);
    assert_eq!(live.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nobody_reads_only_where_the_site_says_so() {
    let mut site = Site::new(Setup::default());
    assert_eq!(site.put("/artifactory/libs/x", BODY).status, 201);
    let closed = [
        ("/artifactory/libs/x", "GET"),
        ("/artifactory/libs/x", "DELETE"),
        ("/artifactory/libs/", "GET"),
        ("/artifactory/none/x", "GET"),
        ("/artifactory/api/storage/libs/x", "GET"),
        ("/artifactory/api/repositories", "GET"),
        ("/artifactory/api/mesh/status", "GET"),
        ("/artifactory/api/mesh/trust", "GET"),
        ("/artifactory/api/mesh/pairing", "POST"),
        ("/ui/", "GET"),
    ];
    for (path, method) in closed {
        let got = site.stranger(path, &["-X", method]);
        assert_eq!((got.status, got.header("www-authenticate").is_empty()), (401, false), "{method} {path}");
        let wrong = site.stranger(path, &["-X", method, "-u", "admin:wrong"]);
        assert_eq!(wrong.status, 401, "{method} {path}");
    }
    let token = site.node.token();
    let (basic, key) = (format!("anyone:{token}"), format!("X-JFrog-Art-Api: {token}"));
    assert_eq!(site.stranger("/artifactory/libs/x", &["-u", &basic]).status, 200);
    assert_eq!(site.stranger("/artifactory/libs/x", &["-H", &key]).status, 200);
    site.node.stop();
    site.node.set("ARTIMESH_HTTP_ANONYMOUS_READ", "true");
    site.node.start();
    for (path, method) in closed {
        let got = site.stranger(path, &["-X", method]);
        let is_read = method == "GET" && (path.contains("/libs") || path.contains("/none"));
        let expected = if path.contains("/none") { 404 } else { 200 };
        assert_eq!(got.status, if is_read { expected } else { 401 }, "{method} {path}");
    }
    assert_eq!(site.stranger("/artifactory/libs/x", &["-u", "admin:wrong"]).status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_token_works_on_loopback_only() {
    let Some(address) = Address::new() else { return };
    let mut site = Site::new(Setup::default());
    site.node.stop();
    site.node.set("ARTIMESH_HTTP_LISTEN", &format!("{}:0", address.0));
    site.node.start();
    for path in ["/artifactory/libs/", "/artifactory/api/mesh/status", "/metrics", "/ui/"] {
        let got = site.curl(path, &[]);
        assert_eq!((got.status, got.message().contains("loopback")), (403, true), "{path}");
        assert_eq!(site.stranger(path, &[]).status, 401, "{path}");
    }
    assert_eq!(site.stranger("/artifactory/api/system/ping", &[]).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_names_in_pages_headers_and_links() {
    let site = Site::new(Setup::default());
    let name = "<script>alert(1)</script>\"' & é;x";
    let encoded = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    assert_eq!(site.put(&format!("/artifactory/libs/{encoded}"), BODY).status, 400, "an encoded slash is no name");
    let path = "/artifactory/libs/%3Cscript%3Ealert(1)%3C:script%3E%22'%20&%20%C3%A9%3Bx";
    let put = site.put(path, BODY);
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(put.json()["path"], format!("/{}", name.replace("/script", ":script")));
    let location = put.header("location").to_owned();
    let bearer = format!("Authorization: Bearer {}", site.node.token());
    let got = curl(&[&location, "-H", &bearer]);
    assert_eq!((got.status, got.body.as_slice()), (200, BODY));
    assert!(got.header("content-disposition").is_ascii());
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert!(got.header("content-security-policy").contains("sandbox"));
    for page in ["/artifactory/libs/", "/ui/"] {
        let page = site.curl(page, &[]);
        assert!(page.header("content-security-policy").contains("default-src 'none'"));
        assert!(!page.text().contains("<script"), "{}", page.text());
    }
    let cross = site.curl("/artifactory/libs/x", &["-X", "DELETE", "-H", "Origin: http://evil.example"]);
    assert_eq!(cross.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_finishes_what_it_has_begun() {
    let mut site = Site::new(Setup::default());
    let large = Dice(3).bytes(32 << 20);
    assert_eq!(site.put("/artifactory/libs/large", &large).status, 201);
    let address = site.client().address;
    let mut raw = Raw::connect(address).await;
    raw.send(format!("GET /artifactory/libs/large HTTP/1.1\r\n{}\r\n", site.bearer())).await.expect("sent");
    assert_eq!(raw.head().await.status, 200);
    let mut idle = Raw::connect(address).await;
    idle.send(format!("GET /healthz HTTP/1.1\r\n{}\r\n", site.bearer())).await.expect("sent");
    assert_eq!(idle.head().await.status, 200);
    site.node.terminate();
    crate::harness::until("the port is given up", || async {
        match tokio::net::TcpStream::connect(address).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it still accepts".to_owned()),
        }
    })
    .await;
    assert_eq!(idle.rest().await, "ok\n", "an idle connection is closed");
    assert!(site.node.is_alive(), "the download is still going on");
    let whole = raw.rest_bytes().await;
    assert_eq!(sha256_hex(&whole), sha256_hex(&large));
    site.node.ended();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let site = Site::new(Setup::default());
    let output = site.node.try_cli(&["serve"], "");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let pid = site.node.pid().to_string();
    assert!(error.contains("another node is running") && error.contains(&pid), "{error}");
    assert_eq!(site.put("/artifactory/libs/x", BODY).status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_answered_with_an_error_or_the_end() {
    let site = Site::new(Setup::default());
    let address = site.client().address;
    let bearer = site.bearer();
    let close = "Connection: close\r\n\r\n";
    let cases = [
        (format!("GET /artifactory/libs/%zz HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory/libs/%00 HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory/libs/a%2f..%2fb HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory/libs/%2e%2e/%2e%2e/etc HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory/libs/a//b HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory/libs/a\\b HTTP/1.1\r\n{bearer}{close}"), 400),
        (format!("GET /artifactory//libs/a HTTP/1.1\r\n{bearer}{close}"), 404),
        (format!("GET /artifactory/libs/{} HTTP/1.1\r\n{bearer}{close}", "a/".repeat(600)), 400),
        (format!("GET /artifactory/libs/{} HTTP/1.1\r\n{bearer}{close}", "a".repeat(9000)), 414),
        (format!("GET /artifactory/libs/x HTTP/1.1\r\n{bearer}Host: y\r\n{close}"), 400),
        (format!("GET /artifactory/libs/x HTTP/1.1\r\nHost: a/b\r\n{close}"), 400),
        (format!("BREW /artifactory/libs/x HTTP/1.1\r\n{bearer}{close}"), 405),
        (format!("GET /artifactory/libs/x HTTP/1.1\r\n{bearer}X: {}\r\n{close}", "y".repeat(70_000)), 431),
        (format!("GET /artifactory/libs/x HTTP/9.9\r\n{close}"), 400),
        (format!("PUT /artifactory/libs/x HTTP/1.1\r\n{bearer}Content-Length: -1\r\n{close}"), 400),
        (
            format!("PUT /artifactory/libs/x HTTP/1.1\r\n{bearer}Content-Length: 1\r\nContent-Length: 2\r\n{close}y"),
            400,
        ),
        ("\u{16}\u{3}\u{1} TLS here\r\n\r\n".to_owned(), 400),
    ];
    for (request, expected) in cases {
        let answer = exchange(address, &request).await;
        let shown = &request[..request.len().min(80)];
        assert_eq!(status_of(&answer), expected, "{shown:?}: {answer}");
    }
    assert_eq!(site.put("/artifactory/libs/x", BODY).status, 201);
}
