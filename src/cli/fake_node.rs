//! A tiny HTTP server that plays the node in tests: answers by a function, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::target::Target;
use super::tls::Tls;

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answer = Response<Full<Bytes>>;

/// The server; it ends with this value.
pub(super) struct FakeNode {
    pub(super) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl FakeNode {
    /// Starts a server on the loopback.
    pub(super) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + Clone + 'static) -> FakeNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, answer) = (Arc::clone(&shared), answer.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (shared, answer) = (Arc::clone(&shared), answer.clone());
                        async move { Ok::<_, Infallible>(respond(request, &shared, &answer).await) }
                    });
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                });
            }
        });
        FakeNode { base, asked, task }
    }

    /// How to reach it, with the token `amt_secret`.
    pub(super) fn target(&self) -> Target {
        Target {
            base: self.base.clone(),
            token: Some("amt_secret".into()),
            tls: Tls::none(),
            nobody: "nobody there".into(),
        }
    }

    /// Everything it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(request: Request<Incoming>, asked: &Mutex<Vec<Asked>>, answer: &impl Fn(&Asked) -> Answer) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let one = Asked { method: head.method, target: head.uri.to_string(), headers: head.headers, body };
    let response = answer(&one);
    asked.lock().unwrap().push(one);
    response
}

/// An answer.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}
