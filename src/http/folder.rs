//! A folder's children, written while they are read: what is small goes out whole, with its length.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{Answer, empty, with_type};
use super::ask::Ask;
use super::body::{Body, Broken};
use super::error::HttpError;
use super::item::{Child, FolderView};
use crate::service::{Children, Entry, Folder, ServiceError};

/// So much is gathered before a piece goes out.
const PIECE_BYTES: usize = 64 << 10;

/// How entries become a document.
pub struct Shape<R> {
    /// What stands before the first.
    pub head: String,
    /// One of them.
    pub row: R,
    /// What stands between two.
    pub between: &'static str,
    /// What stands behind the last.
    pub tail: &'static str,
    /// Of the document.
    pub media_type: &'static str,
}

/// The folder's metadata with its children.
pub async fn json(ask: &Ask, status: StatusCode, folder: &Folder) -> Result<Answer, HttpError> {
    let view = serde_json::to_string(&FolderView::of(folder, &ask.links()?))?;
    let open = view.strip_suffix('}').unwrap_or(&view);
    let shape = Shape {
        head: format!("{open},\"children\":["),
        row: |entry: &Entry| Ok(serde_json::to_string(&Child::of(entry))?),
        between: ",",
        tail: "]}",
        media_type: "application/json",
    };
    let mut answer = written(ask, folder, shape).await?;
    *answer.status_mut() = status;
    Ok(answer)
}

/// What is in the folder, in some shape. A failure behind the first piece breaks the connection off, so that nobody takes a
/// part for the whole.
pub async fn written<R>(ask: &Ask, folder: &Folder, shape: Shape<R>) -> Result<Answer, HttpError>
where
    R: FnMut(&Entry) -> Result<String, Broken> + Send + 'static,
{
    let children = ask.service().children(&ask.caller, &folder.repo, folder.path.as_ref())?;
    let media_type = shape.media_type;
    let mut walk = Walk { children, shape, is_first: true, is_done: false };
    let mut first = std::mem::take(&mut walk.shape.head);
    walk.fill(&mut first).await.map_err(refusal)?;
    if walk.is_done {
        return Ok(with_type(StatusCode::OK, media_type, first));
    }
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let first = futures::stream::once(async { Ok(Bytes::from(first)) });
    let others = futures::stream::try_unfold(walk, Walk::next);
    *answer.body_mut() = Body::chunked(futures::StreamExt::chain(first, others));
    Ok(answer)
}

/// Before the first byte has gone out an error can still be told.
pub fn refusal(broken: Broken) -> HttpError {
    match broken {
        Broken::Service(error) => error.into(),
        Broken::Json(error) => error.into(),
        other @ (Broken::Short { .. } | Broken::Long) => ServiceError::Unavailable(other.to_string()).into(),
    }
}

struct Walk<R> {
    children: Children,
    shape: Shape<R>,
    is_first: bool,
    is_done: bool,
}

impl<R: FnMut(&Entry) -> Result<String, Broken>> Walk<R> {
    async fn next(mut self) -> Result<Option<(Bytes, Walk<R>)>, Broken> {
        if self.is_done {
            return Ok(None);
        }
        let mut piece = String::new();
        self.fill(&mut piece).await?;
        Ok(Some((Bytes::from(piece), self)))
    }

    async fn fill(&mut self, piece: &mut String) -> Result<(), Broken> {
        while piece.len() < PIECE_BYTES {
            let Some(page) = self.children.next_page().await? else {
                piece.push_str(self.shape.tail);
                self.is_done = true;
                break;
            };
            for entry in &page {
                if !std::mem::take(&mut self.is_first) {
                    piece.push_str(self.shape.between);
                }
                piece.push_str(&(self.shape.row)(entry)?);
            }
        }
        Ok(())
    }
}
