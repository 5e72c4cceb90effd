//! Finding things: the query language, and the simple searches.
//!
//! Hits are written while they are found; what the caller may not read isn't found. A failure in the middle breaks the
//! connection off, so that nobody takes a part for the whole.

mod ant;
mod aql;
mod simple;

pub use aql::aql;
pub use simple::{artifact, checksum, pattern, property};

use artimesh_core::access::{Denied, Principal};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::answer::{Answer, empty};
use super::body::{Body, Broken};
use super::error::HttpError;
use crate::service::{Caller, Hit, Query, Search, Service, ServiceError};

/// How hits become a document.
trait Shape: Send + 'static {
    /// What stands before the first.
    fn head(&self) -> String;
    /// One hit; `None` leaves it out.
    fn row(&mut self, hit: &Hit) -> Result<Option<Value>, Broken>;
    /// What stands behind the last.
    fn tail(&self, search: &Search) -> String;
}

/// The answer to a search. What can be refused is refused before the first byte of it.
async fn answer(service: &Service, caller: &Caller, query: Query, shape: impl Shape) -> Result<Answer, HttpError> {
    if caller.principal == (Principal::Anonymous { reads: false }) {
        return Err(ServiceError::from(Denied::Unauthenticated).into());
    }
    let mut search = service.search(caller, query);
    let mut first = search.next_page().await?;
    while first.as_ref().is_some_and(Vec::is_empty) {
        first = search.next_page().await?;
    }
    let walk = Walk { head: Some(shape.head()), search, shape, first, is_first: true, is_done: false };
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *answer.body_mut() = Body::chunked(futures::stream::try_unfold(walk, Walk::next));
    Ok(answer)
}

struct Walk<S> {
    search: Search,
    shape: S,
    head: Option<String>,
    first: Option<Vec<Hit>>,
    is_first: bool,
    is_done: bool,
}

impl<S: Shape> Walk<S> {
    /// The next chunk: never empty until the end, since an empty one would say that this is the end.
    async fn next(mut self) -> Result<Option<(Bytes, Walk<S>)>, Broken> {
        if self.is_done {
            return Ok(None);
        }
        let mut chunk = self.head.take().unwrap_or_default();
        while chunk.is_empty() || self.first.is_some() {
            let page = match self.first.take() {
                Some(page) => Some(page),
                None => self.search.next_page().await?,
            };
            let Some(page) = page else {
                chunk.push_str(&self.shape.tail(&self.search));
                self.is_done = true;
                break;
            };
            for hit in &page {
                let Some(row) = self.shape.row(hit)? else { continue };
                if !std::mem::take(&mut self.is_first) {
                    chunk.push(',');
                }
                chunk.push_str(&serde_json::to_string(&row)?);
            }
        }
        Ok(Some((Bytes::from(chunk), self)))
    }
}
