//! The way of an artifact's bytes to the client: sent from the file, in order, to many, and to those who don't read.

use tokio::io::AsyncReadExt as _;

use super::Site;
use crate::harness::{Client, DEADLINE, Dice, Raw, Setup, sha256_hex, until};

const MIB: usize = 1 << 20;

/// Requests aren't logged one by one, so that answers which are at hand may be given at once.
fn quiet() -> Setup {
    Setup::default().with("ARTIMESH_LOG", "info")
}

/// A counter or gauge, from `/metrics`.
async fn metric(client: &Client, name: &str) -> u64 {
    let text = client.get("/metrics").await.expect("metrics").text();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().expect("a number")
}

async fn sent_from_files(client: &Client) -> u64 {
    metric(client, "artimesh_http_sendfile_bytes_total").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_download_is_sent_from_the_file() {
    let site = Site::new(quiet());
    let client = site.client();
    for size in [64 << 10, MIB, 5 * MIB + 3] {
        let bytes = Dice(size as u64).bytes(size);
        assert_eq!(site.put("/artifactory/libs/x", &bytes).status, 201);
        for round in ["the first time", "again"] {
            let before = sent_from_files(&client).await;
            let got = site.curl("/artifactory/libs/x", &[]);
            assert!(got.body == bytes, "{size} bytes, {round}");
            let sent = sent_from_files(&client).await - before;
            // What is left of a piece when a socket is full may be too short for it.
            assert!(sent >= size as u64 - (64 << 10).min(size as u64 / 2), "{sent} of {size} bytes, {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_answers_come_in_order_and_do_not_differ_in_a_byte() {
    let site = Site::new(quiet());
    let sizes =
        [0, 1, 700, 1024, 1025, 16_383, 16_384, 16_385, 32_768, 32_769, 65_536, 300_000, MIB, MIB + 1, 3 * MIB + 7];
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| Dice(*size as u64 + 1).bytes(*size)).collect();
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(site.put(&format!("/artifactory/libs/{number}"), body).status, 201);
    }
    let bearer = site.bearer();
    let mut dice = Dice::fresh("pipelined answers");
    let (mut requests, mut expected) = (String::new(), Vec::new());
    for _ in 0..120 {
        let (number, method) = (dice.below(sizes.len() as u64) as usize, dice.below(8));
        let whole = &bodies[number];
        let path = format!("/artifactory/libs/{number} HTTP/1.1\r\n{bearer}");
        if method == 0 {
            requests += &format!("HEAD {path}\r\n");
            expected.push(&whole[..0]);
        } else if method == 1 && whole.len() > 1 {
            let start = dice.below(whole.len() as u64 - 1) as usize;
            let end = start + 1 + dice.below((whole.len() - start) as u64 - 1) as usize;
            requests += &format!("GET {path}Range: bytes={start}-{}\r\n\r\n", end - 1);
            expected.push(&whole[start..end]);
        } else {
            requests += &format!("GET {path}\r\n");
            expected.push(whole);
        }
    }
    let mut raw = Raw::connect(site.client().address).await;
    raw.send(requests).await.expect("sent");
    for (number, expected) in expected.into_iter().enumerate() {
        let head = raw.head().await;
        assert!(matches!(head.status, 200 | 206), "{}", head.text);
        assert!(
            raw.bytes(expected.len()).await == expected,
            "answer {number} of {} bytes: {}",
            expected.len(),
            head.text
        );
    }
    assert!(sent_from_files(&site.client()).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_while_its_pack_is_appended_to() {
    let site = Site::new(quiet());
    let body = Dice(5).bytes(MIB);
    assert_eq!(site.put("/artifactory/libs/slow", &body).status, 201);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(site.client().address).await;
        let request = format!("GET /artifactory/libs/slow HTTP/1.1\r\n{}Connection: close\r\n\r\n", site.bearer());
        raw.send(request).await.expect("sent");
        assert_eq!(raw.head().await.status, 200);
        readers.push(raw);
    }
    for number in 0..20 {
        let other = Dice(100 + number).bytes(400_000);
        let path = format!("/artifactory/libs/other/{number}");
        assert_eq!(site.put(&path, &other).status, 201);
        assert!(site.curl(&path, &[]).body == other);
    }
    for raw in readers {
        assert!(raw.rest_bytes().await == body);
    }
}

/// Readers who take the head of their answer and then nothing: each holds a place in a file and no bytes of its own.
#[tokio::test(flavor = "multi_thread")]
async fn readers_who_do_not_read_keep_nothing_in_memory() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_MAX_CONNECTIONS", "1000"));
    let client = site.client();
    let body = Dice(9).bytes(24 * MIB);
    assert_eq!(site.put("/artifactory/libs/large", &body).status, 201);
    assert!(site.curl("/artifactory/libs/large", &[]).body == body);
    let (from_files, written) =
        (sent_from_files(&client).await, metric(&client, "artimesh_http_written_bytes_total").await);
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::connect(client.address).await;
        let request = format!("GET /artifactory/libs/large HTTP/1.1\r\n{}Connection: close\r\n\r\n", site.bearer());
        raw.send(request).await.expect("sent");
        readers.push(raw);
    }
    until("all are being served", || async {
        match metric(&client, "artimesh_http_requests_in_flight").await {
            101.. => Ok(()),
            few => Err(format!("{few} are")),
        }
    })
    .await;
    let one = readers.pop().expect("a reader");
    let whole = one.rest_bytes().await;
    assert!(whole.ends_with(&body), "one that reads after all gets everything");
    drop(readers);
    let from_files = sent_from_files(&client).await - from_files;
    let written = metric(&client, "artimesh_http_written_bytes_total").await - written;
    assert!(from_files >= 23 * MIB as u64, "{from_files} bytes came from files");
    assert!(written < 4 * MIB as u64, "{written} bytes went through this process for {} of bodies", from_files);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_many_connections_get_the_same_bytes() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_THREADS", "4"));
    let sizes = [900, 40_000, 2 * MIB + 11];
    for size in sizes {
        assert_eq!(site.put(&format!("/artifactory/libs/{size}"), &Dice(size as u64).bytes(size)).status, 201);
    }
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..24 {
        let (address, bearer) = (site.client().address, site.bearer());
        clients.spawn(async move {
            let size = sizes[number % sizes.len()];
            let expected = sha256_hex(&Dice(size as u64).bytes(size));
            for _ in 0..5 {
                let mut raw = Raw::connect(address).await;
                let request = format!("GET /artifactory/libs/{size} HTTP/1.1\r\n{bearer}\r\n");
                raw.send(request.repeat(3)).await.expect("sent");
                for _ in 0..3 {
                    assert_eq!(raw.head().await.status, 200);
                    assert_eq!(sha256_hex(&raw.bytes(size).await), expected);
                }
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("all bytes were right");
    }
    // A server that is busy on all its threads stops as any other.
    let mut idle = tokio::net::TcpStream::connect(site.client().address).await.expect("it listens");
    site.node.terminate();
    let read = tokio::time::timeout(DEADLINE, idle.read(&mut [0; 1])).await.expect("it ends in time");
    assert!(matches!(read, Ok(0) | Err(_)), "an idle connection is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_or_deleted_is_what_the_next_request_sees() {
    let site = Site::new(quiet());
    let client = site.client();
    let path = "/artifactory/libs/changing";
    let mut previous = String::new();
    for round in 0..30_u64 {
        // Small and large ones in turn, so that memory, packs and large files all come up.
        let body = Dice(round).bytes([40, 30_000, 200_000, MIB + 1][round as usize % 4]);
        assert_eq!(client.put(path, body.clone()).await.expect("an answer").status, 201);
        for _ in 0..2 {
            let got = client.get(path).await.expect("an answer");
            assert!(got.body == body, "round {round}");
            assert_ne!(got.header("etag"), previous);
        }
        previous = client.get(path).await.expect("an answer").header("etag").to_owned();
        let properties = format!("/artifactory/api/storage/libs/changing?properties=round={round}");
        assert_eq!(client.put(&properties, "").await.expect("an answer").status, 204);
        if round % 5 == 4 {
            assert_eq!(client.delete(path).await.expect("an answer").status, 204);
            assert_eq!(client.get(path).await.expect("an answer").status, 404, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_at_hand_says_what_the_first_one_said_to_whoever_may_read() {
    let site = Site::new(quiet());
    let client = site.client();
    for (size, is_at_hand) in [(0, false), (700, true), (300_000, true), (MIB, true), (MIB + 1, false)] {
        let path = format!("/artifactory/libs/{size}.jar");
        let bytes = Dice(size as u64).bytes(size);
        assert_eq!(site.put(&path, &bytes).status, 201);
        let ask = || async { client.get(&path).await.expect("an answer") };
        let first = ask().await;
        let before = metric(&client, "artimesh_http_answered_at_hand_total").await;
        for _ in 0..20 {
            let again = ask().await;
            assert!(again.status == 200 && again.body == bytes, "{size} bytes");
            for (name, value) in first.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date") {
                assert_eq!(again.headers.get(name), Some(value), "{name} of {size} bytes");
            }
            assert_eq!(again.headers.len(), first.headers.len(), "{size} bytes");
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        }
        let at_hand = metric(&client, "artimesh_http_answered_at_hand_total").await - before;
        assert_eq!(at_hand > 0, is_at_hand, "{at_hand} of 20 answers with {size} bytes");
        let stranger = Client { token: Some("nobody's".into()), ..client.clone() };
        assert_eq!(stranger.get(&path).await.expect("an answer").status, 401, "{size} bytes");
    }
}
