//! Connections over real loopback sockets, with a handler that stands in for the routes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::http::answer::{empty, text};
use crate::http::body::{Body, Broken};
use crate::http::listeners::bind_all;
use crate::http::threads::serve;
use crate::http::tls::{Tls, TlsFiles};

/// Everything here is over long before; a test that waits for this has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// More than one, so that whatever the threads share is shared here too.
const THREADS: usize = 3;

struct Site {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
}

async fn open(options: Options) -> Site {
    let listeners = bind_all((Ipv4Addr::LOCALHOST, 0).into(), THREADS).expect("a free port");
    let address = listeners[0].local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (seen, go) = (arrived.clone(), release.clone());
    let handler = move |arrival: Arrival| Answering::later(respond(arrival, seen.clone(), go.clone()));
    let running = tokio::spawn(async move {
        let stop = async { drop(stopped.await) };
        let tls = options.tls.as_ref().map(|files| Tls::load(files).expect("a certificate"));
        serve(listeners, &options, tls, &Meter::default(), handler, stop).await.expect("no thread panics");
    });
    Site { address, stop: Some(stop), running, arrived, release }
}

async fn respond(arrival: Arrival, arrived: Arc<Notify>, release: Arc<Notify>) -> Answer {
    match arrival.request.uri().path() {
        "/refuse" => {
            arrival.refused.store(true, Ordering::Relaxed);
            let mut answer = text(StatusCode::FORBIDDEN, "no");
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            answer
        }
        "/broken" => {
            let pieces = [Ok(Bytes::from_static(b"abc")), Err(Broken::Long)];
            answer_of(Body::sized(futures::stream::iter(pieces), 10))
        }
        "/wait" => {
            arrived.notify_one();
            release.notified().await;
            text(StatusCode::OK, "waited")
        }
        "/endless" => answer_of(Body::chunked(futures::stream::repeat_with(|| Ok(Bytes::from(vec![0; 1 << 16]))))),
        "/echo" => {
            let body = arrival.request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            answer_of(Body::full(body))
        }
        _ => text(StatusCode::OK, "fine"),
    }
}

fn answer_of(body: Body) -> Answer {
    empty(StatusCode::OK).map(|_| body)
}

