//! A request's body that is read on for a moment when nobody wants it any more.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::transport::Transport;

/// How long, and for how many bytes, a body that was refused is still read, so that the client sees why.
pub const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub const LINGER_BYTES: usize = 16 << 20;

/// A request's body. One of HTTP/2 whose reader leaves is read to its end in the background, within bounds: dropped, its
/// stream would be reset, and clients that are still sending (curl among them) take that for a failure and lose the answer.
/// Connections of HTTP/1.1 linger as a whole instead.
#[derive(Debug)]
pub struct Lingering {
    body: Option<Incoming>,
    lingers: bool,
}

impl Lingering {
    /// `body`, as it came by `transport`.
    pub fn new(body: Incoming, transport: Transport) -> Lingering {
        Lingering { body: Some(body), lingers: transport == Transport::Http2 }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.lingers || self.is_end_stream() {
            return;
        }
        if let (Some(body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LINGER, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
