//! The HTTP client of the command line: HTTP/1.1, plain or inside of TLS, one request at a time, bodies streamed both ways.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::command::Global;
use super::target::Target;
use super::tls;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer that is no transfer may take, and a transfer may stand still.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may take that changes many artifacts, one after the other.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(3600);
/// The largest answer that is held in memory.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The largest refusal: there may be many at the same time, and who refuses may be anybody.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// So much of a refusal is told.
const REFUSAL_CHARS_MAX: usize = 2000;
/// A connection on which nothing moves is asked whether it is there, and given up when there is no answer: a node that lost its
/// power says nothing.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TRIES: u32 = 3;

/// The body of a request.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody listens there. Nothing happened.
    #[error("{0}")]
    Nobody(String),
    /// What answers there isn't who it should be, or speaks otherwise. Nothing happened.
    #[error("{0}")]
    Stranger(String),
    /// The node said no, and why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The node's words.
        message: String,
    },
    /// The connection broke or the answer made no sense; what the node did is unknown.
    #[error("{what}: {reason}")]
    Broken {
        /// Which call.
        what: String,
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// The HTTP status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            CallError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Talks to one node.
pub(super) struct Client {
    target: Target,
    /// What is said instead of the target's token.
    authorization: Option<HeaderValue>,
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
}

impl Client {
    /// A client for the node that `global` names.
    ///
    /// # Errors
    /// As [`Target::find`].
    pub(super) fn find(global: &Global) -> anyhow::Result<Client> {
        Ok(Client::new(Target::find(global)?))
    }

    /// A client for `target`.
    pub(super) fn new(target: Target) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        connector.set_tcp_user_timeout(Some(KEEPALIVE * (KEEPALIVE_TRIES + 1)));
        let connector = target.tls.connector(connector);
        Client { target, authorization: None, pool: Pool::builder(TokioExecutor::new()).build(connector) }
    }

    /// A client for a server that may want something else than a node's token.
    pub(super) fn authorized(target: Target, authorization: Option<HeaderValue>) -> Client {
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Client { authorization, ..Client::new(target) }
    }

    /// Sends `body` as JSON (if any) and returns the answer as JSON; an answer that is text becomes a JSON string.
    ///
    /// # Errors
    /// [`CallError`]; an answer has a minute.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CallError> {
        self.call_within(ANSWER_TIMEOUT, method, path, body).await
    }

    /// [`Client::call`] with more or less patience.
    pub(super) async fn call_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, CallError> {
        let mut request = Request::builder().method(method);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(full(bytes)).expect("a method and a constant header");
        self.answered(patience, path, request).await
    }

    /// Changes the file at `path` of a route, if it still has the content with this SHA-1.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        sha1: Option<&str>,
    ) -> Result<Value, CallError> {
        let mut request = Request::builder().method(method);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(sha1) = sha1 {
            request = request.header(IF_MATCH, format!("\"{sha1}\""));
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(full(bytes)).expect("a SHA-1 was checked to be hexadecimal");
        self.answered(ANSWER_TIMEOUT, path, request).await
    }

    /// Posts a text, as [`Client::call`] posts JSON.
    pub(super) async fn ask(&self, path: &str, text: &str) -> Result<Value, CallError> {
        let request = Request::post("/").header(CONTENT_TYPE, "text/plain");
        let request = request.body(full(Bytes::copy_from_slice(text.as_bytes()))).expect("constants");
        self.answered(ANSWER_TIMEOUT, path, request).await
    }

    async fn answered(&self, patience: Duration, path: &str, request: Request<Body>) -> Result<Value, CallError> {
        let what = format!("{} {path}", request.method());
        let broken = |reason: String| CallError::Broken { what: what.clone(), reason };
        let answer = async {
            let response = self.send(path, request).await?;
            collect(response, ANSWER_BYTES_MAX).await.map_err(broken)
        };
        let bytes = tokio::time::timeout(patience, answer)
            .await
            .unwrap_or_else(|_| Err(broken(format!("no answer within {} s", patience.as_secs()))))?;
        Ok(serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).trim().to_owned())))
    }

    /// Sends `request` to `path` (which begins with a slash, percent-encoded) with the token, and returns the answer's
    /// head when it is a success.
    ///
    /// # Errors
    /// [`CallError`]. There is no deadline: an upload may be long, and so may its commit.
    pub(super) async fn send(&self, path: &str, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        let what = format!("{} {path}", request.method());
        let broken = |reason: String| CallError::Broken { what: what.clone(), reason };
        let (mut head, body) = request.into_parts();
        head.uri = format!("{}{path}", self.target.base).parse().map_err(|error| broken(format!("{error}")))?;
        let agent = concat!("artimesh/", env!("CARGO_PKG_VERSION"));
        head.headers.insert(USER_AGENT, agent.parse().expect("a version is a header value"));
        if let Some(value) = &self.authorization {
            head.headers.insert(AUTHORIZATION, value.clone());
        } else if let Some(token) = &self.target.token {
            let mut value: HeaderValue =
                format!("Bearer {token}").parse().expect("the token was checked to be graphic ASCII");
            value.set_sensitive(true);
            head.headers.insert(AUTHORIZATION, value);
        }
        let response = match self.pool.request(Request::from_parts(head, body)).await {
            Ok(response) => response,
            Err(error) => {
                return Err(match tls::complaint(&error, &self.target.base) {
                    Some(complaint) => CallError::Stranger(complaint),
                    None if error.is_connect() => CallError::Nobody(self.target.nobody.clone()),
                    None => {
                        let hint = tls::hint(&error, &self.target.base);
                        broken(format!("{:#}{hint}", anyhow::Error::from(error)))
                    }
                });
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let refusal = tokio::time::timeout(ANSWER_TIMEOUT, collect(response, REFUSAL_BYTES_MAX)).await;
        let bytes = refusal.ok().and_then(Result::ok).unwrap_or_default();
        if status == StatusCode::BAD_REQUEST && self.target.base.starts_with("http://") && speaks_https(&bytes) {
            let secure = self.target.base.replacen("http", "https", 1);
            return Err(CallError::Stranger(format!("{} speaks https: write {secure}", self.target.base)));
        }
        let message = refusal_text(&bytes).unwrap_or_else(|| format!("{what}: the node answered {status}"));
        Err(CallError::Refused { status: status.as_u16(), message })
    }
}

/// A body that is in memory.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

async fn collect(response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), bytes_max);
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

/// Whether a refusal of plain HTTP is about that: a node's, or that of a usual proxy, which is a page and no JSON.
fn speaks_https(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    !text.starts_with('{') && text.contains("https")
}

/// The messages of `{"errors":[{"status","message"}]}`, a line each.
fn refusal_text(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let messages: Vec<_> = value["errors"].as_array()?.iter().filter_map(|error| error["message"].as_str()).collect();
    (!messages.is_empty()).then(|| messages.join("\n").chars().take(REFUSAL_CHARS_MAX).collect())
}
