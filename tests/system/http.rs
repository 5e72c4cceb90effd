//! The HTTP surface as existing clients use it, asked with the real curl.

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

const SHA1: &str = "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
const BODY: &[u8] = b"hello world";

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_verified_when_they_are_sent_and_always_told() {
    let site = Site::new(Setup::default());
    let file = site.file(BODY);
    let headers = [("Sha1", SHA1), ("Md5", MD5), ("Sha256", SHA256)];
    for (name, sum) in headers {
        let header = format!("X-Checksum-{name}: {sum}");
        assert_eq!(site.curl(&format!("/artifactory/libs/{name}"), &["-T", &file, "-H", &header]).status, 201);
        let upper = format!("X-Checksum: {}", sum.to_uppercase());
        let put = site.curl(&format!("/artifactory/libs/{name}-any"), &["-T", &file, "-H", &upper]);
        assert_eq!(put.status, 201, "{}", put.text());
        let wrong = format!("X-Checksum-{name}: {}", sum.replace('e', "f"));
        let refused = site.curl("/artifactory/libs/wrong", &["-T", &file, "-H", &wrong]);
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.message().contains(sum), "{}", refused.text());
        let short = format!("X-Checksum-{name}: {}", &sum[1..]);
        assert_eq!(site.curl("/artifactory/libs/wrong", &["-T", &file, "-H", &short]).status, 400);
    }
    assert_eq!(site.curl("/artifactory/libs/wrong", &[]).status, 404);
    let got = site.curl("/artifactory/libs/Sha1", &[]);
    assert_eq!((got.status, got.body.as_slice()), (200, BODY));
    for (name, sum) in headers {
        assert_eq!(got.header(&format!("x-checksum-{}", name.to_lowercase())), sum);
        let computed = site.curl(&format!("/artifactory/libs/Sha1.{}", name.to_lowercase()), &[]);
        assert_eq!((computed.status, computed.text()), (200, sum.to_owned()));
    }
    assert_eq!(site.put("/artifactory/libs/Sha1.md5", MD5.as_bytes()).status, 201);
    assert_eq!(site.put("/artifactory/libs/Sha1.sha1", MD5.as_bytes()).status, 409);
    let listed = site.curl("/artifactory/api/storage/libs?list&deep=1", &[]).json();
    assert_eq!(listed["files"].as_array().map(Vec::len), Some(6), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_save_the_bytes_that_the_client_has() {
    let site = Site::new(Setup::default());
    assert_eq!(site.put("/artifactory/libs/a/x.bin", BODY).status, 201);
    let path = "/artifactory/libs/a/x.bin";
    let got = site.curl(path, &[]);
    let (etag, modified) = (got.header("etag").to_owned(), got.header("last-modified").to_owned());
    assert_eq!(etag, format!("\"{SHA1}\""));
    assert_eq!(got.header("accept-ranges"), "bytes");
    assert_eq!(got.header("x-artifactory-filename"), "x.bin");
    let with = |header: &str| site.curl(path, &["-H", header]);
    let cases = [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"other\"".to_owned(), 200),
        (format!("If-Modified-Since: {modified}"), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 200),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: \"other\"".to_owned(), 412),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 412),
    ];
    for (header, expected) in cases {
        let got = with(&header);
        assert_eq!(got.status, expected, "{header}");
        match expected {
            304 => assert!(got.body.is_empty() && got.header("etag") == etag, "{header}"),
            200 => assert_eq!(got.body, BODY, "{header}"),
            _ => assert!(got.message().contains("changed"), "{header}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_served_where_a_part_is_meant() {
    let site = Site::new(Setup::default());
    let large = Dice(11).bytes(3_000_001);
    assert_eq!(site.put("/artifactory/libs/x.bin", &large).status, 201);
    let path = "/artifactory/libs/x.bin";
    let size = large.len();
    let parts = [
        ("0-0", 0..1),
        ("5-9", 5..10),
        ("-7", size - 7..size),
        ("2999990-", 2_999_990..size),
        ("1048570-2097160", 1_048_570..2_097_161),
        ("0-99999999", 0..size),
        ("-99999999", 0..size),
    ];
    for (range, expected) in parts {
        let got = site.curl(path, &["-r", range]);
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(sha256_hex(&got.body), sha256_hex(&large[expected.clone()]), "{range}");
        let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
        assert_eq!(got.header("content-range"), told);
    }
    for range in ["3000001-", "9000000-9000001", "-0"] {
        let got = site.curl(path, &["-r", range]);
        assert_eq!((got.status, got.header("content-range")), (416, "bytes */3000001"), "{range}");
    }
    for header in ["Range: bytes=9-5", "Range: lines=1-2", "Range: bytes=x-"] {
        let got = site.curl(path, &["-H", header]);
        assert_eq!((got.status, got.body.len()), (200, size), "{header}: what isn't understood is ignored");
    }
    let etag = site.curl(path, &["-I"]).header("etag").to_owned();
    let same = format!("If-Range: {etag}");
    assert_eq!(site.curl(path, &["-r", "1-2", "-H", &same]).status, 206);
    assert_eq!(site.curl(path, &["-r", "1-2", "-H", "If-Range: \"other\""]).status, 200);
    let resumed = site.curl(path, &["-C", "2000000"]);
    assert_eq!((resumed.status, resumed.body.len()), (206, size - 2_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_says_what_get_would() {
    let site = Site::new(Setup::default());
    assert_eq!(site.put("/artifactory/libs/a/x.jar", BODY).status, 201);
    for path in [
        "/artifactory/libs/a/x.jar",
        "/artifactory/libs/a/x.jar.sha1",
        "/artifactory/libs/a/",
        "/artifactory/libs/none",
        "/artifactory/api/storage/libs/a/x.jar",
        "/artifactory/api/repositories/libs",
        "/artifactory/api/repositories/none",
        "/artifactory/api/system/ping",
    ] {
        let (get, head) = (site.curl(path, &[]), site.curl(path, &["-I"]));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.lasting_headers(), get.lasting_headers(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_continue_sends_nothing_in_vain() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_MAX_UPLOAD", "1MiB"));
    let address = site.client().address;
    let expecting = "Expect: 100-continue\r\n";
    let refused = [
        ("/artifactory/none/x", site.bearer(), "5", 404),
        ("/artifactory/libs/../x", site.bearer(), "5", 400),
        ("/artifactory/libs/x", "Host: x\r\n".to_owned(), "5", 401),
        ("/artifactory/libs/x", "Host: x\r\nAuthorization: Bearer wrong\r\n".to_owned(), "5", 401),
        ("/artifactory/libs/x", site.bearer(), "1048577", 413),
        ("/artifactory/libs/x", site.bearer() + "X-Checksum-Md5: xyz\r\n", "5", 400),
        ("/artifactory/libs/x", site.bearer() + "X-Checksum-Deploy: true\r\n", "5", 404),
        ("/artifactory/api/none", site.bearer(), "5", 404),
    ];
    for (path, headers, length, expected) in refused {
        let mut raw = Raw::connect(address).await;
        let request = format!("PUT {path} HTTP/1.1\r\n{headers}{expecting}Content-Length: {length}\r\n\r\n");
        raw.send(&request).await.expect("sent");
        let head = raw.head().await;
        assert_eq!(head.status, expected, "{path}: {}", head.text);
        assert!(head.text.contains("connection: close"), "{path}: {}", head.text);
        assert!(raw.rest().await.contains("\"errors\""), "{path}");
    }
    let mut raw = Raw::connect(address).await;
    let request = format!(
        "PUT /artifactory/libs/x HTTP/1.1\r\n{}{expecting}Content-Length: 11\r\nConnection: close\r\n\r\n",
        site.bearer()
    );
    raw.send(&request).await.expect("sent");
    assert_eq!(raw.head().await.status, 100);
    raw.send(BODY).await.expect("sent");
    assert_eq!(raw.head().await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_has_the_shapes_that_clients_read() {
    let site = Site::new(Setup::default());
    let put = site.put("/artifactory/libs/a/b/x.jar;arch=x86;arch=arm;build%2Ename=n%20m", BODY);
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(put.header("location"), site.url("/artifactory/libs/a/b/x.jar"));
    assert_eq!(site.put("/artifactory/libs/a/y", b"").status, 201);
    let item = site.curl("/artifactory/api/storage/libs/a/b/x.jar", &[]).json();
    assert_eq!(item, put.json());
    let sums = json!({"sha1": SHA1, "md5": MD5, "sha256": SHA256});
    for (name, value) in [
        ("repo", json!("libs")),
        ("path", json!("/a/b/x.jar")),
        ("size", json!("11")),
        ("mimeType", json!("application/java-archive")),
        ("checksums", sums.clone()),
        ("originalChecksums", sums),
        ("createdBy", json!("admin")),
        ("downloadUri", json!(site.url("/artifactory/libs/a/b/x.jar"))),
        ("uri", json!(site.url("/artifactory/api/storage/libs/a/b/x.jar"))),
    ] {
        assert_eq!(item[name], value, "{name}");
    }
    let created = item["created"].as_str().expect("a date");
    assert!(created.len() == 24 && created.ends_with('Z') && &created[10..11] == "T", "{created}");
    let folder = site.curl("/artifactory/api/storage/libs/a", &[]).json();
    assert_eq!(folder["children"], json!([{"uri": "/b", "folder": true}, {"uri": "/y", "folder": false}]));
    assert_eq!(folder["path"], "/a");
    let list = site.curl("/artifactory/api/storage/libs?list&deep=1&listFolders=1", &[]).json();
    let rows: Vec<_> =
        list["files"].as_array().expect("files").iter().map(|row| (&row["uri"], &row["folder"])).collect();
    let expected = json!([["/a", true], ["/a/b", true], ["/a/b/x.jar", false], ["/a/y", false]]);
    assert_eq!(json!(rows), expected);
    assert_eq!(list["files"][2]["sha1"], SHA1);
    assert_eq!(list["files"][2]["size"], 11);
    let properties = site.curl("/artifactory/api/storage/libs/a/b/x.jar?properties", &[]).json();
    assert_eq!(properties["properties"], json!({"arch": ["x86", "arm"], "build.name": ["n m"]}));
    let none = site.curl("/artifactory/api/storage/libs/a/y?properties", &[]);
    assert_eq!((none.status, none.message().as_str()), (404, "No properties could be found."));
    let unknown = site.curl("/artifactory/api/storage/libs/none", &[]);
    assert_eq!((unknown.status, unknown.message().contains("none")), (404, true));
    let page = site.curl("/artifactory/libs/a/", &[]).text();
    assert!(page.contains("href=\"b/\"") && page.contains("href=\"y\""), "{page}");
    assert_eq!(site.curl("/artifactory/libs/a/y", &["-X", "DELETE"]).status, 204);
    assert_eq!(site.curl("/artifactory/libs/a/y", &["-X", "DELETE"]).status, 404);
    assert_eq!(site.curl("/artifactory/libs/a/", &["-X", "DELETE"]).status, 204);
    assert_eq!(site.curl("/artifactory/libs/a/b/x.jar", &[]).status, 404);
}

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
