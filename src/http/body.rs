//! The body of an answer: nothing, some bytes, or a stream with a promised length.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;

use super::flow::Passage;
use super::tally::{ClientWait, Tally};
use crate::service::{Download, ServiceError};

/// Why an answer broke off. The connection is closed, so that the client can't take what it got for the whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The bytes can't be had.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The stream ended early.
    #[error("{missing} bytes are missing at the end")]
    Short {
        /// How many.
        missing: u64,
    },
    /// The stream goes on after its end.
    #[error("there are more bytes than were promised")]
    Long,
    /// The value can't be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Broken>> + Send>>;

enum Source {
    Nothing,
    Bytes(Bytes),
    Stream(Pieces),
}

/// An answer's body. Whoever drops it halfway stops the work behind it.
pub struct Body {
    source: Source,
    /// How much must still come; `None` when nobody knows (chunked).
    left: Option<u64>,
    tally: Option<Arc<Tally>>,
    /// Where a stream begins whatever it waits for.
    node: Option<Handle>,
    passage: Option<Passage>,
    /// The client has a piece, and isn't done with it; not the last one, behind which nothing is asked for.
    wait: Option<ClientWait>,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Body { source: Source::Nothing, left: Some(0), tally: None, node: None, passage: None, wait: None }
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body {
            left: Some(bytes.len() as u64),
            source: Source::Bytes(bytes),
            tally: None,
            node: None,
            passage: None,
            wait: None,
        }
    }

    /// Exactly `length` bytes of a download; at most one piece is in memory beside what the connection holds. Waits for
    /// the first piece, so that bytes which nobody has are an answer of their own and no broken one.
    pub async fn download(mut download: Download, length: u64) -> Result<Body, ServiceError> {
        let first = download.next().await.transpose()?;
        if let Some(first) = first.as_ref().filter(|first| first.len() as u64 == length) {
            return Ok(Body::full(first.clone()));
        }
        let rest = futures::stream::unfold(download, |mut download| async move {
            let piece = download.next().await?;
            Some((piece.map_err(Broken::from), download))
        });
        Ok(Body::sized(futures::stream::iter(first.map(Ok)).chain(rest), length))
    }

    /// A stream that must have exactly `length` bytes.
    pub fn sized(pieces: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static, length: u64) -> Body {
        Body {
            source: Source::Stream(Box::pin(pieces)),
            left: Some(length),
            tally: None,
            node: None,
            passage: None,
            wait: None,
        }
    }

    /// A stream of unknown length.
    pub fn chunked(pieces: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static) -> Body {
        Body {
            source: Source::Stream(Box::pin(pieces)),
            left: None,
            tally: None,
            node: None,
            passage: None,
            wait: None,
        }
    }

    /// The same, counted, and streamed within the node's runtime: see [`Within`](super::within::Within).
    pub fn counted(self, tally: Arc<Tally>, node: &Handle) -> Body {
        let node = matches!(self.source, Source::Stream(_)).then(|| node.clone());
        Body { tally: Some(tally), node, ..self }
    }

    /// The same, watched by its connection.
    pub fn watched(self, passage: Option<Passage>) -> Body {
        Body { passage, ..self }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let piece = match &mut self.source {
            Source::Nothing => None,
            Source::Bytes(bytes) => Some(Ok(std::mem::take(bytes))).filter(|_| self.left != Some(0)),
            Source::Stream(pieces) => {
                let _entered = self.node.as_ref().map(Handle::enter);
                ready!(pieces.as_mut().poll_next(context))
            }
        };
        let checked = match (piece, self.left) {
            (Some(Ok(piece)), Some(left)) if piece.len() as u64 > left => Some(Err(Broken::Long)),
            (None, Some(missing)) if missing > 0 => Some(Err(Broken::Short { missing })),
            (piece, _) => piece,
        };
        match &checked {
            Some(Ok(piece)) => self.left = self.left.map(|left| left - piece.len() as u64),
            Some(Err(_)) | None => self.source = Source::Nothing,
        }
        Poll::Ready(checked)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a body with {:?} bytes left", self.left)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.wait = None;
        if let Some(passage) = &mut self.passage {
            passage.asked();
        }
        let piece = ready!(self.poll_piece(context));
        if let (Some(passage), Some(Ok(_))) = (&mut self.passage, &piece) {
            passage.gave();
        }
        if let Some(tally) = &self.tally {
            match &piece {
                Some(Ok(bytes)) => tally.sent(bytes.len()),
                Some(Err(error)) => tally.broke(error),
                None => tally.reached_end(),
            }
        }
        if let (Some(Ok(_)), Some(tally), false) = (&piece, &self.tally, self.left == Some(0)) {
            self.wait = Some(ClientWait::begin(tally));
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    use super::*;

    fn pieces(texts: &'static [&'static str]) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
        futures::stream::iter(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))))
    }

    #[tokio::test]
    async fn a_body_gives_exactly_what_was_promised() {
        let body = Body::sized(pieces(&["abc", "", "de"]), 5);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "abcde");
        assert_eq!(Body::full("xy").collect().await.expect("whole").to_bytes(), "xy");
        assert!(Body::empty().is_end_stream());
        assert!(Body::full("").is_end_stream());
        assert_eq!(Body::chunked(pieces(&["a", "b"])).collect().await.expect("whole").to_bytes(), "ab");
    }

    #[tokio::test]
    async fn a_body_that_comes_out_short_or_long_is_an_error() {
        let short = Body::sized(pieces(&["abc"]), 5).collect().await;
        assert!(matches!(short, Err(Broken::Short { missing: 2 })));
        let long = Body::sized(pieces(&["abc", "def"]), 5).collect().await;
        assert!(matches!(long, Err(Broken::Long)));
        let failed = futures::stream::iter([Ok(Bytes::from_static(b"a")), Err(Broken::Long)]);
        assert!(Body::chunked(failed).collect().await.is_err());
    }
}
