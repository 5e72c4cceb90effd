//! The bytes of one artifact, out of as many answers as it takes when connections break.
//!
//! # Why
//! - *What was announced at first is what has to come.* Each further answer is asked for from where the last one ended, and
//!   only of the same content (`If-Range`); whatever it says, the whole is verified by the SHA-256 that was announced.
//! - *A try counts only if nothing came.* A line that breaks every minute is slow, and no reason to give up.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::cli::client::{ANSWER_TIMEOUT, CallError, Client, full};
use crate::cli::import::failure::{Failure, Next, Remedy};
use crate::cli::location::Location;

/// Who looks on.
pub(super) trait Watch {
    /// So many bytes are there already, of so many.
    fn begins(&self, at: u64, size: Option<u64>);
    /// More came. The next are asked for when this is done.
    async fn came(&self, bytes: usize);
    /// Nothing comes, and it is tried again.
    fn waits(&self, reason: &str);
}

/// What a node says of an artifact.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced {
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
    etag: Option<HeaderValue>,
}

/// The beginning of an answer.
pub(super) struct Answer {
    pub(super) announced: Announced,
    /// Whether it is a page that lists a folder, and no artifact.
    pub(super) is_page: bool,
    /// Where in the artifact its body begins.
    from: u64,
    response: Response<Incoming>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) size: u64,
    pub(super) sha256: String,
    /// How much of it an earlier run had left.
    pub(super) resumed: u64,
    /// Whether the node had announced what it has to be.
    pub(super) is_verified: bool,
}

impl Announced {
    fn of(headers: &HeaderMap) -> Announced {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let of_range = text(CONTENT_RANGE.as_str()).map(|range| range.rsplit('/').next().unwrap_or_default());
        let size = of_range.or_else(|| text(CONTENT_LENGTH.as_str())).and_then(|text| text.parse().ok());
        let sha256 = text("x-checksum-sha256").map(str::to_ascii_lowercase);
        // A weak one doesn't say that the bytes are the same.
        let etag = headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        Announced { sha256: sha256.filter(|text| is_sha256(text)), size, etag }
    }

    /// Whether both are the same bytes, as far as they tell.
    fn is_same(&self, other: &Announced) -> bool {
        let is_equal = match (&self.sha256, &other.sha256) {
            (Some(one), Some(other)) => one == other,
            _ => self.etag.is_some() && self.etag == other.etag,
        };
        is_equal && self.size == other.size
    }
}

/// Whether a text has the form of a SHA-256.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Asks for an artifact: by `GET` for its bytes from `from` on, by `HEAD` only for what is said of it.
///
/// # Errors
/// As [`Client::send`], and no answer within a minute.
pub(super) async fn ask(
    client: &Client,
    location: &Location,
    method: Method,
    from: u64,
    known: &Announced,
) -> Result<Answer, CallError> {
    let target = format!("/artifactory/{}", location.target());
    let late = CallError::Broken { what: format!("{method} {target}"), reason: "no answer within a minute".into() };
    let mut request = Request::builder().method(method);
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-"));
        if let Some(etag) = &known.etag {
            request = request.header(IF_RANGE, etag);
        }
    }
    let request = request.body(full(Bytes::new())).expect("these headers are fine");
    let response = tokio::time::timeout(ANSWER_TIMEOUT, client.send(&target, request)).await.map_err(|_| late)??;
    let headers = response.headers();
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_artifact = headers.contains_key("x-checksum-sha1") || headers.contains_key(ETAG);
    let is_page = !is_artifact && media_type.starts_with(b"text/html");
    let from = if response.status() == StatusCode::PARTIAL_CONTENT { begin(headers).unwrap_or(u64::MAX) } else { 0 };
    Ok(Answer { announced: Announced::of(headers), is_page, from, response })
}

/// Where the range begins that an answer holds: `bytes 7-90/100`.
fn begin(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

/// A download under way.
pub(super) struct Transfer<'a, S, W> {
    pub(super) client: &'a Client,
    pub(super) location: &'a Location,
    pub(super) announced: Announced,
    /// Of the bytes before `at`.
    pub(super) hasher: Sha256,
    /// How many bytes are there.
    pub(super) at: u64,
    pub(super) sink: S,
    pub(super) watch: &'a W,
}

