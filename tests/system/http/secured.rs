//! The same surface inside of TLS, by HTTP/1.1 and by HTTP/2.

use std::fs;
use std::path::Path;

use super::Site;
use crate::harness::{Address, Dice, Got, Setup, curl, until};

const MIB: usize = 1 << 20;

/// A certificate for `localhost` and `addresses`, in a folder that outlives the node.
fn certificate(folder: &Path, names: &[&str]) -> Setup {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.key_pair.serialize_pem()).expect("written");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    Setup::default()
        .with("ARTIMESH_HTTP_TLS_CERTIFICATE", &path(&certificate))
        .with("ARTIMESH_HTTP_TLS_KEY", &path(&key))
}

/// As the administrator, by HTTPS; the certificate is checked.
fn https(site: &Site, folder: &Path, path: &str, args: &[&str]) -> Got {
    let address = site.client().address;
    let mut all = vec![format!("https://localhost:{}{path}", address.port())];
    all.push("--resolve".into());
    all.push(format!("localhost:{}:{}", address.port(), address.ip()));
    all.push("--cacert".into());
    all.push(folder.join("cert.pem").to_string_lossy().into_owned());
    all.push("-H".into());
    all.push(format!("Authorization: Bearer {}", site.node.token()));
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    curl(&all)
}

#[tokio::test(flavor = "multi_thread")]
async fn https_serves_the_same_bytes_by_both_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::new(certificate(folder.path(), &["localhost"]));
    for version in ["--http1.1", "--http2"] {
        let ask = |path: &str, args: &[&str]| https(&site, folder.path(), path, &[args, &[version]].concat());
        for size in [0, 1000, 32 << 10, 300_000, 5 * MIB + 3] {
            let bytes = Dice(size as u64).bytes(size);
            let path = format!("/artifactory/libs/{}/{size}.jar", &version[2..]);
            let put = ask(&path, &["-T", &site.file(&bytes)]);
            assert_eq!(put.status, 201, "{version} {size}: {}", put.text());
            assert_eq!(put.json()["downloadUri"], format!("https://localhost:{}{path}", site.client().address.port()));
            for round in 0..2 {
                let got = ask(&path, &[]);
                assert!(got.status == 200 && got.body == bytes, "{version}, {size} bytes, round {round}");
                assert_eq!(got.header("content-length"), size.to_string());
            }
            if size > 100 {
                let part = ask(&path, &["-r", "7-90"]);
                assert!(part.status == 206 && part.body == bytes[7..91], "{version} {size}");
            }
            let head = ask(&path, &["-I"]);
            assert_eq!((head.status, head.header("content-length")), (200, size.to_string().as_str()));
            let tag = format!("If-None-Match: {}", head.header("etag"));
            assert_eq!(ask(&path, &["-H", &tag]).status, 304);
            // What plain HTTP gets on this machine is the same.
            assert!(site.curl(&path, &[]).body == bytes);
        }
        let refused = ask("/artifactory/none/x", &["-T", &site.file(&[7; 3 << 20])]);
        assert_eq!(refused.status, 404, "a refusal before the body was read: {}", refused.text());
        assert_eq!(ask("/artifactory/libs/nothing", &[]).status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_https_is_spoken_plain_http_is_for_loopback_only() {
    let Some(address) = Address::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = Site::new(certificate(folder.path(), &["localhost", &address.0]));
    site.node.stop();
    site.node.set("ARTIMESH_HTTP_LISTEN", &format!("{}:0", address.0));
    site.node.start();
    let plain = site.stranger("/artifactory/api/system/ping", &[]);
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{}", plain.text());
    let refused = site.stranger("/artifactory/libs/x", &["-T", &site.file(&[7; 1 << 20])]);
    assert_eq!(refused.status, 400);
    let authority = folder.path().join("cert.pem").to_string_lossy().into_owned();
    let url = format!("https://{}/artifactory/api/system/ping", site.client().address);
    for version in ["--http1.1", "--http2"] {
        assert_eq!(curl(&[url.as_str(), "--cacert", &authority, version]).text(), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_can_not_be_used_is_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = Site::new(certificate(folder.path(), &["localhost"]));
    site.node.stop();
    fs::write(folder.path().join("key.pem"), "no key").expect("written");
    site.node.spawn();
    until("it has given up", || {
        let is_alive = site.node.is_alive();
        async move { if is_alive { Err("it runs".to_owned()) } else { Ok(()) } }
    })
    .await;
    let told = site.node.log_tail();
    assert!(told.contains("key.pem cannot be used for HTTPS"), "{told}");
}
