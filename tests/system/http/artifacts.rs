//! Artifacts and their metadata, as clients put and get them.

use serde_json::json;

use super::{BODY, Site};
use crate::harness::{Dice, Raw, Setup, sha256_hex};

const SHA1: &str = "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

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
    let archive = site.curl("/artifactory/libs/wrong", &["-T", &file, "-H", "X-Explode-Archive: true"]);
    assert_eq!((archive.status, archive.message().contains("X-Explode-Archive")), (400, true), "{}", archive.text());
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

/// The parts of a message of several, each with its `Content-Range`.
fn parts_of(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a message of several parts");
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let starts: Vec<usize> =
        (0..body.len()).filter(|at| body[*at..].starts_with(&delimiter)).map(|at| at + delimiter.len()).collect();
    assert_eq!(&body[*starts.last().expect("an end")..], b"--\r\n");
    let part = |pair: &[usize]| {
        let part = &body[pair[0] + 2..pair[1] - delimiter.len()];
        let end = part.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&part[..end]).to_ascii_lowercase();
        let range = head.split("content-range: ").nth(1).expect("a range").to_owned();
        (range, part[end + 4..].to_vec())
    };
    starts.windows(2).map(part).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_parts_are_one_message_and_too_many_are_the_whole() {
    let site = Site::new(Setup::default());
    for size in [20_000_usize, 500_000, 3_000_001] {
        let bytes = Dice(size as u64).bytes(size);
        assert_eq!(site.put("/artifactory/libs/x.jar", &bytes).status, 201);
        let cases: [(String, Vec<std::ops::Range<usize>>); 4] = [
            ("0-0,-1".into(), vec![0..1, size - 1..size]),
            ("9000-9999,5-9".into(), vec![9000..10_000, 5..10]),
            (format!("0-9999,{}-,99999999-", size - 5000), vec![0..10_000, size - 5000..size]),
            ("100-200,150-300,1000-1999".into(), vec![100..301, 1000..2000]),
        ];
        for (asked, expected) in cases {
            let got = site.curl("/artifactory/libs/x.jar", &["-r", &asked]);
            assert_eq!((got.status, got.header("content-range")), (206, ""), "{asked}");
            assert_eq!(got.header("content-length"), got.body.len().to_string(), "{asked}");
            let parts = parts_of(got.header("content-type"), &got.body);
            let told = |range: &std::ops::Range<usize>| format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let expected: Vec<_> = expected.iter().map(|range| (told(range), bytes[range.clone()].to_vec())).collect();
            assert!(parts == expected, "{asked} of {size}");
        }
        let one = site.curl("/artifactory/libs/x.jar", &["-r", "5-9,7-20"]);
        assert_eq!((one.status, one.body.as_slice()), (206, &bytes[5..21]), "merged to one");
        assert_eq!(one.header("content-range"), format!("bytes 5-20/{size}"));
        let many: Vec<String> = (0..300).map(|number| format!("{0}-{0}", number * 2)).collect();
        for asked in ["0-,0-,0-", "0-,5-9", &many.join(",")] {
            let got = site.curl("/artifactory/libs/x.jar", &["-r", asked]);
            assert!(got.status == 200 && got.body == bytes, "{asked}");
        }
        let none = site.curl("/artifactory/libs/x.jar", &["-r", "9000000-,9000001-"]);
        assert_eq!((none.status, none.header("content-range")), (416, format!("bytes */{size}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_for_the_content_that_the_client_knows() {
    let site = Site::new(Setup::default());
    assert_eq!(site.put("/artifactory/libs/x", BODY).status, 201);
    let head = site.curl("/artifactory/libs/x", &["-I"]);
    let (etag, modified) = (head.header("etag").to_owned(), head.header("last-modified").to_owned());
    let cases =
        [(etag.as_str(), 206), (modified.as_str(), 206), ("Sun, 06 Nov 1994 08:49:37 GMT", 200), ("\"x\"", 200)];
    for (validator, expected) in cases {
        for range in ["1-2", "1-2,4-5"] {
            let got = site.curl("/artifactory/libs/x", &["-r", range, "-H", &format!("If-Range: {validator}")]);
            assert_eq!(got.status, expected, "{validator} {range}");
        }
    }
    let unmodified = site.curl("/artifactory/libs/x", &["-r", "1-2", "-H", &format!("If-None-Match: {etag}")]);
    assert_eq!(unmodified.status, 304, "a condition goes before the range");
    let past = site.curl("/artifactory/libs/x", &["-r", "99-", "-H", "If-Range: \"other\""]);
    assert!(past.status == 200 && past.body == BODY, "a range that doesn't hold can't be out of bounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_what_anybody_may_read_and_ask_again_each_time() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_ANONYMOUS_READ", "true"));
    assert_eq!(site.put("/artifactory/libs/a/x.html", b"<script>alert(1)</script>").status, 201);
    let (path, sums) = ("/artifactory/libs/a/x.html", "/artifactory/api/storage/libs/a/x.html");
    // Twice, since the second is answered from what the first left.
    for _ in 0..2 {
        let (own, anybodys) = (site.curl(path, &[]), site.stranger(path, &[]));
        assert_eq!(own.header("cache-control"), "private, no-cache");
        assert_eq!(anybodys.header("cache-control"), "public, no-cache");
        for got in [own, anybodys] {
            assert_eq!(got.header("x-content-type-options"), "nosniff");
            assert_eq!(got.header("content-security-policy"), "default-src 'none'; sandbox");
            assert!(got.header("content-disposition").starts_with("attachment;"));
        }
    }
    assert_eq!(site.stranger(sums, &[]).header("cache-control"), "public, no-cache");
    assert_eq!(site.stranger("/artifactory/libs/none", &[]).header("cache-control"), "no-store");
    let etag = site.stranger(path, &["-I"]).header("etag").to_owned();
    let unchanged = site.stranger(path, &["-H", &format!("If-None-Match: {etag}")]);
    assert_eq!((unchanged.status, unchanged.header("cache-control")), (304, "public, no-cache"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_tells_its_last_change_and_who_may_do_what() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_ANONYMOUS_READ", "true"));
    for name in ["a/z", "a/b/y", "x"] {
        assert_eq!(site.put(&format!("/artifactory/libs/{name}"), BODY).status, 201);
    }
    let last = |path: &str| site.curl(&format!("/artifactory/api/storage/libs{path}?lastModified"), &[]).json();
    let (all, folder, file) = (last(""), last("/a"), last("/a/z"));
    for (told, path) in [(&all, "libs/x"), (&folder, "libs/a/b/y"), (&file, "libs/a/z")] {
        assert!(told["uri"].as_str().is_some_and(|uri| uri.ends_with(path)), "{told}");
    }
    let item = site.curl("/artifactory/api/storage/libs/x", &[]).json();
    assert_eq!(all["lastModified"], item["lastModified"]);
    let told = site.curl("/artifactory/api/storage/libs/a?permissions", &[]).json();
    let users = json!({"admin": ["r", "w", "n", "d", "m"], "anonymous": ["r"]});
    assert_eq!(told["principals"]["users"], users);
    assert_eq!(site.stranger("/artifactory/api/storage/libs/a?permissions", &[]).status, 401);
    let stats = site.curl("/artifactory/api/storage/libs/a/z?stats", &[]).json();
    assert_eq!((stats["downloadCount"].clone(), stats["lastDownloaded"].clone()), (0.into(), 0.into()));
    let head = site.curl("/artifactory/libs/a/z", &["--head"]).status;
    let got = [0, 1].map(|_| site.curl("/artifactory/libs/a/z", &[]).status);
    assert_eq!((head, got), (200, [200, 200]));
    let stats = site.curl("/artifactory/api/storage/libs/a/z?stats", &[]).json();
    assert_eq!((stats["downloadCount"].clone(), stats["lastDownloadedBy"].clone()), (2.into(), "admin".into()));
    assert!(stats["lastDownloaded"].as_u64().is_some_and(|at| at > 0));
    assert_eq!(site.curl("/artifactory/api/storage/libs/a?stats", &[]).status, 400);
}
