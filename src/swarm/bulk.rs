//! Bulk streams: request, then response, in frames, on a connection that control traffic never waits for.

use std::{fmt, io, sync::Arc};

use artimesh_core::model::PublicKey;
use bytes::Bytes;
use futures::{AsyncWriteExt, TryFutureExt};
use libp2p::{PeerId, Stream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::Counters,
    error::{BulkError, OpenError},
    event::Event,
    frame::{self, FRAME_BYTES_MAX, FrameError},
    net::Remote,
    session::{ACKNOWLEDGE_TIMEOUT, ATTEMPTS_MAX, introduce, welcome},
    streams::{BULK, Inbound, OpenFailure},
};

/// What a bulk stream begins with: the version of what follows, room for more.
const OPENING: &[u8] = &[1];
const OPENING_BYTES_MAX: usize = 64;

/// A stream of frames to and from one peer. It ends at once when the peer is removed from the members.
///
/// Each side finishes what it writes before it reads: two sides that both write more than a window (256 KiB at first)
/// before they read wait for each other for ever. The futures of `send` and `recv` must not be dropped halfway unless
/// the stream is dropped too.
pub struct BulkStream {
    stream: Stream,
    peer: PublicKey,
    token: CancellationToken,
    counters: Arc<Counters>,
    /// Counts against the peer's limit, when the peer opened the stream.
    _permit: Option<OwnedSemaphorePermit>,
}

impl BulkStream {
    /// The other side.
    pub fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// Sends one frame of at most [`FRAME_BYTES_MAX`] bytes. What is sent may wait until [`BulkStream::flush`].
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), BulkError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(BulkError::TooLarge { bytes: bytes.len() });
        }
        let written = frame::write(&mut self.stream, &bytes);
        unless_cut_off(&self.token, written).await?;
        self.counters.bulk_bytes_out.add(bytes.len());
        Ok(())
    }

    /// Receives one frame; `None` when the other side has finished.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, BulkError> {
        let read = async {
            match frame::read(&mut self.stream, FRAME_BYTES_MAX).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(FrameError::Ended) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let frame = unless_cut_off(&self.token, read).await?;
        self.counters.bulk_bytes_in.add(frame.as_ref().map_or(0, Bytes::len));
        Ok(frame)
    }

    /// Sends what waits.
    pub async fn flush(&mut self) -> Result<(), BulkError> {
        let flushed = self.stream.flush().map_err(FrameError::Broken);
        unless_cut_off(&self.token, flushed).await
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub async fn finish(&mut self) -> Result<(), BulkError> {
        let closed = self.stream.close().map_err(FrameError::Broken);
        unless_cut_off(&self.token, closed).await
    }
}

/// Being cut off comes first: a stream that ends or breaks because of it must not look as if it had ended by itself.
async fn unless_cut_off<T>(
    token: &CancellationToken,
    work: impl Future<Output = Result<T, FrameError>>,
) -> Result<T, BulkError> {
    let done = tokio::select! {
        biased;
        () = token.cancelled() => return Err(BulkError::CutOff),
        done = work => done,
    };
    if token.is_cancelled() { Err(BulkError::CutOff) } else { done.map_err(broken) }
}

impl fmt::Debug for BulkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bulk stream with {:?}", self.peer)
    }
}

fn broken(error: FrameError) -> BulkError {
    match error {
        FrameError::TooLarge(bytes) => BulkError::TooLarge { bytes },
        FrameError::Ended => BulkError::Broken(io::ErrorKind::UnexpectedEof.into()),
        FrameError::Broken(error) => BulkError::Broken(error),
    }
}

/// Whom a stream is with.
pub(super) struct End {
    pub(super) peer: PublicKey,
    pub(super) token: CancellationToken,
    pub(super) counters: Arc<Counters>,
}

/// Opens a stream and waits until the peer has acknowledged it.
pub(super) async fn open(remote: &Remote, id: PeerId, end: End) -> Result<BulkStream, OpenError> {
    let End { peer, token, counters } = end;
    let began = tokio::time::Instant::now();
    for _ in 0..ATTEMPTS_MAX {
        let opened = tokio::select! {
            () = token.cancelled() => return Err(OpenError::NotMember { peer }),
            opened = remote.open(id, None, BULK) => opened,
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(OpenFailure::Unsupported) => return Err(OpenError::Refused { peer }),
            // The connection ended under the attempt; another may come.
            Err(OpenFailure::Unavailable) if began.elapsed() < ACKNOWLEDGE_TIMEOUT => continue,
            Err(OpenFailure::Unavailable) => return Err(OpenError::NotConnected { peer }),
        };
        if timeout(ACKNOWLEDGE_TIMEOUT, introduce(&mut stream, OPENING)).await.is_ok_and(|done| done.is_ok()) {
            return Ok(BulkStream { stream, peer, token, counters, _permit: None });
        }
    }
    Err(OpenError::Refused { peer })
}

/// Acknowledges a stream that the peer opened and hands it to the caller.
pub(super) async fn accept(inbound: Inbound, end: End, events: mpsc::Sender<Event>) {
    let Inbound { mut stream, permit, .. } = inbound;
    let End { peer, token, counters } = end;
    let accepted = async {
        if !timeout(ACKNOWLEDGE_TIMEOUT, welcome(&mut stream, OPENING_BYTES_MAX)).await.is_ok_and(|done| done.is_ok()) {
            return;
        }
        let stream = BulkStream { stream, peer, token: token.clone(), counters, _permit: Some(permit) };
        // A closed receiver means that the swarm is being shut down.
        let _ = events.send(Event::Bulk { peer, stream }).await;
    };
    tokio::select! {
        () = token.cancelled() => {}
        () = accepted => {}
    }
}
