//! The body of a request: read piece by piece, within a bound, and never waited for without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use serde::de::DeserializeOwned;

use super::error::HttpError;
use super::tally::{ClientWait, Tally};

/// The longest JSON document or checksum file that is read, in bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// A request's body. Nothing of it is read, and no `100 Continue` sent, before the first call of [`Inbound::next`].
#[derive(Debug)]
pub struct Inbound<B> {
    body: B,
    idle: Duration,
    taken: u64,
    limit: u64,
    unread: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl<B> Inbound<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// A body of which no piece may take longer than `idle`. `unread` becomes true now and false at its end.
    pub fn new(body: B, idle: Duration, unread: Arc<AtomicBool>, tally: Arc<Tally>) -> Inbound<B> {
        unread.store(!body.is_end_stream(), Ordering::Relaxed);
        Inbound { body, idle, taken: 0, limit: u64::MAX, unread, tally }
    }

    /// The request that it belongs to.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The same, but it fails when it is longer than `limit` bytes; at once when it says so itself.
    pub fn limited(self, limit: u64) -> Result<Inbound<B>, HttpError> {
        if self.body.size_hint().lower() > limit {
            return Err(HttpError::TooLarge { limit });
        }
        Ok(Inbound { limit, ..self })
    }

    /// The length that the client announced.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece; `None` at the end of a whole body. Not to be dropped halfway by a caller that goes on reading.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let waiting = ClientWait::begin(&self.tally);
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            drop(waiting);
            let Some(frame) = frame.map_err(|_| HttpError::BodyIdle { seconds: self.idle.as_secs() })? else {
                self.unread.store(false, Ordering::Relaxed);
                return Ok(None);
            };
            let frame = frame.map_err(|error| HttpError::BodyBroken(error.to_string()))?;
            // Trailers carry nothing that is used here.
            let Ok(piece) = frame.into_data() else { continue };
            self.taken += piece.len() as u64;
            self.tally.received(piece.len());
            if self.taken > self.limit {
                return Err(HttpError::TooLarge { limit: self.limit });
            }
            return Ok(Some(piece));
        }
    }

    /// The whole of a short body, within one idle time.
    pub async fn document(self) -> Result<Vec<u8>, HttpError> {
        let idle = self.idle;
        let mut body = self.limited(DOCUMENT_BYTES_MAX)?;
        let whole = async {
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        };
        tokio::time::timeout(idle, whole).await.map_err(|_| HttpError::BodyIdle { seconds: idle.as_secs() })?
    }

    /// The whole of a short body, read as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        Ok(serde_json::from_slice(&self.document().await?)?)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::super::meter::Meter;
    use super::super::tally::samples::tally;
    use super::*;

    fn inbound<B>(body: B) -> (Inbound<B>, Arc<AtomicBool>)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let unread = Arc::new(AtomicBool::new(false));
        let tally = tally(&Meter::default());
        (Inbound::new(body, Duration::from_secs(60), unread.clone(), tally), unread)
    }

    #[tokio::test]
    async fn a_short_body_is_read_as_json_and_known_to_be_read() {
        let (body, unread) = inbound(Full::from("{\"a\":[1]}"));
        assert!(unread.load(Ordering::Relaxed));
        let value: serde_json::Value = body.json().await.expect("JSON");
        assert_eq!(value["a"][0], 1);
        assert!(!unread.load(Ordering::Relaxed));
        let (broken, _) = inbound(Full::from("{"));
        assert!(matches!(broken.json::<serde_json::Value>().await, Err(HttpError::Json(_))));
    }

    #[tokio::test]
    async fn a_body_over_its_bound_is_refused_unread_or_as_soon_as_it_is_over() {
        let (announced, unread) = inbound(Full::from("abcdef"));
        assert!(matches!(announced.limited(5), Err(HttpError::TooLarge { limit: 5 })));
        assert!(unread.load(Ordering::Relaxed));
        let frames =
            ["abc", "def"].map(|text| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let (chunked, unread) = inbound(StreamBody::new(futures::stream::iter(frames)));
        let mut chunked = chunked.limited(5).expect("nobody knows its length yet");
        assert_eq!(chunked.next().await.expect("within the bound"), Some(Bytes::from_static(b"abc")));
        assert!(matches!(chunked.next().await, Err(HttpError::TooLarge { limit: 5 })));
        assert!(unread.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_given_up() {
        let (mut silent, _) =
            inbound(StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>()));
        silent.idle = Duration::from_millis(1);
        assert!(matches!(silent.next().await, Err(HttpError::BodyIdle { .. })));
        assert!(matches!(silent.document().await, Err(HttpError::BodyIdle { .. })));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Err(std::io::Error::other("reset"))];
        let (torn, unread) = inbound(StreamBody::new(futures::stream::iter(frames)));
        assert!(matches!(torn.document().await, Err(HttpError::BodyBroken(_))));
        assert!(unread.load(Ordering::Relaxed));
    }
}