impl Site {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the door is open")
    }

    /// Sends bytes and reads until the other side closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("it listens");
        heard(&mut stream).await
    }

    async fn close(mut self) {
        self.stop.take().expect("closed once").send(()).expect("it runs");
        tokio::time::timeout(DEADLINE, self.running).await.expect("in time").expect("without a panic");
    }
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("it closes in time");
    read.expect("it closes, it doesn't reset");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn headers_over_their_bound_are_answered_with_431() {
    let door = open(Options { max_header_bytes: 1000, ..Options::default() }).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(2000));
    assert!(door.say(long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(door.say(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("fine"));
    door.close().await;
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_400_or_silence() {
    let door = open(Options::default()).await;
    for rubbish in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n bad\r\n\r\n"]
    {
        let answer = door.say(rubbish).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let smuggled = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde";
    assert!(door.say(smuggled).await.starts_with("HTTP/1.1 400"));
    door.close().await;
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let door = open(Options { header_timeout: Duration::from_millis(20), ..Options::default() }).await;
    let answer = door.say(b"GET / HTTP/1.1\r\nhost: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_hears_the_refusal_first() {
    let door = open(Options::default()).await;
    let head = b"PUT /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = door.connect().await;
    stream.write_all(head).await.expect("it listens");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 403");
    let rest = heard(&mut stream).await;
    assert!(!rest.contains("100 Continue") && rest.ends_with("no"), "{rest}");
    drop(stream);
    let taken =
        b"PUT /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc";
    let answer = door.say(taken).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") && answer.ends_with("abc"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_refusal_is_heard_by_a_client_that_goes_on_sending() {
    let door = open(Options::default()).await;
    let mut stream = door.connect().await;
    stream.write_all(b"PUT /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 4194304\r\n\r\n").await.expect("it listens");
    // The whole body goes out before the answer is read, as simple clients do it.
    stream.write_all(&vec![7; 4 << 20]).await.expect("it is read and thrown away");
    let answer = heard(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("no"), "{answer}");
    drop(stream);
    door.close().await;
}

#[tokio::test]
async fn an_answer_that_fails_in_the_middle_breaks_the_connection() {
    let door = open(Options::default()).await;
    let mut stream = door.connect().await;
    stream.write_all(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    let mut bytes = Vec::new();
    // Whether it closes or resets, the promised length is not reached.
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it ends in time").ok();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.is_empty() || (text.contains("content-length: 10") && !text.contains("abcabca")), "{text}");
    assert!(text.split("\r\n\r\n").nth(1).is_none_or(|body| body.len() < 10), "{text}");
    door.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let door =
        open(Options { idle_timeout: Duration::from_millis(50), max_connections: 1, ..Options::default() }).await;
    let mut deaf = door.connect().await;
    deaf.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    // The only place is taken until the deaf client is thrown out.
    assert!(door.say(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("fine"));
    drop(deaf);
    door.close().await;
}

#[tokio::test]
async fn beyond_the_bound_connections_wait_their_turn() {
    let door = open(Options { max_connections: 1, ..Options::default() }).await;
    let mut first = door.connect().await;
    first.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("it listens");
    tokio::time::timeout(DEADLINE, door.arrived.notified()).await.expect("the first is served");
    let mut second = door.connect().await;
    second
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .expect("the system queues it");
    door.release.notify_one();
    assert!(heard(&mut first).await.ends_with("waited"));
    tokio::time::timeout(DEADLINE, door.arrived.notified()).await.expect("then the second");
    door.release.notify_one();
    assert!(heard(&mut second).await.ends_with("waited"));
    door.close().await;
}

#[tokio::test]
async fn on_stop_requests_under_way_finish_and_idle_connections_close() {
    let mut door = open(Options::default()).await;
    let (mut busy, mut idle) = (door.connect().await, door.connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("an answer");
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    tokio::time::timeout(DEADLINE, door.arrived.notified()).await.expect("it is served");
    door.stop.take().expect("once").send(()).expect("it runs");
    heard(&mut idle).await;
    assert!(TcpStream::connect(door.address).await.is_err(), "nothing more is accepted");
    door.release.notify_one();
    assert!(heard(&mut busy).await.ends_with("waited"));
    tokio::time::timeout(DEADLINE, door.running).await.expect("in time").expect("without a panic");
}

#[tokio::test]
async fn after_the_time_of_grace_what_still_runs_is_broken_off() {
    let door = open(Options { grace: Duration::from_millis(10), ..Options::default() }).await;
    let mut busy = door.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    tokio::time::timeout(DEADLINE, door.arrived.notified()).await.expect("it is served");
    door.close().await;
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, busy.read_to_end(&mut rest)).await.expect("in time").ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_server_that_is_dropped_breaks_off_what_is_under_way() {
    let door = open(Options::default()).await;
    let mut busy = door.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    tokio::time::timeout(DEADLINE, door.arrived.notified()).await.expect("it is served");
    door.running.abort();
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, busy.read_to_end(&mut rest)).await.expect("in time").ok();
    assert!(rest.is_empty());
    assert!(door.running.await.expect_err("it was aborted").is_cancelled());
    assert!(TcpStream::connect(door.address).await.is_err(), "nothing listens any more");
}

/// A certificate of its own for each test, and a client's configuration that trusts it.
fn certified(folder: &std::path::Path) -> (TlsFiles, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.key_pair.serialize_pem()).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (files, Arc::new(config))
}

#[tokio::test]
async fn a_client_of_http_2_that_grants_no_window_is_given_up_and_one_that_reads_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, config) = certified(folder.path());
    let idle_timeout = Duration::from_millis(200);
    let door = open(Options { tls: Some(tls), idle_timeout, max_connections: 1, ..Options::default() }).await;
    for path in ["/endless", "/fine"] {
        let stream = tokio_util::compat::TokioAsyncReadCompatExt::compat(door.connect().await);
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        // For the second, the only place is taken until the first client is thrown out.
        let connecting = futures_rustls::TlsConnector::from(config.clone()).connect(name, stream);
        let stream = tokio::time::timeout(DEADLINE, connecting).await.expect("in time").expect("a handshake");
        let stream = tokio_util::compat::FuturesAsyncReadCompatExt::compat(stream);
        let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let (mut sender, connection) =
            builder.handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("it speaks HTTP/2");
        let driving = tokio::spawn(connection);
        let request = hyper::Request::get(format!("https://localhost{path}"));
        let request = request.body(http_body_util::Empty::<Bytes>::new()).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        if path == "/fine" {
            assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "fine");
            continue;
        }
        // Its socket is read all the time, but nothing of the body is taken.
        let ended = tokio::time::timeout(DEADLINE, driving).await.expect("the connection ends in time");
        drop((ended, answer));
    }
    door.close().await;
}