impl<S: AsyncWrite + Unpin, W: Watch> Transfer<'_, S, W> {
    /// Receives what is missing, from `answer` on if there is one, and verifies all of it.
    ///
    /// # Errors
    /// Why it can't go on. [`Remedy::Again`]: what is there is worthless, and another try from the beginning may help. What was
    /// written to the sink mustn't be used, but another transfer of the same content may go on from there.
    pub(super) async fn run(&mut self, mut answer: Option<Answer>) -> Result<Received, Failure> {
        let (resumed, mut tries) = (self.at, 0);
        self.watch.begins(self.at, self.announced.size);
        loop {
            let from = self.at;
            let Err(failure) = self.goes_on(answer.take()).await else { break };
            if self.at > from {
                tries = 0;
            }
            let pause = match failure.next(tries) {
                Next::Try(pause) if failure.remedy != Remedy::Again => pause,
                _ => return Err(failure),
            };
            if tries > 0 {
                self.watch.waits(&failure.reason);
            }
            tokio::time::sleep(pause).await;
            tries += 1;
        }
        self.sink.flush().await.map_err(unwritable)?;
        let sha256 = data_encoding::HEXLOWER.encode(&std::mem::take(&mut self.hasher).finalize());
        match &self.announced.sha256 {
            Some(announced) if *announced != sha256 => {
                let reason =
                    format!("what came is not what the node announced: sha256 {sha256}, announced {announced}");
                Err(Failure::new(Remedy::Again, reason))
            }
            announced => Ok(Received { size: self.at, sha256, resumed, is_verified: announced.is_some() }),
        }
    }

    async fn goes_on(&mut self, answer: Option<Answer>) -> Result<(), Failure> {
        let answer = match answer {
            Some(answer) => answer,
            None if self.announced.size == Some(self.at) => return Ok(()),
            None => self.ask_again().await?,
        };
        // A server that knows no ranges sends what is here once more.
        let Some(mut known) = self.at.checked_sub(answer.from) else {
            return Err(broke_off(self.at, "the node sent another part than it was asked for"));
        };
        let mut body = answer.response.into_body();
        loop {
            let frame = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| broke_off(self.at, "nothing came for a minute"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| broke_off(self.at, &chain(error)))?;
            let Ok(mut piece) = frame.into_data() else { continue };
            let skipped = known.min(piece.len() as u64);
            known -= skipped;
            let piece = piece.split_off(skipped as usize);
            self.hasher.update(&piece);
            self.sink.write_all(&piece).await.map_err(unwritable)?;
            self.at += piece.len() as u64;
            self.watch.came(piece.len()).await;
        }
        match self.announced.size {
            Some(size) if size != self.at => Err(broke_off(self.at, "the connection was closed")),
            _ => Ok(()),
        }
    }

    async fn ask_again(&self) -> Result<Answer, Failure> {
        let Announced { sha256, etag, size } = &self.announced;
        if self.at > 0 && (size.is_none() || sha256.is_none() && etag.is_none()) {
            let reason = "the download broke off, and the node doesn't say by what it could go on";
            return Err(Failure::new(Remedy::Leave, reason));
        }
        let asked = ask(self.client, self.location, Method::GET, self.at, &self.announced).await;
        let answer = asked.map_err(Failure::of_node)?;
        if self.at > 0 && !self.announced.is_same(&answer.announced) {
            return Err(Failure::new(Remedy::Again, "the artifact was replaced while it was downloaded"));
        }
        Ok(answer)
    }
}

fn broke_off(at: u64, reason: &str) -> Failure {
    Failure::new(Remedy::Wait, format!("the download broke off after {at} bytes: {reason}"))
}

/// A full disk takes no other file either.
fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(Remedy::Stop, format!("can't write: {error}"))
}

fn chain(error: hyper::Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_announced_is_the_whole_whatever_the_answer_holds() {
        let whole = Announced::of(&headers(&[("etag", "\"a\""), ("content-length", "100")]));
        let range = headers(&[("etag", "\"a\""), ("content-length", "84"), ("content-range", "bytes 7-90/100")]);
        let part = Announced::of(&range);
        assert!(whole.size == Some(100) && whole.is_same(&part));
        assert_eq!(begin(&range), Some(7));
        let weak = Announced::of(&headers(&[("etag", "W/\"a\""), ("content-length", "100")]));
        assert!(!weak.is_same(&weak), "a weak tag is none");
        let unknown = Announced::of(&headers(&[("content-range", "bytes 7-90/*"), ("content-length", "84")]));
        assert_eq!(unknown.size, None);
    }
}
