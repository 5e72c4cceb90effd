//! A small HTTP client over hyper: one connection a request, bodies whole or streamed.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::Place;
use super::content::Content;

/// Where to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    pub token: Option<String>,
    /// The network namespace that the address is of.
    pub place: Option<Place>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// An answer whose body was read as it came and only hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    pub status: StatusCode,
    pub bytes: u64,
    pub sha256: String,
}

fn text(error: &dyn std::fmt::Display) -> String {
    error.to_string()
}

impl Client {
    /// `Err` when the connection or the answer broke: a node that was killed.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        self.exchange(method, path, headers, Full::new(body.into()), |response| async move {
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
        .await
    }

    async fn exchange<B, T, F>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, String>
    where
        B: Body<Data: Buf + Send, Error = Infallible> + Send + 'static,
        F: Future<Output = Result<T, String>>,
    {
        let stream = match &self.place {
            None => TcpStream::connect(self.address).await,
            Some(place) => place.connect(self.address).await,
        };
        let stream = stream.map_err(|error| text(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a fine request");
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| text(&error))?;
            read(response).await
        };
        let answer = answered.await;
        connection.abort();
        answer
    }

    /// Uploads what is made while it is sent.
    pub async fn put_streamed(&self, path: &str, content: Content) -> Result<Answer, String> {
        let length = content.size.to_string();
        let frames = content.pieces().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let body = StreamBody::new(futures::stream::iter(frames));
        self.exchange(Method::PUT, path, &[("content-length", &length)], body, |response| async move {
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
        .await
    }

    /// Downloads and hashes, frame by frame.
    pub async fn get_streamed(&self, path: &str) -> Result<Streamed, String> {
        self.exchange(Method::GET, path, &[], Full::new(Bytes::new()), |response| async move {
            let (head, mut body) = response.into_parts();
            let (mut bytes, mut hash) = (0, Sha256::new());
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(|error| text(&error))?.into_data() {
                    bytes += data.len() as u64;
                    hash.update(&data);
                }
            }
            Ok(Streamed { status: head.status, bytes, sha256: data_encoding::HEXLOWER.encode(&hash.finalize()) })
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        self.send(Method::PUT, path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }
}
